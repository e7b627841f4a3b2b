//! A check to register: read from a client, or written for an outside Consul.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::check::{Definition, GrpcProbe, H2PingProbe, HttpProbe, Probe};
use catalog::duration;
use serde::Serialize;

use crate::wire::body::{self, BodyError, Fields};

type Result<T> = std::result::Result<T, BodyError>;

/// Runs closer together than this help nobody.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// A shorter patience would deregister services over a restart.
const MIN_DEREGISTER: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Kinds of checks that this version does not run, by the fields that ask for them.
const NOT_YET: [(&[&str], &str); 2] = [
    (
        &["AliasService", "alias_service", "AliasNode", "alias_node"],
        "alias",
    ),
    (&["OSService", "os_service"], "OSService"),
];

/// Fields that tune what this version does not do, or that only say the default.
const IGNORED: [&str; 11] = [
    "Shell",
    "TLSServerName",
    "OutputMaxSize",
    "ProxyHTTP",
    "ProxyGRPC",
    "DisableRedirects",
    "FailuresBeforeWarning",
    "Token",
    "Namespace",
    "Partition",
    "EnterpriseMeta",
];

/// A check that `agent/check/register` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRequest {
    /// What to run or listen for.
    pub definition: Definition,
    /// The service it speaks for; `None` for the node.
    pub service_id: Option<String>,
}

/// Reads the body of `agent/check/register`.
///
/// # Errors
/// In Consul's words.
pub fn check(body: &[u8]) -> Result<CheckRequest> {
    let mut fields = Fields::parse(body)?;
    let id = fields.text(&["ID"])?;
    let service_id = fields.text(&["ServiceID", "service_id"])?;
    let mut draft = Draft::take(&mut fields)?;
    fields.finish()?;
    if draft.name.is_empty() {
        return Err(BodyError::Invalid("Missing check name".to_owned()));
    }
    for fallback in [id, draft.name.clone()] {
        if draft.id.is_empty() {
            draft.id = fallback;
        }
    }
    let definition = draft.define("Bad check status")?;
    Ok(CheckRequest {
        definition,
        service_id: (!service_id.is_empty()).then_some(service_id),
    })
}

/// Reads a check inside a service. A lone `Check` that says nothing is as good as none.
pub(super) fn embedded(mut fields: Fields, may_be_blank: bool) -> Result<Option<Definition>> {
    let draft = Draft::take(&mut fields)?;
    // Never its own: a check inside a service speaks for that service.
    fields.ignore(&["ServiceID", "service_id"]);
    fields.finish()?;
    if may_be_blank && draft == Draft::default() {
        return Ok(None);
    }
    draft
        .define("Status for checks must 'passing', 'warning', 'critical'")
        .map(Some)
}

/// The fields as given, before they are made sense of.
#[derive(Debug, Default, PartialEq, Eq)]
struct Draft {
    id: String,
    name: String,
    notes: String,
    status: String,
    http: String,
    method: String,
    headers: BTreeMap<String, Vec<String>>,
    body: String,
    tcp: String,
    grpc: String,
    grpc_tls: bool,
    h2ping: String,
    h2ping_plain: bool,
    udp: String,
    scripted: bool,
    not_yet: Option<&'static str>,
    tls_skip_verify: bool,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    ttl: Option<Duration>,
    success_before_passing: u32,
    failures_before_critical: u32,
    deregister_after: Option<Duration>,
}

impl Draft {
    fn take(fields: &mut Fields) -> Result<Self> {
        let count = |number: Option<i64>| u32::try_from(number.unwrap_or(0).max(0)).unwrap_or(u32::MAX);
        let mut not_yet = None;
        for (names, kind) in NOT_YET {
            for name in names {
                if fields.asks_for(&[name]) {
                    not_yet = Some(kind);
                }
            }
        }
        let draft = Self {
            id: fields.text(&["CheckID"])?,
            name: fields.text(&["Name"])?,
            notes: fields.text(&["Notes"])?,
            status: fields.text(&["Status"])?,
            http: fields.text(&["HTTP"])?,
            method: fields.text(&["Method"])?,
            headers: fields.headers(&["Header"])?,
            body: fields.text(&["Body"])?,
            tcp: fields.text(&["TCP"])?,
            grpc: fields.text(&["GRPC"])?,
            grpc_tls: fields.flag(&["GRPCUseTLS"])?,
            h2ping: fields.text(&["H2PING"])?,
            h2ping_plain: !fields.flag_or(&["H2PingUseTLS"], true)?,
            udp: fields.text(&["UDP"])?,
            scripted: !fields.texts(&["ScriptArgs", "Args", "script_args"])?.is_empty()
                | fields.asks_for(&["Script"])
                | fields.asks_for(&["DockerContainerID", "docker_container_id"]),
            not_yet,
            tls_skip_verify: fields.flag(&["TLSSkipVerify", "tls_skip_verify"])?,
            interval: fields.duration(&["Interval"])?,
            timeout: fields.duration(&["Timeout"])?,
            ttl: fields.duration(&["TTL"])?,
            success_before_passing: count(fields.integer(&["SuccessBeforePassing"])?),
            failures_before_critical: count(fields.integer(&["FailuresBeforeCritical"])?),
            deregister_after: fields.duration(&[
                "DeregisterCriticalServiceAfter",
                "deregister_critical_service_after",
            ])?,
        };
        IGNORED.iter().for_each(|field| fields.ignore(&[field]));
        Ok(draft)
    }

    fn define(self, bad_status: &str) -> Result<Definition> {
        body::check_id("check", &self.id)?;
        let initial = match self.status.as_str() {
            "" => None,
            word => Some(
                word.parse()
                    .map_err(|_| BodyError::Invalid(bad_status.to_owned()))?,
            ),
        };
        let deregister_critical_after = self.deregister_after.filter(|after| !after.is_zero());
        Ok(Definition {
            probe: self.probe()?,
            id: self.id.into(),
            name: self.name,
            notes: self.notes,
            initial,
            output: String::new(),
            success_before_passing: self.success_before_passing,
            failures_before_critical: self.failures_before_critical,
            deregister_critical_after: deregister_critical_after.map(|after| after.max(MIN_DEREGISTER)),
        })
    }

    fn probe(&self) -> Result<Probe> {
        let invalid = |text: &str| Err(BodyError::Invalid(format!("Invalid check: {text}")));
        if self.scripted {
            let text = "Scripts are disabled on this agent from remote calls; \
                        to enable, configure 'enable_script_checks' to true";
            return Err(BodyError::Refused(text.to_owned()));
        }
        if let Some(kind) = self.not_yet {
            return invalid(&format!(
                "{kind} checks are not supported by this version of Lictor"
            ));
        }
        let (interval, ttl) = (self.interval.unwrap_or_default(), self.ttl.unwrap_or_default());
        let timeout = self
            .timeout
            .filter(|timeout| !timeout.is_zero())
            .unwrap_or(TIMEOUT);
        let asked: Vec<&str> = [
            ("HTTP", &self.http),
            ("TCP", &self.tcp),
            ("GRPC", &self.grpc),
            ("H2PING", &self.h2ping),
            ("UDP", &self.udp),
        ]
        .into_iter()
        .filter_map(|(kind, target)| (!target.is_empty()).then_some(kind))
        .collect();
        match *asked {
            [] if !interval.is_zero() && !ttl.is_zero() => {
                invalid("Interval and TTL cannot both be specified")
            }
            [] if ttl.is_zero() => invalid("TTL must be > 0 for TTL checks"),
            [] => Ok(Probe::Ttl { ttl }),
            [one, other, ..] => invalid(&format!("{one} and {other} cannot both be specified")),
            _ if interval.is_zero() => invalid("Interval must be > 0 for Script, HTTP, or TCP checks"),
            _ if !ttl.is_zero() => invalid("Interval and TTL cannot both be specified"),
            [kind] => Ok(self.polled(kind, interval.max(MIN_INTERVAL), timeout)),
        }
    }

    /// A check of this kind, whose target is given.
    fn polled(&self, kind: &str, interval: Duration, timeout: Duration) -> Probe {
        let tls_skip_verify = self.tls_skip_verify;
        match kind {
            "HTTP" => Probe::Http(HttpProbe {
                url: self.http.clone(),
                method: match self.method.as_str() {
                    "" => "GET".to_owned(),
                    method => method.to_owned(),
                },
                headers: self.headers.clone(),
                body: self.body.clone(),
                tls_skip_verify,
                interval,
                timeout,
            }),
            "GRPC" => {
                let (address, service) = self.grpc.split_once('/').unwrap_or((&self.grpc, ""));
                Probe::Grpc(GrpcProbe {
                    address: address.to_owned(),
                    service: service.to_owned(),
                    tls: self.grpc_tls,
                    tls_skip_verify,
                    interval,
                    timeout,
                })
            }
            "H2PING" => Probe::H2Ping(H2PingProbe {
                address: self.h2ping.clone(),
                tls: !self.h2ping_plain,
                tls_skip_verify,
                interval,
                timeout,
            }),
            "UDP" => Probe::Udp {
                address: self.udp.clone(),
                interval,
                timeout,
            },
            _ => Probe::Tcp {
                address: self.tcp.clone(),
                interval,
                timeout,
            },
        }
    }
}

/// A check as it is registered with an outside Consul.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CheckBody {
    #[serde(rename = "CheckID", skip_serializing_if = "str::is_empty")]
    id: Arc<str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "ServiceID", skip_serializing_if = "String::is_empty")]
    service_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    notes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<catalog::Status>,
    #[serde(rename = "HTTP", skip_serializing_if = "String::is_empty")]
    http: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    method: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    header: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    body: String,
    #[serde(rename = "TLSSkipVerify", skip_serializing_if = "std::ops::Not::not")]
    tls_skip_verify: bool,
    #[serde(rename = "TCP", skip_serializing_if = "String::is_empty")]
    tcp: String,
    #[serde(rename = "GRPC", skip_serializing_if = "String::is_empty")]
    grpc: String,
    #[serde(rename = "GRPCUseTLS", skip_serializing_if = "std::ops::Not::not")]
    grpc_use_tls: bool,
    #[serde(rename = "H2PING", skip_serializing_if = "String::is_empty")]
    h2ping: String,
    #[serde(rename = "H2PingUseTLS", skip_serializing_if = "Option::is_none")]
    h2ping_use_tls: Option<bool>,
    #[serde(rename = "UDP", skip_serializing_if = "String::is_empty")]
    udp: String,
    #[serde(rename = "DockerContainerID", skip_serializing_if = "str::is_empty")]
    docker_container_id: Arc<str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    interval: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    timeout: String,
    #[serde(rename = "TTL", skip_serializing_if = "String::is_empty")]
    ttl: String,
    #[serde(skip_serializing_if = "is_zero")]
    success_before_passing: u32,
    #[serde(skip_serializing_if = "is_zero")]
    failures_before_critical: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    deregister_critical_service_after: String,
}

impl CheckBody {
    /// How a check is asked for; `None` for one that an agent can neither run nor listen for.
    #[must_use]
    pub fn of(definition: &Definition) -> Option<Self> {
        let time = |time: Duration| duration::format(time);
        let (interval, timeout) = definition.probe.pace().unzip();
        let common = Self {
            id: definition.id.clone(),
            name: definition.name.clone(),
            notes: definition.notes.clone(),
            status: definition.initial,
            interval: interval.map(time).unwrap_or_default(),
            timeout: timeout.map(time).unwrap_or_default(),
            success_before_passing: definition.success_before_passing,
            failures_before_critical: definition.failures_before_critical,
            deregister_critical_service_after: definition
                .deregister_critical_after
                .map(time)
                .unwrap_or_default(),
            ..Self::default()
        };
        Some(match &definition.probe {
            Probe::Container => return None,
            Probe::Ttl { ttl } => Self {
                ttl: time(*ttl),
                ..common
            },
            Probe::Tcp { address, .. } => Self {
                tcp: address.clone(),
                ..common
            },
            Probe::Udp { address, .. } => Self {
                udp: address.clone(),
                ..common
            },
            Probe::Http(http) => Self {
                http: http.url.clone(),
                method: http.method.clone(),
                header: http.headers.clone(),
                body: http.body.clone(),
                tls_skip_verify: http.tls_skip_verify,
                ..common
            },
            Probe::Grpc(grpc) => Self {
                grpc: match grpc.service.as_str() {
                    "" => grpc.address.clone(),
                    service => format!("{}/{service}", grpc.address),
                },
                grpc_use_tls: grpc.tls,
                tls_skip_verify: grpc.tls_skip_verify,
                ..common
            },
            Probe::H2Ping(ping) => Self {
                h2ping: ping.address.clone(),
                h2ping_use_tls: Some(ping.tls),
                tls_skip_verify: ping.tls_skip_verify,
                ..common
            },
            Probe::Docker(program) => Self {
                docker_container_id: program.container.clone(),
                args: program.args.clone(),
                ..common
            },
            Probe::Script(program) => Self {
                args: program.args.clone(),
                ..common
            },
        })
    }

    /// The same as a check of its own rather than one inside a service.
    #[must_use]
    pub fn for_service(mut self, service: Option<&str>) -> Self {
        service.unwrap_or_default().clone_into(&mut self.service_id);
        if self.name.is_empty() {
            self.name = self.id.to_string();
        }
        self
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
