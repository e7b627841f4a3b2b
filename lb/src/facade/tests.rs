//! What ends a balancer that nobody has stopped.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;

use std::sync::Mutex;

use super::*;
use crate::config::{Acme, CertKind, Metrics, MetricsTarget, Ui};
use crate::kv::{Entry, Kv, KvFuture};
use crate::tls::tests::harness::source;

/// Linux's `O_NONBLOCK`.
const NONBLOCKING: i32 = 0o4000;
const WITHIN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_task_that_ends_without_a_word_or_in_a_panic_is_named() {
    let mut behind = Behind::default();
    behind.spawn("router", std::future::pending());
    behind.spawn("certificate sources", unfailing(async {}));
    let said = behind.death().await.to_string();
    assert_eq!(said, "certificate sources of the balancer: ended without a word");
    behind.spawn("admin server", unfailing(async { panic!("oh") }));
    let said = behind.death().await.to_string();
    assert!(said.starts_with("admin server of the balancer: task "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_words_are_said_also_when_something_dies() {
    let statsd = UdpSocket::bind("127.0.0.1:0").unwrap();
    statsd.set_read_timeout(Some(WITHIN)).unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let config = Config {
        listeners: vec![crate::config::Listener::http(any)],
        ui: Some(Ui::at(any)),
        workers: 1,
        metrics: Metrics {
            targets: vec![MetricsTarget::StatsdRaw],
            statsd: Some(statsd.local_addr().unwrap().to_string()),
            interval: Duration::from_secs(3600),
            ..Metrics::default()
        },
        ..Config::default()
    };
    let (_pictures, instances) = watch::channel(catalog::Picture::new());
    let mut lb = config.build(Inputs::of(instances), &Registry::new()).unwrap();
    let no_socket = std::fs::File::options()
        .read(true)
        .custom_flags(NONBLOCKING)
        .open("/dev/null");
    lb.admin.as_mut().unwrap().listener = TcpListener::from(OwnedFd::from(no_socket.unwrap()));
    let ended = tokio::time::timeout(WITHIN, lb.run(CancellationToken::new())).await;
    assert!(matches!(ended.unwrap(), Err(RunError::Admin(_))));
    assert!(statsd.recv(&mut [0; 1500]).is_ok());
}

/// A store that takes its time to write, and keeps every value that was written.
#[derive(Debug, Default)]
struct Slow(Mutex<Vec<(String, String)>>);

impl Slow {
    fn last(&self, key: &str) -> Option<String> {
        let written = self.0.lock().unwrap();
        let mut last = written.iter().rev().filter(|(other, _)| other == key);
        last.next().map(|(_, value)| value.clone())
    }
}

impl Kv for Slow {
    fn get<'a>(&'a self, key: &'a str) -> KvFuture<'a, Option<Entry>> {
        Box::pin(async move {
            Ok(self.last(key).map(|value| Entry {
                key: key.to_owned(),
                value: value.into(),
                index: 1,
            }))
        })
    }

    fn list<'a>(&'a self, _: &'a str) -> KvFuture<'a, Vec<Entry>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, _: Option<u64>) -> KvFuture<'a, bool> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let value = String::from_utf8(value).unwrap();
            self.0.lock().unwrap().push((key.to_owned(), value));
            Ok(true)
        })
    }

    fn delete<'a>(&'a self, _: &'a str, _: Option<u64>) -> KvFuture<'a, bool> {
        Box::pin(async { Ok(true) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_stopped_in_an_order_lets_others_order_before_it_ends() {
    // An authority that takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let acme = Acme {
        directory: format!("http://{}/directory", silent.local_addr().unwrap()),
        email: None,
        trust: None,
        hosts: vec!["a.example.org".to_owned()],
        external: None,
        prefix: "acme".to_owned(),
    };
    let config = Config {
        workers: 1,
        certs: vec![source("mine", CertKind::Acme(acme))],
        ..Config::default()
    };
    let kv = Arc::new(Slow::default());
    let (_pictures, instances) = watch::channel(catalog::Picture::new());
    let inputs = Inputs {
        kv: Some(kv.clone()),
        ..Inputs::of(instances)
    };
    let lb = config.build(inputs, &Registry::new()).unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(lb.run(stop.clone()));
    let taken = async {
        while kv.last("acme/lease").is_none() {
            task::yield_now().await;
        }
    };
    tokio::time::timeout(WITHIN, taken).await.unwrap();
    stop.cancel();
    tokio::time::timeout(WITHIN, running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let lease: serde_json::Value = serde_json::from_str(&kv.last("acme/lease").unwrap()).unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    assert!(lease["until"].as_u64().unwrap() <= now.as_secs(), "{lease}");
}
