//! Names asked with `dig`, as users do; only passing instances are answered.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use serde_json::json;

use crate::harness::{Agent, agent, http, machine, same, unique, wait_for};

/// The answer section in short form, one record a line, sorted.
fn dig(agent: &Agent, name: &str, kind: &str) -> Result<Vec<String>, String> {
    let port = agent.dns().port().to_string();
    let mut command = Command::new("dig");
    command.args([
        "@127.0.0.1",
        "-p",
        &port,
        "+short",
        "+tries=1",
        "+time=2",
        name,
        kind,
    ]);
    let done = command
        .output()
        .map_err(|e| format!("dig: {e}; install it with: apt-get install dnsutils"))?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    if !done.status.success() {
        return Err(format!("dig {name} {kind}: {text}"));
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    Ok(lines)
}

#[test]
fn a_container_has_its_address_and_its_port_in_dns() {
    let docker = machine();
    let agent = agent().start();
    let service = unique("redis");
    let redis = docker
        .container("redis")
        .label("SERVICE_NAME", &service)
        .label("SERVICE_TAGS", "main")
        .start();
    let name = format!("{service}.service.consul");
    agent.await_passing(&service, 1);

    assert_eq!(dig(&agent, &name, "A"), Ok(vec!["127.0.0.1".to_owned()]));
    let port = redis.published(6379);
    for question in [
        name,
        format!("main.{service}.service.consul"),
        format!("_{service}._main.service.consul"),
    ] {
        let records = dig(&agent, &question, "SRV").expect("dig runs");
        assert_eq!(records.len(), 1, "{question}: {records:?}");
        assert!(
            records[0].starts_with(&format!("1 1 {port} ")),
            "{question}: {records:?}"
        );
    }
    assert_eq!(
        dig(&agent, &format!("other.{service}.service.consul"), "SRV"),
        Ok(Vec::new())
    );
    assert_eq!(
        dig(&agent, &format!("{}.node.consul", agent.node()), "A"),
        Ok(vec!["127.0.0.1".to_owned()])
    );
}

#[test]
fn a_critical_check_takes_an_instance_out_of_dns_and_out_of_the_table() {
    let agent = agent().flag("-registrator=false").start();
    let service = unique("web");
    let upstream = upstream();
    let path = format!("/{service}");
    let definition = json!({
        "ID": service, "Name": service, "Address": "127.0.0.1", "Port": upstream.port(),
        "Tags": [format!("urlprefix-{path}")],
        "Check": { "CheckID": service, "TTL": "10m" },
    });
    agent
        .tell("/v1/agent/service/register", &definition)
        .expect("the definition is valid");
    let name = format!("{service}.service.consul");
    let dns_has = |count| wait_for("DNS to follow", || same(dig(&agent, &name, "A")?.len(), count));

    // Critical until somebody says otherwise.
    assert_eq!(dig(&agent, &name, "A"), Ok(Vec::new()));
    agent
        .tell(&format!("/v1/agent/check/pass/{service}"), &json!(null))
        .expect("the check is known");
    dns_has(1);
    agent.await_status("any.example", &path, 200);

    agent
        .tell(&format!("/v1/agent/check/fail/{service}"), &json!(null))
        .expect("the check is known");
    dns_has(0);
    agent.await_status("any.example", &path, 503);

    agent
        .tell(&format!("/v1/agent/check/pass/{service}"), &json!(null))
        .expect("the check is known");
    dns_has(1);
    agent.await_status("any.example", &path, 200);

    agent
        .tell(&format!("/v1/agent/service/deregister/{service}"), &json!(null))
        .expect("the service is known");
    agent.await_status("any.example", &path, 404);
}

/// A server that answers 200 to whatever it is sent.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || http::answer_ok(&connection));
        }
    });
    address
}
