//! The few facts of a container that registrations are made of.
//!
//! Plain data, independent of how an engine spells it: `docker.rs` fills it, `services.rs` and
//! `reconcile.rs` read it. Nothing here decides anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// SIGKILL: whatever the image says, a container that gets it is about to die.
pub const SIGKILL: i32 = 9;
/// SIGTERM: what an engine sends first where the image names nothing else.
pub const SIGTERM: i32 = 15;

/// Everything we know of one container, as the engine last told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// The full id.
    pub id: Arc<str>,
    /// Name without the engine's leading slash.
    pub name: String,
    /// Its host name, as it knows itself; empty where it has none of its own.
    pub hostname: String,
    /// The image as the user wrote it; may be an id.
    pub image: String,
    /// The image's own id, `sha256:…`.
    pub image_id: String,
    /// What the image is called, `redis:7`, where the user gave its id and nothing else names the container; `None` where
    /// it is called nothing, or the engine would not tell.
    pub image_tag: Option<String>,
    /// `KEY=value` entries, the image's included.
    pub env: Vec<String>,
    /// Labels, the image's included.
    pub labels: BTreeMap<String, String>,
    /// Ports that the image or the user declared.
    pub exposed: BTreeSet<Port>,
    /// Where each port is bound now; an exposed port that is not published has an empty list.
    pub bindings: BTreeMap<Port, Vec<Binding>>,
    /// Where the user asked for ports to be bound. Known also while the container is stopped.
    pub asked: BTreeMap<Port, Vec<Binding>>,
    /// Where the swarm that it is a task of answers for its ports.
    pub mesh: Mesh,
    /// Whether every exposed port is to be published.
    pub publish_all: bool,
    /// Whether the engine removes it once its process has ended (`--rm`).
    pub auto_remove: bool,
    /// How it is attached to the world.
    pub network: Network,
    /// Addresses by network, IPv4 before IPv6.
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
    /// What it is doing.
    pub state: State,
    /// The signal that asks it to stop.
    pub stop_signal: i32,
    /// How long the engine waits after that signal before it kills, where the image or user says so.
    pub stop_timeout: Option<Duration>,
    /// The engine's whole answer, for templates that name any part of it; `None` where nobody needs it.
    pub raw: Option<Arc<serde_json::Value>>,
}

impl Container {
    /// Whether it may hold registrations: in the pause between two restarts an engine still calls
    /// a container running, and shows no ports.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.state.running && !self.state.restarting && !self.state.dead
    }

    /// Whether all it does is to hold the network of a pod: Podman's infra container, or the sandbox of Kubernetes on
    /// Docker. The ports of the pod are its, what answers on them is in others.
    #[must_use]
    pub fn holds_a_pod(&self) -> bool {
        let is_id = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let of_podman =
            self.name.strip_suffix("-infra").is_some_and(is_id) || self.image.contains("/podman-pause:");
        of_podman || self.label("io.kubernetes.docker.type") == Some("podsandbox")
    }

    /// Whether the image was given by its id, whole or the first digits of it.
    #[must_use]
    pub fn is_of_image_id(&self) -> bool {
        let digits = self.image_id.strip_prefix("sha256:").unwrap_or(&self.image_id);
        let is_hex = self.image.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.image.starts_with("sha256:")
            || (self.image.len() >= 4 && is_hex && digits.starts_with(&self.image))
    }

    /// The compose service that it is an instance of.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        self.label("com.docker.compose.service")
    }

    /// The id of the swarm's service that it is a task of.
    #[must_use]
    pub fn swarm_service(&self) -> Option<&str> {
        self.label("com.docker.swarm.service.id")
    }

    /// The value of a label, unless empty.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        let value = self.labels.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }
}

/// The first twelve digits of an id.
#[must_use]
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// What a container is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// It has a process, or waits for its next restart.
    pub running: bool,
    /// Frozen.
    pub paused: bool,
    /// Waiting for its next restart.
    pub restarting: bool,
    /// Beyond repair.
    pub dead: bool,
    /// Whether it has run before.
    pub started: bool,
    /// What its last process returned.
    pub exit_code: i64,
    /// That process was killed because there was no memory left for it.
    pub oom_killed: bool,
    /// The verdict of its HEALTHCHECK, where it has one.
    pub health: Option<Health>,
}

impl fmt::Display for State {
    /// As `docker ps` would say it, without the times.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { dead: true, .. } => f.write_str("dead"),
            Self { restarting: true, .. } => f.write_str("restarting"),
            Self { paused: true, .. } => f.write_str("paused"),
            Self {
                running: true,
                health,
                ..
            } => match health {
                None => f.write_str("running"),
                Some(Health::Starting) => f.write_str("running (starting)"),
                Some(Health::Healthy) => f.write_str("running (healthy)"),
                Some(Health::Unhealthy(_)) => f.write_str("running (unhealthy)"),
            },
            Self { started: false, .. } => f.write_str("created"),
            Self { oom_killed: true, .. } => write!(f, "exited ({}, out of memory)", self.exit_code),
            _ => write!(f, "exited ({})", self.exit_code),
        }
    }
}

/// The verdict of a HEALTHCHECK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// No verdict yet.
    Starting,
    /// Fit.
    Healthy,
    /// Not fit; what the last probe printed.
    Unhealthy(String),
}

/// A port inside a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// 1 to 65535.
    pub number: u16,
    /// TCP unless said otherwise.
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol.as_str())
    }
}

impl FromStr for Port {
    type Err = UnknownPort;

    /// Reads the engine's spelling, `80/tcp`; no protocol means TCP.
    fn from_str(text: &str) -> Result<Self, UnknownPort> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = Protocol::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(protocol));
        match (number.parse(), protocol) {
            (Ok(number), Some(protocol)) if number > 0 => Ok(Self { number, protocol }),
            _ => Err(UnknownPort(text.to_owned())),
        }
    }
}

/// A text that names no port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no port; it is written like 80/tcp")]
pub struct UnknownPort(pub String);

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The engine's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A place on the host where a container's port can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Host address; unspecified means all of them.
    pub address: IpAddr,
    /// Host port; 0 while the engine has yet to choose.
    pub port: u16,
}

/// The routing mesh of a swarm: ports that each of its nodes answers on, for the tasks of a service wherever they run.
/// No inspection of a task shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mesh {
    /// These, by the port inside; none where it is no task, or one of a service without any.
    Ports(BTreeMap<Port, Vec<Binding>>),
    /// There are some, and its node does not list them yet: a task is let in once it is healthy.
    Pending,
    /// There are some, and the engine will not tell which: why.
    Untold(String),
}

impl Default for Mesh {
    fn default() -> Self {
        Self::Ports(BTreeMap::new())
    }
}

impl Mesh {
    /// Where a port is had on every node.
    #[must_use]
    pub fn bindings(&self, port: Port) -> Option<&[Binding]> {
        match self {
            Self::Ports(ports) => ports.get(&port).map(Vec::as_slice),
            Self::Pending | Self::Untold(_) => None,
        }
    }

    /// The ports inside that are had there.
    pub fn ports(&self) -> impl Iterator<Item = Port> {
        let ports = match self {
            Self::Ports(ports) => Some(ports.keys().copied()),
            Self::Pending | Self::Untold(_) => None,
        };
        ports.into_iter().flatten()
    }
}

/// How a container is attached to the world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// The default bridge.
    #[default]
    Bridge,
    /// The host's own network.
    Host,
    /// Nothing.
    None,
    /// The network of the container with this id.
    Container(Arc<str>),
    /// A network the user made.
    Named(String),
}

impl From<&str> for Network {
    fn from(mode: &str) -> Self {
        match mode {
            "" | "default" | "bridge" => Self::Bridge,
            "host" => Self::Host,
            "none" => Self::None,
            other => match other.strip_prefix("container:") {
                Some(id) => Self::Container(id.into()),
                None => Self::Named(other.to_owned()),
            },
        }
    }
}

/// The signal a text names: `15`, `TERM`, `SIGTERM` or `SIGRTMIN+3`.
#[must_use]
pub fn signal(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    // Real-time signals are counted from either end of their range.
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return if rest.is_empty() {
            Some(34)
        } else {
            rest.strip_prefix('+')?.parse::<i32>().ok().map(|n| 34 + n)
        };
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return if rest.is_empty() {
            Some(64)
        } else {
            rest.strip_prefix('-')?.parse::<i32>().ok().map(|n| 64 - n)
        };
    }
    SIGNALS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
}

/// The name of a signal, `SIGTERM`; its number where it has none.
#[must_use]
pub fn signal_name(number: i32) -> String {
    match SIGNALS.iter().find(|(_, known)| *known == number) {
        Some((name, _)) => format!("SIG{name}"),
        None => format!("signal {number}"),
    }
}

/// Signals by name, as Linux numbers them on the machines we run on.
const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", SIGKILL),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", SIGTERM),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_in_every_spelling_an_image_may_use() {
        for (text, number) in [
            ("15", 15),
            ("SIGTERM", 15),
            ("quit", 3),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(signal(text), Some(number), "{text}");
        }
        assert_eq!(signal("SIGNONSENSE"), None);
    }

    #[test]
    fn a_port_without_a_protocol_is_tcp_and_port_0_is_none() {
        assert_eq!(
            "80".parse(),
            Ok(Port {
                number: 80,
                protocol: Protocol::Tcp
            })
        );
        assert_eq!(
            "53/udp".parse(),
            Ok(Port {
                number: 53,
                protocol: Protocol::Udp
            })
        );
        for bad in ["0/tcp", "x/tcp", "80/quic", "", "65536"] {
            assert!(bad.parse::<Port>().is_err(), "{bad}");
        }
    }
}
