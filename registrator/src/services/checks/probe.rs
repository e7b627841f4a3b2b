//! How a check that a container asks for finds out: its kind, its target, and what belongs to that kind alone.

use std::collections::BTreeMap;
use std::time::Duration;

use catalog::check::{GrpcProbe, H2PingProbe, HttpProbe, Probe, Program};
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};

use super::super::Fault;
use super::super::text::{quoted, unprintable};
use super::asked::{Asked, time_of};
use crate::container::{Port, Protocol};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Shorter ones would keep us, and the registry, busy with nothing else.
const SHORTEST_TTL: Duration = Duration::from_secs(1);
const USUAL_METHOD: &str = "GET";
const DEFAULT_SHELL: &str = "/bin/sh";

/// Kinds in their order: of several the first counts, as in the original.
pub(super) const KINDS: &[&str] = &[
    "check_http",
    "check_https",
    "check_cmd",
    "check_script",
    "check_docker",
    "check_ttl",
    "check_tcp",
    "check_grpc",
    "check_udp",
    "check_h2ping",
];

/// What may be said of one kind or another.
pub(super) const WORDS: &[&str] = &[
    "check_http_method",
    "check_https_method",
    "check_header",
    "check_body",
    "check_shell",
    "check_grpc_use_tls",
    "check_h2ping_use_tls",
    "check_tls_skip_verify",
];

/// The first kind that is given and can be meant for this port.
pub(super) fn read(asked: &Asked<'_>, faults: &mut Vec<Fault>) -> Option<Probe> {
    let refused = "it wants a program of the old progrium/consul image; SERVICE_CHECK_DOCKER runs one of the container's";
    if asked.get("check_cmd").is_some() {
        faults.push(asked.fault("check_cmd", format!("not run: {refused}")));
    }
    let given = |key: &&&str| match **key {
        "check_tcp" | "check_grpc" | "check_udp" | "check_h2ping" => asked.is_on(key),
        "check_cmd" => false,
        _ => asked.get(key).is_some(),
    };
    // Nothing accepts on a UDP port; a setting that is for all ports means the others.
    let fits = |key: &&&str| match **key {
        "check_script" | "check_docker" | "check_ttl" => true,
        "check_udp" => protocol(asked) == Some(Protocol::Udp),
        _ => protocol(asked) == Some(Protocol::Tcp),
    };
    match *KINDS.iter().filter(given).find(fits)? {
        "check_ttl" => ttl(asked, faults),
        key @ ("check_script" | "check_docker") => program(asked, key, faults),
        key => at(asked, key, &target(asked, faults)?, faults),
    }
}

/// A check that connects to somebody.
fn at(asked: &Asked<'_>, key: &str, address: &str, faults: &mut Vec<Fault>) -> Option<Probe> {
    let address = address.to_owned();
    let (interval, timeout) = pace(asked, faults);
    let tls_skip_verify = asked.is_on("check_tls_skip_verify");
    Some(match key {
        "check_tcp" => Probe::Tcp {
            address,
            interval,
            timeout,
        },
        "check_udp" => Probe::Udp {
            address,
            interval,
            timeout,
        },
        "check_grpc" => Probe::Grpc(GrpcProbe {
            address,
            // As Consul writes it behind the address; any other text only says that there is to be a check.
            service: asked.get(key)?.strip_prefix('/').unwrap_or_default().to_owned(),
            tls: asked.is_on("check_grpc_use_tls"),
            tls_skip_verify,
            interval,
            timeout,
        }),
        "check_h2ping" => Probe::H2Ping(H2PingProbe {
            address,
            tls: asked.get("check_h2ping_use_tls").is_none() || asked.is_on("check_h2ping_use_tls"),
            tls_skip_verify,
            interval,
            timeout,
        }),
        _ => Probe::Http(HttpProbe {
            url: url(asked, key, &address, faults)?,
            method: method(asked, key, faults),
            headers: headers(asked, faults),
            body: asked.get("check_body").unwrap_or_default().to_owned(),
            tls_skip_verify,
            interval,
            timeout,
        }),
    })
}

/// From one run to the next, and how long one may take.
fn pace(asked: &Asked<'_>, faults: &mut Vec<Fault>) -> (Duration, Duration) {
    let interval = asked.time("check_interval", DEFAULT_INTERVAL, faults);
    (interval, asked.time("check_timeout", DEFAULT_TIMEOUT, faults))
}

/// The container port that is asked, if not that of the service.
fn other_port(asked: &Asked<'_>) -> Option<u16> {
    asked.get("check_port")?.trim().parse().ok()
}

/// The port of this number, with the protocol of the service if there are two.
fn port(asked: &Asked<'_>) -> Port {
    let own = asked.of.port;
    let Some(number) = other_port(asked) else {
        return own;
    };
    let with = |protocol| Port { number, protocol };
    let known = [own.protocol, Protocol::Tcp, Protocol::Udp].map(with);
    let container = asked.of.container;
    let declared = |port: &Port| container.exposed.contains(port) || container.bindings.contains_key(port);
    let mut reached = known.into_iter().filter(declared);
    reached
        .find(|port| (asked.of.elsewhere)(*port).is_some())
        .unwrap_or(with(own.protocol))
}

fn protocol(asked: &Asked<'_>) -> Option<Protocol> {
    Some(port(asked).protocol)
}

/// Where the port that is asked can be reached.
fn target(asked: &Asked<'_>, faults: &mut Vec<Fault>) -> Option<String> {
    let service = asked.of.service;
    let told = asked.get("check_port");
    let (host, number) = match (told, other_port(asked)) {
        (None, _) => (service.address.clone(), service.port),
        (Some(text), None) => {
            faults.push(asked.fault("check_port", format!("{text:?} is no port; no check")));
            return None;
        }
        (Some(_), Some(number)) => match (asked.of.elsewhere)(port(asked)) {
            Some(place) => (place.address.to_string(), place.port),
            None => {
                let reason = format!("port {number} of the container is not published; no check");
                faults.push(asked.fault("check_port", reason));
                return None;
            }
        },
    };
    Some(if host.contains(':') {
        format!("[{host}]:{number}")
    } else {
        format!("{host}:{number}")
    })
}

fn ttl(asked: &Asked<'_>, faults: &mut Vec<Fault>) -> Option<Probe> {
    let text = asked.get("check_ttl")?;
    let ttl = time_of(text).ok().filter(|ttl| !ttl.is_zero());
    if ttl.is_none() {
        let reason = format!("{text:?} is no time; the container's state decides");
        faults.push(asked.fault("check_ttl", reason));
    }
    ttl.map(|ttl| Probe::Ttl {
        ttl: ttl.max(SHORTEST_TTL),
    })
}

/// A command line for a shell, or a list in JSON that needs none.
fn program(asked: &Asked<'_>, key: &str, faults: &mut Vec<Fault>) -> Option<Probe> {
    let text = asked.get(key)?;
    if text.contains(['\0', char::REPLACEMENT_CHARACTER]) {
        faults.push(asked.fault(key, "it is not text; the container's state decides"));
        return None;
    }
    let service = asked.of.service;
    let port = service.port.to_string();
    let told = [
        ("${SERVICE_IP}", &service.address),
        ("${SERVICE_PORT}", &port),
        ("$SERVICE_IP", &service.address),
        ("$SERVICE_PORT", &port),
    ];
    let filled = told
        .into_iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    let listed = serde_json::from_str(&filled).ok();
    let args = listed
        .filter(|list: &Vec<String>| !list.is_empty())
        .unwrap_or_else(|| {
            let shell = asked.get("check_shell").unwrap_or(DEFAULT_SHELL);
            vec![shell.to_owned(), "-c".to_owned(), filled]
        });
    let (interval, timeout) = pace(asked, faults);
    let program = Program {
        container: asked.of.container.id.clone(),
        args,
        interval,
        timeout,
    };
    Some(match key {
        "check_script" => Probe::Script(program),
        _ => Probe::Docker(program),
    })
}

/// The method in capitals; `GET` where what is said is none.
fn method(asked: &Asked<'_>, key: &str, faults: &mut Vec<Fault>) -> String {
    let key = format!("{key}_method");
    let told = asked.get(&key).unwrap_or(USUAL_METHOD).to_uppercase();
    match Method::from_bytes(told.as_bytes()) {
        Ok(_) => told,
        Err(_) => {
            let reason = format!("{} is no method; {USUAL_METHOD} is used", quoted(&told));
            faults.push(asked.fault(&key, reason));
            USUAL_METHOD.to_owned()
        }
    }
}

fn url(asked: &Asked<'_>, key: &str, address: &str, faults: &mut Vec<Fault>) -> Option<String> {
    let path = asked.get(key)?;
    if let Some(problem) = unprintable(path).or(path.contains(' ').then_some("it contains a blank")) {
        let reason = format!("{path:?} is no path: {problem}; the container's state decides");
        faults.push(asked.fault(key, reason));
        return None;
    }
    let scheme = key.trim_start_matches("check_");
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some(format!("{scheme}://{address}{slash}{path}"))
}

/// Lines `Name: value`, or an object in JSON whose values are texts or lists of texts.
fn headers(asked: &Asked<'_>, faults: &mut Vec<Fault>) -> BTreeMap<String, Vec<String>> {
    let key = "check_header";
    let mut headers = BTreeMap::<String, Vec<String>>::new();
    for line in asked.get(key).map(lines).unwrap_or_default() {
        let pair = line
            .split_once(':')
            .map(|(name, value)| (name.trim(), value.trim()));
        let valid = |(name, value): &(&str, &str)| {
            name.parse::<HeaderName>().is_ok() && value.parse::<HeaderValue>().is_ok()
        };
        match pair.filter(valid) {
            Some((name, value)) => headers.entry(name.to_owned()).or_default().push(value.to_owned()),
            None => {
                let reason = format!("{line:?} is no header; it is written like Name: value");
                faults.push(asked.fault(key, reason));
            }
        }
    }
    headers
}

fn lines(text: &str) -> Vec<String> {
    let Ok(object) = serde_json::from_str::<serde_json::Map<_, _>>(text) else {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        return lines.map(str::to_owned).collect();
    };
    let line = |name: &str, value: &serde_json::Value| match value.as_str() {
        Some(value) => format!("{name}: {value}"),
        None => format!("{name} {value}"),
    };
    let pairs = object.iter().flat_map(|(name, value)| match value.as_array() {
        Some(values) => values.iter().map(|value| line(name, value)).collect(),
        None => vec![line(name, value)],
    });
    pairs.collect()
}
