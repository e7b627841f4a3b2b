//! `lictor registrator zookeeper://…` beside a real ZooKeeper, which another client looks at.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    Agent, Container, Node, ZooKeeper, agent, machine, same, unique, wait_at_most, wait_for,
};

/// Where services are registered: nobody listens there, and nobody has to.
const IP: &str = "192.0.2.7";

fn registrator(servers: &str, host: &str) -> Agent {
    let (ip, hostname) = (format!("-ip={IP}"), format!("-hostname={host}"));
    let uri = format!("zookeeper://{servers}/test/services");
    agent()
        .command(&["registrator", &ip, &hostname, &uri])
        .start_parts(&[])
}

fn web(service: &str) -> Container<'static> {
    machine()
        .container("lictor-whoami")
        .label("SERVICE_NAME", service)
        .start()
}

/// Where the one port of a container stands.
fn path_of(service: &str, container: &Container<'_>) -> String {
    format!("/test/services/{service}/{IP}:{}", container.published(8000))
}

/// All that is known of a service: nothing, or its own node and one for each instance.
fn known(zookeeper: &ZooKeeper, service: &str) -> Result<BTreeMap<String, Node>, String> {
    zookeeper.tree(&format!("/test/services/{service}"))
}

fn await_node(zookeeper: &ZooKeeper, service: &str, path: &str) -> Node {
    wait_for(path, || {
        let known = known(zookeeper, service)?;
        known.get(path).cloned().ok_or_else(|| format!("{known:?}"))
    })
}

fn await_nothing(zookeeper: &ZooKeeper, service: &str) {
    wait_for(&format!("nothing to be left of {service}"), || {
        same(known(zookeeper, service)?, BTreeMap::new())
    });
}

#[test]
fn a_container_is_a_node_of_zookeeper_byte_for_byte_and_leaves_nothing_behind() {
    let (docker, zookeeper) = (machine(), ZooKeeper::start());
    let _registrator = registrator(zookeeper.address(), &unique("host"));
    let service = unique("node");
    let container = docker
        .container("lictor-whoami")
        .option("--hostname=inside")
        .label("SERVICE_NAME", &service)
        .label("SERVICE_TAGS", "a,b & c")
        .label("SERVICE_REGION", "us<2>")
        .label("SERVICE_CHECK_HTTP", "/health")
        .start();
    let path = path_of(&service, &container);

    let node = await_node(&zookeeper, &service, &path);
    let port = container.published(8000);
    assert_eq!(
        node.data,
        format!(
            "{{\"Name\":\"{service}\",\"IP\":\"{IP}\",\"PublicPort\":{port},\"PrivatePort\":8000,\
             \"ContainerID\":\"inside\",\"Tags\":[\"a\",\"b \\u0026 c\"],\"Attrs\":{{\"check_http\":\"/health\",\"region\":\"us\\u003c2\\u003e\"}}}}"
        )
    );
    assert_ne!(node.session, 0, "it is ephemeral");
    let known = known(&zookeeper, &service).expect("it is there");
    let parent = known[&format!("/test/services/{service}")].clone();
    assert_eq!((parent.data.as_str(), parent.session), ("", 0));

    container.stop();

    await_nothing(&zookeeper, &service);
}

#[test]
fn what_is_not_passing_has_no_node() {
    let (docker, zookeeper) = (machine(), ZooKeeper::start());
    let _registrator = registrator(zookeeper.address(), &unique("host"));
    let service = unique("paused");
    let container = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .start();
    let path = path_of(&service, &container);
    let before = await_node(&zookeeper, &service, &path);

    docker.docker(&["pause", container.name()]).expect("it runs");
    await_nothing(&zookeeper, &service);
    docker
        .docker(&["unpause", container.name()])
        .expect("it is paused");

    let after = await_node(&zookeeper, &service, &path);
    assert_eq!(after, before);
}

#[test]
fn a_registrator_that_was_killed_finds_all_nodes_again_and_none_goes_missing() {
    // Sessions that would outlive this test: what is right is so because it was found, not because it timed out.
    let zookeeper = ZooKeeper::start_with("minSessionTimeout=60000\nmaxSessionTimeout=60000");
    let host = unique("host");
    let killed = registrator(zookeeper.address(), &host);
    let (kept, gone, new) = (unique("kept"), unique("gone"), unique("new"));
    let (kept_web, gone_web) = (web(&kept), web(&gone));
    let path = path_of(&kept, &kept_web);
    let before = await_node(&zookeeper, &kept, &path);
    await_node(&zookeeper, &gone, &path_of(&gone, &gone_web));
    let watcher = zookeeper.watch(&path);

    killed.kill();
    gone_web.remove();
    let new_web = web(&new);
    let started = Instant::now();
    let _registrator = registrator(zookeeper.address(), &host);

    wait_for("the node to hang on the new session", || {
        let node = known(&zookeeper, &kept)?.remove(&path).ok_or("it is missing")?;
        if node.session == before.session {
            return Err("it hangs on the old one".to_owned());
        }
        same(node.data, before.data.clone())
    });
    await_nothing(&zookeeper, &gone);
    await_node(&zookeeper, &new, &path_of(&new, &new_web));
    println!("right again {:?} after the start", started.elapsed());
    assert!(
        !watcher.said().contains(&"missing".to_owned()),
        "{:?}",
        watcher.said()
    );
}

/// L36.
#[test]
fn an_owner_that_is_no_part_of_a_path_is_refused_at_the_start() {
    let command = ["registrator", "-owner=a/b", "zookeeper://127.0.0.1:1/test"];
    let (code, said) = agent().command(&command).finish();
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("whose entries are ours: \"a/b\" cannot be part of a path"),
        "{said}"
    );
}

#[test]
fn who_only_looks_takes_no_node_from_the_registrator_that_runs() {
    let zookeeper = ZooKeeper::start();
    let (host, service) = (unique("host"), unique("looked"));
    let registrator = registrator(zookeeper.address(), &host);
    let container = web(&service);
    let path = path_of(&service, &container);
    let before = await_node(&zookeeper, &service, &path);
    let notes = || zookeeper.tree("/test/services/_lictor").expect("it answers");
    let noted = notes();

    let (ip, hostname) = (format!("-ip={IP}"), format!("-hostname={host}"));
    let uri = format!("zookeeper://{}/test/services", zookeeper.address());
    let explain = ["registrator", "explain", &ip, &hostname, container.name(), &uri];
    let (code, said) = agent().command(&explain).finish();
    assert_eq!(code, 0, "{said}");
    let dry = agent().command(&["registrator", "-dry-run", &ip, &hostname, &uri]);
    let dry = dry.start_parts(&[]);
    wait_for("the rehearsal to have found the node", || {
        let said = dry.said();
        let told = said
            .lines()
            .any(|line| line.contains("would register") && line.contains(&service));
        if told { Ok(()) } else { Err(said) }
    });
    dry.kill();

    let node = await_node(&zookeeper, &service, &path);
    assert_eq!((node, notes()), (before, noted));
    assert!(!registrator.said().contains("not ours"), "{}", registrator.said());
}

#[test]
fn nodes_outlive_a_restart_of_zookeeper_and_are_made_again_where_it_lost_its_data() {
    let zookeeper = ZooKeeper::start();
    let mut registrator = registrator(zookeeper.address(), &unique("host"));
    let (first, second) = (unique("first"), unique("second"));
    let first_web = web(&first);
    let path = path_of(&first, &first_web);
    let before = await_node(&zookeeper, &first, &path);

    zookeeper.down();
    // What happens meanwhile is not lost.
    let second_web = web(&second);
    zookeeper.up();
    let up = Instant::now();
    await_node(&zookeeper, &second, &path_of(&second, &second_web));
    println!("new node {:?} after it was back", up.elapsed());
    assert_eq!(await_node(&zookeeper, &first, &path).data, before.data);

    // Longer than an interrupted session is waited for.
    zookeeper.down();
    second_web.remove();
    wait_for("the session to be given up", || {
        let said = registrator.said();
        let lost = said.lines().any(|line| line.contains("ZooKeeper session lost"));
        if lost { Ok(()) } else { Err(said) }
    });
    zookeeper.up();
    let up = Instant::now();
    await_nothing(&zookeeper, &second);
    println!("old node gone {:?} after it was back", up.elapsed());
    assert_eq!(await_node(&zookeeper, &first, &path).data, before.data);

    zookeeper.down();
    zookeeper.forget();
    zookeeper.up();
    let up = Instant::now();
    let made_again = wait_at_most(Duration::from_secs(8), "a node where all was lost", || {
        known(&zookeeper, &first)?
            .remove(&path)
            .ok_or_else(|| "it is missing".to_owned())
    });
    println!("made again {:?} after it was back", up.elapsed());
    assert_eq!(made_again.data, before.data);
    registrator.assert_calm();
}

/// L2, R13.
#[test]
fn a_session_that_expired_is_followed_by_another_with_all_nodes_unless_nobody_is_left() {
    // The server has the last word on how long a session lives.
    let zookeeper = ZooKeeper::start_with("maxSessionTimeout=2000");
    let registrator = registrator(zookeeper.address(), &unique("host"));
    let service = unique("expired");
    let container = web(&service);
    let path = path_of(&service, &container);
    let before = await_node(&zookeeper, &service, &path);

    registrator.signal("STOP");
    wait_for("the session to expire", || {
        same(known(&zookeeper, &service)?.get(&path), None)
    });
    registrator.signal("CONT");

    let after = await_node(&zookeeper, &service, &path);
    assert_eq!(after.data, before.data);
    assert_ne!(after.session, before.session);

    // One that is killed and never started again leaves nothing that anybody would try to reach.
    registrator.kill();
    wait_for("the node to go after the process", || {
        same(known(&zookeeper, &service)?.get(&path), None)
    });
}

#[test]
fn of_several_zookeepers_one_may_be_dead_and_without_any_it_says_so() {
    let zookeeper = ZooKeeper::start();
    // Nothing listens on port 1.
    let servers = format!("127.0.0.1:1,{}", zookeeper.address());
    let _registrator = registrator(&servers, &unique("host"));
    let service = unique("several");
    let container = web(&service);
    await_node(&zookeeper, &service, &path_of(&service, &container));

    let (code, said) = agent()
        .command(&["registrator", "-ip=192.0.2.7", "zookeeper://127.0.0.1:1/test"])
        .finish();
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("no contact with the registry after 1 attempts"),
        "{said}"
    );
}

#[test]
fn what_others_hold_in_zookeeper_is_neither_taken_nor_removed() {
    let zookeeper = ZooKeeper::start();
    let (beside, instead) = (unique("beside"), unique("instead"));
    let (beside_web, instead_web) = (web(&beside), web(&instead));
    // Another host's instance, a note of somebody's, and the original registrator on this very host.
    let other = format!("/test/services/{beside}/192.0.2.8:80");
    let _other = zookeeper.hold(&other, "{}");
    let note = format!("/test/services/{beside}/note");
    zookeeper.put(&note, "mine");
    let path = path_of(&instead, &instead_web);
    let original = zookeeper.hold(&path, "{\"Name\":\"theirs\"}");

    let registrator = registrator(zookeeper.address(), &unique("host"));
    await_node(&zookeeper, &beside, &path_of(&beside, &beside_web));
    wait_for("it to say whose the node is", || {
        let said = registrator.said();
        let told = said
            .lines()
            .any(|line| line.contains(&path) && line.contains("which is not ours"));
        if told { Ok(()) } else { Err(said) }
    });
    let theirs = known(&zookeeper, &instead).expect("it is there")[&path]
        .data
        .clone();
    assert_eq!(theirs, "{\"Name\":\"theirs\"}");

    // The place is taken as soon as it is free; what stays beside ours stays when ours has gone.
    drop(original);
    wait_at_most(Duration::from_secs(40), "the place to be taken", || {
        let node = known(&zookeeper, &instead)?
            .remove(&path)
            .ok_or("it is missing")?;
        let body: Value = serde_json::from_str(&node.data).map_err(|error| error.to_string())?;
        same(body["Name"].as_str() == Some(&*instead), true)
    });
    beside_web.remove();
    wait_for("ours to go", || {
        let left: Vec<String> = known(&zookeeper, &beside)?.into_keys().collect();
        same(
            left,
            vec![format!("/test/services/{beside}"), other.clone(), note.clone()],
        )
    });
}
