//! A swarm of one node, on an engine of the test's own: what its routing mesh publishes, and what a task's host does.
//!
//! Traffic through a mesh takes IPVS in the kernel, which not every machine has: what is asked for here is where
//! services are registered.

use serde_json::{Value, json};

use crate::harness::{Agent, OwnEngine, agent, same, wait_for};

/// Where the image `lictor-whoami` listens.
const PORT: u16 = 8000;
/// Its namespace is the engine's own: no other test has these ports.
const MESH: u16 = 18_080;
const HOST: u16 = 18_081;

fn swarm() -> OwnEngine {
    let own = OwnEngine::start();
    docker(&own, &["swarm", "init", "--advertise-addr=127.0.0.1"]);
    own
}

fn docker(own: &OwnEngine, arguments: &[&str]) -> String {
    let answer = own.engine.docker(arguments);
    answer.unwrap_or_else(|reason| panic!("{reason}"))
}

/// Makes a service of the image that is there already: there is nobody to ask for a newer one.
fn create(own: &OwnEngine, name: &str, replicas: u8, publish: &str) {
    let replicas = format!("--replicas={replicas}");
    let (publish, image) = (format!("--publish={publish}"), "lictor-whoami");
    let arguments = [
        "service",
        "create",
        "--detach",
        "--no-resolve-image",
        "--name",
        name,
        &replicas,
        &publish,
        image,
    ];
    docker(own, &arguments);
}

/// Ids, addresses and ports of the only service there is, and the containers behind them.
fn places(agent: &Agent) -> Result<Vec<Value>, String> {
    let rows = agent.instances("lictor-whoami")?;
    let place = |row: &Value| json!([row["ServiceID"], row["ServiceAddress"], row["ServicePort"]]);
    Ok(rows.iter().map(place).collect())
}

/// Whole ids of the containers that run.
fn running(own: &OwnEngine) -> Vec<String> {
    let ids = docker(own, &["ps", "-q", "--no-trunc"]);
    ids.lines().map(str::to_owned).collect()
}

fn behind(agent: &Agent) -> Result<String, String> {
    let rows = agent.instances("lictor-whoami")?;
    let [row] = rows.as_slice() else {
        return Err(format!("{} instances", rows.len()));
    };
    Ok(row["ServiceMeta"]["lictor-container"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

#[test]
fn what_a_routing_mesh_publishes_is_one_instance_that_outlives_each_of_its_tasks() {
    let own = swarm();
    create(&own, "shop_web", 2, &format!("published={MESH},target={PORT}"));
    wait_for("two tasks", || same(running(&own).len(), 2));
    let agent = agent()
        .env("DOCKER_HOST", &format!("unix://{}", own.socket().display()))
        .start();
    let id = format!("{}:shop_web:{PORT}", agent.node());
    let wanted = vec![json!([id, "127.0.0.1", MESH])];
    wait_for("one instance", || same(places(&agent)?, wanted.clone()));

    // The task that stands for both goes, and the other one does so.
    let first = behind(&agent).expect("it was there");
    let other = running(&own).into_iter().find(|task| *task != first);
    let other = other.expect("there are two");
    docker(&own, &["kill", &first]);
    wait_for("the other task to stand for it", || {
        same(places(&agent)?, wanted.clone())?;
        same(behind(&agent)?, other.clone())
    });
    docker(&own, &["service", "rm", "shop_web"]);
    wait_for("nothing", || same(places(&agent)?, Vec::new()));
    let said = agent.said();
    assert!(!said.contains("has the id"), "tasks are no rivals:\n{said}");
}

#[test]
fn what_a_task_publishes_on_its_own_host_is_an_instance_of_its_own_and_explain_tells_both_apart() {
    let own = swarm();
    create(
        &own,
        "shop_host",
        1,
        &format!("mode=host,published={HOST},target={PORT}"),
    );
    create(&own, "shop_web", 1, &format!("published={MESH},target={PORT}"));
    wait_for("two tasks", || same(running(&own).len(), 2));
    let socket = format!("unix://{}", own.socket().display());
    let agent = agent().env("DOCKER_HOST", &socket).start();
    let names = docker(&own, &["ps", "--format", "{{.Names}}"]);
    let named = |service: &str| {
        names
            .lines()
            .find(|name| name.starts_with(service))
            .expect("a task of it")
    };
    let (host, web) = (named("shop_host"), named("shop_web"));
    let wanted = vec![
        json!([format!("{}:{host}:{PORT}", agent.node()), "127.0.0.1", HOST]),
        json!([format!("{}:shop_web:{PORT}", agent.node()), "127.0.0.1", MESH]),
    ];
    wait_for("both", || same(places(&agent)?, wanted.clone()));

    let words = ["registrator", "-ip=10.9.8.7", "explain", web];
    let (code, said) = crate::harness::agent()
        .env("DOCKER_HOST", &socket)
        .command(&words)
        .finish();
    assert_eq!(code, 0, "{said}");
    let port = format!("{MESH}  (routing mesh of the swarm)");
    for line in [port.as_str(), "(host name, swarm service, port)"] {
        assert!(said.contains(line), "{line:?} in:\n{said}");
    }
}
