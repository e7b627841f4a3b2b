//! A Consul that answers as it is told to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::wire::health::HealthEntry;
use axum::Router;
use axum::http::Uri;
use axum::routing::get;
use base64::Engine as _;

use super::*;

/// A passing test never waits for it.
const SOON: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(3600);
const TEXT: &str = "route del web";
const RESTORED: &str = "# --- fabio/config\nroute del old";

async fn served(app: Router) -> Consul {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(socket, app).await });
    let client = Client::new(&client::Config::new(format!("http://{addr}"))).unwrap();
    Consul {
        query: Query::default(),
        poll: None,
        readers: 1,
        overrides: registry::Overrides {
            routes: "fabio/config".to_owned(),
            no_route: "fabio/noroute.html".to_owned(),
        },
        tag_prefix: String::new(),
        client,
    }
}

/// With an empty catalog. Its store refuses so often with this status before it answers.
async fn consul(status: StatusCode, refusals: usize) -> Consul {
    let left = Arc::new(Mutex::new(refusals));
    let answer = move |uri: Uri| {
        let left = left.clone();
        async move {
            let is_key = uri.path().contains("fabio/config");
            let body = match uri.path() {
                "/v1/catalog/services" => "{}".to_owned(),
                "/v1/health/state/any" => "[]".to_owned(),
                _ => {
                    let mut left = left.lock().unwrap();
                    if is_key && *left > 0 {
                        *left -= 1;
                        return (status, [("x-consul-index", "0")], "no".to_owned());
                    }
                    let value = base64::engine::general_purpose::STANDARD.encode(TEXT);
                    match is_key {
                        true => format!(
                            r#"[{{"Key":"fabio/config","Value":"{value}","Flags":0,"LockIndex":0,"CreateIndex":1,"ModifyIndex":1}}]"#
                        ),
                        false => "[]".to_owned(),
                    }
                }
            };
            (StatusCode::OK, [("x-consul-index", "1")], body)
        }
    };
    served(Router::new().fallback(answer)).await
}

/// The overrides of the first table.
async fn first(consul: Consul, (spare, patience): (Option<&Snapshot>, Duration)) -> String {
    let (outs, inputs) = Outs::new();
    let (mut known, metrics) = (inputs.known, Metrics::new());
    let opening = Opening {
        spare,
        spare_after: Duration::from_millis(200),
        patience,
    };
    tokio::select! {
        () = consul.follow(&outs, &metrics, opening) => panic!("nobody told it to end"),
        is_known = timeout(SOON, known.wait_for(|known| *known)) => drop(is_known.unwrap().unwrap()),
    }
    inputs.overrides.borrow().to_string()
}

/// Of a catalog with one instance and these overrides.
async fn snapshot(folder: &std::path::Path) -> Snapshot {
    let snapshot = Snapshot::at(&folder.join("routes").display().to_string());
    let (outs, _inputs) = Outs::new();
    outs.overrides.send_replace(RESTORED.into());
    outs.known.send_replace(true);
    let written = async {
        while snapshot.read().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let metrics = Metrics::new();
    tokio::select! {
        () = snapshot.keep(&outs, "dc1", &metrics) => {}
        () = written => {}
    }
    snapshot
}

#[tokio::test]
async fn the_first_table_waits_for_overrides_that_cannot_be_read_for_a_moment() {
    let consul = consul(StatusCode::INTERNAL_SERVER_ERROR, 2).await;
    let told = first(consul, (None, LONG)).await;
    assert_eq!(told, format!("# --- fabio/config\n{TEXT}"));
}

#[tokio::test]
async fn overrides_that_may_not_be_read_or_not_in_time_keep_no_route_away() {
    let refusing = consul(StatusCode::FORBIDDEN, usize::MAX).await;
    assert_eq!(first(refusing, (None, LONG)).await, "");
    let away = consul(StatusCode::INTERNAL_SERVER_ERROR, usize::MAX).await;
    assert_eq!(first(away, (None, Duration::from_millis(300))).await, "");
}

#[tokio::test]
async fn overrides_that_cannot_be_read_are_those_of_the_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let spare = snapshot(folder.path()).await;
    for status in [StatusCode::FORBIDDEN, StatusCode::INTERNAL_SERVER_ERROR] {
        let consul = consul(status, usize::MAX).await;
        assert_eq!(first(consul, (Some(&spare), LONG)).await, RESTORED);
    }
}

#[tokio::test]
async fn a_snapshot_never_covers_a_picture_that_was_read_a_moment_ago() {
    let folder = tempfile::tempdir().unwrap();
    let spare = snapshot(folder.path()).await;
    let (outs, _inputs) = Outs::new();
    let mut pictures = outs.instances.subscribe();
    pictures.mark_unchanged();
    let opening = Opening {
        spare: Some(&spare),
        spare_after: LONG,
        patience: LONG,
    };
    let text =
        r#"{"Node":{"Node":"n1","Address":"10.0.0.1"},"Service":{"ID":"w1","Service":"web"},"Checks":[]}"#;
    let instance = Instance::from(serde_json::from_str::<HealthEntry>(text).unwrap());
    let read = Picture::from_iter([(instance.key(), Arc::new(instance))]);
    outs.instances.send_replace(read.clone());
    // Nobody has noted that yet.
    let heard = latest::Sender::new(Answered::default());
    assert!(opening.stand_in(&spare, &outs, &Metrics::new(), (&heard, &pictures)));
    assert_eq!(*outs.instances.borrow(), read);
    assert_eq!(&**outs.overrides.borrow(), RESTORED);
}

#[tokio::test]
async fn each_question_for_the_datacenter_without_an_answer_is_counted() {
    let asked = Arc::new(AtomicUsize::new(0));
    let answer = move || {
        let times = asked.fetch_add(1, Ordering::SeqCst);
        async move {
            [
                StatusCode::BAD_GATEWAY,
                StatusCode::BAD_GATEWAY,
                StatusCode::FORBIDDEN,
            ][times]
        }
    };
    let consul = served(Router::new().route("/v1/agent/self", get(answer))).await;
    let metrics = Metrics::new();
    let patience = (Duration::from_secs(20), Duration::from_millis(1));
    assert_eq!(consul.datacenter(&metrics, patience).await.unwrap(), None);
    assert_eq!(metrics.counted("catalog_failures_total"), 3);
}
