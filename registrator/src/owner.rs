//! Whose registrations we are: a mark that outlives host names, addresses and restarts.
//!
//! It is made of what the machine and its engine call themselves. Two hosts of one name have different marks, a host
//! that is renamed keeps its own, and so do two engines on one machine, each of which denies the other's containers.

use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tracing::{info, warn};

use crate::config::Config;
use crate::docker::{Docker, Error};
use crate::reconcile::notes::Notes;

/// The configuration with the mark it is to have; where that depends on the engine, once the engine has answered.
pub(crate) async fn settle(config: Arc<Config>, notes: &Notes) -> Arc<Config> {
    let Some(machine) = config.machine.clone() else {
        return config;
    };
    loop {
        let Some(docker) = notes.next().await.connected else {
            continue;
        };
        match engine_id(&docker).await {
            Ok(engine) => {
                let mut config = Config::clone(&config);
                let former = std::mem::replace(&mut config.owner, mark(&machine, engine.as_deref()));
                config.former_owners.push(former);
                info!(owner = config.owner, "our entries are marked");
                notes.connected(docker);
                return Arc::new(config);
            }
            // To guess would leave all our entries to nobody.
            Err(error) => {
                warn!(%error, "the container engine does not say who it is; trying on");
                notes.suspect_stream();
            }
        }
    }
}

/// What an engine calls itself. Podman has no name that lasts; and of an engine behind a proxy that lets nobody ask, it
/// is unknown.
async fn engine_id(docker: &Docker) -> Result<Option<String>, Error> {
    match docker.info().await {
        Ok(info) => Ok(info.id),
        Err(Error::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A machine's id is not to be shown to everybody, so it is hashed.
fn mark(machine: &str, engine: Option<&str>) -> String {
    let mut hash = Sha256::new();
    for part in ["lictor registrator", machine, engine.unwrap_or_default()] {
        hash.update(part);
        hash.update([0]);
    }
    let digest = hash.finalize();
    let mut text = String::new();
    for byte in &digest[..16] {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_of_one_machine_and_one_engine() {
        let marks = [
            mark("m", Some("e")),
            mark("m", Some("f")),
            mark("n", Some("e")),
            mark("me", None),
            mark("m", None),
        ];
        for (at, one) in marks.iter().enumerate() {
            assert!(!marks[..at].contains(one), "{marks:?}");
            assert_eq!(one.len(), 32);
        }
        // Entries that are out there have it.
        assert_eq!(mark("m", Some("e")), mark("m", Some("e")));
    }
}
