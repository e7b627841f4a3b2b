//! A thousand containers started and stopped in random order, while the registrator is killed, the engine restarts and
//! the registry is away. What must hold: in the end the registry is what runs, exactly; and what never changed was never
//! absent, nor out of rotation.
//!
//! The order is random and printed: `SOAK_SEED=<number>` plays it again. Containers outlive their engine
//! (live-restore), or there would be none that never changed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::harness::{Agent, Engine, OwnEngine, agent, http, wait_at_most};

/// Containers that never change, and those that do.
const STEADY: usize = 6;
const CHANGING: usize = 48;
/// Clients of the engine at once.
const WORKERS: usize = 6;
const AWAY: Duration = Duration::from_secs(10);
/// Less than the slow pass takes to come round: what events and answers missed must be found without it.
const QUICKLY: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(120);
/// What every container registers at: nobody is to connect.
const HOST: &str = "10.255.255.1";

/// L1, L5, L35, L47, R13.
#[test]
fn after_a_thousand_starts_and_stops_with_all_killed_meanwhile_the_registry_is_what_runs() {
    soak(Arrangement::Beside, 1000);
}

#[test]
fn the_same_holds_for_the_catalog_of_the_agent_that_follows_the_engine() {
    soak(Arrangement::Within, 400);
}

/// Where the registrator runs.
#[derive(Clone, Copy, PartialEq)]
enum Arrangement {
    /// In a process of its own, which writes to an agent.
    Beside,
    /// In the agent.
    Within,
}

fn soak(arrangement: Arrangement, operations: usize) {
    let seed = seed();
    println!("SOAK_SEED={seed}");
    let own = OwnEngine::start_with_live_restore();
    for number in 0..STEADY {
        run(
            &own.engine,
            &format!("steady-{number}"),
            "steady",
            number % 3 == 0,
        )
        .expect("the first containers start");
    }
    let site = Site::new(arrangement, &own);
    let done = AtomicUsize::new(0);
    let mut living = std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (engine, done) = (&own.engine, &done);
            let dice = Dice(seed ^ (worker as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            scope.spawn(move || change(engine, worker, operations / WORKERS, done, dice));
        }
        disturb(&own, &site, operations, &done)
    });
    let quiet = Instant::now();
    wait_at_most(QUICKLY, "the registry to be what runs", || {
        living.compare(&own.engine)
    });
    println!("right {:?} after the last of {operations}", quiet.elapsed());
    // It stays so.
    std::thread::sleep(Duration::from_secs(2));
    living.compare(&own.engine).expect("what was right stays right");
    living.assert_calm();
    living.end();
}

/// Five ends of the registrator, two of the engine and one of the registry, spread over all that happens.
fn disturb(own: &OwnEngine, site: &Site, operations: usize, done: &AtomicUsize) -> Living {
    let mut living = Living::begin(site);
    for moment in 1..=8 {
        let due = moment * operations / 9;
        wait_at_most(PATIENCE, "the next moment", || {
            let done = done.load(Ordering::Relaxed);
            if done >= due {
                Ok(())
            } else {
                Err(format!("{done} of {due} done"))
            }
        });
        match moment {
            2 | 6 => own.restart(),
            4 => living = living.lose_registry(site, AWAY),
            _ => living = living.kill_registrator(site),
        }
    }
    living
}

// === Those that change ===

/// Numbers without end; the same seed gives the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).expect("less than the limit")
    }
}

fn seed() -> u64 {
    let told = std::env::var("SOAK_SEED").ok().and_then(|text| text.parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    told.unwrap_or(now.as_secs())
}

/// One of those that change.
struct Changing {
    name: String,
    published: bool,
    life: Life,
}

/// What it is doing.
#[derive(Clone, Copy, PartialEq)]
enum Life {
    Absent,
    Running,
    Stopped,
}

/// Starts and stops containers of its own.
fn change(engine: &Engine, worker: usize, operations: usize, done: &AtomicUsize, mut dice: Dice) {
    let changing = |number: usize| Changing {
        name: format!("changing-{worker}-{number}"),
        published: number.is_multiple_of(4),
        life: Life::Absent,
    };
    let mut all: Vec<Changing> = (0..CHANGING / WORKERS).map(changing).collect();
    for _ in 0..operations {
        let which = dice.below(all.len());
        all[which].change(engine, &mut dice);
        done.fetch_add(1, Ordering::Relaxed);
    }
}

impl Changing {
    fn change(&mut self, engine: &Engine, dice: &mut Dice) {
        let (command, next): (&[&str], Life) = match (self.life, dice.below(4)) {
            (Life::Absent, _) => (&[], Life::Running),
            (Life::Running, 0) => (&["rm", "-f"], Life::Absent),
            (Life::Running, 1) => (&["kill"], Life::Stopped),
            (Life::Running, 2) => (&["restart", "-t", "0"], Life::Running),
            (Life::Running, _) => (&["stop", "-t", "1"], Life::Stopped),
            (Life::Stopped, 0) => (&["rm"], Life::Absent),
            (Life::Stopped, _) => (&["start"], Life::Running),
        };
        wait_at_most(PATIENCE, &format!("{command:?} {}", self.name), || {
            let did = match command {
                [] => run(engine, &self.name, "changing", self.published),
                _ => engine
                    .docker(&[command, &[self.name.as_str()]].concat())
                    .map(drop),
            };
            did.or_else(|reason| self.after_all(engine, next, reason))
        });
        self.life = next;
    }

    /// A command that failed, perhaps because the engine went away under it, may have been obeyed.
    fn after_all(&self, engine: &Engine, next: Life, reason: String) -> Result<(), String> {
        let filter = format!("name=^{}$", self.name);
        let life = match engine
            .docker(&["ps", "-a", "--filter", &filter, "--format", "{{.State}}"])?
            .as_str()
        {
            "" => Life::Absent,
            "running" => Life::Running,
            _ => Life::Stopped,
        };
        if life == next {
            return Ok(());
        }
        // Engines of 20.10 that end while they start one never start it again.
        if reason.contains("already") {
            engine.docker(&["rm", "-f", &self.name])?;
            return run(engine, &self.name, "changing", self.published);
        }
        Err(reason)
    }
}

/// Starts one, and leaves nothing of one that cannot be started.
fn run(engine: &Engine, name: &str, service: &str, published: bool) -> Result<(), String> {
    let named = format!("--name={name}");
    let label = format!("--label=SERVICE_NAME={service}");
    // Those in the network of their host do not listen where they say: they would be in each other's way.
    let (network, listen) = match published {
        true => ("-P", "-listen=0.0.0.0:8000"),
        false => ("--net=host", "-listen=127.0.0.1:0"),
    };
    let started = engine.docker(&["run", "-d", network, &named, &label, "lictor-whoami", listen]);
    started
        .map(drop)
        .inspect_err(|_| _ = engine.docker(&["rm", "-f", name]))
}

/// Name and port of every running container.
fn running(engine: &Engine) -> Result<BTreeMap<String, u64>, String> {
    let listed = engine.docker(&[
        "ps",
        "--filter",
        "status=running",
        "--format",
        "{{.Names}} {{.Ports}}",
    ])?;
    let parse = |line: &str| {
        let (name, ports) = line.split_once(' ').unwrap_or((line, ""));
        let published = ports.split("->").next()?.rsplit(':').next()?.parse().ok();
        Some((name.to_owned(), published.unwrap_or(8000)))
    };
    listed
        .lines()
        .map(|line| parse(line).ok_or_else(|| format!("odd line {line:?}")))
        .collect()
}

// === Registry and registrator ===

/// What stays the same from one life of a process to the next.
struct Site {
    arrangement: Arrangement,
    port: u16,
    engine: String,
}

impl Site {
    fn new(arrangement: Arrangement, own: &OwnEngine) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        Self {
            arrangement,
            port: free.expect("the system has free ports").port(),
            engine: format!("unix://{}", own.socket().display()),
        }
    }

    fn registrator(&self) -> Option<Agent> {
        let uri = format!("consul://127.0.0.1:{}", self.port);
        let command = [
            "registrator",
            "-retry-attempts=-1",
            "-ip",
            HOST,
            "-hostname=soak",
            &uri,
        ];
        let builder = agent().command(&command).env("DOCKER_HOST", &self.engine);
        (self.arrangement == Arrangement::Beside).then(|| builder.start_parts(&[]))
    }

    /// A registry that knows nothing yet.
    fn registry(&self) -> Agent {
        let registry = agent().http_port(self.port).env("DOCKER_HOST", &self.engine);
        let registry = match self.arrangement {
            Arrangement::Beside => registry.flag("-registrator=false"),
            Arrangement::Within => registry
                .flag("-registrator.hostname=soak")
                .flag(&format!("-registrator.ip={HOST}")),
        };
        registry.start()
    }
}

/// One life of a registry, and of the registrator beside it where there is one.
struct Living {
    registry: Agent,
    registrator: Option<Agent>,
    witness: Witness,
}

impl Living {
    fn begin(site: &Site) -> Self {
        Self::with(site.registry(), site.registrator())
    }

    fn with(registry: Agent, registrator: Option<Agent>) -> Self {
        let witness = Witness::new(&registry);
        Self {
            registry,
            registrator,
            witness,
        }
    }

    /// Ends the registrator as a power cut would; the registry with it, where it is the same process.
    fn kill_registrator(mut self, site: &Site) -> Self {
        let Some(registrator) = self.registrator.take() else {
            return self.lose_registry(site, Duration::ZERO);
        };
        registrator.kill();
        self.registrator = site.registrator();
        self
    }

    /// Ends the registry with all it knows, and begins another after some time.
    fn lose_registry(self, site: &Site, away: Duration) -> Self {
        let registrator = self.end();
        std::thread::sleep(away);
        Self::with(site.registry(), registrator)
    }

    /// Hears what the witness has to say.
    fn end(self) -> Option<Agent> {
        self.registry.kill();
        self.witness.testify();
        self.registrator
    }

    fn compare(&self, engine: &Engine) -> Result<(), String> {
        let mut registered = BTreeMap::new();
        for service in ["steady", "changing"] {
            for row in self.registry.passing(service)? {
                let id = row["Service"]["ID"].as_str().unwrap_or_default();
                let name = id.split(':').nth(1).ok_or_else(|| format!("odd row {row}"))?;
                let before = registered.insert(
                    name.to_owned(),
                    row["Service"]["Port"].as_u64().unwrap_or_default(),
                );
                if before.is_some() {
                    return Err(format!("{name} is there twice"));
                }
            }
        }
        let all: usize = ["steady", "changing"]
            .iter()
            .map(|service| self.registry.instances(service).map(|rows| rows.len()))
            .sum::<Result<usize, String>>()?;
        let running = running(engine)?;
        if registered == running && all == running.len() {
            return Ok(());
        }
        let ghosts: Vec<_> = registered
            .iter()
            .filter(|(name, port)| running.get(*name) != Some(*port))
            .collect();
        let lost: Vec<_> = running
            .iter()
            .filter(|(name, port)| registered.get(*name) != Some(*port))
            .collect();
        Err(format!(
            "{} run, {all} are registered; ghosts {ghosts:?}; lost {lost:?}",
            running.len()
        ))
    }

    fn assert_calm(&mut self) {
        self.registry.assert_calm();
        if let Some(registrator) = &mut self.registrator {
            registrator.assert_calm();
        }
    }
}

/// Reads every index of the service that never changes, until its registry is gone.
struct Witness {
    reader: std::thread::JoinHandle<Result<usize, String>>,
}

impl Witness {
    fn new(registry: &Agent) -> Self {
        let server = registry.http();
        Self {
            reader: std::thread::spawn(move || watch(server)),
        }
    }

    fn testify(self) {
        let seen = self.reader.join().expect("a witness does not panic");
        println!("the witness saw {seen:?} answers");
        seen.unwrap_or_else(|fault| panic!("{fault}"));
    }
}

/// How often it was told something, or what was wrong. An absence between two answers would show as well: who comes back
/// is created anew.
fn watch(server: std::net::SocketAddr) -> Result<usize, String> {
    let mut seen: BTreeMap<String, (Value, Value)> = BTreeMap::new();
    let (mut index, mut answers) = (0, 0);
    loop {
        let question = format!("/v1/health/service/steady?index={index}&wait=5s");
        let Ok(answer) = http::get(server, &question).status(200) else {
            return Ok(answers);
        };
        answers += 1;
        let told = answer.header("x-consul-index").and_then(|text| text.parse().ok());
        index = told.ok_or("an answer without its index")?;
        let rows: Vec<Value> = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
        let mut now = BTreeMap::new();
        for row in rows {
            let id = row["Service"]["ID"].as_str().unwrap_or_default().to_owned();
            let checks = row["Checks"].as_array().cloned().unwrap_or_default();
            let own = checks
                .iter()
                .find(|check| check["CheckID"] == format!("container:{id}"));
            let own = own.ok_or_else(|| format!("{id} has no check at index {index}"))?;
            if own["Status"] != "passing" {
                return Err(format!("{id} is out of rotation at index {index}: {own}"));
            }
            now.insert(
                id,
                (row["Service"]["CreateIndex"].clone(), own["CreateIndex"].clone()),
            );
        }
        for (id, before) in &seen {
            match now.get(id) {
                None => return Err(format!("{id} is absent at index {index}")),
                Some(after) if after != before => {
                    return Err(format!(
                        "{id} or its check was absent before index {index}: {before:?}, {after:?}"
                    ));
                }
                Some(_) => {}
            }
        }
        seen = now;
    }
}
