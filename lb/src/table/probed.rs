//! Targets that are asked again and again whether they may get traffic (`probe=`): each once, however many routes lead
//! there, for as long as one does.
//!
//! What a probe has found belongs to no table, so it outlives their changes. A target is fit until two probes in a row
//! have failed, and again with the first that passes.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use imbl::HashMap;

use super::options::{HostHeader, Options, Probe, Scheme, UpstreamTls};

/// Failures in a row that take a target out.
const ENOUGH: u32 = 2;

/// Whom to ask, and how. Whoever is asked the same way need be asked only once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    /// `host:port`.
    pub addr: Arc<str>,
    pub scheme: Scheme,
    pub tls: UpstreamTls,
    pub host: HostHeader,
    pub probe: Probe,
}

impl Question {
    /// What these options ask of an address; `None`: nothing. A redirect is answered here, whoever is there.
    pub(super) fn of(addr: &Arc<str>, options: &Options) -> Option<Self> {
        if options.redirect.is_some() {
            return None;
        }
        Some(Self {
            addr: addr.clone(),
            scheme: options.scheme,
            tls: options.tls.clone(),
            host: options.host.clone(),
            probe: options.probe.clone()?,
        })
    }

    /// When the first is due: somewhere in the first half of the interval, so that thousands that come with one table
    /// are not all asked at once.
    pub(crate) fn head_start(&self) -> Duration {
        static HASH: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let point = HASH.hash_one(self) as f64 / 2_f64.powi(64);
        self.probe.interval.mul_f64(point / 2.0)
    }
}

/// What is known of one that is probed. One task writes, every worker reads.
#[derive(Debug)]
pub(crate) struct Probed {
    pub question: Question,
    is_down: AtomicBool,
    /// Failures since the last that passed, and what the last was.
    failures: Mutex<(u32, Box<str>)>,
}

/// What an answer has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It gets no more traffic.
    Down,
    /// It gets traffic again.
    Up,
}

impl Probed {
    fn new(question: Question) -> Self {
        Self {
            question,
            is_down: AtomicBool::new(false),
            failures: Mutex::default(),
        }
    }

    /// May it get traffic?
    pub(crate) fn is_up(&self) -> bool {
        !self.is_down.load(Relaxed)
    }

    /// How the last probe failed; `None`: it is up.
    pub(crate) fn why_down(&self) -> Option<Box<str>> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        (!self.is_up()).then(|| failures.1.clone())
    }

    /// Takes note of how a probe went. Returns what that changes.
    pub(crate) fn told(&self, outcome: Result<(), Box<str>>) -> Option<Turn> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        *failures = match outcome {
            Ok(()) => <_>::default(),
            Err(why) => (failures.0.saturating_add(1), why),
        };
        let is_down = failures.0 >= ENOUGH || (failures.0 > 0 && !self.is_up());
        match (self.is_down.swap(is_down, Relaxed), is_down) {
            (false, true) => Some(Turn::Down),
            (true, false) => Some(Turn::Up),
            _ => None,
        }
    }
}

/// All that are probed, and by how many targets of routes. A copy shares all with the original.
#[derive(Clone, Debug, Default)]
pub(super) struct Probes(HashMap<Question, (Arc<Probed>, usize)>);

impl Probes {
    /// One more target that wants it asked.
    pub(super) fn enter(&mut self, question: &Question) -> Arc<Probed> {
        let fresh = || (Arc::new(Probed::new(question.clone())), 0);
        let (probed, count) = self.0.entry(question.clone()).or_insert_with(fresh);
        *count += 1;
        probed.clone()
    }

    /// One less.
    pub(super) fn leave(&mut self, probed: &Probed) {
        if let Some((_, count)) = self.0.get_mut(&probed.question) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&probed.question);
            }
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Probed>> {
        self.0.values().map(|(probed, _)| probed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::options::Probe;

    fn question(addr: &str) -> Question {
        let options = Options {
            probe: Some(Probe {
                path: Some("/up".into()),
                interval: Duration::from_secs(5),
            }),
            ..Options::default()
        };
        Question::of(&addr.into(), &options).unwrap()
    }

    #[test]
    fn two_failures_in_a_row_take_a_target_out_and_one_success_brings_it_back() {
        let probed = Probed::new(question("a:1"));
        let fail = || probed.told(Err("status 500".into()));
        assert_eq!((fail(), probed.told(Ok(())), fail()), (None, None, None));
        assert_eq!(probed.why_down(), None);
        assert_eq!((fail(), fail()), (Some(Turn::Down), None));
        assert_eq!(probed.why_down().as_deref(), Some("status 500"));
        assert_eq!(probed.told(Ok(())), Some(Turn::Up));
        assert_eq!((probed.why_down(), fail()), (None, None));
    }

    #[test]
    fn who_is_asked_the_same_is_asked_once_until_nobody_wants_it() {
        let mut probes = Probes::default();
        let first = probes.enter(&question("a:1"));
        let again = probes.enter(&question("a:1"));
        probes.enter(&question("b:1"));
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(probes.all().count(), 2);
        probes.leave(&first);
        assert_eq!(probes.all().count(), 2);
        probes.leave(&again);
        assert_eq!(probes.all().count(), 1);
    }

    #[test]
    fn the_first_probe_comes_within_half_an_interval() {
        for port in 0..100 {
            let start = question(&format!("a:{port}")).head_start();
            assert!(start <= Duration::from_millis(2500), "{start:?}");
        }
    }
}
