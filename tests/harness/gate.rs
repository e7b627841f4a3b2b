//! HAProxy before somebody's Consul: a Unix socket, TLS that asks for certificates, a port that asks for a login, and a
//! record of what was asked.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use super::wait_for;

/// Its user and password.
pub(crate) const LOGIN: &str = "reg:pass:word";
/// Whom its certificate names.
pub(crate) const NAME: &str = "server.test.consul";

pub(crate) struct Gate {
    home: TempDir,
    tls: SocketAddr,
    login: SocketAddr,
    proxy: Child,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Gate {
    pub(crate) fn before(consul: SocketAddr) -> Self {
        Self::with(consul, "")
    }

    /// One that lets nothing pass whose body speaks of `word`.
    pub(crate) fn refusing(consul: SocketAddr, word: &str) -> Self {
        let rule = format!(
            " option http-buffer-request\n http-request deny deny_status 403 if {{ req.body -m sub \\\"{word}\\\" }}\n"
        );
        Self::with(consul, &rule)
    }

    fn with(consul: SocketAddr, rule: &str) -> Self {
        let home = tempfile::tempdir().expect("/tmp is writable");
        let (tls, login) = (free(), free());
        let at = home.path().display();
        // Without the status, which it learns last, requests would be written down twice: as they come and as they end.
        let configuration = format!(
            "global\n log stdout format raw local0\n\
             defaults\n mode http\n log global\n log-format \"%HM %HP %ST\"\n\
             \x20timeout connect 5s\n timeout client 120s\n timeout server 120s\n default_backend consul\n\
             userlist users\n user reg insecure-password pass:word\n\
             frontend socket\n bind unix@{at}/consul.sock\n{rule}\
             frontend tls\n bind {tls} ssl crt {at}/server.pem ca-file {at}/ca.pem verify required\n\
             frontend login\n bind {login}\n http-request auth unless {{ http_auth(users) }}\n\
             backend consul\n server consul {consul}\n"
        );
        std::fs::write(home.path().join("haproxy.cfg"), configuration).expect("the directory is ours");
        certificates(&home);
        let mut proxy = Command::new("haproxy")
            .args([
                "-db",
                "-f",
                &home.path().join("haproxy.cfg").display().to_string(),
            ])
            .stdout(Stdio::piped())
            .spawn()
            .expect("tests/tools.sh installs haproxy");
        let lines = BufReader::new(proxy.stdout.take().expect("standard output is piped")).lines();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let record = Arc::clone(&asked);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                record.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let gate = Self {
            home,
            tls,
            login,
            proxy,
            asked,
        };
        wait_for("haproxy to listen", || {
            let refused = |error: std::io::Error| error.to_string();
            std::net::TcpStream::connect(login).map(drop).map_err(refused)
        });
        gate
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.path().join("consul.sock")
    }

    pub(crate) fn tls(&self) -> SocketAddr {
        self.tls
    }

    pub(crate) fn login(&self) -> SocketAddr {
        self.login
    }

    /// The path of its authority, or of a client's certificate or key: `ca`, `client`, `key`.
    pub(crate) fn file(&self, name: &str) -> String {
        self.home.path().join(format!("{name}.pem")).display().to_string()
    }

    /// Method, path and status of each request that was answered so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

/// It cannot say which port it took, so it gets one that was free a moment ago.
fn free() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.expect("loopback has free ports")
}

/// An authority, a server's certificate and a client's.
fn certificates(home: &TempDir) {
    let key = || KeyPair::generate().expect("there is enough chance in the world");
    let write = |name: &str, text: &str| {
        let file = home.path().join(format!("{name}.pem"));
        std::fs::write(file, text).expect("the directory is ours");
    };
    let mut params = CertificateParams::new(Vec::new()).expect("no names are fine");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "authority.test");
    let authority = CertifiedIssuer::self_signed(params, key()).expect("a sound certificate");
    write("ca", &authority.pem());
    let issue = |name: &str| {
        let key = key();
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        // One that is called as its authority counts as signed by itself.
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &authority).expect("a sound certificate");
        (certificate.pem(), key.serialize_pem())
    };
    let (certificate, key) = issue(NAME);
    write("server", &format!("{certificate}{key}"));
    let (certificate, key) = issue("registrator.test");
    write("client", &certificate);
    write("key", &key);
}
