//! How long from the return of `docker run -dP` to the first 200 through the balancer? (`make bench`)
//!
//! Three cases, ten containers each, one after the other: no check, a check every second, a check at registrator's
//! default interval. What is measured is the chain engine → registrator → catalog → table; the server in the container
//! listens within a millisecond of its start. The table goes into docs/performance.md by hand, with its facts.

#[allow(dead_code, unused_imports, reason = "the end-to-end tests use the rest")]
mod harness;

use std::fs;
use std::time::{Duration, Instant};

use harness::{Agent, agent, http, machine, unique};

const RUNS: usize = 10;
/// Slower than this is "never".
const PATIENCE: Duration = Duration::from_secs(20);
const CHECK: (&str, &str) = ("SERVICE_CHECK_HTTP", "/health");
const CASES: [(&str, &[(&str, &str)]); 3] = [
    ("no check", &[]),
    (
        "SERVICE_CHECK_HTTP, INTERVAL=1s",
        &[CHECK, ("SERVICE_CHECK_INTERVAL", "1s")],
    ),
    ("SERVICE_CHECK_HTTP, default interval", &[CHECK]),
];

struct Run {
    docker: Duration,
    answer: Duration,
}

fn main() {
    machine();
    let agent = agent().start();
    // The first container pays for what the engine and the agent load once.
    run(&agent, &[]);

    println!("{}\n", facts());
    println!(
        "| environment of the container | `docker run -dP` returning → first 200: median | all | docker run itself |"
    );
    println!("| --- | --- | --- | --- |");
    for (name, environment) in CASES {
        let mut runs: Vec<Run> = (0..RUNS).map(|_| run(&agent, environment)).collect();
        let docker = runs.iter().map(|run| run.docker).sum::<Duration>() / u32::try_from(RUNS).unwrap_or(1);
        runs.sort_by_key(|run| run.answer);
        let median = (runs[(RUNS - 1) / 2].answer + runs[RUNS / 2].answer) / 2;
        let all: Vec<String> = runs.iter().map(|run| milliseconds(run.answer)).collect();
        println!(
            "| {name} | {} ms | {} | {} ms |",
            milliseconds(median),
            all.join(" "),
            milliseconds(docker)
        );
    }
}

/// Starts a container and asks for it until it answers.
fn run(agent: &Agent, environment: &[(&str, &str)]) -> Run {
    let path = format!("/{}", unique("bench"));
    let setup = machine()
        .container("lictor-whoami")
        .env("SERVICE_TAGS", &format!("urlprefix-{path}"));
    let setup = environment
        .iter()
        .fold(setup, |setup, (name, value)| setup.env(name, value));
    let request = http::get(agent.proxy(), &path);

    let begun = Instant::now();
    let _container = setup.start();
    let returned = Instant::now();
    while let Err(reason) = request.status(200) {
        assert!(
            returned.elapsed() < PATIENCE,
            "no answer within {PATIENCE:?}: {reason}"
        );
        std::thread::sleep(Duration::from_micros(500));
    }
    Run {
        docker: returned - begun,
        answer: returned.elapsed(),
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

/// The machine and the build, in one line: a number without them says little.
fn facts() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown CPU");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let engine = machine()
        .docker(&["version", "--format", "{{.Server.Version}}"])
        .unwrap_or_default();
    let build = if cfg!(debug_assertions) { "dev" } else { "release" };
    let (model, kernel) = (model.trim_start_matches(['\t', ' ', ':']), kernel.trim());
    format!("{model}, {cores} cores; Linux {kernel}; Docker Engine {engine}; {build} build; {RUNS} runs each")
}
