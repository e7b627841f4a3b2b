//! The Consul registry against an agent that writes down what it is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::client::Config;
use catalog::check::{Definition, Probe};
use catalog::{Registration, ServiceSpec, Status};
use registrator::registry::consul::Consul;
use registrator::registry::{Error, Offer, Registry};
use registrator::{Port, Protocol};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

type Told = Arc<Mutex<Vec<String>>>;

/// An agent on a free port, and what it was told: method, path and body.
async fn agent(answer: &'static str) -> (Consul, Told) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let told = Told::default();
    let heard = told.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, heard.clone(), answer));
        }
    });
    (at(address), told)
}

fn at(address: SocketAddr) -> Consul {
    Consul::new(&Config::new(address.to_string())).unwrap()
}

async fn serve(mut stream: TcpStream, told: Told, answer: &'static str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let line = head
        .lines()
        .next()
        .unwrap()
        .trim_end_matches(" http/1.1")
        .to_owned();
    told.lock()
        .unwrap()
        .push(format!("{line} {}", String::from_utf8(body).unwrap()));
    let _ = stream.write_all(answer.as_bytes()).await;
}

fn wanted(status: Status, output: &str) -> Offer {
    let check = Definition {
        id: "container:t1:r:6379".into(),
        name: "Service 'redis' container".to_owned(),
        notes: String::new(),
        initial: Some(status),
        output: output.to_owned(),
        probe: Probe::Container,
        success_before_passing: 0,
        failures_before_critical: 0,
        deregister_critical_after: None,
    };
    let service = ServiceSpec {
        id: "t1:r:6379".into(),
        name: "redis".into(),
        port: 10_000,
        ..ServiceSpec::default()
    };
    Offer {
        registration: Arc::new(Registration {
            service,
            checks: vec![check],
        }),
        port: Port {
            number: 6379,
            protocol: Protocol::Tcp,
        },
        container: "c0".into(),
        inside_name: String::new(),
        attributes: BTreeMap::new(),
        fit: status,
        why: Vec::new(),
    }
}

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";

#[tokio::test]
async fn a_containers_state_is_told_to_an_agent_that_cannot_see_it() {
    let (registry, told) = agent(FINE).await;
    registry
        .register(&wanted(Status::Passing, "running"))
        .await
        .unwrap();
    registry
        .refresh(&wanted(Status::Critical, "stopping (SIGTERM)"))
        .await
        .unwrap();
    registry.deregister("t1:r:6379").await.unwrap();
    assert_eq!(registry.services().await.unwrap(), Some(Vec::new()));
    let told = told.lock().unwrap();
    assert!(
        told[0].starts_with("put /v1/agent/service/register "),
        "{}",
        told[0]
    );
    assert!(
        told[0].contains(r#""TTL":"87600h0m0s""#) && told[0].contains(r#""Status":"passing""#),
        "{}",
        told[0]
    );
    let rest: Vec<&str> = told[1..].iter().map(String::as_str).collect();
    assert_eq!(
        rest,
        [
            r#"put /v1/agent/check/update/container%3at1%3ar%3a6379 {"Output":"running","Status":"passing"}"#,
            r#"put /v1/agent/check/update/container%3at1%3ar%3a6379 {"Output":"stopping (SIGTERM)","Status":"critical"}"#,
            "put /v1/agent/service/deregister/t1%3ar%3a6379 ",
            "get /v1/agent/services ",
        ]
    );
}

#[tokio::test]
async fn a_refusal_and_an_absence_are_told_apart() {
    let refusal =
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 17\r\nConnection: close\r\n\r\nPermission denied";
    let (registry, _) = agent(refusal).await;
    let error = registry
        .register(&wanted(Status::Passing, "running"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Refused(text) if text.contains("Permission denied")),
        "{error}"
    );
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = at(nobody.local_addr().unwrap());
    drop(nobody);
    let answer = tokio::time::timeout(Duration::from_secs(20), registry.ping()).await;
    assert!(matches!(answer.unwrap(), Err(Error::Unreachable(_))));
}
