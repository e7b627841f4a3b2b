//! The table in fabio's words: `route add …` lines and the rows of `/api/routes`.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use super::Table;
use super::options::Options;
use super::part::Part;
use super::route::{Route, Target, Unfit};
use super::tag::escape;

/// Which weights a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Those asked for; the others are left out.
    Asked,
    /// Those computed.
    Effective,
}

/// One target, as `/api/routes` shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Name of the service.
    pub service: String,
    /// Host of the route.
    pub host: String,
    /// Path of the route.
    pub path: String,
    /// Host and path.
    pub src: String,
    /// Where it leads.
    pub dst: String,
    /// Options, `k=v` parted by blanks.
    pub opts: String,
    /// Effective share, 0 to 1.
    pub weight: f64,
    /// Further tags of the service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Always `route add`.
    pub cmd: &'static str,
    /// Always 0, as in fabio.
    pub rate1: f64,
    /// Always 0, as in fabio.
    pub pct99: f64,
    /// Made from a service's name, not from a tag; fabio has no such routes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub built_in: bool,
}

impl Table {
    /// The table in fabio's language. What that language cannot say (built-in routes,
    /// instances that may not get traffic) is written as comments.
    #[must_use]
    pub fn text(&self, weights: Weights) -> String {
        let mut out = String::new();
        for route in self.listed() {
            for line in route.lines(weights) {
                let comment = if route.kind.is_built_in() {
                    "# built-in: "
                } else {
                    ""
                };
                let _ = writeln!(out, "{comment}{line}");
            }
            for Unfit { instance, why, .. } in route.unfit() {
                let src = escape(&route.source());
                let _ = writeln!(out, "# unfit: {} {src}: {why}", escape(instance));
            }
        }
        out
    }

    /// The table as a tree, as fabio draws it: hosts ascending, their paths, their targets with effective weights and
    /// the slots that each would have on fabio's ring.
    #[must_use]
    pub fn tree(&self) -> String {
        let mut out = String::new();
        let mut routes: Vec<&Route> = self.listed();
        routes.retain(|route| !route.kind.is_built_in());
        let mut hosts: Vec<&[&Route]> = routes.chunk_by(|left, right| left.host == right.host).collect();
        hosts.sort_by_key(|routes| &routes[0].host);
        for (at, routes) in hosts.iter().enumerate() {
            let is_last_host = at + 1 == hosts.len();
            let _ = writeln!(out, "{}host={}", branch(is_last_host), escape(&routes[0].host));
            for (at, route) in routes.iter().enumerate() {
                let is_last = at + 1 == routes.len();
                let indent = if is_last_host { "    " } else { "|   " };
                let _ = writeln!(out, "{indent}{}path={}", branch(is_last), escape(&route.path));
                let indent = format!("{indent}{}", if is_last { "    " } else { "|   " });
                let slots = slots(route);
                let total: u64 = slots.iter().sum();
                for (at, (target, slots)) in route.targets.iter().zip(&slots).enumerate() {
                    let branch = branch(at + 1 == route.targets.len());
                    let (addr, share) = (escape(&target.addr), target.share);
                    let _ = writeln!(
                        out,
                        "{indent}{branch}addr={addr} weight {share:.2} slots {slots}/{total}"
                    );
                }
            }
        }
        out
    }

    /// One row for each target, in the order of [`Table::routes`].
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.routes()
            .flat_map(|route| route.targets.iter().map(move |target| row(route, target)))
            .collect()
    }

    /// In fabio's order: hosts descending, those without a host last, paths descending; then
    /// built-in ones.
    fn listed(&self) -> Vec<&Route> {
        let mut routes: Vec<&Route> = self.routes().map(|route| &**route).collect();
        routes.sort_by(|left, right| {
            let order = (&right.host, &right.path).cmp(&(&left.host, &left.path));
            left.kind.is_built_in().cmp(&right.kind.is_built_in()).then(order)
        });
        routes
    }
}

impl Route {
    /// Host and path.
    #[must_use]
    pub fn source(&self) -> String {
        format!("{}{}", self.host, self.path)
    }

    /// Its targets in fabio's language.
    #[must_use]
    pub fn lines(&self, weights: Weights) -> Vec<String> {
        let src = self.source();
        let line = |target: &Arc<Target>| {
            let weight = match weights {
                Weights::Asked => target.weight,
                Weights::Effective => target.share,
            };
            // fabio leaves a standby out of the effective listing.
            let listed = weights == Weights::Asked || weight > 0.0;
            listed.then(|| line(target, &src, weight))
        };
        self.targets.iter().filter_map(line).collect()
    }
}

impl Part {
    /// Under which built-in names it is reached; none while it is not fit.
    #[must_use]
    pub fn built_in_line(&self) -> Option<String> {
        let named = self.said.named.as_ref().filter(|_| self.verdict.is_fit())?;
        let mut src = format!("{}.*", self.service);
        let derived = format!("{}-{}.*", named.base, named.port);
        if derived != src {
            src = format!("{src},{derived}");
        }
        let src = src.to_lowercase();
        Some(format!(
            "built-in {} {src} http://{}/",
            escape(&self.service),
            self.addr
        ))
    }
}

fn branch(is_last: bool) -> &'static str {
    if is_last { "+-- " } else { "|-- " }
}

/// Slots of each target on fabio's ring: one each where no weight is asked for, else of 10000 by share, at least one.
fn slots(route: &Route) -> Vec<u64> {
    let is_even = route.targets.iter().all(|target| target.weight <= 0.0);
    let slots = |target: &Arc<Target>| match (is_even, target.share > 0.0) {
        (true, _) => 1,
        (false, true) => ((target.share * 10_000.0) as u64).max(1),
        (false, false) => 0,
    };
    route.targets.iter().map(slots).collect()
}

fn row(route: &Route, target: &Target) -> Row {
    let options = &target.options;
    Row {
        service: target.part.service.to_string(),
        host: route.host.to_string(),
        path: route.path.to_string(),
        src: route.source(),
        dst: target.url().into_owned(),
        opts: shown(options),
        weight: target.share,
        tags: options.tags.iter().map(ToString::to_string).collect(),
        cmd: "route add",
        rate1: 0.0,
        pct99: 0.0,
        built_in: route.kind.is_built_in(),
    }
}

fn line(target: &Target, src: &str, weight: f64) -> String {
    let dst = target.url();
    let quoted = |text: &str| escape(text).replace('\\', "\\\\").replace('"', "\\\"");
    let service = match target.part.service.contains(' ') || target.part.service.starts_with('"') {
        true => format!("\"{}\"", quoted(&target.part.service)),
        false => escape(&target.part.service),
    };
    let mut line = format!("route add {service} {} {}", escape(src), escape(&dst));
    if weight > 0.0 {
        let _ = write!(line, " weight {weight:.4}");
    }
    let options = &target.options;
    if !options.tags.is_empty() {
        let _ = write!(line, " tags \"{}\"", quoted(&options.tags.join(",")));
    }
    if !options.shown.is_empty() {
        let _ = write!(line, " opts \"{}\"", quoted(&shown(options)));
    }
    line
}

pub(super) fn shown(options: &Options) -> String {
    let pairs = options.shown.iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(" ")
}
