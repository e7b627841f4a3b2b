//! A real etcd from Debian's package, asked with the `etcdctl` that its users have.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use super::engine::output;
use super::wait_for;

/// One server on free ports of this machine; it ends with the test.
pub(crate) struct Etcd {
    home: TempDir,
    ports: [u16; 2],
    options: Vec<String>,
    tls: bool,
    process: Option<Child>,
}

impl Etcd {
    /// As it comes: v3 alone, in the clear, without users.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With v2, as daemons before 3.4 have it.
    pub(crate) fn with_v2() -> Self {
        Self::with(&["--enable-v2"])
    }

    /// Behind TLS, with a certificate for 127.0.0.1 of an authority of its own. Clients have to show one of the same
    /// authority; the server's serves.
    pub(crate) fn behind_tls() -> Self {
        let mut server = Self::new();
        server.certificates();
        server.tls = true;
        for (option, file) in [
            ("cert-file", "cert"),
            ("key-file", "key"),
            ("trusted-ca-file", "ca"),
        ] {
            let path = server.pem(file);
            server.options.push(format!("--{option}={path}"));
        }
        server.options.push("--client-cert-auth".to_owned());
        server.up();
        server
    }

    fn with(options: &[&str]) -> Self {
        let mut server = Self::new();
        server
            .options
            .extend(options.iter().map(|&option| option.to_owned()));
        server.up();
        server
    }

    fn new() -> Self {
        Self {
            home: tempfile::tempdir().expect("/tmp is writable"),
            ports: [free_port(), free_port()],
            options: Vec::new(),
            tls: false,
            process: None,
        }
    }

    /// `host:port`, as in a URI.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// Path of a file of [`Etcd::behind_tls`]: `ca`, `cert` or `key`.
    pub(crate) fn pem(&self, name: &str) -> String {
        self.home.path().join(format!("{name}.pem")).display().to_string()
    }

    fn certificates(&self) {
        let key = || rcgen::KeyPair::generate().expect("a key can be made");
        let write = |name: &str, text: String| {
            std::fs::write(self.home.path().join(name), text).expect("the directory is ours");
        };
        let mut authority = rcgen::CertificateParams::new([]).expect("no names");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_key = key();
        let ca = authority.self_signed(&ca_key).expect("the parameters are right");
        let issuer = rcgen::Issuer::new(authority, ca_key);
        let own_key = key();
        let own = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
        let own = own
            .signed_by(&own_key, &issuer)
            .expect("the parameters are right");
        write("ca.pem", ca.pem());
        write("cert.pem", own.pem());
        write("key.pem", own_key.serialize_pem());
    }

    fn up(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.home.path().join("log"));
        let log = log.expect("the directory is ours");
        let clients = self.url(0);
        let peers = format!("http://127.0.0.1:{}", self.ports[1]);
        let mut command = Command::new("etcd");
        command
            .args(["--name=one", "--logger=zap", "--log-level=warn"])
            .arg(format!("--data-dir={}", self.home.path().join("data").display()))
            .args([
                format!("--listen-client-urls={clients}"),
                format!("--advertise-client-urls={clients}"),
                format!("--listen-peer-urls={peers}"),
                format!("--initial-advertise-peer-urls={peers}"),
                format!("--initial-cluster=one={peers}"),
            ])
            .args(&self.options)
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a file can be shared"))
            .stdout(log);
        let process = command
            .spawn()
            .expect("etcd is there; install it with: apt-get install etcd-server");
        self.process = Some(process);
        wait_for("etcd to answer", || {
            let healthy = self.etcdctl(3, None, &["endpoint", "health"]);
            // With users, nobody in particular is refused, which is an answer too.
            healthy.or_else(|reason| match reason.contains("user name is empty") {
                true => Ok(String::new()),
                false => Err(format!("{reason}\n{}", self.log())),
            })
        });
    }

    fn url(&self, port: usize) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.ports[port])
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// After [`Etcd::kill`], with what it had written.
    pub(crate) fn again(&mut self) {
        self.up();
    }

    /// After [`Etcd::kill`], empty.
    pub(crate) fn again_without_its_data(&mut self) {
        std::fs::remove_dir_all(self.home.path().join("data")).expect("it was there");
        self.up();
    }

    /// What `etcdctl` of this API says.
    pub(crate) fn ctl(&self, api: u8, arguments: &[&str]) -> Result<String, String> {
        self.etcdctl(api, None, arguments)
    }

    /// The same as a user, `name:password`.
    pub(crate) fn ctl_as(&self, user: &str, arguments: &[&str]) -> Result<String, String> {
        self.etcdctl(3, Some(user), arguments)
    }

    fn etcdctl(&self, api: u8, user: Option<&str>, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("etcdctl");
        command
            .env("ETCDCTL_API", api.to_string())
            .arg(format!("--endpoints={}", self.url(0)));
        if self.tls {
            for (option, file) in [("cacert", "ca"), ("cert", "cert"), ("key", "key")] {
                command.arg(format!("--{option}={}", self.pem(file)));
            }
        }
        if let Some(user) = user {
            command.arg(format!("--user={user}"));
        }
        command.args(arguments);
        output(command)
    }

    /// Keys and values of v3 below a prefix.
    pub(crate) fn keys(&self, prefix: &str) -> Result<BTreeMap<String, String>, String> {
        pairs(&self.ctl(3, &["get", "--prefix", prefix])?)
    }

    /// The same as a user.
    pub(crate) fn keys_as(&self, user: &str, prefix: &str) -> Result<BTreeMap<String, String>, String> {
        pairs(&self.ctl_as(user, &["get", "--prefix", prefix])?)
    }

    /// Keys and values of v2 in a folder, and in those below it.
    pub(crate) fn keys_v2(&self, folder: &str) -> Result<BTreeMap<String, String>, String> {
        let listed = match self.ctl(2, &["ls", "--recursive", "-p", folder]) {
            Err(reason) if reason.contains("Key not found") => String::new(),
            listed => listed?,
        };
        let keys = listed.lines().filter(|key| !key.ends_with('/'));
        keys.map(|key| Ok((key.to_owned(), self.ctl(2, &["get", key])?)))
            .collect()
    }

    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        let from = log.len().saturating_sub(2000);
        log.get(from..).unwrap_or_default().to_owned()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Keys and values as `etcdctl get` prints them, a line each.
fn pairs(answer: &str) -> Result<BTreeMap<String, String>, String> {
    let lines: Vec<&str> = answer.lines().collect();
    let pairs = lines.chunks(2).map(|pair| match pair {
        [key, value] => Ok(((*key).to_owned(), (*value).to_owned())),
        _ => Err(answer.to_owned()),
    });
    pairs.collect()
}

/// A port that the system gives to nobody by itself, so that a server may come back to it.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    let own = u16::try_from(std::process::id() % u32::from(COUNT)).expect("it is below");
    for _ in 0..COUNT {
        // Processes of tests have numbers near each other; a stride keeps their ports apart.
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let number = (u32::from(own) * 37 + u32::from(step)) % u32::from(COUNT);
        let port = FIRST + u16::try_from(number).expect("it is below");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}
