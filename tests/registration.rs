//! A container starts and is in the catalog by itself; it goes and is gone; the engine may be missing or late.

use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{agent, http, machine, same, unique, wait_for};

#[test]
fn a_plain_redis_is_registered_in_the_shape_of_the_founding_document() {
    let docker = machine();
    let agent = agent().start();
    let redis = docker.container("redis").start();

    let id = format!("{}:{}:6379", agent.node(), redis.name());
    // Other tests run images called redis as well; ours is found by its id.
    let entry = wait_for("redis in the catalog", || {
        let rows = agent.instances("redis")?;
        rows.iter()
            .find(|row| row["ServiceID"] == id.as_str())
            .cloned()
            .ok_or_else(|| json!(rows).to_string())
    });

    assert_eq!(entry["Node"], agent.node());
    assert_eq!(entry["Address"], "127.0.0.1");
    assert_eq!(entry["ServiceName"], "redis");
    assert_eq!(entry["ServiceAddress"], "127.0.0.1");
    assert_eq!(entry["ServicePort"], redis.published(6379));
    assert_eq!(entry["ServiceTags"], json!([]));
}

#[test]
fn redis_answers_pong_through_a_tcp_route() {
    let docker = machine();
    let agent = agent().tcp_listener().start();
    let service = unique("cache");
    let port = agent.tcp().port();
    let _redis = docker
        .container("redis")
        .label("SERVICE_NAME", &service)
        .label("SERVICE_TAGS", &format!("urlprefix-:{port} proto=tcp"))
        .start();

    agent.await_passing(&service, 1);
    wait_for("PONG through the balancer", || {
        let asked = Command::new("redis-cli")
            .args(["-p", &port.to_string(), "PING"])
            .output();
        let asked = asked
            .map_err(|error| format!("redis-cli: {error}; install it with: apt-get install redis-tools"))?;
        same(String::from_utf8_lossy(&asked.stdout).trim(), "PONG")
    });
}

#[test]
fn a_container_without_a_check_is_passing_as_soon_as_it_runs_and_gone_when_removed() {
    let docker = machine();
    let agent = agent().start();
    let service = unique("plain");
    let container = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .start();
    agent.await_passing(&service, 1);

    container.remove();

    wait_for("the removed container to leave the catalog", || {
        same(agent.instances(&service)?.len(), 0)
    });
    let services = agent.ask("/v1/catalog/services").expect("the API answers");
    assert_eq!(
        services.get(&service),
        None,
        "a service without instances is no service"
    );
}

/// R18.
#[test]
fn a_check_that_a_container_brings_runs_at_once_and_not_after_its_interval() {
    let docker = machine();
    let agent = agent().start();
    let service = unique("checked");
    let _container = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .label("SERVICE_CHECK_HTTP", "/health")
        .label("SERVICE_CHECK_INTERVAL", "10m")
        .start();

    let entry = agent.await_passing(&service, 1).remove(0);

    let checks = entry["Checks"]
        .as_array()
        .expect("health answers list the checks");
    let output = |check: &Value| check["Output"].as_str().unwrap_or_default().to_owned();
    assert!(
        checks.iter().any(|check| output(check).contains("200")),
        "no check tells of the answer: {checks:?}"
    );
}

/// R18.
#[test]
fn a_running_container_whose_healthcheck_fails_is_known_and_gets_no_traffic() {
    let docker = machine();
    let agent = agent().start();
    let (service, path) = (unique("unhealthy"), format!("/{}", unique("unhealthy")));
    // The image has no shell to run this in, so it fails every time.
    let _container = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .label("SERVICE_TAGS", &format!("urlprefix-{path}"))
        .option("--health-cmd=anything")
        .option("--health-interval=1s")
        .option("--health-retries=1")
        .start();

    wait_for("the verdict of the engine in the catalog", || {
        let checks = agent.ask(&format!("/v1/health/checks/{service}"))?;
        let told = checks[0]["Output"].as_str().unwrap_or_default();
        if told.starts_with("unhealthy") {
            same(&checks[0]["Status"], &json!("critical"))
        } else {
            Err(checks.to_string())
        }
    });

    assert_eq!(agent.passing(&service), Ok(Vec::new()));
    agent.await_status("any.example", &path, 503);
}

#[test]
fn names_tags_and_attributes_come_from_labels_and_environment_port_by_port() {
    let docker = machine();
    let agent = agent().start();
    let (web, admin) = (unique("web"), unique("admin"));
    let _container = docker
        .container("lictor-whoami")
        .option("--expose=9000")
        .env("SERVICE_TAGS", "from-the-environment")
        .env("SERVICE_REGION", "eu")
        .label("SERVICE_8000_NAME", &web)
        .label("SERVICE_9000_NAME", &admin)
        .label("SERVICE_9000_TAGS", "one,two\\,three")
        .start();

    let web = wait_for("the first port", || {
        agent.instances(&web)?.pop().ok_or_else(|| "nothing".to_owned())
    });
    let admin = wait_for("the second port", || {
        agent.instances(&admin)?.pop().ok_or_else(|| "nothing".to_owned())
    });

    assert_eq!(web["ServiceTags"], json!(["from-the-environment"]));
    assert_eq!(web["ServiceMeta"]["region"], "eu");
    let mut tags: Vec<&str> = admin["ServiceTags"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    tags.sort_unstable();
    assert_eq!(tags, ["one", "two,three"]);
}

#[test]
fn a_container_that_asks_to_be_ignored_is_not_registered() {
    let docker = machine();
    let agent = agent().start();
    let (ignored, marker) = (unique("ignored"), unique("marker"));
    let _silent = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &ignored)
        .label("SERVICE_IGNORE", "true")
        .start();
    let _after = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &marker)
        .start();

    // Once the later container is known, the earlier one has been looked at.
    agent.await_passing(&marker, 1);

    assert_eq!(agent.instances(&ignored), Ok(Vec::new()));
}

/// L47, R17.
#[test]
fn an_agent_without_docker_stays_up_says_why_and_takes_the_engine_up_when_it_appears() {
    let docker = machine();
    let directory = tempfile::tempdir().expect("/tmp is writable");
    let socket = directory.path().join("docker.sock");
    let mut agent = agent()
        .env("DOCKER_HOST", &format!("unix://{}", socket.display()))
        .start();
    let service = unique("late");
    let _container = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .start();

    wait_for("the agent to say that Docker is missing", || {
        let said = agent.said();
        if said.contains(&socket.display().to_string()) {
            Ok(())
        } else {
            Err(said)
        }
    });
    assert_eq!(agent.instances(&service), Ok(Vec::new()));
    wait_for("a few more attempts", || {
        let metrics = http::get(agent.http(), "/metrics").ok()?;
        let failed = "lictor_registrator_failures_total{operation=\"connect\"} ";
        let failed = metrics.lines().find_map(|line| line.strip_prefix(failed));
        let failed = failed.and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
        if failed >= 4 {
            Ok(())
        } else {
            Err(format!("{failed} attempts"))
        }
    });
    let warnings = agent.said().lines().filter(|line| line.contains("WARN")).count();
    assert_eq!(warnings, 1, "said once, not at every attempt:\n{}", agent.said());
    assert!(agent.running());

    symlink("/var/run/docker.sock", &socket).expect("the directory is ours");

    agent.await_passing(&service, 1);
    agent.assert_calm();
}

/// L22, R7.
#[test]
fn a_container_that_restarts_is_registered_with_its_new_port() {
    let docker = machine();
    let agent = agent().start();
    let service = unique("moving");
    let container = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .start();
    agent.await_passing(&service, 1);

    docker
        .docker(&["restart", container.name()])
        .expect("a running container restarts");
    let port = container.published(8000);

    wait_for("the new port in the catalog", || {
        let ports: Vec<Value> = agent
            .passing(&service)?
            .iter()
            .map(|row| row["Service"]["Port"].clone())
            .collect();
        same(ports, vec![json!(port)])
    });
}
