//! fabio's metrics where they arrive: scraped, by UDP and by TCP.

use std::time::Duration;

use lb::Config;
use lb::config::{Listener, Metrics, MetricsTarget};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, UdpSocket};

use crate::balancer::{Balancer, WITHIN, eventually};
use crate::picture::picture;

fn metrics(config: &mut Config, target: MetricsTarget) -> &mut Metrics {
    config.metrics.targets.push(target);
    config.metrics.prefix = "box.{{clean \"fab:io\"}}".into();
    config.metrics.interval = Duration::from_millis(30);
    &mut config.metrics
}

/// Lines of as many packets as it takes to see all these parts.
async fn lines(socket: &UdpSocket, parts: &[&str]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut packet = [0; 64 * 1024];
    let reading = async {
        while !parts
            .iter()
            .all(|part| lines.iter().any(|line| line.starts_with(part)))
        {
            let length = socket.recv(&mut packet).await.unwrap();
            let text = String::from_utf8(packet[..length].to_vec()).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
    };
    let seen = tokio::time::timeout(WITHIN, reading).await;
    assert!(seen.is_ok(), "{parts:?} are not among {lines:#?}");
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scraper_finds_fabios_names_and_no_series_of_what_left() {
    let balancer = Balancer::start(|config| {
        let metrics = metrics(config, MetricsTarget::Prometheus);
        metrics.buckets = vec![0.5, 20.0];
        metrics.subsystem = "edge".into();
        config
            .listeners
            .push(Listener::tcp("127.0.0.1:0".parse().unwrap()));
    })
    .await;
    balancer.get("foo.com", "/", "").await;
    balancer.get("foo.com", "/status/503", "").await;
    balancer.get("bar.com", "/", "").await;
    let server = balancer.server;
    let target = format!("{{service=\"web\",host=\"foo.com\",path=\"/\",target=\"{server}\"");
    let text = eventually("both requests are counted", async || {
        let text = balancer.admin("/metrics").await;
        text.contains("box_fab_io_edge_requests_count{service=\"web\"} 2")
            .then_some(text)
    })
    .await;
    for line in [
        "# TYPE box_fab_io_edge_requests histogram",
        "box_fab_io_edge_requests_bucket{service=\"web\",le=\"20\"} 2",
        "box_fab_io_edge_requests_bucket{service=\"web\",le=\"+Inf\"} 2",
        "box_fab_io_edge_http_status_count{code=\"200\",service=\"web\"} 1",
        "box_fab_io_edge_http_status_count{code=\"503\",service=\"web\"} 1",
        "box_fab_io_edge_notfound 1",
        "box_fab_io_edge_ws_conn 0",
        "box_fab_io_edge_tcp_conn 0",
        &format!("box_fab_io_edge_route_count{target}}} 2"),
    ] {
        assert!(
            text.lines().any(|seen| seen == line),
            "{line} is missing from\n{text}"
        );
    }
    assert!(
        !text.contains("le=\"0.005\"")
            && !text.contains("_edge_grpc")
            && !text.contains("_tcp_sni_conn 0\nbox")
    );
    assert!(!text.contains("box_fab_io_edge_tcp_sni"), "{text}");
    balancer.pictures.send_replace(picture(""));
    eventually("series of the target are gone", async || {
        let text = balancer.admin("/metrics").await;
        (!text.contains(&target)).then_some(())
    })
    .await;
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statsd_and_datadog_are_told_by_udp() {
    let (statsd, dog) = (
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
    );
    let addrs = (statsd.local_addr().unwrap(), dog.local_addr().unwrap());
    let balancer = Balancer::start(|config| {
        metrics(config, MetricsTarget::StatsdRaw).statsd = Some(addrs.0.to_string());
        let metrics = metrics(config, MetricsTarget::Dogstatsd);
        metrics.dogstatsd = Some(addrs.1.to_string());
        metrics.names = "r.{{.TargetURL.Port}}.{{.Service | clean}}".into();
    })
    .await;
    balancer.get("foo.com", "/", "").await;
    balancer.get("bar.com", "/", "").await;
    let port = balancer.server.port();
    let route = format!("box.fab_io.r.{port}.web:");
    let seen = lines(
        &statsd,
        &["box.fab_io.notfound:1|c", "box.fab_io.ws.conn:0|g", &route],
    )
    .await;
    assert!(
        seen.iter()
            .any(|line| line.starts_with("box.fab_io.http.status.code.200.service.web:")),
        "{seen:?}"
    );
    assert!(
        seen.iter().all(|line| line.starts_with("box.fab_io.")),
        "{seen:?}"
    );
    let seen = lines(&dog, &["box.fab_io.notfound:1|c", "box.fab_io.route:"]).await;
    let route = seen
        .iter()
        .find(|line| line.starts_with("box.fab_io.route:"))
        .unwrap();
    let tags = format!(
        "|#fabio-service:web,fabio-host:foo.com,path:/,target:{}",
        balancer.server
    );
    assert!(route.contains("|ms") && route.ends_with(&tags), "{route}");
    // What stands still is told once; gauges to those who would forget them, again and again.
    balancer.get("bar.com", "/", "").await;
    let again = lines(&statsd, &["box.fab_io.notfound:1|c"]).await;
    assert!(
        !again
            .iter()
            .any(|line| line.contains("http.status") || line.contains("ws.conn")),
        "{again:?}"
    );
    for _ in 0..3 {
        lines(&dog, &["box.fab_io.ws.conn:0|g"]).await;
    }
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn graphite_is_told_again_after_it_was_gone_and_requests_know_nothing_of_it() {
    let graphite = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = graphite.local_addr().unwrap();
    let balancer = Balancer::start(|config| {
        metrics(config, MetricsTarget::Graphite).graphite = Some(addr.to_string());
    })
    .await;
    balancer.get("foo.com", "/", "").await;
    let wanted = "box.fab_io.http.status.code.200.service.web.p99 ";
    let find = async |listener: &TcpListener, wanted: &str| {
        let (stream, _) = listener.accept().await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.starts_with(wanted) {
                return line;
            }
        }
        panic!("the connection ended before {wanted}");
    };
    let line = tokio::time::timeout(WITHIN, find(&graphite, wanted))
        .await
        .unwrap();
    let [_, millis, time] = line.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{line}")
    };
    assert!(
        millis.parse::<f64>().unwrap() > 0.0 && time.parse::<u64>().unwrap() > 1_700_000_000,
        "{line}"
    );
    // Gone: the sending fails and is counted, requests go on.
    drop(graphite);
    eventually("a failed sending is counted", async || {
        let text = balancer.admin("/metrics").await;
        let count = text
            .lines()
            .find_map(|line| line.strip_prefix("lictor_lb_metrics_push_failures_total "));
        (count? != "0").then_some(())
    })
    .await;
    assert!(balancer.get("foo.com", "/", "").await.ends_with("hello"));
    let graphite = TcpListener::bind(addr).await.unwrap();
    tokio::time::timeout(WITHIN, find(&graphite, "box.fab_io.ws.conn 0 "))
        .await
        .unwrap();
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_is_told_at_the_end() {
    let statsd = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = statsd.local_addr().unwrap();
    let balancer = Balancer::start(|config| {
        let metrics = metrics(config, MetricsTarget::StatsdRaw);
        metrics.statsd = Some(addr.to_string());
        metrics.interval = Duration::from_hours(1);
    })
    .await;
    balancer.get("bar.com", "/", "").await;
    balancer.stop().await;
    lines(&statsd, &["box.fab_io.notfound:1|c"]).await;
}

#[test]
fn a_name_that_is_no_template_is_named_at_the_start() {
    let mut config = Config {
        listeners: Vec::new(),
        ui: None,
        ..Config::default()
    };
    config.metrics.names = "{{.Nope}}".into();
    let inputs = lb::Inputs::of(tokio::sync::watch::channel(catalog::Picture::new()).1);
    let error = config
        .build(inputs, &prometheus::Registry::new())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("metrics.names: there is no field .Nope: "),
        "{error}"
    );
}
