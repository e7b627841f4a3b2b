//! What follows a body: it says nothing that a head may not say, and it ends as it must.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::HeaderName;
use hyper::{HeaderMap, Request, Response};

use super::h2::{Body, connect, full, run, text};
use super::harness::*;
use super::policy::auth::external;
use super::upstreams::server::H2Server;

/// All but the last two are for nobody to say there, for this reason or that.
const NAMES: [&str; 18] = [
    "x-forwarded-for",
    "x-real-ip",
    "forwarded",
    "x_forwarded_for",
    "x-client",
    "x_client",
    "cdn-loop",
    "connection",
    "content-length",
    "transfer_encoding",
    "proxy",
    "authorization",
    "cookie",
    "x-user",
    "x-set",
    "x_gone",
    "grpc-status",
    "x-sum",
];
const LEFT: &str = "grpc-status x-sum";

fn names(trailers: &HeaderMap) -> String {
    let named = |name: &&&str| trailers.contains_key(**name);
    NAMES.iter().filter(named).copied().collect::<Vec<_>>().join(" ")
}

/// What the head announces, and what came of it.
async fn told(request: Request<Incoming>) -> Response<Body> {
    let announced = format!("{:?}", request.headers().get("trailer"));
    let body = request.into_body().collect().await.unwrap();
    let names = names(body.trailers().unwrap());
    let told = Full::new(Bytes::from(format!("{announced} {names}")));
    Response::new(told.map_err(|never| match never {}).boxed_unsync())
}

/// Of one that was sent in chunks: what its head announces, and the names that follow its body.
fn seen(request: &Answer) -> (String, String) {
    // They follow the head after a line feed of the harness's own.
    let lines = request.head.replace("\r\n", "\0");
    let (_, trailers) = lines.split_once('\n').unwrap_or_default();
    let mut names: Vec<&str> = trailers
        .split('\0')
        .filter_map(|line| Some(line.split_once(':')?.0))
        .collect();
    names.sort_unstable();
    (request.header("trailer").join("|"), names.join(" "))
}

#[test]
fn trailers_say_nothing_that_a_head_may_not() {
    let judge = Server::saying("");
    let plain = Server::saying("in");
    let streams = H2Server::start(told);
    let rules = "auth=sso setreqhdr=X-Set:1 delreqhdr=X-Gone";
    let balancer = Balancer::with(
        |config| {
            config.auth = vec![external(format!("http://{}/", judge.addr))];
            config.headers.client_ip = Some("X-Client".into());
        },
        &[
            routed("plain", plain.addr, format!("urlprefix-a/ {rules}")),
            routed("streams", streams.addr, format!("urlprefix-b/ proto=h2c {rules}")),
        ],
    );
    let lines: String = NAMES.iter().map(|name| format!("{name}: 1\r\n")).collect();
    let request = |host: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nTrailer: {}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n{lines}\r\n",
            NAMES.join(", ")
        )
    };
    assert_eq!(balancer.connect().ask(&request("a")).body, "in");
    assert_eq!(seen(&plain.only()), (LEFT.replace(' ', ", "), LEFT.to_owned()));
    let announced = format!("Some(\"{}\") {LEFT}", LEFT.replace(' ', ", "));
    assert_eq!(balancer.connect().ask(&request("b")).body, announced);

    let answers = run(async {
        let mut client = connect(&balancer).await;
        let mut answers = Vec::new();
        for uri in ["http://a/", "http://b/"] {
            let trailers = NAMES.iter().filter(|name| **name != "connection");
            let trailers: HeaderMap = trailers
                .map(|name| (HeaderName::from_static(name), "1".parse().unwrap()))
                .collect();
            let body = full("x")
                .with_trailers(async { Some(Ok(trailers)) })
                .boxed_unsync();
            let request = Request::post(uri).header("trailer", NAMES.join(", "));
            let answer = client.send_request(request.body(body).unwrap()).await.unwrap();
            answers.push(text(answer).await);
        }
        answers
    });
    assert_eq!(answers, ["in", &announced]);
    // Its length was known, so it was not sent in chunks.
    assert_eq!(seen(&plain.seen()[1]), (LEFT.replace(' ', ", "), String::new()));
}

#[test]
fn trailers_of_an_answer_concern_more_than_one_connection() {
    let server = Server::start(|_| {
        Some(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Keep-Alive, Upgrade\r\n\r\n\
             2\r\nab\r\n0\r\nKeep-Alive: 1\r\nX-Sum: 7\r\nUpgrade: x\r\n\r\n"
                .into(),
        )
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    let answer = client.ask("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
    assert_eq!(seen(&answer), ("X-Sum".to_owned(), "x-sum".to_owned()));
}

#[test]
fn a_body_that_ends_in_a_bare_line_feed_takes_no_request_with_it() {
    const POST: &str = "POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    const GET: &str = "GET /get HTTP/1.1\r\nHost: a\r\n\r\n";
    let server = Server::saying("in");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    for end in [
        "0\r\n\n",
        "0\r\nX-T: 1\n\r\n",
        "0\r\nX-T: 1\nX-U: 2\r\n\r\n",
        "0\n\r\n",
    ] {
        let before = server.seen().len();
        let mut client = balancer.connect();
        client.write(&format!("{GET}{POST}{end}{GET}{GET}"));
        assert_eq!(client.answer().unwrap().body, "in", "{end:?}");
        let rest = client.rest();
        assert!(rest.starts_with("HTTP/1.1 400 "), "{end:?}: {rest}");
        assert_eq!(rest.matches("HTTP/1.1").count(), 1, "{end:?}: {rest}");
        assert_eq!(server.seen().len(), before + 1, "{end:?}");
    }
}
