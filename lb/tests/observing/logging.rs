//! The access log where it arrives.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, id};

use lb::config::{AccessLog, LogTarget};

use crate::balancer::{Balancer, WITHIN, eventually};

fn file(path: &Path, format: &str) -> AccessLog {
    AccessLog {
        format: format.into(),
        target: LogTarget::File {
            path: path.into(),
            max_size: None,
            keep: 0,
        },
    }
}

async fn line(path: &Path, part: &str) -> String {
    eventually(part, async || {
        let text = std::fs::read_to_string(path).ok()?;
        text.lines().find(|line| line.contains(part)).map(str::to_owned)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_file_is_begun_anew_at_sigusr1_and_no_line_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("access.log"), folder.path().join("old.log"));
    let balancer = Balancer::start(|config| {
        config.access_log = Some(file(&path, "$request_uri $response_status $upstream_service"));
    })
    .await;
    balancer.get("foo.com", "/first", "").await;
    assert_eq!(line(&path, "/first").await, "/first 200 web");
    std::fs::rename(&path, &old).unwrap();
    balancer.get("foo.com", "/second", "").await;
    line(&old, "/second").await;
    let killed = Command::new("kill")
        .args(["-USR1", &id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    eventually("the file is there again", async || path.exists().then_some(())).await;
    balancer.get("bar.com", "/third", "").await;
    assert_eq!(line(&path, "/third").await, "/third 404 ");
    assert_eq!(std::fs::read_to_string(&old).unwrap().lines().count(), 2);
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_syslog_gets_a_message_a_request_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let syslog = UnixDatagram::bind(&path).unwrap();
    syslog.set_read_timeout(Some(WITHIN)).unwrap();
    let balancer = Balancer::start(|config| {
        config.node = "box".into();
        config.access_log = Some(AccessLog {
            format: "json".into(),
            target: LogTarget::Syslog(format!("syslog:{}", path.display())),
        });
    })
    .await;
    balancer.get("foo.com", "/a\"b", "User-Agent: a\"b\r\n").await;
    let mut message = [0; 8192];
    let length = syslog.recv(&mut message).unwrap();
    let message = String::from_utf8(message[..length].to_vec()).unwrap();
    assert!(message.starts_with("<134>1 "), "{message}");
    let (head, object) = message.split_once(" - {").unwrap();
    assert!(head.ends_with(&format!(" box lictor {} access", id())), "{head}");
    let line: serde_json::Value = serde_json::from_str(&format!("{{{object}")).unwrap();
    assert_eq!(line["request_host"], "foo.com");
    assert_eq!(line["user_agent"], "a\"b");
    assert_eq!(line["response_status"], 200);
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_had_is_named_at_the_start() {
    let config = lb::Config {
        listeners: Vec::new(),
        ui: None,
        access_log: Some(file(Path::new("/nowhere/access.log"), "common")),
        ..lb::Config::default()
    };
    let inputs = lb::Inputs::of(tokio::sync::watch::channel(catalog::Picture::new()).1);
    let error = config.build(inputs, &prometheus::Registry::new()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("log.access.target: file:/nowhere/access.log: "),
        "{text}"
    );
}

#[test]
fn the_page_of_docs_lists_every_field_and_key() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/observability.md")).unwrap();
    let fields = lb::ACCESS_LOG_FIELDS
        .iter()
        .map(|(name, says)| format!("| `${name}` | {says} |"));
    let keys = lb::ACCESS_LOG_KEYS
        .iter()
        .map(|(key, field, _)| format!("| `{key}` | `{field}` |"));
    for row in fields.chain(keys) {
        assert!(
            page.lines().any(|line| line == row),
            "docs/observability.md lacks\n{row}"
        );
    }
}
