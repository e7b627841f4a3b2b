//! The round of a source that is looked at again and again: read, hand over, pause.
//!
//! Whatever happens, there is a pause between two looks: no answer, good or bad, makes it turn faster.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use rustls::crypto::CryptoProvider;
use tokio_util::sync::CancellationToken;

use super::consul::Place;
use super::files::{self, Files};
use super::{Context, NotRead, Source, aside, file, http, path, vault};
use crate::config::CertKind;
use crate::fetch::header;
use crate::tls::store::Entry;

/// Shortest time between two looks.
const SHORTEST: Duration = Duration::from_secs(1);
/// Pause after a held question that was answered.
const BREATH: Duration = Duration::from_millis(100);
/// Time between two looks at a store that cannot say when it changes.
const BLIND: Duration = Duration::from_secs(5);
/// Longest pause after failures, each of which doubles it.
const LONGEST: Duration = Duration::from_secs(60);

/// What of a source is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Certificates,
    Authorities,
}

/// Looks until `stop`.
pub(super) async fn run(source: Arc<Source>, what: What, context: Context, stop: CancellationToken) {
    let mut place = Reader::new(&source, what);
    let mut failures = 0;
    loop {
        let read = tokio::select! {
            () = stop.cancelled() => return,
            read = place.read(&source, &context) => read,
        };
        let pause = match read {
            Ok(found) => {
                failures = 0;
                hand_over(&source, what, found, &context.provider);
                place.pause(&source)
            }
            Err(problem) => {
                failures += 1;
                source.store.fail(&problem.to_string());
                Some(back_off(source.config.refresh, failures))
            }
        };
        source.looked.send_modify(|looked| looked.insert(what));
        tokio::select! {
            () = stop.cancelled() => return,
            () = source.look.notified(what) => {}
            () = rest(pause) => {}
        }
    }
}

async fn rest(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

/// The time between two looks, doubled with each failure up to a minute (or as long as the time between two looks).
fn back_off(refresh: Option<Duration>, failures: u32) -> Duration {
    let least = refresh.unwrap_or(SHORTEST).max(SHORTEST);
    let factor = 2_u32.saturating_pow(failures.saturating_sub(1)).min(64);
    least.saturating_mul(factor).min(LONGEST.max(least))
}

fn hand_over(source: &Source, what: What, found: Found, provider: &CryptoProvider) {
    match (what, found) {
        (What::Certificates, Found::Entries(entries)) => source.store.offer(entries),
        (What::Certificates, Found::Files(files)) => source.store.offer(files::entries(&files, provider)),
        (What::Authorities, Found::Files(files)) => {
            let upgrade = source.config.ca_upgrade_cn.as_deref();
            source
                .store
                .offer_authorities(files::authorities(&files, upgrade));
        }
        (What::Authorities, Found::Entries(_)) => {}
    }
}

/// What a look finds.
enum Found {
    Files(Files),
    Entries(Vec<Entry>),
}

/// How a place is read.
enum Reader {
    /// Certificate and key.
    Pair(String, String),
    /// A file of authorities.
    File(String),
    Path(String),
    Http(String),
    /// With the index that is known, and whether the last answer said something new.
    Consul(String, u64, bool),
    Vault(String),
}

impl Reader {
    fn new(source: &Source, what: What) -> Self {
        let ca = source.config.client_ca.clone().unwrap_or_default();
        let is_ca = what == What::Authorities;
        let place = |own: &str| if is_ca { ca.clone() } else { own.to_owned() };
        match &source.config.kind {
            CertKind::File { cert, key } if !is_ca => Self::Pair(cert.clone(), key.clone()),
            CertKind::File { .. } | CertKind::Acme(_) => Self::File(ca),
            CertKind::Path(path) => Self::Path(place(path)),
            CertKind::Http(url) => Self::Http(place(url)),
            CertKind::Consul(url) => Self::Consul(place(url.reveal()), 0, true),
            CertKind::Vault(path) | CertKind::VaultPki(path) => Self::Vault(place(path)),
        }
    }

    async fn read(&mut self, source: &Source, context: &Context) -> Result<Found, NotRead> {
        let files = match self {
            Self::Pair(cert, key) => {
                let (cert, key, provider) = (cert.clone(), key.clone(), context.provider.clone());
                let entry = aside(move || Ok(file::entry(&cert, &key, &provider))).await?;
                return Ok(Found::Entries(vec![entry]));
            }
            Self::File(name) => {
                let file = name.clone();
                let text = aside(move || Ok(path::small_file(Path::new(&file)))).await?;
                Files::from([(name.clone(), text)])
            }
            Self::Path(folder) => {
                let folder = folder.clone();
                aside(move || path::read(Path::new(&folder))).await?
            }
            Self::Http(url) => http::read(&context.fetcher().await?, url, &headers(source)?).await?,
            Self::Consul(url, index, is_new) => {
                let place = Place::parse(url).map_err(NotRead::Answer)?;
                let read = place
                    .read(&context.fetcher().await?, *index, &headers(source)?)
                    .await;
                // After a failure all is read anew.
                let (files, next) = read.inspect_err(|_| *index = 0)?;
                *is_new = next != *index;
                *index = next;
                files
            }
            Self::Vault(path) => vault::read(source.vault(), path).await?,
        };
        Ok(Found::Files(files))
    }

    /// Time until the next look; `None`: only when told to.
    fn pause(&self, source: &Source) -> Option<Duration> {
        let refresh = source.config.refresh.map(|refresh| refresh.max(SHORTEST));
        match self {
            Self::Consul(_, 0, _) => Some(refresh.unwrap_or(BLIND)),
            Self::Consul(_, _, true) => Some(BREATH),
            // Whoever stands between us and the Consul may answer at once instead of holding the question.
            Self::Consul(_, _, false) => Some(SHORTEST),
            _ => refresh,
        }
    }
}

fn headers(source: &Source) -> Result<Vec<(HeaderName, HeaderValue)>, NotRead> {
    let given = source.config.header.iter();
    let headers = given.map(|(name, value)| header(name, value.reveal()));
    Ok(headers.collect::<Result<_, _>>()?)
}
