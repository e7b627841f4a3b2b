//! The client over TLS: whom it trusts and what it shows, against a real handshake.

#![allow(clippy::unwrap_used, reason = "in tests a panic is the report")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::client::{Client, ClientError, Config};
use api::tls::Tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// An authority with the files that a client is given.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    fn issue(&self, name: &str) -> (CertificateDer<'static>, KeyPair, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), key, certificate.pem())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Arc::new(roots)
    }

    fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }
}

/// Answers every request with the leader's address; asks for certificates of `clients`, if any.
async fn consul(server: &Authority, clients: Option<&Authority>) -> SocketAddr {
    let (certificate, key, _) = server.issue("localhost");
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(clients.roots(), provider)
                .build()
                .unwrap(),
        ),
    };
    let config = builder.with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let body = "\"10.0.0.1:8300\"";
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

async fn leader(address: SocketAddr, tls: Tls) -> Result<String, ClientError> {
    let config = Config {
        tls: Some(Box::new(tls)),
        timeout: Duration::from_secs(5),
        ..Config::new(format!("https://localhost:{}", address.port()))
    };
    Client::new(&config)?.leader().await
}

fn trusting(ca: &Path) -> Tls {
    Tls {
        ca_file: Some(ca.to_owned()),
        ..Tls::default()
    }
}

#[tokio::test]
async fn a_server_is_trusted_through_the_authority_that_was_named_and_through_no_other() {
    let (ours, other) = (Authority::new(), Authority::new());
    let server = consul(&ours, None).await;
    assert_eq!(
        leader(server, trusting(&ours.ca())).await.unwrap(),
        "10.0.0.1:8300"
    );
    let in_directory = Tls {
        ca_path: Some(ours.directory.path().to_owned()),
        ..Tls::default()
    };
    assert_eq!(leader(server, in_directory).await.unwrap(), "10.0.0.1:8300");
    for tls in [trusting(&other.ca()), Tls::default()] {
        let error = leader(server, tls).await.unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
    }
    let anybody = Tls {
        skip_verify: true,
        ..trusting(&other.ca())
    };
    assert_eq!(leader(server, anybody).await.unwrap(), "10.0.0.1:8300");
}

#[tokio::test]
async fn a_certificate_is_shown_to_a_server_that_asks_for_one() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let server = consul(&servers, Some(&clients)).await;
    assert!(leader(server, trusting(&servers.ca())).await.is_err());
    let (_, key, pem) = clients.issue("lictor");
    let apart = Tls {
        cert_file: Some(clients.file("client.pem", &pem)),
        key_file: Some(clients.file("client.key", &key.serialize_pem())),
        ..trusting(&servers.ca())
    };
    assert_eq!(leader(server, apart).await.unwrap(), "10.0.0.1:8300");
    let both = clients.file("both.pem", &format!("{pem}{}", key.serialize_pem()));
    let together = Tls {
        cert_file: Some(both),
        ..trusting(&servers.ca())
    };
    assert_eq!(leader(server, together).await.unwrap(), "10.0.0.1:8300");
}

#[tokio::test]
async fn a_server_may_have_another_name_than_the_host_that_is_asked() {
    let authority = Authority::new();
    let server = consul(&authority, None).await;
    let ask = async |server_name: Option<&str>| {
        let tls = Tls {
            server_name: server_name.map(str::to_owned),
            ..trusting(&authority.ca())
        };
        let config = Config {
            tls: Some(Box::new(tls)),
            ..Config::new(format!("https://{server}"))
        };
        Client::new(&config)?.leader().await
    };
    // The certificate is for localhost, and what is asked is 127.0.0.1.
    let error = ask(None).await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(ask(Some("localhost")).await.unwrap(), "10.0.0.1:8300");
    let error = ask(Some("no name")).await.unwrap_err().to_string();
    assert!(error.contains(r#""no name" is no name of a server"#), "{error}");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named() {
    let authority = Authority::new();
    let not_pem = authority.file("odd.pem", "no certificate");
    for path in [Path::new("/does/not/exist.pem"), &not_pem] {
        let config = Config {
            tls: Some(Box::new(trusting(path))),
            ..Config::new("https://localhost:8501")
        };
        let error = Client::new(&config).unwrap_err().to_string();
        assert!(error.contains(&*path.to_string_lossy()), "{error}");
    }
}
