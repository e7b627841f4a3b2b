//! What the end-to-end tests are written in: agents, containers, requests, and waiting for a state.
//!
//! Everything started here belongs to a value and ends when it is dropped, also when a test panics. Nothing here
//! sleeps for luck: a state is awaited with a deadline, and the failure says what was last seen.

mod agent;
mod cut;
mod engine;
mod etcd;
pub(crate) mod gate;
pub(crate) mod http;
pub(crate) mod mixed;
mod own_engine;
mod podman;
mod traffic;
mod zookeeper;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(crate) use agent::{Agent, Builder, agent};
pub(crate) use cut::Cut;
pub(crate) use engine::{Container, Engine, Setup, machine};
pub(crate) use etcd::Etcd;
pub(crate) use own_engine::OwnEngine;
pub(crate) use podman::Podman;
pub(crate) use traffic::Traffic;
pub(crate) use zookeeper::{Node, Watcher, ZooKeeper};

/// Long enough for a loaded machine with two cores; a passing test never waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A name that no other test, in this process or in another, uses: lower case, digits and dashes, so that it may
/// be a container, a service, a host or a node.
pub(crate) fn unique(kind: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{kind}-{}-{number}", std::process::id())
}

/// Asks until the answer is `Ok`, at most [`PATIENCE`] long, and panics with the last refusal after that.
pub(crate) fn wait_for<T>(what: &str, ask: impl FnMut() -> Result<T, String>) -> T {
    wait_at_most(PATIENCE, what, ask)
}

/// [`wait_for`] with a deadline of its own.
pub(crate) fn wait_at_most<T>(
    patience: Duration,
    what: &str,
    mut ask: impl FnMut() -> Result<T, String>,
) -> T {
    let started = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) if started.elapsed() > patience => {
                panic!("waited {patience:?} for {what}; the last state seen was: {last}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// `Ok` when the two are equal, else a sentence: what [`wait_for`] likes to be told.
#[allow(
    clippy::needless_pass_by_value,
    reason = "callers compare what they have just been told"
)]
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(seen: T, wanted: T) -> Result<(), String> {
    if seen == wanted {
        Ok(())
    } else {
        Err(format!("{seen:?}, wanted {wanted:?}"))
    }
}
