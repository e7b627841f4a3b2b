//! `auth=` with files made by Apache's htpasswd, and with another server.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::*;
use crate::config::{AuthKind, AuthScheme};

/// Adds a user to a file as the real htpasswd does.
fn htpasswd(file: &Path, kind: &[&str], user: &str, password: &str) {
    let mut child = Command::new("htpasswd")
        .args(kind)
        .args(if file.exists() { &["-i"][..] } else { &["-i", "-c"] })
        .arg(file)
        .arg(user)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("htpasswd is there: tests/tools.sh");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(password.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

fn basic(name: &str, file: &Path, forward: bool) -> AuthScheme {
    AuthScheme {
        name: name.into(),
        kind: AuthKind::Basic {
            file: file.display().to_string(),
            realm: name.to_owned(),
            refresh: None,
            forward,
        },
    }
}

pub(in crate::worker::tests) fn external(endpoint: String) -> AuthScheme {
    AuthScheme {
        name: "sso".into(),
        kind: AuthKind::External {
            endpoint,
            set_headers: vec!["X-User".into()],
            append_headers: vec!["X-Group".into()],
            timeout: Duration::from_millis(500),
        },
    }
}

#[test]
fn passwords_that_htpasswd_made_let_curl_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    for (kind, user) in [
        (&["-m"][..], "md5"),
        (&["-s"], "sha"),
        (&["-B", "-C", "5"], "bcrypt"),
        (&["-2"], "sha256"),
        (&["-5"], "sha512"),
        (&["-p"], "plain"),
    ] {
        htpasswd(&file, kind, user, "pass:word");
    }
    let server = Server::saying("in");
    let schemes = |config: &mut crate::Config| {
        config.auth = vec![basic("mine", &file, false), basic("open", &file, true)];
    };
    let balancer = Balancer::with(
        schemes,
        &[
            routed("a", server.addr, "urlprefix-a.com/ auth=mine"),
            routed("b", server.addr, "urlprefix-b.com/ auth=open"),
            routed("c", server.addr, "urlprefix-c.com/ auth=nobody"),
            routed(
                "d",
                server.addr,
                "urlprefix-d.com/ auth=mine redirect=301,https://d.com/in",
            ),
        ],
    );
    for user in ["md5", "sha", "bcrypt", "sha256", "sha512", "plain"] {
        let out = curl(&balancer, "a.com", "/", &["--user", &format!("{user}:pass:word")]);
        assert!(
            out.starts_with("HTTP/1.1 200 ") && out.ends_with("in"),
            "{user}: {out}"
        );
        let out = curl(&balancer, "a.com", "/", &["--user", &format!("{user}:password")]);
        assert!(out.starts_with("HTTP/1.1 401 "), "{user}: {out}");
        assert!(
            out.contains("www-authenticate: Basic realm=\"mine\"\r\n"),
            "{out}"
        );
        assert!(out.ends_with("authorization failed"), "{out}");
    }
    let seen = server.seen();
    assert!(seen.len() == 6 && seen.iter().all(|seen| seen.header("authorization").is_empty()));
    curl(&balancer, "b.com", "/", &["--user", "sha:pass:word"]);
    assert_eq!(server.seen().last().unwrap().header("authorization").len(), 1);
    for host in ["a.com", "c.com", "d.com"] {
        let answer = balancer.get(host, "/");
        assert_eq!(
            (answer.status(), answer.header("www-authenticate").len()),
            (401, 1),
            "{host}"
        );
    }
    let out = curl(&balancer, "c.com", "/", &["--user", "sha:pass:word"]);
    assert!(
        out.starts_with("HTTP/1.1 401 "),
        "a scheme that there is not lets nobody in: {out}"
    );
    let out = curl(&balancer, "d.com", "/", &["--user", "sha:pass:word"]);
    assert!(out.starts_with("HTTP/1.1 301 "), "{out}");
}

#[test]
fn another_configuration_lets_others_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    htpasswd(&file, &["-s"], "anna", "secret");
    let server = Server::saying("in");
    let balancer = Balancer::start(&[routed("a", server.addr, "urlprefix-/ auth=mine")]);
    let mut stays = balancer.connect();
    // anna:secret
    let request = "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YW5uYTpzZWNyZXQ=\r\n\r\n";
    assert_eq!(stays.ask(request).status(), 401, "there is no such scheme yet");
    let with = |config: &mut crate::Config| {
        config.auth = vec![basic("mine", &file, false)];
    };
    balancer.reload(balancer.config(with)).unwrap();
    assert_eq!(stays.ask(request).status(), 200);

    std::fs::remove_file(&file).unwrap();
    let refused = balancer.reload(balancer.config(with)).unwrap_err().to_string();
    assert!(refused.starts_with("proxy.auth: mine: cannot read "), "{refused}");
    assert_eq!(stays.ask(request).status(), 200, "and nothing has changed");
}

#[test]
fn slow_passwords_do_not_hold_up_other_requests() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    htpasswd(&file, &["-B", "-C", "12"], "anna", "secret");
    let server = Server::saying("x");
    let schemes = |config: &mut crate::Config| config.auth = vec![basic("mine", &file, false)];
    let balancer = Balancer::with(
        schemes,
        &[
            routed("a", server.addr, "urlprefix-a.com/ auth=mine"),
            routed("b", server.addr, "urlprefix-b.com/"),
        ],
    );
    let mut guesses: Vec<Client> = (0..8)
        .map(|_| {
            let mut client = balancer.connect();
            // anna:wrong
            client.write("GET / HTTP/1.1\r\nHost: a.com\r\nAuthorization: Basic YW5uYTp3cm9uZw==\r\n\r\n");
            client
        })
        .collect();
    let began = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(balancer.get("b.com", "/").status(), 200);
    }
    let others = began.elapsed();
    for guess in &mut guesses {
        assert_eq!(guess.answer().unwrap().status(), 401);
    }
    let all = began.elapsed();
    assert!(others < all / 2, "20 requests took {others:?} of {all:?}");
}

#[test]
fn who_guesses_is_told_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    htpasswd(&file, &["-s"], "anna", "secret");
    let server = Server::saying("x");
    let schemes = |config: &mut crate::Config| config.auth = vec![basic("mine", &file, false)];
    let balancer = Balancer::with(schemes, &[routed("a", server.addr, "urlprefix-/ auth=mine")]);
    let guess = "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YW5uYTp3cm9uZw==\r\n\r\n";
    let mut client = balancer.connect();
    let statuses: Vec<u16> = (0..25).map(|_| client.ask(guess).status()).collect();
    assert_eq!(statuses[..20], [401; 20]);
    assert!(statuses[21..].contains(&429), "{statuses:?}");
    let refused = std::iter::repeat_with(|| client.ask(guess))
        .take(5)
        .find(|answer| answer.status() == 429);
    assert!(refused.is_some_and(|refused| refused.header("retry-after").len() == 1));
}

#[test]
fn another_server_lets_requests_in_and_says_who_they_are() {
    let judge = Server::start(|question| {
        let head = match question.header("cookie")[..] {
            ["session=good"] => {
                "200 OK\r\nX-User: anna\r\nX-Group: staff\r\nX-Other: 1\r\nContent-Length: 0\r\n\r\n"
            }
            _ => {
                "302 Found\r\nLocation: https://login/\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                Content-Type: text/html\r\nConnection: X-Hop\r\nX-Hop: 1\r\nContent-Length: 6\r\n\r\nlog in"
            }
        };
        Some(format!("HTTP/1.1 {head}"))
    });
    let server = Server::start(|request| Some(ok(&request.body.clone())));
    let schemes = |config: &mut crate::Config| {
        config.auth = vec![external(format!("http://{}/check?from=lictor", judge.addr))];
    };
    let balancer = Balancer::with(
        schemes,
        &[routed("a", server.addr, "urlprefix-a.com/ auth=sso strip=/in")],
    );
    let post = |cookie: &str| {
        let request = format!(
            "POST /in/x%2Fy?z=1 HTTP/1.1\r\nHost: a.com\r\nCookie: {cookie}\r\nX-User: root\r\nX-Group: mine\r\n\
            X-Forwarded-Method: GET\r\nAuthorization: Bearer t\r\nContent-Length: 4\r\n\r\nbody"
        );
        balancer.connect().ask(&request)
    };
    let answer = post("session=good");
    assert_eq!(
        (answer.status(), &*answer.body),
        (200, "body"),
        "the body is the target's alone"
    );
    let seen = server.only();
    assert_eq!(seen.header("x-user"), ["anna"]);
    assert_eq!(seen.header("x-group"), ["mine", "staff"]);
    assert_eq!(seen.header("authorization"), ["Bearer t"]);
    assert!(seen.header("x-other").is_empty());
    let asked = judge.only();
    assert!(
        asked.head.starts_with("GET /check?from=lictor HTTP/1.1\r\n"),
        "{}",
        asked.head
    );
    for (name, value) in [
        ("host", &*judge.addr.to_string()),
        ("x-forwarded-method", "POST"),
        ("x-forwarded-uri", "/in/x%2Fy?z=1"),
        ("x-forwarded-host", "a.com"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "127.0.0.1"),
        ("authorization", "Bearer t"),
    ] {
        assert_eq!(asked.header(name), [value], "{name}");
    }
    assert!(asked.header("content-length").is_empty() && asked.body.is_empty());

    let answer = post("session=bad");
    assert_eq!((answer.status(), &*answer.body), (302, "log in"));
    assert_eq!(answer.header("location"), ["https://login/"]);
    assert_eq!(answer.header("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(answer.header("content-type"), ["text/html"]);
    assert!(answer.header("x-hop").is_empty());
    assert_eq!(server.seen().len(), 1);
    assert_eq!(judge.connections(), 1, "its connection is used again");
}

#[test]
fn who_says_twice_who_he_is_is_not_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    std::fs::write(&file, "anna:secret\n").unwrap();
    let server = Server::saying("in");
    let balancer = Balancer::with(
        |config| config.auth = vec![basic("mine", &file, true)],
        &[
            routed("a", server.addr, "urlprefix-a.com/ auth=mine"),
            routed("b", server.addr, "urlprefix-b.com/"),
        ],
    );
    let said = "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n";
    let ask = |host: &str, said: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{said}\r\n");
        balancer.connect().ask(&request).status()
    };
    assert_eq!(ask("a.com", said), 200);
    let twice = format!("{said}Authorization: Basic cm9vdDp4\r\n");
    assert_eq!((ask("a.com", &twice), ask("b.com", &twice)), (400, 200));
    assert_eq!(balancer.metric("denied_total"), 1);
}

#[test]
fn another_server_is_asked_about_the_path_that_routes_see() {
    let judge = Server::saying("");
    let server = Server::saying("in");
    let balancer = Balancer::with(
        |config| config.auth = vec![external(format!("http://{}/", judge.addr))],
        &[routed("a", server.addr, "urlprefix-/ auth=sso")],
    );
    for (sent, asked) in [
        ("/a%2Fb?x=%0d/../y", "/a%2Fb?x=%0d/../y"),
        ("/a/../b%20c", "/b%20c"),
        ("/a//b", "/a/b"),
        ("/a;x/b", "/a/b"),
    ] {
        assert_eq!(balancer.get("a", sent).status(), 200, "{sent}");
        assert_eq!(
            judge.seen().pop().unwrap().header("x-forwarded-uri"),
            [asked],
            "{sent}"
        );
    }
}

#[test]
fn nobody_comes_in_where_the_other_server_says_nothing() {
    let silent = Server::speaking(|stream, _| {
        std::thread::sleep(DEADLINE);
        drop(stream);
    });
    let endless = Server::start(|_| {
        Some(format!(
            "HTTP/1.1 403 No\r\nContent-Length: 999999\r\n\r\n{}",
            "x".repeat(999_999)
        ))
    });
    let broken = Server::start(|_| Some("nonsense\r\n\r\n".to_owned()));
    let server = Server::saying("in");
    for judge in [nobody(), silent.addr, endless.addr, broken.addr] {
        let schemes = |config: &mut crate::Config| config.auth = vec![external(format!("http://{judge}/"))];
        let balancer = Balancer::with(schemes, &[routed("a", server.addr, "urlprefix-/ auth=sso")]);
        let answer = balancer.get("a", "/");
        assert_eq!(
            (answer.status(), &*answer.body),
            (502, "authorization server gave no answer\n")
        );
        assert_eq!(balancer.metric("auth_failures_total"), 1);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn the_other_server_switches_no_protocol() {
    let judge = Server::start(|_| {
        Some("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_owned())
    });
    let server = Server::saying("in");
    let balancer = Balancer::with(
        |config| config.auth = vec![external(format!("http://{}/", judge.addr))],
        &[routed("a", server.addr, "urlprefix-/ auth=sso")],
    );
    for upgrade in ["", "Connection: upgrade\r\nUpgrade: x\r\n"] {
        let mut client = balancer.connect();
        client.write(&format!("GET / HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n"));
        assert_eq!(client.head().status(), 502, "{upgrade}");
    }
    assert_eq!(server.seen().len(), 0);
}
