//! Duties of one: the leader records who is there, and clears what nobody needs any longer.
//!
//! One node leads itself from the start. Owns the timers of the leader; they live while it leads.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use catalog::check::{CheckSpec, SERF_HEALTH};
use catalog::command::Record;
use catalog::{Command, Index, Refused, ServiceSpec, State, Status};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::identity::{Identity, SERVER_PORT};
use crate::store::Store;

/// Name and id of the service that every server registers for itself.
pub const CONSUL_SERVICE: &str = "consul";

/// How long a deleted key is remembered, so that watches of its prefix see it go (Consul's figure).
const TOMBSTONE_LIFE: Duration = Duration::from_secs(15 * 60);
/// Between two looks at what is to be done.
const STEP: Duration = Duration::from_secs(60);

/// Records this node, alive, with the service that servers are found by.
pub async fn enlist(store: &Store, identity: &Identity) -> Result<(), Refused> {
    let service = ServiceSpec {
        id: CONSUL_SERVICE.into(),
        name: CONSUL_SERVICE.into(),
        port: SERVER_PORT,
        meta: [("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())].into(),
        ..ServiceSpec::default()
    };
    let alive = CheckSpec {
        id: SERF_HEALTH.into(),
        name: "Serf Health Status".to_owned(),
        status: Status::Passing,
        notes: String::new(),
        output: "Agent alive and reachable".to_owned(),
        service_id: None,
        kind: String::new(),
    };
    let record = Record {
        node: identity.node_spec(),
        skip_node_update: false,
        service: Some(service),
        checks: vec![alive],
    };
    store
        .propose(&Command::Register(Box::new(record)))
        .await
        .map(|_| ())
}

fn is_enlisted(state: &State, node: &str) -> bool {
    state.service_at(node, &CONSUL_SERVICE.into()).is_some()
        && state.check_at(node, &SERF_HEALTH.into()).is_some()
}

/// Records this node anew should anybody have removed it, and clears remembered deletions when their
/// time is over, until `stop`.
pub async fn run(store: Store, identity: Arc<Identity>, stop: CancellationToken) -> Result<(), Infallible> {
    let mut seen = VecDeque::<(Instant, Index)>::new();
    let mut step = tokio::time::interval(STEP);
    loop {
        tokio::select! {
            _ = step.tick() => {}
            () = stop.cancelled() => return Ok(()),
        }
        if !is_enlisted(&store.read(), &identity.node)
            && let Err(error) = enlist(&store, &identity).await
        {
            tracing::warn!(%error, "catalog refused this node");
        }
        let now = Instant::now();
        seen.push_back((now, store.read().index()));
        let Some((_, up_to)) = seen
            .front()
            .copied()
            .filter(|(at, _)| now - *at >= TOMBSTONE_LIFE)
        else {
            continue;
        };
        seen.pop_front();
        if store.read().buried(up_to) {
            // Nothing in it can be refused.
            let _done = store.propose(&Command::ReapTombstones { up_to }).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use catalog::command::Target;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_somebody_removed_comes_back_as_it_was() {
        let identity = Arc::new(Identity {
            node: "n1".into(),
            id: "11111111-2222-3333-4444-555555555555".to_owned(),
            datacenter: "dc1".to_owned(),
            domain: "consul".to_owned(),
            advertise: [127, 0, 0, 1].into(),
            dev: false,
        });
        let stop = CancellationToken::new();
        let store = Store::new(stop.clone());
        enlist(&store, &identity).await.unwrap();
        let _leader = tokio::spawn(run(store.clone(), identity, stop));
        let gone = Command::Deregister {
            node: "n1".into(),
            target: Target::Node,
        };
        store.propose(&gone).await.unwrap();
        assert!(!is_enlisted(&store.read(), "n1"));

        tokio::time::sleep(2 * STEP).await;

        assert!(is_enlisted(&store.read(), "n1"));
    }
}
