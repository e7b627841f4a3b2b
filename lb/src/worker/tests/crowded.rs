//! More clients than there may be.

use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::poll;
use prometheus::{IntCounter, Opts};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::h2::raw::{END_HEADERS, END_STREAM, HEADERS, SETTINGS, block, frame};
use super::harness::{Balancer, Client, DEADLINE, Server, ok, routed, until};
use crate::arrival::{Arrival, Stream};
use crate::config::{Config, Listener};
use crate::current::Current;
use crate::http;
use crate::http::patience::Patience;
use crate::worker::crowd::Place;
use crate::worker::{Worker, scrape};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn at_most(total: usize) -> impl FnOnce(&mut Config) {
    move |config| config.edge.total = Some(total)
}

#[test]
fn silent_clients_make_room_then_those_that_have_been_idle_longest() {
    let server = Server::saying("x");
    let balancer = Balancer::with(at_most(4), &[routed("web", server.addr, "urlprefix-/")]);
    let kept = || {
        let mut client = balancer.connect();
        assert_eq!(client.ask(GET).status(), 200);
        client
    };
    let (mut first, mut second) = (kept(), kept());
    let mut silent: Vec<Client> = (0..2).map(|_| balancer.connect()).collect();
    until("all are inside", || balancer.metric("connections") == 4);
    // Newcomers make no room, and nothing shows when they cease to be new.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(first.ask(GET).status(), 200, "so the second has idled longer");
    let mut newcomers: Vec<Client> = (0..3).map(|_| kept()).collect();
    assert_eq!(
        (silent[0].rest(), silent[1].rest()),
        (String::new(), String::new())
    );
    assert_eq!(second.rest(), "");
    assert_eq!(first.ask(GET).status(), 200);
    assert!(newcomers.iter_mut().all(|client| client.ask(GET).status() == 200));
    assert_eq!(balancer.metric("connections_given_up_total"), 3);
}

#[test]
fn hundreds_of_silent_clients_keep_nobody_out() {
    let server = Server::saying("x");
    let balancer = Balancer::with(at_most(40), &[routed("web", server.addr, "urlprefix-/")]);
    let silent: Vec<Client> = (0..300).map(|_| balancer.connect()).collect();
    for _ in 0..50 {
        assert_eq!(balancer.get("a", "/").status(), 200);
    }
    until("there are as many as may be", || {
        balancer.metric("connections") <= 40
    });
    drop(silent);
}

#[test]
fn a_want_of_descriptors_is_ours_and_no_fault_of_the_target() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let server = Server::saying("x");
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    let mut client = balancer.connect();
    until("it is inside", || balancer.metric("connections") == 1);
    let before = getrlimit(Resource::Nofile);
    // Nothing can be opened, whatever is open.
    let none = Rlimit {
        current: Some(0),
        ..before
    };
    setrlimit(Resource::Nofile, none).unwrap();
    let answer = client.ask(GET);
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!(
        (answer.status(), &*answer.body, answer.header("retry-after")),
        (503, "no room for a connection to upstream\n", vec!["1"])
    );
    assert_eq!(client.ask(GET).status(), 200);
    assert_eq!(balancer.metric("outlier_ejections_total"), 0);
}

#[test]
fn where_everybody_is_served_newcomers_wait() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let (now, peak) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let highest = peak.clone();
    let server = Server::start(move |_| {
        highest.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        let _ = released.lock().unwrap().recv();
        now.fetch_sub(1, SeqCst);
        Some(ok("x"))
    });
    let echo = Server::speaking(|stream, _| {
        let _ = io::copy(&mut &stream, &mut &stream);
    });
    let adapt = |config: &mut Config| {
        config
            .listeners
            .push(Listener::tcp("127.0.0.1:0".parse().unwrap()));
        config.edge.total = Some(2);
    };
    let mut balancer = Balancer::with(adapt, &[]);
    balancer.route(&[
        routed("web", server.addr, "urlprefix-/"),
        routed(
            "tcp",
            echo.addr,
            format!("urlprefix-:{} proto=tcp", balancer.bound[1].port()),
        ),
    ]);
    let mut tunnel = Client::to(balancer.bound[1]);
    tunnel.write("hello");
    assert_eq!(tunnel.read(5), "hello");
    let mut served = balancer.connect();
    served.write(GET);
    until("it is served", || server.seen().len() == 1);
    let mut waiting: Vec<Client> = (0..8).map(|_| balancer.connect()).collect();
    for client in &mut waiting {
        client.write(GET);
    }
    for _ in 0..9 {
        release.send(()).unwrap();
    }
    assert_eq!(served.answer().unwrap().status(), 200);
    for client in &mut waiting {
        assert_eq!(client.answer().unwrap().status(), 200);
    }
    // One that was about to be accepted is not sent back.
    assert!(peak.load(SeqCst) <= 2, "{peak:?}");
    tunnel.write("hello");
    assert_eq!(tunnel.read(5), "hello");
}

/// A client's side of a connection that needs no system, so that nothing happens unless it is polled.
#[derive(Debug)]
struct Pipe(DuplexStream);

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Stream for Pipe {
    fn poll_waiting(&self, _: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // Its client writes before it is asked.
        Poll::Ready(Ok(1))
    }

    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

/// A worker with one client, which idles and is one too many.
fn full() -> (Rc<Worker>, Place, Arrival) {
    let current = Current::new(Arc::new(Config::default())).unwrap();
    let shared = super::shared(&current);
    let page = Opts::new("page", "long ".repeat(1000));
    let page = IntCounter::with_opts(page).unwrap();
    shared.registry.register(Box::new(page)).unwrap();
    let worker = Rc::new(Worker::new(0, shared, CancellationToken::new()));
    worker.crowd.set_most(1);
    let place = worker.crowd.enter(CancellationToken::new());
    drop(place.seat().asks());
    let somebody = ([127, 0, 0, 1], 1).into();
    let arrival = Arrival {
        client: somebody,
        peer: somebody,
        local: somebody,
        tls: None,
        stop: place.seat().stop.clone(),
        seat: place.seat(),
    };
    (worker, place, arrival)
}

/// Runs it where tasks of this thread can be started, with a deadline.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let tasks = LocalSet::new();
    let test = tasks.run_until(async { tokio::time::timeout(DEADLINE, test).await });
    runtime.block_on(test).expect("in time");
}

#[test]
fn who_asks_over_http_2_makes_no_room_in_that_very_moment() {
    run(async {
        let (worker, _place, arrival) = full();
        let asked = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/"),
        ];
        let (ours, mut theirs) = duplex(65_536);
        theirs
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        theirs.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        let asked = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&asked));
        theirs.write_all(&asked).await.unwrap();
        let listener = Listener::http("127.0.0.1:0".parse().unwrap());
        let patience = Patience::new(&listener, &worker.config().edge, Instant::now());
        let mut served = pin!(http::serve(worker.clone(), patience, Pipe(ours), arrival));
        // Whatever it starts runs only after this.
        for _ in 0..16 {
            assert!(poll!(served.as_mut()).is_pending());
        }
        assert_eq!(worker.crowd.make_room(), 0);
    });
}

#[test]
fn a_scraper_that_takes_its_page_makes_no_room_before_it_has_it() {
    run(async {
        let (worker, _place, arrival) = full();
        let (ours, mut theirs) = duplex(64);
        let scraping = {
            let worker = worker.clone();
            async move { scrape::serve(&worker, Pipe(ours), &arrival).await }
        };
        tokio::task::spawn_local(scraping);
        theirs
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        let mut page = vec![0; 1024];
        theirs.read_exact(&mut page).await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(worker.crowd.make_room(), 0);
        while !page.ends_with(b"\npage 0\n") {
            theirs.read_buf(&mut page).await.unwrap();
        }
        while worker.crowd.make_room() == 0 {
            tokio::task::yield_now().await;
        }
    });
}
