//! Rows, counts and the text that Prometheus reads agree.

use super::*;
use crate::table::{Layout, Served, TargetStats};

/// A target of the service `web` answers a worker with a status.
fn answered(
    metrics: &Metrics,
    target: &TargetStats,
    (worker, status): (usize, u16),
    took: std::time::Duration,
) {
    let served = Served {
        status: Some(status),
        took,
        rx: 0,
        tx: 0,
    };
    if let Some(shard) = target.count(worker, served, &metrics.bounds) {
        metrics.services.list(&"web".into(), shard);
    }
}

#[test]
fn rows_are_sorted_named_alike_and_explained() {
    assert!(METRICS.windows(2).all(|pair| pair[0].name < pair[1].name));
    for row in METRICS {
        assert!(row.name.starts_with("lictor_lb_"), "{}", row.name);
        assert_eq!(
            row.name.ends_with("_total"),
            row.kind == Kind::Counter,
            "{}",
            row.name
        );
        assert!(row.help.ends_with('.'), "{}", row.help);
    }
}

#[test]
fn every_row_is_collected_with_its_help_and_nothing_else() {
    let registry = prometheus::Registry::new();
    let (ready, _) = tokio::sync::watch::channel(false);
    let router = crate::router::Router::new(Arc::default(), ready, &registry).unwrap();
    let metrics = Arc::new(Metrics::new(&Config::default(), router.live(), None));
    let took = std::time::Duration::from_millis(7);
    let counters = metrics.of_a_worker();
    let target = TargetStats::new(&Layout { workers: 1 });
    answered(&metrics, &target, (0, 200), took);
    counters.redirected(302);
    counters.grpc_call(0, took);
    registry.register(Box::new(Scrape(metrics))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let stores = crate::tls::tests::harness::one_certificate(folder.path());
    registry
        .register(Box::new(Certificates::new(stores).unwrap()))
        .unwrap();
    let families = registry.gather();
    let collected: Vec<_> = families
        .iter()
        .map(|family| (family.name(), family.help()))
        .collect();
    // Without a target or a Vault there is nothing to say of them.
    let rows = METRICS
        .iter()
        .filter(|row| ![&["service", "host", "path", "target"][..], &["token"]].contains(&row.labels));
    let expected: Vec<_> = rows.map(|row| (row.name, row.help)).collect();
    assert_eq!(collected, expected);
}

#[test]
fn workers_are_added_up_and_times_are_cumulative() {
    let metrics = Arc::new(Metrics::new(&Config::default(), Arc::default(), None));
    let target = TargetStats::new(&Layout { workers: 2 });
    for (worker, millis) in [(0, 7), (1, 70)] {
        metrics.of_a_worker().not_found.add(1);
        let took = std::time::Duration::from_millis(millis);
        answered(&metrics, &target, (worker, 204), took);
    }
    let registry = prometheus::Registry::new();
    registry.register(Box::new(Scrape(metrics))).unwrap();
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap();
    for line in [
        "lictor_lb_notfound_total 2",
        "lictor_lb_http_status_total{service=\"web\",code=\"204\"} 2",
        "lictor_lb_requests_seconds_bucket{service=\"web\",le=\"0.005\"} 0",
        "lictor_lb_requests_seconds_bucket{service=\"web\",le=\"0.01\"} 1",
        "lictor_lb_requests_seconds_bucket{service=\"web\",le=\"0.1\"} 2",
        "lictor_lb_requests_seconds_bucket{service=\"web\",le=\"+Inf\"} 2",
        "lictor_lb_requests_seconds_sum{service=\"web\"} 0.077",
        "lictor_lb_requests_seconds_count{service=\"web\"} 2",
    ] {
        assert!(
            text.lines().any(|seen| seen == line),
            "{line} is missing from\n{text}"
        );
    }
}
