//! The schedule, with paused time: an hour takes no time at all.

use std::time::Duration;

use catalog::Status;
use catalog::check::Probe;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio::time::{Instant, advance, timeout};
use tokio_util::sync::CancellationToken;

use super::definition;
use crate::check::{Checks, Event};

/// Longer than anything here waits.
const HOUR: Duration = Duration::from_secs(3600);

fn runner() -> (Checks, mpsc::Receiver<Event>) {
    let (events, told) = mpsc::channel(64);
    (Checks::new(events, CancellationToken::new()), told)
}

fn ttl(seconds: u64) -> Probe {
    Probe::Ttl {
        ttl: Duration::from_secs(seconds),
    }
}

fn tcp(address: String, seconds: u64) -> Probe {
    Probe::Tcp {
        address,
        interval: Duration::from_secs(seconds),
        timeout: Duration::from_secs(10),
    }
}

async fn next(told: &mut mpsc::Receiver<Event>) -> Event {
    timeout(2 * HOUR, told.recv()).await.unwrap().unwrap()
}

fn result(id: &str, status: Status, output: &str) -> Event {
    Event::Result {
        check: id.into(),
        status,
        output: output.to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_ttl_that_nobody_reports_on_expires_once() {
    let (checks, mut told) = runner();
    let start = Instant::now();
    checks.start(&definition("t", ttl(10)));
    assert_eq!(
        next(&mut told).await,
        result("t", Status::Critical, "TTL expired")
    );
    assert_eq!(start.elapsed().as_secs(), 10);
    assert!(timeout(HOUR, told.recv()).await.is_err(), "told once");
}

#[tokio::test(start_paused = true)]
async fn a_report_gives_a_ttl_its_whole_time_again_and_is_quoted_at_the_end() {
    let (checks, mut told) = runner();
    let start = Instant::now();
    checks.start(&definition("t", ttl(10)));
    for _ in 0..5 {
        tokio::task::yield_now().await;
        advance(Duration::from_secs(9)).await;
        checks.heard("t", Status::Passing, "all good");
    }
    let text = "TTL expired (last output before timeout follows): all good";
    assert_eq!(next(&mut told).await, result("t", Status::Critical, text));
    assert_eq!(start.elapsed().as_secs(), 55);
    checks.heard("t", Status::Passing, "");
    assert_eq!(
        next(&mut told).await,
        result("t", Status::Critical, "TTL expired")
    );
}

#[tokio::test(start_paused = true)]
async fn starting_the_same_check_again_gives_a_ttl_its_time_and_another_replaces_it() {
    let (checks, mut told) = runner();
    let start = Instant::now();
    checks.start(&definition("t", ttl(10)));
    tokio::task::yield_now().await;
    advance(Duration::from_secs(9)).await;
    checks.start(&definition("t", ttl(10)));
    next(&mut told).await;
    assert_eq!(start.elapsed().as_secs(), 19);

    checks.start(&definition("t", ttl(100)));
    checks.start(&definition("t", ttl(5)));
    next(&mut told).await;
    assert_eq!(start.elapsed().as_secs(), 24);
    assert!(
        timeout(HOUR, told.recv()).await.is_err(),
        "the replaced one is gone"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stopped_check_says_no_more() {
    let (checks, mut told) = runner();
    checks.start(&definition("t", ttl(10)));
    tokio::task::yield_now().await;
    checks.stop("t");
    checks.heard("t", Status::Passing, "");
    assert!(timeout(HOUR, told.recv()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_check_runs_at_once_then_every_interval() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (checks, mut told) = runner();
    let start = Instant::now();
    checks.start(&definition("c", tcp(address, 60)));
    let mut at = Vec::new();
    for _ in 0..4 {
        assert!(matches!(
            next(&mut told).await,
            Event::Result {
                status: Status::Passing,
                ..
            }
        ));
        at.push(start.elapsed().as_secs());
    }
    assert_eq!(at[0], 0);
    assert!(at[1] <= 60, "the second run spreads: {at:?}");
    let gaps = [at[2] - at[1], at[3] - at[2]];
    assert!(gaps.iter().all(|gap| (59..=61).contains(gap)), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_still_starting_is_found_soon_after_and_not_an_interval_later() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let (checks, mut told) = runner();
    let start = Instant::now();
    checks.start(&definition("c", tcp(address, 60)));
    let is = |event: Event, wanted: Status| matches!(event, Event::Result { status, .. } if status == wanted);
    let mut tries = 0;
    while start.elapsed() < Duration::from_secs(1) {
        assert!(is(next(&mut told).await, Status::Critical));
        tries += 1;
    }
    assert!((3..12).contains(&tries), "{tries} tries in the first second");
    let started = Instant::now();
    let _listener = socket.listen(1).unwrap();
    assert!(is(next(&mut told).await, Status::Passing));
    assert!(started.elapsed() <= Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_starts_is_soon_asked_no_more_than_every_interval() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap().to_string();
    drop(closed);
    let (checks, mut told) = runner();
    let start = Instant::now();
    checks.start(&definition("c", tcp(address, 10)));
    let mut runs = 0;
    while start.elapsed() < HOUR {
        next(&mut told).await;
        runs += 1;
    }
    assert!((355..=375).contains(&runs), "{runs} runs in an hour");
}

#[tokio::test(start_paused = true)]
async fn thresholds_hold_back_a_status() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let (checks, mut told) = runner();
    let start = Instant::now();
    let mut patient = definition("c", tcp(closed.to_string(), 60));
    patient.failures_before_critical = 3;
    checks.start(&patient);
    assert!(matches!(
        next(&mut told).await,
        Event::Result {
            status: Status::Critical,
            ..
        }
    ));
    assert!((60..=121).contains(&start.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_stays_critical_is_overdue_a_minute_later_at_the_earliest_and_again() {
    let (checks, mut told) = runner();
    let start = Instant::now();
    let mut doomed = definition("t", ttl(3600));
    doomed.initial = Some(Status::Passing);
    doomed.deregister_critical_after = Some(Duration::from_secs(5));
    checks.start(&doomed);
    tokio::task::yield_now().await;
    checks.heard("t", Status::Critical, "down");
    let overdue = Event::Overdue { check: "t".into() };
    assert_eq!(next(&mut told).await, overdue);
    assert_eq!(start.elapsed().as_secs(), 60);
    assert_eq!(next(&mut told).await, overdue);
    assert_eq!(start.elapsed().as_secs(), 120);
    checks.heard("t", Status::Passing, "up");
    let event = next(&mut told).await;
    assert!(
        matches!(event, Event::Result { .. }),
        "only its TTL ends: {event:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_container_check_is_never_run_but_can_be_overdue() {
    let (checks, mut told) = runner();
    let mut container = definition("c", Probe::Container);
    container.deregister_critical_after = Some(Duration::from_secs(90));
    checks.start(&container);
    assert_eq!(next(&mut told).await, Event::Overdue { check: "c".into() });
    checks.heard("c", Status::Passing, "running");
    assert!(timeout(HOUR, told.recv()).await.is_err());
}
