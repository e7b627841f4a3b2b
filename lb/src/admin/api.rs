//! What is shown as JSON, beside what the table says of itself; and the word to read the configuration again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::http::HeaderValue;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::View;
use super::answer::{Answer, json, plain};
use super::guard::Who;
use crate::histogram::Bounds;
use crate::http::path::Path;
use crate::http::{host, lookup};
use crate::outlier::{Cause, Seen, Standing};
use crate::table::{Ask, Explained, Route, Table, Target};

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
        let counted = target.stats.snapshot(&standings.bounds);
        let quantile = |share| counted.times.quantile(share).unwrap_or(0.0);
        Self {
            service: target.part.service.to_string(),
            src: format!("{}{}", route.host, route.path),
            target: target.addr.to_string(),
            state: state(target, standings),
            requests: counted.requests(),
            errors: counted.classes[5],
            in_flight: target.stats.under_way(),
            rx: counted.rx,
            tx: counted.tx,
            p50: quantile(0.5),
            p99: quantile(0.99),
        }
    }
}

/// How targets stand.
pub(super) struct Standings {
    /// In words, by address; those that are not there are in good standing.
    words: HashMap<std::sync::Arc<str>, String>,
    /// What their times are counted by.
    bounds: Bounds,
}

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
    Standings {
        words: seen.map(|seen| (seen.address.clone(), words(&seen))).collect(),
        bounds: view.counters.bounds.clone(),
    }
}

fn state(target: &Target, standings: &Standings) -> String {
    match target.probed.as_ref().and_then(|probed| probed.why_down()) {
        Some(why) => format!("down: {why}"),
        None => standings.words.get(&*target.addr).cloned().unwrap_or_default(),
    }
}

/// What all targets do.
pub(super) fn live(table: &Table, standings: &Standings) -> Vec<Figures> {
    let targets = table
        .routes()
        .flat_map(|route| route.counted().map(move |target| (route, target)));
    targets
        .map(|(route, target)| Figures::of(route, target, standings))
        .collect()
}

/// What would become of a request.
#[derive(Debug, Serialize)]
struct Verdict {
    /// Status that the balancer itself would answer; `None`: a target is asked.
    status: Option<u16>,
    #[serde(flatten)]
    explained: Explained,
}

/// `GET /api/explain?host=&path=&method=&tls=`.
pub(super) fn explain(view: &View, query: &str, pretty: bool) -> Answer {
    let asked = |name| parameter(query, name).filter(|value: &String| !value.is_empty());
    let (host, method) = (
        asked("host").unwrap_or_default(),
        asked("method").unwrap_or("GET".to_owned()),
    );
    let sent = asked("path").unwrap_or("/".to_owned());
    let mut path = match Path::clean(&sent) {
        Ok(path) => path,
        Err(bad) => return plain(StatusCode::BAD_REQUEST, format!("path: {bad}\n")),
    };
    let tls = asked("tls").is_some_and(|tls| !matches!(&*tls, "0" | "false"));
    let table = view.live.load();
    let written = path.encoded.clone();
    let scheme = || HeaderValue::from_static(if tls { "https" } else { "http" });
    let canonical = host::checked(&host).unwrap_or(Cow::Borrowed(&host));
    let accept = |route: &Route| !lookup::leads_back(route, scheme, &canonical, &written);
    let route = lookup::find(&table, &host, &mut path, tls, accept);
    let ask = Ask {
        host: &host,
        path: &path.decoded,
        method: &method,
        tls,
    };
    let status = match route.map(|route| route.targets.iter().find(|target| target.is_up())) {
        None => Some(view.config().no_route_status),
        Some(None) => Some(StatusCode::SERVICE_UNAVAILABLE.as_u16()),
        Some(Some(first)) => first.options.redirect.as_ref().map(|redirect| redirect.code),
    };
    let explained = table.explain_where(ask, accept);
    json(&Verdict { status, explained }, pretty)
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
    tracing::info!(%who, %from, "the configuration is to be read again");
    match timeout(PATIENCE, asking).await {
        Ok(Some(Ok(changes))) if changes.is_empty() => plain(StatusCode::OK, "read again: nothing differs\n"),
        Ok(Some(Ok(changes))) => plain(StatusCode::OK, changes.join("\n") + "\n"),
        Ok(Some(Err(faults))) => plain(StatusCode::BAD_REQUEST, faults + "\n"),
        Ok(None) => plain(StatusCode::SERVICE_UNAVAILABLE, "about to stop\n"),
        Err(_) => plain(StatusCode::GATEWAY_TIMEOUT, "not read in time\n"),
    }
}
