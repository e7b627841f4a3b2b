//! Counts as lines: what each back end reads, and that nothing a stranger wrote makes two of one.

use std::time::Duration;

use super::wire::datagrams;
use super::*;
use std::net::SocketAddr;

use crate::histogram::{Bounds, Histogram, Observed};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::time::timeout;

/// A passing test never waits for it.
const SOON: Duration = Duration::from_secs(20);

fn settings() -> config::Metrics {
    config::Metrics {
        targets: vec![MetricsTarget::StatsdRaw],
        ..config::Metrics::default()
    }
}

fn times(millis: &[u64]) -> Value {
    let bounds = Bounds::of(&settings());
    let histogram = Histogram::new(&bounds);
    for millis in millis {
        histogram.observe(Duration::from_millis(*millis), &bounds);
    }
    let mut observed = Observed::new(&bounds);
    histogram.add_to(&mut observed);
    Value::Times(observed)
}

fn sample(name: &'static str, labels: &[(&'static str, &str)], value: Value) -> Sample {
    Sample {
        name,
        labels: labels
            .iter()
            .map(|(name, value)| (*name, (*value).into()))
            .collect(),
        value,
    }
}

fn lines(target: MetricsTarget, samples: &[Sample]) -> Vec<String> {
    Naming::with(&settings(), "box.fabio.")
        .unwrap()
        .lines(target, samples, 1_700_000_000)
}

const ROUTE: [(&str, &str); 4] = [
    ("service", "Web"),
    ("host", "foo.com"),
    ("path", "/a"),
    ("target", "10.0.0.1:80"),
];

fn some() -> Vec<Sample> {
    vec![
        sample("notfound", &[], Value::Counter(3)),
        sample("ws.conn", &[], Value::Gauge(2)),
        sample("http.redirect.count", &[("code", "302")], Value::Counter(1)),
        sample(
            "http.status",
            &[("code", "200"), ("service", "web")],
            times(&[100, 100, 100]),
        ),
        sample("route", &ROUTE, times(&[7])),
        sample("route.rx", &ROUTE, Value::Counter(10)),
    ]
}

#[test]
fn statsd_has_labels_in_its_names_and_a_dot_after_the_prefix() {
    assert_eq!(
        lines(MetricsTarget::StatsdRaw, &some()),
        [
            "box.fabio.notfound:3|c",
            "box.fabio.ws.conn:2|g",
            "box.fabio.http.redirect.count.code.302:1|c",
            "box.fabio.http.status.code.200.service.web:100|ms|@0.3333333333333333",
            "box.fabio.web.foo_com./a.10_0_0_1_80:7|ms",
            "box.fabio.web.foo_com./a.10_0_0_1_80.rx:10|c",
        ]
    );
    assert_eq!(
        lines(MetricsTarget::Flat, &some()),
        lines(MetricsTarget::StatsdRaw, &some())
    );
}

#[test]
fn dogstatsd_has_tags_of_which_some_go_by_another_name() {
    assert_eq!(
        lines(MetricsTarget::Dogstatsd, &some()),
        [
            "box.fabio.notfound:3|c",
            "box.fabio.ws.conn:2|g",
            "box.fabio.http.redirect.count:1|c|#code:302",
            "box.fabio.http.status:100|ms|@0.3333333333333333|#code:200,fabio-service:web",
            "box.fabio.route:7|ms|#fabio-service:Web,fabio-host:foo.com,path:/a,target:10.0.0.1:80",
            "box.fabio.route.rx:10|c|#fabio-service:Web,fabio-host:foo.com,path:/a,target:10.0.0.1:80",
        ]
    );
    let labelled = lines(MetricsTarget::Label, &some());
    assert_eq!(
        labelled[4],
        "box.fabio.route:7|ms|#service:Web,host:foo.com,path:/a,target:10.0.0.1:80"
    );
}

#[test]
fn graphite_has_quantiles_in_milliseconds() {
    let lines = lines(MetricsTarget::Graphite, &some());
    assert_eq!(lines[0], "box.fabio.notfound 3 1700000000");
    let names: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(
        names[3..7],
        ["p50", "p90", "p95", "p99"].map(|p| format!("box.fabio.http.status.code.200.service.web.{p}"))
    );
    let p50: f64 = lines[3].split(' ').nth(1).unwrap().parse().unwrap();
    assert!((79.0..=100.0).contains(&p50), "{p50}");
    assert_eq!(
        *lines.last().unwrap(),
        "box.fabio.web.foo_com./a.10_0_0_1_80.rx 10 1700000000"
    );
}

#[test]
fn nothing_in_a_label_makes_another_line_or_field() {
    let nasty = sample(
        "route",
        &[("service", "a\nb:1|c\r"), ("path", "/x y|#,z@1")],
        Value::Counter(1),
    );
    for target in [
        MetricsTarget::StatsdRaw,
        MetricsTarget::Dogstatsd,
        MetricsTarget::Graphite,
    ] {
        let lines = lines(target, std::slice::from_ref(&nasty));
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(!line.contains(['\n', '\r']), "{line:?}");
        assert_eq!(
            line.matches('|').count(),
            match target {
                MetricsTarget::StatsdRaw => 1,
                MetricsTarget::Dogstatsd => 2,
                _ => 0,
            },
            "{line:?}"
        );
        assert_eq!(
            line.matches(' ').count(),
            if target == MetricsTarget::Graphite { 2 } else { 0 },
            "{line:?}"
        );
    }
}

#[test]
fn only_what_came_since_is_told_and_what_left_is_forgotten() {
    let mut last = Last::default();
    let first = last.take(vec![
        sample("notfound", &[], Value::Counter(3)),
        sample("route", &ROUTE, times(&[7])),
    ]);
    assert_eq!(first.changes.len(), 2);
    let second = last.take(vec![
        sample("notfound", &[], Value::Counter(5)),
        sample("route", &ROUTE, times(&[7])),
        sample("ws.conn", &[], Value::Gauge(0)),
    ]);
    assert_eq!(
        second.changes,
        [
            sample("notfound", &[], Value::Counter(2)),
            sample("ws.conn", &[], Value::Gauge(0))
        ]
    );
    assert!(last.take(Vec::new()).changes.is_empty());
    let again = last.take(vec![sample("route", &ROUTE, times(&[7]))]);
    assert_eq!(again.changes, [sample("route", &ROUTE, times(&[7]))]);
}

#[test]
fn a_gauge_that_stands_still_is_told_apart() {
    let (mut last, gauge) = (Last::default(), |open| sample("ws.conn", &[], Value::Gauge(open)));
    assert_eq!(last.take(vec![gauge(2)]).changes, [gauge(2)]);
    let news = last.take(vec![gauge(2)]);
    assert_eq!((&news.changes[..], &news.still[..]), (&[][..], &[gauge(2)][..]));
    let news = last.take(vec![gauge(0)]);
    assert_eq!((&news.changes[..], &news.still[..]), (&[gauge(0)][..], &[][..]));
}

#[tokio::test]
async fn one_port_tells_all_intervals_and_that_nobody_listens_is_known_at_the_next() {
    let collector = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = collector.local_addr().unwrap();
    let mut udp = Udp::to(Names::of(addr.to_string()));
    let mut packet = [0; 64];
    let mut ports = std::collections::BTreeSet::new();
    for _ in 0..3 {
        udp.send(&["a:1|c".to_owned()], SOON).await.unwrap();
        ports.insert(collector.recv_from(&mut packet).await.unwrap().1.port());
    }
    assert_eq!(ports.len(), 1, "{ports:?}");
    drop(collector);
    // The kernel's word that nobody is there comes back by itself, after a moment.
    let refused = async {
        while udp.send(&["a:1|c".to_owned()], SOON).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), refused).await.unwrap();
    let collector = UdpSocket::bind(addr).await.unwrap();
    // Of the last interval to nobody, the error is still to come; what is sent with it arrives.
    let _ = udp.send(&["b:1|c".to_owned()], SOON).await;
    let (length, from) = collector.recv_from(&mut packet).await.unwrap();
    assert_eq!(
        (&packet[..length], ports.contains(&from.port())),
        (&b"b:1|c"[..], true)
    );
}

#[test]
fn lines_share_packets() {
    let lines: Vec<String> = (0..100).map(|n| format!("{n:0>99}")).collect();
    let packets = datagrams(&lines);
    assert!(packets.iter().all(|packet| packet.len() <= 1432));
    assert_eq!(packets.len(), 8);
    assert_eq!(packets.join("\n"), lines.join("\n"));
}

/// A name with these addresses.
fn name(addrs: &[SocketAddr]) -> Names {
    let addrs = addrs.to_vec();
    Names::by(move || {
        let addrs = addrs.clone();
        async move { Ok(addrs) }
    })
}

/// An address that was free a moment ago.
async fn nobody() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap()
}

#[tokio::test]
async fn graphite_is_found_at_the_address_that_answers() {
    let there = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addrs = [nobody().await, there.local_addr().unwrap()];
    let mut tcp = Tcp::to(name(&addrs));
    tcp.send(&["a 1 2".to_owned()], SOON).await.unwrap();
    let mut text = [0; 6];
    there
        .accept()
        .await
        .unwrap()
        .0
        .read_exact(&mut text)
        .await
        .unwrap();
    assert_eq!(&text, b"a 1 2\n");
}

#[tokio::test]
async fn statsd_is_found_at_the_address_that_takes_datagrams_at_a_later_interval() {
    let there = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    // Nobody is asked to listen at the first, and the second cannot be sent to at all.
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let odd: SocketAddr = "255.255.255.255:9".parse().unwrap();
    let mut udp = Udp::to(name(&[
        gone.local_addr().unwrap(),
        odd,
        there.local_addr().unwrap(),
    ]));
    drop(gone);
    let mut packet = [0; 64];
    let found = async {
        loop {
            let _ = udp.send(&["a:1|c".to_owned()], SOON).await;
            if let Ok(length) = there.try_recv(&mut packet) {
                break length;
            }
            tokio::task::yield_now().await;
        }
    };
    let length = timeout(SOON, found).await.unwrap();
    assert_eq!(&packet[..length], b"a:1|c");
}

#[tokio::test]
async fn names_that_nobody_can_look_up_any_more_do_not_lose_what_goes_to_a_known_address() {
    let there = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = there.local_addr().unwrap();
    let (hangs, hanging) = watch::channel(false);
    let names = Names::by(move || {
        let mut hanging = hanging.clone();
        async move {
            let _ = hanging.wait_for(|hangs| !hangs).await;
            Ok(vec![addr])
        }
    });
    let metrics = Metrics::new(&config::Config::default(), Arc::default(), None);
    let mut end = End::new(MetricsTarget::StatsdRaw, Wire::Udp(Udp::to(names)));
    let mut packet = [0; 64];
    for hang in [false, true, true] {
        hangs.send_replace(hang);
        if let (true, Wire::Udp(udp)) = (hang, &mut end.wire) {
            udp.forget_time();
        }
        let lines = vec![format!("a:{hang}")];
        end.send(
            &metrics,
            lines,
            (Duration::from_secs(1), &CancellationToken::new()),
        )
        .await;
        assert_eq!(metrics.push_failures.get(), 0);
        let length = there.recv(&mut packet).await.unwrap();
        assert_eq!(packet[..length], *format!("a:{hang}").as_bytes());
    }
}

#[tokio::test]
async fn what_came_during_a_sending_at_the_end_is_told_too_and_one_that_is_gone_keeps_nobody() {
    let settings = settings();
    let metrics = Arc::new(Metrics::new(&config::Config::default(), Arc::default(), None));
    let naming = Naming::with(&settings, "box").unwrap();
    let there = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = there.local_addr().unwrap();
    let (asked, mut is_asked) = watch::channel(false);
    let (open, opened) = watch::channel(false);
    let names = Names::by(move || {
        let (asked, mut opened) = (asked.clone(), opened.clone());
        async move {
            asked.send_replace(true);
            let _ = opened.wait_for(|opened| *opened).await;
            Ok(vec![addr])
        }
    });
    let gone = Names::by(std::future::pending);
    let ends = vec![
        End::new(MetricsTarget::Graphite, Wire::Tcp(Tcp::to(gone))),
        End::new(MetricsTarget::StatsdRaw, Wire::Udp(Udp::to(names))),
    ];
    let stop = CancellationToken::new();
    let counters = metrics.of_a_worker();
    counters.not_found.add(1);
    let told = send_all(ends, &metrics, &naming, (Duration::from_secs(1), &stop));
    let meanwhile = async {
        is_asked.wait_for(|asked| *asked).await.unwrap();
        counters.not_found.add(2);
        stop.cancel();
        open.send_replace(true);
        let mut heard = String::new();
        while !heard.contains("box.notfound:2|c") {
            let mut packet = [0; 2048];
            let length = there.recv(&mut packet).await.unwrap();
            heard.push_str(std::str::from_utf8(&packet[..length]).unwrap());
        }
        heard
    };
    let (heard, ()) = timeout(SOON, async { tokio::join!(meanwhile, told) })
        .await
        .unwrap();
    assert!(heard.contains("box.notfound:1|c"), "{heard}");
}
