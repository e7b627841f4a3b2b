//! Engines as they really are: Podman behind the socket where Docker is expected, and programs run inside containers of
//! both.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use catalog::Registration;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use registrator::registry::{Abilities, Error, Offer, Registry};
use registrator::{Config, Connection, EngineAddress, ExecError, Inside, Outcome};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::{Agent, Cut, PATIENCE, Podman, agent, machine, same, unique, wait_for};

/// L23, L24, L53.
#[test]
fn containers_of_podman_come_pause_move_and_go() {
    let podman = Podman::start();
    let agent = agent().env("DOCKER_HOST", podman.host()).start();
    let engine = |arguments: &[&str]| {
        podman
            .engine
            .docker(arguments)
            .unwrap_or_else(|reason| panic!("{reason}"))
    };
    let (service, name, other) = (unique("pod"), unique("lictor-test"), unique("lictor-test"));
    let label = format!("SERVICE_NAME={service}");
    engine(&[
        "create",
        "--name",
        &other,
        "-P",
        "--label",
        &label,
        "lictor-whoami",
    ]);
    engine(&[
        "run",
        "-d",
        "--name",
        &name,
        "-p",
        "18123:8000",
        "--label",
        &label,
        "lictor-whoami",
    ]);

    let rows = agent.await_passing(&service, 1);
    assert_eq!(rows[0]["Service"]["Port"], 18123);
    engine(&["pause", &name]);
    awaits_status(&agent, &service, "critical", "paused");
    engine(&["unpause", &name]);
    agent.await_passing(&service, 1);
    engine(&["rename", &name, &format!("{name}-b")]);
    awaits_ids(&agent, &service, &[&format!("{}:{name}-b:8000", agent.node())]);
    let name = format!("{name}-b");
    engine(&["stop", "-t", "5", &name]);
    awaits_ids(&agent, &service, &[]);
    engine(&["start", &name]);
    agent.await_passing(&service, 1);
    engine(&["kill", "-s", "KILL", &name]);
    awaits_ids(&agent, &service, &[]);
    engine(&["start", &other]);
    awaits_ids(&agent, &service, &[&format!("{}:{other}:8000", agent.node())]);
    engine(&["rm", "-f", &other]);
    awaits_ids(&agent, &service, &[]);
    assert!(agent.said().contains("api=1.41"), "{}", agent.said());
}

/// L52: Podman has no daemon, only a service that answers; containers do not notice its end.
#[test]
fn a_service_of_podman_that_ends_and_returns_costs_no_entry_and_hides_no_container() {
    let podman = Podman::start();
    let mut agent = agent().env("DOCKER_HOST", podman.host()).start();
    let (old, new) = (unique("old"), unique("new"));
    let run = |service: &str| {
        let label = format!("SERVICE_NAME={service}");
        let run = podman
            .engine
            .docker(&["run", "-d", "-P", "--label", &label, "lictor-whoami"]);
        run.unwrap_or_else(|reason| panic!("{reason}"))
    };
    let id = run(&old);
    let created = agent.await_passing(&old, 1)[0]["Service"]["CreateIndex"].clone();
    podman.restart();
    run(&new);
    agent.await_passing(&new, 1);
    assert_eq!(agent.await_passing(&old, 1)[0]["Service"]["CreateIndex"], created);
    podman.engine.docker(&["rm", "-f", &id]).expect("it is there");
    awaits_ids(&agent, &old, &[]);
    agent.assert_calm();
}

/// L52.
#[test]
fn of_a_pod_its_members_are_registered_and_not_what_holds_its_network() {
    let podman = Podman::start();
    let agent = agent().env("DOCKER_HOST", podman.host()).start();
    let (service, pod, name) = (unique("pod"), unique("lictor-pod"), unique("lictor-test"));
    let infra = ["--infra-image", "lictor-whoami", "--infra-command", "/whoami"];
    let create = [&["pod", "create", "--name", &pod, "-p", "18124:8000"][..], &infra].concat();
    podman.podman(&create).unwrap_or_else(|reason| panic!("{reason}"));
    let label = format!("SERVICE_NAME={service}");
    let listen = "-listen=0.0.0.0:9000";
    let run = [
        "run",
        "-d",
        "--pod",
        &pod,
        "--name",
        &name,
        "--label",
        &label,
        "lictor-whoami",
        listen,
    ];
    podman.podman(&run).unwrap_or_else(|reason| panic!("{reason}"));

    let rows = agent.await_passing(&service, 1);
    assert_eq!(rows[0]["Service"]["Port"], 18124);
    assert_eq!(
        podman.engine.docker(&["ps", "-q"]).map(|all| all.lines().count()),
        Ok(2)
    );
    assert!(!agent.said().contains("-infra"), "{}", agent.said());
}

#[test]
fn the_healthcheck_of_a_container_of_podman_decides_over_its_traffic() {
    let podman = Podman::start();
    let agent = agent().env("DOCKER_HOST", podman.host()).start();
    let (service, name) = (unique("pod"), unique("lictor-test"));
    // It refuses options it does not know. Without a shell, as there is none in the image.
    let wanted = json!({
        "Image": "lictor-whoami", "Labels": {"SERVICE_NAME": service}, "HostConfig": {"PublishAllPorts": true},
        "Healthcheck": {"Test": ["CMD", "/whoami", "-nonsense"], "Retries": 1, "Interval": 3_600_000_000_000_u64},
    });
    let made = podman.post(&format!("/containers/create?name={name}"), &wanted);
    made.unwrap_or_else(|reason| panic!("{reason}"));
    podman
        .engine
        .docker(&["start", &name])
        .unwrap_or_else(|reason| panic!("{reason}"));
    awaits_status(&agent, &service, "critical", "starting");
    // The timers that probe elsewhere are systemd's. Podman tells of a probe before it writes down the verdict: this one
    // is heard of with the next.
    for _ in 0..2 {
        let refused = podman.podman(&["healthcheck", "run", &name]);
        assert!(refused.is_err(), "{refused:?}");
    }
    awaits_status(&agent, &service, "critical", "unhealthy");
}

fn awaits_ids(agent: &Agent, service: &str, ids: &[&str]) {
    wait_for(&format!("{service} to be {ids:?}"), || {
        let rows = agent.instances(service)?;
        let seen: Vec<&str> = rows.iter().filter_map(|row| row["ServiceID"].as_str()).collect();
        same(seen, ids.to_vec())
    });
}

fn awaits_status(agent: &Agent, service: &str, status: &str, says: &str) {
    wait_for(&format!("{service} to be {status}: {says}"), || {
        let checks = agent.ask(&format!("/v1/health/checks/{service}"))?;
        let right = |check: &Value| {
            check["Status"] == status
                && check["Output"]
                    .as_str()
                    .is_some_and(|output| output.contains(says))
        };
        let found = checks.as_array().is_some_and(|checks| checks.iter().any(right));
        if found { Ok(()) } else { Err(checks.to_string()) }
    });
}

#[test]
fn a_program_runs_inside_a_container_of_docker_and_of_podman() {
    let docker = machine();
    let container = docker.container("lictor-whoami").start();
    programs_run_inside(EngineAddress::default(), container.name());

    let podman = Podman::start();
    let container = podman.engine.container("lictor-whoami").start();
    let address = EngineAddress {
        host: Some(podman.host().to_owned()),
        ..EngineAddress::default()
    };
    programs_run_inside(address, container.name());
}

fn programs_run_inside(engine: EngineAddress, container: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime of two threads");
    runtime.block_on(async {
        let mut config = Config::new("t1", "10.0.0.1".parse().expect("an address"), "me");
        config.engine = engine;
        let registrator = config.build(vec![Arc::new(Nowhere)]).expect("it is all defaults");
        let (inside, mut status) = (registrator.inside(), registrator.status());
        let stop = CancellationToken::new();
        let running = tokio::spawn(registrator.run(stop.clone()));
        let heard = status.wait_for(|status| status.engine == Connection::Connected);
        let heard = tokio::time::timeout(PATIENCE, heard).await;
        heard.expect("the engine answers").expect("the registrator runs");

        // It refuses options it does not know, and a second server finds its port taken.
        let refused = run(&inside, container, &["/whoami", "-nonsense"]).await;
        let refused = refused.expect("it ran");
        assert!(
            refused.code != 0 && refused.output.contains("unknown option"),
            "{refused:?}"
        );
        let server = words(&["/whoami", "-listen=127.0.0.1:0"]);
        let endless = inside
            .run(container, &server, &[], Duration::from_millis(300))
            .await;
        assert!(matches!(endless, Err(ExecError::Late { .. })), "{endless:?}");
        let missing = run(&inside, container, &["/bin/nothing"]).await;
        assert!(
            missing.as_ref().map_or(true, |outcome| outcome.code != 0),
            "{missing:?}"
        );
        let nobody = run(&inside, &unique("nobody"), &["/whoami"]).await;
        assert!(matches!(nobody, Err(ExecError::NoContainer { .. })), "{nobody:?}");
        stop.cancel();
        running.await.expect("no panic").expect("it stops when told");
    });
}

async fn run(inside: &Inside, container: &str, command: &[&str]) -> Result<Outcome, ExecError> {
    inside.run(container, &words(command), &[], PATIENCE).await
}

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|&word| word.to_owned()).collect()
}

/// A registry that takes everything and keeps nothing.
struct Nowhere;

impl Registry for Nowhere {
    fn name(&self) -> String {
        "nowhere".to_owned()
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }

    fn services(&self) -> BoxFuture<'_, Result<Option<Vec<Registration>>, Error>> {
        async { Ok(Some(Vec::new())) }.boxed()
    }

    fn register<'a>(&'a self, _wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }

    fn refresh<'a>(&'a self, _wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }

    fn deregister<'a>(&'a self, _key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }
}

#[test]
fn an_engine_without_root_is_found_where_its_user_has_it() {
    let docker = machine();
    let directory = tempfile::tempdir().expect("/tmp is writable");
    let line = Cut::between(
        &directory.path().join("docker.sock"),
        Path::new("/var/run/docker.sock"),
    );
    let user = directory.path().display().to_string();
    // The sockets of engines of root are in /run.
    let agent = agent().hiding("/run").env("XDG_RUNTIME_DIR", &user).start();
    let service = unique("user");
    let _container = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .start();
    agent.await_passing(&service, 1);
    assert!(
        agent.said().contains(&format!("engine={}", line.host())),
        "{}",
        agent.said()
    );
}

#[test]
fn an_engine_that_cannot_be_named_like_this_is_refused_with_what_to_do() {
    for (host, hint) in [
        ("ssh://me@host", "forward the socket with ssh -N -L"),
        ("npipe:////./pipe/docker_engine", "Windows"),
        ("somewhere", "an address like unix:///var/run/docker.sock"),
    ] {
        let asked = agent().command(&["registrator", "consul://127.0.0.1:1"]);
        let (code, said) = asked.env("DOCKER_HOST", host).finish();
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("DOCKER_HOST") && said.contains(hint), "{said}");
    }
}
