//! Clients of HTTP/2 that take nothing, or next to nothing, of what they asked for; and what that costs.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Response};
use peak_alloc::PeakAlloc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::raw::*;
use super::{Body, connect, full, get, none, run, text};
use crate::worker::tests::harness::*;
use crate::worker::tests::upstreams::server::H2Server;

const GET: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "a"),
    (":path", "/"),
];
const STREAMS: u32 = 250;
const MIB: u64 = 1024 * 1024;
/// Why a stream was reset (RFC 9113, 7).
const CANCEL: u32 = 8;

/// Answers without end, as fast as it is read, on one thread; and how much it has written.
fn endless() -> (SocketAddr, Arc<AtomicU64>) {
    static PIECE: [u8; 65_536] = [b'x'; 65_536];
    let written = Arc::new(AtomicU64::new(0));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let (addr, count) = (listener.local_addr().unwrap(), written.clone());
    let answer = move |mut stream: TcpStream, count: Arc<AtomicU64>| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n";
        let _ = stream.write_all(head).await;
        while let Ok(taken) = stream.write(&PIECE).await {
            count.fetch_add(taken as u64, SeqCst);
        }
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, count.clone()));
            }
        });
    });
    (addr, written)
}

/// A client that allows as much as can be said.
fn greedy(balancer: &Balancer) -> Raw {
    let mut client = Raw::connect(balancer);
    let most: u32 = (1 << 31) - 1;
    let window = [&[0, 4][..], &most.to_be_bytes()].concat();
    client.write(SETTINGS, 0, 0, &window);
    client.write(WINDOW_UPDATE, 0, 0, &(most - 65_535).to_be_bytes());
    client
}

/// A client whose connection may carry everything, and each of its streams no more than at first.
fn narrow(balancer: &Balancer) -> Raw {
    let mut client = Raw::connect(balancer);
    client.write(WINDOW_UPDATE, 0, 0, &((1u32 << 31) - 1 - 65_535).to_be_bytes());
    client
}

fn ask(client: &mut Raw, stream: u32, path: &str, more: &[(&str, &str)]) {
    let mut asked = GET.to_vec();
    asked[3].1 = path;
    asked.extend(more);
    client.write(HEADERS, END_HEADERS | END_STREAM, stream, &block(&asked));
}

/// The next of a stream's body.
fn data(client: &mut Raw, stream: u32) -> Vec<u8> {
    loop {
        let frame = client.read().expect("the connection goes on");
        if (frame.kind, frame.stream) == (DATA, stream) {
            return frame.payload;
        }
    }
}

/// Waits until nothing has been counted for a while.
fn settled(count: &AtomicU64) {
    let mut last = (count.load(SeqCst), Instant::now());
    until("nothing moves any more", || {
        if count.load(SeqCst) != last.0 {
            last = (count.load(SeqCst), Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(500)
    });
}

/// Bytes of memory that this process holds: not what is resident, since an allocator keeps what was freed.
#[global_allocator]
static HELD: PeakAlloc = PeakAlloc;

#[test]
fn a_client_that_allows_everything_and_reads_nothing_costs_little_memory() {
    for read_before in [0, 100 * MIB] {
        let (server, written) = endless();
        let many = |config: &mut crate::Config| config.edge.streams = STREAMS;
        let balancer = Balancer::with(many, &[routed("web", server, "urlprefix-/")]);
        let mut client = greedy(&balancer);
        let before = HELD.current_usage();
        for number in 0..STREAMS {
            client.write(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &block(&GET));
        }
        // Buffers grow while everything is taken fast.
        let mut read = 0;
        while read < read_before {
            read += client.read().unwrap().payload.len() as u64;
        }
        settled(&written);
        let grown = HELD.current_usage().saturating_sub(before) / (1024 * 1024);
        // 20 to 33 MiB, most of it the read buffers of the targets' connections; 72 where streams share no budget.
        assert!(grown < 48, "{grown} MiB after {read_before} bytes were read");
    }
}

/// A client of hyper's that sends `first` as the beginning of a body, and then nothing.
async fn begun(client: &mut SendRequest<Body>, kind: &str, first: &'static str) -> hyper::Result<u16> {
    let piece = Ok(Frame::data(Bytes::from_static(first.as_bytes())));
    let never = futures_util::stream::pending();
    let pieces = futures_util::stream::iter([piece]).chain(never);
    let body = BodyExt::boxed_unsync(StreamBody::new(pieces));
    let request = Request::post("http://a/").header("content-type", kind);
    let answer = client.send_request(request.body(body).unwrap()).await?;
    Ok(answer.status().as_u16())
}

#[test]
fn an_upload_that_stops_is_given_up_and_a_call_is_not() {
    let server = Server::start(|_| Some(ok("whole")));
    let lasting = H2Server::start(|request: Request<Incoming>| async {
        // Answers only when the call has ended.
        let _ = request.into_body().collect().await;
        Response::new(none())
    });
    let quick: fn(&mut crate::Config) = |config| config.edge.stall = Duration::from_millis(200);
    let timed: fn(&mut crate::Config) = |config| {
        config.edge.rate = 0;
        config.listeners[0].read_timeout = Some(Duration::from_millis(200));
    };
    for adapt in [quick, timed] {
        let routes = [
            routed("web", server.addr, "urlprefix-/"),
            routed("call", lasting.addr, "urlprefix-a/call proto=h2c"),
        ];
        let balancer = Balancer::with(adapt, &routes);
        run(async {
            let mut client = connect(&balancer).await;
            assert_eq!(begun(&mut client, "text/plain", "half").await.unwrap(), 408);
            let mut other = client.clone();
            let call = begun(&mut other, "application/grpc", "half");
            let call = tokio::time::timeout(Duration::from_secs(1), call).await;
            assert!(call.is_err(), "a call may be silent: {call:?}");
        });
        assert!(server.seen().is_empty());
    }
}

#[test]
fn an_answer_that_takes_longer_than_the_listener_allows_costs_its_stream_only() {
    let server = Server::start(|request| {
        if request.head.starts_with("GET /slow") {
            std::thread::sleep(DEADLINE);
        }
        Some(ok("x"))
    });
    let hasty = |config: &mut crate::Config| {
        config.listeners[0].write_timeout = Some(Duration::from_millis(300));
    };
    let balancer = Balancer::with(hasty, &[routed("web", server.addr, "urlprefix-/")]);
    run(async {
        let mut client = connect(&balancer).await;
        let slow = client.send_request(get("http://a/slow")).await;
        assert!(slow.is_err(), "{slow:?}");
        let answer = client.send_request(get("http://a/fast")).await.unwrap();
        assert_eq!(text(answer).await, "x");
    });
    until("it is counted", || balancer.metric("client_gone_total") == 1);
}

#[test]
fn a_client_that_reads_nothing_takes_no_server_of_http_2_from_others() {
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    let server = H2Server::start(move |request: Request<Incoming>| {
        let count = count.clone();
        async move {
            if request.uri().path() == "/small" {
                return Response::new(full("small"));
            }
            let pieces = futures_util::stream::repeat_with(move || {
                count.fetch_add(65_536, SeqCst);
                Ok(Frame::data(Bytes::from_static(&[b'x'; 65_536])))
            });
            Response::new(BodyExt::boxed_unsync(StreamBody::new(pieces)))
        }
    });
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/ proto=h2c")]);
    let mut client = greedy(&balancer);
    for number in 0..32 {
        client.write(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &block(&GET));
    }
    settled(&sent);
    assert_eq!(balancer.get("a", "/small").body, "small");
    assert_eq!(server.opened(), 1);
}

#[test]
fn a_stream_that_its_client_does_not_take_keeps_no_other_from_going_on() {
    let (server, written) = endless();
    let small = Server::saying("small");
    let many = |config: &mut crate::Config| config.edge.streams = STREAMS;
    let routes = [
        routed("web", server, "urlprefix-/"),
        routed("small", small.addr, "urlprefix-/small"),
    ];
    let balancer = Balancer::with(many, &routes);
    let mut client = narrow(&balancer);
    for number in 0..STREAMS - 1 {
        client.write(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &block(&GET));
    }
    settled(&written);
    let last = 2 * STREAMS - 1;
    ask(&mut client, last, "/small", &[]);
    assert_eq!(data(&mut client, last), b"small");
}

type Adapt = Box<dyn FnOnce(&mut crate::Config)>;

/// Gives up who does not go on for that long.
fn strict(stall: u64) -> impl FnOnce(&mut crate::Config) {
    move |config| config.edge.stall = Duration::from_millis(stall)
}

#[test]
fn a_stream_that_its_client_leaves_alone_is_reset_and_quiet_ones_go_on() {
    let (event, told) = channel::<&str>();
    let told = Mutex::new(told);
    let events = Server::speaking(move |mut stream, _| {
        let _ = stream.read(&mut [0; 4096]);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
        while let Ok(event) = told.lock().unwrap().recv() {
            let _ = write!(stream, "{:x}\r\n{event}\r\n", event.len());
        }
    });
    let routes = [
        routed("web", endless().0, "urlprefix-/"),
        routed("events", events.addr, "urlprefix-/events"),
    ];
    let balancer = Balancer::with(strict(300), &routes);
    let mut client = narrow(&balancer);
    ask(&mut client, 1, "/events", &[]);
    for number in [3, 5] {
        ask(&mut client, number, "/", &[]);
        assert!(client.outcome(number).expect("an answer").is_ok());
        assert_eq!(client.outcome(number), Some(Err(CANCEL)));
    }
    event.send("data: 1\n\n").unwrap();
    assert_eq!(data(&mut client, 1), b"data: 1\n\n");
    until("both are counted", || balancer.metric("client_gone_total") == 2);
}

#[test]
fn a_call_that_its_client_holds_back_is_neither_reset_nor_costs_its_connection() {
    let timed = |config: &mut crate::Config| {
        config.listeners[0].write_timeout = Some(Duration::from_millis(300));
    };
    let adapts: [Adapt; 2] = [Box::new(strict(300)), Box::new(timed)];
    for adapt in adapts {
        let balancer = Balancer::with(adapt, &[routed("web", endless().0, "urlprefix-/")]);
        let mut client = narrow(&balancer);
        ask(&mut client, 1, "/", &[("content-type", "application/grpc")]);
        // What is no call shows that time has run out, twice.
        for number in [3, 5] {
            ask(&mut client, number, "/", &[]);
            assert!(client.outcome(number).expect("an answer").is_ok());
            assert_eq!(client.outcome(number), Some(Err(CANCEL)));
        }
        client.write(WINDOW_UPDATE, 0, 1, &1u32.to_be_bytes());
        while data(&mut client, 1).len() != 1 {}
    }
}

#[test]
fn a_client_whose_socket_takes_nothing_loses_its_connection() {
    let balancer = Balancer::with(strict(300), &[routed("web", endless().0, "urlprefix-/")]);
    let mut client = greedy(&balancer);
    // Not even a call is spared.
    ask(&mut client, 1, "/", &[("content-type", "application/grpc")]);
    until("it is there", || balancer.metric("connections") == 1);
    until("it is given up", || balancer.metric("connections") == 0);
}

#[test]
fn the_rest_of_an_answer_that_its_client_lets_in_late_is_no_idling() {
    let server = Server::start(|request| {
        let length = request.head.split(['/', ' ']).nth(2)?.parse().ok()?;
        Some(ok(&"x".repeat(length)))
    });
    let adapt = |config: &mut crate::Config| {
        config.listeners[0].idle_timeout = Some(Duration::from_millis(200));
    };
    let balancer = Balancer::with(adapt, &[routed("web", server.addr, "urlprefix-/")]);
    // More than a stream may carry at first. Of one of them h2 has all.
    let asked = (66..100).map(|kilobytes| {
        let mut client = Raw::connect(&balancer);
        ask(&mut client, 1, &format!("/{}", kilobytes * 1000), &[]);
        (kilobytes * 1000, client)
    });
    let asked: Vec<(usize, Raw)> = asked.collect();
    std::thread::sleep(Duration::from_secs(1));
    for (length, mut client) in asked {
        for stream in [0, 1] {
            client.write(WINDOW_UPDATE, 0, stream, &100_000u32.to_be_bytes());
        }
        let mut taken = 0;
        while taken < length {
            taken += data(&mut client, 1).len();
        }
        assert_eq!(taken, length);
    }
    until("those that idle now are closed", || {
        balancer.metric("connections") == 0
    });
}
