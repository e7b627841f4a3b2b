//! Questions that wait.

use std::time::Instant;

use api::Query;

use super::*;

fn after(index: u64, wait: Duration) -> Query {
    Query {
        index,
        wait: Some(wait),
        ..Query::default()
    }
}

#[tokio::test]
async fn a_waiting_question_wakes_for_its_own_service_and_for_no_other() {
    let server = Server::start().await;
    server.register("a1", "a", Status::Passing).await;
    server.register("b1", "b", Status::Passing).await;
    let index = server
        .client
        .health_service("a", &Query::default())
        .await
        .unwrap()
        .index;
    let waiting = tokio::spawn({
        let client = server.client.clone();
        async move { client.health_service("a", &after(index, SOON)).await }
    });
    server.waiting(1).await;
    for port in 1..50 {
        server
            .context
            .store
            .propose(&elsewhere("n2", "b", port))
            .await
            .unwrap();
        tokio::task::yield_now().await;
    }
    server
        .client
        .update_check("service:b1", Status::Critical, "down")
        .await
        .unwrap();
    // The index of `a` is what `b` must not move, whatever the scheduler does with the waiter.
    assert_eq!(
        server
            .client
            .health_service("a", &Query::default())
            .await
            .unwrap()
            .index,
        index
    );
    assert!(!waiting.is_finished());
    server
        .client
        .update_check("service:a1", Status::Critical, "down")
        .await
        .unwrap();
    let answer = tokio::time::timeout(SOON / 2, waiting)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(answer.index > index);
    assert_eq!(answer.rows[0].checks.last().unwrap().output, "down");
}

#[tokio::test]
async fn a_wait_without_news_ends_in_time_with_the_same_index() {
    let server = Server::start().await;
    let index = server.client.services(&Query::default()).await.unwrap().index;
    for (asked, wait) in [(index, 250), (index + 1000, 100)] {
        let wait = Duration::from_millis(wait);
        let began = Instant::now();
        let answer = server.client.services(&after(asked, wait)).await.unwrap();
        assert_eq!(answer.index, index);
        assert!(
            began.elapsed() >= wait && began.elapsed() < SOON / 2,
            "{:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn a_missing_key_can_be_waited_for() {
    let server = Server::start().await;
    let missing = server.client.kv_get("app/port", &Query::default()).await.unwrap();
    assert_eq!(missing.rows, None);
    let waiting = server.client.clone();
    let waiting = tokio::spawn(async move {
        waiting
            .kv_get("app/port", &after(missing.index.max(1), SOON))
            .await
    });
    server.waiting(1).await;
    server.client.kv_put("app/port", "80", 0, None).await.unwrap();
    let found = tokio::time::timeout(SOON / 2, waiting)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(&*found.rows.unwrap().value, b"80");
}

#[tokio::test]
async fn a_client_that_hangs_up_frees_its_waiter() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = "GET /v1/catalog/services?index=99999&wait=10m HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    server.waiting(1).await;
    drop(stream);
    server.waiting(0).await;
}

#[tokio::test]
async fn a_service_can_be_waited_for_by_its_hash() {
    let server = Server::start().await;
    server.register("web", "web", Status::Passing).await;
    let first = server.get("/v1/agent/service/web").await;
    let hash = first.header("x-consul-contenthash").unwrap().to_owned();
    assert_eq!(first.json()["ContentHash"], *hash);
    let same = server
        .get(&format!("/v1/agent/service/web?hash={hash}&wait=50ms"))
        .await;
    assert_eq!(same.header("x-consul-contenthash"), Some(hash.as_str()));
    let path = format!("/v1/agent/service/web?hash={hash}");
    let change = async {
        server.waiting(1).await;
        server
            .put(
                "/v1/agent/service/register",
                &json!({ "Name": "web", "Port": 81 }),
            )
            .await;
    };
    let (changed, ()) = tokio::join!(server.get(&path), change);
    assert_eq!(changed.json()["Port"], 81);
}
