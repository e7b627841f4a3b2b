//! Programs that others wrote, in front of the balancer and behind it: redis, HAProxy, OpenSSL.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::harness::*;
use super::secure::Secured;
use crate::config::{Config, Listener, Proto};

/// A program that ends with the test.
struct Running(Child);

impl Running {
    fn start(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        let quiet = command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
        Self(
            quiet
                .spawn()
                .unwrap_or_else(|error| panic!("{program}: {error}; see tests/tools.sh")),
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a program prints, whatever it ends with.
fn said(program: &str, args: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; see tests/tools.sh"));
    // One that has ended already says why.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn of(proto: Proto) -> Listener {
    Listener {
        proto,
        ..Listener::http("127.0.0.1:0".parse().unwrap())
    }
}

/// A redis at an address that was free a moment ago, with TLS beside it where there are certificates.
fn redis(secured: Option<&Secured>) -> (Running, SocketAddr, SocketAddr) {
    let (plain, tls) = (nobody(), nobody());
    let mut args: Vec<String> = ["--save", "", "--bind", "127.0.0.1", "--port"]
        .map(str::to_owned)
        .to_vec();
    args.push(plain.port().to_string());
    if let Some(secured) = secured {
        let (pair, authority) = secured.paths();
        let port = tls.port().to_string();
        for (key, value) in [
            ("--tls-port", &port),
            ("--tls-cert-file", &pair),
            ("--tls-key-file", &pair),
            ("--tls-ca-cert-file", &authority),
        ] {
            args.extend([key.to_owned(), value.clone()]);
        }
        args.extend(["--tls-auth-clients", "no"].map(str::to_owned));
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let running = Running::start("redis-server", &args);
    until("redis listens", || TcpStream::connect(plain).is_ok());
    if secured.is_some() {
        until("redis listens with TLS", || TcpStream::connect(tls).is_ok());
    }
    (running, plain, tls)
}

#[test]
fn redis_is_reached_by_port() {
    let (_redis, addr, _) = redis(None);
    let adapt = |config: &mut Config| {
        config.listeners = vec![of(Proto::Tcp)];
        config.workers = 2;
    };
    let mut balancer = Balancer::with(adapt, &[]);
    let port = balancer.addr.port().to_string();
    balancer.route(&[routed("redis", addr, format!("urlprefix-:{port} proto=tcp"))]);
    // Long enough to be spliced, both ways, in a pipeline of commands.
    let long = "x".repeat(3_000_000);
    let script = format!("SET long {long}\nSTRLEN long\nGET long\nAPPEND long y\nSTRLEN long\n");
    let answer = said("redis-cli", &["-p", &port], &script);
    assert!(
        answer.contains("\n3000000\n") && answer.trim_end().ends_with("3000001"),
        "{} bytes",
        answer.len()
    );
    assert!(answer.contains(&long));
    let bench = said(
        "redis-benchmark",
        &["-p", &port, "-n", "2000", "-c", "20", "-t", "set,get", "-q"],
        "",
    );
    assert!(bench.contains("requests per second"), "{bench}");
    assert_eq!(balancer.metric("tcp_connfail_total"), 0);
}

#[test]
fn redis_is_reached_by_server_name_and_shows_its_own_certificate() {
    let secured = Secured::new(&["redis.test"]);
    let (_redis, _, addr) = redis(Some(&secured));
    let (_, authority) = secured.paths();
    let adapt = |config: &mut Config| config.listeners = vec![of(Proto::TcpSni)];
    let balancer = Balancer::with(adapt, &[routed("redis", addr, "urlprefix-redis.test/ proto=tcp")]);
    until("it listens", || TcpStream::connect(balancer.addr).is_ok());
    let port = balancer.addr.port().to_string();
    let ask = |name: &str| {
        let args = [
            "-p", &port, "--tls", "--sni", name, "--cacert", &authority, "PING",
        ];
        said("redis-cli", &args, "")
    };
    assert_eq!(ask("redis.test").trim(), "PONG");
    assert_eq!(ask("REDIS.test").trim(), "PONG");
    assert!(!ask("other.test").contains("PONG"));
}

#[test]
fn redis_is_reached_over_tls_that_ends_here() {
    let secured = Secured::new(&["redis.test"]);
    let (_redis, addr, _) = redis(None);
    let (_, authority) = secured.paths();
    let adapt = |config: &mut Config| {
        config.listeners = vec![of(Proto::Tcp)];
        secured.on(config);
    };
    let mut balancer = Balancer::with(adapt, &[]);
    let port = balancer.addr.port().to_string();
    balancer.route(&[routed("redis", addr, format!("urlprefix-:{port} proto=tcp"))]);
    until("it listens", || TcpStream::connect(balancer.addr).is_ok());
    let args = [
        "-p",
        &port,
        "--tls",
        "--sni",
        "redis.test",
        "--cacert",
        &authority,
        "PING",
    ];
    assert_eq!(said("redis-cli", &args, "").trim(), "PONG");
}

#[test]
fn openssl_is_shown_the_certificate_and_told_of_names_that_lead_nowhere() {
    let secured = Secured::new(&["a.test"]);
    let server = Server::saying("x");
    let (_, authority) = secured.paths();
    let adapt = |config: &mut Config| {
        config.listeners = vec![of(Proto::HttpsTcpSni), of(Proto::TcpSni)];
        secured.on(config);
    };
    let balancer = Balancer::with(adapt, &[routed("web", server.addr, "urlprefix-/")]);
    until("it listens", || TcpStream::connect(balancer.bound[1]).is_ok());
    let ask = |addr: SocketAddr, version: &str| {
        let addr = addr.to_string();
        let args = [
            "s_client",
            "-connect",
            &addr,
            "-servername",
            "a.test",
            "-CAfile",
            &authority,
            version,
            "-ign_eof",
        ];
        said(
            "openssl",
            &args,
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
        )
    };
    for version in ["-tls1_2", "-tls1_3"] {
        let answer = ask(balancer.addr, version);
        assert!(answer.contains("Verify return code: 0 (ok)"), "{answer}");
        assert!(answer.contains("HTTP/1.1 200 OK"), "{answer}");
        let nowhere = ask(balancer.bound[1], version);
        assert!(nowhere.contains("unrecognized name"), "{nowhere}");
    }
}

/// HAProxy with this configuration of one frontend and one backend.
fn haproxy(folder: &std::path::Path, bind: &str, server: &str, mode: &str) -> Running {
    let config = folder.join("haproxy.cfg");
    let text = format!(
        "defaults\n mode {mode}\n timeout connect 5s\n timeout client 10s\n timeout server 10s\n\
         listen it\n bind {bind}\n server one {server}\n"
    );
    std::fs::write(&config, text).unwrap();
    Running::start("haproxy", &["-db", "-f", config.to_str().unwrap()])
}

#[test]
fn haproxy_in_front_says_who_the_client_is() {
    let server = Server::saying("x");
    let adapt = |config: &mut Config| {
        config.trusted = vec!["127.0.0.1/32".parse().unwrap()];
        config.listeners[0].proxy_header = Some(Duration::from_secs(5));
    };
    let balancer = Balancer::with(adapt, &[routed("web", server.addr, "urlprefix-/")]);
    let folder = tempfile::tempdir().unwrap();
    for option in ["send-proxy", "send-proxy-v2"] {
        let front = nobody();
        let bind = format!("127.0.0.1:{}", front.port());
        let _haproxy = haproxy(
            folder.path(),
            &bind,
            &format!("{} {option}", balancer.addr),
            "tcp",
        );
        until("haproxy listens", || TcpStream::connect(front).is_ok());
        // From another address of loopback than HAProxy's own.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let client: SocketAddr = "127.0.0.77:0".parse().unwrap();
        socket.bind(&client.into()).unwrap();
        socket.connect(&front.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{option}: {answer}");
        let seen = server.seen().last().unwrap().clone();
        assert_eq!(seen.header("x-forwarded-for"), ["127.0.0.77"], "{option}");
    }
    assert_eq!(balancer.metric("proxy_header_errors_total"), 0);
}

#[test]
fn haproxy_behind_is_told_who_the_client_is() {
    let server = Server::saying("x");
    let folder = tempfile::tempdir().unwrap();
    let behind = nobody();
    let bind = format!("127.0.0.1:{} accept-proxy", behind.port());
    let backend = format!("{}\n option forwardfor", server.addr);
    let _haproxy = haproxy(folder.path(), &bind, &backend, "http");
    until("haproxy listens", || TcpStream::connect(behind).is_ok());
    for version in ["true", "v2"] {
        let adapt = |config: &mut Config| config.listeners = vec![of(Proto::Tcp)];
        let mut balancer = Balancer::with(adapt, &[]);
        let tag = format!("urlprefix-:{} proto=tcp pxyproto={version}", balancer.addr.port());
        balancer.route(&[routed("web", behind, tag)]);
        until("it listens", || TcpStream::connect(balancer.addr).is_ok());
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let client: SocketAddr = "127.0.0.78:0".parse().unwrap();
        socket.bind(&client.into()).unwrap();
        socket.connect(&balancer.addr.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{version}: {answer}");
        let seen = server.seen().last().unwrap().clone();
        assert_eq!(seen.header("x-forwarded-for"), ["127.0.0.78"], "{version}");
    }
}
