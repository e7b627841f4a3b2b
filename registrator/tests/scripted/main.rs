//! The registrator against a scripted engine and a registry in memory: faults that a real engine
//! cannot be made to show on demand.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod consul;
mod engine;
mod engines;
mod etcd;
mod lifecycle;
mod seeing;
mod storms;
mod swarm;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use catalog::{Registration, Status as Health};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use registrator::registry::{Abilities, Error, Offer, Registry};
use registrator::{Config, Connection, EngineAddress, Inside, Status};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use engine::Engine;

const PATIENCE: Duration = Duration::from_secs(20);

type Services = BTreeMap<String, Registration>;

/// A registry in memory that can be watched.
struct Memory(watch::Sender<Services>);

impl Memory {
    fn put(&self, wanted: &Offer) -> BoxFuture<'_, Result<(), Error>> {
        let entry = (*wanted.registration).clone();
        self.0
            .send_modify(|services| _ = services.insert(entry.service.id.to_string(), entry));
        async { Ok(()) }.boxed()
    }
}

impl Registry for Memory {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }

    fn services(&self) -> BoxFuture<'_, Result<Option<Vec<Registration>>, Error>> {
        async { Ok(Some(self.0.borrow().values().cloned().collect())) }.boxed()
    }

    fn register<'a>(&'a self, wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        self.put(wanted)
    }

    fn refresh<'a>(&'a self, wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        self.put(wanted)
    }

    fn deregister<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.0.send_modify(|services| _ = services.remove(key));
        async { Ok(()) }.boxed()
    }
}

/// A registry that never answers.
struct Mute;

impl Registry for Mute {
    fn name(&self) -> String {
        "mute".to_owned()
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), Error>> {
        pending().boxed()
    }

    fn services(&self) -> BoxFuture<'_, Result<Option<Vec<Registration>>, Error>> {
        pending().boxed()
    }

    fn register<'a>(&'a self, _: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        pending().boxed()
    }

    fn refresh<'a>(&'a self, _: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        pending().boxed()
    }

    fn deregister<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        pending().boxed()
    }
}

/// A registrator at work.
struct Running {
    services: watch::Receiver<Services>,
    status: watch::Receiver<Status>,
    stopped: watch::Receiver<Arc<[Registration]>>,
    inside: Inside,
    metrics: prometheus::Registry,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Running {
    fn start(engine: &Engine, resync: Duration) -> Self {
        Self::beside(Vec::new(), engine, resync)
    }

    /// One that also writes to `others`.
    fn beside(others: Vec<Arc<dyn Registry>>, engine: &Engine, resync: Duration) -> Self {
        Self::with(others, engine, |config| config.resync = resync)
    }

    fn with(others: Vec<Arc<dyn Registry>>, engine: &Engine, change: impl FnOnce(&mut Config)) -> Self {
        let host = Some(format!("unix://{}", engine.socket.display()));
        let address = EngineAddress {
            host,
            ..EngineAddress::default()
        };
        Self::changed(address, others, change)
    }

    fn at(engine: EngineAddress, others: Vec<Arc<dyn Registry>>, resync: Duration) -> Self {
        Self::changed(engine, others, |config| config.resync = resync)
    }

    fn changed(
        engine: EngineAddress,
        others: Vec<Arc<dyn Registry>>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
        config.engine = engine;
        change(&mut config);
        let (memory, services) = watch::channel(Services::new());
        let mut registries = others;
        registries.push(Arc::new(Memory(memory)));
        let registrator = config.build(registries).unwrap();
        let (status, stopped, stop) = (
            registrator.status(),
            registrator.stopped(),
            CancellationToken::new(),
        );
        let inside = registrator.inside();
        let metrics = prometheus::Registry::new();
        registrator.register_metrics(&metrics).unwrap();
        let task = tokio::spawn(registrator.run(stop.clone()).map(|end| end.unwrap()));
        Self {
            services,
            status,
            stopped,
            inside,
            metrics,
            stop,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Waits until exactly these containers are registered.
    async fn holds(&mut self, names: &[&str]) {
        let mut wanted: Vec<String> = names.iter().map(|name| format!("t1:{name}:80")).collect();
        wanted.sort();
        let wait = self
            .services
            .wait_for(|services| services.keys().eq(wanted.iter()));
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            let held: Vec<_> = self.services.borrow().keys().cloned().collect();
            panic!("wanted {wanted:?}, held {held:?}");
        }
    }

    async fn until(&mut self, what: &str, seen: impl Fn(&Services) -> bool) {
        let wait = self.services.wait_for(|services| seen(services));
        assert!(
            tokio::time::timeout(PATIENCE, wait).await.is_ok(),
            "never: {what}"
        );
    }

    /// How many questions and writes have failed.
    fn failures(&self) -> f64 {
        let families = self.metrics.gather();
        let failures = families
            .iter()
            .filter(|family| family.name().ends_with("_failures_total"));
        let counts = failures
            .flat_map(|family| family.get_metric())
            .map(|metric| metric.get_counter().get_value());
        counts.sum()
    }

    /// The sum of the counters whose name and labels contain all of this.
    fn counted(&self, words: &[&str]) -> u64 {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.metrics.gather());
        let text = text.unwrap();
        let of = text
            .lines()
            .filter(|line| !line.starts_with('#') && words.iter().all(|word| line.contains(word)));
        of.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }

    async fn connection(&mut self, seen: impl Fn(&Connection) -> bool) {
        let wait = self.status.wait_for(|status| seen(&status.engine));
        assert!(
            tokio::time::timeout(PATIENCE, wait).await.is_ok(),
            "connection: {:?}",
            self.status.borrow()
        );
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("it stops when told")
            .unwrap();
    }
}

/// Waits for something that has no channel.
async fn eventually(what: &str, seen: impl Fn() -> bool) {
    let wait = async {
        while !seen() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, wait).await.is_ok(),
        "never: {what}"
    );
}

const NEVER: Duration = Duration::ZERO;

fn with(names: &[&str]) -> Engine {
    let mut engine = Engine::new();
    names
        .iter()
        .zip(20_000..)
        .for_each(|(name, port)| engine.put(name, true, port));
    engine.start();
    engine
}

#[tokio::test]
async fn what_starts_is_registered_what_ends_is_removed_and_stopping_leaves_the_rest() {
    let engine = with(&["a"]);
    let mut running = Running::start(&engine, NEVER);
    running.holds(&["a"]).await;
    running.connection(|now| *now == Connection::Connected).await;
    eventually("the stream is open", || engine.listeners() == 1).await;
    engine.put("b", true, 20_010);
    engine.tell("b", "start", &json!({}));
    running.holds(&["a", "b"]).await;
    engine.put("a", false, 0);
    engine.tell("a", "die", &json!({"exitCode": "0"}));
    running.holds(&["b"]).await;
    assert_eq!(engine.listings(), 1, "events need no listing");
    let services = running.services.clone();
    running.stop().await;
    assert_eq!(services.borrow().len(), 1);
}

/// L35, R16.
#[tokio::test]
async fn a_registry_that_never_answers_holds_up_no_other() {
    let engine = with(&["a"]);
    let mut running = Running::beside(vec![Arc::new(Mute)], &engine, NEVER);
    running.holds(&["a"]).await;
    eventually("the stream is open", || engine.listeners() == 1).await;
    engine.remove("a");
    engine.tell("a", "destroy", &json!({}));
    running.holds(&[]).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_with_no_registry_that_answers_ends_with_what_was_tried() {
    for (attempts, registries) in [(0, 1), (2, 2)] {
        let mut config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
        config.retry_attempts = attempts;
        let mute = || -> Arc<dyn Registry> { Arc::new(Mute) };
        let registrator = config.build((0..registries).map(|_| mute()).collect()).unwrap();
        let end = registrator
            .run(CancellationToken::new())
            .await
            .unwrap_err()
            .to_string();
        let told = format!(
            "after {} attempts: the registry cannot be reached: no answer within 10 s",
            attempts + 1
        );
        assert!(end.contains(&told), "{end}");
    }
}

/// L7, R3.
#[tokio::test]
async fn what_happens_while_the_stream_is_cut_is_found_on_reconnect() {
    let engine = with(&["a", "b"]);
    let mut running = Running::start(&engine, NEVER);
    running.holds(&["a", "b"]).await;
    eventually("the stream is open", || engine.listeners() == 1).await;
    engine.put("c", true, 20_010);
    engine.put("b", false, 0);
    engine.remove("a");
    engine.cut();
    running.holds(&["c"]).await;
}

#[tokio::test]
async fn an_event_that_cannot_be_read_costs_a_reconnect_and_nothing_else() {
    let engine = with(&["a"]);
    let mut running = Running::start(&engine, NEVER);
    running.holds(&["a"]).await;
    eventually("the stream is open", || engine.listeners() == 1).await;
    engine.babble();
    running
        .connection(|now| matches!(now, Connection::Waiting { reason } if reason.contains("cannot read")))
        .await;
    running.connection(|now| *now == Connection::Connected).await;
    eventually("the stream is open", || engine.listeners() == 1).await;
    engine.put("b", true, 20_010);
    engine.tell("b", "start", &json!({}));
    running.holds(&["a", "b"]).await;
}

/// L8, R1, R3.
#[tokio::test]
async fn swallowed_events_are_found_by_the_slow_pass() {
    let engine = with(&["a", "b"]);
    let mut running = Running::start(&engine, Duration::from_millis(100));
    running.holds(&["a", "b"]).await;
    engine.remove("a");
    engine.put("b", true, 20_020);
    engine.put("c", true, 20_021);
    running.holds(&["b", "c"]).await;
    running
        .until("the new port of b", |services| {
            services["t1:b:80"].service.port == 20_020
        })
        .await;
}

/// L4, R17.
#[tokio::test]
async fn an_engine_that_restarts_keeps_entries_until_it_shows_what_is_left() {
    let mut engine = with(&["a", "b", "c"]);
    let mut running = Running::start(&engine, Duration::from_millis(50));
    running.holds(&["a", "b", "c"]).await;
    engine.stop().await;
    running
        .connection(|now| matches!(now, Connection::Waiting { reason } if !reason.is_empty()))
        .await;
    assert_eq!(running.services.borrow().len(), 3);
    engine.put("a", false, 0);
    engine.put("c", true, 20_030);
    engine.start();
    running.holds(&["b", "c"]).await;
    running.connection(|now| *now == Connection::Connected).await;
    running
        .until("the new port of c", |services| {
            services["t1:c:80"].service.port == 20_030
        })
        .await;
}

/// R17.
#[tokio::test]
async fn an_absent_engine_is_waited_for() {
    let mut engine = Engine::new();
    engine.put("a", true, 20_000);
    let mut running = Running::start(&engine, NEVER);
    running
        .connection(|now| matches!(now, Connection::Waiting { .. }))
        .await;
    engine.start();
    running.holds(&["a"]).await;
}

/// L51.
#[tokio::test]
async fn one_empty_listing_removes_nothing() {
    let names: Vec<String> = (0..20).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let engine = with(&names);
    let mut running = Running::start(&engine, Duration::from_millis(50));
    running.holds(&names).await;
    let mut fewest = running.services.clone();
    fewest.mark_unchanged();
    engine.empty_listings(1);
    let before = engine.listings();
    eventually("a few more listings", || engine.listings() > before + 3).await;
    assert!(!fewest.has_changed().unwrap(), "nothing was written at all");
}

/// R21.
#[tokio::test]
async fn a_container_that_cannot_be_inspected_harms_no_other() {
    let engine = with(&["a"]);
    engine.break_inspection("bad");
    engine.put("bad", true, 20_001);
    let mut running = Running::start(&engine, NEVER);
    running.holds(&["a"]).await;
    engine.mend();
    running.holds(&["a", "bad"]).await;
}

#[tokio::test]
async fn a_stop_request_takes_it_out_of_rotation_before_it_ends() {
    let engine = with(&["a"]);
    let mut running = Running::start(&engine, NEVER);
    running.holds(&["a"]).await;
    eventually("the stream is open", || engine.listeners() == 1).await;
    let inspections = engine.inspections();
    engine.tell("a", "kill", &json!({"signal": "15"}));
    let critical = |services: &Services| services["t1:a:80"].checks[0].initial == Some(Health::Critical);
    running.until("critical", critical).await;
    assert_eq!(
        running.services.borrow()["t1:a:80"].checks[0].output,
        "stopping (SIGTERM)"
    );
    assert_eq!(engine.inspections(), inspections);
    engine.put("a", false, 0);
    engine.tell("a", "die", &json!({}));
    running.holds(&[]).await;
    let seen = running.stopped.wait_for(|stopped| stopped.len() == 1);
    let stopped = tokio::time::timeout(PATIENCE, seen)
        .await
        .unwrap()
        .unwrap()
        .clone();
    assert_eq!(
        (stopped[0].service.port, &*stopped[0].checks[0].output),
        (0, "container exited (0)")
    );
    engine.remove("a");
    engine.tell("a", "destroy", &json!({}));
    let seen = running.stopped.wait_for(|stopped| stopped.is_empty());
    assert!(tokio::time::timeout(PATIENCE, seen).await.is_ok());
}

/// L9, R1.
#[tokio::test]
async fn three_hundred_at_once_with_the_stream_cut_and_the_engine_restarted_meanwhile() {
    let mut engine = with(&[]);
    let mut running = Running::start(&engine, Duration::from_secs(1));
    running.connection(|now| *now == Connection::Connected).await;
    let names: Vec<String> = (0..300).map(|number| format!("n{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        engine.put(name, true, 20_000 + u16::try_from(number).unwrap());
        engine.tell(name, "start", &json!({}));
        if number == 100 {
            engine.cut();
        }
        if number == 200 {
            engine.stop().await;
            engine.start();
        }
        tokio::task::yield_now().await;
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    running.holds(&names).await;
    names.iter().for_each(|name| engine.remove(name));
    running.holds(&[]).await;
}
