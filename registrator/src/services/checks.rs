//! How the health of a container's services is known: by its own state always, and by the checks
//! it asks for. All must pass.
//!
//! `asked.rs` reads what it asks for, `probe.rs` what that comes to.

mod asked;
mod probe;

use std::sync::Arc;
use std::time::Duration;

use catalog::check::{CONTAINER_PREFIX, Definition, Probe};
use catalog::{Registration, ServiceSpec, Status};

use self::asked::Asked;
use super::Fault;
use super::address::Place;
use super::metadata::{Settings, is_yes};
use crate::container::{Container, Health, Port};
use crate::registry::Offer;

/// Output longer than this helps nobody.
const LONGEST_OUTPUT: usize = 512;

/// A service that is to be checked.
#[derive(Clone, Copy)]
pub(crate) struct Checked<'a> {
    pub(crate) container: &'a Container,
    pub(crate) settings: &'a Settings<'a>,
    pub(crate) port: Port,
    pub(crate) service: &'a ServiceSpec,
    /// Where another port of the container is had, ignored or not.
    pub(crate) elsewhere: &'a dyn Fn(Port) -> Option<Place>,
}

/// The container's check, and those it asks for.
pub(crate) fn all(checked: Checked<'_>, faults: &mut Vec<Fault>) -> Vec<Definition> {
    let Checked {
        container, service, ..
    } = checked;
    let asked = Asked::all(checked, faults);
    let initial = Asked::plain(checked).status(faults);
    let (status, output) = verdict(container, initial);
    let mut checks = vec![of_container(service, status, output)];
    for asked in asked.iter().filter(|_| container.runs()) {
        let Some(check) = asked.definition(faults) else {
            continue;
        };
        if checks.iter().any(|known| known.id == check.id) {
            faults.push(asked.fault("check_id", "not made: another check of the service is called so"));
        } else {
            checks.push(check);
        }
    }
    checks
}

/// Checks that somebody must report on, which we do while the container is fit: their ids, and how
/// long a report lasts.
pub(crate) fn reported_on(offer: &Offer) -> impl Iterator<Item = (&Arc<str>, Duration)> {
    // Whoever reports by himself has said so.
    let ours = offer
        .attributes
        .get("check_heartbeat")
        .is_none_or(|word| word.is_empty() || is_yes(word));
    let checks = offer.registration.checks.iter();
    let checks = checks.filter(move |_| ours && offer.fit != Status::Critical);
    checks.filter_map(|check| match check.probe {
        Probe::Ttl { ttl } => Some((&check.id, ttl)),
        _ => None,
    })
}

/// The check that says what the container is doing.
fn of_container(service: &ServiceSpec, status: Status, output: String) -> Definition {
    Definition {
        id: format!("{CONTAINER_PREFIX}{}", service.id).into(),
        name: format!("Service '{}' container", service.name),
        notes: String::new(),
        initial: Some(status),
        output,
        probe: Probe::Container,
        success_before_passing: 0,
        failures_before_critical: 0,
        deregister_critical_after: None,
    }
}

/// What the container's check says.
pub(crate) fn fit(checks: &[Definition]) -> Status {
    let own = checks.iter().find(|check| check.probe == Probe::Container);
    own.and_then(|check| check.initial).unwrap_or(Status::Critical)
}

/// What a container's state says of its services.
fn verdict(container: &Container, initial: Option<Status>) -> (Status, String) {
    let state = &container.state;
    if !container.runs() {
        return (Status::Critical, ended(container));
    }
    if state.paused {
        return (Status::Critical, "paused".to_owned());
    }
    match &state.health {
        None => (Status::Passing, "running".to_owned()),
        Some(Health::Starting) => (initial.unwrap_or(Status::Critical), "starting".to_owned()),
        Some(Health::Healthy) => (Status::Passing, "healthy".to_owned()),
        Some(Health::Unhealthy(output)) => {
            let last = output.trim_end().lines().next_back().unwrap_or_default();
            let cut = last
                .char_indices()
                .nth(LONGEST_OUTPUT)
                .map_or(last, |(end, _)| &last[..end]);
            let colon = if cut.is_empty() { "" } else { ": " };
            (Status::Critical, format!("unhealthy{colon}{cut}"))
        }
    }
}

/// Why a container does not run, in a few words.
pub(crate) fn ended(container: &Container) -> String {
    let code = container.state.exit_code;
    match &container.state {
        state if state.restarting => format!("container restarting, exited ({code})"),
        state if state.dead => format!("container dead ({code})"),
        state if !state.started => "container created, not started".to_owned(),
        state if state.oom_killed => format!("container exited ({code}), out of memory"),
        _ => format!("container exited ({code})"),
    }
}

/// The same offer with the container's check saying `critical` and why. One that was found in a
/// registry that does not list checks gets it with this.
pub(crate) fn out_of_rotation(offer: &Offer, why: &str) -> Offer {
    let mut changed = offer.clone();
    changed.fit = Status::Critical;
    let Registration { service, checks } = Arc::make_mut(&mut changed.registration);
    match checks.iter_mut().find(|check| check.probe == Probe::Container) {
        Some(check) => (check.initial, check.output) = (Some(Status::Critical), why.to_owned()),
        None => checks.insert(0, of_container(service, Status::Critical, why.to_owned())),
    }
    changed
}
