//! What a registrator tells of itself: explanations, dry runs, reports, counts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use catalog::Registration;
use catalog::service::META_OWNER;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use registrator::account::{Report, Standing};
use registrator::registry::{Abilities, Error, Offer, Registry};
use registrator::{Asker, Config, ExplainError, Registrator};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::engine::{Engine, id};
use super::{NEVER, PATIENCE, Running, Services, eventually, with};

/// Holds entries of others and refuses one service; writes down what it is told.
#[derive(Default)]
struct Picky {
    others: Vec<Registration>,
    refuses: &'static str,
    silent: bool,
    told: Mutex<Vec<String>>,
}

impl Registry for Picky {
    fn name(&self) -> String {
        "picky".to_owned()
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }

    fn services(&self) -> BoxFuture<'_, Result<Option<Vec<Registration>>, Error>> {
        let answer = match self.silent {
            true => Err(Error::Unreachable("connection refused".to_owned())),
            false => Ok(Some(self.others.clone())),
        };
        async { answer }.boxed()
    }

    fn register<'a>(&'a self, wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        let id = &wanted.registration.service.id;
        self.told.lock().unwrap().push(format!("register {id}"));
        let outcome = match **id == *self.refuses {
            true => Err(Error::Refused("403: not with this token".to_owned())),
            false => Ok(()),
        };
        async { outcome }.boxed()
    }

    fn refresh<'a>(&'a self, wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        self.register(wanted)
    }

    fn deregister<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.told.lock().unwrap().push(format!("deregister {key}"));
        async { Ok(()) }.boxed()
    }
}

/// An entry under this id, with the mark of `owner`.
fn entry(id: &str, owner: &str) -> Registration {
    let mut entry = Registration::default();
    entry.service.id = id.into();
    entry.service.name = "web".into();
    entry.service.meta.insert(META_OWNER.to_owned(), owner.to_owned());
    entry
}

fn config(engine: &Engine) -> Config {
    let mut config = Config::new("t1", "10.0.0.1".parse().unwrap(), "me");
    config.engine.host = Some(format!("unix://{}", engine.socket.display()));
    config
}

/// A registrator at work, until this is dropped.
struct At {
    asker: Asker,
    counted: prometheus::Registry,
    _task: AbortOnDropHandle<()>,
}

impl At {
    fn work(registrator: Registrator) -> Self {
        let (asker, counted) = (registrator.asker(), prometheus::Registry::new());
        registrator.register_metrics(&counted).unwrap();
        let run = registrator.run(CancellationToken::new());
        Self {
            asker,
            counted,
            _task: AbortOnDropHandle::new(tokio::spawn(run.map(|end| end.unwrap()))),
        }
    }

    async fn report(&self) -> Report {
        let report = tokio::time::timeout(PATIENCE, self.asker.report()).await;
        report.expect("it answers").expect("it runs")
    }

    async fn until(&self, what: &str, seen: impl Fn(&Report) -> bool) -> Report {
        let wait = async {
            loop {
                let report = self.report().await;
                if seen(&report) {
                    return report;
                }
                tokio::task::yield_now().await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, wait).await;
        seen.unwrap_or_else(|_| panic!("never: {what}"))
    }

    /// The value of a counter, gauge, or number of observations, of the registry.
    fn count(&self, name: &str) -> f64 {
        let families = self.counted.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.into_iter().flat_map(|family| family.get_metric());
        let value = |metric: &prometheus::proto::Metric| {
            let observed = u32::try_from(metric.get_histogram().get_sample_count()).unwrap();
            metric.get_counter().get_value() + metric.get_gauge().get_value() + f64::from(observed)
        };
        metrics.map(value).sum()
    }
}

fn standings(report: &Report, container: &str) -> Vec<Standing> {
    let account = report.containers.iter().find(|account| account.name == container);
    let services = account.into_iter().flat_map(|account| &account.services);
    let places = services.flat_map(|service| &service.places);
    places.map(|place| place.standing.clone()).collect()
}

#[tokio::test]
async fn explain_says_what_would_be_written_where_and_writes_nothing() {
    let engine = with(&["a", "b"]);
    engine.put("c", false, 0);
    let registry = Arc::new(Picky {
        others: vec![entry("t1:b:80", "them")],
        ..Picky::default()
    });
    let explain = |name: &str| {
        let registries: Vec<Arc<dyn Registry>> = vec![registry.clone()];
        let (config, id) = (config(&engine), id(name));
        async move { config.explain(registries, &id).await }
    };
    let a = explain("a").await.unwrap();
    assert!(a.is_registered());
    let text = a.to_string();
    for line in [
        "container a (000000000000), image web: running\n",
        "service web, port 80/tcp of the container: passing (running)\n",
        "  address  10.0.0.1  (published on all addresses)\n",
        "  in picky: to be written\n",
    ] {
        assert!(text.contains(line), "{line} in:\n{text}");
    }
    let b = explain("b").await.unwrap();
    assert!(!b.is_registered());
    assert!(
        b.to_string()
            .contains("in picky: not written: somebody else has this entry")
    );
    let c = explain("c").await.unwrap();
    assert!(!c.is_registered());
    assert_eq!(c.json()["left_out"][0]["rule"], "it does not run");
    assert!(c.to_string().contains("nothing of it is registered"), "{c}");
    assert!(matches!(explain("d").await, Err(ExplainError::Unknown { .. })));
    assert_eq!(*registry.told.lock().unwrap(), [""; 0]);
}

#[tokio::test]
async fn explain_knows_our_entries_by_the_mark_that_is_made_of_machine_and_engine() {
    let engine = with(&["a"]);
    let machine = |config: &mut Config| config.machine = Some("m".to_owned());
    let mut running = Running::with(Vec::new(), &engine, machine);
    running.holds(&["a"]).await;
    let others: Vec<Registration> = running.services.borrow().values().cloned().collect();
    assert_ne!(others[0].service.meta[META_OWNER], "me");
    running.stop().await;
    let registry: Arc<dyn Registry> = Arc::new(Picky {
        others,
        ..Picky::default()
    });
    let mut config = config(&engine);
    machine(&mut config);
    let a = config.explain(vec![registry], &id("a")).await.unwrap();
    assert!(a.to_string().contains("  in picky: registered\n"), "{a}");
}

#[tokio::test]
async fn a_report_says_that_entries_are_critical_while_the_engine_stays_away() {
    let mut engine = with(&["a"]);
    let mut config = config(&engine);
    config.grace = Duration::from_millis(50);
    let at = At::work(config.build(vec![Arc::new(Picky::default())]).unwrap());
    let registered = |report: &Report| standings(report, "a") == [Standing::Registered];
    at.until("a is written", registered).await;
    engine.stop().await;
    let says = "critical (container engine not heard)";
    let unheard = |report: &Report| registered(report) && report.containers[0].to_string().contains(says);
    at.until("critical, and written so", unheard).await;
}

#[tokio::test]
async fn explain_says_why_a_registry_cannot_say_what_it_holds() {
    let engine = with(&["a"]);
    let lost: Arc<dyn Registry> = Arc::new(Picky {
        silent: true,
        ..Picky::default()
    });
    let a = config(&engine).explain(vec![lost], &id("a")).await.unwrap();
    assert!(a.is_registered());
    let text = a.to_string();
    assert!(text.contains("    read failed, "), "{text}");
    assert!(
        text.contains(": the registry cannot be reached: connection refused\n"),
        "{text}"
    );
}

#[tokio::test]
async fn explain_needs_an_engine_and_a_name_that_a_container_can_have() {
    let engine = Engine::new();
    let error = config(&engine).explain(Vec::new(), "a").await.unwrap_err();
    assert!(matches!(error, ExplainError::Engine { .. }), "{error}");
    for name in ["", "a/b", "..", "a?x=1", "ä"] {
        let error = config(&engine).explain(Vec::new(), name).await.unwrap_err();
        assert!(matches!(error, ExplainError::Unknown { .. }), "{name}: {error}");
    }
}

#[tokio::test]
async fn of_two_containers_that_want_one_id_the_one_that_lacks_it_is_told_who_has_it() {
    let engine = with(&["a", "b"]);
    engine.label("a", "SERVICE_ID", "one");
    engine.label("b", "SERVICE_ID", "one");
    let b = config(&engine).explain(Vec::new(), &id("b")).await.unwrap();
    assert!(!b.is_registered());
    assert_eq!(
        b.json()["left_out"][0]["rule"],
        "container a (000000000000) has that id"
    );
}

#[tokio::test]
async fn a_dry_run_follows_the_engine_and_writes_nothing() {
    let engine = with(&["a"]);
    let registry = Arc::new(Picky {
        others: vec![entry("t1:gone:80", "me")],
        ..Picky::default()
    });
    let mut config = config(&engine);
    config.dry_run = true;
    config.resync = Duration::from_millis(10);
    let at = At::work(config.build(vec![registry.clone()]).unwrap());
    let imagined =
        |name: &'static str| move |report: &Report| standings(report, name) == [Standing::Registered];
    at.until("a counts as registered", imagined("a")).await;
    eventually("the stream is open", || engine.listeners() == 1).await;
    engine.put("b", true, 20_001);
    engine.tell("b", "start", &json!({}));
    let report = at.until("b counts as registered", imagined("b")).await;
    assert_eq!(report.registries[0].waiting, 0);
    let looks = || at.count("lictor_registrator_relists_total");
    let so_far = looks();
    eventually("some more looks", || looks() > so_far + 3.5).await;
    let writes = at.count("lictor_registrator_writes_total");
    assert!((writes - 3.0).abs() < 0.5, "{writes}: each is imagined once");
    assert_eq!(*registry.told.lock().unwrap(), [""; 0]);
}

/// L37.
#[tokio::test]
async fn a_refused_service_is_seen_with_what_the_registry_said_and_harms_no_other() {
    let engine = with(&["a", "b"]);
    let registry = Arc::new(Picky {
        refuses: "t1:b:80",
        ..Picky::default()
    });
    let at = At::work(config(&engine).build(vec![registry]).unwrap());
    let told = |report: &Report| {
        standings(report, "a") == [Standing::Registered] && !report.registries[0].failures.is_empty()
    };
    let report = at.until("a is written and b refused", told).await;
    assert!(report.has_compared());
    assert_eq!(report.registries[0].unreachable, None, "to refuse is to answer");
    assert_eq!(report.registries[0].waiting, 1);
    let b = report
        .containers
        .iter()
        .find(|account| account.name == "b")
        .unwrap();
    let error = "the registry refused: 403: not with this token";
    assert_eq!(
        b.json()["services"][0]["registries"][0]["failure"]["error"],
        error
    );
    assert!(b.to_string().contains(error), "{b}");
    assert!(at.count("lictor_registrator_registry_failures_total") >= 1.0);
}

#[tokio::test]
async fn each_registry_has_its_writes_its_lag_and_its_last_success_counted() {
    let engine = with(&["a"]);
    let at = At::work(config(&engine).build(vec![Arc::new(Picky::default())]).unwrap());
    let registered =
        |name: &'static str| move |report: &Report| standings(report, name) == [Standing::Registered];
    at.until("a is written", registered("a")).await;
    let lags = "lictor_registrator_write_lag_seconds";
    assert!(at.count(lags) < 0.5, "nobody told of a");
    eventually("the stream is open", || engine.listeners() == 1).await;
    engine.put("b", true, 20_001);
    engine.tell("b", "start", &json!({}));
    at.until("b is written", registered("b")).await;
    assert!((at.count(lags) - 1.0).abs() < 0.5);
    engine.put("b", false, 0);
    engine.tell("b", "die", &json!({"exitCode": "0"}));
    let removed = |report: &Report| standings(report, "b").is_empty() && report.registries[0].waiting == 0;
    at.until("b is removed", removed).await;
    assert!(at.count(lags) > 1.5, "the removal answers an event");
    assert!(at.count("lictor_registrator_writes_total") > 2.5);
    assert!((at.count("lictor_registrator_relists_total") - 1.0).abs() < 0.5);
    assert!(at.count("lictor_registrator_last_success_seconds") > 1e9);
}

#[tokio::test]
async fn an_image_that_was_given_by_its_id_is_asked_for_its_name_which_a_service_then_keeps() {
    const IMAGE: &str = "/images/sha256:0/json";
    let mut engine = Engine::new();
    for name in ["a", "b", "c"] {
        engine.put(name, true, 20_000);
        engine.change(name, "/Config/Image", "sha256:0".into());
    }
    // It has a name already, and one is not an id.
    engine.label("b", "com.docker.compose.service", "web");
    engine.change("c", "/Config/Image", "other".into());
    engine.answer(
        IMAGE,
        "200 OK",
        &json!({"RepoTags": ["team/cache:7", "<none>:<none>", "team/cache"]}),
    );
    engine.start();
    let mut running = Running::start(&engine, NEVER);
    running.holds(&["a", "b", "c"]).await;
    let names = |services: &Services| -> Vec<String> {
        services
            .values()
            .map(|entry| entry.service.name.to_string())
            .collect()
    };
    assert_eq!(names(&running.services.borrow()), ["cache", "web", "other"]);
    assert_eq!(
        engine.asked().iter().filter(|path| path.ends_with(IMAGE)).count(),
        1
    );

    // The tag moves on to another image.
    engine.answer(IMAGE, "200 OK", &json!({"RepoTags": []}));
    eventually("the stream is open", || engine.listeners() == 1).await;
    engine.change("a", "/NetworkSettings/Ports/80~1tcp/0/HostPort", "20009".into());
    engine.tell("a", "restart", &json!({}));
    engine.tell("a", "start", &json!({}));
    let moved = |services: &Services| services["t1:a:80"].service.port == 20_009;
    running.until("the new port", moved).await;
    assert_eq!(names(&running.services.borrow()), ["cache", "web", "other"]);
}
