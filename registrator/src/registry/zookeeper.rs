//! ZooKeeper: one ephemeral node for each service, `<base>/<name>/<ip>:<port>`, as the original's readers know it.
//!
//! A node is ours by the session that it hangs on. A process that was killed leaves a session behind, which lives
//! until it times out. So each session is noted at `<base>/_lictor/<owner>` before anything hangs on it, and what
//! hangs on an older one is moved to the one that holds, deleted and created in one transaction: nothing goes missing
//! when the old one times out, and what nobody wants any more is found. What hangs on other sessions, or on none, is
//! never touched; but that of an owner whom we called ourselves before is taken over where a container here has it.
//!
//! | file | |
//! | --- | --- |
//! | `tree.rs` | paths, and what a node says; pure |
//! | `session.rs` | the session and its keeper |
//! | `nodes.rs` | what is done to nodes, against all who do the same |

mod nodes;
mod session;
pub mod tree;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use catalog::service::META_OWNER;
use catalog::{Registration, ServiceSpec};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;
use tracing::info;

use self::session::{Live, Notes, Session};
use self::tree::{Base, Body};
use super::{Abilities, Error, Lists, Offer, Registry, Terms};

/// A tree that takes longer is not searched: what nobody wants in it times out by itself.
const SEARCH: Duration = Duration::from_secs(5);

/// A tree kept by one server or several.
#[derive(Debug)]
pub struct ZooKeeper {
    servers: String,
    base: Base,
    terms: OnceLock<Terms>,
    session: OnceLock<Session>,
    /// How many sessions [`Registry::faltered`] has told of.
    told: AtomicU64,
    /// By key: nodes that we have written, and what they say if so; or that we found to be ours.
    held: Mutex<BTreeMap<String, Option<Written>>>,
    /// Whether what processes before us left was looked for.
    searched: AtomicBool,
}

/// What was written to a node, and what it stands for.
#[derive(Clone, Debug)]
struct Written {
    text: String,
    entry: Arc<Registration>,
}

impl ZooKeeper {
    /// Registers under the path `base` of these servers, each `host:port`. Contacts nobody. The owner that it is given
    /// to begin with is to be a [`tree::part`] of a path.
    ///
    /// # Errors
    /// What the path holds that no path may.
    pub fn new(servers: &[String], base: &str) -> Result<Self, String> {
        Ok(Self {
            servers: servers.join(","),
            base: Base::new(base)?,
            terms: OnceLock::new(),
            session: OnceLock::new(),
            told: AtomicU64::new(1),
            held: Mutex::default(),
            searched: AtomicBool::new(false),
        })
    }

    fn terms(&self) -> Result<&Terms, Error> {
        self.terms.get().ok_or_else(Error::nobody)
    }

    fn session(&self) -> Result<&Session, Error> {
        let terms = self.terms()?;
        let keep = || {
            let former = terms.former_owners.iter();
            // One that is none of a path was never written.
            let former = former.filter(|owner| tree::part(owner).is_ok());
            let notes = Notes {
                mark: self.base.mark(&terms.owner),
                former: former.map(|owner| self.base.mark(owner)).collect(),
                looks_only: terms.looks_only,
            };
            Session::keep(self.servers.clone(), notes)
        };
        Ok(self.session.get_or_init(keep))
    }

    async fn live(&self) -> Result<Arc<Live>, Error> {
        self.session()?.live().await
    }

    /// Adds what a process before us has left, once.
    async fn search(&self, live: &Live) -> Result<(), Error> {
        if self.searched.load(Ordering::Relaxed) {
            return Ok(());
        }
        if !live.older.is_empty() {
            match timeout(SEARCH, live.inherited(&self.base)).await {
                Ok(found) => self.held().extend(found?.into_iter().map(|key| (key, None))),
                Err(_) => info!(
                    base = self.base.path(),
                    "too large to be searched for nodes left behind; they time out"
                ),
            }
        }
        self.searched.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Option<Written>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands for a node of which nobody remembers more than where it is: it will be written, or removed.
    fn bare(key: &str, owner: &str) -> Option<Registration> {
        let (name, address, port) = tree::read(key)?;
        let service = ServiceSpec {
            id: key.into(),
            name: name.into(),
            address: address.to_owned(),
            port,
            meta: [(META_OWNER.to_owned(), owner.to_owned())].into(),
            ..ServiceSpec::default()
        };
        Some(Registration {
            service,
            checks: Vec::new(),
        })
    }
}

impl Registry for ZooKeeper {
    fn name(&self) -> String {
        format!("zookeeper://{}{}", self.servers, self.base.path())
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            tells_health: false,
            lists: Lists::Services,
            key: |service| tree::key(&service.name, &service.address, service.port).into(),
            refuses: if self.base.is_root() {
                |service| refusal(service, true)
            } else {
                |service| refusal(service, false)
            },
            ..Abilities::default()
        }
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), Error>> {
        async {
            if self.terms.get().is_none() {
                return session::reach(&self.servers).await;
            }
            self.live().await.map(drop)
        }
        .boxed()
    }

    fn begin(&self, terms: &Terms) {
        self.terms.get_or_init(|| terms.clone());
    }

    fn services(&self) -> BoxFuture<'_, Result<Option<Vec<Registration>>, Error>> {
        async move {
            let terms = self.terms()?;
            let live = self.live().await?;
            self.search(&live).await?;
            let held = self.held().clone();
            let entries = nodes::abreast(held, |(key, written)| {
                let live = &live;
                async move {
                    let path = self.base.node(&key);
                    let text = match terms.looks_only {
                        true => live.look(&path).await?,
                        false => live.adopt(&path).await?,
                    };
                    let Some(text) = text else { return Ok(None) };
                    Ok(match written.filter(|written| written.text.as_bytes() == text) {
                        Some(written) => Some((*written.entry).clone()),
                        None => Self::bare(&key, &terms.owner),
                    })
                }
            });
            Ok(Some(entries.await?.into_iter().flatten().collect()))
        }
        .boxed()
    }

    fn register<'a>(&'a self, wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let service = &wanted.registration.service;
            let key = tree::key(&service.name, &service.address, service.port);
            let body = Body {
                name: &service.name,
                ip: &service.address,
                public_port: service.port,
                private_port: wanted.port.number,
                container: &wanted.inside_name,
                tags: &service.tags,
                attrs: &wanted.attributes,
            };
            let text = body.json();
            // A write that fails may have been obeyed: then the node is ours, and nobody knows what it says.
            self.held().insert(key.clone(), None);
            let live = self.live().await?;
            live.put(&self.base.node(&key), text.as_bytes()).await?;
            let entry = wanted.registration.clone();
            self.held().insert(key, Some(Written { text, entry }));
            Ok(())
        }
        .boxed()
    }

    fn refresh<'a>(&'a self, wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        self.register(wanted)
    }

    fn deregister<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async {
            let live = self.live().await?;
            live.remove(&self.base.node(key)).await?;
            self.held().remove(key);
            Ok(())
        }
        .boxed()
    }

    fn faltered(&self) -> BoxFuture<'_, ()> {
        async {
            let known = self.told.load(Ordering::Relaxed);
            let Ok(session) = self.session() else {
                return std::future::pending().await;
            };
            let opened = session.opened(known).await;
            self.told.store(opened, Ordering::Relaxed);
        }
        .boxed()
    }
}

/// Why a service cannot have a node, and the setting that would help.
fn refusal(service: &ServiceSpec, under_root: bool) -> Option<(&'static str, String)> {
    let why = tree::name(&service.name, under_root).err()?;
    Some(("SERVICE_NAME", why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_path_is_refused_with_its_reason() {
        let open = |base| ZooKeeper::new(&["h:2181".to_owned()], base);
        assert_eq!(open("a/b/").unwrap().name(), "zookeeper://h:2181/a/b");
        assert_eq!(open("").unwrap().name(), "zookeeper://h:2181/");
        assert_eq!(
            open("a/../b").unwrap_err(),
            "\"..\" cannot be part of a path: it would be relative"
        );
    }

    #[test]
    fn a_service_whose_name_is_taken_under_this_base_is_refused() {
        let refuses = |base, name: &str| {
            let service = ServiceSpec {
                name: name.into(),
                ..ServiceSpec::default()
            };
            let zookeeper = ZooKeeper::new(&["h:2181".to_owned()], base).unwrap();
            (zookeeper.abilities().refuses)(&service)
        };
        let taken = ("SERVICE_NAME", "\"zookeeper\" is taken in ZooKeeper".to_owned());
        assert_eq!(refuses("", "zookeeper"), Some(taken));
        assert_eq!(refuses("services", "zookeeper"), None);
    }
}
