//! How the health of a container's services is known: by its own state always, and by the check
//! it asks for. Both must pass.

use std::time::Duration;

use catalog::check::{Definition, HttpProbe, Probe};
use catalog::{Registration, ServiceSpec, Status};

use super::Fault;
use super::metadata::{Settings, unprintable};
use crate::container::{Container, Health, Port, Protocol};

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
    let initial = settings.get("check_initial_status").and_then(|text| {
        let status = text.parse();
        status
            .map_err(|problem: catalog::check::UnknownStatus| {
                faults.push(fault("check_initial_status", problem.to_string()))
            })
            .ok()
    });
    let (status, output) = verdict(container, initial);
    let own = Definition {
        id: format!("container:{}", service.id).into(),
        name: format!("Service '{}' container", service.name),
        notes: String::new(),
        initial: Some(status),
        output,
        probe: Probe::Container,
        success_before_passing: 0,
        failures_before_critical: 0,
        deregister_critical_after: None,
    };
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
        deregister_critical_after: settings.get("check_deregister_after").and_then(|text| {
            duration(text)
                .map_err(|problem| faults.push(fault("check_deregister_after", problem)))
                .ok()
        }),
    });
    std::iter::once(own).chain(asked).collect()
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
        _ => format!("container exited ({code})"),
    }
}

/// The same registration with the container's check saying `critical` and why.
pub(crate) fn out_of_rotation(registration: &Registration, why: &str) -> Registration {
    let mut changed = registration.clone();
    for check in changed
        .checks
        .iter_mut()
        .filter(|check| check.probe == Probe::Container)
    {
        check.initial = Some(Status::Critical);
        why.clone_into(&mut check.output);
    }
    changed
}

/// The probe a container asks for; the first kind that is given counts.
fn probe(settings: &Settings, port: Port, service: &ServiceSpec, faults: &mut Vec<Fault>) -> Option<Probe> {
    for key in UNSUPPORTED {
        if settings.get(key).is_some() {
            faults.push(fault(
                key,
                "this kind of check is not supported; the container's state decides",
            ));
        }
    }
    let mut time = |key: &str, default: Duration| match settings.get(key).map(duration) {
        Some(Ok(time)) if !time.is_zero() => time,
        Some(Ok(_)) => {
            faults.push(fault(key, format!("zero is no time; {default:?} is used")));
            default
        }
        Some(Err(problem)) => {
            faults.push(fault(key, format!("{problem}; {default:?} is used")));
            default
        }
        None => default,
    };
    let (interval, timeout) = (
        time("check_interval", DEFAULT_INTERVAL),
        time("check_timeout", DEFAULT_TIMEOUT),
    );
    let host = if service.address.contains(':') {
        format!("[{}]", service.address)
    } else {
        service.address.clone()
    };
    let address = format!("{host}:{}", service.port);
    // Nothing accepts on a UDP port; a setting that is for all ports means the others.
    let tcp = port.protocol == Protocol::Tcp;
    for scheme in ["http", "https"] {
        let key = format!("check_{scheme}");
        let Some(path) = settings.get(&key).filter(|_| tcp) else {
            continue;
        };
        if let Some(problem) = unprintable(path).or(path.contains(' ').then_some("it contains a blank")) {
            faults.push(fault(
                &key,
                format!("{path:?} is no path: {problem}; the container's state decides"),
            ));
            return None;
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        return Some(Probe::Http(HttpProbe {
            url: format!("{scheme}://{address}{slash}{path}"),
            method: settings
                .get(&format!("{key}_method"))
                .unwrap_or("GET")
                .to_uppercase(),
            headers: std::collections::BTreeMap::new(),
            body: String::new(),
            tls_skip_verify: settings.is_on("check_tls_skip_verify"),
            interval,
            timeout,
        }));
    }
    if let Some(text) = settings.get("check_ttl") {
        return match duration(text) {
            Ok(ttl) if !ttl.is_zero() => Some(Probe::Ttl { ttl }),
            _ => {
                faults.push(fault(
                    "check_ttl",
                    format!("{text:?} is no time; the container's state decides"),
                ));
                None
            }
        };
    }
    (tcp && settings.is_on("check_tcp")).then_some(Probe::Tcp {
        address,
        interval,
        timeout,
    })
}

fn fault(key: &str, reason: impl Into<String>) -> Fault {
    Fault::new(format!("SERVICE_{}", key.to_uppercase()), reason)
}

/// Reads a time as users of the original write it: `30s`, `1m30s`, `1.5h`, `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; it is written like 10s or 1m30s");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let seconds = match &tail[..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = &tail[unit..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_go_writes_them() {
        for (text, millis) in [
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("500ms", 500),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in [
            "",
            "10",
            "s",
            "10 s",
            "-1s",
            "1d",
            "1.2.3s",
            "99999999999999999999h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_upsets_the_reading_of_times(text in "[0-9.hmsµun ]{0,12}") {
            let _ = duration(&text);
        }
    }
}
