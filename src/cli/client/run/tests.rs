//! Verbs against a small server that keeps what it is told, and against nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use base64::Engine as _;

use super::*;
use crate::cli::client::parse;
use crate::cli::{Invocation, Usage};

type Kept = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

async fn read(State(kept): State<Kept>, Path(key): Path<String>) -> (StatusCode, String) {
    let value = kept.lock().unwrap().get(&key).cloned();
    value.map_or((StatusCode::NOT_FOUND, String::new()), |value| {
        let value = base64::engine::general_purpose::STANDARD.encode(value);
        (
            StatusCode::OK,
            serde_json::json!([{ "Key": key, "Value": value }]).to_string(),
        )
    })
}

async fn write(State(kept): State<Kept>, Path(key): Path<String>, body: axum::body::Bytes) -> &'static str {
    if key == "locked" {
        return "false";
    }
    kept.lock().unwrap().insert(key, body.to_vec());
    "true"
}

/// The address of a server that lives as long as the test.
async fn serve() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let router = Router::new()
        .route("/v1/kv/{*key}", get(read).put(write))
        .with_state(Kept::default());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn ask(address: &str, line: &str) -> (String, String, u8) {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let env = [("CONSUL_HTTP_ADDR".to_owned(), address.to_owned())].into();
    let call = match parse("consul", &words[0], &words[1..], &env) {
        Ok(Invocation::Client(call)) => *call,
        other => panic!("{:?}", other.map_err(|Usage { text, .. }| text)),
    };
    let Outcome { out, err, code } = run(call).await;
    (String::from_utf8(out).unwrap(), err, code)
}

#[tokio::test]
async fn a_value_written_is_read_back_and_a_missing_key_is_exit_code_one() {
    let address = serve().await;
    let said = |out: &str| (out.to_owned(), String::new(), 0);
    let refused = |err: &str| (String::new(), err.to_owned(), 1);
    assert_eq!(
        ask(&address, "kv put a/b hello").await,
        said("Success! Data written to: a/b\n")
    );
    assert_eq!(ask(&address, "kv get /a/b").await, said("hello\n"));
    assert_eq!(ask(&address, "kv get -base64 a/b").await, said("aGVsbG8=\n"));
    assert_eq!(
        ask(&address, "kv get nope").await,
        refused("Error! No key exists at: nope\n")
    );
    let lost = refused("Error! Did not write to locked: CAS failed\n");
    assert_eq!(ask(&address, "kv put -cas -modify-index=1 locked x").await, lost);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_servers_words() {
    let address = serve().await;
    let (out, err, code) = ask(&address, "members").await;
    assert_eq!((out.as_str(), code), ("", 1));
    assert!(
        err.starts_with("Error retrieving members: Unexpected response code: 404"),
        "{err}"
    );
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_named_with_the_cause() {
    // Bound and dropped: nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let (_, err, code) = ask(&address, "catalog datacenters").await;
    assert_eq!(code, 1);
    assert!(
        err.starts_with("Error listing datacenters: ") && err.contains(&address),
        "{err}"
    );
    assert!(err.to_lowercase().contains("connection refused"), "{err}");
}
