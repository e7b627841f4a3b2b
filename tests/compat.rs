//! Other people's programs as clients of the agent, and its parts alone, in the seats of fabio and registrator: all of
//! them meet the agent only as somebody's Consul.

use std::path::Path;
use std::process::Command;

use crate::harness::{Agent, agent, http, machine, same, unique, wait_for};

fn foreign_consul() -> Agent {
    agent().flag("-registrator=false").start()
}

#[test]
fn registrator_and_lb_as_processes_of_their_own_do_the_main_job_through_a_foreign_consul() {
    let docker = machine();
    let consul = foreign_consul();
    let host = unique("host");
    let hostname = format!("-hostname={host}");
    let uri = format!("consul://{}", consul.http());
    let _registrator = agent()
        .command(&["registrator", "-ip=127.0.0.1", &hostname, &uri])
        .start_parts(&[]);
    let registry = format!("-registry.consul.addr={}", consul.http());
    let lb = ["lb", &registry, "-proxy.addr=127.0.0.1:0", "-ui.addr=127.0.0.1:0"];
    let lb = agent().command(&lb).start_parts(&["proxy", "ui"]);

    let (service, path) = (unique("foreign"), format!("/{}", unique("foreign")));
    // fabio's rule, which is the default under its name: only what has a passing check is routed.
    let web = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .label("SERVICE_TAGS", &format!("urlprefix-{path}"))
        .label("SERVICE_CHECK_HTTP", "/health")
        .label("SERVICE_CHECK_INTERVAL", "1s")
        .start();

    let entry = consul.await_passing(&service, 1).remove(0);
    assert_eq!(entry["Service"]["ID"], format!("{host}:{}:8000", web.name()));
    assert_eq!(entry["Service"]["Port"], web.published(8000));
    lb.await_status("any.example", &path, 200);

    web.remove();

    wait_for("the service to leave the foreign catalog", || {
        same(consul.instances(&service)?.len(), 0)
    });
    lb.await_status("any.example", &path, 404);
}

#[test]
fn a_registrator_that_is_gone_leaves_its_registrations_as_its_users_expect() {
    let docker = machine();
    let consul = foreign_consul();
    let uri = format!("consul://{}", consul.http());
    let registrator = agent()
        .command(&["registrator", "-ip=127.0.0.1", &uri])
        .start_parts(&[]);
    let service = unique("kept");
    let _web = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .start();
    wait_for("the registration", || same(consul.instances(&service)?.len(), 1));

    registrator.kill();

    assert_eq!(consul.instances(&service).map(|rows| rows.len()), Ok(1));
}

#[test]
fn one_registrator_writes_to_several_catalogs_and_one_that_is_gone_holds_up_no_other() {
    let docker = machine();
    let [lost, held] = [foreign_consul(), foreign_consul()];
    let [lost_uri, uri] = [&lost, &held].map(|consul| format!("consul://{}", consul.http()));
    let _registrator = agent()
        .command(&["registrator", "-ip=127.0.0.1", &lost_uri, &uri])
        .start_parts(&[]);
    let also = format!("-registrator.also={uri}");
    let own = agent()
        .flag(&also)
        .flag(&format!("-node={}", unique("own")))
        // Two that follow one engine are told apart in one catalog by what they are told.
        .flag("-registrator.owner=own")
        .start();
    let service = unique("everywhere");
    let web = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .start();
    lost.await_passing(&service, 1);
    own.await_passing(&service, 1);
    // From the registrator, and from the agent that has a catalog of its own.
    held.await_passing(&service, 2);

    lost.kill();
    web.remove();

    for consul in [&held, &own] {
        wait_for("the service to leave", || {
            same(consul.instances(&service)?.len(), 0)
        });
    }
}

#[test]
fn the_lb_alone_follows_a_foreign_consul_that_goes_away_and_keeps_its_last_table() {
    let docker = machine();
    let consul = agent().start();
    let registry = format!("-registry.consul.addr={}", consul.http());
    let lb = ["lb", &registry, "-proxy.addr=127.0.0.1:0", "-ui.addr=127.0.0.1:0"];
    let mut lb = agent().command(&lb).start_parts(&["proxy", "ui"]);
    let path = format!("/{}", unique("kept"));
    let tag = format!("urlprefix-{path}");
    let _web = docker
        .container("lictor-whoami")
        .label("SERVICE_TAGS", &tag)
        .label("SERVICE_CHECK_HTTP", "/health")
        .label("SERVICE_CHECK_INTERVAL", "1s")
        .start();
    lb.await_status("any.example", &path, 200);

    consul.kill();

    for _ in 0..20 {
        http::get(lb.proxy(), &path)
            .status(200)
            .expect("the last table is kept");
    }
    lb.assert_calm();
}

#[test]
fn python_consul_finds_a_consul() {
    run_python_client("python-consul");
}

#[test]
fn py_consul_finds_a_consul() {
    run_python_client("py-consul");
}

/// Runs `compat/client.py` with a client library from PyPI.
fn run_python_client(library: &str) {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(library)
        .join("bin/python");
    assert!(
        python.exists(),
        "{} is missing: tests/tools.sh, which `make test` begins with, installs it",
        python.display()
    );
    let mut agent = foreign_consul();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/compat/client.py");

    let ended = Command::new(python)
        .args([script, &agent.http().port().to_string()])
        .output()
        .expect("it is there");

    let said = [ended.stdout, ended.stderr].concat();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&said));
    agent.assert_calm();
}
