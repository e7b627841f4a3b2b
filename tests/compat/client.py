"""A day in the life of a Consul client written in Python: every call that this version answers.

Called as `client.py <port>` by the Python of a virtual environment that has python-consul or py-consul: the two share
the module's name and the calls used here, and differ in what they send. What goes wrong is an exception.
"""
import http.server
import sys
import threading
import time

import consul

PORT = int(sys.argv[1])
c = consul.Consul(host="127.0.0.1", port=PORT)


def until(what, ask, patience=10):
    """Asks again until the answer is true."""
    deadline = time.monotonic() + patience
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, "waited in vain for " + what
        time.sleep(0.02)


def refused(kind, call):
    """The text of the client's own exception for a refusal."""
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError("nothing was refused")


def status_of(name):
    """Status of each check of a service, as the catalog has it."""
    return [check["Status"] for check in c.health.checks(name)[1]]


def passing(name):
    """Ids of the instances that pass."""
    return [row["Service"]["ID"] for row in c.health.service(name, passing=True)[1]]


class Server(http.server.BaseHTTPRequestHandler):
    """Answers a check with whatever it is told to."""

    code = 200

    def do_GET(self):
        self.send_response(Server.code)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


def checks():
    web = http.server.HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    port = web.server_port
    url = "http://127.0.0.1:%d/health" % port

    c.agent.service.register("ttl", service_id="ttl-1", port=1, check=consul.Check.ttl("30s"))
    assert status_of("ttl") == ["critical"]
    for say, status in [("pass", "passing"), ("warn", "warning"), ("fail", "critical")]:
        getattr(c.agent.check, "ttl_" + say)("service:ttl-1", notes="said " + say)
        assert status_of("ttl") == [status]
        assert c.agent.checks()["service:ttl-1"]["Output"] == "said " + say
    assert "TTL" in refused(consul.ConsulException, lambda: c.agent.check.ttl_pass("nobody"))

    c.agent.service.register("http", address="127.0.0.1", port=port, tags=["a", "b"],
                             check=consul.Check.http(url, "1s", timeout="1s"))
    c.agent.service.register("tcp", address="127.0.0.1", port=port,
                             check=consul.Check.tcp("127.0.0.1", port, "1s", timeout="1s"))
    until("both checks to pass", lambda: passing("http") == ["http"] and passing("tcp") == ["tcp"])
    Server.code = 429
    until("a warning", lambda: status_of("http") == ["warning"])
    assert passing("http") == []
    Server.code = 200
    until("the check to pass again", lambda: passing("http") == ["http"])
    web.shutdown()
    web.server_close()
    until("both checks to fail", lambda: status_of("http") == status_of("tcp") == ["critical"])

    c.agent.check.register("node-wide", check=consul.Check.ttl("30s"), check_id="wide")
    c.agent.check.register("extra", check=consul.Check.ttl("30s"), service_id="ttl-1", notes="an extra one")
    extra = c.agent.checks()["extra"]
    assert (extra["ServiceID"], extra["ServiceName"], extra["Notes"]) == ("ttl-1", "ttl", "an extra one"), extra
    assert "wide" in [check["CheckID"] for check in c.health.node(NODE)[1]]
    assert "wide" in [check["CheckID"] for check in c.health.state("critical")[1]]
    for check in ["wide", "extra"]:
        c.agent.check.deregister(check)
    for service in ["ttl-1", "http", "tcp"]:
        c.agent.service.deregister(service)
    assert not {"ttl-1", "http", "tcp"} & set(c.agent.services())
    assert not {"ttl", "http", "tcp"} & set(c.catalog.services()[1])


def kv():
    assert c.kv.get("app/none")[1] is None
    assert c.kv.put("app/port", "80", flags=42)
    index, entry = c.kv.get("app/port")
    assert (entry["Value"], entry["Flags"], entry["Key"]) == (b"80", 42, "app/port"), entry
    assert c.kv.put("app/port", "81", cas=0) is False
    assert c.kv.put("app/port", "81", cas=entry["ModifyIndex"])
    assert c.kv.put("app/dir/x", "")
    assert c.kv.put("app/dir/y", "ü €")
    assert c.kv.put("odd key?&%/#", "odd")
    assert c.kv.get("odd key?&%/#")[1]["Key"] == "odd key?&%/#"
    assert [e["Key"] for e in c.kv.get("app/", recurse=True)[1]] == ["app/dir/x", "app/dir/y", "app/port"]
    assert c.kv.get("app/dir/y")[1]["Value"].decode() == "ü €"
    assert c.kv.get("app/", keys=True)[1] == ["app/dir/x", "app/dir/y", "app/port"]
    assert c.kv.get("app/", keys=True, separator="/")[1] == ["app/dir/", "app/port"]

    # A wait that nothing ends takes its time and a sixteenth; one that a write ends takes none.
    index, entry = c.kv.get("app/port")
    started = time.monotonic()
    again, same = c.kv.get("app/port", index=index, wait="500ms")
    waited = time.monotonic() - started
    assert (again, same) == (index, entry) and 0.5 <= waited < 0.5 * 17 / 16 + 0.3, waited
    writer = threading.Timer(0.2, lambda: consul.Consul(port=PORT).kv.put("app/port", "82"))
    writer.start()
    started = time.monotonic()
    newer, entry = c.kv.get("app/port", index=index, wait="60s")
    assert entry["Value"] == b"82" and int(newer) > int(index) and time.monotonic() - started < 5
    writer.join()

    assert c.kv.delete("app/port", cas=1) is False
    assert c.kv.delete("app/port", cas=entry["ModifyIndex"])
    assert c.kv.delete("app/", recurse=True)
    assert c.kv.get("app/", recurse=True)[1] is None


def catalog():
    service = {"Service": "ext", "ID": "ext-1", "Port": 5432, "Tags": ["primary"], "Address": "10.9.8.7"}
    check = {"Node": "outside", "CheckID": "alive", "Name": "alive", "Status": "passing", "ServiceID": "ext-1"}
    assert c.catalog.register("outside", "10.9.8.7", service=service, check=check)
    assert "outside" in [node["Node"] for node in c.catalog.nodes()[1]]
    assert c.catalog.services()[1]["ext"] == ["primary"]
    index, rows = c.catalog.service("ext", tag="primary")
    assert [(r["Node"], r["ServiceAddress"], r["ServicePort"]) for r in rows] == [("outside", "10.9.8.7", 5432)]
    assert c.catalog.service("ext", tag="other")[1] == []
    assert list(c.catalog.node("outside")[1]["Services"]) == ["ext-1"]
    assert passing("ext") == ["ext-1"]

    # Whoever waits for a service is woken by a check of it.
    woken = []
    waiter = threading.Thread(target=lambda: woken.append(
        consul.Consul(port=PORT).health.service("ext", index=index, wait="30s")))
    waiter.start()
    check["Status"] = "critical"
    assert c.catalog.register("outside", "10.9.8.7", check=check)
    waiter.join(10)
    assert woken[0][1][0]["Checks"][0]["Status"] == "critical"
    assert c.catalog.deregister("outside", check_id="alive")
    assert c.catalog.deregister("outside", service_id="ext-1")
    assert c.catalog.service("ext")[1] == []
    assert c.catalog.deregister("outside")
    assert c.catalog.node("outside")[1] is None
    assert c.catalog.datacenters() == [c.agent.self()["Config"]["Datacenter"]]


def maintenance():
    c.agent.service.register("shop", port=1)
    assert passing("shop") == ["shop"]
    c.agent.service.maintenance("shop", "true", "repairs")
    assert passing("shop") == []
    assert c.agent.checks()["_service_maintenance:shop"]["Notes"] == "repairs"
    c.agent.service.maintenance("shop", "false")
    c.agent.maintenance("true", "the whole node")
    assert passing("shop") == []
    c.agent.maintenance("false")
    assert passing("shop") == ["shop"]
    c.agent.service.deregister("shop")


def agent():
    members = c.agent.members()
    assert [member["Name"] for member in members] == [NODE] and members[0]["Status"] == 1
    assert c.status.leader() and c.status.leader() in c.status.peers()


NODE = c.agent.self()["Config"]["NodeName"]
for part in [agent, checks, kv, catalog, maintenance]:
    print(part.__name__, flush=True)
    part()
