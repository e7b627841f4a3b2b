//! The places that certificates come from. Each has tasks of its own, which are the only writers of its store.

mod acme;
mod consul;
mod file;
mod files;
mod http;
mod path;
mod pki;
mod poll;
mod vault;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use tokio::sync::{Notify, OnceCell, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::TlsError;
use super::challenges::Challenges;
use super::demand::Demand;
use super::store::Store;
use super::upstream::{self, NoClient};
use crate::config::{CertKind, CertSource};
use crate::fetch::{FetchError, Fetcher};
use crate::kv::{Kv, KvError};
use crate::router::Live;
pub(crate) use acme::{Shelf, Shown};
use poll::What;
pub(crate) use vault::VaultToken;

/// How long a place may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks for certificates that have expired.
const EXPIRY: Duration = Duration::from_secs(30);
/// Clients that may wait for certificates of one source; more are not waited for.
const MAX_DEMANDS: usize = 256;

/// Why a place was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRead {
    /// A file or a folder.
    #[error("{0}: {1}")]
    File(String, io::Error),
    /// A server.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It answers, but not what it should.
    #[error("{0}")]
    Answer(String),
    /// A key-value store.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// TLS with it cannot be had.
    #[error(transparent)]
    Client(#[from] NoClient),
}

/// A source and what it gave.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) config: CertSource,
    pub(super) store: Arc<Store>,
    look: Look,
    /// What was looked at once at least, with or without success.
    looked: watch::Sender<Looked>,
    /// Held by the task that answers them. One that begins anew waits for the one before to end.
    demands: Option<tokio::sync::Mutex<mpsc::Receiver<Demand>>>,
    /// Where what is ordered is kept.
    shelf: Option<Shelf>,
    /// Of types vault and vault-pki. Whoever keeps its token ends with the last source that has it.
    vault: Option<vault::Client>,
}

/// A wish that a source looks now, for each of its parts.
#[derive(Debug, Default)]
struct Look {
    certificates: Notify,
    authorities: Notify,
}

impl Look {
    async fn notified(&self, what: What) {
        match what {
            What::Certificates => self.certificates.notified().await,
            What::Authorities => self.authorities.notified().await,
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Looked {
    certificates: bool,
    authorities: bool,
}

impl Looked {
    fn insert(&mut self, what: What) {
        match what {
            What::Certificates => self.certificates = true,
            What::Authorities => self.authorities = true,
        }
    }
}

/// An environment variable by its name.
pub(super) type Env = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What sources work with; cheap to copy.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) live: Live,
    pub(super) env: Env,
    challenges: Arc<Challenges>,
    fetcher: Arc<OnceCell<Fetcher>>,
    vaults: Arc<vault::Vaults>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

impl Context {
    pub(super) fn new(
        provider: Arc<CryptoProvider>,
        live: Live,
        env: Env,
        challenges: Arc<Challenges>,
    ) -> Self {
        Self {
            provider,
            live,
            env,
            challenges,
            fetcher: Arc::default(),
            vaults: Arc::default(),
        }
    }

    /// Asks servers that the system trusts.
    async fn fetcher(&self) -> Result<Fetcher, NotRead> {
        let made = self.fetcher.get_or_try_init(|| async {
            let verifier = upstream::system_aside(&self.provider).await?;
            let tls = upstream::client(&self.provider, verifier, None)?;
            Ok::<_, NoClient>(Fetcher::new(&Arc::new(tls)))
        });
        Ok(made.await?.clone())
    }

    /// What is known of the tokens of Vaults.
    pub(super) fn vault_tokens(&self) -> Vec<VaultToken> {
        self.vaults.tokens()
    }
}

impl Source {
    /// Reads what must be there from the start; nothing else. `kv`: where certificates that are ordered are kept.
    pub(super) fn build(
        config: &CertSource,
        context: &Context,
        kv: Option<&Arc<dyn Kv>>,
    ) -> Result<Self, TlsError> {
        let provider = &context.provider;
        let told = |problem| TlsError::Source {
            source_name: config.name.clone(),
            problem,
        };
        let mut store = Store::new(config.name.clone(), config.client_ca.is_some(), provider.clone())?;
        let (mut demands, mut shelf, mut vault) = (None, None, None);
        match &config.kind {
            CertKind::VaultPki(_) => {
                let (send, receive) = mpsc::channel(MAX_DEMANDS);
                store.always_strict = true;
                store.demand = Some(send);
                demands = Some(tokio::sync::Mutex::new(receive));
                vault = Some(context.vaults.client(context, config.vault_fetch_token.as_ref()));
            }
            CertKind::Vault(_) => {
                vault = Some(context.vaults.client(context, config.vault_fetch_token.as_ref()));
            }
            CertKind::Acme(acme) => shelf = Some(acme::shelf(acme, kv).map_err(told)?),
            _ => {}
        }
        let source = Self {
            config: config.clone(),
            store: Arc::new(store),
            look: Look::default(),
            looked: watch::Sender::default(),
            demands,
            shelf,
            vault,
        };
        source.check_first(provider).map_err(told)?;
        Ok(source)
    }

    /// Reads files, and how places are written.
    fn check_first(&self, provider: &Arc<CryptoProvider>) -> Result<(), String> {
        misplaced(&self.config)?;
        match &self.config.kind {
            CertKind::File { cert, key } => file::first(self, cert, key, provider),
            _ => Ok(()),
        }
    }

    fn vault(&self) -> &vault::Client {
        let vault = self.vault.as_ref();
        vault.expect("sources of types vault and vault-pki are built with one")
    }

    /// Makes it look now rather than when it is time.
    pub(super) fn look(&self) {
        self.look.certificates.notify_one();
        self.look.authorities.notify_one();
    }

    /// Until it was looked at once.
    pub(super) async fn settled(&self) {
        let both = self.config.client_ca.is_some();
        let done = |looked: &Looked| looked.certificates && (looked.authorities || !both);
        // The sender is ours.
        let _ = self.looked.subscribe().wait_for(done).await;
    }

    /// fabio's word for its type.
    pub(super) fn kind(&self) -> &'static str {
        match self.config.kind {
            CertKind::File { .. } => "file",
            CertKind::Path(_) => "path",
            CertKind::Http(_) => "http",
            CertKind::Consul(_) => "consul",
            CertKind::Vault(_) => "vault",
            CertKind::VaultPki(_) => "vault-pki",
            CertKind::Acme(_) => "acme",
        }
    }
}

/// Whether its places and its header are written so that they can be asked.
pub(crate) fn misplaced(source: &CertSource) -> Result<(), String> {
    let ca = source.client_ca.as_deref();
    if let Some((name, value)) = &source.header {
        crate::fetch::header(name, value.reveal()).map_err(|error| error.to_string())?;
    }
    match &source.kind {
        CertKind::Http(url) => {
            for url in [Some(url.as_str()), ca].into_iter().flatten() {
                crate::fetch::url_of(url).map_err(|error| error.to_string())?;
            }
        }
        CertKind::Consul(url) => {
            for url in [Some(url.reveal()), ca].into_iter().flatten() {
                consul::Place::parse(url)?;
            }
        }
        CertKind::Acme(acme) => {
            crate::fetch::url_of(&acme.directory).map_err(|error| error.to_string())?;
        }
        CertKind::File { .. } | CertKind::Path(_) | CertKind::Vault(_) | CertKind::VaultPki(_) => {}
    }
    Ok(())
}

/// Keeps the sources that are wanted current until `stop`; those that are no longer wanted rest.
pub(super) async fn run(
    mut wanted: watch::Receiver<Vec<Arc<Source>>>,
    context: Context,
    stop: CancellationToken,
) {
    let mut running: Vec<(Arc<Source>, CancellationToken)> = Vec::new();
    let mut tasks = JoinSet::new();
    let mut clock = tokio::time::interval(EXPIRY);
    wanted.mark_changed();
    loop {
        tokio::select! {
            changed = wanted.changed() => {
                // The sender is the stores'.
                if changed.is_err() {
                    return;
                }
                let next = wanted.borrow_and_update().clone();
                follow(&mut running, next, |source| start(&mut tasks, source, &context, &stop));
            }
            Some(ended) = tasks.join_next() => {
                // Never cancelled; a panic is a fault of ours, and stays one.
                if let Err(error) = ended {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
            _ = clock.tick() => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let now = now.map_or(0, |since| since.as_secs()).try_into().unwrap_or(i64::MAX);
                for (source, _) in &running {
                    source.store.warn_of_expired(now);
                }
            }
            () = stop.cancelled() => break,
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Ends those that are no longer wanted, begins those that are new; those that stay look at once.
fn follow(
    running: &mut Vec<(Arc<Source>, CancellationToken)>,
    next: Vec<Arc<Source>>,
    mut start: impl FnMut(&Arc<Source>) -> CancellationToken,
) {
    running.retain(|(source, end)| {
        let stays = next.iter().any(|other| Arc::ptr_eq(source, other));
        if stays {
            source.look();
        } else {
            end.cancel();
        }
        stays
    });
    for source in next {
        if !running.iter().any(|(other, _)| Arc::ptr_eq(&source, other)) {
            let end = start(&source);
            running.push((source, end));
        }
    }
}

/// Its tasks: one for certificates, one for authorities where there are any; and what ends them.
fn start(
    tasks: &mut JoinSet<()>,
    source: &Arc<Source>,
    context: &Context,
    stop: &CancellationToken,
) -> CancellationToken {
    let end = stop.child_token();
    let polled = |what| poll::run(source.clone(), what, context.clone(), end.clone());
    match &source.config.kind {
        CertKind::VaultPki(path) => {
            let pki = pki::Pki::new(source.clone(), path, context);
            tasks.spawn(pki.run(end.clone()));
        }
        CertKind::Acme(config) => {
            if let Some(shelf) = source.shelf.clone() {
                let node = acme::Node::new(source.clone(), config, shelf, context);
                tasks.spawn(node.run(end.clone()));
            }
        }
        _ => {
            tasks.spawn(polled(What::Certificates));
        }
    }
    if source.config.client_ca.is_some() {
        tasks.spawn(polled(What::Authorities));
    }
    end
}

/// Disks may take their time; this runtime is everybody's.
async fn aside<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, NotRead> + Send + 'static,
) -> Result<T, NotRead> {
    let done = tokio::task::spawn_blocking(read).await;
    done.unwrap_or_else(|died| Err(NotRead::Answer(died.to_string())))
}
