//! Duties of one: the leader records who is there, and clears what nobody needs any longer.
//!
//! One node leads itself from the start. Owns the timers of the leader; they live while it leads.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use catalog::check::{CheckSpec, SERF_HEALTH};
use catalog::command::Record;
use catalog::{Command, Index, Refused, ServiceSpec, Status};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::identity::{Identity, SERVER_PORT};
use crate::store::Store;

/// Name and id of the service that every server registers for itself.
pub const CONSUL_SERVICE: &str = "consul";

/// From one look at its duties to the next (Consul's figure).
const STEP: Duration = Duration::from_secs(60);

/// How long a deleted key is remembered, so that watches of its prefix see it go (Consul's figure).
const TOMBSTONE_LIFE: Duration = Duration::from_secs(15 * 60);

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

/// Keeps this node enlisted, and clears remembered deletions when their time is over, until `stop`.
pub async fn run(store: Store, identity: Arc<Identity>, stop: CancellationToken) -> Result<(), Infallible> {
    let mut seen = VecDeque::<(Instant, Index)>::new();
    let mut step = tokio::time::interval(STEP);
    loop {
        tokio::select! {
            _ = step.tick() => {}
            () = stop.cancelled() => return Ok(()),
        }
        // The catalog's endpoints let anybody remove anything. Where nothing is amiss, nothing is written.
        if let Err(error) = enlist(&store, &identity).await {
            tracing::warn!(%error, "the catalog refused this node");
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
    async fn a_node_that_somebody_removed_is_back_at_the_next_look() {
        let identity = Arc::new(Identity::example());
        let store = Store::new(CancellationToken::new());
        let duties = tokio::spawn(run(store.clone(), identity.clone(), CancellationToken::new()));
        let enlisted = |store: &Store| {
            store
                .read()
                .service_at(&identity.node, &CONSUL_SERVICE.into())
                .is_some()
        };
        let mut states = store.subscribe();
        states.wait_for(|state| state.index() > 0).await.unwrap();
        assert!(enlisted(&store));
        let (node, target) = (identity.node.clone(), Target::Node);
        store
            .propose(&Command::Deregister { node, target })
            .await
            .unwrap();
        assert!(!enlisted(&store));
        let removed = store.read().index();
        let back = states.wait_for(|state| state.index() > removed);
        tokio::time::timeout(2 * STEP, back).await.unwrap().unwrap();
        assert!(enlisted(&store));
        duties.abort();
    }
}
