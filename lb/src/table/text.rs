//! The table in fabio's words: `route add …` lines and the rows of `/api/routes`.

use std::fmt::Write as _;

use serde::Serialize;

use super::Table;
use super::options::{Options, Scheme};
use super::part::Part;
use super::route::{Place, Route, Target, Unfit};
use super::tag::{Source, escape};

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
            let comment = if route.kind.is_built_in() {
                "# built-in: "
            } else {
                ""
            };
            let src = format!("{}{}", route.host, route.path);
            for target in &route.targets {
                let weight = match weights {
                    Weights::Asked => target.options.weight,
                    Weights::Effective => target.share,
                };
                // fabio leaves a standby out of the effective listing.
                if weights == Weights::Effective && weight <= 0.0 {
                    continue;
                }
                let dst = destination(&target.addr, &target.options);
                let _ = writeln!(
                    out,
                    "{comment}{}",
                    line(&target.service, &src, &dst, weight, &target.options)
                );
            }
            for Unfit { instance, why, .. } in &route.unfit {
                let _ = writeln!(out, "# unfit: {} {}: {why}", escape(instance), escape(&src));
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

impl Part {
    /// What it adds to the table, one line for each target; nothing while it is not fit.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        if !self.verdict.is_fit() {
            return Vec::new();
        }
        let line = |source: &Source, options: &Options| {
            let place = Place::of(source);
            let dst = destination(&self.addr, options);
            let src = format!("{}{}", place.host, place.path);
            line(&self.service, &src, &dst, options.weight, options)
        };
        let tagged = self
            .definitions
            .iter()
            .map(|each| line(&each.source, &each.options));
        let named = self.named.as_ref().map(|named| {
            let mut src = format!("{}.*", self.service);
            let derived = format!("{}-{}.*", named.base, named.port);
            if derived != src {
                src = format!("{src},{derived}");
            }
            let src = src.to_lowercase();
            format!("built-in {} {src} http://{}/", escape(&self.service), self.addr)
        });
        tagged.chain(named).collect()
    }
}

fn row(route: &Route, target: &Target) -> Row {
    let options = &target.options;
    Row {
        service: target.service.to_string(),
        host: route.host.to_string(),
        path: route.path.to_string(),
        src: format!("{}{}", route.host, route.path),
        dst: destination(&target.addr, options),
        opts: shown(options),
        weight: target.share,
        tags: options.tags.iter().map(ToString::to_string).collect(),
        cmd: "route add",
        rate1: 0.0,
        pct99: 0.0,
        built_in: route.kind.is_built_in(),
    }
}

fn line(service: &str, src: &str, dst: &str, weight: f64, options: &Options) -> String {
    let mut line = format!("route add {} {} {}", escape(service), escape(src), escape(dst));
    if weight > 0.0 {
        let _ = write!(line, " weight {weight:.4}");
    }
    if !options.tags.is_empty() {
        let _ = write!(line, " tags \"{}\"", escape(&options.tags.join(",")));
    }
    if !options.shown.is_empty() {
        let _ = write!(line, " opts \"{}\"", escape(&shown(options)));
    }
    line
}

fn destination(addr: &str, options: &Options) -> String {
    match (&options.redirect, options.scheme) {
        (Some(redirect), _) => redirect.url.to_string(),
        (None, Scheme::Http) => format!("http://{addr}/"),
        (None, scheme) => format!("{}://{addr}", scheme.as_str()),
    }
}

fn shown(options: &Options) -> String {
    let pairs = options.shown.iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(" ")
}
