//! The admin server in its users' words: requests in, whole answers out, over a real socket.
//!
//! `server <word>…` starts one: `access=ro|rw`, `token=…`, `auth=…` (ann's password is `secret`), `path=…`, `nokv`,
//! `title=markup`, `links`. `ask` sends what stands below it: a line with method and path, header lines, an empty line, a
//! body. Answers lack what all have in common; `HEADERS` among the words of `ask` shows that, too. `kv` shows the
//! store, `break` has it fail.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lb::admin::{Admin, PATHS, View};
use lb::config::{Access, AuthKind, AuthScheme, Secret, SourceLinks, Ui};
use lb::router::Router;
use lb::{Config, Entry, Kv, KvError, KvFuture};
use prometheus::Registry;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::balancer::{Balancer, WITHIN, eventually, say};
use crate::picture::picture;

const SERVICES: &str = "web 10.0.0.1:80 check=passing
  urlprefix-foo.com/ opt=<script>alert('x')</script>
  urlprefix-/ weight=\"><b>
web 10.0.0.3:80 check=passing
  urlprefix-foo.com/
old 10.0.0.4:80 check=passing
  urlprefix-foo.com/old redirect=301,https://new.com/
gone 10.0.0.2:80 check=critical
  urlprefix-/gone";

#[derive(Debug, Default)]
struct Store {
    entries: Mutex<BTreeMap<String, Entry>>,
    broken: Mutex<bool>,
}

impl Store {
    fn fails(&self) -> Result<(), KvError> {
        if *self.broken.lock().unwrap() {
            Err(KvError("no leader".into()))
        } else {
            Ok(())
        }
    }
}

impl Kv for Store {
    fn get<'a>(&'a self, key: &'a str) -> KvFuture<'a, Option<Entry>> {
        Box::pin(async move {
            self.fails()?;
            Ok(self.entries.lock().unwrap().get(key).cloned())
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> KvFuture<'a, Vec<Entry>> {
        Box::pin(async move {
            self.fails()?;
            let entries = self.entries.lock().unwrap();
            Ok(entries
                .values()
                .filter(|entry| entry.key.starts_with(prefix))
                .cloned()
                .collect())
        })
    }

    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, cas: Option<u64>) -> KvFuture<'a, bool> {
        Box::pin(async move {
            self.fails()?;
            let mut entries = self.entries.lock().unwrap();
            let index = entries.values().map(|entry| entry.index).max().unwrap_or(6) + 1;
            let now = entries.get(key).map_or(0, |entry| entry.index);
            let written = cas.is_none_or(|cas| cas == now);
            if written {
                let key = key.to_owned();
                entries.insert(key.clone(), Entry { key, value, index });
            }
            Ok(written)
        })
    }

    fn delete<'a>(&'a self, key: &'a str, cas: Option<u64>) -> KvFuture<'a, bool> {
        Box::pin(async move {
            self.fails()?;
            let mut entries = self.entries.lock().unwrap();
            let now = entries.get(key).map(|entry| entry.index);
            let deleted = cas.is_none() || now.is_none() || cas == now;
            if deleted {
                entries.remove(key);
            }
            Ok(deleted)
        })
    }
}

struct Server {
    addr: std::net::SocketAddr,
    store: Arc<Store>,
    stop: CancellationToken,
}

fn server(words: &std::collections::HashMap<String, Vec<String>>) -> Server {
    let word = |name: &str| {
        words
            .get(name)
            .map(|values| values.first().cloned().unwrap_or_default())
    };
    let folder = std::env::temp_dir().join(format!("lictor-admin-{}", std::process::id()));
    std::fs::write(&folder, "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").unwrap();
    let config = Config {
        node: "box".into(),
        ui: Some(Ui {
            access: match word("access").as_deref() {
                Some("ro") => Access::ReadOnly,
                Some("rw") => Access::ReadWrite,
                _ => Access::Default,
            },
            token: word("token").map(Secret::new),
            auth: word("auth"),
            path: word("path").map(|path| format!("/{path}")).unwrap_or_default(),
            title: word("title").map(|_| "<i>edge".to_owned()).unwrap_or_default(),
            source_links: word("links").map(|_| SourceLinks {
                new_tab: true,
                scheme: "http".into(),
                host: String::new(),
                port: "8080".into(),
            }),
            ..Ui::default()
        }),
        auth: vec![AuthScheme {
            name: "staff".into(),
            kind: AuthKind::Basic {
                file: folder.display().to_string(),
                realm: "staff".into(),
                refresh: None,
                forward: false,
            },
        }],
        shown: Arc::new(serde_json::json!({ "UI": { "Title": "" } })),
        ..Config::default()
    };
    let store = Arc::new(Store::default());
    let kv = words.get("nokv").is_none().then(|| store.clone() as Arc<dyn Kv>);
    let (registry, ready) = (Registry::new(), watch::Sender::new(true));
    let mut router = Router::new(Arc::new(config.clone()), ready.clone(), &registry).unwrap();
    router.update(picture(SERVICES));
    let (reload, mut asked) = mpsc::channel::<oneshot::Sender<Result<Vec<String>, String>>>(1);
    tokio::spawn(async move {
        let answers = [
            Ok(vec!["+ listener :81".to_owned()]),
            Err("proxy.addr: bad".to_owned()),
        ];
        for answer in answers.into_iter().cycle() {
            let Some(asker) = asked.recv().await else { return };
            let _ = asker.send(answer);
        }
    });
    let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (addr, stop) = (admin.addr(), CancellationToken::new());
    let mut view = View::new(Arc::new(config), router.live(), ready.subscribe(), registry).unwrap();
    view.kv = kv;
    view.reload = Some(reload);
    let end = stop.clone();
    tokio::spawn(async move {
        let _ready = ready;
        admin.run(view, end).await
    });
    Server { addr, store, stop }
}

/// What was sent, as HTTP has it.
fn request(input: &str) -> String {
    let (head, body) = input.split_once("\n\n").unwrap_or((input.trim_end(), ""));
    let (first, headers) = head.split_once('\n').unwrap_or((head, ""));
    let body = body.strip_suffix('\n').unwrap_or(body);
    let mut request = format!("{first} HTTP/1.1\r\n");
    if !headers.to_lowercase().contains("host:") {
        request.push_str("Host: localhost\r\n");
    }
    for header in headers.lines() {
        let _ = write!(request, "{header}\r\n");
    }
    if !body.is_empty() && !headers.to_lowercase().contains("transfer-encoding") {
        let _ = write!(request, "Content-Length: {}\r\n", body.len());
    }
    format!("{request}Connection: close\r\n\r\n{body}")
}

fn shown(answer: &str, all: bool) -> String {
    const COMMON: [&str; 8] = [
        "date",
        "connection",
        "content-length",
        "content-security-policy",
        "x-content-type-options",
        "x-frame-options",
        "referrer-policy",
        "cache-control",
    ];
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap();
    let mut out = format!("{}\n", &status[..3]);
    for line in lines {
        let name = line.split(':').next().unwrap();
        let is_common = COMMON.contains(&name);
        if !is_common || (all && !["date", "content-length", "connection"].contains(&name)) {
            let _ = writeln!(out, "{line}");
        }
    }
    if !body.is_empty() {
        let _ = writeln!(out, "\n{}", body.trim_end());
    }
    out
}

#[test]
fn transcripts_of_the_admin_server() {
    datadriven::walk(
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/observing/admin"),
        |file| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let mut running: Option<Server> = None;
            file.run(|case| {
                runtime.block_on(async {
                    if case.directive == "server" {
                        if let Some(before) = running.replace(server(&case.args)) {
                            before.stop.cancel();
                        }
                        return String::from("ok\n");
                    }
                    let server = running.as_ref().unwrap();
                    match &*case.directive {
                        "ask" => shown(
                            &say(server.addr, &request(&case.input)).await,
                            case.args.contains_key("HEADERS"),
                        ),
                        "break" => {
                            *server.store.broken.lock().unwrap() = true;
                            String::from("ok\n")
                        }
                        "kv" => {
                            let entries = server.store.entries.lock().unwrap();
                            let line = |entry: &Entry| {
                                format!(
                                    "{} {} {:?}\n",
                                    entry.index,
                                    entry.key,
                                    String::from_utf8_lossy(&entry.value)
                                )
                            };
                            entries.values().map(line).collect()
                        }
                        other => panic!("unknown directive {other}"),
                    }
                })
            });
        },
    );
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_however_it_is_announced() {
    let server = server(&std::collections::HashMap::new());
    let large = "x".repeat(600 * 1024);
    let head = "PUT /api/manual HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    for request in [
        format!("{head}Content-Length: {}\r\n\r\n{large}", large.len()),
        format!(
            "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
            large.len()
        ),
    ] {
        // Whoever does not read on may meet a reset connection instead.
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(server.addr).await.unwrap();
        let (mut read, mut write) = stream.split();
        let mut answer = [0; 12];
        let (_, got) = tokio::join!(write.write_all(request.as_bytes()), read.read_exact(&mut answer));
        got.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413");
    }
    assert!(server.store.entries.lock().unwrap().is_empty());
    server.stop.cancel();
}

#[test]
fn the_page_of_docs_lists_every_path() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/admin.md")).unwrap();
    for (path, methods, says) in PATHS {
        let row = format!("| `{path}` | {methods} | {says} |");
        assert!(page.lines().any(|line| line == row), "docs/admin.md lacks\n{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_configuration_holds_for_the_next_request_to_the_admin_server() {
    let named = |name: &'static str| {
        move |config: &mut Config| {
            let ui = config.ui.as_mut().unwrap();
            ui.token = Some(Secret::new(name));
            ui.title = name.to_owned();
            config.shown = Arc::new(serde_json::json!({ "UI": { "Title": name } }));
        }
    };
    let balancer = Balancer::start(named("before")).await;
    let ask = async |path: &str, token: &str| balancer.admin(&format!("{path}?token={token}")).await;
    assert!(ask("/routes", "before").await.contains("<h1>before"));

    let next = Balancer::config(named("after"));
    assert_eq!(balancer.reloader.apply(next).await.unwrap(), [""; 0]);
    assert!(ask("/routes", "before").await.starts_with("HTTP/1.1 401"));
    assert!(ask("/routes", "after").await.contains("<h1>after"));
    let shown = ask("/api/config", "after").await;
    assert!(shown.ends_with(r#"{"UI":{"Title":"after"}}"#), "{shown}");
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_is_answered_however_many_connect_and_say_nothing() {
    let balancer = Balancer::start(|_| {}).await;
    let mut silent = Vec::new();
    let asking = async {
        for _ in 0..400 {
            silent.push(tokio::net::TcpStream::connect(balancer.ui).await.unwrap());
        }
        balancer.admin("/health").await
    };
    // Before those who say nothing are cut off for it.
    let asked = tokio::time::timeout(Duration::from_secs(4), asking).await;
    assert!(asked.unwrap().starts_with("HTTP/1.1 200"));
    balancer.stop().await;
}

#[tokio::test]
async fn whoever_says_nothing_is_cut_off_before_and_after_a_request() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = server(&std::collections::HashMap::new());
    let cut_off = async |said: &str| {
        let mut stream = tokio::net::TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let ended = tokio::time::timeout(WITHIN, stream.read_to_string(&mut answer)).await;
        ended.unwrap().unwrap();
        answer
    };
    let whole = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answers = tokio::join!(cut_off(""), cut_off("G"), cut_off(whole));
    assert_eq!((&*answers.0, &*answers.1), ("", ""));
    assert!(answers.2.starts_with("HTTP/1.1 200"));
    server.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_says_which_target_is_passed_over_and_why() {
    let balancer = Balancer::start(|_| {}).await;
    let gone = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let gone = gone.unwrap();
    let services = [balancer.server, gone].map(|at| {
        let id = at.port();
        format!("web {at} id={id} check=passing\n  urlprefix-foo.com/")
    });
    balancer.pictures.send_replace(picture(&services.join("\n")));
    let row = eventually("the target that is gone is passed over", async || {
        // It is told which one fails; its client is not.
        let answer = balancer.get("foo.com", "/", "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let page = balancer.admin("/routes").await;
        let row = page.split("<tr").find(|row| row.contains(&gone.to_string()))?;
        row.contains("ejected for").then(|| row.to_owned())
    });
    let row = row.await;
    assert!(row.contains("s: takes no connections"), "{row}");
    let live = balancer.admin("/api/live").await;
    assert_eq!(live.matches("takes no connections").count(), 1, "{live}");
    balancer.stop().await;
}
