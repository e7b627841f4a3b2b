//! Three hundred containers at once, on an engine whose event stream is cut and which itself restarts meanwhile.
//!
//! The engine is the test's own; the machine's is never touched. What must hold afterwards is exact: the catalog
//! is the set of running containers, nothing lost and no ghost.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Agent, Cut, Engine, OwnEngine, agent, unique, wait_at_most};

const CONTAINERS: usize = 300;
/// Clients of the engine at once: a burst is one that the engine has to queue.
const STARTERS: usize = 12;
const PATIENCE: Duration = Duration::from_secs(120);

/// L4, L7, R1, R3, R17.
#[test]
fn after_300_starts_cut_streams_and_an_engine_restart_the_catalog_is_what_runs() {
    let own = OwnEngine::start();
    let directory = tempfile::tempdir().expect("/tmp is writable");
    let line = Cut::between(&directory.path().join("docker.sock"), &own.socket());
    let mut agent = agent().env("DOCKER_HOST", &line.host()).start();
    let service = unique("burst");

    start_while(&own.engine, &service, || {
        // The daemon goes when a good part of them runs, and comes back. Every second container has a restart
        // policy, so it comes back as well, on another port; the others of that part stay dead.
        wait_at_most(PATIENCE, "the first hundred", || {
            line.cut();
            let count = running(&own.engine)?.len();
            if count >= CONTAINERS / 3 {
                Ok(())
            } else {
                Err(format!("{count} run"))
            }
        });
        own.restart();
        line.cut();
    });

    wait_at_most(PATIENCE, "the catalog to be what runs", || {
        compare(&agent, &own.engine, &service)
    });
    let running = running(&own.engine).expect("the engine answers");
    assert!(
        running.len() >= CONTAINERS / 2,
        "the last third and the restarted run: {}",
        running.len()
    );

    // Half of what is left goes in one stroke, its last words lost with the line.
    let half: Vec<&str> = running.iter().step_by(2).map(|(name, _)| name.as_str()).collect();
    line.cut();
    own.engine
        .docker(&[&["rm", "-f"], half.as_slice()].concat())
        .expect("running containers can be removed");
    line.cut();
    wait_at_most(PATIENCE, "the removed to leave the catalog", || {
        compare(&agent, &own.engine, &service)
    });
    agent.assert_calm();
}

/// Starts all containers, `STARTERS` at a time, and meanwhile does something else.
fn start_while(engine: &Engine, service: &str, meanwhile: impl FnOnce()) {
    let numbers: Vec<usize> = (0..CONTAINERS).collect();
    std::thread::scope(|scope| {
        for mine in numbers.chunks(CONTAINERS / STARTERS) {
            scope.spawn(|| mine.iter().for_each(|&number| run(engine, service, number)));
        }
        meanwhile();
    });
}

/// Starts one container, again if the engine went away under it.
fn run(engine: &Engine, service: &str, number: usize) {
    let (name, label) = (
        format!("{service}-{number}"),
        format!("--label=SERVICE_NAME={service}"),
    );
    let named = format!("--name={name}");
    let restart = if number.is_multiple_of(2) {
        "--restart=always"
    } else {
        "--restart=no"
    };
    wait_at_most(PATIENCE, &format!("container {number} to start"), || {
        let started = engine.docker(&["run", "-dP", &named, &label, restart, "lictor-whoami"]);
        started
            .map(drop)
            .inspect_err(|_| _ = engine.docker(&["rm", "-f", &name]))
    });
}

/// Name and published port of every running container.
fn running(engine: &Engine) -> Result<BTreeSet<(String, u16)>, String> {
    let listed = engine.docker(&[
        "ps",
        "--filter",
        "status=running",
        "--format",
        "{{.Names}} {{.Ports}}",
    ])?;
    // Such as `burst-7 0.0.0.0:32790->8000/tcp, :::32790->8000/tcp`.
    let parse = |line: &str| {
        let (name, ports) = line.split_once(' ')?;
        let port = ports.split("->").next()?.rsplit(':').next()?.parse().ok()?;
        Some((name.to_owned(), port))
    };
    listed
        .lines()
        .map(|line| parse(line).ok_or_else(|| format!("odd line {line:?}")))
        .collect()
}

/// The same pairs as the catalog has them.
fn registered(agent: &Agent, service: &str) -> Result<BTreeSet<(String, u16)>, String> {
    let parse = |row: &Value| {
        let name = row["ServiceID"].as_str()?.split(':').nth(1)?;
        let port = row["ServicePort"].as_u64()?.try_into().ok()?;
        Some((name.to_owned(), port))
    };
    let rows = agent.instances(service)?;
    rows.iter()
        .map(|row| parse(row).ok_or_else(|| format!("odd row {row}")))
        .collect()
}

fn compare(agent: &Agent, engine: &Engine, service: &str) -> Result<(), String> {
    let (registered, running) = (registered(agent, service)?, running(engine)?);
    let ghosts: Vec<_> = registered.difference(&running).collect();
    let lost: Vec<_> = running.difference(&registered).collect();
    if ghosts.is_empty() && lost.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} run; {} ghosts {ghosts:?}; {} lost {lost:?}",
        running.len(),
        ghosts.len(),
        lost.len()
    ))
}
