//! A listener that shakes hands, says who came and hangs up; `openssl s_client` to come.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::authority::Issued;
use crate::arrival::TlsFacts;
use crate::config::{CertKind, CertSource, Tls};
use crate::router::Live;
use crate::tls::{Acceptor, Alpn, Stores, TlsError};

/// A folder of PEM files.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn put(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A certificate and its key in one file.
    pub(crate) fn put_pair(&self, name: &str, issued: &Issued) -> String {
        self.put(name, &(issued.cert.clone() + &issued.key))
    }
}

/// A source as configured with its type alone.
pub(crate) fn source(name: &str, kind: CertKind) -> CertSource {
    CertSource {
        name: name.into(),
        kind,
        client_ca: None,
        ca_upgrade_cn: None,
        refresh: None,
        header: None,
        vault_fetch_token: None,
    }
}

/// A source of type `file`, certificate and key in one.
pub(crate) fn file_source(name: &str, path: &str) -> CertSource {
    let (cert, key) = (path.to_owned(), path.to_owned());
    source(name, CertKind::File { cert, key })
}

pub(crate) fn stores(sources: &[CertSource]) -> Result<Stores, TlsError> {
    Stores::build(sources, None, Live::default())
}

pub(crate) fn listener_of(source: &str) -> Tls {
    Tls {
        source: source.into(),
        ..Tls::default()
    }
}

/// Serves whoever comes, for as long as the test runs: `hello` with what is known of the client.
pub(crate) async fn serve(acceptor: Acceptor) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok((mut stream, facts)) = acceptor.accept(stream, Duration::from_secs(5)).await {
                    let _ = stream.write_all(told(&facts).as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    addr
}

fn told(facts: &TlsFacts) -> String {
    let TlsFacts {
        version,
        cipher,
        h2,
        client_cert,
    } = facts;
    let client = client_cert.is_some();
    format!("hello {version:04x} {cipher:04x} h2={h2} client={client}\n")
}

/// What a listener of this source says to the client, or `openssl s_client` says of it.
pub(crate) async fn ask(addr: SocketAddr, args: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-connect", &addr.to_string(), "-ign_eof"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let run = move || {
        let mut child = command.spawn().expect("openssl is installed");
        let _ = child.stdin.take().unwrap().write_all(b"\n");
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// The stores' own sources, with an acceptor each, as most tests need them.
pub(crate) fn acceptor(stores: &Stores, tls: &Tls) -> Acceptor {
    stores.acceptor(tls, Alpn::Http).unwrap()
}

/// Stores that keep themselves current, for as long as the test runs.
pub(crate) fn running(sources: &[CertSource]) -> Stores {
    running_with(sources, Live::default(), &[])
}

/// As `running`, with a table and an environment.
pub(crate) fn running_with(sources: &[CertSource], live: Live, env: &[(&str, &str)]) -> Stores {
    let env: std::collections::HashMap<String, String> = env
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let env = std::sync::Arc::new(move |name: &str| env.get(name).cloned());
    let stores = Stores::with_env(sources, None, live, env).unwrap();
    tokio::spawn(stores.clone().run(tokio_util::sync::CancellationToken::new()));
    stores
}

/// Waits until it holds; five seconds at most.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

/// First names of the certificates of a source, in their order.
pub(crate) fn names(stores: &Stores, source: &str) -> Vec<String> {
    let certs = stores.store(&source.into()).unwrap().certs();
    certs
        .pairs()
        .iter()
        .map(|pair| pair.names[0].to_string())
        .collect()
}

/// A table with a route for each of these, all of one service.
pub(crate) fn table(routes: &[&str]) -> Live {
    let service: std::sync::Arc<str> = "web-1".into();
    let spec = catalog::ServiceSpec {
        id: service.clone(),
        name: "web".into(),
        address: "127.0.0.1".to_owned(),
        port: 80,
        tags: routes.iter().map(|route| format!("urlprefix-{route}")).collect(),
        ..catalog::ServiceSpec::default()
    };
    let node = catalog::node::NodeSpec {
        name: "node".into(),
        address: "127.0.0.1".into(),
        ..catalog::node::NodeSpec::default()
    };
    let (created, modified) = (1, 1);
    let instance = catalog::Instance {
        node: catalog::Node {
            spec: node,
            created,
            modified,
        }
        .into(),
        service: catalog::Service {
            spec,
            created,
            modified,
        }
        .into(),
        checks: Vec::new(),
    };
    let picture = catalog::Picture::from_iter([(instance.key(), std::sync::Arc::new(instance))]);
    let table = crate::table::Builder::table_of(crate::Config::default(), &picture, "");
    Live::new(arc_swap::ArcSwap::from_pointee(table))
}

/// A source `mine` with one certificate, out of a file in this folder.
pub(crate) fn one_certificate(folder: &Path) -> Stores {
    let path = folder.join("a.pem");
    let issued = super::authority::Authority::new("ca").issue(&["a.org"]);
    std::fs::write(&path, issued.cert + &issued.key).unwrap();
    stores(&[file_source("mine", path.to_str().unwrap())]).unwrap()
}
