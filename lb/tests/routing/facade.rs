//! The whole balancer: claimed, run, drained.

use std::net::SocketAddr;
use std::time::Duration;

use lb::config::Listener;
use lb::{BuildError, Config, Inputs, Lb};
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::picture::picture;

const WITHIN: Duration = Duration::from_secs(10);

fn config() -> Config {
    let any = "127.0.0.1:0".parse().unwrap();
    Config {
        listeners: vec![Listener::http(any)],
        ui: Some(lb::config::Ui::at(any)),
        workers: 2,
        ..Config::default()
    }
}

fn addr(lb: &Lb, what: &str) -> SocketAddr {
    lb.bound().iter().find(|bound| bound.what == what).unwrap().addr
}

async fn get(addr: SocketAddr, host: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    tokio::time::timeout(WITHIN, exchange).await.unwrap()
}

/// A server that greets every connection once.
async fn greeter() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
                .await;
        }
    });
    addr
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_from_the_first_table_on_and_ends_when_told() {
    let server = greeter().await;
    let services = format!("web {server} base=web cport=80\ndown {server} base=down cport=80 check=critical");
    let (_pictures, instances) = watch::channel(picture(&services));
    let lb = config().build(Inputs::of(instances), &Registry::new()).unwrap();
    let (http, ui) = (addr(&lb, "http"), addr(&lb, "ui"));
    // Claimed is not listening: nobody gets a 404 from a table that is not there yet.
    assert!(TcpStream::connect(http).await.is_err());

    let mut ready = lb.ready();
    let stop = CancellationToken::new();
    let running = tokio::spawn(lb.run(stop.clone()));
    tokio::time::timeout(WITHIN, ready.wait_for(|ready| *ready))
        .await
        .unwrap()
        .unwrap();
    let listening = async {
        while TcpStream::connect(http).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WITHIN, listening).await.unwrap();
    assert!(get(http, "web-80.localhost").await.ends_with("hello"));
    assert!(get(http, "down.localhost").await.starts_with("HTTP/1.1 503"));
    assert!(get(http, "other.localhost").await.starts_with("HTTP/1.1 404"));
    assert!(get(ui, "localhost").await.starts_with("HTTP/1.1 303"));

    stop.cancel();
    tokio::time::timeout(WITHIN, running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(!*ready.borrow());
    assert!(TcpStream::connect(http).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_answered_before_the_source_of_routes_is_known() {
    let server = greeter().await;
    let (pictures, instances) = watch::channel(picture(""));
    let (source, known) = watch::channel(false);
    let inputs = Inputs {
        known,
        ..Inputs::of(instances)
    };
    let lb = config().build(inputs, &Registry::new()).unwrap();
    let (http, ui) = (addr(&lb, "http"), addr(&lb, "ui"));
    let mut ready = lb.ready();
    let stop = CancellationToken::new();
    let running = tokio::spawn(lb.run(stop.clone()));
    // Admin answers, so the router would have had its time.
    assert!(get(ui, "localhost").await.starts_with("HTTP/1.1 303"));
    assert!(!*ready.borrow());
    assert!(TcpStream::connect(http).await.is_err());
    pictures.send_replace(picture(&format!("web {server} base=web cport=80")));
    source.send_replace(true);
    tokio::time::timeout(WITHIN, ready.wait_for(|ready| *ready))
        .await
        .unwrap()
        .unwrap();
    let listening = async {
        while TcpStream::connect(http).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WITHIN, listening).await.unwrap();
    assert!(get(http, "web-80.localhost").await.ends_with("hello"));
    stop.cancel();
    tokio::time::timeout(WITHIN, running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap();
    let (_pictures, instances) = watch::channel(picture(""));
    let build = |config: Config| {
        let inputs = Inputs::of(instances.clone());
        config.build(inputs, &Registry::new()).unwrap_err()
    };
    let error = build(Config {
        listeners: vec![Listener::http(addr)],
        ..config()
    });
    assert!(
        matches!(error, BuildError::Listener(_)) && error.to_string().contains(&addr.to_string()),
        "{error}"
    );
    let error = build(Config {
        ui: Some(lb::config::Ui::at(addr)),
        ..config()
    });
    assert!(
        error
            .to_string()
            .starts_with(&format!("ui.addr: cannot listen on {addr}")),
        "{error}"
    );
    let error = build(Config {
        access_log: Some(lb::config::AccessLog::stdout("$nonsense")),
        ..config()
    });
    assert!(error.to_string().contains("$nonsense"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_drains_it_serves_and_says_that_it_is_not_ready() {
    let server = greeter().await;
    let services = format!("web {server} base=web cport=80");
    let (_pictures, instances) = watch::channel(picture(&services));
    let lb = config().build(Inputs::of(instances), &Registry::new()).unwrap();
    let (http, ui) = (addr(&lb, "http"), addr(&lb, "ui"));
    let (mut ready, reloader, stop_time) = (lb.ready(), lb.reloader(), lb.stop_time());
    assert_eq!(stop_time(), Duration::ZERO);
    let stop = CancellationToken::new();
    let running = tokio::spawn(lb.run(stop.clone()));
    let up = ready.wait_for(|ready| *ready);
    tokio::time::timeout(WITHIN, up).await.unwrap().unwrap();
    let listening = async {
        while TcpStream::connect(http).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WITHIN, listening).await.unwrap();
    assert!(page(ui, "/ready").await.starts_with("HTTP/1.1 200"));
    // Its times are those of the last configuration.
    let patient = Config {
        grace: Duration::from_secs(2),
        shutdown_wait: WITHIN,
        ..config()
    };
    reloader.apply(patient).await.unwrap();
    assert_eq!(stop_time(), Duration::from_secs(12));

    stop.cancel();
    let withdrawn = ready.wait_for(|ready| !*ready);
    tokio::time::timeout(WITHIN, withdrawn).await.unwrap().unwrap();
    assert!(page(ui, "/ready").await.starts_with("HTTP/1.1 503"));
    assert!(page(ui, "/health").await.starts_with("HTTP/1.1 200"));
    let answer = get(http, "web-80.localhost").await;
    assert!(answer.ends_with("hello"), "{answer}");
    // Nothing is open, so it does not wait for the ten seconds that it could.
    let ended = tokio::time::timeout(WITHIN / 2, running).await;
    ended.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(http).await.is_err());
    assert!(reloader.apply(Config::default()).await.is_err());
}

async fn page(addr: SocketAddr, path: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    tokio::time::timeout(WITHIN, exchange).await.unwrap()
}
