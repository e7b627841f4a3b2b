"""A reader of ZooKeeper that is none of ours: called as `zookeeper.py <host:port> <verb> <path> [data]`.

    tree   prints every node from this path on, as JSON: what it says, and the session it hangs on
    put    makes a node that stays, or lets one that is there say this
    hold   makes a node that goes with this process, prints a line, and waits for its standard input to end
    watch  prints `there` or `missing`, now and whenever that may have changed, until its standard input ends
"""
import json
import queue
import sys
import threading

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

HOSTS, VERB, PATH, DATA = (sys.argv[1:] + [""])[:4]
zk = KazooClient(hosts=HOSTS, timeout=4)
zk.start(timeout=5)


def tree(path):
    """All nodes from `path` on; one that goes while it is read was never there."""
    try:
        data, stat = zk.get(path)
        children = zk.get_children(path)
    except NoNodeError:
        return {}
    nodes = {path: {"data": data.decode(), "session": stat.ephemeralOwner}}
    for child in children:
        nodes.update(tree(path.rstrip("/") + "/" + child))
    return nodes


def watch(path):
    """What there is now, then what there is at each change."""
    changes = queue.Queue()
    threading.Thread(target=lambda: changes.put(sys.stdin.read()), daemon=True).start()
    while True:
        there = zk.exists(path, watch=lambda _: changes.put(None))
        print("there" if there else "missing", flush=True)
        if changes.get() is not None:
            return


if VERB == "tree":
    print(json.dumps(tree(PATH)))
elif VERB == "put":
    zk.ensure_path(PATH)
    zk.set(PATH, DATA.encode())
elif VERB == "hold":
    zk.create(PATH, DATA.encode(), ephemeral=True, makepath=True)
    print("held", flush=True)
    sys.stdin.read()
elif VERB == "watch":
    watch(PATH)
zk.stop()
