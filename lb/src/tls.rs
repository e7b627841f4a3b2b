//! Certificates: where they come from, which one a client is shown, who vouches for clients and targets.
//!
//! | file | |
//! | --- | --- |
//! | `tls/pair.rs` `authorities.rs` `table.rs` `policy.rs` | PEM → pairs, authorities; name → pair; versions and ciphers; pure |
//! | `tls/store.rs` | what one source gave, swapped whole |
//! | `tls/source.rs` `source/*` | the places: one task each, the only writer of its store |
//! | `tls/acceptor.rs` `upstream.rs` | TLS with clients, with targets |
//! | `tls/challenges.rs` `demand.rs` | what ACME authorities look at; certificates that are made when asked for |
//!
//! Keys never leave here: what is shown of a certificate is in [`Status`].

mod acceptor;
mod authorities;
mod challenges;
mod demand;
pub(crate) mod pair;
mod policy;
mod source;
mod status;
mod store;
mod table;
mod upstream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use acceptor::{Acceptor, Refused};
pub(crate) use challenges::{ACME_PATH, Challenges};
pub(crate) use policy::{Alpn, BadPolicy};
use source::VaultToken;
pub(crate) use source::misplaced;
pub use status::SourceStatus;
pub(crate) use upstream::{NoClient, system_client};

use crate::config::{CertSource, Tls};
use crate::kv::Kv;
use crate::router::Live;
use crate::table::options::UpstreamTls;
use source::{Context, Env, Source};
use store::Store;
use upstream::Upstreams;

/// Why certificates cannot be had as configured.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that has to be there is not, or is not what it should be.
    #[error("certificate source '{source_name}': {problem}")]
    Source {
        /// Name of the source.
        source_name: Arc<str>,
        /// What is wrong, and with what.
        problem: String,
    },
    /// A listener asks for a source that is not configured.
    #[error("unknown certificate source \"{0}\": proxy.cs names none such")]
    UnknownSource(Arc<str>),
    /// A listener asks for what is not spoken.
    #[error("listener with certificate source '{source_name}': {problem}")]
    Policy {
        /// Name of its source.
        source_name: Arc<str>,
        /// What.
        problem: BadPolicy,
    },
    /// The library refuses.
    #[error("TLS: {0}")]
    Library(#[from] rustls::Error),
}

/// Every certificate source; a cheap handle.
#[derive(Clone, Debug)]
pub(crate) struct Stores(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    provider: Arc<CryptoProvider>,
    stores: ArcSwap<HashMap<Arc<str>, Arc<Store>>>,
    wanted: watch::Sender<Vec<Arc<Source>>>,
    challenges: Arc<Challenges>,
    upstreams: Upstreams,
    context: Context,
    kv: Option<Arc<dyn Kv>>,
    /// Sources that the last change let go. If it is taken back, they go on with what they have: the listeners that
    /// were there before hold on to them.
    retired: Mutex<Vec<Arc<Source>>>,
}

impl Stores {
    /// Reads what must be there from the start, the files; starts nothing. `kv` and `live` are for the sources that
    /// make certificates: where they are kept, and for which hosts.
    pub(crate) fn build(
        sources: &[CertSource],
        kv: Option<&Arc<dyn Kv>>,
        live: Live,
    ) -> Result<Self, TlsError> {
        Self::with_env(sources, kv, live, Arc::new(|name| std::env::var(name).ok()))
    }

    /// As `build`, in another environment than the process's.
    fn with_env(
        sources: &[CertSource],
        kv: Option<&Arc<dyn Kv>>,
        live: Live,
        env: Env,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let challenges = Arc::new(Challenges::new(provider.clone())?);
        let stores = Self(Arc::new(Shared {
            stores: ArcSwap::default(),
            wanted: watch::Sender::default(),
            challenges: challenges.clone(),
            upstreams: Upstreams::new(provider.clone()),
            context: Context::new(provider.clone(), live, env, challenges),
            kv: kv.cloned(),
            retired: Mutex::default(),
            provider,
        }));
        stores.reconfigure(sources)?;
        Ok(stores)
    }

    /// Takes over other sources. Those that stay the same keep what they have, and look at once whether it changed.
    /// An error changes nothing.
    pub(crate) fn reconfigure(&self, sources: &[CertSource]) -> Result<(), TlsError> {
        let known = self.0.wanted.borrow().clone();
        let retired = self.retired().clone();
        let mut next = Vec::new();
        for config in sources {
            let mut all = known.iter().chain(&retired);
            let same = all.find(|source| source.config == *config);
            next.push(match same {
                Some(source) => source.clone(),
                None => Arc::new(Source::build(config, &self.0.context, self.0.kv.as_ref())?),
            });
        }
        // Of two sources with one name the last counts, as in fabio.
        let named = next
            .iter()
            .map(|source| (source.config.name.clone(), source.store.clone()));
        self.0.stores.store(Arc::new(named.collect()));
        let gone = known
            .into_iter()
            .filter(|source| !next.iter().any(|other| Arc::ptr_eq(source, other)));
        *self.retired() = gone.collect();
        self.0.wanted.send_replace(next);
        Ok(())
    }

    /// The last change stays: what it let go of ends.
    pub(crate) fn settle(&self) {
        self.retired().clear();
    }

    /// Names of sources that nobody wants, but that a change which is taken back would need again.
    #[cfg(test)]
    pub(crate) fn kept_in_reserve(&self) -> Vec<Arc<str>> {
        self.retired()
            .iter()
            .map(|source| source.config.name.clone())
            .collect()
    }

    fn retired(&self) -> MutexGuard<'_, Vec<Arc<Source>>> {
        self.0.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps all sources current until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        source::run(self.0.wanted.subscribe(), self.0.context.clone(), stop).await;
    }

    /// Until every source was looked at once, with or without success: a listener that is open before that turns
    /// clients away. Needs [`Stores::run`] to run.
    pub(crate) async fn settled(&self) {
        let sources = self.0.wanted.borrow().clone();
        for source in sources {
            source.settled().await;
        }
    }

    /// Makes every source look now, as a reload does.
    #[cfg(test)]
    pub(crate) fn look(&self) {
        for source in &*self.0.wanted.borrow() {
            source.look();
        }
    }

    /// For a listener. Stays good for as long as its source stays configured as it is.
    pub(crate) fn acceptor(&self, tls: &Tls, alpn: Alpn) -> Result<Acceptor, TlsError> {
        let store = self
            .store(&tls.source)
            .ok_or_else(|| TlsError::UnknownSource(tls.source.clone()))?;
        let policy =
            policy::Policy::new(tls, alpn, &self.0.provider).map_err(|problem| TlsError::Policy {
                source_name: tls.source.clone(),
                problem,
            })?;
        Ok(Acceptor::new(store, policy, self.0.challenges.clone())?)
    }

    /// For a connection to a target that begins now; the same one for the same wish, while its sources stay as they
    /// are. The name to verify is the connection's: `server_name`, else that of the Host header, else the address.
    pub(crate) async fn client_config(
        &self,
        tls: &UpstreamTls,
        h2: bool,
    ) -> Result<Arc<ClientConfig>, NoClient> {
        let find = |name: &Arc<str>| self.store(name);
        self.0.upstreams.config(tls, h2, find).await
    }

    /// What ACME authorities wait to see.
    pub(crate) fn challenges(&self) -> &Arc<Challenges> {
        &self.0.challenges
    }

    /// Every source with its certificates, without keys.
    pub(crate) fn status(&self) -> Vec<SourceStatus> {
        let sources = self.0.wanted.borrow();
        sources.iter().map(|source| SourceStatus::of(source)).collect()
    }

    /// The tokens of Vaults that sources share.
    pub(crate) fn vault_tokens(&self) -> Vec<VaultToken> {
        self.0.context.vault_tokens()
    }

    fn store(&self, name: &Arc<str>) -> Option<Arc<Store>> {
        self.0.stores.load().get(name).cloned()
    }
}

#[cfg(test)]
pub(crate) mod tests;
