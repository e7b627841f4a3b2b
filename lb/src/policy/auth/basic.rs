//! Basic authentication (RFC 7617) by an htpasswd file.
//!
//! Hashes that are slow to compute are computed off the threads that carry traffic, a few at a time, and only for
//! clients that did not guess wrong too often; a password that was right is known for a minute. So neither a user nor
//! somebody who tries passwords can stall a core.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hyper::http::HeaderValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::htpasswd::Users;
use super::known::Known;
use super::{Asker, BadScheme, Verdict, challenge};
use crate::config::{AuthKind, AuthScheme};
use crate::policy::limit::{Clients, Now};
use crate::table::options::Rate;

/// Wrong passwords of one client address: twenty at once, then twenty a minute.
const GUESSES: Rate = Rate {
    per_second: 1.0 / 3.0,
    burst: 20.0,
    by_client: true,
};
/// Requests that wait for a hash to be computed.
const WAITING: usize = 256;
/// The file is not looked at more often.
const SOONEST: Duration = Duration::from_secs(1);
/// Bytes of a password.
const LONGEST: usize = 1024;
/// A file of more bytes is none.
const LARGEST: u64 = 16 * 1024 * 1024;
/// Clients pad or they do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Who may compute hashes, for all schemes together: half of the cores.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Slots {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            free: Arc::new(Semaphore::new((cores / 2).max(1))),
            waiting: Arc::default(),
        }
    }

    /// `None`: too many wait already.
    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        struct Waits<'a>(&'a AtomicUsize);
        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Relaxed);
            }
        }
        let before = self.waiting.fetch_add(1, Relaxed);
        let _waits = Waits(&self.waiting);
        if before >= WAITING {
            return None;
        }
        self.free.clone().acquire_owned().await.ok()
    }
}

/// One scheme.
#[derive(Debug)]
pub(crate) struct Basic {
    name: Arc<str>,
    file: PathBuf,
    refresh: Option<Duration>,
    /// Targets see the password.
    pub forward: bool,
    challenge: HeaderValue,
    users: ArcSwap<Content>,
    file_read: Mutex<FileRead>,
    /// Warnings about the file that were not counted yet.
    faults: AtomicU64,
    known: Known,
    guesses: Clients,
    slots: Slots,
}

/// What is known of the file.
#[derive(Clone, Copy, Debug, Default)]
struct FileRead {
    /// When what was read of it was written; `None`: it was not there.
    written: Option<SystemTime>,
    /// When it is looked at next.
    due: Duration,
}

/// What a file says.
#[derive(Debug, Default)]
struct Content {
    /// Counts the contents.
    number: u64,
    users: Arc<Users>,
}

impl Basic {
    /// Reads the file.
    pub(crate) fn new(scheme: &AuthScheme, slots: Slots) -> Result<Self, BadScheme> {
        let bad = |problem: String| BadScheme {
            name: scheme.name.clone(),
            problem,
        };
        let AuthKind::Basic {
            file,
            realm,
            refresh,
            forward,
        } = &scheme.kind
        else {
            return Err(bad("it is not basic".to_owned()));
        };
        let basic = Self {
            name: scheme.name.clone(),
            file: file.into(),
            refresh: *refresh,
            forward: *forward,
            challenge: challenge(realm),
            users: ArcSwap::default(),
            file_read: Mutex::default(),
            faults: AtomicU64::default(),
            known: Known::new(rand::random()),
            guesses: Clients::default(),
            slots,
        };
        let (changed, text) =
            read(&basic.file).map_err(|error| bad(format!("cannot read {file}: {error}")))?;
        basic.take(Some(changed), &text);
        Ok(basic)
    }

    /// What an unauthorized client is told.
    pub(crate) fn challenge(&self) -> HeaderValue {
        self.challenge.clone()
    }

    /// Warnings since this was asked last.
    pub(crate) fn faults(&self) -> u64 {
        self.faults.swap(0, Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, FileRead> {
        self.file_read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the file where that is asked for and due.
    pub(crate) async fn look_when_due(&self, now: Now) {
        let Some(refresh) = self.refresh else { return };
        if self.state().due > now.0 {
            return;
        }
        self.look().await;
        self.state().due = now.0 + refresh.max(SOONEST);
    }

    /// Reads the file again where it changed. One that cannot be read changes nothing; one that is gone lets nobody in,
    /// as whoever removed it may have meant.
    pub(super) async fn look(&self) {
        let file = self.file.clone();
        let before = self.state().written;
        let looked = tokio::task::spawn_blocking(move || match std::fs::metadata(&file)?.modified()? {
            same if Some(same) == before => Ok(None),
            _ => read(&file).map(Some),
        });
        let looked: io::Result<_> = looked.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        match looked {
            Ok(None) => {}
            Ok(Some((changed, text))) => self.take(Some(changed), &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if before.is_some() {
                    self.faults.fetch_add(1, Relaxed);
                    tracing::error!(auth = %self.name, file = %self.file.display(),
                        "htpasswd file is gone: nobody is let in");
                    self.take(None, b"");
                }
            }
            Err(error) => {
                self.faults.fetch_add(1, Relaxed);
                tracing::warn!(auth = %self.name, file = %self.file.display(), %error,
                    "htpasswd file cannot be read: what it said before holds");
            }
        }
    }

    fn take(&self, changed: Option<SystemTime>, text: &[u8]) {
        let (users, bad) = Users::parse(text);
        let plain: Vec<String> = users.plain().take(5).collect();
        let faults = bad.len() + usize::from(!plain.is_empty());
        self.faults.fetch_add(faults as u64, Relaxed);
        for line in &bad {
            tracing::warn!(auth = %self.name, file = %self.file.display(), %line, "htpasswd line is skipped");
        }
        if !plain.is_empty() {
            tracing::warn!(auth = %self.name, users = ?plain,
                "htpasswd file has passwords that are not hashed (htpasswd -B makes good ones)");
        }
        tracing::info!(auth = %self.name, users = users.len(), "htpasswd file read");
        let number = self.users.load().number + 1;
        self.users.store(Arc::new(Content {
            number,
            users: Arc::new(users),
        }));
        self.state().written = changed;
    }

    /// Whether a request with this `Authorization` may come in.
    pub(crate) async fn check(&self, authorization: Option<&HeaderValue>, asker: Asker) -> Verdict {
        let unauthorized = || Verdict::Unauthorized(self.challenge());
        let Some(said) = authorization.and_then(credentials) else {
            return unauthorized();
        };
        let Some(colon) = said.iter().position(|byte| *byte == b':') else {
            return unauthorized();
        };
        let (user, password) = (&said[..colon], &said[colon + 1..]);
        // Nobody's, and SHA-crypt takes time by its square.
        if password.len() > LONGEST {
            return unauthorized();
        }
        let content = self.users.load_full();
        let key = self.known.key(content.number, user, password);
        if self.known.is_known(&key, asker.now) {
            return Verdict::In;
        }
        // Taken before the hash is computed, else many guesses at once would all be computed.
        if let Err(wait) = self.guesses.take(asker.client, &GUESSES, asker.now) {
            return Verdict::Guessing(wait);
        }
        let right = match content.users.get(user) {
            Some(stored) if !stored.is_slow() => stored.matches(password),
            _ => {
                let Some(slot) = self.slots.take().await else {
                    self.forgive(asker.client);
                    return Verdict::Busy;
                };
                // While this one waited, another may have told.
                self.known.is_known(&key, asker.now)
                    || slowly(content, user.into(), password.into(), slot).await
            }
        };
        if !right {
            return unauthorized();
        }
        self.forgive(asker.client);
        self.known.learn(key, asker.now);
        Verdict::In
    }

    fn forgive(&self, client: IpAddr) {
        self.guesses.give_back(client, &GUESSES);
    }
}

/// Computes a slow hash. For a user that there is not, the one of another user, for nothing but the time it takes.
async fn slowly(
    content: Arc<Content>,
    user: Box<[u8]>,
    password: Box<[u8]>,
    slot: OwnedSemaphorePermit,
) -> bool {
    let compute = move || {
        // Until it is computed, also when nobody waits for it any more.
        let _slot = slot;
        match content.users.get(&user) {
            Some(stored) => stored.matches(&password),
            None => {
                content.users.costliest().map(|stored| stored.matches(&password));
                false
            }
        }
    };
    tokio::task::spawn_blocking(compute).await.unwrap_or(false)
}

/// Who a header claims to be.
pub(crate) fn user_of(header: &HeaderValue) -> Option<String> {
    let pair = credentials(header)?;
    let name = pair.split(|byte| *byte == b':').next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// `user:password` of a header.
fn credentials(header: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, encoded) = header.to_str().ok()?.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    BASE64.decode(encoded.trim()).ok()
}

/// When the file was changed, and what is in it. The time comes first: a change in between is seen at the next look.
fn read(file: &std::path::Path) -> io::Result<(SystemTime, Vec<u8>)> {
    let about = std::fs::metadata(file)?;
    if about.len() > LARGEST {
        return Err(io::Error::other(format!("it has more than {LARGEST} bytes")));
    }
    Ok((about.modified()?, std::fs::read(file)?))
}
