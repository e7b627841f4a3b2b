//! What becomes of entries when the engine stays away, or the registrator is stopped.

use registrator::AtExit;

use super::*;

fn says(services: &Services, name: &str) -> Option<(Option<Health>, String)> {
    let check = services.get(&format!("t1:{name}:80"))?.checks.first()?.clone();
    Some((check.initial, check.output))
}

/// L6.
#[tokio::test]
async fn an_engine_that_stays_away_for_longer_than_the_grace_leaves_its_entries_critical_until_it_is_back() {
    let mut engine = with(&["a", "b"]);
    let mut running = Running::with(Vec::new(), &engine, |config| {
        (config.resync, config.grace) = (NEVER, Duration::from_millis(300));
    });
    running.holds(&["a", "b"]).await;
    engine.stop().await;
    let away = (Some(Health::Critical), "container engine not heard".to_owned());
    let all_critical = |services: &Services| {
        ["a", "b"]
            .iter()
            .all(|name| says(services, name) == Some(away.clone()))
    };
    running.until("critical", all_critical).await;
    engine.put("b", false, 0);
    engine.start();
    running.holds(&["a"]).await;
    let well = (Some(Health::Passing), "running".to_owned());
    running
        .until("passing", |services| says(services, "a") == Some(well.clone()))
        .await;
}

/// L3.
#[tokio::test]
async fn what_is_to_be_said_at_the_end_is_said_before_it() {
    for (at_exit, left) in [
        (AtExit::Keep, Some((Some(Health::Passing), "running".to_owned()))),
        (
            AtExit::Drain,
            Some((Some(Health::Critical), "registrator stopped".to_owned())),
        ),
        (AtExit::Remove, None),
    ] {
        let engine = with(&["a"]);
        let mut running = Running::with(Vec::new(), &engine, |config| config.at_exit = at_exit);
        running.holds(&["a"]).await;
        let services = running.services.clone();
        running.stop().await;
        assert_eq!(says(&services.borrow(), "a"), left);
    }
}

/// A registry that says what it holds, which is nothing, and does nothing.
struct Idle;

impl Registry for Idle {
    fn name(&self) -> String {
        "idle".to_owned()
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

#[tokio::test]
async fn a_registry_that_does_nothing_does_not_keep_it_from_ending() {
    let engine = with(&["a"]);
    let mut running = Running::with(vec![Arc::new(Idle)], &engine, |config| {
        config.at_exit = AtExit::Drain;
    });
    running.holds(&["a"]).await;
    running.stop().await;
}
