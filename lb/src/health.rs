//! Which instances may receive traffic: fabio's rules over an instance's own checks. Pure.
//!
//! Checks of the node count only where they speak for the whole machine (`serfHealth`, maintenance);
//! all others are the business of the services they are attached to.
//!
//! The registrator tells what a container is doing by a check of its own. That one must be accepted in any
//! case: neither may a check that last passed keep traffic on a container that is stopping, nor may a
//! container that runs stand in for the check that it brings.

use catalog::check::{CONTAINER_PREFIX, Check, NODE_MAINTENANCE, SERF_HEALTH, SERVICE_MAINTENANCE_PREFIX};
use catalog::{Instance, Status};

use crate::config::{ChecksRequired, Config};

/// Whether an instance gets traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Fit,
    /// It does not, and why.
    Unfit(&'static str),
}

impl Verdict {
    /// Whether it gets traffic.
    #[must_use]
    pub fn is_fit(self) -> bool {
        self == Self::Fit
    }
}

/// Judges one instance.
#[must_use]
pub fn verdict(config: &Config, instance: &Instance) -> Verdict {
    let spec = &instance.service.spec;
    let (mut total, mut accepted) = (0_usize, 0_usize);
    let mut in_container = false;
    for check in &instance.checks {
        if let Some(why) = disqualifies(check, &spec.id) {
            return Verdict::Unfit(why);
        }
        if check.spec.id.strip_prefix(CONTAINER_PREFIX) == Some(&*spec.id) {
            if !config.accepted.contains(&check.spec.status) {
                return Verdict::Unfit("its container is not ready");
            }
            in_container = true;
        } else if check.spec.service_id.as_ref() == Some(&spec.id) {
            total += 1;
            accepted += usize::from(config.accepted.contains(&check.spec.status));
        }
    }
    match (total, config.checks_required) {
        (0, _) if config.require_check && !in_container => Verdict::Unfit("it has no service check"),
        (0, _) => Verdict::Fit,
        (_, ChecksRequired::All) if accepted < total => Verdict::Unfit("a check is not accepted"),
        (_, ChecksRequired::One) if accepted == 0 => Verdict::Unfit("no check is accepted"),
        _ => Verdict::Fit,
    }
}

/// The checks that end the matter whatever else passes.
fn disqualifies(check: &Check, service_id: &str) -> Option<&'static str> {
    let critical = check.spec.status == Status::Critical;
    match &*check.spec.id {
        SERF_HEALTH if critical => Some("its node has failed"),
        NODE_MAINTENANCE => Some("its node is in maintenance"),
        id if critical && id.strip_prefix(SERVICE_MAINTENANCE_PREFIX) == Some(service_id) => {
            Some("it is in maintenance")
        }
        id if critical && id.strip_prefix(CONTAINER_PREFIX) == Some(service_id) => {
            Some("its container is not ready")
        }
        _ => None,
    }
}
