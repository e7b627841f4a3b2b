//! The admin server over TLS, asked by curl: only who shows a certificate is let in, and that is a credential.

use std::path::{Path, PathBuf};
use std::process::Command;

use lb::Config;
use lb::config::{CertKind, CertSource, Secret, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::balancer::Balancer;

struct Files {
    folder: tempfile::TempDir,
}

/// An admin server over TLS by these files.
fn over_tls(files: &Files) -> impl FnOnce(&mut Config) {
    let source = CertSource {
        name: "admin".into(),
        kind: CertKind::File {
            cert: files.text("server.pem"),
            key: files.text("server.key"),
        },
        client_ca: Some(files.text("ca.pem")),
        ca_upgrade_cn: None,
        refresh: None,
        header: None,
        vault_fetch_token: None,
    };
    |config| {
        config.certs = vec![source];
        let ui = config.ui.as_mut().unwrap();
        ui.listener.tls = Some(Tls {
            source: "admin".into(),
            ..Tls::default()
        });
        ui.token = Some(Secret::new("s3cret"));
    }
}

impl Files {
    /// An authority, and certificates of it for a server and a client.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        write("ca.pem", authority.pem());
        for name in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            write(
                &format!("{name}.pem"),
                params.signed_by(&key, &authority).unwrap().pem(),
            );
            write(&format!("{name}.key"), key.serialize_pem());
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// What curl says to show the client's certificate.
    fn shown(&self) -> Vec<String> {
        let (cert, key) = (self.text("client.pem"), self.text("client.key"));
        vec!["--cert".into(), cert, "--key".into(), key]
    }
}

const VERSION: &str = "/api/version";

/// Status and body, or curl's complaint.
async fn curl(
    (port, path): (u16, &'static str),
    ca: PathBuf,
    further: Vec<String>,
) -> Result<String, String> {
    let asking = tokio::task::spawn_blocking(move || {
        Command::new("curl")
            .args(["-sS", "-m", "10", "-w", " %{http_code}", "--cacert"])
            .arg(Path::new(&ca))
            .args(further)
            .arg(format!("https://localhost:{port}{path}"))
            .output()
            .unwrap()
    });
    let done = asking.await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() {
        Ok(text(&done.stdout))
    } else {
        Err(text(&done.stderr))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_opens_the_admin_server_and_nobody_comes_without() {
    let files = Files::new();
    let balancer = Balancer::start(over_tls(&files)).await;
    let port = balancer.ui.port();
    assert_eq!(
        curl((port, VERSION), files.path("ca.pem"), files.shown()).await,
        Ok(format!("{} 200", env!("CARGO_PKG_VERSION")))
    );
    let token = vec!["-H".into(), "X-Consul-Token: s3cret".into()];
    assert!(curl((port, VERSION), files.path("ca.pem"), token).await.is_err());
    let metrics = curl((port, "/metrics"), files.path("ca.pem"), files.shown()).await;
    assert!(metrics.unwrap().contains("\nlictor_lb_tls_errors_total 1\n"));
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_source_holds_for_the_next_connection_to_the_admin_server() {
    let (before, after) = (Files::new(), Files::new());
    let balancer = Balancer::start(over_tls(&before)).await;
    let port = balancer.ui.port();
    let enters = async |files: &Files| {
        curl((port, VERSION), files.path("ca.pem"), files.shown())
            .await
            .is_ok()
    };
    assert_eq!((enters(&before).await, enters(&after).await), (true, false));

    let next = Balancer::config(over_tls(&after));
    balancer.reloader.apply(next).await.unwrap();
    assert_eq!((enters(&before).await, enters(&after).await), (false, true));

    let mut wrong = Balancer::config(over_tls(&after));
    wrong.certs[0].name = "other".into();
    let why = balancer.reloader.apply(wrong).await.unwrap_err().to_string();
    assert!(why.starts_with("ui.addr: ") && why.contains("admin"), "{why}");
    assert_eq!((enters(&before).await, enters(&after).await), (false, true));
    balancer.stop().await;
}
