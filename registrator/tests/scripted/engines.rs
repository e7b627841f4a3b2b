//! Engines of other makes and ages, and ways to reach one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use registrator::{Connection, EngineAddress, ExecError};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::engine::{Character, DOCKER, Engine, id};
use super::{NEVER, Running, eventually, with};

const A_DAY: Duration = Duration::from_secs(86_400);

fn playing(character: Character) -> Engine {
    let mut engine = Engine::playing(character);
    engine.put("a", true, 20_000);
    engine.start();
    engine
}

async fn waits_because(running: &mut Running, reason: &str) {
    running
        .connection(|now| matches!(now, Connection::Waiting { reason: given } if given.contains(reason)))
        .await;
}

/// L53, R23.
#[tokio::test]
async fn every_version_from_docker_20_10_on_is_spoken_to_in_the_newest_that_both_know() {
    for (newest, oldest, spoken) in [
        ("1.41", "1.12", "/v1.41/"),
        ("1.44", "1.24", "/v1.44/"),
        ("1.52", "1.44", "/v1.52/"),
        ("1.70", "1.44", "/v1.53/"),
    ] {
        let engine = playing(Character {
            newest,
            oldest,
            ..DOCKER
        });
        let mut running = Running::start(&engine, NEVER);
        running.holds(&["a"]).await;
        eventually("the stream is open", || engine.listeners() == 1).await;
        let mut asked = engine.asked();
        asked.retain(|path| path != "/_ping" && path != "/version");
        assert!(
            asked.iter().all(|path| path.starts_with(spoken)),
            "{newest}: {asked:?}"
        );
    }
}

#[tokio::test]
async fn an_engine_too_old_or_too_new_is_told_why_and_waited_for() {
    let old = playing(Character {
        newest: "1.40",
        ..DOCKER
    });
    let mut running = Running::start(&old, NEVER);
    waits_because(&mut running, "too old: it speaks API 1.40, 1.41 is needed").await;
    let new = playing(Character {
        newest: "1.90",
        oldest: "1.80",
        ..DOCKER
    });
    let mut running = Running::start(&new, NEVER);
    waits_because(&mut running, "too new: it speaks no API below 1.80").await;
}

#[tokio::test]
async fn a_proxy_that_lets_nobody_ping_nor_ask_for_information_is_no_obstacle() {
    let engine = playing(Character {
        pongs: false,
        informs: false,
        ..DOCKER
    });
    let mut running = Running::start(&engine, NEVER);
    running.holds(&["a"]).await;
}

/// R21.
#[tokio::test]
async fn states_nobody_has_heard_of_blind_us_to_their_container_only() {
    let engine = with(&["a", "b", "c", "d"]);
    engine.change("b", "/State/Status", json!("stopped"));
    engine.change("b", "/State/Running", json!(false));
    engine.change(
        "c",
        "/State",
        json!({"Status": "of tomorrow", "Running": null, "Health": {"Status": 7}}),
    );
    engine.change("d", "/Config", Value::Null);
    let mut running = Running::start(&engine, NEVER);
    running
        .until("a alone, and d by what is left of it", |services| {
            services.keys().map(String::as_str).eq(["t1:a:80", "t1:d:80"])
        })
        .await;
}

/// L46, R2.
#[tokio::test]
async fn an_engine_that_takes_no_filter_tells_all_and_what_does_not_count_is_dropped() {
    let engine = playing(Character {
        filters: false,
        ..DOCKER
    });
    let mut running = Running::start(&engine, NEVER);
    running.holds(&["a"]).await;
    eventually("the stream is open", || engine.listeners() == 1).await;
    let inspections = engine.inspections();
    for word in [
        "exec_create: /bin/true",
        "exec_start: /bin/true",
        "exec_die",
        "top",
        "attach",
    ] {
        engine.tell("a", word, &json!({}));
    }
    engine.say(r#"{"Type": "image", "Action": "pull", "Actor": {"ID": "web"}}"#);
    engine.put("b", true, 20_001);
    engine.tell("b", "start", &json!({}));
    running.holds(&["a", "b"]).await;
    assert_eq!(engine.inspections(), inspections + 1);
}

/// L53.
#[tokio::test]
async fn the_words_of_old_podman_are_understood() {
    let engine = with(&["a", "b"]);
    let mut running = Running::start(&engine, NEVER);
    running.holds(&["a", "b"]).await;
    eventually("the stream is open", || engine.listeners() == 1).await;
    assert!(
        engine
            .asked()
            .iter()
            .any(|path| path.contains("died") && path.contains("remove"))
    );
    engine.put("a", false, 0);
    engine.tell("a", "died", &json!({"containerExitCode": "0"}));
    running.holds(&["b"]).await;
    engine.remove("b");
    engine.tell("b", "remove", &json!({}));
    running.holds(&[]).await;
    assert_eq!(engine.listings(), 1, "events need no listing");
}

#[tokio::test]
async fn a_network_event_of_podman_names_its_container_as_the_actor() {
    let engine = with(&["a"]);
    let mut running = Running::start(&engine, NEVER);
    running.holds(&["a"]).await;
    eventually("the stream is open", || engine.listeners() == 1).await;
    engine.put("a", true, 20_007);
    let event = json!({"Type": "network", "Action": "connect", "Actor": {"ID": id("a"), "Attributes": {"name": "a"}}});
    engine.say(&event.to_string());
    running
        .until("the new port", |services| {
            services["t1:a:80"].service.port == 20_007
        })
        .await;
}

#[tokio::test]
async fn connections_are_kept_for_the_next_question() {
    let names: Vec<String> = (0..200).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let engine = with(&names);
    let mut running = Running::start(&engine, NEVER);
    running.holds(&names).await;
    assert_eq!(engine.inspections(), 200);
    let connections = engine.connections();
    assert!(connections <= 20, "{connections} for 200 inspections, 16 abreast");
}

#[tokio::test]
async fn a_kept_connection_that_died_meanwhile_costs_another_and_no_failure() {
    let names: Vec<String> = (0..50).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let engine = with(&names);
    engine.hang_up();
    let mut running = Running::start(&engine, NEVER);
    running.holds(&names).await;
    assert_eq!((engine.inspections(), running.failures()), (50, 0.0));
}

/// R3, R7.
#[tokio::test]
async fn a_slow_pass_inspects_only_what_its_listing_shows_as_changed_and_at_times_all() {
    let engine = with(&["a", "b", "c"]);
    engine.put("d", false, 0);
    engine.hide_labels();
    let mut running = Running::start(&engine, Duration::from_millis(100));
    running.holds(&["a", "b", "c"]).await;
    eventually("the second listing", || engine.listings() >= 2).await;
    assert_eq!(engine.inspections(), 4);
    engine.put("b", true, 20_020);
    running
        .until("the new port", |services| {
            services["t1:b:80"].service.port == 20_020
        })
        .await;
    eventually("the sixth listing", || engine.listings() >= 6).await;
    assert_eq!(engine.inspections(), 5, "b alone has changed");
    // Another name shows, though nothing runs.
    engine.change("d", "/Name", json!("/other"));
    eventually("the changed one", || engine.inspections() == 6).await;
    // What lines do not show is found in the end.
    engine.change("a", "/Config/Labels", json!({"SERVICE_NAME": "b"}));
    running
        .until("the new name", |services| {
            &*services["t1:a:80"].service.name == "b"
        })
        .await;
    assert!(engine.listings() > 10 && engine.inspections() >= 10);
}

#[tokio::test]
async fn health_that_a_listing_does_not_show_is_asked_for() {
    let engine = with(&["a", "b"]);
    let mut state = json!({"Status": "running", "Running": true, "StartedAt": "2026-01-01T00:00:00Z",
                           "Health": {"Status": "healthy"}});
    engine.change("a", "/State", state.clone());
    engine.hide_health();
    let mut running = Running::start(&engine, Duration::from_millis(60));
    running.holds(&["a", "b"]).await;
    state["Health"]["Status"] = json!("unhealthy");
    engine.change("a", "/State", state);
    let critical =
        |services: &super::Services| services["t1:a:80"].checks[0].initial == Some(super::Health::Critical);
    running.until("unhealthy", critical).await;
    assert!(engine.listings() < 10, "not for being thorough");
}

#[tokio::test]
async fn an_engine_on_the_network_is_followed_without_tls() {
    let mut engine = Engine::new();
    engine.put("a", true, 20_000);
    let port = engine.start_on_port(None).await;
    let address = EngineAddress {
        host: Some(format!("tcp://127.0.0.1:{port}")),
        ..EngineAddress::default()
    };
    let mut running = Running::at(address, Vec::new(), NEVER);
    running.holds(&["a"]).await;
    engine.stop().await;
    waits_because(&mut running, &format!("127.0.0.1:{port}")).await;
}

/// An authority, whose certificates are in a folder as Docker's are.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn certify(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// Puts a client's pair beside the authority.
    fn add_pair(&self) {
        let (certificate, key) = self.certify("client");
        std::fs::write(self.folder.path().join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(self.folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    }

    fn acceptor(&self, asks_for_pair: bool) -> TlsAcceptor {
        let provider = Arc::new(default_provider());
        let (certificate, key) = self.certify("127.0.0.1");
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(self.issuer.der().to_vec()))
            .unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match asks_for_pair {
            true => builder.with_client_cert_verifier(verifier.build().unwrap()),
            false => builder.with_no_client_auth(),
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// `DOCKER_HOST=tcp://…`, `DOCKER_TLS_VERIFY=1`, `DOCKER_CERT_PATH=…`
fn verified(port: u16, certificates: &Path) -> EngineAddress {
    EngineAddress {
        host: Some(format!("tcp://127.0.0.1:{port}")),
        tls: true,
        certificates: Some(certificates.to_owned()),
        ..EngineAddress::default()
    }
}

#[tokio::test]
async fn an_engine_behind_tls_needs_no_pair_of_ours_unless_it_asks_for_one() {
    let authority = Authority::new();
    let mut open = Engine::new();
    open.put("a", true, 20_000);
    let port = open.start_on_port(Some(authority.acceptor(false))).await;
    let mut running = Running::at(verified(port, authority.folder.path()), Vec::new(), NEVER);
    running.holds(&["a"]).await;

    let mut strict = Engine::new();
    strict.put("b", true, 20_000);
    let port = strict.start_on_port(Some(authority.acceptor(true))).await;
    let mut running = Running::at(verified(port, authority.folder.path()), Vec::new(), NEVER);
    waits_because(&mut running, "CertificateRequired").await;
    // Files are read anew at each attempt.
    authority.add_pair();
    running.holds(&["b"]).await;
}

#[tokio::test]
async fn an_engine_that_another_authority_certified_is_not_believed() {
    let mut engine = Engine::new();
    let port = engine.start_on_port(Some(Authority::new().acceptor(false))).await;
    let stranger = Authority::new();
    let mut running = Running::at(verified(port, stranger.folder.path()), Vec::new(), NEVER);
    waits_because(&mut running, "certificate").await;
    std::fs::write(stranger.folder.path().join("key.pem"), "").unwrap();
    waits_because(&mut running, "cert.pem").await;
}

fn words(command: &str) -> Vec<String> {
    command.split(' ').map(str::to_owned).collect()
}

#[tokio::test]
async fn a_program_inside_a_container_tells_its_code_and_the_end_of_its_output() {
    let engine = with(&["a"]);
    let mut running = Running::start(&engine, NEVER);
    running.holds(&["a"]).await;
    let inside = running.inside.clone();
    let run = async |name: &str, command: &str, limit| {
        let limit = Duration::from_millis(limit);
        inside.run(&id(name), &words(command), &[], limit).await
    };
    assert_eq!(run("a", "exit 3", 9000).await.unwrap().code, 3);
    let said = run("a", "say all is well", 9000).await.unwrap();
    assert_eq!((said.code, said.output.as_str()), (0, "alliswell"));
    let long = run("a", &format!("say {}b", "a".repeat(10_000)), 9000)
        .await
        .unwrap()
        .output;
    assert_eq!((long.len(), long.ends_with("ab")), (4096, true));
    assert!(matches!(run("a", "hang", 50).await, Err(ExecError::Late { .. })));
    let nobody = run("nobody", "exit 0", 9000).await.unwrap_err();
    assert!(matches!(nobody, ExecError::NoContainer { .. }), "{nobody}");
    assert!(nobody.to_string().contains("No such container"), "{nobody}");
}

#[tokio::test]
async fn without_an_engine_no_program_is_run() {
    let engine = Engine::new();
    let running = Running::start(&engine, NEVER);
    let refused = running.inside.run("a", &words("exit 0"), &[], A_DAY).await;
    assert!(matches!(refused, Err(ExecError::NoEngine)));
}
