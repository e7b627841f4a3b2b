//! The paths of the admin server, and where each leads: refused at the door, or to one of the files beside this.

use std::net::IpAddr;
use std::time::Instant;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::time::{Duration, timeout};

use super::answer::{Answer, HTML, TEXT, json, plain, to, typed, with};
use super::guard::{Asked, Door, No, Who};
use super::seats::Sitting;
use super::server::Peer;
use super::{View, api, manual, pages};
use crate::metrics::page;
use crate::policy::limit::retry_after;
use crate::policy::{Verdict, user_of};
use crate::table::Weights;

/// Largest body that is read, as large as a value of Consul's may be.
const BODY: usize = 512 * 1024;
/// Time for it to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);

/// What a path takes of its visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: probes ask it.
    Nothing,
    /// To be let in.
    Read,
    /// fabio's paths of overrides: to be let in, and no `ui.access=ro`, even to look.
    Write,
}

/// Every path, with its methods and what is there. `[/sub]` is the rest of a key.
pub const PATHS: &[(&str, &str, &str)] = &[
    (
        "/health",
        "GET",
        "`OK` while the process lives. Not below `ui.path`.",
    ),
    (
        "/ready",
        "GET",
        "200 from the first table until the stop, else 503. Not below `ui.path`.",
    ),
    (
        "/routes",
        "GET",
        "The table as a page; `?filter=a b` keeps rows with all these words.",
    ),
    ("/manual[/sub]", "GET", "Editor of overrides."),
    (
        "/api/routes",
        "GET",
        "The table as JSON, with fabio's fields and `built_in`; `?raw` as commands.",
    ),
    (
        "/api/live",
        "GET",
        "What each target does: whether it is passed over, requests, errors, those under way, bytes, times.",
    ),
    (
        "/api/explain",
        "GET",
        "Which route and target would serve `?host=&path=&method=&tls=`, and why not others.",
    ),
    (
        "/api/skipped",
        "GET",
        "Tags and lines that make no route, and why.",
    ),
    (
        "/api/certs",
        "GET",
        "Certificate sources, their certificates and faults; no keys.",
    ),
    (
        "/api/config",
        "GET",
        "The configuration, with fabio's field names; secrets masked.",
    ),
    ("/api/version", "GET", "Version."),
    (
        "/api/paths",
        "GET",
        "Keys of overrides below `registry.consul.kvpath`, without it; `\"\"` is the default one.",
    ),
    (
        "/api/manual[/sub]",
        "GET, PUT",
        "An override: `{\"value\":\"…\",\"version\":\"…\"}`.",
    ),
    (
        "/api/reload",
        "POST",
        "Has the configuration read again; a line for each change, or 400 and what is wrong.",
    ),
    ("/metrics", "GET", "Prometheus."),
];

/// One request.
pub(super) async fn answer(
    view: &View,
    (peer, seat): (&Peer, &Sitting),
    request: Request<Incoming>,
) -> Answer {
    let (door, base) = (Door::of(view), view.ui().path);
    let path = request.uri().path().to_owned();
    let (path, below) = match (&*path, path.strip_prefix(&*base)) {
        // Browsers ask for the icon at the root, whatever the page.
        ("/health" | "/ready" | "/favicon.ico", _) => (path, true),
        (_, Some(rest)) if rest.starts_with('/') => (rest.to_owned(), true),
        _ => (path, false),
    };
    let needs = needs(&path);
    let user = match user(view, &door, peer.addr.ip(), request.headers().get(AUTHORIZATION)).await {
        Ok(user) => user,
        Err(refused) if needs == Needs::Nothing => {
            drop(refused);
            None
        }
        Err(refused) => return refused,
    };
    let query = request.uri().query().unwrap_or("").to_owned();
    let asked = Asked {
        method: request.method(),
        needs,
        headers: request.headers(),
        query: &query,
        peer,
        user,
    };
    match door.admit(&asked) {
        Err(no) => refuse(&door, no),
        Ok(_) if !below => to(&format!("{base}/routes")),
        Ok(who) => {
            let inquiry = Inquiry {
                view,
                peer,
                seat,
                who,
                path: &path,
                query: &query,
            };
            inquiry.answer(request).await
        }
    }
}

fn needs(path: &str) -> Needs {
    match path {
        "/health" | "/ready" | "/favicon.ico" => Needs::Nothing,
        "/api/paths" | "/api/manual" | "/manual" | "/api/reload" => Needs::Write,
        path if path.starts_with("/api/manual/") || path.starts_with("/manual/") => Needs::Write,
        _ => Needs::Read,
    }
}

/// Whose password it is; `None`: none was said. A wrong one is refused at once.
async fn user(
    view: &View,
    door: &Door,
    client: IpAddr,
    said: Option<&HeaderValue>,
) -> Result<Option<String>, Answer> {
    let claimed = said.and_then(user_of);
    let (Some(scheme), Some(claimed)) = (&door.basic, claimed) else {
        return Ok(None);
    };
    match view.now().policy.login(scheme, said, client).await {
        Verdict::In => Ok(Some(claimed)),
        Verdict::Unauthorized(challenge) => {
            let mut answer = plain(StatusCode::UNAUTHORIZED, No::Unknown.text());
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            Err(answer)
        }
        Verdict::Guessing(wait) => {
            let wait = retry_after(wait).to_string();
            Err(with(
                plain(StatusCode::TOO_MANY_REQUESTS, "too many wrong passwords\n"),
                RETRY_AFTER,
                &wait,
            ))
        }
        Verdict::Busy => Err(with(
            plain(StatusCode::SERVICE_UNAVAILABLE, "busy\n"),
            RETRY_AFTER,
            "1",
        )),
    }
}

fn refuse(door: &Door, no: No) -> Answer {
    let answer = plain(no.status(), no.text());
    if no != No::Unknown {
        return answer;
    }
    let challenge = match &door.basic {
        Some(scheme) => format!("Basic realm=\"{}\"", scheme.escape_default()),
        None => "Bearer".to_owned(),
    };
    with(answer, WWW_AUTHENTICATE, &challenge)
}

/// A request that was let in.
struct Inquiry<'a> {
    view: &'a View,
    peer: &'a Peer,
    seat: &'a Sitting,
    who: Who,
    path: &'a str,
    query: &'a str,
}

impl Inquiry<'_> {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let method = request.method().clone();
        if let Some(sub) = self.sub("/api/manual") {
            return match method {
                Method::GET | Method::HEAD => manual::get(self.view, &sub, self.asks("pretty")).await,
                Method::PUT => match body(request, self.seat).await {
                    Ok(body) => manual::put(self.view, &sub, &body, (&self.who, self.peer.addr)).await,
                    Err(refused) => refused,
                },
                _ => plain(StatusCode::METHOD_NOT_ALLOWED, "not allowed\n"),
            };
        }
        let allowed = match self.path {
            "/api/reload" => "POST",
            _ => "GET, HEAD",
        };
        if !allowed.split(", ").any(|allowed| allowed == method) {
            let text = format!("only {}\n", allowed.replace(", ", " and "));
            return with(plain(StatusCode::METHOD_NOT_ALLOWED, text), ALLOW, allowed);
        }
        if let Some(sub) = self.sub("/manual") {
            return typed(HTML, pages::manual(self.view, &sub).await);
        }
        self.page().await
    }

    async fn page(&self) -> Answer {
        let (view, pretty) = (self.view, self.asks("pretty"));
        match self.path {
            "/health" => plain(StatusCode::OK, "OK\n"),
            "/ready" if *view.ready.borrow() => plain(StatusCode::OK, "ready\n"),
            "/ready" => plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            "/routes" => typed(HTML, pages::routes(view, self.query)),
            "/assets/style.css" => typed("text/css; charset=utf-8", pages::style(&view.ui().color)),
            "/assets/manual.js" => typed("text/javascript; charset=utf-8", pages::SCRIPT),
            "/api/routes" if self.asks("raw") => typed(TEXT, view.live.load().text(Weights::Asked)),
            "/api/routes" => json(&view.live.load().rows(), pretty),
            "/api/live" => json(&api::live(&view.live.load(), &api::standings(view)), pretty),
            "/api/explain" => api::explain(view, self.query, pretty),
            "/api/skipped" => json(&view.live.load().skipped().collect::<Vec<_>>(), pretty),
            "/api/certs" => json(
                &view
                    .stores
                    .as_ref()
                    .map(|stores| stores.status())
                    .unwrap_or_default(),
                pretty,
            ),
            "/api/config" => json(&*view.config().shown, pretty),
            "/api/version" => plain(StatusCode::OK, env!("CARGO_PKG_VERSION")),
            "/api/paths" => manual::paths(view, pretty).await,
            "/api/reload" => api::reload(view, (&self.who, self.peer.addr)).await,
            "/metrics" => match page::text(&view.registry).await {
                Ok(text) => typed(page::KIND, text),
                Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error),
            },
            "/favicon.ico" => plain(StatusCode::NOT_FOUND, ""),
            _ => to(&format!("{}/routes", view.ui().path)),
        }
    }

    fn asks(&self, word: &str) -> bool {
        self.query
            .split('&')
            .any(|pair| pair.split('=').next() == Some(word))
    }

    /// What follows `prefix` in the path, decoded: empty, or with its slash.
    fn sub(&self, prefix: &str) -> Option<String> {
        let rest = self.path.strip_prefix(prefix)?;
        let whole = rest.is_empty() || rest.starts_with('/');
        let rest = whole.then(|| percent_decode_str(rest).decode_utf8().ok())??;
        Some(if rest == "/" {
            String::new()
        } else {
            rest.into_owned()
        })
    }
}

/// Counted while it is read, whatever was announced.
async fn body(request: Request<Incoming>, seat: &Sitting) -> Result<Vec<u8>, Answer> {
    let large = || plain(StatusCode::PAYLOAD_TOO_LARGE, format!("at most {BODY} bytes\n"));
    // Who keeps us waiting has no better right to its seat than who says nothing.
    seat.waits(Instant::now());
    let arrived = timeout(ARRIVAL, Limited::new(request.into_body(), BODY).collect()).await;
    seat.is_asked();
    match arrived {
        Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(large()),
        Ok(Err(error)) => Err(plain(StatusCode::BAD_REQUEST, format!("{error}\n"))),
        Err(_) => Err(plain(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time\n",
        )),
    }
}
