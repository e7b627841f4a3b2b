//! What is shown as JSON, beside what the table says of itself; and the word to read the configuration again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::View;
use super::answer::{Answer, json, plain};
use super::guard::Who;
use crate::http::path::Path;
use crate::outlier::{Cause, Seen, Standing};
use crate::table::{Route, Table, Target};

/// Longest that reading the configuration may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one target does.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub service: String,
    /// Host and path.
    pub src: String,
    pub target: String,
    /// Empty, or that it is passed over, and why.
    pub state: String,
    pub requests: u64,
    /// Of these, answered with a status from 500, or not at all.
    pub errors: u64,
    pub in_flight: u64,
    /// Bytes from the target to clients, and from clients to the target.
    pub rx: u64,
    pub tx: u64,
    /// Seconds; 0 without requests.
    pub p50: f64,
    pub p99: f64,
}

impl Figures {
    pub(super) fn of(route: &Route, target: &Target, standings: &Standings) -> Self {
        let counted = target.stats.snapshot();
        let quantile = |share| counted.times.quantile(share).unwrap_or(0.0);
        Self {
            service: target.service.to_string(),
            src: format!("{}{}", route.host, route.path),
            target: target.addr.to_string(),
            state: standings.get(&*target.addr).cloned().unwrap_or_default(),
            requests: counted.requests(),
            errors: counted.classes[5],
            in_flight: target.load.now(),
            rx: counted.rx,
            tx: counted.tx,
            p50: quantile(0.5),
            p99: quantile(0.99),
        }
    }
}

/// Addresses that are not in good standing, and how they stand in words.
pub(super) type Standings = HashMap<std::sync::Arc<str>, String>;

/// How they stand now.
pub(super) fn standings(view: &View) -> Standings {
    let seen = view
        .outliers
        .iter()
        .flat_map(|outliers| outliers.seen(Instant::now()));
    let words = |seen: &Seen| {
        let why = match seen.cause {
            Cause::Absent => "takes no connections",
            Cause::Failing => "fails",
        };
        match seen.standing {
            Standing::Returning(share) => format!("returning with {:.0}% of its share: {why}", share * 100.0),
            _ => format!("ejected for {} s: {why}", seen.left.as_secs() + 1),
        }
    };
    seen.map(|seen| (seen.address.clone(), words(&seen))).collect()
}

/// What all targets do.
pub(super) fn live(table: &Table, standings: &Standings) -> Vec<Figures> {
    let targets = table
        .routes()
        .flat_map(|route| route.targets.iter().map(move |target| (route, target)));
    targets
        .map(|(route, target)| Figures::of(route, target, standings))
        .collect()
}

/// Which route and target would serve a request, and which come after.
#[derive(Debug, Serialize)]
struct Explained {
    host: String,
    /// As it is compared: cleaned and decoded.
    path: String,
    tls: bool,
    /// Status that the balancer itself would answer; `None`: a target is asked.
    status: Option<u16>,
    /// In words.
    why: String,
    route: Option<Shown>,
    /// Routes that would be next if those before were not there, in order.
    after: Vec<Shown>,
}

/// A route and what is behind it.
#[derive(Debug, Serialize)]
struct Shown {
    src: String,
    service: String,
    built_in: bool,
    targets: Vec<Behind>,
    /// Instances that belong here and get nothing, and why.
    unfit: Vec<Refused>,
}

#[derive(Debug, Serialize)]
struct Behind {
    service: String,
    instance: String,
    dst: String,
    /// Share of the requests, 0 to 1.
    weight: f64,
    opts: String,
    in_flight: u64,
}

#[derive(Debug, Serialize)]
struct Refused {
    service: String,
    instance: String,
    why: String,
}

impl Shown {
    fn of(route: &Route) -> Self {
        let behind = |target: &std::sync::Arc<Target>| {
            let shown = target.options.shown.iter();
            let opts: Vec<String> = shown.map(|(key, value)| format!("{key}={value}")).collect();
            Behind {
                service: target.service.to_string(),
                instance: target.instance.to_string(),
                dst: target.url().into_owned(),
                weight: target.share,
                opts: opts.join(" "),
                in_flight: target.load.now(),
            }
        };
        let unfit = route.unfit.iter().map(|unfit| Refused {
            service: unfit.service.to_string(),
            instance: unfit.instance.to_string(),
            why: unfit.why.to_string(),
        });
        Self {
            src: route.source(),
            service: route.service.to_string(),
            built_in: route.kind.is_built_in(),
            targets: route.targets.iter().map(behind).collect(),
            unfit: unfit.collect(),
        }
    }
}

/// Most routes that are listed as coming after.
const AFTER: usize = 20;

/// `GET /api/explain?host=&path=&method=&tls=`. The method makes no difference to the choice, and is taken so that
/// nobody has to know that.
pub(super) fn explain(view: &View, query: &str, pretty: bool) -> Answer {
    let host = parameter(query, "host").unwrap_or_default();
    let sent = parameter(query, "path")
        .filter(|path| !path.is_empty())
        .unwrap_or_else(|| "/".to_owned());
    let tls = parameter(query, "tls").is_some_and(|tls| !matches!(&*tls, "" | "0" | "false"));
    let path = match Path::clean(&sent) {
        Ok(path) => path.decoded.into_owned(),
        Err(bad) => return plain(StatusCode::BAD_REQUEST, format!("path: {bad}\n")),
    };
    let table = view.live.load();
    let mut found: Vec<std::sync::Arc<Route>> = Vec::new();
    while found.len() <= AFTER {
        let new = |route: &Route| !found.iter().any(|known| std::ptr::eq(&raw const **known, route));
        let Some(route) = table.http_where(&host, &path, tls, new).cloned() else {
            break;
        };
        found.push(route);
    }
    let (status, why) = verdict(view, found.first().map(|route| &**route));
    let mut shown = found.iter().map(|route| Shown::of(route));
    json(
        &Explained {
            status,
            why,
            route: shown.next(),
            after: shown.collect(),
            host,
            path,
            tls,
        },
        pretty,
    )
}

fn verdict(view: &View, route: Option<&Route>) -> (Option<u16>, String) {
    let Some(route) = route else {
        let why = "no route has this host and a path that fits".to_owned();
        return (Some(view.config.no_route_status), why);
    };
    let Some(first) = route.targets.first() else {
        return (
            Some(503),
            "the route is known, and nothing behind it may get traffic".to_owned(),
        );
    };
    match &first.options.redirect {
        Some(redirect) => (Some(redirect.code), "the route is a redirect".to_owned()),
        None => (None, "one of the targets, by weight and strategy".to_owned()),
    }
}

/// The value of a parameter, decoded; a `+` is a blank.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.into_iter().find(|(key, _)| *key == name)?;
    let value = value.replace('+', " ");
    Some(percent_decode_str(&value).decode_utf8_lossy().into_owned())
}

/// Has the configuration read again.
pub(super) async fn reload(view: &View, (who, from): (&Who, SocketAddr)) -> Answer {
    let Some(reload) = &view.reload else {
        return plain(
            StatusCode::NOT_IMPLEMENTED,
            "nobody reads the configuration again\n",
        );
    };
    let (answer, outcome) = oneshot::channel();
    let asking = async {
        reload.send(answer).await.ok()?;
        outcome.await.ok()
    };
    tracing::info!(?who, %from, "the configuration is to be read again");
    match timeout(PATIENCE, asking).await {
        Ok(Some(Ok(changes))) if changes.is_empty() => plain(StatusCode::OK, "nothing has changed\n"),
        Ok(Some(Ok(changes))) => plain(StatusCode::OK, changes.join("\n") + "\n"),
        Ok(Some(Err(faults))) => plain(StatusCode::BAD_REQUEST, faults + "\n"),
        Ok(None) => plain(StatusCode::SERVICE_UNAVAILABLE, "about to stop\n"),
        Err(_) => plain(StatusCode::GATEWAY_TIMEOUT, "not read in time\n"),
    }
}
