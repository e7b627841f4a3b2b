//! Spans where they arrive: a collector of our own that reads OTLP, and the headers that servers get.

use std::net::SocketAddr;

use lb::config::{AccessLog, LogTarget, Secret, Traces};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::balancer::{Balancer, WITHIN, eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

struct Collector {
    addr: SocketAddr,
    /// Head, and what was exported.
    exports: mpsc::UnboundedReceiver<(String, ExportTraceServiceRequest)>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (tell, exports) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(collect(stream, tell.clone()));
            }
        });
        Self { addr, exports }
    }

    /// As many spans as that, by name and kind.
    async fn spans(&mut self, count: usize) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        while spans.len() < count {
            let (head, export) = tokio::time::timeout(WITHIN, self.exports.recv())
                .await
                .unwrap()
                .unwrap();
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
            assert!(
                head.contains("application/x-protobuf") && head.contains("x-key: secret"),
                "{head}"
            );
            for of_resource in export.resource_spans {
                let resource = of_resource.resource.unwrap();
                let name = resource
                    .attributes
                    .iter()
                    .find(|pair| pair.key == "service.name")
                    .unwrap();
                let name = name.value.clone().unwrap().value.unwrap();
                assert_eq!(name, Value::StringValue("edge".into()));
                spans.extend(
                    of_resource
                        .scope_spans
                        .into_iter()
                        .flat_map(|of_scope| of_scope.spans),
                );
            }
        }
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans.sort_by_key(|span| (span.start_time_unix_nano, span.kind));
        spans
    }
}

async fn collect(
    mut stream: TcpStream,
    tell: mpsc::UnboundedSender<(String, ExportTraceServiceRequest)>,
) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await.ok()?;
        tell.send((head, ExportTraceServiceRequest::decode(&*body).unwrap()))
            .ok()?;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await
            .ok()?;
    }
}

fn traces(addr: SocketAddr, rate: f64) -> Traces {
    Traces {
        endpoint: Some(format!("http://{addr}")),
        header: Some(("X-Key".into(), Secret::new("secret"))),
        service: "edge".into(),
        rate,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let pair = span.attributes.iter().find(|pair| pair.key == key)?;
    Some(match pair.value.clone()?.value? {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    })
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_request_is_two_spans_below_its_client_and_the_server_is_told() {
    let mut collector = Collector::start().await;
    let mut balancer = Balancer::start(|config| config.traces = traces(collector.addr, 0.0)).await;
    let parent = format!("traceparent: 00-{TRACE}-{SPAN}-01\r\ntracestate: a=b\r\n");
    balancer.get("foo.com", "/a?b=c", &parent).await;
    let spans = collector.spans(2).await;
    let [server, client] = &spans[..] else {
        panic!("{spans:#?}")
    };
    assert_eq!(
        (server.kind(), client.kind()),
        (SpanKind::Server, SpanKind::Client)
    );
    assert_eq!(
        (hex(&server.trace_id), hex(&server.parent_span_id)),
        (TRACE.into(), SPAN.into())
    );
    assert_eq!(
        (hex(&client.trace_id), &client.parent_span_id),
        (TRACE.into(), &server.span_id)
    );
    assert_eq!(server.name, "GET foo.com/");
    for (key, value) in [
        ("http.method", "GET"),
        ("http.url", "http://foo.com/a?b=c"),
        ("http.response.status_code", "200"),
        ("http.route", "foo.com/"),
        ("url.query", "b=c"),
        ("client.address", "127.0.0.1"),
    ] {
        assert_eq!(attribute(server, key).as_deref(), Some(value), "{key}");
    }
    let there = format!("http://{}/a?b=c", balancer.server);
    assert_eq!(attribute(client, "url.full"), Some(there));
    assert_eq!(attribute(client, "peer.service").as_deref(), Some("web"));
    assert!(server.start_time_unix_nano <= client.start_time_unix_nano);
    assert!(client.end_time_unix_nano <= server.end_time_unix_nano);
    let head = balancer.heads.recv().await.unwrap();
    let told = format!("00-{TRACE}-{}-01", hex(&client.span_id));
    assert_eq!(header(&head, "traceparent"), Some(&*told), "{head}");
    assert_eq!(header(&head, "tracestate"), Some("a=b"), "{head}");

    let parent = format!("X-B3-TraceId: {TRACE}\r\nX-B3-SpanId: {SPAN}\r\nX-B3-Sampled: 1\r\n");
    balancer.get("foo.com", "/status/503", &parent).await;
    let spans = collector.spans(2).await;
    assert!(
        spans.iter().all(|span| span.status.as_ref().unwrap().code == 2),
        "{spans:#?}"
    );
    let head = balancer.heads.recv().await.unwrap();
    assert_eq!(
        header(&head, "x-b3-spanid"),
        Some(&*hex(&spans[1].span_id)),
        "{head}"
    );
    assert_eq!(header(&head, "traceparent"), None, "{head}");
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_decided_stays_and_what_is_not_recorded_passes_untouched() {
    let mut collector = Collector::start().await;
    let mut balancer = Balancer::start(|config| config.traces = traces(collector.addr, 1.0)).await;
    for untouched in [
        format!("traceparent: 00-{TRACE}-{SPAN}-00\r\ntracestate: a=b\r\n"),
        "b3: 0\r\n".to_owned(),
    ] {
        balancer.get("foo.com", "/", &untouched).await;
        let head = balancer.heads.recv().await.unwrap();
        assert!(untouched.lines().all(|line| head.contains(line)), "{head}");
        assert_eq!(
            head.matches("b3").count(),
            untouched.matches("b3").count(),
            "{head}"
        );
    }
    // Without a word of the client's the sampler decides, and a request without a route is one span.
    balancer.get("bar.com", "/", "").await;
    let spans = collector.spans(1).await;
    assert_eq!((&*spans[0].name, spans[0].kind()), ("GET", SpanKind::Server));
    assert!(spans[0].parent_span_id.is_empty(), "{spans:#?}");
    balancer.get("foo.com", "/", "").await;
    let spans = collector.spans(2).await;
    let head = balancer.heads.recv().await.unwrap();
    let told = format!("00-{}-{}-01", hex(&spans[1].trace_id), hex(&spans[1].span_id));
    assert_eq!(header(&head, "traceparent"), Some(&*told), "{head}");
    assert_eq!(
        header(&head, "x-b3-traceid"),
        Some(&*hex(&spans[1].trace_id)),
        "{head}"
    );
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_headers_pass_untouched_and_the_log_knows_the_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let mut balancer = Balancer::start(|config| {
        config.traces.rate = 1.0;
        config.access_log = Some(AccessLog {
            format: "$request_uri $trace_id".into(),
            target: LogTarget::File {
                path: path.clone(),
                max_size: None,
                keep: 0,
            },
        });
    })
    .await;
    let parent = format!("traceparent: 00-{TRACE}-{SPAN}-01\r\n");
    balancer.get("foo.com", "/a", &parent).await;
    balancer.get("foo.com", "/b", "").await;
    assert!(balancer.heads.recv().await.unwrap().contains(&parent));
    assert!(!balancer.heads.recv().await.unwrap().contains("trace"));
    let log = eventually("both lines", async || {
        let text = std::fs::read_to_string(&path).ok()?;
        (text.lines().count() == 2).then_some(text)
    })
    .await;
    assert!(
        log.contains(&format!("/a {TRACE}\n")) && log.contains("/b \n"),
        "{log}"
    );
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_costs_no_request_and_its_spans_are_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let balancer =
        Balancer::start(|config| config.traces = traces(listener.local_addr().unwrap(), 1.0)).await;
    for _ in 0..20 {
        assert!(balancer.get("foo.com", "/", "").await.ends_with("hello"));
    }
    drop(listener);
    eventually("lost spans are counted", async || {
        let text = balancer.admin("/metrics").await;
        let lost = text
            .lines()
            .find_map(|line| line.strip_prefix("lictor_lb_spans_lost_total "));
        (lost? != "0").then_some(())
    })
    .await;
    balancer.stop().await;
}

#[test]
fn what_is_no_collector_is_named_at_the_start() {
    let mut config = lb::Config {
        listeners: Vec::new(),
        ui: None,
        ..lb::Config::default()
    };
    config.traces.endpoint = Some("localhost:4317".into());
    let inputs = lb::Inputs::of(tokio::sync::watch::channel(catalog::Picture::new()).1);
    let error = config
        .build(inputs, &prometheus::Registry::new())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("tracing.otlp.endpoint: \"localhost:4317\" is no URL"),
        "{error}"
    );
}
