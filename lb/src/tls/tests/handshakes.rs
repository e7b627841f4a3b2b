//! What clients are shown, what is asked of them, and what is agreed on.

use super::authority::Authority;
use super::harness::{Files, acceptor, ask, file_source, listener_of, serve, stores};
use crate::config::Tls;
use crate::tls::{Alpn, TlsError};

const SERVED: &str = "hello 0304";

#[tokio::test(flavor = "multi_thread")]
async fn a_verifying_client_is_served_and_its_wishes_are_known() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let path = files.put_pair("web.pem", &authority.issue(&["web.example.com"]));
    let ca = files.put("ca.crt", &authority.pem());
    let stores = stores(&[file_source("mine", &path)]).unwrap();
    let addr = serve(acceptor(&stores, &listener_of("mine"))).await;
    let args = [
        "-servername",
        "Web.example.com",
        "-CAfile",
        &ca,
        "-verify_return_error",
        "-alpn",
        "h2,http/1.1",
    ];
    let said = ask(addr, &args).await;
    assert!(said.contains("hello 0304 1302 h2=true client=false"), "{said}");
    assert!(said.contains("Verification: OK"), "{said}");
    let said = ask(addr, &["-alpn", "http/1.1"]).await;
    assert!(said.contains("h2=false"), "{said}");
    let said = ask(addr, &["-alpn", "redis"]).await;
    assert!(said.contains("no application protocol"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_for_bytes_passes_over_protocols() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let path = files.put_pair("web.pem", &authority.issue(&["web.example.com"]));
    let stores = stores(&[file_source("mine", &path)]).unwrap();
    let addr = serve(stores.acceptor(&listener_of("mine"), Alpn::Opaque).unwrap()).await;
    let said = ask(addr, &["-alpn", "redis"]).await;
    assert!(
        said.contains(SERVED) && said.contains("No ALPN negotiated"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_listeners_turn_strangers_away() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let path = files.put_pair("web.pem", &authority.issue(&["web.example.com"]));
    let stores = stores(&[file_source("mine", &path)]).unwrap();
    let strict = Tls {
        strict: true,
        ..listener_of("mine")
    };
    let strict = serve(acceptor(&stores, &strict)).await;
    let lenient = serve(acceptor(&stores, &listener_of("mine"))).await;
    assert!(
        ask(strict, &["-servername", "web.example.com"])
            .await
            .contains(SERVED)
    );
    assert!(ask(lenient, &["-servername", "other.org"]).await.contains(SERVED));
    assert!(ask(lenient, &["-noservername"]).await.contains(SERVED));
    for stranger in [&["-servername", "other.org"][..], &["-noservername"]] {
        let said = ask(strict, stranger).await;
        assert!(
            said.contains("alert access denied") && !said.contains("hello"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_ciphers_are_those_of_the_listener() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let path = files.put_pair("web.pem", &authority.issue(&["web.example.com"]));
    let stores = stores(&[file_source("mine", &path)]).unwrap();
    let only = |min, max, ciphers: &[u16]| Tls {
        min,
        max,
        ciphers: ciphers.to_vec(),
        ..listener_of("mine")
    };
    let old = serve(acceptor(&stores, &only(None, Some(0x0303), &[0xc02b]))).await;
    let said = ask(old, &[]).await;
    assert!(said.contains("hello 0303 c02b"), "{said}");
    assert!(ask(old, &["-tls1_3"]).await.contains("alert protocol version"));
    let others = ask(old, &["-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"]).await;
    assert!(others.contains("handshake failure"), "{others}");
    let new = serve(acceptor(&stores, &only(Some(0x0304), None, &[]))).await;
    assert!(ask(new, &["-tls1_2"]).await.contains("alert protocol version"));
    assert!(ask(new, &["-tls1_3"]).await.contains(SERVED));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_come_back_with_a_ticket_also_after_certificates_have_changed() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let path = files.put_pair("web.pem", &authority.issue(&["web.example.com"]));
    let stores = stores(&[file_source("mine", &path)]).unwrap();
    let tls = listener_of("mine");
    // Two listeners stand for two workers: what one hands out, the other takes.
    let (here, there) = (acceptor(&stores, &tls), acceptor(&stores, &tls));
    let (here, there) = (serve(here).await, serve(there).await);
    for version in ["-tls1_2", "-tls1_3"] {
        let session = files.put("session", "");
        let said = ask(
            here,
            &[version, "-servername", "web.example.com", "-sess_out", &session],
        )
        .await;
        assert!(said.contains("New, TLSv1"), "{said}");
        let fresh = authority.issue(&["web.example.com"]);
        stores
            .store(&"mine".into())
            .unwrap()
            .offer(vec![("new".into(), Ok(fresh.pair("new")))]);
        let said = ask(
            there,
            &[version, "-servername", "web.example.com", "-sess_in", &session],
        )
        .await;
        assert!(said.contains("Reused, TLSv1") && said.contains("hello"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_with_client_authorities_let_nobody_else_in() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let path = files.put_pair("web.pem", &authority.issue(&["web.example.com"]));
    let (known, stranger) = (Authority::new("clients"), Authority::new("strangers"));
    let mut asking = file_source("asking", &path);
    asking.client_ca = Some(files.put("clients.crt", &known.pem()));
    let stores = stores(&[asking, file_source("open", &path)]).unwrap();
    let addr = serve(acceptor(&stores, &listener_of("asking"))).await;
    let friend = files.put_pair("friend.pem", &known.issue(&["friend"]));
    let other = files.put_pair("other.pem", &stranger.issue(&["friend"]));
    let expired = files.put_pair("expired.pem", &known.issue_until(&["friend"], 2001));
    for version in ["-tls1_2", "-tls1_3"] {
        let said = ask(addr, &[version, "-cert", &friend, "-key", &friend]).await;
        assert!(said.contains("hello") && said.contains("client=true"), "{said}");
        for refused in [
            &[version][..],
            &[version, "-cert", &other],
            &[version, "-cert", &expired],
        ] {
            assert!(!ask(addr, refused).await.contains("hello"), "{refused:?}");
        }
        // A ticket from a listener that asks for nothing is worth nothing here.
        let open = serve(acceptor(&stores, &listener_of("open"))).await;
        let session = files.put("session", "");
        let said = ask(
            open,
            &[version, "-servername", "web.example.com", "-sess_out", &session],
        )
        .await;
        assert!(said.contains("hello"), "{said}");
        let said = ask(
            addr,
            &[version, "-servername", "web.example.com", "-sess_in", &session],
        )
        .await;
        assert!(!said.contains("hello"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_of_a_client_is_over_when_its_authority_is() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let path = files.put_pair("web.pem", &authority.issue(&["web.example.com"]));
    let known = Authority::new("clients");
    let mut asking = file_source("asking", &path);
    asking.client_ca = Some(files.put("clients.crt", &known.pem()));
    let stores = stores(&[asking]).unwrap();
    let addr = serve(acceptor(&stores, &listener_of("asking"))).await;
    let friend = files.put_pair("friend.pem", &known.issue(&["friend"]));
    let session = files.put("session", "");
    let said = ask(addr, &["-cert", &friend, "-sess_out", &session]).await;
    assert!(said.contains("hello"), "{said}");
    let again = ["-cert", &friend, "-sess_in", &session];
    let said = ask(addr, &again).await;
    assert!(said.contains("Reused") && said.contains("client=true"), "{said}");
    let other = Authority::new("others").pem();
    let others = crate::tls::authorities::Authorities::from_pem([other.as_bytes()], None);
    stores.store(&"asking".into()).unwrap().offer_authorities(others);
    let said = ask(addr, &again).await;
    assert!(!said.contains("hello"), "{said}");
}

#[test]
fn what_cannot_be_is_refused_at_the_start_by_name() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let (one, two) = (authority.issue(&["one"]), authority.issue(&["two"]));
    let good = files.put_pair("good.pem", &one);
    let swapped = files.put("swapped.pem", &(one.cert.clone() + &two.key));
    let leaf = files.put("leaf.crt", &one.cert);
    let told = |source| stores(&[source]).unwrap_err().to_string();
    let missing = told(file_source("mine", "/no/such.pem"));
    assert!(
        missing.starts_with("certificate source 'mine': /no/such.pem: No such file"),
        "{missing}"
    );
    let mismatch = told(file_source("mine", &swapped));
    assert!(
        mismatch.contains("private key is not the one of the certificate"),
        "{mismatch}"
    );
    let keyless = told(file_source("mine", &leaf));
    assert!(keyless.contains("holds no private key"), "{keyless}");
    let mut asking = file_source("mine", &good);
    asking.client_ca = Some(leaf.clone());
    let no_authority = told(asking.clone());
    assert!(
        no_authority.contains("'CN=one' is no authority"),
        "{no_authority}"
    );
    asking.ca_upgrade_cn = Some("ca".to_owned());
    stores(&[asking]).unwrap();

    let stores = stores(&[file_source("mine", &good)]).unwrap();
    let refused = stores.acceptor(&listener_of("other"), Alpn::Http).unwrap_err();
    assert!(matches!(refused, TlsError::UnknownSource(_)), "{refused}");
}
