//! A check: how the health of a node or service is known, and what it last said.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Index;
use crate::command::Refused;
use crate::node::fold;
use crate::service::ServiceSpec;
use crate::state::{Answer, Change, State, on_node};
use crate::topic::Topic;

/// Id of the check that puts a whole node into maintenance.
pub const NODE_MAINTENANCE: &str = "_node_maintenance";
/// Start of the id of the check that puts one service into maintenance; the service id follows.
pub const SERVICE_MAINTENANCE_PREFIX: &str = "_service_maintenance:";
/// Start of the id of the check that says what a container is doing; the service id follows.
pub const CONTAINER_PREFIX: &str = "container:";
/// Id of the check that says whether a node's agent is alive.
pub const SERF_HEALTH: &str = "serfHealth";

/// Outcome of a check, ordered from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Fit for traffic.
    Passing,
    /// Fit for traffic unless a reader asks for passing only.
    Warning,
    /// Not fit.
    Critical,
}

impl Status {
    /// Consul's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        match text {
            "passing" => Ok(Self::Passing),
            "warning" => Ok(Self::Warning),
            "critical" => Ok(Self::Critical),
            _ => Err(UnknownStatus(text.to_owned())),
        }
    }
}

/// A word that is none of `passing`, `warning`, `critical`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("check status '{0}' is unknown; it is one of passing, warning, critical")]
pub struct UnknownStatus(pub String);

/// The worst of several outcomes; passing when there is none.
pub fn worst(statuses: impl IntoIterator<Item = Status>) -> Status {
    statuses.into_iter().max().unwrap_or(Status::Passing)
}

/// What an agent runs, or listens for, to know a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Empty: `service:<service id>` for a service's only check, `service:<service id>:<n>`
    /// (from 1) where it has several, the name for a node's check.
    pub id: Arc<str>,
    /// Empty: `Service '<service name>' check`.
    pub name: String,
    /// For people.
    pub notes: String,
    /// Status until the first result; default critical.
    pub initial: Option<Status>,
    /// Output that goes with `initial`, for a status that was already known.
    pub output: String,
    /// How the status is found.
    pub probe: Probe,
    /// Results in a row before it turns passing; 0 and 1 are the same.
    pub success_before_passing: u32,
    /// Failures in a row before it turns critical; 0 and 1 are the same.
    pub failures_before_critical: u32,
    /// Deregister the service after being critical this long.
    pub deregister_critical_after: Option<Duration>,
}

/// How a status is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// A request answered 2xx passes, 429 warns, anything else is critical.
    Http(HttpProbe),
    /// A connection that opens passes.
    Tcp {
        /// `host:port`.
        address: String,
        /// From one run to the next.
        interval: Duration,
        /// After which a run counts as failed.
        timeout: Duration,
    },
    /// A call of gRPC's health protocol that is answered `SERVING` passes.
    Grpc(GrpcProbe),
    /// A server that answers PING over HTTP/2 passes.
    H2Ping(H2PingProbe),
    /// A datagram that nobody refuses passes, answered or not.
    Udp {
        /// `host:port`.
        address: String,
        /// From one run to the next.
        interval: Duration,
        /// So long an answer or a refusal is waited for.
        timeout: Duration,
    },
    /// A program run in a container: its end with 0 passes, with 1 warns, anything else is critical.
    Docker(Program),
    /// The same, asked for as a program of the host. An agent of ours runs it in the container; an
    /// outside Consul on its host, if it was told to allow that.
    Script(Program),
    /// Somebody must report in time, or it is critical.
    Ttl {
        /// Time between two reports.
        ttl: Duration,
    },
    /// The state of the container behind the service, told by the registrator that watches it.
    Container,
}

impl Probe {
    /// Consul's `Type` of the check.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp { .. } => "tcp",
            Self::Grpc(_) => "grpc",
            Self::H2Ping(_) => "h2ping",
            Self::Udp { .. } => "udp",
            Self::Docker(_) => "docker",
            Self::Script(_) => "script",
            Self::Ttl { .. } => "ttl",
            Self::Container => "container",
        }
    }

    /// From one run to the next, and how long one may take; `None` for what is not run but told.
    #[must_use]
    pub fn pace(&self) -> Option<(Duration, Duration)> {
        match self {
            Self::Http(HttpProbe {
                interval, timeout, ..
            })
            | Self::Grpc(GrpcProbe {
                interval, timeout, ..
            })
            | Self::H2Ping(H2PingProbe {
                interval, timeout, ..
            })
            | Self::Docker(Program {
                interval, timeout, ..
            })
            | Self::Script(Program {
                interval, timeout, ..
            })
            | Self::Tcp {
                interval, timeout, ..
            }
            | Self::Udp {
                interval, timeout, ..
            } => Some((*interval, *timeout)),
            Self::Ttl { .. } | Self::Container => None,
        }
    }
}

/// A health request over HTTP or HTTPS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpProbe {
    /// `http://` or `https://`.
    pub url: String,
    /// Default `GET`.
    pub method: String,
    /// Sent as given; `Host` may be set here.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Sent when not empty.
    pub body: String,
    /// Accept any certificate.
    pub tls_skip_verify: bool,
    /// From one run to the next.
    pub interval: Duration,
    /// After which a run counts as failed.
    pub timeout: Duration,
}

/// A call of `grpc.health.v1.Health/Check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrpcProbe {
    /// `host:port`.
    pub address: String,
    /// The service that is asked about; empty for the server as a whole.
    pub service: String,
    /// Over TLS.
    pub tls: bool,
    /// Accept any certificate.
    pub tls_skip_verify: bool,
    /// From one run to the next.
    pub interval: Duration,
    /// After which a run counts as failed.
    pub timeout: Duration,
}

/// A PING over HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct H2PingProbe {
    /// `host:port`.
    pub address: String,
    /// Over TLS.
    pub tls: bool,
    /// Accept any certificate.
    pub tls_skip_verify: bool,
    /// From one run to the next.
    pub interval: Duration,
    /// After which a run counts as failed.
    pub timeout: Duration,
}

/// A program that is run to know a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Id of the container that asks for it, and in which it is run.
    pub container: Arc<str>,
    /// The program and its arguments; no shell reads them.
    pub args: Vec<String>,
    /// From one run to the next.
    pub interval: Duration,
    /// After which a run counts as failed.
    pub timeout: Duration,
}

/// A status as somebody reports it to the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSpec {
    /// Unique on its node.
    pub id: Arc<str>,
    /// For people.
    pub name: String,
    /// The outcome.
    pub status: Status,
    /// For people.
    pub notes: String,
    /// What the last run said.
    pub output: String,
    /// The service it speaks for; `None` for the node.
    pub service_id: Option<Arc<str>>,
    /// Consul's `Type`: `http`, `tcp`, `ttl`, `maintenance`, …; may be empty.
    pub kind: String,
}

/// A check as recorded on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Name of the node it belongs to.
    pub node: Arc<str>,
    /// What was reported.
    pub spec: CheckSpec,
    /// Name of the service it speaks for; empty for the node.
    pub service_name: Arc<str>,
    /// Tags of that service.
    pub service_tags: Vec<String>,
    /// When it was first recorded.
    pub created: Index,
    /// When it last changed.
    pub modified: Index,
}

impl State {
    /// Checks of a node and of its services, ordered by id.
    #[must_use]
    pub fn checks_on(&self, node: &str) -> Answer<Vec<Arc<Check>>> {
        Answer {
            index: self.checks_index,
            rows: on_node(&self.checks, &fold(node)).cloned().collect(),
        }
    }

    /// Checks that speak for instances of a service; not those of their nodes.
    #[must_use]
    pub fn checks_of(&self, service: &str) -> Answer<Vec<Arc<Check>>> {
        let Answer { index, rows } = self.instances_of(service);
        let checks = rows.iter().flat_map(|instance| &instance.checks);
        let rows = checks
            .filter(|check| check.spec.service_id.is_some())
            .cloned()
            .collect();
        Answer { index, rows }
    }

    /// Checks in one state, or all of them.
    #[must_use]
    pub fn checks_in(&self, status: Option<Status>) -> Answer<Vec<Arc<Check>>> {
        let wanted = |check: &&Arc<Check>| status.is_none_or(|status| check.spec.status == status);
        Answer {
            index: self.checks_index,
            rows: self.checks.values().filter(wanted).cloned().collect(),
        }
    }

    /// One check of one node.
    #[must_use]
    pub fn check_at(&self, node: &str, id: &Arc<str>) -> Option<&Arc<Check>> {
        self.checks.get(&(fold(node), id.clone()))
    }

    /// A check may only speak for a service that is there, or comes with the same command.
    pub(crate) fn allow_check(
        &self,
        node: &Arc<str>,
        spec: &CheckSpec,
        coming: Option<&ServiceSpec>,
    ) -> Result<(), Refused> {
        let Some(id) = &spec.service_id else { return Ok(()) };
        let comes = coming.is_some_and(|service| service.id == *id);
        if comes || self.services.contains_key(&(node.clone(), id.clone())) {
            return Ok(());
        }
        Err(Refused::NoService { node: node.clone() })
    }

    /// Adds or replaces a check on a node that exists. Saying the same again changes nothing.
    pub(crate) fn put_check(&mut self, change: &mut Change, node: &Arc<str>, spec: &CheckSpec) {
        let service = spec
            .service_id
            .as_ref()
            .and_then(|id| self.services.get(&(node.clone(), id.clone())));
        let (service_name, service_tags) = match service {
            Some(service) => (service.spec.name.clone(), service.spec.tags.clone()),
            None => ("".into(), Vec::new()),
        };
        let shown = self
            .nodes
            .get(node)
            .map_or_else(|| node.clone(), |node| node.spec.name.clone());
        let key = (node.clone(), spec.id.clone());
        let before = self.checks.get(&key).cloned();
        let mut check = Check {
            node: shown,
            spec: spec.clone(),
            service_name,
            service_tags,
            created: before.as_ref().map_or(change.index, |known| known.created),
            modified: before.as_ref().map_or(change.index, |known| known.modified),
        };
        if before.as_deref() == Some(&check) {
            return;
        }
        check.modified = change.index;
        if let Some(before) = before.filter(|before| before.spec.service_id != check.spec.service_id) {
            self.touch_check(change, node, &before);
        }
        self.touch_check(change, node, &check);
        self.checks.insert(key, Arc::new(check));
    }

    /// Removes a check; no error when it is not there.
    pub(crate) fn remove_check(&mut self, change: &mut Change, node: &Arc<str>, id: &Arc<str>) {
        if let Some(check) = self.checks.remove(&(node.clone(), id.clone())) {
            self.touch_check(change, node, &check);
        }
    }

    /// Ids of the checks that speak for one service.
    pub(crate) fn checks_of_service(&self, node: &Arc<str>, service: &Arc<str>) -> Vec<Arc<str>> {
        let own = |check: &&Arc<Check>| check.spec.service_id.as_ref() == Some(service);
        on_node(&self.checks, node)
            .filter(own)
            .map(|check| check.spec.id.clone())
            .collect()
    }

    /// Checks repeat their service's name and tags; this keeps the copies true.
    pub(crate) fn retell_checks(&mut self, change: &mut Change, node: &Arc<str>, service: &ServiceSpec) {
        for id in self.checks_of_service(node, &service.id) {
            if let Some(check) = self.checks.get(&(node.clone(), id)).cloned() {
                self.put_check(change, node, &check.spec);
            }
        }
    }

    /// A check of one service moves that service; a check of a node moves every service on it.
    fn touch_check(&mut self, change: &mut Change, node: &Arc<str>, check: &Check) {
        self.checks_index = change.index;
        change.touched.insert(Topic::Checks);
        change.touched.insert(Topic::OnNode(node.clone()));
        let Some(id) = &check.spec.service_id else {
            return self.touch_all_on(change, node);
        };
        if let Some(service) = self.services.get(&(node.clone(), id.clone())).cloned() {
            self.touch_health(change, &service.spec.name);
            change.stale.insert((node.clone(), id.clone()));
        }
    }
}
