//! A real listener, a real store, a real client.

mod blocking;
mod plumbing;
mod shapes;
mod watching;

use std::time::Duration;

use ::catalog::{Command, Status};
use api::client::{Client, Config};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::check::Checks;
use crate::leader;
use crate::sync::Sync;

/// Longer than anything here takes, shorter than anybody's patience.
const SOON: Duration = Duration::from_secs(10);

/// An agent's HTTP side. It ends with the runtime of its test.
struct Server {
    address: SocketAddr,
    client: Client,
    context: Context,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<io::Result<()>>,
}

/// An answer as it came over the wire.
#[derive(Debug)]
struct Answered {
    status: u16,
    headers: String,
    body: String,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    fn error(&self) -> (u16, &str) {
        assert_eq!(
            self.header("content-type"),
            Some("text/plain; charset=utf-8"),
            "{self:?}"
        );
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{self:?}");
        (self.status, &self.body)
    }
}

impl Server {
    async fn start() -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into()).await
    }

    async fn start_at(address: SocketAddr) -> Self {
        let identity = Arc::new(Identity {
            node: "n1".into(),
            id: "11111111-2222-3333-4444-555555555555".to_owned(),
            datacenter: "dc1".to_owned(),
            domain: "consul".to_owned(),
            advertise: "127.0.0.1".parse().unwrap(),
            dev: false,
        });
        let stop = CancellationToken::new();
        let store = Store::new(stop.clone());
        leader::enlist(&store, &identity).await.unwrap();
        let (events, _results) = tokio::sync::mpsc::channel(8);
        let checks = Checks::new(events, stop.clone());
        let local = Local::new(checks, Sync::new(identity.clone(), store.clone()));
        let registry = prometheus::Registry::new();
        let context = Context::new(store, local, identity, registry).unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = tokio::spawn(run(listener, context.clone(), stop.clone()));
        let client = Client::new(&Config::new(address.to_string())).unwrap();
        Self {
            address,
            client,
            context,
            stop,
            running,
        }
    }

    async fn send(&self, request: &str) -> Answered {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(SOON, stream.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let (line, headers) = head.split_once("\r\n").unwrap();
        Answered {
            status: line.split(' ').nth(1).unwrap().parse().unwrap(),
            headers: headers.to_owned(),
            body: body.to_owned(),
        }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Answered {
        let length = body.len();
        self.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    async fn get(&self, path: &str) -> Answered {
        self.ask("GET", path, "").await
    }

    async fn put(&self, path: &str, body: &Value) -> Answered {
        self.ask("PUT", path, &body.to_string()).await
    }

    /// A service with a TTL check that has the given status.
    async fn register(&self, id: &str, name: &str, status: Status) {
        let check = json!({ "TTL": "1h", "Status": status });
        let body = json!({ "ID": id, "Name": name, "Port": 80, "Check": check });
        let answer = self.put("/v1/agent/service/register", &body).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    }

    /// Waits until so many requests wait.
    async fn waiting(&self, requests: i64) {
        until(|| self.context.waiting.get() == requests).await;
    }
}

#[tokio::test]
async fn stopping_answers_who_waits_and_closes_who_idles() {
    let server = Server::start().await;
    let waiting = server.client.clone();
    let query = api::Query {
        index: 99_999,
        ..api::Query::default()
    };
    let waiting = tokio::spawn(async move { waiting.services(&query).await });
    server.waiting(1).await;
    // A request of which only the beginning arrives.
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /v1/agent/se").await.unwrap();
    server.stop.cancel();
    let answer = tokio::time::timeout(SOON, waiting)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(answer.index < 99_999);
    tokio::time::timeout(SOON, server.running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

/// Waits until `holds`, which has to be soon.
async fn until(mut holds: impl FnMut() -> bool) {
    let all_over = tokio::time::Instant::now() + SOON;
    while !holds() {
        assert!(
            tokio::time::Instant::now() < all_over,
            "this should have come true by now"
        );
        tokio::task::yield_now().await;
    }
}

/// A node somewhere else with one service.
fn elsewhere(node: &str, service: &str, port: u16) -> Command {
    let service = json!({ "Service": service, "Port": port });
    let body = json!({ "Node": node, "Address": "10.0.0.9", "Service": service });
    api::wire::external::register(body.to_string().as_bytes())
        .unwrap()
        .command
}
