//! The paths of the admin server, and where each leads: refused at the door, or to one of the files beside this.

use std::net::IpAddr;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::time::{Duration, timeout};

use super::answer::{Answer, HTML, TEXT, json, plain, to, typed, with};
use super::guard::{Asked, Door, No, Who};
use super::server::Peer;
use super::{View, api, manual, pages};
use crate::metrics::page;
use crate::policy::Verdict;
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
pub(super) async fn answer(view: &View, door: &Door, peer: &Peer, request: Request<Incoming>) -> Answer {
    let base = view.ui().path;
    let path = request.uri().path().to_owned();
    let (path, below) = match (&*path, path.strip_prefix(&*base)) {
        ("/health" | "/ready", _) => (path, true),
        (_, Some(rest)) if rest.starts_with('/') => (rest.to_owned(), true),
        _ => (path, false),
    };
    let needs = needs(&path);
    let user = match user(view, door, peer.addr.ip(), request.headers().get(AUTHORIZATION)).await {
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
        Err(no) => refuse(view, door, no),
        Ok(_) if !below => to(&format!("{base}/routes")),
        Ok(who) => {
            let visit = Visit {
                view,
                peer,
                who,
                path: &path,
                query: &query,
            };
            visit.answer(request).await
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
    let is_basic = |said: &&HeaderValue| {
        said.as_bytes()
            .get(..6)
            .is_some_and(|is| is.eq_ignore_ascii_case(b"basic "))
    };
    let (Some(scheme), Some(policy), Some(said)) = (&door.basic, &view.policy, said.filter(is_basic)) else {
        return Ok(None);
    };
    match policy.login(scheme, Some(said), client).await {
        Verdict::In => Ok(Some(name_in(said))),
        Verdict::Unauthorized(challenge) => {
            let mut answer = plain(StatusCode::UNAUTHORIZED, No::Unknown.text());
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            Err(answer)
        }
        Verdict::Guessing(wait) => {
            let wait = wait.as_secs().max(1).to_string();
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

/// The user in a header whose password was right.
fn name_in(said: &HeaderValue) -> String {
    use base64::Engine as _;
    let said = said.as_bytes().get(6..).unwrap_or_default().trim_ascii();
    let pair = base64::engine::general_purpose::STANDARD
        .decode(said)
        .unwrap_or_default();
    let name = pair.split(|byte| *byte == b':').next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

fn refuse(view: &View, door: &Door, no: No) -> Answer {
    let answer = plain(no.status(), no.text());
    if no != No::Unknown {
        return answer;
    }
    match (&door.basic, view.ui().token) {
        (Some(scheme), _) => with(
            answer,
            WWW_AUTHENTICATE,
            &format!("Basic realm=\"{}\"", scheme.escape_default()),
        ),
        (None, _) => with(answer, WWW_AUTHENTICATE, "Bearer"),
    }
}

/// A request that was let in.
struct Visit<'a> {
    view: &'a View,
    peer: &'a Peer,
    who: Who,
    path: &'a str,
    query: &'a str,
}

impl Visit<'_> {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let method = request.method().clone();
        if let Some(sub) = self.sub("/api/manual") {
            return match method {
                Method::GET | Method::HEAD => manual::get(self.view, &sub, self.asks("pretty")).await,
                Method::PUT => match body(request).await {
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
            "/api/config" => json(&*view.config.shown, pretty),
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
async fn body(request: Request<Incoming>) -> Result<Vec<u8>, Answer> {
    let large = || plain(StatusCode::PAYLOAD_TOO_LARGE, format!("at most {BODY} bytes\n"));
    match timeout(ARRIVAL, Limited::new(request.into_body(), BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(large()),
        Ok(Err(error)) => Err(plain(StatusCode::BAD_REQUEST, format!("{error}\n"))),
        Err(_) => Err(plain(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time\n",
        )),
    }
}
