//! Containers that stop under traffic: politely, and no request fails; killed, and only those on their way do.

use std::time::Instant;

use crate::harness::{Agent, Container, Engine, Traffic, agent, http, machine, unique, wait_for};

/// As many as the promise names.
const PER_SECOND: u32 = 200;

/// Two instances of an image behind one path, both in the table.
fn pair<'a>(docker: &'a Engine, agent: &Agent, image: &str, path: &str) -> [Container<'a>; 2] {
    let service = unique("drained");
    let tag = format!("urlprefix-{path}");
    let one = || {
        docker
            .container(image)
            .label("SERVICE_NAME", &service)
            .label("SERVICE_TAGS", &tag)
            .start()
    };
    let pair = [one(), one()];
    agent.await_passing(&service, 2);
    let ports = pair
        .each_ref()
        .map(|container| container.published(if image == "nginx" { 80 } else { 8000 }));
    wait_for("both instances in the routing table", || {
        let table = http::get(agent.ui(), "/api/routes").ok()?;
        let missing = ports.iter().find(|port| !table.contains(&format!(":{port}")));
        missing.map_or(Ok(()), |port| Err(format!("no {port} in {table}")))
    });
    pair
}

/// L18, L45, R19.
#[test]
fn docker_stop_under_traffic_fails_no_request() {
    let docker = machine();
    for image in ["nginx", "lictor-whoami"] {
        let agent = agent().start();
        let path = format!("/{}", unique("stop"));
        let [first, _second] = pair(docker, &agent, image, &path);
        let traffic = Traffic::start(&http::get(agent.proxy(), &path), PER_SECOND);
        traffic.flow(100);

        first.stop();

        traffic.flow(200);
        let (answered, failures) = traffic.stop();
        assert!(
            failures.is_empty(),
            "{image}: {} failed, {answered} did not: {failures:#?}",
            failures.len()
        );
    }
}

#[test]
fn docker_kill_under_traffic_fails_at_most_the_requests_on_their_way() {
    let docker = machine();
    let agent = agent().start();
    // Requests that last 20 ms: at 200 a second, four are on their way at any moment, two on each instance.
    let path = "/slow/20";
    let [first, _second] = pair(docker, &agent, "lictor-whoami", path);
    let traffic = Traffic::start(&http::get(agent.proxy(), path), PER_SECOND);
    traffic.flow(100);

    first.kill();
    let killed = Instant::now();

    traffic.flow(200);
    let (_, failures) = traffic.stop();
    assert!(
        failures.len() <= Traffic::AT_ONCE,
        "{} failed: {failures:#?}",
        failures.len()
    );
    let late: Vec<_> = failures
        .iter()
        .filter(|failure| failure.started > killed)
        .collect();
    assert!(
        late.is_empty(),
        "these began after the container was gone: {late:#?}"
    );
}

#[test]
fn a_request_in_progress_outlives_the_stop_of_its_container() {
    let docker = machine();
    let agent = agent().start();
    let (service, prefix) = (unique("slow"), unique("p"));
    let tag = format!("urlprefix-/{prefix} strip=/{prefix}");
    let container = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .label("SERVICE_TAGS", &tag)
        .start();
    agent.await_status("any.example", &format!("/{prefix}/health"), 200);

    let request = http::get(agent.proxy(), &format!("/{prefix}/slow/2000"));
    let slow = std::thread::spawn(move || request.send());
    wait_for("the slow request to reach the container", || {
        let logs = container.logs();
        if logs.contains("/slow/2000") {
            Ok(())
        } else {
            Err(logs)
        }
    });
    container.stop();

    let answer = slow
        .join()
        .expect("the client does not panic")
        .expect("the answer is complete");
    assert_eq!(answer.status, 200);
    http::get(agent.proxy(), &format!("/{prefix}/health"))
        .status(503)
        .expect("nothing is left to answer");
}
