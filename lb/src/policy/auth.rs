//! `auth=`: who lets requests in. Schemes are named in `proxy.auth`; a name that there is not lets nobody in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::http::HeaderValue;
use rustls::ClientConfig;

use crate::config::{AuthKind, AuthScheme};
use crate::policy::limit::Now;
use crate::tls::system_client;

pub(crate) mod basic;
pub(crate) mod external;
pub(crate) mod htpasswd;
mod known;

pub(crate) use basic::{Basic, user_of};
pub(crate) use external::{Asking, External};

/// Unknown names that are said in the log, each once.
const SAID: usize = 100;

/// A scheme that cannot be.
#[derive(Debug, thiserror::Error)]
#[error("proxy.auth: {name}: {problem}")]
pub struct BadScheme {
    /// Its name.
    pub name: Arc<str>,
    /// What is wrong with it.
    pub problem: String,
}

/// What a scheme says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Let in.
    In,
    /// Not let in; with what the client should do about it.
    Unauthorized(HeaderValue),
    /// This client guessed wrong too often and waits that long.
    Guessing(Duration),
    /// More passwords are to be verified than can be.
    Busy,
}

/// All schemes.
#[derive(Debug)]
pub(crate) struct Schemes {
    by_name: BTreeMap<Arc<str>, Scheme>,
    unknown: Mutex<BTreeSet<Box<str>>>,
    faults: AtomicU64,
    /// Whom other servers are verified by, where one of them speaks TLS.
    trusted: Option<ClientConfig>,
}

/// One scheme.
#[derive(Debug)]
pub(crate) enum Scheme {
    Basic(Basic),
    External(External),
}

impl Schemes {
    /// Reads what the schemes need. A file that is not there now is a fault; one that goes later is not.
    pub(crate) fn new(schemes: &[AuthScheme]) -> Result<Self, BadScheme> {
        let slots = basic::Slots::new();
        let scheme = |scheme: &AuthScheme| {
            let made = match &scheme.kind {
                AuthKind::Basic { .. } => Scheme::Basic(Basic::new(scheme, slots.clone())?),
                AuthKind::External { .. } => Scheme::External(External::new(scheme)?),
            };
            Ok((scheme.name.clone(), made))
        };
        let by_name: BTreeMap<_, _> = schemes.iter().map(scheme).collect::<Result<_, BadScheme>>()?;
        let over_tls = by_name.iter().find_map(|(name, scheme)| match scheme {
            Scheme::External(external) if external.is_tls() => Some(name),
            _ => None,
        });
        let trusted = over_tls.map(|name| {
            system_client().map_err(|error| BadScheme {
                name: name.clone(),
                problem: format!("TLS cannot be spoken: {error}"),
            })
        });
        Ok(Self {
            trusted: trusted.transpose()?,
            by_name,
            unknown: Mutex::default(),
            faults: AtomicU64::default(),
        })
    }

    /// Connections of a worker to other servers; `None`: no scheme asks any.
    pub(crate) fn asking(&self) -> Option<Asking> {
        let asks = |scheme: &Scheme| matches!(scheme, Scheme::External(_));
        let any = self.by_name.values().any(asks);
        any.then(|| external::asking(self.trusted.as_ref()))
    }

    /// The scheme of that name. One that there is not is named in the log, once.
    pub(crate) fn get(&self, name: &str) -> Option<&Scheme> {
        let scheme = self.by_name.get(name);
        if scheme.is_none() {
            let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
            if unknown.len() < SAID && !unknown.contains(name) {
                unknown.insert(name.into());
                self.faults.fetch_add(1, Relaxed);
                tracing::error!(
                    auth = name,
                    "a route wants a scheme that proxy.auth does not name: nobody is let in"
                );
            }
        }
        scheme
    }

    /// Looks at the files that are due.
    pub(crate) async fn look(&self, now: Now) {
        for scheme in self.by_name.values() {
            if let Scheme::Basic(basic) = scheme {
                basic.look_when_due(now).await;
            }
        }
    }

    /// What went wrong, and was said in the log, since this was asked last.
    pub(crate) fn faults(&self) -> u64 {
        let files = self.by_name.values().map(|scheme| match scheme {
            Scheme::Basic(basic) => basic.faults(),
            Scheme::External(_) => 0,
        });
        files.sum::<u64>() + self.faults.swap(0, Relaxed)
    }
}

/// What `auth=` asks with of a request whose scheme there is not, or whose password is wrong.
pub(crate) fn challenge(realm: &str) -> HeaderValue {
    let mut text = String::from("Basic realm=\"");
    for c in realm.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Basic realm=\"\""))
}

/// Who asks, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub client: IpAddr,
    pub now: Now,
}

#[cfg(test)]
mod tests;
