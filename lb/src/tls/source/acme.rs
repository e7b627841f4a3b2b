//! Certificates that are ordered from an ACME authority, for hosts that have a route.
//!
//! Account, certificates and challenges are kept where all balancers of a catalog see them. One of them orders, the one
//! that holds the lease; all take what is there. Nobody orders for a pattern, nor for what a client asks for.

mod folder;
mod mind;
mod order;
mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use tokio_util::sync::CancellationToken;

use super::path::small_file;
use super::poll::What;
use super::{Context, NotRead, Source, aside};
use crate::config::Acme;
use crate::fetch::Fetcher;
use crate::kv::{Kv, KvError};
use crate::tls::authorities::Authorities;
use crate::tls::challenges::Challenges;
use crate::tls::pair::{BadPair, Pair};
use crate::tls::store::Entry;
use crate::tls::upstream;
use mind::{Failed, Life};
use order::{Http, Kind, NoCert};
use shelf::Issued;
pub(crate) use shelf::{Shelf, Shown};

/// Time between two looks at what is there.
const TICK: Duration = Duration::from_secs(10);
/// All is read again after this long, whether it was marked as changed or not.
const READ_ALL: i64 = 600;
/// Time that an order may take, finding or making the account included.
const ORDER: Duration = Duration::from_secs(240);
/// How long a lease is good: longer than an order, so that it need not be renewed during one.
const LEASE: i64 = 300;
/// Orders in a row, after which others may take the lease.
const IN_A_ROW: usize = 20;
/// Orders that one balancer makes in an hour at most. Let's Encrypt takes 300 in three hours.
const AN_HOUR: u32 = 90;
/// Pause of all orders when the authority says that there were too many.
const TOO_MANY: i64 = 3600;
/// How long a challenge is shown.
const SHOWN: i64 = 600;
/// How long after its end a certificate is kept that no route wants, and a note about an order that failed.
const LONG_GONE: i64 = 7 * 24 * 3600;

/// Where a source keeps what it has: the key-value store, or a folder where its prefix begins with a slash.
pub(super) fn shelf(config: &Acme, kv: Option<&Arc<dyn Kv>>) -> Result<Shelf, String> {
    if config.prefix.starts_with('/') {
        let folder = folder::Folder::open(&config.prefix);
        let folder = folder.map_err(|error| format!("prefix {}: {error}", config.prefix))?;
        return Ok(Shelf::new(Arc::new(folder), ""));
    }
    match kv {
        Some(kv) => Ok(Shelf::new(kv.clone(), &config.prefix)),
        None => Err(
            "type=acme keeps its certificates in a key-value store, and the source of the routes has none: \
                     give prefix=/a/folder for one balancer of its own"
                .to_owned(),
        ),
    }
}

/// One balancer's share of the work; the single writer of the store of its source.
pub(super) struct Node {
    source: Arc<Source>,
    config: Acme,
    shelf: Shelf,
    context: Context,
    challenges: Arc<Challenges>,
    /// Who we are to the others.
    holder: String,
    /// The lease was ours when we last looked.
    leases: bool,
    account: Option<Account>,
    /// What the shelf held when it was last read, and when that was.
    held: BTreeMap<String, Life>,
    read: Option<(u64, i64)>,
    failed: BTreeMap<String, Failed>,
    /// No orders before this.
    pause_until: i64,
    /// Orders since when.
    made: (u32, i64),
}

impl Node {
    pub(super) fn new(source: Arc<Source>, config: &Acme, shelf: Shelf, context: &Context) -> Self {
        Self {
            source,
            config: config.clone(),
            shelf,
            context: context.clone(),
            challenges: context.challenges.clone(),
            holder: format!("{:032x}", rand::random::<u128>()),
            leases: false,
            account: None,
            held: BTreeMap::new(),
            read: None,
            failed: BTreeMap::new(),
            pause_until: 0,
            made: (0, 0),
        }
    }

    /// Until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let tick = self
            .source
            .config
            .refresh
            .unwrap_or(TICK)
            .max(Duration::from_secs(1));
        let _shown = self.challenges.look_at(self.shelf.clone());
        loop {
            let round = tokio::select! {
                () = stop.cancelled() => break,
                round = self.round() => round,
            };
            if let Err(problem) = round {
                self.source.store.fail(&problem.to_string());
            }
            self.source
                .looked
                .send_modify(|looked| looked.insert(What::Certificates));
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.source.look.notified(What::Certificates) => self.read = None,
                () = tokio::time::sleep(tick) => {}
            }
        }
        // Who was cut short in an order lets others go on at once. Whether it works does not matter: a lease ends.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.let_go()).await;
    }

    /// Takes what is there, and orders what is not.
    async fn round(&mut self) -> Result<(), NotRead> {
        self.take().await?;
        self.source
            .looked
            .send_modify(|looked| looked.insert(What::Certificates));
        let now = now();
        if now < self.pause_until || self.due(now).is_empty() {
            return Ok(());
        }
        if !self.lease(now).await? {
            return Ok(());
        }
        // Whoever had the lease may have ordered.
        self.read = None;
        let ordered = self.order_all().await;
        self.let_go().await?;
        ordered
    }

    async fn order_all(&mut self) -> Result<(), NotRead> {
        self.take().await?;
        self.failed = self.shelf.failures().await?;
        for host in self.due(now()).into_iter().take(IN_A_ROW) {
            let now = now();
            if !self.may_order(now) || !self.lease(now).await? {
                return Ok(());
            }
            match self.order_one(&host).await {
                Ok(()) => {}
                Err(problem) => self.failed(&host, &problem).await?,
            }
            if now < self.pause_until {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads the certificates where they were marked as changed, and hands them over.
    async fn take(&mut self) -> Result<(), NotRead> {
        let (mark, now) = (self.shelf.mark().await?, now());
        if self
            .read
            .is_some_and(|(known, at)| known == mark && now - at < READ_ALL)
        {
            return Ok(());
        }
        let wanted = self.wanted();
        let (mut entries, mut held, mut over) = (Vec::<Entry>::new(), BTreeMap::new(), Vec::new());
        for (host, kept) in self.shelf.certs().await? {
            let pair = self.pair(&host, kept.value);
            if let Ok(pair) = &pair {
                let life = Life {
                    not_before: pair.not_before,
                    not_after: pair.not_after,
                };
                if life.not_after <= now - LONG_GONE && !wanted.contains(&host) {
                    over.push((host, kept.index));
                    continue;
                }
                held.insert(host.clone(), life);
            }
            entries.push((host.into(), pair));
        }
        self.held = held;
        if !entries.is_empty() {
            self.source.store.offer(entries);
        }
        self.read = Some((mark, now));
        // Who may not delete may take and order all the same.
        if let Err(problem) = self.tidy(over, now).await {
            self.source.store.fail(&format!("what is over stays: {problem}"));
        }
        Ok(())
    }

    fn pair(&self, host: &str, issued: Option<Issued>) -> Result<Pair, BadPair> {
        let unreadable = || BadPair::Unreadable("is no certificate that was put there by us".to_owned());
        let issued = issued.ok_or_else(unreadable)?;
        let (cert, key) = (issued.cert.as_bytes(), issued.key.as_bytes());
        Pair::from_pem(host, cert, key, &self.context.provider)
    }

    /// Takes off the shelf what nobody will ask for again. All balancers may do so at a time, and another one may want
    /// what we do not: nothing goes that has changed since it was looked at.
    async fn tidy(&self, over: Vec<(String, u64)>, now: i64) -> Result<(), KvError> {
        for (host, index) in over {
            self.shelf.drop_cert(&host, index).await?;
            tracing::info!(source = %self.source.config.name, %host, "certificate deleted: no route wants it, and it has expired");
        }
        self.shelf.tidy(now, now - LONG_GONE).await
    }

    /// Hosts to have certificates for.
    fn wanted(&self) -> BTreeSet<String> {
        let table = self.context.live.load();
        let hosts = table.exact_hosts().map(AsRef::as_ref);
        mind::wanted(hosts, &self.config.hosts)
    }

    fn due(&self, now: i64) -> Vec<String> {
        mind::due(&self.wanted(), &self.held, &self.failed, now)
    }

    /// Counts an order. `false`: there were enough in this hour.
    fn may_order(&mut self, now: i64) -> bool {
        if now - self.made.1 >= 3600 {
            self.made = (0, now);
        }
        if self.made.0 >= AN_HOUR {
            self.pause_until = self.made.1 + 3600;
            tracing::info!(source = %self.source.config.name, "as many certificates ordered as in an hour, more follow");
            return false;
        }
        self.made.0 += 1;
        true
    }

    async fn order_one(&mut self, host: &str) -> Result<(), NoCert> {
        // What did not work may work the other way: not every listener can be reached from where the authority is.
        let failures = self.failed.get(host).map_or(0, |failed| failed.count);
        let kind = if failures.is_multiple_of(2) {
            Kind::Http
        } else {
            Kind::TlsAlpn
        };
        let put = Mutex::new(None);
        let ordered = tokio::time::timeout(ORDER, self.prove(host, kind, &put)).await;
        self.challenges.hide(host);
        if let Some(shown) = put.into_inner().unwrap_or_else(PoisonError::into_inner) {
            // It ends by itself, too.
            let _ = self.shelf.drop_challenge(host, &shown).await;
        }
        let issued = ordered.unwrap_or(Err(NoCert::Late(ORDER)))?;
        let provider = &self.context.provider;
        let pair = Pair::from_pem(host, issued.cert.as_bytes(), issued.key.as_bytes(), provider);
        let pair = pair.map_err(|error| NoCert::Unshown(format!("what was issued {error}")))?;
        if !pair.names.iter().any(|name| **name == *host) {
            return Err(NoCert::Unshown("what was issued is for another host".to_owned()));
        }
        let mark = format!("{} {host} {}", self.holder, now());
        let put = self.shelf.put_cert(host, &issued, &mark).await;
        put.map_err(|error| NoCert::Unshown(error.to_string()))?;
        tracing::info!(source = %self.source.config.name, %host, "certificate ordered");
        if self.failed.remove(host).is_some() {
            // It is only a note for the next order.
            let _ = self.shelf.drop_failure(host).await;
        }
        let _ = self.take().await;
        Ok(())
    }

    /// Orders a certificate, and leaves in `put` what it has put on the shelf for the authority to see.
    async fn prove(&mut self, host: &str, kind: Kind, put: &Mutex<Option<Shown>>) -> Result<Issued, NoCert> {
        let account = self.account().await?;
        let (shelf, challenges) = (&self.shelf, &self.challenges);
        let show = |shown: Shown| async move {
            let shown = Shown {
                until: now() + SHOWN,
                ..shown
            };
            challenges.show(host, &shown)?;
            *put.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown.clone());
            let put = shelf.put_challenge(host, &shown).await;
            put.map_err(|error| error.to_string())
        };
        order::order(&account, host, kind, show).await
    }

    /// An order failed: of this host, nothing is ordered for a while.
    async fn failed(&mut self, host: &str, problem: &NoCert) -> Result<(), NotRead> {
        self.source.store.fail(&format!("{host}: {problem}"));
        let now = now();
        if problem.is_unknown_account() {
            self.account = None;
            self.shelf.put_account(&serde_json::Value::Null).await?;
        }
        if problem.is_rate_limit() {
            self.pause_until = now + TOO_MANY;
        }
        let failed = Failed::again(self.failed.get(host).copied(), now);
        self.failed.insert(host.to_owned(), failed);
        Ok(self.shelf.put_failure(host, failed).await?)
    }

    /// The account: known, kept, or made anew.
    async fn account(&mut self) -> Result<Account, NoCert> {
        if let Some(account) = &self.account {
            return Ok(account.clone());
        }
        let unshown = |error: &dyn std::fmt::Display| NoCert::Unshown(error.to_string());
        let fetcher = self.fetcher().await.map_err(|error| unshown(&error))?;
        let builder = || Account::builder_with_http(Box::new(Http(fetcher.clone())));
        let directory = &self.config.directory;
        let kept = self.shelf.account().await.map_err(|error| unshown(&error))?;
        let kept = kept.filter(|kept| kept["directory"].as_str() == Some(directory));
        let account = match kept.map(serde_json::from_value::<AccountCredentials>) {
            Some(Ok(credentials)) => builder().from_credentials(credentials).await?,
            _ => {
                let contact = self.config.email.as_ref().map(|email| format!("mailto:{email}"));
                let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
                let wish = NewAccount {
                    contact: &contact,
                    terms_of_service_agreed: true,
                    only_return_existing: false,
                };
                let external = self.config.external.as_ref();
                let external = external.and_then(|external| {
                    Some(ExternalAccountKey::new(external.id.clone(), &external.bytes()?))
                });
                let created = builder().create(&wish, directory.clone(), external.as_ref());
                let (account, credentials) = created.await?;
                let credentials = serde_json::to_value(&credentials).map_err(|error| unshown(&error))?;
                let put = self.shelf.put_account(&credentials).await;
                put.map_err(|error| unshown(&error))?;
                account
            }
        };
        Ok(self.account.insert(account).clone())
    }

    async fn fetcher(&self) -> Result<Fetcher, NotRead> {
        let Some(path) = &self.config.trust else {
            return self.context.fetcher().await;
        };
        let told = |problem: String| NotRead::Answer(format!("ca {path}: {problem}"));
        let file = path.clone();
        let text = aside(move || Ok(small_file(Path::new(&file))))
            .await?
            .map_err(told)?;
        let (known, faults) = Authorities::from_pem([text.as_slice()], None);
        let why = || faults.first().map_or_else(String::new, ToString::to_string);
        let known = known.ok_or_else(|| told(why()))?;
        let provider = &self.context.provider;
        let verifier = upstream::webpki(known.roots, provider)?;
        Ok(Fetcher::new(&Arc::new(upstream::client(
            provider, verifier, None,
        )?)))
    }

    async fn lease(&mut self, now: i64) -> Result<bool, NotRead> {
        self.leases = self.shelf.lease(&self.holder, now, now + LEASE).await?;
        Ok(self.leases)
    }

    async fn let_go(&mut self) -> Result<(), NotRead> {
        if std::mem::take(&mut self.leases) {
            let now = now();
            self.shelf.lease(&self.holder, now, now).await?;
        }
        Ok(())
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
