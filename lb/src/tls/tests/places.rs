//! Folders, web servers and key-value stores that change, break and come back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::authority::Authority;
use super::harness::{
    Files, acceptor, ask, eventually, file_source, listener_of, names, running, serve, source,
};
use super::web::{Answer, Web, answer};
use crate::config::{CertKind, CertSource, Secret};

const SOON: Option<Duration> = Some(Duration::from_millis(1));

fn path_source(files: &Files) -> CertSource {
    let mut source = source("mine", CertKind::Path(files.path().to_str().unwrap().to_owned()));
    source.refresh = SOON;
    source
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_followed_and_never_empties_a_store() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let (pair, split) = (authority.issue(&["one.org"]), authority.issue(&["two.org"]));
    files.put_pair("b.pem", &pair);
    files.put("deep/down/a-cert.pem", &split.cert);
    files.put("deep/down/a-key.pem", &split.key);
    files.put_pair(".hidden.pem", &authority.issue(&["hidden.org"]));
    files.put_pair(".git/x.pem", &authority.issue(&["hidden.org"]));
    files.put("large.pem", &"x".repeat((1 << 20) + 1));
    files.put("note.txt", "nothing of ours");
    std::os::unix::fs::symlink("/etc/hostname", files.path().join("out.pem")).unwrap();
    std::os::unix::fs::symlink(files.path().join("b.pem"), files.path().join("z.pem")).unwrap();
    let stores = running(&[path_source(&files)]);
    stores.settled().await;
    assert_eq!(names(&stores, "mine"), ["one.org", "two.org", "one.org"]);
    let left_out = stores.status()[0].left_out.clone();
    let left_out: Vec<_> = left_out
        .iter()
        .map(|(entry, why)| format!("{entry}: {why}"))
        .collect();
    assert_eq!(
        left_out,
        [
            "Certificate large.pem: is longer than 1 MiB",
            "Certificate out.pem: is a link that leads out of the folder"
        ]
    );

    // Broken where it was good: what was there stays. A new one comes in all the same.
    files.put("b.pem", "no longer PEM");
    files.put_pair("new.pem", &authority.issue(&["new.org"]));
    stores.look();
    eventually("the new one", || {
        names(&stores, "mine").contains(&"new.org".to_owned())
    })
    .await;
    assert!(names(&stores, "mine").contains(&"one.org".to_owned()));

    std::fs::rename(files.path(), files.path().with_extension("moved")).unwrap();
    eventually("failing", || stores.status()[0].failing.is_some()).await;
    assert_eq!(names(&stores, "mine").len(), 4);
    std::fs::rename(files.path().with_extension("moved"), files.path()).unwrap();
    eventually("well again", || stores.status()[0].failing.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_there_yet_is_waited_for() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let mut later = path_source(&files);
    later.kind = CertKind::Path(files.path().join("later").to_str().unwrap().to_owned());
    let stores = running(&[later]);
    stores.settled().await;
    let addr = serve(acceptor(&stores, &listener_of("mine"))).await;
    assert!(!ask(addr, &[]).await.contains("hello"));
    files.put_pair("later/a.pem", &authority.issue(&["a.org"]));
    eventually("the first", || !names(&stores, "mine").is_empty()).await;
    assert!(ask(addr, &[]).await.contains("hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_again_when_told_to_and_stays_when_it_breaks() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let path = files.put_pair("web.pem", &authority.issue(&["old.org"]));
    let mut config = file_source("mine", &path);
    config.client_ca = Some(files.put("clients.crt", &authority.pem()));
    let stores = running(&[config.clone()]);
    stores.settled().await;
    files.put_pair("web.pem", &authority.issue(&["new.org"]));
    files.put("clients.crt", &(authority.pem() + &Authority::new("more").pem()));
    stores.look();
    eventually("the new one", || names(&stores, "mine") == ["new.org"]).await;
    eventually("authorities", || stores.status()[0].client_authorities == 2).await;
    files.put("web.pem", "");
    stores.look();
    eventually("left out", || !stores.status()[0].left_out.is_empty()).await;
    assert_eq!(names(&stores, "mine"), ["new.org"]);

    // The same configuration again is a look; another one is another source.
    files.put_pair("web.pem", &authority.issue(&["third.org"]));
    stores.reconfigure(&[config.clone()]).unwrap();
    eventually("the third", || names(&stores, "mine") == ["third.org"]).await;
    files.put("web.pem", "");
    config.client_ca = None;
    stores.reconfigure(&[config]).unwrap_err();
    assert_eq!(names(&stores, "mine"), ["third.org"]);
    stores.reconfigure(&[]).unwrap();
    assert!(stores.status().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_server_is_asked_with_the_header_and_for_what_its_list_names() {
    let authority = Authority::new("ca");
    let (one, two) = (authority.issue(&["one.org"]), authority.issue(&["two.org"]));
    let broken = Arc::new(Mutex::new(""));
    let says = broken.clone();
    let web = Web::start(move |asked| {
        let (one, two, broken) = (one.clone(), two.clone(), *says.lock().unwrap());
        async move {
            if asked.header("x-key") != "secret" {
                return answer(403, "who?");
            }
            match asked.path.as_str() {
                "/certs/list?t=1" if broken == "list" => answer(500, "an odd page"),
                "/certs/list?t=1" if broken == "empty" => answer(200, ""),
                "/certs/list?t=1" => {
                    answer(200, "b.pem\n/a-cert.pem\r\n\na-key.pem\n../x.pem\nmissing.pem\n")
                }
                "/certs/b.pem?t=1" if broken == "file" => answer(502, "<html>"),
                "/certs/b.pem?t=1" => answer(200, one.cert + &one.key),
                "/certs/a-cert.pem?t=1" => answer(200, two.cert),
                "/certs/a-key.pem?t=1" => answer(200, two.key),
                _ => answer(404, ""),
            }
        }
    })
    .await;
    let mut config = source("mine", CertKind::Http(format!("{}/certs/list?t=1", web.url)));
    config.refresh = SOON;
    config.header = Some(("X-Key".to_owned(), Secret::new("secret")));
    let stores = running(&[config]);
    stores.settled().await;
    // The name with a slash in front is the file of fabio's lists.
    let left_out = |entry: &str| {
        stores.status()[0]
            .left_out
            .iter()
            .any(|(name, _)| name.ends_with(entry))
    };
    assert_eq!(names(&stores, "mine"), ["two.org", "one.org"]);
    assert!(
        left_out("../x.pem") && left_out("missing.pem"),
        "{:?}",
        stores.status()
    );
    for how in ["file", "list", "empty"] {
        *broken.lock().unwrap() = how;
        stores.look();
        let seen = web.count("/certs/list");
        eventually("two more looks", || web.count("/certs/list") > seen + 1).await;
        assert_eq!(names(&stores, "mine"), ["two.org", "one.org"], "{how}");
    }
    assert!(stores.status()[0].failures > 0);
    // A second between two looks at least, and more after failures.
    assert!(web.count("/certs/list") < 20, "{}", web.count("/certs/list"));
}

/// Answers as Consul's `/v1/kv/<prefix>?recurse`.
fn listed(index: u64, entries: &[(&str, String)]) -> Answer {
    let rows = entries
        .iter()
        .map(|(key, text)| json!({ "Key": key, "Value": STANDARD.encode(text), "Flags": 0 }));
    let mut answer = answer(200, serde_json::Value::from_iter(rows).to_string());
    answer.headers_mut().insert("x-consul-index", index.into());
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consul_is_held_a_question_and_answers_at_once_when_something_changes() {
    let authority = Authority::new("ca");
    let (one, two) = (authority.issue(&["one.org"]), authority.issue(&["two.org"]));
    let (tell, told) = tokio::sync::watch::channel(0_u64);
    let both = [
        ("certs/x/one.pem", one.cert.clone() + &one.key),
        ("certs/two-cert.pem", two.cert),
        ("certs/two-key.pem", two.key),
    ];
    let web = Web::start(move |asked| {
        let (mut told, both) = (told.clone(), both.clone());
        async move {
            if asked.header("x-consul-token") != "t/1" || asked.path.contains("token") {
                return answer(403, "ACL not found");
            }
            if asked.path.contains("index=7") {
                let _ = told.wait_for(|index| *index > 7).await;
            } else if asked.path.contains("index=") {
                let _ = told.wait_for(|index| *index > 8).await;
            }
            match *told.borrow() {
                0..=7 => listed(7, &both[..1]),
                8 => listed(8, &both),
                9 => answer(500, "No cluster leader"),
                _ => answer(404, ""),
            }
        }
    })
    .await;
    let url = format!("{}/v1/kv/certs?token=t%2F1&dc=dc2", web.url);
    let stores = running(&[source("mine", CertKind::Consul(Secret::new(url)))]);
    stores.settled().await;
    assert_eq!(names(&stores, "mine"), ["one.org"]);
    eventually("a held question", || {
        web.count("/v1/kv/certs?recurse=true&consistent=true&dc=dc2&index=7&wait=") == 1
    })
    .await;
    tell.send(8).unwrap();
    eventually("the second", || names(&stores, "mine") == ["two.org", "one.org"]).await;
    tell.send(9).unwrap();
    eventually("failing", || stores.status()[0].failing.is_some()).await;
    tell.send(10).unwrap();
    eventually("nothing there", || {
        stores.status()[0].failing.as_deref() == Some("gives no certificates")
    })
    .await;
    assert_eq!(names(&stores, "mine"), ["two.org", "one.org"]);
    assert!(web.asked().len() < 12, "{}", web.asked().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_let_in_before_authorities_are_known() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    files.put_pair("certs/a.pem", &authority.issue(&["a.org"]));
    let mut config = path_source(&files);
    config.kind = CertKind::Path(files.path().join("certs").to_str().unwrap().to_owned());
    config.client_ca = Some(files.path().join("clients").to_str().unwrap().to_owned());
    let stores = running(&[config]);
    stores.settled().await;
    let addr = serve(acceptor(&stores, &listener_of("mine"))).await;
    let friend = files.put_pair("friend.pem", &authority.issue(&["friend"]));
    let shown = ["-cert", &friend, "-key", &friend];
    assert!(!ask(addr, &shown).await.contains("hello"));
    files.put("clients/ca.pem", &authority.pem());
    eventually("an authority", || stores.status()[0].client_authorities == 1).await;
    assert!(ask(addr, &shown).await.contains("hello"));
    assert!(!ask(addr, &[]).await.contains("hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_of_a_change_that_is_taken_back_go_on_with_what_they_had() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    files.put_pair("a.pem", &authority.issue(&["old.org"]));
    let before = path_source(&files);
    let stores = running(std::slice::from_ref(&before));
    stores.settled().await;
    let addr = serve(acceptor(&stores, &listener_of("mine"))).await;
    let mut other = before.clone();
    other.refresh = Some(Duration::from_secs(3600));
    stores.reconfigure(&[other]).unwrap();
    stores.settled().await;
    stores.reconfigure(&[before]).unwrap();
    // The listener was never told of any of it.
    files.put_pair("a.pem", &authority.issue(&["new.org"]));
    eventually("the new one", || names(&stores, "mine") == ["new.org"]).await;
    assert!(ask(addr, &[]).await.replace(" = ", "=").contains("s:CN=new.org"));
}
