//! A request made sense of: path, parameters, wait, consistency, body.
//!
//! What every route shares is judged here once, in Consul's words, so that handlers only look at
//! what is theirs. Must not look at the catalog.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalog::duration;
use catalog::{Answer, Index, Interest, State};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;
use prometheus::IntGauge;
use tokio::time::Instant;

use super::Context;
use super::endpoint::{BodyKind, Row};
use super::reply::{Fault, Reply};
use crate::store::Wait;

/// A wait that names no time of its own, and the longest there is.
const DEFAULT_WAIT: Duration = Duration::from_secs(300);
const MAX_WAIT: Duration = Duration::from_secs(600);
/// A client has this long to send the body of its request.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Share of the wait that is added at random, so that waiters do not come back all at once.
const JITTER: f64 = 1.0 / 16.0;

/// How fresh the client wants its answer. One node in memory is always as fresh as can be, so this
/// only decides what the answer says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// From the leader.
    Leader,
    /// From anybody.
    Stale,
    /// From a leader that has made sure it is one.
    Consistent,
}

/// Everything a handler is given.
pub struct Ask {
    /// The agent.
    pub context: Arc<Context>,
    /// As sent.
    pub method: Method,
    /// As sent.
    pub headers: HeaderMap,
    /// What follows the row's path; decoded.
    pub rest: String,
    /// What follows the question mark.
    pub params: Params,
    /// As large as its row allows.
    pub body: Bytes,
    index: Index,
    wait: Duration,
    consistency: Consistency,
}

impl Ask {
    /// Reads a request for `row`, body included.
    pub async fn read(
        context: Arc<Context>,
        request: Request<Incoming>,
        rest: &str,
        row: &Row,
    ) -> Result<Self, Fault> {
        let (head, body) = request.into_parts();
        let params = Params::parse(head.uri.query().unwrap_or_default())?;
        params.refuse_unsupported(&context, row)?;
        let reading = read_body(&head.headers, body, row.body);
        let body = tokio::time::timeout(BODY_TIMEOUT, reading)
            .await
            .map_err(|_| too_slow())??;
        Ok(Self {
            rest: rest.to_owned(),
            index: params.index()?,
            wait: params.wait()?,
            consistency: params.consistency()?,
            method: head.method,
            headers: head.headers,
            context,
            params,
            body,
        })
    }

    /// Name of our datacenter.
    pub fn datacenter(&self) -> &str {
        &self.context.identity.datacenter
    }

    /// Answers a question about the catalog, waiting for news where the client asked for that.
    /// Dropped with the connection, which frees the waiter at once.
    pub async fn answer<T>(&self, interest: Interest, question: impl Fn(&State) -> Answer<T>) -> Answer<T> {
        if self.index == 0 {
            return self.context.store.wait(interest, None, question).await;
        }
        let jitter = self.wait.mul_f64(rand::random::<f64>() * JITTER);
        self.wait_until(
            interest,
            Wait {
                after: self.index,
                until: Instant::now() + self.wait + jitter,
            },
            question,
        )
        .await
    }

    /// As [`Ask::answer`], with a wait of the handler's own.
    pub async fn wait_until<T>(
        &self,
        interest: Interest,
        wait: Wait,
        question: impl Fn(&State) -> Answer<T>,
    ) -> Answer<T> {
        let _seat = Seat::take(&self.context.waiting);
        self.context.store.wait(interest, Some(wait), question).await
    }

    /// Says in the answer how fresh it is, as catalog and health routes do.
    pub fn fresh(&self, reply: Reply) -> Reply {
        let word = match self.consistency {
            Consistency::Leader => "leader",
            Consistency::Stale => "stale",
            Consistency::Consistent => "consistent",
        };
        reply.header("x-consul-effective-consistency", word)
    }

    /// Time until which a wait that is not for an index may last; by default ten minutes.
    pub fn hash_deadline(&self) -> Instant {
        let wait = if self.params.has("wait") {
            self.wait
        } else {
            MAX_WAIT
        };
        Instant::now() + wait
    }
}

/// Counts a waiting request for as long as it lives.
struct Seat<'a>(&'a IntGauge);

impl<'a> Seat<'a> {
    fn take(waiting: &'a IntGauge) -> Self {
        waiting.inc();
        Self(waiting)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn too_slow() -> Fault {
    let text = format!("Request body did not arrive within {BODY_TIMEOUT:?}");
    Fault::new(StatusCode::REQUEST_TIMEOUT, text).header(header::CONNECTION, "close")
}

async fn read_body(headers: &HeaderMap, body: Incoming, kind: BodyKind) -> Result<Bytes, Fault> {
    let Some(limit) = kind.limit() else {
        return Ok(Bytes::new());
    };
    let told = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|told| told.to_str().ok()?.parse::<u64>().ok());
    let too_large = |size: u64| {
        let text = format!("Request body({size} bytes) too large, max size: {limit} bytes.");
        Fault::new(StatusCode::PAYLOAD_TOO_LARGE, text).header(header::CONNECTION, "close")
    };
    if let Some(size) = told.filter(|size| *size > limit) {
        return Err(too_large(size));
    }
    let mut body = body;
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Fault::bad(format!("Request body cannot be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        read.extend_from_slice(&data);
        // A body of no told size is counted as it comes, and not beyond the limit.
        if read.len() as u64 > limit {
            return Err(too_large(read.len() as u64));
        }
    }
    Ok(read.into())
}

/// The parameters of a request, in order; names may repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Reads what follows the question mark.
    pub fn parse(query: &str) -> Result<Self, Fault> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((form_decode(name)?, form_decode(value)?))
        });
        Ok(Self {
            pairs: pairs.collect::<Result<_, Fault>>()?,
        })
    }

    /// The first of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first of that name, if it says anything.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Whether it is there, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(move |(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    /// `node-meta=key:value`, all of which have to hold.
    pub fn node_meta(&self) -> Vec<(String, String)> {
        let split = |pair: &str| {
            let (key, value) = pair.split_once(':').unwrap_or((pair, ""));
            (key.to_owned(), value.to_owned())
        };
        self.all("node-meta").map(split).collect()
    }

    fn index(&self) -> Result<Index, Fault> {
        match self.given("index") {
            None => Ok(0),
            Some(text) => text.parse().map_err(|_| Fault::bad("Invalid index")),
        }
    }

    fn wait(&self) -> Result<Duration, Fault> {
        match self.given("wait") {
            None => Ok(DEFAULT_WAIT),
            Some(text) => match duration::parse(text) {
                Err(_) => Err(Fault::bad("Invalid wait time")),
                Ok(wait) if wait.is_zero() => Ok(DEFAULT_WAIT),
                Ok(wait) => Ok(wait.min(MAX_WAIT)),
            },
        }
    }

    fn consistency(&self) -> Result<Consistency, Fault> {
        let conflict = |a: &str, b: &str| {
            Err(Fault::bad(format!(
                "Cannot specify ?{a} with ?{b}, conflicting semantics."
            )))
        };
        let (mut stale, consistent) = (self.has("stale"), self.has("consistent"));
        if let Some(bound) = self.given("max_stale") {
            duration::parse(bound).map_err(|_| Fault::bad(format!("Invalid max_stale value {bound:?}")))?;
            stale = true;
        }
        match (stale, consistent) {
            (true, true) => conflict("stale", "consistent"),
            (_, true) if self.has("cached") => conflict("cached", "consistent"),
            (_, true) => Ok(Consistency::Consistent),
            (true, _) => Ok(Consistency::Stale),
            _ => Ok(Consistency::Leader),
        }
    }

    /// What would change the answer is refused rather than overlooked.
    fn refuse_unsupported(&self, context: &Context, row: &Row) -> Result<(), Fault> {
        if self.given("filter").is_some() {
            return Err(Fault::bad("filter is not supported yet"));
        }
        // Consul's catalog routes never look at it.
        if self.given("ns").is_some() && !row.path.starts_with("/v1/catalog/") {
            let text = "Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature";
            return Err(Fault::bad(text));
        }
        match self.given("dc") {
            Some(dc) => own_datacenter(context, dc),
            None => Ok(()),
        }
    }
}

/// Other datacenters cannot be reached yet.
pub fn own_datacenter(context: &Context, datacenter: &str) -> Result<(), Fault> {
    if datacenter.is_empty() || datacenter.eq_ignore_ascii_case(&context.identity.datacenter) {
        return Ok(());
    }
    Err(Fault::internal("No path to datacenter"))
}

/// Whether the answer is for a person. Any value will do, even `false`, as with Consul.
pub fn is_pretty(query: Option<&str>) -> bool {
    let mut names = query
        .unwrap_or_default()
        .split('&')
        .map(|pair| pair.split('=').next());
    names.any(|name| name == Some("pretty"))
}

/// The decoded path. Doubled slashes send the client to the path without them, except in keys,
/// which may hold whatever they like.
pub fn clean_path(uri: &Uri) -> Result<String, Fault> {
    let raw = uri.path();
    if raw.contains("//") && !raw.starts_with("/v1/kv/") {
        let segments = raw.split('/').filter(|segment| !segment.is_empty());
        let mut clean: String = segments.flat_map(|segment| ["/", segment]).collect();
        if clean.is_empty() || raw.ends_with('/') {
            clean.push('/');
        }
        if let Some(query) = uri.query() {
            clean = format!("{clean}?{query}");
        }
        return Err(Fault::new(StatusCode::MOVED_PERMANENTLY, "").header(header::LOCATION, &clean));
    }
    let path = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| Fault::bad("The path is not UTF-8"))?;
    if path.chars().any(char::is_control) {
        return Err(Fault::bad("The path has unprintable characters"));
    }
    Ok(path.into_owned())
}

/// In forms a plus is a blank.
fn form_decode(text: &str) -> Result<String, Fault> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Fault::bad("A parameter is not UTF-8"))
}
