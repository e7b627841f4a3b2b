//! What a certificate source has given so far, as listeners and routes see it. Its source is its only writer;
//! readers load what is current at each handshake, and never wait.
//!
//! Nothing here is lost to a bad answer: a broken entry keeps what stood under its label before, an answer
//! without any certificate changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ProducesTickets;
use rustls::server::danger::ClientCertVerifier;
use tokio::sync::mpsc;

use super::authorities::{Authorities, BadAuthority};
use super::demand::Demand;
use super::pair::{BadPair, Pair};
use super::table::CertTable;

/// An entry of a source: its label, and the pair or what is wrong with it.
pub(crate) type Entry = (Arc<str>, Result<Pair, BadPair>);

/// What is left out of an answer, and why.
pub(crate) type Faults = BTreeMap<(Part, String), String>;

/// Part of what a source gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Certificates with their keys.
    Certificate,
    /// Authorities of client certificates.
    Authority,
}

/// The certificates and authorities of one source, now.
pub(crate) struct Store {
    /// Name of the source (`cs`).
    pub(crate) name: Arc<str>,
    /// No certificate but the one for the name, whatever the listener says: they are made for names.
    pub(crate) always_strict: bool,
    /// Asked for certificates that are not there yet, where the source makes them.
    pub(crate) demand: Option<mpsc::Sender<Demand>>,
    provider: Arc<CryptoProvider>,
    certs: ArcSwap<CertTable>,
    clients: ArcSwap<Clients>,
    faults: Mutex<Faults>,
    failed: AtomicU64,
    updates: AtomicU64,
    failing: ArcSwapOption<String>,
    /// Certificates of which it was said that they have expired: label, end.
    expired: Mutex<BTreeSet<(Arc<str>, i64)>>,
}

/// How clients of a source's listeners are known, and the key of the tickets that let them come back.
///
/// Whoever comes back with a ticket is not asked for a certificate again. So tickets are good for one source, and
/// no longer than its authorities stay as they are.
pub(crate) struct Clients {
    pub(crate) asked: Asked,
    pub(crate) ticketer: Arc<dyn ProducesTickets>,
}

/// Whether clients are asked for a certificate.
pub(crate) enum Asked {
    /// They are not.
    No,
    /// They must be, but nobody is known yet who could vouch for them: nobody may come in.
    NobodyVouches,
    /// For one that these vouch for.
    For(Arc<Authorities>, Arc<dyn ClientCertVerifier>),
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({} {:?})", self.name, self.certs.load())
    }
}

impl Store {
    /// Nothing yet. `asks`: clients have to show a certificate.
    pub(crate) fn new(
        name: Arc<str>,
        asks: bool,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, rustls::Error> {
        let clients = Clients {
            asked: if asks { Asked::NobodyVouches } else { Asked::No },
            ticketer: aws_lc_rs::Ticketer::new()?,
        };
        Ok(Self {
            name,
            always_strict: false,
            demand: None,
            provider,
            certs: ArcSwap::default(),
            clients: ArcSwap::from_pointee(clients),
            faults: Mutex::default(),
            failed: AtomicU64::new(0),
            updates: AtomicU64::new(0),
            failing: ArcSwapOption::empty(),
            expired: Mutex::default(),
        })
    }

    /// The certificates as they are now.
    pub(crate) fn certs(&self) -> Arc<CertTable> {
        self.certs.load_full()
    }

    /// How clients are known now.
    pub(crate) fn clients(&self) -> Arc<Clients> {
        self.clients.load_full()
    }

    /// Who vouches for others, where the source knows.
    pub(crate) fn authorities(&self) -> Option<Arc<Authorities>> {
        match &self.clients.load().asked {
            Asked::For(authorities, _) => Some(authorities.clone()),
            Asked::No | Asked::NobodyVouches => None,
        }
    }

    /// Takes over what the source holds now, as [`merge`] says. Only the source's own task calls this.
    pub(crate) fn offer(&self, entries: Vec<Entry>) {
        self.failing.store(None);
        let offered = !entries.is_empty();
        let old = self.certs.load();
        let (pairs, faults) = merge(old.pairs(), entries);
        self.tell_faults(Part::Certificate, faults);
        if pairs.is_empty() && !old.pairs().is_empty() {
            self.fail(if offered {
                "gives no certificate that could be used"
            } else {
                "gives no certificates"
            });
            return;
        }
        self.put(pairs);
    }

    /// Takes over these and no others: from a source that makes them itself, and knows which are no longer wanted.
    pub(crate) fn replace(&self, pairs: Vec<Arc<Pair>>) {
        self.failing.store(None);
        self.put(pairs);
    }

    fn put(&self, pairs: Vec<Arc<Pair>>) {
        let fresh = CertTable::new(pairs);
        if fresh.pairs() != self.certs.load().pairs() {
            tracing::info!(source = %self.name, certificates = fresh.pairs().len(), "certificates changed");
            self.certs.store(Arc::new(fresh));
            self.updates.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes over who vouches for clients now. None at all changes nothing.
    pub(crate) fn offer_authorities(&self, (authorities, faults): (Option<Authorities>, Vec<BadAuthority>)) {
        let faults = faults.iter().enumerate();
        let faults = faults.map(|(place, fault)| (place.to_string(), fault.to_string()));
        self.tell_faults(Part::Authority, faults.collect());
        let Some(authorities) = authorities else {
            self.fail("gives no authority for client certificates that could be used");
            return;
        };
        if self.authorities().is_some_and(|known| *known == authorities) {
            return;
        }
        match self.clients_of(authorities) {
            Ok(clients) => {
                tracing::info!(source = %self.name, "authorities for client certificates changed");
                self.clients.store(Arc::new(clients));
                self.updates.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.fail(&format!("authorities for client certificates: {error}")),
        }
    }

    fn clients_of(&self, authorities: Authorities) -> Result<Clients, rustls::Error> {
        let verifier = authorities.client_verifier(self.provider.clone())?;
        Ok(Clients {
            asked: Asked::For(Arc::new(authorities), verifier),
            ticketer: aws_lc_rs::Ticketer::new()?,
        })
    }

    /// The source could not be read, or gave nothing of use. What was there stays. Said once, counted always.
    pub(crate) fn fail(&self, problem: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let known = self.failing.load();
        if known.as_ref().is_none_or(|known| **known != problem) {
            let kept = self.certs.load().pairs().len();
            tracing::warn!(source = %self.name, %problem, kept, "certificate source fails, what is there stays");
            self.failing.store(Some(Arc::new(problem.to_owned())));
        }
    }

    /// Says of each certificate that has expired that it has, once. It is shown all the same: clients may judge.
    pub(crate) fn warn_of_expired(&self, now: i64) {
        let certs = self.certs.load();
        let over = certs.pairs().iter().filter(|pair| pair.not_after <= now);
        let over: BTreeSet<_> = over.map(|pair| (pair.label.clone(), pair.not_after)).collect();
        let mut said = self.expired.lock().unwrap_or_else(PoisonError::into_inner);
        for (label, _) in over.difference(&said) {
            tracing::warn!(source = %self.name, entry = %label, "this certificate has expired");
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        *said = over;
    }

    /// Faults that are new are said; those that are gone are forgotten.
    fn tell_faults(&self, part: Part, faults: BTreeMap<String, String>) {
        let mut known = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.clone();
        known.retain(|(of, _), _| *of != part);
        for (label, problem) in faults {
            self.failed.fetch_add(1, Ordering::Relaxed);
            let place = (part, label);
            if before.get(&place) != Some(&problem) {
                tracing::warn!(source = %self.name, ?part, entry = %place.1, %problem, "left out");
            }
            known.insert(place, problem);
        }
    }

    /// What is left out now, and why; and what is wrong with the source as a whole.
    pub(crate) fn faults(&self) -> (Faults, Option<Arc<String>>) {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        (faults.clone(), self.failing.load_full())
    }

    /// How often the source or one of its entries failed, and how often something changed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (
            self.failed.load(Ordering::Relaxed),
            self.updates.load(Ordering::Relaxed),
        )
    }
}

/// What is there after an answer: its good entries, and of its broken ones what stood under the same label before.
/// An answer with nothing good in it leaves all as it was. Also what is wrong, by label.
fn merge(old: &[Arc<Pair>], entries: Vec<Entry>) -> (Vec<Arc<Pair>>, BTreeMap<String, String>) {
    let mut pairs: BTreeMap<Arc<str>, Arc<Pair>> = BTreeMap::new();
    let mut faults = BTreeMap::new();
    let before = |label: &str| old.iter().find(|pair| &*pair.label == label).cloned();
    for (label, entry) in entries {
        let pair = match entry {
            Ok(pair) => Some(
                before(&label)
                    .filter(|old| **old == pair)
                    .unwrap_or_else(|| pair.into()),
            ),
            Err(fault) => {
                faults.insert(label.to_string(), fault.to_string());
                before(&label)
            }
        };
        if let Some(pair) = pair {
            pairs.insert(label, pair);
        }
    }
    (pairs.into_values().collect(), faults)
}

#[cfg(test)]
mod tests;
