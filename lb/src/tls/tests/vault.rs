//! A Vault as its documentation describes it, played by a test.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use serde_json::{Value, json};

use super::authority::{Authority, Issued};
use super::harness::{Files, acceptor, ask, eventually, listener_of, names, running_with, serve, source};
use super::web::{Answer, Asked, Web, answer};
use crate::config::CertKind;
use crate::metrics::Certificates;
use crate::router::Live;

fn says(value: &Value) -> Answer {
    answer(200, value.to_string())
}

fn secret(issued: &Issued) -> Value {
    json!({ "cert": issued.cert, "key": issued.key })
}

/// Who may ask, and what `sys` and `auth` say of a token that lives for ten seconds.
fn about_tokens(asked: &Asked, unwrapped: &AtomicUsize) -> Option<Answer> {
    let token = asked.header("x-vault-token");
    match asked.path.as_str() {
        "/v1/sys/wrapping/lookup" => {
            let body: Value = serde_json::from_slice(&asked.body).unwrap();
            Some(
                if body["token"] == "wrapped" && unwrapped.load(Ordering::SeqCst) == 0 {
                    says(&json!({ "data": { "creation_path": "auth/token/create", "creation_ttl": 300 } }))
                } else {
                    answer(
                        400,
                        r#"{"errors":["wrapping token is not valid or does not exist"]}"#,
                    )
                },
            )
        }
        "/v1/sys/wrapping/unwrap" => {
            let first = token == "wrapped" && unwrapped.fetch_add(1, Ordering::SeqCst) == 0;
            Some(if first {
                says(&json!({ "auth": { "client_token": "inner", "renewable": true, "lease_duration": 2 } }))
            } else {
                answer(
                    400,
                    r#"{"errors":["wrapping token is not valid or does not exist"]}"#,
                )
            })
        }
        _ if !["good", "inner", "other"].contains(&token) || asked.header("x-vault-namespace") != "team" => {
            Some(answer(403, r#"{"errors":["permission denied"]}"#))
        }
        "/v1/auth/token/lookup-self" => Some(says(&json!({ "data": {
            "ttl": 2, "creation_ttl": 2, "renewable": true, "expire_time": "2030-01-01T00:00:00Z" } }))),
        "/v1/auth/token/renew-self" => {
            assert_eq!(asked.body.as_ref(), br#"{"increment":"2s"}"#);
            Some(says(
                &json!({ "auth": { "client_token": token, "renewable": true, "lease_duration": 2 } }),
            ))
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_read_from_both_versions_and_the_wrapped_token_is_unwrapped_once() {
    let authority = Authority::new("ca");
    let (one, two) = (authority.issue(&["one.org"]), authority.issue(&["two.org"]));
    let (unwrapped, sealed) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(false)));
    let is_sealed = sealed.clone();
    let ca = authority.pem();
    let web = Web::start(move |asked| {
        let (unwrapped, one, two, ca) = (unwrapped.clone(), one.clone(), two.clone(), ca.clone());
        let sealed = *is_sealed.lock().unwrap();
        async move {
            if sealed {
                return answer(503, r#"{"errors":["Vault is sealed"]}"#);
            }
            if let Some(answer) = about_tokens(&asked, &unwrapped) {
                return answer;
            }
            match asked.path.as_str() {
                "/v1/sys/internal/ui/mounts/old/certs" => {
                    says(&json!({ "data": { "path": "old/", "type": "kv", "options": null } }))
                }
                "/v1/sys/internal/ui/mounts/new/certs" | "/v1/sys/internal/ui/mounts/new/ca" => {
                    says(&json!({ "data": { "path": "new/", "type": "kv", "options": { "version": "2" } } }))
                }
                "/v1/old/certs?list=true" => says(&json!({ "data": { "keys": ["web", "sub/", "plain"] } })),
                "/v1/old/certs/web" => says(&json!({ "data": secret(&one) })),
                "/v1/old/certs/plain" => says(&json!({ "data": { "password": "x" } })),
                "/v1/new/metadata/certs?list=true" => {
                    says(&json!({ "data": { "keys": ["a b", "gone", "odd"] } }))
                }
                "/v1/new/data/certs/a%20b" => {
                    says(&json!({ "data": { "data": secret(&two), "metadata": { "version": 3 } } }))
                }
                "/v1/new/data/certs/odd" => {
                    says(&json!({ "data": { "data": { "cert": 7, "key": two.key } } }))
                }
                "/v1/new/data/certs/gone" => answer(404, r#"{"data":{"data":null}}"#),
                "/v1/new/metadata/ca?list=true" => says(&json!({ "data": { "keys": ["root"] } })),
                "/v1/new/data/ca/root" => says(&json!({ "data": { "data": { "cert": ca } } })),
                _ => answer(404, r#"{"errors":[]}"#),
            }
        }
    })
    .await;
    let env = [
        ("VAULT_ADDR", web.url.as_str()),
        ("VAULT_TOKEN", "wrapped"),
        ("VAULT_NAMESPACE", "team"),
    ];
    let mut old = source("old", CertKind::Vault("old/certs".to_owned()));
    old.refresh = Some(Duration::from_secs(1));
    let mut new = source("new", CertKind::Vault("/new/certs/".to_owned()));
    new.client_ca = Some("new/ca".to_owned());
    let stores = running_with(&[old, new], Live::default(), &env);
    stores.settled().await;
    assert_eq!(names(&stores, "old"), ["one.org"], "{:?}", stores.status());
    assert_eq!(names(&stores, "new"), ["two.org"]);
    let status = stores.status();
    assert_eq!(status[1].client_authorities, 1);
    assert_eq!(status[1].left_out[0].1, "its field 'cert' is no text");
    assert_eq!(web.count("/v1/sys/wrapping/unwrap"), 1);
    eventually("renewed at half of its time", || {
        web.count("/v1/auth/token/renew-self") > 1
    })
    .await;
    *sealed.lock().unwrap() = true;
    eventually("failing", || stores.status()[0].failing.is_some()).await;
    let failing = stores.status()[0].failing.clone().unwrap();
    assert!(failing.contains("503") && failing.contains("sealed"), "{failing}");
    assert_eq!(names(&stores, "old"), ["one.org"]);
    *sealed.lock().unwrap() = false;
    eventually("well again", || stores.status()[0].failing.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_cannot_say_at_first_whether_a_token_is_wrapped_is_asked_again() {
    let away = Arc::new(Mutex::new(vec![503, 429]));
    let unwrapped = Arc::new(AtomicUsize::new(0));
    let one = Authority::new("ca").issue(&["one.org"]);
    let web = Web::start(move |asked| {
        let (away, unwrapped, one) = (away.clone(), unwrapped.clone(), one.clone());
        async move {
            if asked.path == "/v1/sys/wrapping/lookup"
                && let Some(status) = away.lock().unwrap().pop()
            {
                return answer(status, r#"{"errors":["not now"]}"#);
            }
            if let Some(answer) = about_tokens(&asked, &unwrapped) {
                return answer;
            }
            match (asked.path.as_str(), asked.header("x-vault-token")) {
                ("/v1/kv/certs?list=true", "inner") => says(&json!({ "data": { "keys": ["web"] } })),
                ("/v1/kv/certs/web", "inner") => says(&json!({ "data": secret(&one) })),
                _ => answer(404, ""),
            }
        }
    })
    .await;
    let env = [
        ("VAULT_ADDR", web.url.as_str()),
        ("VAULT_TOKEN", "wrapped"),
        ("VAULT_NAMESPACE", "team"),
    ];
    let mut config = source("mine", CertKind::Vault("kv/certs".to_owned()));
    config.refresh = Some(Duration::from_secs(1));
    let stores = running_with(&[config], Live::default(), &env);
    for status in ["429", "503"] {
        let says_so = || {
            let failing = stores.status()[0].failing.clone();
            failing.is_some_and(|failing| failing.contains(status))
        };
        eventually(status, says_so).await;
        stores.look();
    }
    eventually("the certificate", || names(&stores, "mine") == ["one.org"]).await;
    assert_eq!(web.count("/v1/sys/wrapping/lookup"), 3);
    assert_eq!(web.count("/v1/sys/wrapping/unwrap"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_a_file_is_read_at_each_use() {
    let files = Files::new();
    let unwrapped = Arc::new(AtomicUsize::new(0));
    let authority = Authority::new("ca");
    let one = authority.issue(&["one.org"]);
    let web = Web::start(move |asked| {
        let (unwrapped, one) = (unwrapped.clone(), one.clone());
        async move {
            if let Some(answer) = about_tokens(&asked, &unwrapped) {
                return answer;
            }
            match (asked.path.as_str(), asked.header("x-vault-token")) {
                ("/v1/kv/certs?list=true", _) => says(&json!({ "data": { "keys": ["web"] } })),
                ("/v1/kv/certs/web", "other") => says(&json!({ "data": secret(&one) })),
                ("/v1/sys/internal/ui/mounts/kv/certs", _) => {
                    answer(403, r#"{"errors":["preflight capability check returned 403"]}"#)
                }
                _ => answer(404, ""),
            }
        }
    })
    .await;
    let env = [("VAULT_ADDR", web.url.as_str()), ("VAULT_NAMESPACE", "team")];
    let mut config = source("mine", CertKind::Vault("kv/certs".to_owned()));
    config.refresh = Some(Duration::from_secs(1));
    config.vault_fetch_token = Some(format!("file:{}", files.put("token", "good\n")));
    let stores = running_with(&[config], Live::default(), &env);
    stores.settled().await;
    assert!(names(&stores, "mine").is_empty());
    files.put("token", "other\n");
    stores.look();
    eventually("the certificate", || names(&stores, "mine") == ["one.org"]).await;
    files.put("token", "");
    stores.look();
    eventually("failing", || stores.status()[0].failing.is_some()).await;
    assert_eq!(names(&stores, "mine"), ["one.org"]);
}

/// A Vault that issues, and says which names it was asked for.
async fn issuing(years: i32, orders: Arc<Mutex<Vec<String>>>) -> Web {
    let authority = Arc::new(Authority::new("ca"));
    let unwrapped = Arc::new(AtomicUsize::new(0));
    Web::start(move |asked| {
        let (unwrapped, authority, orders) = (unwrapped.clone(), authority.clone(), orders.clone());
        async move {
            if let Some(answer) = about_tokens(&asked, &unwrapped) {
                return answer;
            }
            if asked.path != "/v1/pki/issue/web" {
                return answer(404, "");
            }
            let body: Value = serde_json::from_slice(&asked.body).unwrap();
            let name = body["common_name"].as_str().unwrap().to_owned();
            orders.lock().unwrap().push(name.clone());
            // Long enough that others come meanwhile.
            tokio::time::sleep(Duration::from_millis(200)).await;
            if name.starts_with("refused") {
                return answer(400, r#"{"errors":["common name refused.org not allowed by this role"]}"#);
            }
            let issued = authority.issue_until(&[&name], years);
            says(&json!({ "data": {
                "certificate": issued.cert.trim_end(), "private_key": issued.key, "issuing_ca": authority.pem(),
                "ca_chain": [authority.pem().trim_end()], "serial_number": "1d:2e" } }))
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_issued_for_names_that_have_a_route_once_however_many_ask() {
    let orders = Arc::new(Mutex::new(Vec::new()));
    let web = issuing(4096, orders.clone()).await;
    let env = [
        ("VAULT_ADDR", web.url.as_str()),
        ("VAULT_TOKEN", "good"),
        ("VAULT_NAMESPACE", "team"),
    ];
    let live = super::harness::table(&["web.example.com/", "*.wild.org/", "refused.org/"]);
    let config = source("mine", CertKind::VaultPki("pki/issue/web".to_owned()));
    let stores = running_with(std::slice::from_ref(&config), live, &env);
    stores.settled().await;
    let addr = serve(acceptor(&stores, &listener_of("mine"))).await;
    let name = ["-servername", "web.example.com", "-showcerts"];
    let (first, second) = tokio::join!(ask(addr, &name), ask(addr, &name));
    assert!(
        first.contains("hello") && second.contains("hello"),
        "{first}\n{second}"
    );
    assert!(
        first.replace(" = ", "=").contains("s:CN=ca"),
        "the chain comes along: {first}"
    );
    assert!(
        ask(addr, &["-servername", "one.wild.org"])
            .await
            .contains("hello")
    );
    for stranger in [
        &["-servername", "stranger.net"][..],
        &["-noservername"],
        &["-servername", "wild.org"],
    ] {
        assert!(!ask(addr, stranger).await.contains("hello"), "{stranger:?}");
    }
    for _ in 0..3 {
        assert!(!ask(addr, &["-servername", "refused.org"]).await.contains("hello"));
    }
    assert_eq!(
        *orders.lock().unwrap(),
        ["web.example.com", "one.wild.org", "refused.org"]
    );
    let failing = stores.status()[0].failing.clone();
    assert!(failing.unwrap().contains("not allowed by this role"));

    // Let go and taken back, it goes on.
    stores.reconfigure(&[]).unwrap();
    stores.reconfigure(&[config]).unwrap();
    assert!(
        ask(addr, &["-servername", "two.wild.org"])
            .await
            .contains("hello")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_cost_a_bounded_number_of_orders_where_any_host_has_a_route() {
    let orders = Arc::new(Mutex::new(Vec::new()));
    let web = issuing(4096, orders.clone()).await;
    let env = [
        ("VAULT_ADDR", web.url.as_str()),
        ("VAULT_TOKEN", "good"),
        ("VAULT_NAMESPACE", "team"),
    ];
    let live = super::harness::table(&["/"]);
    let stores = running_with(
        &[source("mine", CertKind::VaultPki("pki/issue/web".to_owned()))],
        live,
        &env,
    );
    stores.settled().await;
    let addr = serve(acceptor(&stores, &listener_of("mine"))).await;
    assert!(ask(addr, &["-servername", "any.org"]).await.contains("hello"));
    for batch in 0..5 {
        let asked = (0..8).map(|n| {
            let name = format!("n{batch}-{n}.org");
            tokio::spawn(async move { ask(addr, &["-servername", &name]).await })
        });
        for done in asked.collect::<Vec<_>>() {
            done.await.unwrap();
        }
    }
    let orders = orders.lock().unwrap().len();
    assert!((16..=18).contains(&orders), "{orders}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_a_token_ends_with_the_last_source_that_has_it_and_not_before() {
    let unwrapped = Arc::new(AtomicUsize::new(0));
    let web = Web::start(move |asked| {
        let unwrapped = unwrapped.clone();
        async move { about_tokens(&asked, &unwrapped).unwrap_or_else(|| answer(404, "")) }
    })
    .await;
    let env = [
        ("VAULT_ADDR", web.url.as_str()),
        ("TOKEN", "wrapped"),
        ("VAULT_NAMESPACE", "team"),
    ];
    let of = |path: &str| {
        let mut config = source(path, CertKind::Vault(path.to_owned()));
        config.vault_fetch_token = Some("env:TOKEN".to_owned());
        config
    };
    let stores = running_with(&[of("kv/a")], Live::default(), &env);
    stores.settled().await;
    let token = &stores.vault_tokens()[0];
    assert_eq!((token.from.as_str(), token.failures), ("env:TOKEN", 0));
    assert!(token.end.is_some_and(|end| end > 1_700_000_000), "{token:?}");
    let shown = Certificates::new(stores.clone()).unwrap().collect();
    let shown: Vec<_> = shown.iter().map(MetricFamily::name).collect();
    for name in ["end_seconds", "failures_total"] {
        assert!(
            shown.contains(&&*format!("lictor_lb_vault_token_{name}")),
            "{shown:?}"
        );
    }

    // The source that takes its place has the same token, which can be unwrapped once only.
    stores.reconfigure(&[of("kv/b")]).unwrap();
    stores.settle();
    stores.settled().await;
    let renewals = web.count("/v1/auth/token/renew-self");
    eventually("renewed", || {
        web.count("/v1/auth/token/renew-self") > renewals + 1
    })
    .await;
    assert_eq!(web.count("/v1/sys/wrapping/unwrap"), 1);

    stores.reconfigure(&[]).unwrap();
    assert_eq!(
        stores.vault_tokens().len(),
        1,
        "the change may be taken back until it is settled"
    );
    stores.settle();
    eventually("nobody keeps it", || stores.vault_tokens().is_empty()).await;
}
