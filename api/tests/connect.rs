//! The client over a Unix socket, and what it says of whoever uses it.

#![allow(clippy::unwrap_used, reason = "in tests a panic is the report")]

use std::path::Path;

use api::client::{Client, Config};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

/// Takes one connection, answers its two requests with the leader's address, and returns their heads.
fn consul(socket: &Path) -> JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heads = Vec::new();
        for _ in 0..2 {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            heads.push(String::from_utf8(head).unwrap());
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n\"10.0.0.1:8300\"";
            stream.write_all(answer).await.unwrap();
        }
        heads
    })
}

#[tokio::test]
async fn a_socket_is_a_server_as_any_other_and_its_connection_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("consul.sock");
    let heard = consul(&socket);
    let address = format!("unix://{}", socket.display());
    let config = Config {
        token: Some("t-1".to_owned()),
        login: Some(("reg".to_owned(), "pass:word".to_owned())),
        ..Config::new(&address)
    };
    let client = Client::new(&config).unwrap();
    assert_eq!(client.address(), address);
    for _ in 0..2 {
        assert_eq!(client.leader().await.unwrap(), "10.0.0.1:8300");
    }
    for head in heard.await.unwrap() {
        let lines: Vec<&str> = head.lines().collect();
        assert_eq!(lines[0], "GET /v1/status/leader HTTP/1.1");
        // What `printf reg:pass:word | base64` says.
        for line in [
            "x-consul-token: t-1",
            "authorization: Basic cmVnOnBhc3M6d29yZA==",
            "host: localhost",
        ] {
            assert!(lines.contains(&line), "{line} is not in {head}");
        }
    }
}

#[tokio::test]
async fn a_socket_that_nobody_listens_at_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let address = format!("unix://{}/none.sock", directory.path().display());
    let error = Client::new(&Config::new(&address))
        .unwrap()
        .leader()
        .await
        .unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains(&address) && error.contains("No such file"),
        "{error}"
    );
    for odd in ["unix://", "unix://run/consul.sock", "ftp://h"] {
        let error = Client::new(&Config::new(odd)).unwrap_err().to_string();
        assert!(error.contains(odd) && error.contains("unix:///"), "{error}");
    }
}
