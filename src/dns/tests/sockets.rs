//! The server over real sockets on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{crowd, question};
use crate::dns::{BuildError, Config, Dns};

const SOON: Duration = Duration::from_secs(10);

async fn server(addr: &str, instances: u32) -> Result<Dns, BuildError> {
    let state = Arc::new(crowd(instances));
    let config = Config {
        addrs: vec![addr.parse().unwrap()],
        domain: "consul.".to_owned(),
        datacenter: "dc1".to_owned(),
        node: "web1".to_owned(),
        only_passing: true,
    };
    config.build(Arc::new(move || state.clone())).await
}

async fn over_udp(addr: SocketAddr, query: &Message) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&query.to_vec().unwrap(), addr).await.unwrap();
    let mut reply = [0; 4096];
    let (len, _) = timeout(SOON, socket.recv_from(&mut reply))
        .await
        .unwrap()
        .unwrap();
    assert!(len <= 512);
    Message::from_vec(&reply[..len]).unwrap()
}

async fn send(stream: &mut TcpStream, query: &Message) {
    let query = query.to_vec().unwrap();
    stream.write_u16(query.len().try_into().unwrap()).await.unwrap();
    stream.write_all(&query).await.unwrap();
}

async fn receive(stream: &mut TcpStream) -> Message {
    let len = timeout(SOON, stream.read_u16()).await.unwrap().unwrap();
    let mut reply = vec![0; usize::from(len)];
    timeout(SOON, stream.read_exact(&mut reply))
        .await
        .unwrap()
        .unwrap();
    Message::from_vec(&reply).unwrap()
}

#[tokio::test]
async fn a_truncated_answer_is_whole_over_tcp_and_stopping_ends_the_server() {
    let dns = server("127.0.0.1:0", 100).await.unwrap();
    let addr = dns.bound()[0];
    let registry = Registry::new();
    dns.register_metrics(&registry).unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(dns.run(stop.clone()));

    let query = question("web.service.consul", RecordType::SRV);
    let cut = over_udp(addr, &query).await;
    assert!(cut.metadata.truncation);
    assert!(!cut.answers.is_empty());

    let mut stream = TcpStream::connect(addr).await.unwrap();
    send(&mut stream, &query).await;
    send(&mut stream, &question("web1.node.consul", RecordType::A)).await;
    let whole = receive(&mut stream).await;
    assert!(!whole.metadata.truncation);
    assert_eq!((whole.answers.len(), whole.additionals.len()), (100, 100));
    let second = receive(&mut stream).await;
    assert_eq!(second.answers.len(), 1);

    let counted: f64 = registry
        .gather()
        .iter()
        .filter(|family| family.name() == "lictor_dns_queries_total")
        .flat_map(|family| family.get_metric().to_vec())
        .map(|metric| metric.get_counter().get_value())
        .sum();
    assert!((counted - 3.0).abs() < f64::EPSILON);

    // The connection is still open: it must not hold up the stop.
    stop.cancel();
    timeout(SOON, running).await.unwrap().unwrap();
}

#[tokio::test]
async fn garbage_costs_nobody_else_an_answer() {
    let dns = server("127.0.0.1:0", 1).await.unwrap();
    let addr = dns.bound()[0];
    tokio::spawn(dns.run(CancellationToken::new()));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for garbage in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0xff; 1400]] {
        socket.send_to(garbage, addr).await.unwrap();
    }
    let mut liar = TcpStream::connect(addr).await.unwrap();
    liar.write_all(&[0xff, 0xff, 1, 2, 3]).await.unwrap();
    let mut scrap = TcpStream::connect(addr).await.unwrap();
    scrap.write_all(&[0, 0]).await.unwrap();
    let closed = timeout(SOON, scrap.read_u8()).await.unwrap();
    assert!(closed.is_err(), "a message of no bytes ends the connection");

    let reply = over_udp(addr, &question("WEB.service.Consul", RecordType::A)).await;
    assert_eq!(reply.answers.len(), 1);
    assert_eq!(reply.answers[0].name.to_ascii(), "WEB.service.Consul.");
}

#[tokio::test]
async fn a_taken_port_and_a_bad_domain_are_named() {
    let first = server("127.0.0.1:0", 0).await.unwrap();
    let addr = first.bound()[0];
    let error = server(&addr.to_string(), 0).await.err().unwrap().to_string();
    assert!(
        error.starts_with(&format!("cannot listen on {addr} (tcp): ")),
        "{error}"
    );

    let config = Config {
        addrs: Vec::new(),
        domain: ".".to_owned(),
        datacenter: "dc1".to_owned(),
        node: "web1".to_owned(),
        only_passing: true,
    };
    let error = config.build(Arc::new(|| Arc::new(crowd(0)))).await.err().unwrap();
    assert!(error.to_string().contains("\".\""), "{error}");
}
