//! What the operator can choose about the balancer, as meant; reading files and flags is the
//! agent's. The parsers here turn the text of single values, spelled as fabio spells them, into
//! that meaning. Nothing here opens a socket or asks the machine anything.

mod auth;
mod certs;
mod edge;
mod kvlist;
mod listener;
mod net;
mod observe;
mod resilience;
mod secret;
mod tls;
mod ui;

use std::sync::Arc;
use std::time::Duration;

use catalog::Status;

pub use auth::{AUTH_TYPES, AuthKind, AuthScheme, parse_auth};
pub use certs::{Acme, CERT_OPTIONS, CERT_TYPES, CertKind, CertSource, ExternalAccount, parse_certs};
pub use edge::{
    Edge, Gzip, Headers, Sts, parse_bytes, parse_gzip, parse_header, parse_header_name, parse_header_value,
};
pub use kvlist::{BadKvList, Item, kv_list};
pub use listener::{Around, LISTENER_OPTIONS, Listener, Proto, Tls, parse_admin, parse_listeners};
pub use net::IpNet;
pub use observe::{
    AccessLog, LogTarget, Metrics, MetricsTarget, RoutesLog, Traces, parse_buckets, parse_collector,
    parse_log_format, parse_log_target, parse_metrics_targets, parse_names, parse_prefix, parse_remote,
};
pub use resilience::{Outliers, Retries};
pub use secret::{STARS, Secret, masked};
pub use ui::{Access, SourceLinks, Ui, parse_access, parse_ui_path};

/// A value that cannot be meant: which one, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}: {right}")]
pub struct BadValue {
    /// What is wrong, naming the value.
    pub problem: String,
    /// What would be right.
    pub right: String,
}

impl BadValue {
    pub(crate) fn new(problem: impl Into<String>, right: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            right: right.into(),
        }
    }
}

/// How one of several targets is chosen (`proxy.strategy`, `strategy=` of a route). fabio knows the first two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// `rnd`: at random, by weight.
    #[default]
    Rnd,
    /// `rr`: in turn, by weight.
    Rr,
    /// `p2c`: the less loaded of two taken at random by weight.
    P2c,
    /// `least`: the one with the fewest requests under way for its weight.
    Least,
    /// `ip`: the same one for the same client address, as long as it is there.
    Ip,
    /// `cookie:<name>`: the same one for the same value of a cookie of the application's.
    Cookie(Arc<str>),
    /// `header:<name>`: the same one for the same value of a request header.
    Header(Arc<str>),
}

/// How the path of a route is compared (`proxy.matcher`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Matcher {
    /// The request path starts with it; the longest wins.
    #[default]
    Prefix,
    /// As `Prefix`, without regard to ASCII case.
    IPrefix,
    /// The whole request path fits the pattern.
    Glob,
}

/// How many checks of a service must be accepted (`registry.consul.checksRequired`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksRequired {
    /// At least one.
    #[default]
    One,
    /// Every one.
    All,
}

/// Which containers are reachable under built-in host names such as `nginx-80.<node>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostRoutes {
    /// None.
    Off,
    /// Those that may speak HTTP: no UDP, no port that is well known for something else.
    #[default]
    Http,
    /// All of them.
    All,
}

/// Everything the operator can choose.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where requests come in (`proxy.addr`).
    pub listeners: Vec<Listener>,
    /// Where certificates come from (`proxy.cs`).
    pub certs: Vec<CertSource>,
    /// Who may come in (`proxy.auth`).
    pub auth: Vec<AuthScheme>,
    /// Where the routing table is shown (`ui.*`); `None` switches it off.
    pub ui: Option<Ui>,
    /// Choice among targets.
    pub strategy: Strategy,
    /// Comparison of paths.
    pub matcher: Matcher,
    /// Status of a request that no route wants (`proxy.noroutestatus`).
    pub no_route_status: u16,
    /// Time for a connection to a target to open.
    pub dial_timeout: Duration,
    /// Host patterns are compared literally (`glob.matching.disabled`).
    pub glob_disabled: bool,
    /// Headers of every request and answer.
    pub headers: Headers,
    /// Compression of answers.
    pub gzip: Gzip,
    /// What one client may take.
    pub edge: Edge,
    /// Requests that are sent again.
    pub retries: Retries,
    /// Instances that fail.
    pub outliers: Outliers,
    /// TCP keep-alive probes to targets are this far apart (`proxy.keepalivetimeout`); `None`: the system's.
    pub keep_alive: Option<Duration>,
    /// How long an unused connection of HTTP/2 to a target that left stays open (`proxy.grpcshutdowntimeout`).
    pub grpc_shutdown: Duration,
    /// Time for a target to send its response headers; `None` waits for ever.
    pub response_header_timeout: Option<Duration>,
    /// Idle connections to targets are closed after this long.
    pub idle_conn_timeout: Duration,
    /// Idle connections kept for each target (`proxy.maxconn`).
    pub max_idle_per_target: usize,
    /// Time that running requests have to finish on stop (`proxy.shutdownwait`).
    pub shutdown_wait: Duration,
    /// Time of full service after readiness is withdrawn (`proxy.deregistergraceperiod`).
    pub grace: Duration,
    /// Start of the tags that are routes (`registry.consul.tagprefix`).
    pub tag_prefix: String,
    /// Check statuses that are fit for traffic (`registry.consul.service.status`).
    pub accepted: Vec<Status>,
    /// How many checks must be accepted.
    pub checks_required: ChecksRequired,
    /// fabio's rule: an instance without a service check never gets traffic.
    pub require_check: bool,
    /// The access log (`log.access.*`); `None` writes none.
    pub access_log: Option<AccessLog>,
    /// How changes of the table are logged.
    pub routes_log: RoutesLog,
    /// Where metrics go.
    pub metrics: Metrics,
    /// Where traces go.
    pub traces: Traces,
    /// Where overrides are in the key-value store (`registry.consul.kvpath`), without a slash at either end.
    pub kv_path: String,
    /// Peers whose forwarding headers are believed (`proxy.trusted`).
    pub trusted: Vec<IpNet>,
    /// Built-in host names.
    pub host_routes: HostRoutes,
    /// DNS domains under which built-in names are known.
    pub domains: Vec<String>,
    /// Name of this node.
    pub node: String,
    /// Name of this datacenter; `$DC` in tags.
    pub datacenter: String,
    /// Threads that carry traffic, each with its own sockets, pool and counters.
    pub workers: usize,
    /// All of this as it may be shown (`/api/config`): fabio's JSON, secrets masked.
    pub shown: Arc<serde_json::Value>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listeners: vec![Listener::http(listener::any(9999))],
            certs: Vec::new(),
            auth: Vec::new(),
            ui: Some(Ui::default()),
            strategy: Strategy::default(),
            matcher: Matcher::default(),
            no_route_status: 404,
            dial_timeout: Duration::from_secs(30),
            glob_disabled: false,
            headers: Headers::default(),
            gzip: Gzip::default(),
            edge: Edge::default(),
            retries: Retries::default(),
            outliers: Outliers::default(),
            keep_alive: None,
            grpc_shutdown: Duration::from_secs(2),
            response_header_timeout: None,
            idle_conn_timeout: Duration::from_secs(15),
            max_idle_per_target: 10_000,
            shutdown_wait: Duration::ZERO,
            grace: Duration::ZERO,
            tag_prefix: "urlprefix-".to_owned(),
            accepted: vec![Status::Passing],
            checks_required: ChecksRequired::default(),
            require_check: false,
            access_log: None,
            routes_log: RoutesLog::default(),
            metrics: Metrics::default(),
            traces: Traces::default(),
            kv_path: "fabio/config".to_owned(),
            trusted: Vec::new(),
            host_routes: HostRoutes::default(),
            domains: vec!["consul".to_owned()],
            node: "localhost".to_owned(),
            datacenter: "dc1".to_owned(),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            shown: Arc::default(),
        }
    }
}

/// `proxy.strategy`, `strategy=`: `rnd`, `rr`, `p2c`, `least`, `ip`, `cookie:<name>` or `header:<name>`.
pub fn parse_strategy(text: &str) -> Result<Strategy, BadValue> {
    let named = |kind: &str| text.strip_prefix(kind).filter(|name| token(name)).map(Arc::from);
    match text {
        "rnd" => Ok(Strategy::Rnd),
        "rr" => Ok(Strategy::Rr),
        "p2c" => Ok(Strategy::P2c),
        "least" => Ok(Strategy::Least),
        "ip" => Ok(Strategy::Ip),
        _ => named("cookie:")
            .map(Strategy::Cookie)
            .or_else(|| named("header:").map(Strategy::Header))
            .ok_or_else(|| {
                BadValue::new(
                    format!("invalid proxy.strategy: {text}"),
                    "it is rnd, rr, p2c, least, ip, cookie:<name> or header:<name>",
                )
            }),
    }
}

/// Names of headers and cookies have the same characters (RFC 9110, 5.6.2; RFC 6265, 4.1.1).
fn token(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !text.is_empty() && text.chars().all(fits)
}

/// `proxy.matcher`: `prefix`, `iprefix` or `glob`.
pub fn parse_matcher(text: &str) -> Result<Matcher, BadValue> {
    match text {
        "prefix" => Ok(Matcher::Prefix),
        "iprefix" => Ok(Matcher::IPrefix),
        "glob" => Ok(Matcher::Glob),
        _ => Err(BadValue::new(
            format!("invalid proxy.matcher: {text}"),
            "it is prefix, iprefix or glob",
        )),
    }
}

/// `registry.consul.checksRequired`: `one` or `all`.
pub fn parse_checks_required(text: &str) -> Result<ChecksRequired, BadValue> {
    match text {
        "one" => Ok(ChecksRequired::One),
        "all" => Ok(ChecksRequired::All),
        _ => Err(BadValue::new(
            format!("invalid checksRequired: {text}"),
            "it is one or all",
        )),
    }
}

/// Built-in host names: `off`, `http` or `all`.
pub fn parse_host_routes(text: &str) -> Result<HostRoutes, BadValue> {
    match text {
        "off" => Ok(HostRoutes::Off),
        "http" => Ok(HostRoutes::Http),
        "all" => Ok(HostRoutes::All),
        _ => Err(BadValue::new(
            format!("invalid host routes: {text}"),
            "it is off, http or all",
        )),
    }
}

/// `registry.consul.service.status`: a comma-separated list, at least one.
pub fn parse_statuses(text: &str) -> Result<Vec<Status>, BadValue> {
    let right = "it is a list of passing, warning, critical";
    let mut accepted = Vec::new();
    for word in words(text) {
        // fabio also takes `unknown`, a status that Consul gave up; no check can have it.
        if word == "unknown" {
            continue;
        }
        let status: Status = word
            .parse()
            .map_err(|_| BadValue::new(format!("invalid service.status: {word}"), right))?;
        if !accepted.contains(&status) {
            accepted.push(status);
        }
    }
    if accepted.is_empty() {
        return Err(BadValue::new(
            format!("invalid service.status: '{text}' names no status"),
            right,
        ));
    }
    Ok(accepted)
}

/// `proxy.noroutestatus`: a status code. fabio takes 100 to 199, too, after which clients go on waiting for the answer.
pub fn parse_no_route_status(text: &str) -> Result<u16, BadValue> {
    match text.parse() {
        Ok(code @ 200..=999) => Ok(code),
        _ => Err(BadValue::new(
            "proxy.noroutestatus must be between 200 and 999",
            match text.parse() {
                Ok(100..=199) => format!("'{text}' only announces an answer"),
                _ => format!("it is '{text}'"),
            },
        )),
    }
}

/// `proxy.trusted`: a comma-separated list of addresses and networks.
pub fn parse_networks(text: &str) -> Result<Vec<IpNet>, BadValue> {
    words(text).map(str::parse).collect()
}

/// The items of a KV list.
fn items(name: &str, text: &str) -> Result<Vec<Item>, BadValue> {
    kv_list(text).map_err(|bad| BadValue::new(format!("{name}: {bad}"), "close what a \" opens"))
}

/// The items of a KV list that mean something, and what is wrong with the others; of two with one name the later counts.
fn each<T>(
    option: &str,
    text: &str,
    read: impl Fn(&Item) -> Result<T, BadValue>,
    name: impl Fn(&T) -> &Arc<str>,
) -> (Vec<T>, Vec<BadValue>) {
    let (mut good, mut bad): (Vec<T>, Vec<BadValue>) = Default::default();
    match items(option, text) {
        Err(unreadable) => bad.push(unreadable),
        Ok(items) => items.iter().map(read).for_each(|one| match one {
            Ok(one) => {
                good.retain(|earlier| name(earlier) != name(&one));
                good.push(one);
            }
            Err(wrong) => bad.push(wrong),
        }),
    }
    (good, bad)
}

/// A duration in an option of a KV list.
fn duration(name: &str, key: &str, text: &str) -> Result<Duration, BadValue> {
    catalog::duration::parse(text).map_err(|_| {
        BadValue::new(
            format!("{name}: {key}={text} is no duration"),
            "it is a number with its unit, for example 250ms, 5s or 1m30s",
        )
    })
}

/// fabio takes exactly `true`, and everything else for false.
fn truth(name: &str, key: &str, value: &str) -> Result<bool, BadValue> {
    match value {
        "true" => Ok(true),
        "false" | "" => Ok(false),
        _ => Err(BadValue::new(
            format!("{name}: {key}={value} is neither true nor false"),
            "it is true or false",
        )),
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests;
