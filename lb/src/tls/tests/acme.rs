//! Orders at an authority that really looks, by balancers that share a store.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::acme_authority::{Acme, Fault};
use super::authority::Authority;
use super::harness::{Files, acceptor, ask, eventually, listener_of, names, serve, source, table};
use super::web::{Web, answer};
use crate::config::{Acme as AcmeConfig, CertKind, CertSource};
use crate::kv::{Entry, Kv, KvError, KvFuture};
use crate::router::Live;
use crate::tls::Stores;

/// A store as Consul's.
#[derive(Debug, Default)]
struct Memory(Mutex<(u64, BTreeMap<String, Entry>, bool)>);

impl Memory {
    fn entry(&self, key: &str) -> Option<String> {
        let state = self.0.lock().unwrap();
        state
            .1
            .get(key)
            .map(|entry| String::from_utf8(entry.value.clone()).unwrap())
    }

    fn set(&self, key: &str, value: &str) {
        let mut state = self.0.lock().unwrap();
        state.0 += 1;
        let entry = Entry {
            key: key.to_owned(),
            value: value.into(),
            index: state.0,
        };
        state.1.insert(key.to_owned(), entry);
    }

    fn break_down(&self, broken: bool) {
        self.0.lock().unwrap().2 = broken;
    }

    fn well<T>(
        &self,
        look: impl FnOnce(&mut (u64, BTreeMap<String, Entry>, bool)) -> T,
    ) -> Result<T, KvError> {
        let mut state = self.0.lock().unwrap();
        if state.2 {
            Err(KvError("no leader".to_owned()))
        } else {
            Ok(look(&mut state))
        }
    }
}

impl Kv for Memory {
    fn get<'a>(&'a self, key: &'a str) -> KvFuture<'a, Option<Entry>> {
        Box::pin(async move { self.well(|state| state.1.get(key).cloned()) })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> KvFuture<'a, Vec<Entry>> {
        let below = move |state: &mut (u64, BTreeMap<String, Entry>, bool)| {
            state
                .1
                .values()
                .filter(|entry| entry.key.starts_with(prefix))
                .cloned()
                .collect()
        };
        Box::pin(async move { self.well(below) })
    }

    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, cas: Option<u64>) -> KvFuture<'a, bool> {
        Box::pin(async move {
            self.well(|state| {
                let known = state.1.get(key).map_or(0, |entry| entry.index);
                if cas.is_some_and(|cas| cas != known) {
                    return false;
                }
                state.0 += 1;
                let index = state.0;
                state.1.insert(
                    key.to_owned(),
                    Entry {
                        key: key.to_owned(),
                        value,
                        index,
                    },
                );
                true
            })
        })
    }

    fn delete<'a>(&'a self, key: &'a str, cas: Option<u64>) -> KvFuture<'a, bool> {
        Box::pin(async move {
            self.well(|state| {
                let known = state.1.get(key).map(|entry| entry.index);
                let deleted = cas.is_none() || known.is_none() || cas == known;
                if deleted {
                    state.1.remove(key);
                }
                deleted
            })
        })
    }
}

fn config(authority: &Acme, prefix: &str) -> CertSource {
    let acme = AcmeConfig {
        directory: authority.directory(),
        email: Some("ops@example.org".to_owned()),
        trust: None,
        hosts: Vec::new(),
        external: None,
        prefix: prefix.to_owned(),
    };
    let mut source = source("mine", CertKind::Acme(acme));
    source.refresh = Some(Duration::from_secs(1));
    source
}

/// A balancer with a plain and a TLS listener.
struct Balancer {
    stores: Stores,
    tls: SocketAddr,
    stop: tokio_util::sync::CancellationToken,
}

impl Balancer {
    /// `reached`: the authority finds every host here.
    async fn start(config: &CertSource, kv: Option<Arc<dyn Kv>>, live: Live, reached: Option<&Acme>) -> Self {
        let stores = Stores::build(std::slice::from_ref(config), kv.as_ref(), live).unwrap();
        let challenges = stores.challenges().clone();
        let web = Web::start(move |asked| {
            let challenges = challenges.clone();
            async move {
                match challenges.http(asked.header("host"), &asked.path).await {
                    Some(text) => answer(200, text.to_string()),
                    None => answer(404, ""),
                }
            }
        })
        .await;
        let plain = web.url.trim_start_matches("http://").parse().unwrap();
        let tls = serve(acceptor(&stores, &listener_of("mine"))).await;
        if let Some(authority) = reached {
            authority.place("http-01", plain);
            authority.place("tls-alpn-01", tls);
        }
        let stop = tokio_util::sync::CancellationToken::new();
        tokio::spawn(stores.clone().run(stop.clone()));
        Self { stores, tls, stop }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_orders_for_hosts_with_a_route_and_both_serve() {
    let authority = Acme::start().await;
    let kv = Arc::new(Memory::default());
    let live = table(&[
        "a.example.org/",
        "b.example.org/x",
        "*.example.org/",
        "/",
        "intern/",
    ]);
    let shared = || Some(kv.clone() as Arc<dyn Kv>);
    let config = config(&authority, "lb/acme");
    let one = Balancer::start(&config, shared(), live.clone(), Some(&authority)).await;
    let two = Balancer::start(&config, shared(), live.clone(), None).await;
    for node in [&one, &two] {
        eventually("both certificates", || names(&node.stores, "mine").len() == 2).await;
        let said = ask(node.tls, &["-servername", "b.example.org"])
            .await
            .replace(" = ", "=");
        assert!(said.contains("hello") && said.contains("i:CN=acme"), "{said}");
    }
    assert_eq!(authority.ordered(), ["a.example.org", "b.example.org"]);
    assert_eq!(authority.state.lock().unwrap().accounts.len(), 1);
    one.stop.cancel();
    two.stop.cancel();

    // The third finds all it needs, also where there is no authority any more.
    let three = Balancer::start(&config, shared(), live, None).await;
    three.stores.settled().await;
    assert_eq!(names(&three.stores, "mine"), ["a.example.org", "b.example.org"]);
    assert_eq!(authority.ordered().len(), 2);
    assert!(kv.entry("lb/acme/account").unwrap().contains("key_pkcs8"));

    // A store that fails takes nothing away.
    kv.break_down(true);
    eventually("failing", || three.stores.status()[0].failing.is_some()).await;
    assert_eq!(names(&three.stores, "mine").len(), 2);
    kv.break_down(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_balancer_shows_what_the_one_that_orders_was_given() {
    let authority = Acme::start().await;
    let kv = Arc::new(Memory::default());
    let config = config(&authority, "acme");
    // The table of the first has no hosts, so it never orders.
    let shows = Balancer::start(&config, Some(kv.clone()), Live::default(), Some(&authority)).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let once = format!(r#"{{"count":1,"next":{now}}}"#);
    kv.set("acme/failed/tls.example.org", &once);
    let orders = Balancer::start(
        &config,
        Some(kv.clone()),
        table(&["http.example.org/", "tls.example.org/"]),
        None,
    )
    .await;
    for node in [&orders, &shows] {
        eventually("both certificates", || names(&node.stores, "mine").len() == 2).await;
    }
    for what in ["challenge/http", "challenge/tls", "failed/tls"] {
        let key = format!("acme/{what}.example.org");
        eventually("deleted when it was of no more use", || kv.entry(&key).is_none()).await;
    }
    let state = authority.state.lock().unwrap();
    let tried: Vec<_> = state
        .orders
        .iter()
        .map(|order| (order.host.as_str(), order.tried.unwrap()))
        .collect();
    assert_eq!(
        tried,
        [
            ("http.example.org", "http-01"),
            ("tls.example.org", "tls-alpn-01")
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_fail_wait_and_do_not_hold_up_others() {
    let authority = Acme::start().await;
    let kv = Arc::new(Memory::default());
    {
        let mut state = authority.state.lock().unwrap();
        state
            .faults
            .insert("a-broken.example.org".to_owned(), Fault::Broken);
        state.faults.insert("b-csr.example.org".to_owned(), Fault::BadCsr);
        state
            .faults
            .insert("c-unseen.example.org".to_owned(), Fault::Unseen);
        state.bad_nonces = 2;
    }
    let live = table(&[
        "a-broken.example.org/",
        "b-csr.example.org/",
        "c-unseen.example.org/",
        "d-good.example.org/",
    ]);
    let node = Balancer::start(
        &config(&authority, "acme"),
        Some(kv.clone()),
        live,
        Some(&authority),
    )
    .await;
    eventually("the good one", || {
        names(&node.stores, "mine") == ["d-good.example.org"]
    })
    .await;
    assert_eq!(authority.ordered().len(), 4, "each once");
    for host in ["a-broken", "b-csr", "c-unseen"] {
        let failed = kv.entry(&format!("acme/failed/{host}.example.org")).unwrap();
        assert!(failed.contains(r#""count":1"#), "{failed}");
    }
    let status = node.stores.status().remove(0);
    assert!(status.failures >= 3, "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_has_had_enough_is_left_alone() {
    let authority = Acme::start().await;
    let kv = Arc::new(Memory::default());
    authority
        .state
        .lock()
        .unwrap()
        .faults
        .insert("a.example.org".to_owned(), Fault::RateLimited);
    let live = table(&["a.example.org/", "b.example.org/"]);
    let node = Balancer::start(&config(&authority, "acme"), Some(kv), live, Some(&authority)).await;
    eventually("refused", || node.stores.status()[0].failing.is_some()).await;
    let failing = node.stores.status()[0].failing.clone().unwrap();
    assert!(
        failing.starts_with("a.example.org: ") && failing.contains("too many certificates"),
        "{failing}"
    );
    let looks = authority.web.asked().len();
    node.stores.look();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(authority.web.asked().len(), looks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_before_its_end_and_serves_until_then() {
    let authority = Acme::start().await;
    let kv = Arc::new(Memory::default());
    // Two thirds of its life, which began in 1975, are over.
    let old = Authority::new("old").issue_until(&["a.example.org"], 2031);
    let entry = serde_json::json!({ "cert": old.cert, "key": old.key });
    kv.set("acme/cert/a.example.org", &entry.to_string());
    kv.set("acme/cert/odd.example.org", "{}");
    authority
        .state
        .lock()
        .unwrap()
        .faults
        .insert("a.example.org".to_owned(), Fault::Unseen);
    let live = table(&["a.example.org/"]);
    let node = Balancer::start(
        &config(&authority, "acme"),
        Some(kv.clone()),
        live,
        Some(&authority),
    )
    .await;
    eventually("an order", || kv.entry("acme/failed/a.example.org").is_some()).await;
    assert!(
        ask(node.tls, &["-servername", "a.example.org"])
            .await
            .replace(" = ", "=")
            .contains("i:CN=old")
    );
    assert_eq!(node.stores.status()[0].left_out.len(), 1);
    authority.state.lock().unwrap().faults.clear();
    kv.set("acme/failed/a.example.org", r#"{"count":0,"next":0}"#);
    let again = Balancer::start(
        &config(&authority, "acme"),
        Some(kv),
        table(&["a.example.org/"]),
        Some(&authority),
    )
    .await;
    for node in [again, node] {
        eventually("the new one", || {
            let status = node.stores.status();
            status[0]
                .certificates
                .first()
                .is_some_and(|shown| shown.not_after > 60_000_000_000)
        })
        .await;
        assert!(
            ask(node.tls, &["-servername", "a.example.org"])
                .await
                .replace(" = ", "=")
                .contains("i:CN=acme")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_will_do_where_there_is_no_store() {
    let (authority, files) = (Acme::start().await, Files::new());
    let folder = files.path().join("acme").to_str().unwrap().to_owned();
    let mut config = config(&authority, &folder);
    let CertKind::Acme(acme) = &mut config.kind else {
        unreachable!()
    };
    acme.hosts = vec!["named.example.org".to_owned(), ".let.example.org".to_owned()];
    let live = table(&["x.let.example.org/", "y.other.example.org/"]);
    let node = Balancer::start(&config, None, live.clone(), Some(&authority)).await;
    eventually("both certificates", || names(&node.stores, "mine").len() == 2).await;
    assert_eq!(
        names(&node.stores, "mine"),
        ["named.example.org", "x.let.example.org"]
    );
    node.stop.cancel();
    let challenges = std::fs::read_dir(format!("{folder}/challenge")).unwrap();
    assert_eq!(challenges.count(), 0, "deleted after the order");
    let key = std::fs::metadata(format!("{folder}/cert/named.example.org")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777,
        0o600
    );
    let again = Balancer::start(&config, None, live.clone(), Some(&authority)).await;
    again.stores.settled().await;
    assert_eq!(names(&again.stores, "mine").len(), 2);
    assert_eq!(authority.ordered().len(), 2);

    let CertKind::Acme(acme) = &mut config.kind else {
        unreachable!()
    };
    acme.prefix = "lb/acme".to_owned();
    let refused = Stores::build(&[config], None, live).unwrap_err().to_string();
    assert!(refused.contains("prefix=/a/folder"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_is_deleted_and_nothing_that_may_be_wanted() {
    let authority = Acme::start().await;
    let kv = Arc::new(Memory::default());
    let put = |host: &str, end: i32| {
        let issued = Authority::new("old").issue_until(&[host], end);
        let entry = serde_json::json!({ "cert": issued.cert, "key": issued.key });
        kv.set(&format!("acme/cert/{host}"), &entry.to_string());
    };
    put("gone.example.org", 2020);
    put("back.example.org", 4096);
    put("wanted.example.org", 2020);
    kv.set("acme/cert/odd.example.org", "{}");
    let shown = |until: i64| format!(r#"{{"token":"t","text":"t","digest":[],"until":{until}}}"#);
    kv.set("acme/challenge/a.example.org", &shown(5));
    kv.set("acme/challenge/b.example.org", &shown(99_999_999_999));
    kv.set("acme/failed/a.example.org", r#"{"count":9,"next":5}"#);
    kv.set("acme/failed/b.example.org", r#"{"count":9,"next":99999999999}"#);
    let node = Balancer::start(
        &config(&authority, "acme"),
        Some(kv.clone()),
        table(&["wanted.example.org/"]),
        Some(&authority),
    )
    .await;
    for key in ["cert/gone", "challenge/a", "failed/a"] {
        let key = format!("acme/{key}.example.org");
        eventually(&key, || kv.entry(&key).is_none()).await;
    }
    eventually("the new one", || {
        names(&node.stores, "mine") == ["back.example.org", "wanted.example.org"]
            && authority.ordered() == ["wanted.example.org"]
    })
    .await;
    for key in ["cert/back", "cert/odd", "cert/wanted", "challenge/b", "failed/b"] {
        assert!(kv.entry(&format!("acme/{key}.example.org")).is_some(), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_knows_its_customers_is_shown_whose_account_it_is() {
    let authority = Acme::start().await;
    let key = b"a key of the customer's, of 32 b";
    authority.state.lock().unwrap().customer = Some(("kid-7".to_owned(), key.to_vec()));
    let kv = Arc::new(Memory::default());
    let live = || table(&["a.example.org/"]);
    let mut config = config(&authority, "acme");
    let stranger = Balancer::start(&config, Some(kv.clone()), live(), Some(&authority)).await;
    eventually("refused", || stranger.stores.status()[0].failing.is_some()).await;
    let failing = stranger.stores.status()[0].failing.clone().unwrap();
    assert!(failing.contains("external account binding"), "{failing}");
    stranger.stop.cancel();

    let CertKind::Acme(acme) = &mut config.kind else {
        unreachable!()
    };
    let text = "cs=a;type=acme;eabkid=kid-7;eabkey=YSBrZXkgb2YgdGhlIGN1c3RvbWVyJ3MsIG9mIDMyIGI=";
    let (written, faults) = crate::config::parse_certs(text);
    assert_eq!(faults, []);
    let CertKind::Acme(written) = &written[0].kind else {
        unreachable!()
    };
    acme.external.clone_from(&written.external);
    kv.set("acme/failed/a.example.org", r#"{"count":0,"next":0}"#);
    let customer = Balancer::start(&config, Some(kv), live(), Some(&authority)).await;
    eventually("its certificate", || {
        names(&customer.stores, "mine") == ["a.example.org"]
    })
    .await;
    assert_eq!(authority.state.lock().unwrap().accounts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_that_another_balancer_has_put_there_meanwhile_stays() {
    let authority = Acme::start().await;
    let kv = Arc::new(Memory::default());
    let theirs = r#"{"token":"theirs","text":"t","digest":[],"until":99999999999}"#;
    let store = kv.clone();
    let place = Web::start(move |_| {
        store.set("acme/challenge/a.example.org", theirs);
        async { answer(404, "") }
    })
    .await;
    authority.place(
        "http-01",
        place.url.trim_start_matches("http://").parse().unwrap(),
    );
    let live = table(&["a.example.org/"]);
    let _node = Balancer::start(&config(&authority, "acme"), Some(kv.clone()), live, None).await;
    eventually("the order has failed", || {
        kv.entry("acme/failed/a.example.org").is_some()
    })
    .await;
    assert_eq!(kv.entry("acme/challenge/a.example.org").as_deref(), Some(theirs));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_learn_nothing_from_where_challenges_are_shown() {
    let authority = Acme::start().await;
    let kv = Arc::new(Memory::default());
    let node = Balancer::start(
        &config(&authority, "acme"),
        Some(kv.clone()),
        Live::default(),
        None,
    )
    .await;
    node.stores.settled().await;
    let challenges = node.stores.challenges();
    let digest = [7; 32];
    let shown = format!(r#"{{"token":"t1","text":"t1.print","digest":{digest:?},"until":99999999999}}"#);
    let over = r#"{"token":"t2","text":"t2.print","digest":[],"until":5}"#;
    kv.set("acme/challenge/a.example.org", &shown);
    kv.set("acme/challenge/b.example.org", over);
    kv.set(
        "acme/challenge/d.example.org",
        r#"{"token":"t3","text":"t3","digest":[1],"until":99999999999}"#,
    );
    let path = |token: &str| format!("/.well-known/acme-challenge/{token}");
    let seen = challenges.http("A.example.org:80", &path("t1")).await;
    assert_eq!(seen.as_deref(), Some("t1.print"));
    for (host, path) in [
        ("a.example.org", path("t2")),
        ("a.example.org", path("")),
        ("a.example.org", "/t1".to_owned()),
        ("b.example.org", path("t2")),
        ("c.example.org", path("t1")),
        ("d.example.org", path("t3")),
        ("../account", path("t1")),
        ("", path("t1")),
    ] {
        assert_eq!(challenges.http(host, &path).await, None, "{host} {path}");
    }
    let said = ask(node.tls, &["-alpn", "acme-tls/1", "-servername", "c.example.org"]).await;
    assert!(!said.contains("hello"), "{said}");
}
