//! Real clients: curl, h2load and wrk, and a WebSocket of a library, in front of real sockets.

use std::process::Command;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use super::h2::run;
use super::harness::*;

/// What a program prints; the test fails where it does.
fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program} (see tests/tools.sh): {error}"));
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{program} {args:?}: {said}{complained}");
    said.into_owned()
}

#[test]
fn curl_is_served_in_every_version_that_it_speaks() {
    let server = Server::start(|request| Some(ok(&request.body)));
    let balancer = Balancer::start(&[routed("web", server.addr, "urlprefix-/")]);
    drop(balancer.connect());
    let url = format!("http://{}/x", balancer.addr);
    let large = "x".repeat(100_000);
    for (version, spoken) in [
        ("--http1.0", "1.1"),
        ("--http1.1", "1.1"),
        ("--http2", "1.1"),
        ("--http2-prior-knowledge", "2"),
    ] {
        let args = [
            "-sS",
            version,
            "-d",
            &large,
            "-H",
            "Expect:",
            "-w",
            "\n%{http_version} %{http_code}",
            &url,
        ];
        let said = output("curl", &args);
        let (body, told) = said.rsplit_once('\n').unwrap();
        assert_eq!(body.len(), large.len(), "{version}");
        let spoken = if version == "--http1.0" { "1" } else { spoken };
        assert!(
            told.starts_with(spoken) && told.ends_with(" 200"),
            "{version}: {told}"
        );
    }
    // It waits for 100 before it sends, and gets it from us.
    let args = [
        "-sS",
        "-H",
        "Expect: 100-continue",
        "--expect100-timeout",
        "9",
        "-d",
        "hello",
        &url,
    ];
    let start = std::time::Instant::now();
    assert_eq!(output("curl", &args), "hello");
    assert!(start.elapsed() < DEADLINE / 2);
}

#[test]
fn h2load_and_wrk_lose_nothing() {
    let server = Server::saying("hello");
    let balancer = Balancer::with(
        |config| config.workers = 2,
        &[routed("web", server.addr, "urlprefix-/")],
    );
    drop(balancer.connect());
    let url = format!("http://{}/", balancer.addr);
    let said = output("h2load", &["-n", "2000", "-c", "8", "-m", "32", &url]);
    assert!(
        said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"),
        "{said}"
    );
    let said = output("wrk", &["-d", "1", "-c", "16", "-t", "1", &url]);
    assert!(!said.contains("errors") && !said.contains("Non-2xx"), "{said}");
    until("all are counted", || balancer.metric("requests_seconds") > 2000);
}

#[test]
fn a_websocket_client_talks_to_a_websocket_server_for_longer_than_a_moment() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .unwrap();
    let addr = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // fabio gives a server one second to agree.
                tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let balancer = Balancer::start(&[routed("chat", addr, "urlprefix-/chat")]);
    drop(balancer.connect());
    run(async {
        let url = format!("ws://{}/chat", balancer.addr);
        let stream = tokio::net::TcpStream::connect(balancer.addr).await.unwrap();
        let (mut socket, answer) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        assert_eq!(answer.status(), 101);
        for size in [1, 1000, 300_000] {
            let text = "x".repeat(size);
            socket.send(Message::text(text.clone())).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap(), text);
        }
        socket.close(None).await.unwrap();
        while socket.next().await.is_some() {}
    });
    until("the tunnel is over", || balancer.metric("ws_conn") == 0);
}
