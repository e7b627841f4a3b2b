//! What an ACME authority looks for is shown before anything else is asked of a request.

use super::harness::*;
use crate::config::{Acme, CertKind, CertSource};

#[test]
fn a_proof_for_an_authority_comes_before_routes_and_is_shown_to_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let challenges = folder.path().join("challenge");
    std::fs::create_dir(&challenges).unwrap();
    let digest = [7; 32];
    let shown = format!(r#"{{"token":"t1","text":"t1.print","digest":{digest:?},"until":99999999999}}"#);
    std::fs::write(challenges.join("a.example.org"), shown).unwrap();
    let acme = Acme {
        directory: "http://127.0.0.1:9/directory".to_owned(),
        email: None,
        trust: None,
        hosts: Vec::new(),
        external: None,
        prefix: folder.path().to_str().unwrap().to_owned(),
    };
    let source = CertSource {
        name: "mine".into(),
        kind: CertKind::Acme(acme),
        client_ca: None,
        ca_upgrade_cn: None,
        refresh: None,
        header: None,
        vault_fetch_token: None,
    };
    let server = Server::start(|_| Some(ok("the application")));
    let routes = [
        routed("web", server.addr, "urlprefix-/ deny=ip:0.0.0.0/0"),
        routed("own", server.addr, "urlprefix-own.example.org/"),
    ];
    let balancer = Balancer::with(|config| config.certs = vec![source], &routes);
    let path = "/.well-known/acme-challenge/t1";
    until("the proof", || {
        balancer.get("a.example.org", path).status() == 200
    });
    assert_eq!(balancer.get("A.example.org:80", path).body, "t1.print");
    let other = "/.well-known/acme-challenge/t2";
    assert_eq!(balancer.get("a.example.org", other).status(), 403);
    assert_eq!(balancer.get("b.example.org", path).status(), 403);
    // An application that answers for itself still can.
    assert_eq!(balancer.get("own.example.org", path).body, "the application");
}
