//! What one instance brings to the table: its routes, its bad tags, its built-in names and whether it
//! gets traffic. A table is made of parts; only the part of a changed instance is made anew.

use std::sync::{Arc, LazyLock};

use catalog::Instance;
use catalog::service::{META_BASE, META_PORT};

use super::Skipped;
use super::tag::{self, Definition, shorten};
use crate::config::{Config, HostRoutes};
use crate::health::{self, Verdict};

/// Container ports well known for something other than HTTP.
const NOT_HTTP: [u16; 42] = [
    20, 21, 22, 23, 25, 53, 69, 110, 123, 135, 139, 143, 161, 389, 445, 465, 514, 587, 636, 873, 993, 995,
    1433, 1521, 1883, 2049, 2181, 3306, 3389, 4222, 5432, 5671, 5672, 5900, 6379, 6380, 8883, 9042, 9092,
    11211, 26379, 27017,
];
/// Consul's kind of a sidecar, which inherits the tags of the service beside it.
const SIDECAR: &str = "connect-proxy";

/// One instance, as far as the table cares.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Name of the service.
    pub service: Arc<str>,
    /// Id of the instance on its node.
    pub instance: Arc<str>,
    /// Name of its node.
    pub node: Arc<str>,
    /// `host:port`.
    pub addr: Arc<str>,
    /// Whether it gets traffic.
    pub verdict: Verdict,
    /// What it says of itself. Apart, since the many targets that commands name say nothing.
    pub said: Arc<Said>,
}

/// What an instance says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// What its tags ask for.
    pub definitions: Vec<Definition>,
    /// Tags that ask for nothing that can be had.
    pub skipped: Arc<[Skipped]>,
    /// Tags that make a route and say something that has no effect.
    pub notes: Arc<[Skipped]>,
    /// Under which built-in names it is known.
    pub named: Option<Named>,
}

/// What built-in names are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Service name before any port suffix.
    pub base: Box<str>,
    /// Port inside the container.
    pub port: u16,
}

impl Part {
    /// The part of one instance.
    #[must_use]
    pub fn of(config: &Config, instance: &Instance) -> Self {
        let spec = &instance.service.spec;
        let verdict = health::verdict(config, instance);
        let said = match spec.kind == SIDECAR {
            true => Said::nothing(),
            false => Arc::new(Said::by(config, instance, verdict)),
        };
        Self {
            service: spec.name.clone(),
            instance: spec.id.clone(),
            node: instance.node.spec.name.clone(),
            addr: authority(instance.address(), spec.port).into(),
            verdict,
            said,
        }
    }

    /// A target that a command names. Nobody checks it, so it is fit.
    pub(super) fn of_command(service: &str, addr: Arc<str>) -> Self {
        Self {
            service: service.into(),
            instance: Arc::default(),
            node: Arc::default(),
            addr,
            verdict: Verdict::Fit,
            said: Said::nothing(),
        }
    }

    /// Whether any route leads to it.
    #[must_use]
    pub fn is_target(&self) -> bool {
        self.verdict.is_fit() && !(self.said.definitions.is_empty() && self.said.named.is_none())
    }

    /// Whether it changes anything in a table.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let said = &*self.said;
        said.definitions.is_empty() && said.skipped.is_empty() && said.named.is_none()
    }
}

impl Said {
    /// One for all that say nothing.
    fn nothing() -> Arc<Self> {
        static NOTHING: LazyLock<Arc<Said>> = LazyLock::new(Arc::default);
        NOTHING.clone()
    }

    fn by(config: &Config, instance: &Instance, verdict: Verdict) -> Self {
        let (spec, mut said) = (&instance.service.spec, Self::default());
        // Nobody connects to an instance that is not fit, so its address may be anything: a stopped
        // container has no port, and yet its routes are known.
        let unreachable = verdict
            .is_fit()
            .then(|| unreachable(instance.address(), spec.port))
            .flatten();
        if unreachable.is_none() {
            said.named = named(config, instance);
        }
        let is_ours = |tag: &&str| tag.trim().starts_with(&*config.tag_prefix);
        let tags = || spec.tags.iter().map(|tag| &**tag);
        let others: Vec<&str> = tags().filter(|tag| !is_ours(tag)).collect();
        let (mut skipped, mut notes) = (Vec::new(), Vec::new());
        let remark = |tag, reason| Skipped {
            service: spec.name.clone(),
            instance: spec.id.clone(),
            tag: shorten(tag),
            reason,
        };
        for tag in tags() {
            match (tag::parse(config, tag, &others), &unreachable) {
                (None, _) => {}
                (Some(Err(bad)), _) => skipped.push(remark(tag, bad.to_string())),
                (Some(Ok(_)), Some(reason)) => skipped.push(remark(tag, reason.clone())),
                (Some(Ok((definition, words))), None) => {
                    said.definitions.push(definition);
                    notes.extend(words.into_iter().map(|words| remark(tag, words)));
                }
            }
        }
        skipped.sort();
        said.skipped = skipped.into();
        said.notes = notes.into();
        said
    }
}

fn authority(address: &str, port: u16) -> String {
    if address.contains(':') && !address.starts_with('[') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

/// Why nobody could connect to it, whatever its tags say.
fn unreachable(address: &str, port: u16) -> Option<String> {
    let outlandish =
        |c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '@' | '?' | '#' | '"');
    if port == 0 {
        Some("the service has no port".to_owned())
    } else if address.is_empty() || address.contains(outlandish) {
        Some(format!("'{}' is no address", shorten(address)))
    } else {
        None
    }
}

fn named(config: &Config, instance: &Instance) -> Option<Named> {
    let spec = &instance.service.spec;
    let base = spec.meta.get(META_BASE)?;
    let port = spec.meta.get(META_PORT)?.parse().ok()?;
    // The catalog itself is never published: who reaches it reaches everything.
    if spec.name.eq_ignore_ascii_case("consul") || base.eq_ignore_ascii_case("consul") {
        return None;
    }
    let wanted = match config.host_routes {
        HostRoutes::Off => false,
        HostRoutes::All => true,
        HostRoutes::Http => may_speak_http(instance, port),
    };
    wanted.then(|| Named {
        base: base.as_str().into(),
        port,
    })
}

fn may_speak_http(instance: &Instance, port: u16) -> bool {
    let spec = &instance.service.spec;
    let says_http = instance
        .checks
        .iter()
        .any(|check| check.spec.service_id.is_some() && check.spec.kind == "http");
    says_http || !(NOT_HTTP.contains(&port) || spec.tags.iter().any(|tag| tag == "udp"))
}
