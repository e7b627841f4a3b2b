//! TLS with targets: whom they are verified by, what they are shown, what is kept between connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::authority::Authority;
use super::harness::{Files, acceptor, file_source, listener_of, serve, stores};
use crate::table::options::UpstreamTls;
use crate::tls::authorities::Authorities;
use crate::tls::{NoClient, Refused};

/// What the target says, and how the handshake went.
async fn speak(
    config: &Arc<ClientConfig>,
    to: SocketAddr,
    name: &str,
) -> Result<(String, HandshakeKind), String> {
    let stream = TcpStream::connect(to).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = tokio_rustls::TlsConnector::from(config.clone());
    let mut stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())?;
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    let mut said = String::new();
    stream
        .read_to_string(&mut said)
        .await
        .map_err(|error| error.to_string())?;
    Ok((said, kind))
}

fn wish(ca: Option<&str>, cert: Option<&str>, skip_verify: bool) -> UpstreamTls {
    UpstreamTls {
        skip_verify,
        ca: ca.map(Into::into),
        cert: cert.map(Into::into),
        ..UpstreamTls::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_verified_and_shown_what_their_route_says() {
    let (files, ours, theirs) = (Files::new(), Authority::new("ours"), Authority::new("theirs"));
    let target = files.put_pair("target.pem", &theirs.issue(&["target.internal"]));
    let client = files.put_pair("client.pem", &ours.issue(&["balancer"]));
    let mut asking = file_source("target", &target);
    asking.client_ca = Some(files.put("ours.crt", &ours.pem()));
    let mut known = file_source("known", &client);
    known.client_ca = Some(files.put("theirs.crt", &theirs.pem()));
    let stores = stores(&[asking, known, file_source("bare", &client)]).unwrap();
    let addr = serve(acceptor(&stores, &listener_of("target"))).await;

    let good = stores
        .client_config(&wish(Some("known"), Some("known"), false), false)
        .await
        .unwrap();
    let (said, kind) = speak(&good, addr, "target.internal").await.unwrap();
    assert!(
        said.contains("client=true") && said.contains("h2=false"),
        "{said}"
    );
    assert_eq!(kind, HandshakeKind::Full);
    let again = stores
        .client_config(&wish(Some("known"), Some("known"), false), false)
        .await
        .unwrap();
    assert!(Arc::ptr_eq(&good, &again), "sessions live in it");
    let (said, kind) = speak(&again, addr, "target.internal").await.unwrap();
    assert!(said.contains("client=true"));
    assert_eq!(kind, HandshakeKind::Resumed);
    let wrong_name = speak(&good, addr, "other.internal").await.unwrap_err();
    assert!(wrong_name.contains("not valid for name"), "{wrong_name}");

    let h2 = stores
        .client_config(&wish(None, Some("bare"), true), true)
        .await
        .unwrap();
    let (said, _) = speak(&h2, addr, "whatever.internal").await.unwrap();
    assert!(said.contains("h2=true"), "{said}");
    for distrusting in [
        wish(Some("target"), Some("known"), false),
        wish(None, Some("known"), false),
    ] {
        let config = stores.client_config(&distrusting, false).await.unwrap();
        let refused = speak(&config, addr, "target.internal").await.unwrap_err();
        assert!(
            refused.contains("UnknownIssuer") || refused.contains("invalid peer certificate"),
            "{refused}"
        );
    }
    let showing_nothing = stores
        .client_config(&wish(Some("known"), None, false), false)
        .await
        .unwrap();
    assert!(speak(&showing_nothing, addr, "target.internal").await.is_err());

    let told = |wish| {
        let stores = stores.clone();
        async move { stores.client_config(&wish, false).await.unwrap_err() }
    };
    assert_eq!(
        told(wish(Some("no"), None, false)).await,
        NoClient::NoSource("no".into())
    );
    assert_eq!(
        told(wish(None, Some("no"), true)).await,
        NoClient::NoSource("no".into())
    );
    assert_eq!(
        told(wish(Some("bare"), None, false)).await,
        NoClient::NoAuthorities("bare".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_to_targets_follow_the_source() {
    let (files, old, new) = (Files::new(), Authority::new("old"), Authority::new("new"));
    let target = files.put_pair("target.pem", &new.issue(&["target.internal"]));
    let mut known = file_source("known", &target);
    known.client_ca = Some(files.put("old.crt", &old.pem()));
    let stores = stores(&[known]).unwrap();
    let addr = serve(acceptor(&stores, &listener_of("known"))).await;
    let wish = wish(Some("known"), Some("known"), false);
    let before = stores.client_config(&wish, false).await.unwrap();
    assert!(speak(&before, addr, "target.internal").await.is_err());
    let store = stores.store(&"known".into()).unwrap();
    let both = new.pem() + &old.pem();
    store.offer_authorities(Authorities::from_pem([both.as_bytes()], None));
    let after = stores.client_config(&wish, false).await.unwrap();
    assert!(!Arc::ptr_eq(&before, &after));
    assert!(speak(&after, addr, "target.internal").await.is_ok());
}

#[tokio::test]
async fn a_client_that_does_not_go_on_is_not_waited_for() {
    let (files, authority) = (Files::new(), Authority::new("ca"));
    let path = files.put_pair("web.pem", &authority.issue(&["web.example.com"]));
    let stores = stores(&[file_source("mine", &path)]).unwrap();
    let acceptor = acceptor(&stores, &listener_of("mine"));
    let (ours, mut theirs) = tokio::io::duplex(1024);
    theirs.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    let refused = acceptor
        .accept(ours, Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(matches!(refused, Refused::Late(_)), "{refused}");

    let (ours, mut theirs) = tokio::io::duplex(1024);
    theirs
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let refused = acceptor.accept(ours, Duration::from_secs(5)).await.unwrap_err();
    assert!(matches!(refused, Refused::Handshake(_)), "{refused}");
}
