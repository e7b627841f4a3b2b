//! A balancer in front of one server, and clients that read a whole answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use catalog::Picture;
use lb::config::{Listener, Ui};
use lb::{Config, Inputs, Lb};
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::picture::picture;

pub const WITHIN: Duration = Duration::from_secs(10);

// Tests of metrics and traces come to use the rest.
#[allow(dead_code)]
pub struct Balancer {
    pub http: SocketAddr,
    pub ui: SocketAddr,
    pub pictures: watch::Sender<Picture>,
    pub server: SocketAddr,
    /// Heads of the requests that the server got.
    pub heads: mpsc::UnboundedReceiver<String>,
    pub reloader: lb::Reloader,
    bound: Vec<lb::Bound>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<Result<(), lb::RunError>>,
}

#[allow(dead_code)]
impl Balancer {
    /// With the route `foo.com/`, and what `change` does to the configuration.
    pub async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let (server, heads) = server().await;
        let config = Self::config(change);
        let services = format!("web {server} check=passing\n  urlprefix-foo.com/");
        let (pictures, instances) = watch::channel(picture(&services));
        let lb = config.build(Inputs::of(instances), &Registry::new()).unwrap();
        let addr = |what: &str| lb.bound().iter().find(|bound| bound.what == what).unwrap().addr;
        let (http, ui) = (addr("http"), addr("ui"));
        let (bound, reloader) = (lb.bound(), lb.reloader());
        let stop = CancellationToken::new();
        let running = tokio::spawn(Lb::run(lb, stop.clone()));
        eventually("it listens", async || TcpStream::connect(http).await.ok()).await;
        Self {
            http,
            ui,
            pictures,
            server,
            heads,
            reloader,
            bound,
            stop,
            running,
        }
    }

    /// What `change` does to a configuration with one listener and an admin server.
    pub fn config(change: impl FnOnce(&mut Config)) -> Config {
        let any = "127.0.0.1:0".parse().unwrap();
        let mut config = Config {
            listeners: vec![Listener::http(any)],
            ui: Some(Ui::at(any)),
            workers: 2,
            ..Config::default()
        };
        change(&mut config);
        config
    }

    pub fn bound(&self, what: &str) -> SocketAddr {
        self.bound.iter().find(|bound| bound.what == what).unwrap().addr
    }

    /// GET, with these further header lines.
    pub async fn get(&self, host: &str, path: &str, headers: &str) -> String {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
        say(self.http, &head).await
    }

    /// From the admin server.
    pub async fn admin(&self, path: &str) -> String {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        say(self.ui, &head).await
    }

    pub async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(WITHIN, self.running)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

/// Sends, and reads to the end.
pub async fn say(addr: SocketAddr, request: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    tokio::time::timeout(WITHIN, exchange).await.unwrap()
}

/// Asks again until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < WITHIN, "not within {WITHIN:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Says hello, and tells the head of each request. A path `/status/<code>` is answered so.
async fn server() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (tell, heads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    head.push(byte);
                }
                let head = String::from_utf8(head).unwrap();
                let status = head
                    .split_once("/status/")
                    .map_or("200", |(_, rest)| rest.split(' ').next().unwrap());
                let answer =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
                let _ = tell.send(head.clone());
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (addr, heads)
}
