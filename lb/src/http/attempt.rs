//! Which target gets a request, and when another one may get it instead.
//!
//! A request is sent again only when that cannot do a thing twice: when none of it was sent, or when it has no body, its
//! method is idempotent and no whole head of an answer came. A body that has begun to flow is gone. An answer is never
//! reason to ask again, whatever its status: the server has done what it did.

use std::borrow::Cow;
use std::pin::{Pin, pin};
use std::sync::Arc;

use hyper::http::uri::PathAndQuery;
use hyper::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use tokio::time::{Instant, timeout_at};

use crate::http::body::{Upload, Uploaded};
use crate::http::error::Refusal;
use crate::http::exchange::Exchange;
use crate::http::path::{BadPath, Path};
use crate::http::{headers, path};
use crate::policy::{Denial, rewrite, same_gate};
use crate::table::{Choice, HostHeader, Options, Route, Target};
use crate::upstream::{Answer, Fault, Lease, Manner, Outgoing, Reuse, Times, Unanswered, Way, without_body};
use crate::worker::Worker;

/// A request ready for any target of its route.
pub(crate) struct Call<'a> {
    /// As the client sent it.
    pub uri: &'a Uri,
    /// Clean path, encoded.
    pub path: &'a str,
    /// For the server, but for what depends on the target. Boxed: it is handed down a few times.
    pub request: Outgoing,
    /// It asks for another protocol.
    pub is_upgrade: bool,
    /// The client said which host it means.
    pub has_host: bool,
    pub upload: Upload,
    /// The head of its answer may be plain.
    pub plain: bool,
}

impl Call<'_> {
    fn is_repeatable(&self) -> bool {
        let method = self.request.method();
        self.request.body().is_empty() && (method.is_idempotent() || *method == Method::TRACE)
    }
}

/// Sends `call` to `target`, or where that fails and it may, to others of `route`. All of it takes no longer than the
/// route allows.
pub(crate) async fn send(
    worker: &Worker,
    (route, choice, mut target): (&Arc<Route>, Choice, Arc<Target>),
    call: Call<'_>,
    exchange: &mut Exchange,
) -> Result<(Answer, Lease), Refusal> {
    let deadline = target.options.timeouts.total.map(|total| Instant::now() + total);
    let mut left = Left::of(call, target.options.retries, worker);
    worker.budget.borrow_mut().request();
    loop {
        let Some((way, request)) = left.request_to(&target)? else {
            return Err(Refusal::Unavailable);
        };
        exchange.sent(&target, request.uri(), &left.upload);
        let times = Times {
            dial: target.options.timeouts.dial,
            header: target.options.timeouts.header,
        };
        let manner = Manner {
            reuse: left.reuse,
            times,
            // Unless it is to be changed.
            plain: left.plain && target.options.response_headers.is_empty(),
        };
        let sending = worker.upstream.send(&way, request, &left.upload, manner);
        let failed = match in_time(pin!(sending), deadline).await {
            Ok(answer) => {
                match Verdict::of(&answer.0) {
                    Verdict::Failed => blame(worker, route, &target),
                    Verdict::Served => worker.watch.succeeded(&target.addr),
                    Verdict::Open => exchange.judges(route),
                }
                return Ok(answer);
            }
            Err(failed) => *failed,
        };
        match left.upload.state() {
            Uploaded::Malformed => return Err(Refusal::Body),
            Uploaded::CutShort => return Err(Refusal::CutShort),
            Uploaded::TooLarge => return Err(Denial::Body.into()),
            Uploaded::Late => return Err(Refusal::Late),
            Uploaded::No | Uploaded::Begun | Uploaded::Done => {}
        }
        // While the client's body is on its way the fault may be the client's, which must not bring anybody down.
        let is_telling = !failed.reused && left.upload.state() != Uploaded::Begun;
        if is_telling && !failed.fault.is_absence() {
            blame(worker, route, &target);
        }
        let Some(other) = left.next(worker, (route, choice, &target), &failed) else {
            return Err(failure(worker, &target, failed.fault));
        };
        let fault = failed.fault;
        tracing::debug!(target = %target.addr, next = %other.addr, %fault, "request goes to another target");
        worker.counters.retries.add(1);
        target = other;
        left.take_back(failed.request);
    }
}

/// `sending` is pinned by the caller, or it would be in here twice.
async fn in_time<T>(
    sending: Pin<&mut impl Future<Output = Result<T, Box<Unanswered>>>>,
    deadline: Option<Instant>,
) -> Result<T, Box<Unanswered>> {
    let Some(deadline) = deadline else {
        return sending.await;
    };
    timeout_at(deadline, sending).await.unwrap_or_else(|_| {
        Err(Box::new(Unanswered {
            fault: Fault::TotalTimeout,
            request: None,
            sent: true,
            reused: false,
        }))
    })
}

/// What is left of a call that may not have been answered yet.
struct Left<'a> {
    uri: &'a Uri,
    path: &'a str,
    upload: Upload,
    /// What the client itself said, once a target has wanted something else.
    client: Option<AsSent>,
    has_host: bool,
    is_upgrade: bool,
    repeatable: bool,
    /// For the next attempt; `None`: it is gone.
    next: Option<Outgoing>,
    /// The headers before the rules of a target: those are not for the next.
    pristine: Option<HeaderMap>,
    tried: Vec<Arc<Target>>,
    /// Attempts but those that were refused at once, and most of them.
    attempts: (usize, usize),
    reuse: Reuse,
    plain: bool,
}

impl<'a> Left<'a> {
    fn of(call: Call<'a>, retries: Option<u8>, worker: &Worker) -> Self {
        let repeatable = call.is_repeatable();
        let most = retries.map_or_else(
            || worker.config().retries.attempts.into(),
            |retries| usize::from(retries) + 1,
        );
        Self {
            client: None,
            has_host: call.has_host,
            is_upgrade: call.is_upgrade,
            repeatable,
            uri: call.uri,
            path: call.path,
            upload: call.upload,
            next: Some(call.request),
            pristine: None,
            tried: Vec::new(),
            attempts: (0, most),
            plain: call.plain,
            reuse: if repeatable { Reuse::Any } else { Reuse::Young },
        }
    }

    /// The request as `target` gets it; `None`: it is gone.
    fn request_to(&mut self, target: &Target) -> Result<Option<(Way, Outgoing)>, Refusal> {
        let Some(mut request) = self.next.take() else {
            return Ok(None);
        };
        let way = Way::to(target, self.is_upgrade);
        if self.repeatable && (!way.hands_back() || self.is_upgrade) {
            self.next = Some(without_body(&request));
        }
        self.pristine = (!target.options.request_headers.is_empty()).then(|| request.headers().clone());
        *request.uri_mut() = rewritten(self.uri, self.path, target)?;
        *request.version_mut() = Version::HTTP_11;
        self.address(request.headers_mut(), target, way.h2);
        if !request.body().is_empty() {
            let mut headers = std::mem::take(request.headers_mut());
            request.body_mut().is_for(&target.options, &mut headers);
            *request.headers_mut() = headers;
        }
        Ok(Some((way, request)))
    }

    /// Sets what depends on the target, whatever an earlier target has left. What comes back from HTTP/2 has lost its
    /// host.
    fn address(&mut self, headers: &mut HeaderMap, target: &Target, is_h2: bool) {
        let options = &*target.options;
        let is_as_sent =
            self.has_host && !is_h2 && options.host == HostHeader::Client && options.strip.is_none();
        if !is_as_sent || self.client.is_some() {
            let client = self.client.get_or_insert_with(|| AsSent::of(headers));
            client.address(headers, target);
        }
        rewrite::apply(headers, &options.request_headers);
    }

    /// Where to try next; `None`: nowhere.
    fn next(
        &mut self,
        worker: &Worker,
        (route, choice, target): (&Route, Choice, &Arc<Target>),
        failed: &Unanswered,
    ) -> Option<Arc<Target>> {
        if failed.reused {
            self.reuse = Reuse::No;
        }
        self.tried.push(target.clone());
        self.attempts.0 += usize::from(!failed.fault.is_refusal());
        let is_back = failed.request.is_some() && (self.repeatable || !failed.sent);
        let may = failed.fault.is_passing()
            && (self.next.is_some() || is_back)
            && self.attempts.0 < self.attempts.1;
        if !may {
            return None;
        }
        // A connection that had been idle says little about its server: a new one to the same will do.
        let other = next_target(worker, (route, choice, target), &mut self.tried)
            .or_else(|| failed.reused.then(|| target.clone()))?;
        // Who refuses at once has had no work of it, so trying elsewhere adds none.
        let is_paid =
            failed.fault.is_refusal() || worker.budget.borrow_mut().retry(Instant::now().into_std());
        if !is_paid {
            worker.counters.retries_refused.add(1);
        }
        is_paid.then_some(other)
    }

    fn take_back(&mut self, request: Option<Outgoing>) {
        if let Some(mut request) = request {
            if let Some(pristine) = self.pristine.take() {
                *request.headers_mut() = pristine;
            }
            self.next = Some(request);
        }
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

/// What the head of an answer says about its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Served,
    Failed,
    /// Its end will say.
    Open,
}

impl Verdict {
    /// A gateway's statuses say that there is nobody behind it; 500 is an answer like any other. Events and tunnels
    /// have no end that they must reach.
    fn of(answer: &Answer) -> Self {
        match answer.status() {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Self::Failed
            }
            StatusCode::SWITCHING_PROTOCOLS => Self::Served,
            _ if answer.is_events() => Self::Served,
            _ => Self::Open,
        }
    }
}

/// `target` of `route` has failed.
pub(crate) fn blame(worker: &Worker, route: &Route, target: &Target) {
    let targets = route.targets.iter().map(|target| &*target.addr);
    worker
        .watch
        .failed(&target.addr, targets, Instant::now().into_std());
}

fn failure(worker: &Worker, target: &Target, fault: Fault) -> Refusal {
    worker.counters.upstream_failures.add(1);
    if fault.is_timeout() {
        worker.counters.upstream_timeouts.add(1);
    }
    worker.failures.tell("no answer from upstream", target, &fault);
    Refusal::Upstream(fault)
}

/// What the client's request says where targets may want something else.
struct AsSent {
    host: Option<HeaderValue>,
    prefix: Option<HeaderValue>,
}

impl AsSent {
    fn of(headers: &HeaderMap) -> Self {
        Self {
            host: headers.get(header::HOST).cloned(),
            prefix: headers.get(headers::FORWARDED_PREFIX).cloned(),
        }
    }

    /// Sets it as `target` wants it.
    fn address(&self, headers: &mut HeaderMap, target: &Target) {
        let text = |text: &str| HeaderValue::from_str(text).ok();
        let host = match &target.options.host {
            HostHeader::Client => self.host.clone(),
            HostHeader::Target => None,
            HostHeader::Name(name) => text(name),
        };
        if let Some(host) = host.or_else(|| text(&target.addr)) {
            headers.insert(header::HOST, host);
        }
        let strip = target.options.strip.as_deref().and_then(text);
        match strip.or_else(|| self.prefix.clone()) {
            Some(prefix) => headers.insert(headers::FORWARDED_PREFIX, prefix),
            None => headers.remove(headers::FORWARDED_PREFIX),
        };
    }
}

/// The path for the target: `strip`, `prepend`, `rewrite`.
pub(crate) fn path_for<'a>(encoded: &'a str, options: &Options) -> Result<Cow<'a, str>, BadPath> {
    let mut stripped = path::rewrite(encoded, options.strip.as_deref(), None);
    if options.strip.is_some() && stripped != encoded {
        // What followed the prefix within its segment may be dots, now that it begins one.
        stripped = Cow::Owned(Path::clean(&stripped)?.encoded.into_owned());
    }
    let path = match stripped {
        Cow::Borrowed(stripped) => path::rewrite(stripped, None, options.prepend.as_deref()),
        Cow::Owned(stripped) => {
            Cow::Owned(path::rewrite(&stripped, None, options.prepend.as_deref()).into_owned())
        }
    };
    let Some(rule) = &options.rewrite else {
        return Ok(path);
    };
    match rewrite::path(&path, rule) {
        Cow::Borrowed(_) => Ok(path),
        // What a rule puts together may have dots that nobody has looked at, and slashes that nobody has written.
        Cow::Owned(path) => Ok(Cow::Owned(path::tidy(&Path::clean(&path)?.encoded))),
    }
}

/// Path and query for the target.
pub(crate) fn rewritten(sent: &Uri, path: &str, target: &Target) -> Result<Uri, Refusal> {
    let path = path_for(path, &target.options)?;
    // The query of the destination comes first, as in fabio.
    let query = match (target.query(), sent.query()) {
        (Some(own), Some(sent)) if !sent.is_empty() => Some(Cow::Owned(format!("{own}&{sent}"))),
        (own, sent) => own.or(sent).map(Cow::Borrowed),
    };
    // A target in absolute form may have a query or a fragment and no path, of which hyper would write just that.
    if query.is_none() && path == "/" {
        return Ok(Uri::default());
    }
    if target.query().is_none()
        && path == sent.path()
        && let Some(unchanged) = sent.path_and_query()
        && unchanged.as_str().starts_with('/')
    {
        return Ok(Uri::from(unchanged.clone()));
    }
    let rewritten = match query {
        Some(query) => PathAndQuery::from_maybe_shared(bytes::Bytes::from(format!("{path}?{query}"))),
        None => PathAndQuery::from_maybe_shared(bytes::Bytes::from(path.into_owned())),
    };
    rewritten
        .map(Uri::from)
        .map_err(|error| Refusal::Rewrite(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_rule_puts_together_has_single_slashes() {
        let options = Options {
            rewrite: Some(crate::table::options::Rewrite {
                pattern: regex::Regex::new("^/x(.*)").unwrap(),
                with: "/in/$1".into(),
            }),
            ..Options::default()
        };
        for (sent, path) in [("/x/y", "/in/y"), ("/x", "/in/"), ("/y//z", "/y//z")] {
            assert_eq!(path_for(sent, &options).unwrap(), path, "{sent}");
        }
    }

    #[test]
    fn what_is_stripped_leaves_no_dots_behind() {
        let path = |sent: &str, strip: &str, prepend: Option<&str>| {
            let options = Options {
                strip: Some(strip.into()),
                prepend: prepend.map(Into::into),
                ..Options::default()
            };
            path_for(sent, &options).unwrap().into_owned()
        };
        for sent in ["/a../secret", "/a%2e%2e/secret", "/a..%2fsecret", "/a./secret"] {
            assert_eq!(path(sent, "/a", Some("/public")), "/public/secret", "{sent}");
            assert_eq!(path(sent, "/a", None), "/secret", "{sent}");
        }
        assert_eq!(path("/a/b%2Fc", "/a", Some("/x")), "/x/b%2Fc");
        assert_eq!(path("/b../c", "/a", None), "/b../c");
    }
}
