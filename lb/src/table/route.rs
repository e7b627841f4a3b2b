//! A route, its targets and what its options ask for.

use std::sync::Arc;

use super::pick::Shares;
use super::redirect::Redirect;
use super::stats::{TargetKey, TargetStats, Turns};
use crate::config::Strategy;

/// Where requests for one host and path, or connections to one port, may go.
#[derive(Debug)]
pub struct Route {
    /// The service that owns it; the first by name where several share it.
    pub service: Arc<str>,
    /// Host as asked for, `:port` for TCP, empty for every host.
    pub host: Arc<str>,
    /// Path as asked for; empty for TCP.
    pub path: Arc<str>,
    /// Made from a service's name rather than from a tag of it.
    pub built_in: bool,
    /// All that may get traffic now; empty when the route is known but nothing passes.
    pub targets: Box<[Arc<Target>]>,
    /// Instances that belong here and may not get traffic.
    pub unfit: Box<[Unfit]>,
    pub(super) shares: Shares,
    pub(super) turns: Arc<Turns>,
}

/// An instance that may not get traffic now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Service it belongs to.
    pub service: Arc<str>,
    /// Id of the instance on its node.
    pub instance: Arc<str>,
    /// Why not.
    pub why: &'static str,
}

/// One instance as the target of one route.
#[derive(Debug)]
pub struct Target {
    /// Service it belongs to.
    pub service: Arc<str>,
    /// Id of the instance on its node.
    pub instance: Arc<str>,
    /// Name of its node.
    pub node: Arc<str>,
    /// `host:port`; the host may be a name, IPv6 is in brackets.
    pub addr: Arc<str>,
    /// What the tag asked for.
    pub options: Arc<Options>,
    /// Effective share of the route's traffic, 0 to 1.
    pub share: f64,
    /// Its counters; the same in every table that has this target.
    pub stats: Arc<TargetStats>,
}

/// What the option part of a tag asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Removed from the start of the path.
    pub strip: Option<Box<str>>,
    /// Put in front of the path, after `strip`.
    pub prepend: Option<Box<str>>,
    /// Host header for the target.
    pub host: HostHeader,
    /// Answer a redirect instead of asking the target.
    pub redirect: Option<Redirect>,
    /// Share asked for; 0 takes a part of what is left.
    pub weight: f64,
    /// Other tags of the service.
    pub tags: Box<[Box<str>]>,
    /// Options as written, but for `proto`, `weight` and a redirect's URL; unknown ones too.
    pub shown: Box<[(Box<str>, Box<str>)]>,
}

/// Which Host header a target sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostHeader {
    /// The client's.
    #[default]
    Client,
    /// The target's own `host:port` (`host=dst`).
    Target,
    /// This one.
    Name(Box<str>),
}

/// A number that selects a target; equal numbers select equal targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Uniformly random bits.
    Random(u64),
    /// The how-manieth request of this worker on this route.
    Turn(u64),
}

impl Route {
    /// How the next request of this worker chooses. `random` is asked only where it is used.
    pub fn choice(&self, strategy: Strategy, worker: usize, random: impl FnOnce() -> u64) -> Choice {
        match strategy {
            Strategy::Rnd => Choice::Random(random()),
            Strategy::Rr => Choice::Turn(self.turns.next(worker)),
        }
    }

    /// The chosen target, leaving out those in `tried`; `None`: the route is known but nothing
    /// (more) may get the request.
    #[must_use]
    pub fn pick(&self, choice: Choice, tried: &[Arc<Target>]) -> Option<&Arc<Target>> {
        self.pick_where(choice, |target| {
            !tried.iter().any(|tried| Arc::ptr_eq(tried, target))
        })
    }

    /// The chosen target among those that are `usable`. Where the choice falls on another, the
    /// usable ones share by weight; a standby (share 0) serves only when all else is unusable.
    pub fn pick_where(&self, choice: Choice, usable: impl Fn(&Arc<Target>) -> bool) -> Option<&Arc<Target>> {
        self.shares
            .pick(choice, |index| usable(&self.targets[index]))
            .map(|index| &self.targets[index])
    }

    /// What one of its targets is counted under.
    #[must_use]
    pub fn key(&self, target: &Target) -> TargetKey {
        TargetKey {
            service: target.service.clone(),
            host: self.host.clone(),
            path: self.path.clone(),
            target: target.addr.clone(),
        }
    }
}
