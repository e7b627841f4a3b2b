//! Which target gets a request, and when another one may get it instead.
//!
//! A request is sent again only when that cannot do a thing twice: when none of it was sent, or when it has
//! no body, its method is idempotent and no answer began. A body that has begun to flow is gone.

use std::borrow::Cow;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::uri::PathAndQuery;
use hyper::http::{HeaderMap, HeaderValue, Method, Uri, header};
use hyper::{Request, Response};

use crate::http::body::{RequestBody, Upload, Uploaded};
use crate::http::error::Refusal;
use crate::http::exchange::Exchange;
use crate::http::path::{BadPath, Path};
use crate::http::{headers, path};
use crate::policy::{Denial, rewrite, same_gate};
use crate::table::{Choice, HostHeader, Options, Route, Target};
use crate::upstream::{Lease, Reuse, Unanswered};
use crate::worker::Worker;

/// Targets that one request may be sent to, not counting those that refuse at once.
const ATTEMPTS: usize = 3;

/// A request ready for any target of its route.
pub(crate) struct Call {
    pub method: Method,
    /// As the client sent it.
    pub uri: Uri,
    /// Clean path, encoded.
    pub path: String,
    /// For the server, but for what depends on the target.
    pub headers: HeaderMap,
    pub body: RequestBody,
    pub upload: Upload,
}

impl Call {
    fn is_repeatable(&self) -> bool {
        let method = &self.method;
        self.body.is_empty() && (method.is_idempotent() || *method == Method::TRACE)
    }
}

/// Sends `call` to `target`, or where that fails and it may, to others of `route`.
pub(crate) async fn send(
    worker: &Worker,
    (route, choice, mut target): (&Route, Choice, Arc<Target>),
    call: Call,
    exchange: &mut Exchange,
) -> Result<(Response<Incoming>, Lease), Refusal> {
    let repeatable = call.is_repeatable();
    let Call {
        method,
        uri,
        path,
        headers,
        body,
        upload,
    } = call;
    let client = Own::of(&headers);
    let mut next = Some((headers, body));
    let mut tried = Vec::new();
    let mut attempts = 0;
    let mut reuse = if repeatable { Reuse::Any } else { Reuse::Young };
    loop {
        let Some((mut headers, body)) = next.take() else {
            return Err(Refusal::Unavailable);
        };
        if repeatable {
            next = Some((headers.clone(), RequestBody::Empty));
        }
        // Rules of one target are not for the next.
        let pristine = (!target.options.request_headers.is_empty()).then(|| headers.clone());
        address(&mut headers, &target, &client);
        let mut request = Request::new(body);
        *request.method_mut() = method.clone();
        *request.uri_mut() = rewritten(&uri, &path, &target)?;
        *request.headers_mut() = headers;
        exchange.sent(&target, request.uri(), &upload);
        let failed = match worker.upstream.send(&target.addr, request, &upload, reuse).await {
            Ok(answer) => return Ok(answer),
            Err(failed) => *failed,
        };
        match upload.state() {
            Uploaded::Malformed => return Err(Refusal::Body),
            Uploaded::CutShort => return Err(Refusal::CutShort),
            Uploaded::TooLarge => return Err(Denial::Body.into()),
            Uploaded::No | Uploaded::Begun | Uploaded::Done => {}
        }
        let Unanswered {
            fault,
            unsent,
            reused,
        } = failed;
        if let Some(request) = unsent {
            let (parts, body) = request.into_parts();
            next = Some((pristine.unwrap_or(parts.headers), body));
        }
        if reused {
            reuse = Reuse::No;
        }
        tried.push(target.clone());
        attempts += usize::from(!fault.is_refusal());
        // A connection that had been idle says little about its server: a new one to the same will do.
        let other = next_target(worker, (route, choice, &target), &mut tried)
            .or_else(|| reused.then(|| target.clone()));
        let Some(other) = other.filter(|_| fault.is_passing() && next.is_some() && attempts < ATTEMPTS)
        else {
            return Err(failure(worker, &target, fault));
        };
        tracing::debug!(target = %target.addr, next = %other.addr, %fault, "request goes to another target");
        worker.counters.retries.add(1);
        target = other;
    }
}

/// The next target that asks no more of a request than the one it was let in for.
fn next_target(
    worker: &Worker,
    (route, choice, target): (&Route, Choice, &Target),
    tried: &mut Vec<Arc<Target>>,
) -> Option<Arc<Target>> {
    loop {
        let other = worker.pick(route, choice, tried)?.clone();
        if same_gate(&other.options, &target.options) {
            return Some(other);
        }
        tried.push(other);
    }
}

fn failure(worker: &Worker, target: &Target, fault: crate::upstream::Fault) -> Refusal {
    worker.counters.upstream_failures.add(1);
    if fault.is_timeout() {
        worker.counters.upstream_timeouts.add(1);
    }
    tracing::warn!(service = %target.service, target = %target.addr, %fault, "no answer from upstream");
    Refusal::Upstream(fault)
}

/// What the client's request says where targets may want something else.
struct Own {
    host: Option<HeaderValue>,
    prefix: Option<HeaderValue>,
}

impl Own {
    fn of(headers: &HeaderMap) -> Self {
        Self {
            host: headers.get(header::HOST).cloned(),
            prefix: headers.get(headers::FORWARDED_PREFIX).cloned(),
        }
    }
}

/// Sets what depends on the target, whatever an earlier target has left.
fn address(headers: &mut HeaderMap, target: &Target, client: &Own) {
    let text = |text: &str| HeaderValue::from_str(text).ok();
    let host = match &target.options.host {
        HostHeader::Client => client.host.clone(),
        HostHeader::Target => None,
        HostHeader::Name(name) => text(name),
    };
    if let Some(host) = host.or_else(|| text(&target.addr)) {
        headers.insert(header::HOST, host);
    }
    let strip = target.options.strip.as_deref().and_then(text);
    match strip.or_else(|| client.prefix.clone()) {
        Some(prefix) => headers.insert(headers::FORWARDED_PREFIX, prefix),
        None => headers.remove(headers::FORWARDED_PREFIX),
    };
    rewrite::apply(headers, &target.options.request_headers);
}

/// The path for the target: `strip`, `prepend`, `rewrite`.
pub(crate) fn path_for<'a>(encoded: &'a str, options: &Options) -> Result<Cow<'a, str>, BadPath> {
    let path = path::rewrite(encoded, options.strip.as_deref(), options.prepend.as_deref());
    let Some(rule) = &options.rewrite else {
        return Ok(path);
    };
    match rewrite::path(&path, rule) {
        Cow::Borrowed(_) => Ok(path),
        // What a rule puts together may have dots that nobody has looked at.
        Cow::Owned(path) => Ok(Cow::Owned(Path::clean(&path)?.encoded.into_owned())),
    }
}

/// Path and query for the target.
pub(crate) fn rewritten(sent: &Uri, path: &str, target: &Target) -> Result<Uri, Refusal> {
    let path = path_for(path, &target.options)?;
    if path == sent.path()
        && let Some(unchanged) = sent.path_and_query()
    {
        return Ok(Uri::from(unchanged.clone()));
    }
    let rewritten = match sent.query() {
        Some(query) => PathAndQuery::from_maybe_shared(bytes::Bytes::from(format!("{path}?{query}"))),
        None => PathAndQuery::from_maybe_shared(bytes::Bytes::from(path.into_owned())),
    };
    rewritten
        .map(Uri::from)
        .map_err(|error| Refusal::Rewrite(error.into()))
}
