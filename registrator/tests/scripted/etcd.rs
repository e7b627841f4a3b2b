//! etcd where the real one cannot be made to show what happens between two requests.

use std::sync::Arc;
use std::time::Duration;

use registrator::registry::Registry as _;
use registrator::registry::etcd::{Api, Etcd, Settings, Shelf};

use super::consul::{Agent, begun};

/// Less than it takes to give a listening up that nobody answers.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A server of v3 at this revision.
fn shows(server: &Agent, revision: u32) {
    let answer = format!(r#"{{"header":{{"revision":"{revision}"}}}}"#);
    server.answers("POST /v3/kv/range", 200, &answer);
}

fn registry(server: &Agent) -> Arc<Etcd> {
    let settings = Settings {
        members: vec![server.address.to_string()],
        tls: None,
        user: None,
        shelf: Shelf::plain("services"),
        api: Api::V3,
        ttl: Duration::ZERO,
    };
    Arc::new(begun(Etcd::new(settings).unwrap()))
}

#[tokio::test]
async fn listening_begins_where_the_last_look_ended() {
    let server = Agent::start().await;
    server.answers("GET /version", 200, r#"{"etcdserver":"3.5.0"}"#);
    server.answers("POST /v3/watch", 0, "");
    shows(&server, 41);
    let etcd = registry(&server);
    etcd.services().await.unwrap();
    // Somebody writes or removes something before we listen.
    shows(&server, 45);
    let listening = etcd.clone();
    let listening = tokio::spawn(async move { listening.faltered().await });

    server.await_told("POST /v3/watch").await;

    let told = server.told();
    let asked = told.iter().find(|line| line.starts_with("POST /v3/watch"));
    assert!(asked.unwrap().contains(r#""start_revision":"42""#), "{asked:?}");
    assert!(!listening.is_finished());
    listening.abort();

    // It began anew: nothing that it held need be there, and what is to come has other numbers.
    shows(&server, 3);
    let heard = tokio::time::timeout(AT_ONCE, etcd.faltered()).await;
    assert!(heard.is_ok());
}
