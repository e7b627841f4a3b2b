//! Workers under test, servers behind them and clients in front.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use catalog::check::{Check, CheckSpec};
use catalog::node::NodeSpec;
use catalog::{Instance, Node, Picture, Service, ServiceSpec, Status};
use prometheus::Registry;
use prometheus::core::Collector;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::access_log::{AccessLog, Format};
use crate::config::{Config, Listener, Strategy};
use crate::current::Current;
use crate::metrics::{Metrics, Scrape};
use crate::router::Router;
use crate::tls::Stores;
use crate::worker::{Reloader, Shared, Workers};

/// Nothing here takes longer on a working balancer.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// A service's instance at `addr` with one route tag; its check is critical unless `fit`.
#[derive(Clone)]
pub(super) struct Routed {
    pub service: &'static str,
    pub addr: SocketAddr,
    pub tag: String,
    pub fit: bool,
}

pub(super) fn routed(service: &'static str, addr: SocketAddr, tag: impl Into<String>) -> Routed {
    Routed {
        service,
        addr,
        tag: tag.into(),
        fit: true,
    }
}

fn instance(number: usize, routed: &Routed) -> Instance {
    let node = NodeSpec {
        name: "node".into(),
        address: "127.0.0.1".into(),
        ..NodeSpec::default()
    };
    let id: Arc<str> = format!("{}-{number}", routed.service).into();
    let service = ServiceSpec {
        id: id.clone(),
        name: routed.service.into(),
        address: routed.addr.ip().to_string(),
        port: routed.addr.port(),
        tags: vec![routed.tag.clone()],
        ..ServiceSpec::default()
    };
    let check = CheckSpec {
        id: "check".into(),
        name: String::new(),
        status: if routed.fit {
            Status::Passing
        } else {
            Status::Critical
        },
        notes: String::new(),
        output: String::new(),
        service_id: Some(id),
        kind: String::new(),
    };
    let check = Check {
        node: node.name.clone(),
        spec: check,
        service_name: service.name.clone(),
        service_tags: Vec::new(),
        created: 1,
        modified: 1,
    };
    Instance {
        node: Arc::new(Node {
            spec: node,
            created: 1,
            modified: 1,
        }),
        service: Arc::new(Service {
            spec: service,
            created: 1,
            modified: 1,
        }),
        checks: vec![Arc::new(check)],
    }
}

/// Running workers.
pub(super) struct Balancer {
    /// Of the first listener.
    pub addr: SocketAddr,
    /// Of all that have one.
    pub bound: Vec<SocketAddr>,
    pub reloader: Reloader,
    pub stop: CancellationToken,
    pub log: Sink,
    pub metrics: Arc<Metrics>,
    router: Router,
    pub stores: Stores,
    pub no_route: watch::Sender<Arc<str>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Balancer {
    pub fn start(routes: &[Routed]) -> Self {
        Self::with(|_| {}, routes)
    }

    /// One HTTP listener and one worker unless `adapt` says otherwise.
    pub fn with(adapt: impl FnOnce(&mut Config), routes: &[Routed]) -> Self {
        let mut config = Config {
            listeners: vec![Listener::http("127.0.0.1:0".parse().unwrap())],
            workers: 1,
            strategy: Strategy::Rr,
            shutdown_wait: DEADLINE,
            ..Config::default()
        };
        adapt(&mut config);
        let config = Arc::new(config);
        let router = Router::new(config.clone(), watch::Sender::new(false), &Registry::new()).unwrap();
        let stores = Stores::build(&config.certs, None, router.live()).unwrap();
        let current = Current::new(config.clone()).unwrap();
        let shared = super::shared(&current);
        let workers = Workers::claim(current, &stores).unwrap();
        let bound: Vec<SocketAddr> = workers.bound().map(|(addr, _)| addr).collect();
        let reloader = workers.reloader();
        let (table, swapped) = (router.live(), router.swapped());
        let log = Sink::default();
        let access_log = config
            .access_log
            .as_ref()
            .map(|asked| AccessLog::start(Format::parse(&asked.format).unwrap(), log.clone()).unwrap());
        let metrics = Arc::new(Metrics::new(&config, table.clone(), access_log.clone()));
        let no_route = watch::Sender::new(Arc::from(""));
        let shared = Shared {
            table,
            metrics: metrics.clone(),
            access_log,
            stores: stores.clone(),
            no_route: no_route.subscribe(),
            ..shared
        };
        let stop = CancellationToken::new();
        let mut balancer = Self {
            addr: bound.first().copied().unwrap_or_else(nobody),
            bound,
            reloader,
            stop,
            log,
            metrics,
            router,
            stores: stores.clone(),
            no_route,
            thread: None,
        };
        balancer.route(routes);
        let stop = balancer.stop.clone();
        balancer.thread = Some(std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::spawn(stores.run(stop.clone()));
                workers.run(shared, swapped, stop).await
            })
        }));
        balancer
    }

    /// Replaces the route commands.
    pub fn command(&mut self, commands: &str) {
        self.router.command(commands.into());
    }

    /// Replaces the table.
    pub fn route(&mut self, routes: &[Routed]) {
        let instances = routes
            .iter()
            .enumerate()
            .map(|(number, routed)| instance(number, routed));
        let picture: Picture = instances
            .map(|instance| (instance.key(), Arc::new(instance)))
            .collect();
        self.router.update(picture);
        let table = self.router.live().load_full();
        assert_eq!(table.skipped().next(), None);
    }

    pub fn connect(&self) -> Client {
        Client::to(self.addr)
    }

    /// One request on a connection of its own.
    pub fn get(&self, host: &str, path: &str) -> Answer {
        self.connect()
            .ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    /// Sum of a metric over all its labels.
    pub fn metric(&self, name: &str) -> u64 {
        let families = Scrape(self.metrics.clone()).collect();
        let family = families
            .iter()
            .find(|family| family.name() == format!("lictor_lb_{name}"));
        let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
        let number = |metric: &prometheus::proto::Metric| {
            metric.get_counter().get_value()
                + metric.get_gauge().get_value()
                + metric.get_histogram().get_sample_count() as f64
        };
        metrics.iter().map(number).sum::<f64>() as u64
    }

    /// Stops and waits until it has.
    pub fn end(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Waits until `done`, with a deadline.
pub(super) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Where the access log goes.
#[derive(Clone, Default)]
pub(super) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A message as read from a connection: head without its last empty line, body with its framing removed.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Values of a header, in order.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }
}

/// Reads one message; `None` when the connection ends before it.
fn read_message(reader: &mut BufReader<TcpStream>, has_body: bool) -> Option<Answer> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut answer = Answer {
        head: head.trim_end().to_owned(),
        body: String::new(),
    };
    let mut body = Vec::new();
    if !has_body {
    } else if answer.header("transfer-encoding") == ["chunked"] {
        loop {
            let mut size = String::new();
            if reader.read_line(&mut size).unwrap_or(0) == 0 {
                return None;
            }
            let size = usize::from_str_radix(size.trim().split(';').next().unwrap(), 16).ok()?;
            let mut chunk = vec![0; size];
            reader.read_exact(&mut chunk).ok()?;
            body.extend(chunk);
            if size == 0 {
                answer.head.push('\n');
                while reader.read_line(&mut answer.head).ok()? > 2 {}
                break;
            }
            reader.read_exact(&mut [0; 2]).ok()?;
        }
    } else if let [length] = answer.header("content-length")[..] {
        body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut body).ok()?;
    }
    answer.body = String::from_utf8(body).unwrap();
    Some(answer)
}

/// A client that writes what it likes.
pub(super) struct Client(BufReader<TcpStream>);

/// A connection; the listener may be opening just now.
pub(super) fn dial(addr: SocketAddr) -> TcpStream {
    let connected = || TcpStream::connect_timeout(&addr, DEADLINE).ok();
    let mut stream = connected();
    until("connecting", || {
        stream = stream.take().or_else(connected);
        stream.is_some()
    });
    let stream = stream.unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

impl Client {
    pub fn to(addr: SocketAddr) -> Self {
        Self(BufReader::new(dial(addr)))
    }

    pub fn write(&mut self, bytes: &str) {
        self.0.get_mut().write_all(bytes.as_bytes()).unwrap();
    }

    /// Writes while answers are read.
    pub fn writer(&self) -> TcpStream {
        self.0.get_ref().try_clone().unwrap()
    }

    pub fn close_write(&mut self) {
        self.0.get_mut().shutdown(Shutdown::Write).unwrap();
    }

    /// Leaves without a goodbye.
    pub fn reset(self) {
        let stream = self.0.into_inner();
        socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// `None`: the connection ended without one.
    pub fn answer(&mut self) -> Option<Answer> {
        read_message(&mut self.0, true)
    }

    pub fn head(&mut self) -> Answer {
        read_message(&mut self.0, false).expect("an answer")
    }

    pub fn ask(&mut self, request: &str) -> Answer {
        self.write(request);
        self.answer().expect("an answer")
    }

    pub fn read(&mut self, bytes: usize) -> String {
        let mut read = vec![0; bytes];
        self.0.read_exact(&mut read).unwrap();
        String::from_utf8(read).unwrap()
    }

    /// One chunk of a chunked body; empty: the last.
    pub fn chunk(&mut self) -> Vec<u8> {
        let mut size = String::new();
        self.0.read_line(&mut size).unwrap();
        let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).unwrap()];
        self.0.read_exact(&mut chunk).unwrap();
        self.0.read_exact(&mut [0; 2]).unwrap();
        chunk
    }

    /// As `rest`, whatever bytes it is.
    pub fn read_all(&mut self, into: &mut Vec<u8>) {
        let _ = self.0.read_to_end(into);
    }

    /// Everything until the other side closes or resets.
    pub fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
        String::from_utf8(rest).unwrap()
    }
}

/// A server that reads whole requests and answers with the bytes it is told to; `None` closes.
pub(super) struct Server {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Vec<Answer>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub fn start(answer: impl Fn(&Answer) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::speaking(move |stream, seen| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut stream = stream;
            while let Some(request) = read_message(&mut reader, true) {
                seen.lock().unwrap().push(request.clone());
                let Some(answer) = answer(&request) else { break };
                if stream.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        })
    }

    /// 200 with this body.
    pub fn saying(body: &'static str) -> Self {
        Self::start(move |_| Some(ok(body)))
    }

    /// Runs `speak` for each connection.
    pub fn speaking(speak: impl Fn(TcpStream, &Mutex<Vec<Answer>>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = Self {
            addr,
            seen: Arc::default(),
            connections: Arc::default(),
        };
        let (seen, connections, speak) = (server.seen.clone(), server.connections.clone(), Arc::new(speak));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, SeqCst);
                let (seen, speak) = (seen.clone(), speak.clone());
                std::thread::spawn(move || speak(stream, &seen));
            }
        });
        server
    }

    pub fn seen(&self) -> Vec<Answer> {
        self.seen.lock().unwrap().clone()
    }

    /// The only request it got.
    pub fn only(&self) -> Answer {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

pub(super) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// An address where nobody listens.
pub(super) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
