//! Requests of every kind on one connection, however its bytes come: whoever reads them, each gets its own answer, in its
//! turn.

use std::io::Write;
use std::net::Shutdown;
use std::thread::yield_now;

use super::harness::*;

/// Common ones, and those that only hyper reads. Each asks for a path of its own.
const REQUESTS: &[&str] = &[
    "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /1?x=/y HTTP/1.1\r\nhost: a\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n",
    "DELETE /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\n\r\nGET /hidden HTTP/1.1\r\nHost: hidden\r\n\r\n",
    "GET /4 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "PUT /5 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nGET \r\n0\r\n\r\n",
    "\r\nGET /6 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a/7 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /8 HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
    "OPTIONS /9 HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// Says which path it was asked for.
fn echo() -> Server {
    Server::start(|request| {
        let target = request.head.split(' ').nth(1).unwrap();
        Some(ok(target.split('?').next().unwrap()))
    })
}

/// What is answered to `requests`, by number, when their bytes come in pieces that end at `cuts`.
fn answered(balancer: &Balancer, requests: &[usize], cuts: &[usize]) -> Vec<String> {
    let bytes: String = requests.iter().map(|number| REQUESTS[*number]).collect();
    let mut client = balancer.connect();
    let mut writer = client.writer();
    writer.set_nodelay(true).unwrap();
    let mut from = 0;
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        writer.write_all(&bytes.as_bytes()[from..cut]).unwrap();
        from = cut;
        yield_now();
    }
    let answers = requests.iter().map_while(|_| client.answer());
    answers.map(|answer| answer.body).collect()
}

#[test]
fn each_request_is_answered_in_its_turn_whoever_reads_it() {
    let server = echo();
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    for first in 0..REQUESTS.len() {
        for second in 0..REQUESTS.len() {
            let requests = [0, first, second, 1];
            let paths: Vec<String> = requests.iter().map(|number| format!("/{number}")).collect();
            assert_eq!(answered(&balancer, &requests, &[]), paths, "{requests:?}");
        }
    }
}

#[test]
fn requests_may_be_cut_anywhere() {
    let server = echo();
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let requests = [0, 1, 3, 2, 5, 0];
    let paths: Vec<String> = requests.iter().map(|number| format!("/{number}")).collect();
    let length: usize = requests.iter().map(|number| REQUESTS[*number].len()).sum();
    for cut in 1..length {
        assert_eq!(answered(&balancer, &requests, &[cut]), paths, "cut at {cut}");
    }
    let each: Vec<usize> = (1..length).collect();
    assert_eq!(answered(&balancer, &requests, &each), paths, "byte by byte");
}

#[test]
fn what_is_sent_ahead_of_the_end_is_answered_before_it() {
    let server = echo();
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    for last in ["", "GET /late HTTP/1.1\r\nHo"] {
        let mut client = balancer.connect();
        client.write(&format!("{}{}{last}", REQUESTS[0], REQUESTS[1]));
        client.writer().shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.answer().unwrap().body, "/0", "{last}");
        assert_eq!(client.answer().unwrap().body, "/1", "{last}");
        assert!(!client.rest().contains("200"), "{last}");
    }
    until("they are gone", || balancer.metric("connections") == 0);
}

#[test]
fn a_client_that_says_goodbye_gets_its_answer_and_nothing_behind_it() {
    let server = echo();
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    let last = "GET /0 HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n";
    let answers = client.ask(&format!("{last}{}", REQUESTS[1]));
    assert_eq!((answers.status(), &*answers.body), (200, "/0"));
    assert_eq!(answers.header("connection"), ["close"]);
    assert_eq!(client.rest(), "");
    assert_eq!(server.only().header("x-forwarded-host"), ["a"]);
}
