//! The admin server over a real socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lb::Config;
use lb::admin::{Admin, View};
use lb::router::Router;
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::picture::picture;

const SERVICES: &str = "web 10.0.0.1:80 check=passing
  urlprefix-foo.com/ opt=<script>alert('x')</script>
  urlprefix-/ weight=\"><b>
gone 10.0.0.2:80 check=critical
  urlprefix-/gone";

struct Running {
    addr: SocketAddr,
    ready: watch::Sender<bool>,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<std::io::Result<()>>,
}

fn start() -> Running {
    start_with(SERVICES)
}

fn start_with(services: &str) -> Running {
    let config = Arc::new(Config {
        node: "box".to_owned(),
        ..Config::default()
    });
    let ready = watch::Sender::new(false);
    let registry = Registry::new();
    let mut router = Router::new(config.clone(), ready.clone(), &registry).unwrap();
    router.update(picture(services));
    let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = admin.addr();
    let stop = CancellationToken::new();
    let view = View::new(config, router.live(), ready.subscribe(), registry).unwrap();
    let ended = tokio::spawn(admin.run(view, stop.clone()));
    Running {
        addr,
        ready,
        stop,
        ended,
    }
}

impl Running {
    async fn ask(&self, method: &str, path: &str, host: &str) -> (u16, String) {
        let exchange = async {
            let mut stream = TcpStream::connect(self.addr).await.unwrap();
            let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = tokio::time::timeout(Duration::from_secs(10), exchange)
            .await
            .unwrap();
        (answer[9..12].parse().unwrap(), answer)
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, "127.0.0.1:9998").await
    }
}

#[tokio::test]
async fn it_shows_the_table_to_people_and_programs() {
    let admin = start();
    let (status, json) = admin.get("/api/routes").await;
    assert_eq!(status, 200);
    assert!(
        json.contains(r#""src":"foo.com/","dst":"http://10.0.0.1:80/""#),
        "{json}"
    );
    let (_, raw) = admin.get("/api/routes?raw").await;
    assert!(
        raw.contains("route add web foo.com/ http://10.0.0.1:80/ opts"),
        "{raw}"
    );
    let (_, skipped) = admin.get("/api/skipped?pretty").await;
    assert!(skipped.contains("is no number"), "{skipped}");
    let (_, metrics) = admin.get("/metrics").await;
    assert!(metrics.contains("lictor_lb_routes 2"), "{metrics}");
    let (_, version) = admin.get("/api/version").await;
    assert!(version.ends_with(env!("CARGO_PKG_VERSION")), "{version}");
    let (status, elsewhere) = admin.get("/nowhere").await;
    assert!(
        status == 303 && elsewhere.contains("location: /routes"),
        "{elsewhere}"
    );
}

#[tokio::test]
async fn it_explains_a_path_in_the_reading_that_requests_are_routed_by() {
    let admin = start();
    for (asked, path, status) in [
        ("/gone", "/gone", "503"),
        ("/x//gone", "/x/gone", "404"),
        ("//gone", "/gone", "503"),
        ("/%252fgone", "/gone", "503"),
        ("/;x/gone", "/gone", "503"),
        ("/x%5C..%5Cgone", "/gone", "503"),
    ] {
        let (_, answer) = admin.get(&format!("/api/explain?host=a&path={asked}")).await;
        assert!(
            answer.contains(&format!("\"path\":\"{path}\"")),
            "{asked}: {answer}"
        );
        assert!(
            answer.contains(&format!("\"status\":{status}")),
            "{asked}: {answer}"
        );
    }
    let (status, answer) = admin.get("/api/explain?path=/..;/gone").await;
    assert!(
        status == 400 && answer.contains("dot segment with parameters"),
        "{answer}"
    );
}

#[tokio::test]
async fn it_explains_that_a_redirect_which_leads_back_gives_way() {
    let admin = start_with(
        "moved 10.0.0.1:80 check=passing
  urlprefix-a.com/ redirect=301,https://a.com$path
admin 10.0.0.2:80 check=passing
  urlprefix-/admin
open 10.0.0.3:80 check=passing
  urlprefix-/admin/open",
    );
    let ask = async |query: &str| admin.get(&format!("/api/explain?host=A.com&{query}")).await.1;
    let answer = ask("path=/admin//open").await;
    assert!(answer.contains("\"status\":301"), "{answer}");
    let answer = ask("path=/admin//open&tls=1").await;
    for part in [
        "\"status\":null",
        "\"path\":\"/admin/open\"",
        "10.0.0.3:80 gets it",
        "{\"host\":\"a.com\",\"path\":null,\"why\":\"its redirect leads back to what is asked for\"}",
    ] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
}

#[tokio::test]
async fn nothing_a_stranger_wrote_becomes_markup() {
    let admin = start();
    let (status, page) = admin.get("/routes").await;
    assert_eq!(status, 200);
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)"), "{page}");
    assert!(!page.contains("<script") && !page.contains("\"><b>"), "{page}");
    assert!(page.contains("gone-2<td><td><td>no check is accepted"), "{page}");
    let (_, filtered) = admin.get("/routes?filter=gone+%22%3E").await;
    assert!(
        filtered.contains("value=\"gone &#34;&gt;\"") && !filtered.contains("<td>foo.com/"),
        "{filtered}"
    );
}

#[tokio::test]
async fn it_is_healthy_always_and_ready_when_told() {
    let admin = start();
    assert_eq!(admin.get("/health").await.0, 200);
    assert_eq!(admin.get("/ready").await.0, 503);
    admin.ready.send_replace(true);
    assert_eq!(admin.get("/ready").await.0, 200);
    assert_eq!(admin.ask("POST", "/routes", "localhost").await.0, 405);
    admin.stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), admin.ended)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_foreign_name_is_refused() {
    let admin = start();
    for ours in [
        "[::1]:9998",
        "10.1.2.3",
        "localhost:1",
        "BOX:9998",
        "box.node.consul",
        "lictor",
        "consul",
    ] {
        assert_eq!(admin.ask("GET", "/health", ours).await.0, 200, "{ours}");
    }
    for foreign in [
        "evil.com",
        "evil.com:9998",
        "consul.evil.com",
        "notconsul.com",
        "box.evil.com:80",
    ] {
        assert_eq!(admin.ask("GET", "/health", foreign).await.0, 421, "{foreign}");
    }
}

#[tokio::test]
async fn bodies_that_do_not_come_keep_no_probe_out() {
    let admin = start();
    let mut unfinished = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(admin.addr).await.unwrap();
        let head = "PUT /api/manual HTTP/1.1\r\nHost: 127.0.0.1:9998\r\nContent-Length: 100\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();
        unfinished.push(stream);
        // Whoever has been let in is read before the next one comes.
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        assert_eq!(admin.get("/health").await.0, 200);
    }
}
