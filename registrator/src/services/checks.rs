//! How the health of a container's services is known: by its own state always, and by the check
//! it asks for. Both must pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::check::{CONTAINER_PREFIX, Definition, HttpProbe, Probe, UnknownStatus};
use catalog::{Registration, ServiceSpec, Status};

use super::Fault;
use super::metadata::{Settings, unprintable};
use crate::container::{Container, Health, Port, Protocol};
use crate::registry::Offer;

/// Output longer than this helps nobody.
const LONGEST_OUTPUT: usize = 512;
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Kinds that containers of the original may ask for and that we do not run.
const UNSUPPORTED: &[&str] = &["check_cmd", "check_script", "check_grpc"];

/// The container's check, and the one it asks for.
pub(crate) fn all(
    container: &Container,
    settings: &Settings,
    port: Port,
    service: &ServiceSpec,
    faults: &mut Vec<Fault>,
) -> Vec<Definition> {
    let initial = initial_status(settings, faults);
    let (status, output) = verdict(container, initial);
    let own = of_container(service, status, output);
    let asked = container
        .runs()
        .then(|| probe(settings, port, service, faults))
        .flatten();
    let asked = asked.map(|probe| Definition {
        id: format!("service:{}", service.id).into(),
        name: format!("Service '{}' check", service.name),
        notes: String::new(),
        initial,
        output: String::new(),
        probe,
        success_before_passing: 0,
        failures_before_critical: 0,
        deregister_critical_after: forgotten_after(settings, faults),
    });
    std::iter::once(own).chain(asked).collect()
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

/// The status a container wants to begin with.
fn initial_status(settings: &Settings, faults: &mut Vec<Fault>) -> Option<Status> {
    let status: Result<Status, UnknownStatus> = settings.get("check_initial_status")?.parse();
    status
        .map_err(|problem| faults.push(fault("check_initial_status", problem.to_string())))
        .ok()
}

/// After how long in critical state it wants to be forgotten.
fn forgotten_after(settings: &Settings, faults: &mut Vec<Fault>) -> Option<Duration> {
    let time = time_of(settings.get("check_deregister_after")?);
    time.map_err(|problem| faults.push(fault("check_deregister_after", problem)))
        .ok()
}

/// A time as Go writes it, which is how users of the original write theirs.
fn time_of(text: &str) -> Result<Duration, String> {
    catalog::duration::parse(text)
        .map_err(|_| format!("{text:?} is no time; it is written like 10s or 1m30s"))
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

/// The probe a container asks for; the first kind that is given counts.
fn probe(settings: &Settings, port: Port, service: &ServiceSpec, faults: &mut Vec<Fault>) -> Option<Probe> {
    for key in UNSUPPORTED.iter().filter(|key| settings.get(key).is_some()) {
        faults.push(fault(
            key,
            "this kind of check is not supported; the container's state decides",
        ));
    }
    // Nothing accepts on a UDP port; a setting that is for all ports means the others.
    let tcp = port.protocol == Protocol::Tcp;
    let host = if service.address.contains(':') {
        format!("[{}]", service.address)
    } else {
        service.address.clone()
    };
    let address = format!("{host}:{}", service.port);
    if let Some(scheme) = ["http", "https"]
        .iter()
        .find(|scheme| settings.get(&format!("check_{scheme}")).is_some())
        && tcp
    {
        return http(settings, scheme, &address, faults).map(Probe::Http);
    }
    if let Some(text) = settings.get("check_ttl") {
        let ttl = time_of(text).ok().filter(|ttl| !ttl.is_zero());
        if ttl.is_none() {
            faults.push(fault(
                "check_ttl",
                format!("{text:?} is no time; the container's state decides"),
            ));
        }
        return ttl.map(|ttl| Probe::Ttl { ttl });
    }
    (tcp && settings.is_on("check_tcp")).then(|| Probe::Tcp {
        address,
        interval: time(settings, "check_interval", DEFAULT_INTERVAL, faults),
        timeout: time(settings, "check_timeout", DEFAULT_TIMEOUT, faults),
    })
}

fn http(settings: &Settings, scheme: &str, address: &str, faults: &mut Vec<Fault>) -> Option<HttpProbe> {
    let key = format!("check_{scheme}");
    let path = settings.get(&key)?;
    if let Some(problem) = unprintable(path).or(path.contains(' ').then_some("it contains a blank")) {
        faults.push(fault(
            &key,
            format!("{path:?} is no path: {problem}; the container's state decides"),
        ));
        return None;
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some(HttpProbe {
        url: format!("{scheme}://{address}{slash}{path}"),
        method: settings
            .get(&format!("{key}_method"))
            .unwrap_or("GET")
            .to_uppercase(),
        headers: BTreeMap::new(),
        body: String::new(),
        tls_skip_verify: settings.is_on("check_tls_skip_verify"),
        interval: time(settings, "check_interval", DEFAULT_INTERVAL, faults),
        timeout: time(settings, "check_timeout", DEFAULT_TIMEOUT, faults),
    })
}

fn time(settings: &Settings, key: &str, default: Duration, faults: &mut Vec<Fault>) -> Duration {
    let problem = match settings.get(key).map(time_of) {
        None => return default,
        Some(Ok(time)) if !time.is_zero() => return time,
        Some(Ok(_)) => "zero is no time".to_owned(),
        Some(Err(problem)) => problem,
    };
    faults.push(fault(key, format!("{problem}; {default:?} is used")));
    default
}

fn fault(key: &str, reason: impl Into<String>) -> Fault {
    Fault::new(format!("SERVICE_{}", key.to_uppercase()), reason)
}
