//! The container engine, asked over its API. The only file family that knows bollard.
//!
//! It translates and nothing else: an inspect answer becomes a [`Container`], an event becomes a
//! [`Notice`] that says where to look. Every request but the event stream has a deadline here.

pub(crate) mod stream;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::errors::Error as Fault;
use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerSummaryStateEnum, EventMessage, EventMessageTypeEnum,
    HealthStatusEnum, PortMap,
};
use bollard::query_parameters::{EventsOptions, ListContainersOptions};
use futures_util::{Stream, StreamExt};

use crate::config::BuildError;
use crate::container::{self, Binding, Container, Health, Network, Port, State};

/// An engine that takes longer to answer one request is treated as absent, and asked again.
const PATIENCE: Duration = Duration::from_secs(10);
/// bollard puts this limit on the head of a response. Some engines send the head of an event
/// stream with the first event only, so there it must not bite.
const NO_LIMIT_SECS: u64 = 10 * 365 * 24 * 3600;
/// Answers the user may not have configured, as engines are found on most hosts.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// Events that change what should be registered.
const CONTAINER_EVENTS: &[&str] = &[
    "start",
    "die",
    "kill",
    "destroy",
    "rename",
    "pause",
    "unpause",
    "update",
    "oom",
    "health_status",
    "connect",
    "disconnect",
];

/// Where the engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Unix(String),
    Http(String),
    Tls { address: String, certificates: PathBuf },
}

impl Endpoint {
    /// What the user says, else the environment as Docker's own tools read it, else the usual socket.
    pub(crate) fn choose(configured: Option<&str>) -> Result<Self, BuildError> {
        let variable = |name| {
            std::env::var(name)
                .ok()
                .filter(|value: &String| !value.is_empty())
        };
        let host = configured.map(str::to_owned).or_else(|| variable("DOCKER_HOST"));
        let host = host.unwrap_or_else(|| DEFAULT_SOCKET.to_owned());
        let certificates = || {
            let home = variable("HOME").unwrap_or_default();
            variable("DOCKER_CERT_PATH").map_or_else(|| Path::new(&home).join(".docker"), PathBuf::from)
        };
        match host.split_once("://") {
            None if host.starts_with('/') => Ok(Self::Unix(host)),
            Some(("unix", path)) => Ok(Self::Unix(path.to_owned())),
            Some(("https", address)) => Ok(Self::Tls {
                address: address.to_owned(),
                certificates: certificates(),
            }),
            Some(("tcp", address)) if variable("DOCKER_TLS_VERIFY").is_some() => Ok(Self::Tls {
                address: address.to_owned(),
                certificates: certificates(),
            }),
            Some(("tcp" | "http", address)) => Ok(Self::Http(address.to_owned())),
            _ => Err(BuildError::Invalid {
                setting: "DOCKER_HOST",
                value: host,
                expected: "like unix:///var/run/docker.sock, tcp://host:2375 or https://host:2376",
            }),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{path}"),
            Self::Http(address) => write!(f, "tcp://{address}"),
            Self::Tls { address, .. } => write!(f, "https://{address}"),
        }
    }
}

/// Why the engine gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Late,
    #[error("{0}")]
    Engine(String),
    /// Not what this version of the API is known to say.
    #[error("cannot read the engine's answer: {0}")]
    Unreadable(String),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        // The outer layers only say that a request failed; the innermost says why.
        let mut reason: &dyn std::error::Error = &fault;
        while let Some(source) = reason.source() {
            reason = source;
        }
        match fault {
            Fault::JsonDataError { .. } | Fault::JsonSerdeError { .. } | Fault::StrParseError { .. } => {
                Self::Unreadable(reason.to_string())
            }
            _ => Self::Engine(reason.to_string()),
        }
    }
}

/// A line of the listing: who is there, and whether it seems to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: Arc<str>,
    pub(crate) up: bool,
}

/// What an event asks of us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) container: Arc<str>,
    pub(crate) what: What,
    /// When the engine says it happened, in nanoseconds of its clock.
    pub(crate) at: i64,
}

/// The little of an event that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Look at it.
    Changed,
    /// Its process has ended: it is of no use until a look shows otherwise.
    Died,
    /// A new life, or the end of all: what was known of its end is over. Look at it.
    Turned,
    /// It was sent this signal, which no inspection can show.
    Signalled(i32),
}

/// A connection to an engine, in a version both sides speak.
#[derive(Clone, Debug)]
pub(crate) struct Docker {
    client: bollard::Docker,
}

impl Docker {
    pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Self, Error> {
        let version = bollard::API_DEFAULT_VERSION;
        let client = match endpoint {
            Endpoint::Unix(path) => bollard::Docker::connect_with_unix(path, NO_LIMIT_SECS, version)?,
            Endpoint::Http(address) => bollard::Docker::connect_with_http(address, NO_LIMIT_SECS, version)?,
            Endpoint::Tls {
                address,
                certificates,
            } => {
                let file = |name| certificates.join(name);
                bollard::Docker::connect_with_ssl(
                    address,
                    &file("key.pem"),
                    &file("cert.pem"),
                    &file("ca.pem"),
                    NO_LIMIT_SECS,
                    version,
                )?
            }
        };
        Ok(Self {
            client: patient(client.negotiate_version()).await?,
        })
    }

    /// Every container, stopped ones included.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, Error> {
        let options = ListContainersOptions {
            all: true,
            ..ListContainersOptions::default()
        };
        let listed = patient(self.client.list_containers(Some(options))).await?;
        let up = |state| {
            use ContainerSummaryStateEnum as S;
            matches!(state, S::RUNNING | S::PAUSED | S::RESTARTING | S::STOPPING)
        };
        let line = |summary: bollard::models::ContainerSummary| {
            Some(Listed {
                id: summary.id?.into(),
                up: summary.state.is_some_and(up),
            })
        };
        Ok(listed.into_iter().filter_map(line).collect())
    }

    /// The facts of one container; `None` if there is no such container.
    pub(crate) async fn inspect(&self, id: &str) -> Result<Option<Container>, Error> {
        match patient(self.client.inspect_container(id, None)).await {
            Ok(answer) => Ok(Some(facts(answer))),
            Err(Refusal::Engine(Fault::DockerResponseServerError { status_code: 404, .. })) => Ok(None),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// What the engine's clock says, in nanoseconds. Over a socket that is our own clock.
    async fn clock(&self, endpoint: &Endpoint) -> Result<i64, Error> {
        if !matches!(endpoint, Endpoint::Unix(_)) {
            let info = patient(self.client.info()).await?;
            if let Some(time) = info.system_time.as_deref().and_then(stream::unix_nanos) {
                return Ok(time);
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX))
    }

    /// What happens from `since` on, that moment included. Ends when the engine does.
    fn events(&self, since: i64) -> impl Stream<Item = Result<Notice, Error>> + Send + use<> {
        let values = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let filters = HashMap::from([
            ("type".to_owned(), values(&["container", "network"])),
            ("event".to_owned(), values(CONTAINER_EVENTS)),
        ]);
        let since = format!("{}.{:09}", since / 1_000_000_000, since % 1_000_000_000);
        let options = EventsOptions {
            since: Some(since),
            until: None,
            filters: Some(filters),
        };
        let client = self.client.clone();
        client
            .events(Some(options))
            .filter_map(async |event| match event {
                Ok(event) => notice(event).map(Ok),
                Err(fault) => Some(Err(fault.into())),
            })
    }
}

/// A request that ended without an answer we can use.
enum Refusal {
    Late,
    Engine(Fault),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Late => Self::Late,
            Refusal::Engine(fault) => fault.into(),
        }
    }
}

async fn patient<T>(request: impl Future<Output = Result<T, Fault>>) -> Result<T, Refusal> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(answer) => answer.map_err(Refusal::Engine),
        Err(_) => Err(Refusal::Late),
    }
}

fn notice(event: EventMessage) -> Option<Notice> {
    let actor = event.actor?;
    let mut attributes = actor.attributes.unwrap_or_default();
    let action = event.action.unwrap_or_default();
    let container = match event.typ? {
        EventMessageTypeEnum::CONTAINER => actor.id?,
        EventMessageTypeEnum::NETWORK => attributes.remove("container")?,
        _ => return None,
    };
    let what = match action.as_str() {
        "kill" => What::Signalled(
            attributes
                .get("signal")
                .and_then(|text| container::signal(text))
                .unwrap_or(container::SIGTERM),
        ),
        "die" => What::Died,
        "start" | "destroy" => What::Turned,
        _ => What::Changed,
    };
    Some(Notice {
        container: container.into(),
        what,
        at: event.time_nano.unwrap_or_default(),
    })
}

/// The facts in an inspect answer. Whatever an engine leaves out is empty.
fn facts(answer: ContainerInspectResponse) -> Container {
    let config = answer.config.unwrap_or_default();
    let host = answer.host_config.unwrap_or_default();
    let settings = answer.network_settings.unwrap_or_default();
    let addresses = settings
        .networks
        .unwrap_or_default()
        .into_iter()
        .map(|(name, endpoint)| {
            let texts = [endpoint.ip_address, endpoint.global_ipv6_address];
            (
                name,
                texts
                    .into_iter()
                    .flatten()
                    .filter_map(|text| text.parse().ok())
                    .collect(),
            )
        });
    Container {
        id: answer.id.unwrap_or_default().into(),
        name: answer.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        hostname: config.hostname.unwrap_or_default(),
        image: config.image.unwrap_or_default(),
        image_id: answer.image.unwrap_or_default(),
        env: config.env.unwrap_or_default(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        exposed: config
            .exposed_ports
            .unwrap_or_default()
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect(),
        bindings: bindings(settings.ports, false),
        asked: bindings(host.port_bindings, true),
        publish_all: host.publish_all_ports.unwrap_or_default(),
        network: Network::from(host.network_mode.as_deref().unwrap_or_default()),
        addresses: addresses.collect(),
        state: state(answer.state.unwrap_or_default()),
        stop_signal: config
            .stop_signal
            .as_deref()
            .and_then(container::signal)
            .unwrap_or(container::SIGTERM),
        stop_timeout: config
            .stop_timeout
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs),
        raw: None,
    }
}

/// Bindings by port. One without a number yet is kept only where the engine is still to choose it.
fn bindings(ports: Option<PortMap>, to_be_chosen: bool) -> BTreeMap<Port, Vec<Binding>> {
    let read = |binding: bollard::models::PortBinding| {
        let address = binding.host_ip.filter(|text| !text.is_empty());
        let port = binding.host_port.and_then(|text| text.parse().ok()).unwrap_or(0);
        Some(Binding {
            address: address.map_or(Some(Ipv4Addr::UNSPECIFIED.into()), |text| {
                text.parse::<IpAddr>().ok()
            })?,
            port,
        })
        .filter(|binding| to_be_chosen || binding.port > 0)
    };
    let entry = |(port, bindings): (String, Option<Vec<_>>)| {
        Some((
            port.parse().ok()?,
            bindings
                .unwrap_or_default()
                .into_iter()
                .filter_map(read)
                .collect(),
        ))
    };
    ports.unwrap_or_default().into_iter().filter_map(entry).collect()
}

fn state(state: ContainerState) -> State {
    let health = state.health.and_then(|health| match health.status? {
        HealthStatusEnum::STARTING => Some(Health::Starting),
        HealthStatusEnum::HEALTHY => Some(Health::Healthy),
        HealthStatusEnum::UNHEALTHY => {
            let last = health
                .log
                .and_then(|mut log| log.pop())
                .and_then(|probe| probe.output);
            Some(Health::Unhealthy(last.unwrap_or_default()))
        }
        HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => None,
    });
    let never = |text: &String| text.is_empty() || text.starts_with("0001-");
    State {
        running: state.running.unwrap_or_default(),
        paused: state.paused.unwrap_or_default(),
        restarting: state.restarting.unwrap_or_default(),
        dead: state.dead.unwrap_or_default(),
        started: state.started_at.is_some_and(|text| !never(&text)),
        exit_code: state.exit_code.unwrap_or_default(),
        oom_killed: state.oom_killed.unwrap_or_default(),
        health,
    }
}

/// Reads a recorded inspect answer, for tests of what follows from it.
#[cfg(test)]
pub(crate) fn read_inspect(json: &str) -> Container {
    facts(serde_json::from_str(json).unwrap())
}
