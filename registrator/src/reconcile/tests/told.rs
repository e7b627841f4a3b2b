//! What others are told of failures, and for how long.

use tokio::sync::{mpsc, oneshot};

use super::super::witness::{Ask, Witness};
use super::*;
use crate::metrics::Metrics;
use crate::registry::Error;

/// The keys whose failures a report shows.
fn failing(witness: &mut Witness, world: &World) -> Vec<Arc<str>> {
    let (to, mut answer) = oneshot::channel();
    let patiently = false;
    witness.asked(Ask { patiently, to });
    witness.answer(&world.mind, world.now);
    let report = answer.try_recv().unwrap();
    report.registries[0]
        .failures
        .iter()
        .map(|(key, _)| key.clone())
        .collect()
}

#[test]
fn a_failure_is_told_for_as_long_as_somebody_wants_the_entry_or_holds_it() {
    let mut world = World::new(|_| {});
    world.trouble = Outcome::Refused;
    world.start(0);
    world.settle_but(|pending| matches!(pending, Pending::Write(..)));
    let (_asks, inbox) = mpsc::channel(1);
    let mut witness = Witness::new(vec!["consul".to_owned()], inbox, &Metrics::new());
    let key: Arc<str> = "t1:c0:80".into();
    let offer = derive(&world.containers[&World::id(0)], &world.config, &|_| None)
        .offers
        .remove(0);
    let verb = Verb::Register(Arc::new(offer));
    let write = Write {
        key: key.clone(),
        verb,
    };
    let refusal = Err(Error::Refused("no".to_owned()));
    witness.wrote((0, &write), (&refusal, 1), None, world.now);
    assert_eq!(failing(&mut witness, &world), [key]);
    world.die(0, 0);
    world.containers.clear();
    world.tell(0, What::Died(None));
    world.registry.clear();
    world.pass(Duration::from_secs(130));
    assert_eq!(failing(&mut witness, &world), []);
}
