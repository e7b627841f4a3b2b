//! What a registrator costs: 500 containers registered after its start, and a core's share while nothing happens.
//!
//! `make bench-registrator`; `SECONDS=120` says how long it idles, over two whole comparisons. The engine is one of our own
//! that repeats the machine's answers about one real container, the registry a Lictor agent. Figures go into
//! docs/performance.md by hand, with their facts.

#[allow(dead_code, unused_imports, reason = "the end-to-end tests use the rest")]
mod harness;
#[path = "five_hundred/idle.rs"]
mod idle;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use harness::{Agent, agent, machine, wait_at_most};
use idle::Engine;

const CONTAINERS: usize = 500;
const WITHIN: Duration = Duration::from_secs(2);
/// Of a core, in percent.
const IDLE: f64 = 0.2;
const STARTS: usize = 5;

fn main() {
    let seconds = std::env::var("SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(130);
    let model = machine().container("lictor-whoami").start();
    let engine = Engine::start(&model, CONTAINERS);
    println!(
        "{CONTAINERS} containers, {} bytes an inspection, {}",
        engine.size,
        build()
    );

    let mut starts: Vec<Duration> = (0..STARTS).map(|_| start(&engine).1).collect();
    starts.sort();
    let median = starts[STARTS / 2];
    println!("| what | measured | wanted |\n| --- | --- | --- |");
    println!(
        "| from the start of the process to {CONTAINERS} services in the catalog, median of {STARTS} ({} to {} ms) | {} ms | {} ms |",
        starts[0].as_millis(),
        starts[STARTS - 1].as_millis(),
        median.as_millis(),
        WITHIN.as_millis()
    );

    let ((catalog, registrator), _) = start(&engine);
    let asked = engine.inspections.load(Ordering::Relaxed);
    let (before, began) = (registrator.cpu_time(), Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    let share = 100.0 * (registrator.cpu_time() - before).as_secs_f64() / began.elapsed().as_secs_f64();
    let asked = engine.inspections.load(Ordering::Relaxed) - asked;
    println!(
        "| a core's share while nothing happens, over {seconds} s with {asked} inspections | {share:.3} % | {IDLE} % |"
    );
    drop((registrator, catalog));
    let missed = median > WITHIN || share > IDLE;
    std::process::exit(i32::from(missed));
}

fn build() -> &'static str {
    if cfg!(debug_assertions) {
        "a development build"
    } else {
        "a release build"
    }
}

/// A registrator with an empty catalog, once all is registered, and how long that took.
fn start(engine: &Engine) -> ((Agent, Agent), Duration) {
    let catalog = agent().flag("-registrator=false").start();
    let socket = format!("-docker=unix://{}", engine.socket().display());
    let uri = format!("consul://{}", catalog.http());
    let began = Instant::now();
    let command = ["registrator", "-ip=127.0.0.1", &socket, &uri];
    let registrator = agent().command(&command).start_parts(&[]);
    wait_at_most(Duration::from_secs(60), "all services in the catalog", || {
        let services = catalog.ask("/v1/agent/services")?;
        let count = services.as_object().map_or(0, serde_json::Map::len);
        if count == CONTAINERS {
            Ok(())
        } else {
            Err(format!("{count} services"))
        }
    });
    ((catalog, registrator), began.elapsed())
}
