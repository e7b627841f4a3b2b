//! etcd, by v2 keys or by v3, and what reads it as SkyDNS does: one key for each service.
//!
//! Keys and values are those of the original. Whose an entry is stands beside them (`mark.rs`), and decides: what others
//! hold is neither written nor removed, and every change is made only if the entry is still as it was found.
//!
//! | file | |
//! | --- | --- |
//! | `keys.rs` | services as keys and values; pure |
//! | `mark.rs` | whose an entry is; pure |
//! | `version.rs` | which API a server speaks; pure |
//! | `endpoints.rs` | the members of a cluster as one server |
//! | `auth.rs` | the token of a user |
//! | `v2.rs`, `v3.rs` | the two APIs |
//! | `tree.rs`, `fault.rs` | what both have in common |

mod auth;
mod endpoints;
mod fault;
mod keys;
mod mark;
mod tree;
mod v2;
mod v3;
mod version;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use api::tls::Tls;
use catalog::service::META_OWNER;
use catalog::{Registration, ServiceSpec};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use futures_util::{FutureExt as _, TryStreamExt as _};
use http_body_util::BodyExt as _;
use hyper::Method;
use tokio::sync::Notify;

pub use auth::Credentials;
pub use keys::Shelf;

use super::{Abilities, Error, Lists, Offer, Registry, Terms, is_of_a_host};
use auth::Passes;
use endpoints::{Ask, Endpoints, said};
use fault::Fault;
use keys::entry_of;
use mark::{Holder, Marks, NOBODYS};
use tree::{Entry, Tree};
use v2::V2;
use v3::V3;
use version::{Dialect, Version};

/// Requests under way at once.
const ABREAST: usize = 32;
/// Between two attempts to hear a server that is gone.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);
/// An answer that lasts is asked for again after this time, in case its server vanished without a word.
const HEARD_ENOUGH: Duration = Duration::from_secs(300);

/// How a cluster is reached, and what is kept there.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port` of each member, at least one.
    pub members: Vec<String>,
    /// Absent: in the clear.
    pub tls: Option<Tls>,
    /// Absent: nobody in particular.
    pub user: Option<Credentials>,
    /// Where services are kept, and how.
    pub shelf: Shelf,
    /// Which API to speak.
    pub api: Api,
    /// After which entries vanish unless renewed; zero: never.
    pub ttl: Duration,
}

/// How the API is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Api {
    /// v3 from server 3.4 on, before that v2: what readers of that time read.
    #[default]
    ByVersion,
    /// v2 wherever the server speaks it, else v3: SkyDNS reads nothing else.
    PreferV2,
    /// `/v2/keys`.
    V2,
    /// The gateway of v3.
    V3,
}

/// One etcd cluster.
#[derive(Debug)]
pub struct Etcd {
    endpoints: Endpoints,
    user: Option<Credentials>,
    passes: Passes,
    shelf: Shelf,
    /// Once it is known whose entries are ours.
    marks: OnceLock<Marks>,
    ttl: Duration,
    api: Api,
    /// Found at the first request; forgotten where a server does not know it, as after an upgrade.
    dialect: Mutex<Option<Dialect>>,
    /// The revision of v3 that the last listing showed; 0: none.
    listed_at: AtomicI64,
    /// Keys that are ours, so that the removal of one is noticed.
    held: Mutex<BTreeSet<String>>,
    /// Entries were found to be missing.
    lost: Notify,
}

/// What is to be done about a key.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It is as it should be.
    Nothing,
    /// It is to be written.
    Put,
    Refuse(String),
}

/// How what was `found` becomes what is wanted. An entry without a mark is taken over if it says the same, or if its id
/// is one that the original makes for a host: which host, the reconciliation has looked at.
fn step(found: Option<&Entry>, name: &str, value: &str) -> Step {
    let Some(found) = found else { return Step::Put };
    let held_by = |who: &str| {
        Step::Refuse(format!(
            "{} holds {:?}, written by {who}; another SERVICE_ID would help",
            found.key, found.value
        ))
    };
    match &found.holder {
        Holder::Us { settled: true, .. } if found.value == value => Step::Nothing,
        Holder::Us { .. } => Step::Put,
        Holder::Nobody if found.value == value || is_of_a_host(name) => Step::Put,
        Holder::Nobody => held_by("somebody else"),
        Holder::Another(who) => held_by(who),
    }
}

impl Etcd {
    /// Contacts nobody.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub fn new(settings: Settings) -> Result<Self, String> {
        Ok(Self {
            endpoints: Endpoints::new(&settings.members, settings.tls.as_ref())?,
            user: settings.user,
            passes: Passes::default(),
            marks: OnceLock::new(),
            ttl: settings.ttl,
            shelf: settings.shelf,
            api: settings.api,
            dialect: Mutex::default(),
            listed_at: AtomicI64::new(0),
            held: Mutex::default(),
            lost: Notify::new(),
        })
    }

    async fn tree(&self) -> Result<Tree<'_>, Fault> {
        Ok(self.speaking(self.dialect().await?, self.marks()?))
    }

    fn marks(&self) -> Result<&Marks, Fault> {
        self.marks.get().ok_or_else(|| Fault::Failed(Error::nobody()))
    }

    /// Which API is spoken, asked for where that is not known.
    async fn dialect(&self) -> Result<Dialect, Fault> {
        let known = *self.dialect.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dialect) = known {
            return Ok(dialect);
        }
        let found = self.choose().await?;
        *self.dialect.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(found)
    }

    fn speaking<'a>(&'a self, dialect: Dialect, marks: &'a Marks) -> Tree<'a> {
        match dialect {
            Dialect::V2 { refreshes } => Tree::V2(V2 {
                endpoints: &self.endpoints,
                shelf: &self.shelf,
                refreshes,
                user: self.user.as_ref(),
                marks,
            }),
            Dialect::V3 { prefix } => Tree::V3(V3 {
                endpoints: &self.endpoints,
                prefix,
                user: self.user.as_ref(),
                passes: &self.passes,
                marks,
            }),
        }
    }

    async fn choose(&self) -> Result<Dialect, Fault> {
        let reply = self.endpoints.send(&Ask::new(Method::GET, "/version")).await?;
        let Some(version) = Version::read(&reply.body) else {
            return Err(Fault::refused(&format!(
                "it is no etcd: /version says {:?}",
                said(&reply.body)
            )));
        };
        let older = || Fault::refused("it is older than v3");
        match self.api {
            Api::V2 => Ok(version.v2()),
            Api::V3 => version.v3().ok_or_else(older),
            _ if version.is_of_v2() => Ok(version.v2()),
            Api::PreferV2 => match self.speaking(version.v2(), &NOBODYS).probe("").await {
                Err(Fault::NoApi) => version.v3().ok_or_else(older),
                Err(fault) => Err(fault),
                Ok(_) => Ok(version.v2()),
            },
            Api::ByVersion => version.v3().ok_or_else(older),
        }
    }

    /// An outcome for those outside; an API that is not known is not held on to.
    fn told<T>(&self, outcome: Result<T, Fault>) -> Result<T, Error> {
        outcome.map_err(|fault| {
            if matches!(fault, Fault::NoApi) {
                *self.dialect.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            fault.into()
        })
    }

    /// What may be asked before it is known whose entries are ours.
    async fn reach(&self) -> Result<(), Fault> {
        let tree = self.speaking(self.dialect().await?, &NOBODYS);
        tree.probe(&self.shelf.prefix()).await.map(drop)
    }

    async fn list(&self) -> Result<Vec<Registration>, Fault> {
        let us = self.marks()?.owner();
        let (entries, revision) = self.tree().await?.list(&self.shelf.prefix()).await?;
        self.listed_at.store(revision, Ordering::Relaxed);
        let ours = entries.iter().filter(|entry| entry.owner().is_some());
        // Added to what is known: what was written meanwhile may not be listed.
        self.held().extend(ours.map(|entry| entry.key.clone()));
        Ok(entries.iter().filter_map(|entry| self.found(entry, us)).collect())
    }

    /// What an entry tells; nothing of those that we shall look at once their key is wanted.
    fn found(&self, entry: &Entry, us: &str) -> Option<Registration> {
        let name = self.shelf.entry(&entry.key)?;
        let mut found = self.shelf.service(name, &entry.value)?;
        let owner = match &entry.holder {
            Holder::Us { owner, settled } => {
                // What says whose it was of old is judged by where it leads.
                if !settled && owner == us {
                    // Equal to nothing that can be wanted: it is to be written again.
                    found.service.address.clear();
                    found.service.port = 0;
                }
                Some(owner)
            }
            Holder::Another(who) => Some(who),
            Holder::Nobody if is_of_a_host(name) => None,
            Holder::Nobody => return None,
        };
        let owner = owner.map(|owner| (META_OWNER.to_owned(), owner.clone()));
        found.service.meta.extend(owner);
        Some(found)
    }

    async fn write(&self, service: &ServiceSpec) -> Result<(), Fault> {
        let name = entry_of(service);
        let (key, value) = (self.shelf.key(&name), self.shelf.value(service));
        let tree = self.tree().await?;
        let found = tree.find(&key).await?;
        match step(found.as_ref(), &name, &value) {
            Step::Nothing => {}
            Step::Put => tree.put(&key, &value, found.as_ref()).await?,
            Step::Refuse(why) => return Err(Fault::refused(&why)),
        }
        self.held().insert(key);
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<(), Fault> {
        let key = self.shelf.key(name);
        // Before it goes: the removal is ours.
        self.held().remove(&key);
        let tree = self.tree().await?;
        match tree.find(&key).await? {
            Some(found) if removable(&found, name) => tree.delete(&found).await,
            _ => Ok(()),
        }
    }

    /// Renews keys with these values.
    async fn keep(&self, held: Vec<(String, String)>) -> Result<(), Fault> {
        if self.marks()?.lifetime().is_none() || held.is_empty() {
            return Ok(());
        }
        let alive = match self.tree().await? {
            Tree::V3(tree) => tree.keep().await?,
            Tree::V2(tree) => {
                let each = held
                    .into_iter()
                    .map(|(key, value)| async move { tree.keep(&key, &value).await });
                let kept: Vec<bool> = stream::iter(each).buffer_unordered(ABREAST).try_collect().await?;
                kept.into_iter().all(|kept| kept)
            }
        };
        if alive {
            return Ok(());
        }
        self.lost.notify_one();
        Err(Fault::refused("entries have run out; they are written again"))
    }

    fn held(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once entries may be missing: one of ours was removed, or a server is back that was gone.
    async fn missing(&self) {
        tokio::select! {
            () = self.lost.notified() => {}
            () = self.heard() => {}
        }
    }

    async fn heard(&self) {
        let mut was_gone = false;
        loop {
            let ended = tokio::time::timeout(HEARD_ENOUGH, self.listen(was_gone)).await;
            match ended {
                Ok(Ok(())) => return,
                Ok(Err(fault)) => {
                    tracing::debug!(error = %Error::from(fault), "the registry is not heard");
                    was_gone = true;
                    tokio::time::sleep(LISTEN_AGAIN).await;
                }
                Err(_) => {}
            }
        }
    }

    /// Listens until a key of ours is removed, or was since the last listing. Returns at once when a server is heard that
    /// `was_gone`, or that began anew meanwhile.
    async fn listen(&self, was_gone: bool) -> Result<(), Fault> {
        let tree = self.tree().await?;
        // With a pass that holds: the token may be gone with the server that gave it.
        let now = tree.probe(&self.shelf.prefix()).await?;
        let listed_at = self.listed_at.load(Ordering::Relaxed);
        match tree {
            _ if was_gone || now < listed_at => Ok(()),
            Tree::V3(tree) => {
                let after = if listed_at == 0 { now } else { listed_at };
                let mut watch = tree.watch(&self.shelf.prefix(), after).await?;
                while !watch.next().await?.iter().any(|key| self.held().contains(key)) {}
                Ok(())
            }
            Tree::V2(tree) => {
                let mut answer = tree.watch().await?;
                while let Some(Ok(_)) = answer.frame().await {}
                Err(Fault::gone("the server ended the watch"))
            }
        }
    }
}

impl Registry for Etcd {
    fn name(&self) -> String {
        let (scheme, below) = self.shelf.called();
        format!("{scheme}://{}/{below}", self.endpoints.names())
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            tells_health: false,
            lists: Lists::Places,
            abreast: ABREAST,
            key: entry_of,
            refuses: self.shelf.refuses(),
        }
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), Error>> {
        async { self.told(self.reach().await) }.boxed()
    }

    fn begin(&self, terms: &Terms) {
        let (place, former) = (self.shelf.prefix(), &terms.former_owners);
        self.marks
            .get_or_init(|| Marks::new(&terms.owner, former, &place, self.ttl));
    }

    fn services(&self) -> BoxFuture<'_, Result<Option<Vec<Registration>>, Error>> {
        async { self.told(self.list().await).map(Some) }.boxed()
    }

    fn register<'a>(&'a self, wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        async { self.told(self.write(&wanted.registration.service).await) }.boxed()
    }

    fn refresh<'a>(&'a self, _wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }

    fn deregister<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async { self.told(self.remove(key).await) }.boxed()
    }

    fn renew<'a>(&'a self, held: &'a [Arc<Registration>]) -> BoxFuture<'a, Result<(), Error>> {
        let pair = |held: &Arc<Registration>| {
            let service = &held.service;
            (self.shelf.key(&entry_of(service)), self.shelf.value(service))
        };
        let pairs = held.iter().map(pair).collect();
        async { self.told(self.keep(pairs).await) }.boxed()
    }

    fn faltered(&self) -> BoxFuture<'_, ()> {
        self.missing().boxed()
    }
}

/// Whether an entry may go on our word: it is ours, or of the original for a host that the reconciliation knows to be
/// this one.
fn removable(found: &Entry, name: &str) -> bool {
    match found.holder {
        Holder::Us { .. } => true,
        Holder::Nobody => is_of_a_host(name),
        Holder::Another(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &str, holder: Holder) -> Entry {
        Entry {
            key: "/services/web/1".to_owned(),
            value: value.to_owned(),
            holder,
            seen: 7,
        }
    }

    fn us(settled: bool) -> Holder {
        let owner = "t1".to_owned();
        Holder::Us { owner, settled }
    }

    #[test]
    fn what_is_right_already_is_not_written_and_what_others_hold_never() {
        let of_a_host = "web/t1:web:80";
        for (found, name, wanted) in [
            (None, "web/1", Some(Step::Put)),
            (Some(entry("a:1", us(true))), "web/1", Some(Step::Nothing)),
            (Some(entry("a:2", us(true))), "web/1", Some(Step::Put)),
            (Some(entry("a:1", us(false))), "web/1", Some(Step::Put)),
            (Some(entry("a:1", Holder::Nobody)), "web/1", Some(Step::Put)),
            (Some(entry("a:2", Holder::Nobody)), of_a_host, Some(Step::Put)),
            (Some(entry("a:2", Holder::Nobody)), "web/1", None),
            (
                Some(entry("a:1", Holder::Another("t2".to_owned()))),
                of_a_host,
                None,
            ),
        ] {
            let step = step(found.as_ref(), name, "a:1");
            match wanted {
                Some(wanted) => assert_eq!(step, wanted, "{found:?}"),
                None => assert!(matches!(step, Step::Refuse(_)), "{found:?}: {step:?}"),
            }
        }
    }

    #[test]
    fn only_what_is_ours_or_left_by_the_original_may_go() {
        assert!(removable(&entry("a:1", us(false)), "web/1"));
        assert!(removable(&entry("a:1", Holder::Nobody), "web/t1:web:80"));
        assert!(!removable(&entry("a:1", Holder::Nobody), "web/1"));
        assert!(!removable(
            &entry("a:1", Holder::Another("t2".to_owned())),
            "web/t1:web:80"
        ));
    }
}
