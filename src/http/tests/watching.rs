//! Our own agent, watched as if it were somebody else's Consul.

use ::catalog::Picture;
use api::watch::{self, watch};

use super::*;

/// What the watcher has drawn has the same content as what the agent itself holds.
fn agrees(drawn: &Picture, server: &Server) -> bool {
    let own = server.context.store.read();
    let own = own.picture();
    drawn.len() == own.len()
        && drawn
            .iter()
            .zip(own)
            .all(|(drawn, own)| drawn.0 == own.0 && **drawn.1 == **own.1)
}

#[tokio::test]
async fn a_watched_catalog_is_drawn_and_redrawn_only_where_it_changed() {
    let server = Server::start().await;
    server.register("a1", "a", Status::Passing).await;
    server.register("b1", "b", Status::Passing).await;
    let (out, mut drawn) = tokio::sync::watch::channel(Picture::new());
    let mut config = watch::Config::new(server.client.clone());
    config.sweep_gap = Duration::from_millis(20);
    let watching = tokio::spawn(async move {
        watch(config, &out, |_, trouble| {
            assert!(trouble.is_none(), "{trouble:?}");
        })
        .await;
    });
    let mut expect = async |what: &str| {
        let found = tokio::time::timeout(SOON, drawn.wait_for(|drawn| agrees(drawn, &server))).await;
        found
            .unwrap_or_else(|_| panic!("not drawn: {what}"))
            .unwrap()
            .clone()
    };
    let first = expect("what was there").await;
    assert_eq!(first.len(), 3);

    server
        .client
        .update_check("service:a1", Status::Critical, "down")
        .await
        .unwrap();
    let flipped = expect("a flip").await;
    let shared = |name: &str, before: &Picture, after: &Picture| {
        let of = |picture: &Picture| {
            picture
                .iter()
                .find(|(key, _)| *key.service == *name)
                .unwrap()
                .1
                .clone()
        };
        Arc::ptr_eq(&of(before), &of(after))
    };
    assert!(
        !shared("a", &first, &flipped) && shared("b", &first, &flipped) && shared("consul", &first, &flipped)
    );

    // Shows in no list of names, tags or checks.
    server
        .context
        .store
        .propose(&elsewhere("n2", "c", 1))
        .await
        .unwrap();
    expect("a new service").await;
    server
        .context
        .store
        .propose(&elsewhere("n2", "c", 2))
        .await
        .unwrap();
    expect("a new port").await;

    server.client.maintenance(None, true, "").await.unwrap();
    let held = expect("a check of the node").await;
    assert!(!shared("b", &flipped, &held) && shared("c", &held, &held));
    server.client.deregister("b1").await.unwrap();
    let gone = expect("a service that went").await;
    assert!(gone.keys().all(|key| *key.service != *"b"));
    assert!(!watching.is_finished());
    watching.abort();
}

#[tokio::test]
async fn a_catalog_out_of_reach_is_drawn_once_it_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = Client::new(&Config::new(address.to_string())).unwrap();
    let (out, mut drawn) = tokio::sync::watch::channel(Picture::new());
    let (failed, mut failures) = tokio::sync::mpsc::unbounded_channel();
    let config = watch::Config::new(client);
    let watching = tokio::spawn(async move {
        watch(config, &out, |_, trouble| {
            drop(trouble.map(|error| failed.send(error.to_string())));
        })
        .await;
    });
    let text = tokio::time::timeout(SOON, failures.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(
        text.contains(&format!("http://{address}/v1/")) && text.contains("refused"),
        "{text}"
    );
    assert!(!drawn.has_changed().unwrap());

    let server = Server::start_at(address).await;
    tokio::time::timeout(SOON, drawn.wait_for(|drawn| agrees(drawn, &server)))
        .await
        .unwrap()
        .unwrap();
    watching.abort();
}
