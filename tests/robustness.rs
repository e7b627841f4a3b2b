//! Bad input of every kind: a clear error for whoever sent it, nothing for anybody else.

use std::io::Write;
use std::net::{Shutdown, TcpListener};

use crate::harness::{Agent, Container, Engine, agent, http, machine, unique, wait_for};

/// Tags that no route can be made of, each for a reason of its own.
const MALFORMED: [&str; 10] = [
    "urlprefix-",
    "urlprefix-/x weight=heavy",
    "urlprefix-/x weight=NaN",
    "urlprefix-/x redirect=999,https://x.example/",
    "urlprefix-/x redirect=abc",
    "urlprefix-:notaport proto=tcp",
    "urlprefix-:70000 proto=tcp",
    "urlprefix-/x proto=tcp",
    "urlprefix-:1234 proto=tcp redirect=302,https://x.example/",
    "urlprefix-me@x.example/",
];

/// A route that has to keep serving whatever else happens.
struct Bystander<'a> {
    path: String,
    _container: Container<'a>,
}

impl<'a> Bystander<'a> {
    fn start(docker: &'a Engine, agent: &Agent) -> Self {
        let path = format!("/{}", unique("bystander"));
        let tag = format!("urlprefix-{path}");
        let container = docker
            .container("lictor-whoami")
            .label("SERVICE_TAGS", &tag)
            .start();
        agent.await_status("any.example", &path, 200);
        Self {
            path,
            _container: container,
        }
    }

    fn assert_unharmed(&self, agent: &mut Agent) {
        http::get(agent.proxy(), &self.path)
            .status(200)
            .expect("other routes keep serving");
        agent.assert_calm();
    }
}

#[test]
fn ten_malformed_tags_are_named_in_the_log_and_harm_no_other_route() {
    let docker = machine();
    let mut agent = agent().start();
    let bystander = Bystander::start(docker, &agent);
    let (service, path) = (unique("malformed"), format!("/{}", unique("good")));
    let tags = format!(
        "{},urlprefix-{path}",
        MALFORMED.map(|tag| tag.replace(',', "\\,")).join(",")
    );
    let _container = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .label("SERVICE_TAGS", &tags)
        .start();

    // The good tag beside the bad ones works.
    agent.await_status("any.example", &path, 200);

    wait_for("the log to name the service, every bad tag and a reason", || {
        let said = agent.said();
        let names = |tag: &str| {
            let told = format!("tag={tag} reason=");
            said.lines()
                .any(|line| line.contains(&service) && line.contains(&told))
        };
        match MALFORMED.iter().find(|tag| !names(tag)) {
            Some(silent) => Err(format!("nothing about {silent:?}:\n{said}")),
            None => Ok(()),
        }
    });
    let metrics = http::get(agent.ui(), "/metrics")
        .ok()
        .expect("metrics are served");
    let skipped = metrics
        .lines()
        .find_map(|line| line.strip_prefix("lictor_lb_skipped_tags "));
    let skipped: usize = skipped
        .and_then(|count| count.parse().ok())
        .expect("skipped tags are counted");
    // Agents see the containers of other tests, too.
    assert!(skipped >= MALFORMED.len(), "{skipped} counted");
    bystander.assert_unharmed(&mut agent);
}

/// L43.
#[test]
fn control_characters_in_a_label_neither_break_the_catalog_nor_forge_log_lines() {
    let docker = machine();
    let mut agent = agent().start();
    let bystander = Bystander::start(docker, &agent);
    let (service, path) = (unique("control"), format!("/{}", unique("control")));
    let tags = format!("urlprefix-{path},bad\u{7}\u{1b}[31m\ntag: panic!");
    let _container = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .label("SERVICE_TAGS", &tags)
        .start();

    agent.await_status("any.example", &path, 200);

    let said = agent.said();
    assert!(!said.contains('\u{7}'), "a bell in the log:\n{said}");
    assert!(
        !said.lines().any(|line| line.starts_with("tag: panic!")),
        "a forged line in the log:\n{said}"
    );
    bystander.assert_unharmed(&mut agent);
}

#[test]
fn a_host_name_of_ten_kilobytes_is_answered_and_forgotten() {
    let docker = machine();
    let mut agent = agent().start();
    let bystander = Bystander::start(docker, &agent);

    let answer = http::get(agent.proxy(), "/")
        .host(&"a".repeat(10_000))
        .send()
        .expect("an answer, not a hang-up");

    assert!([400, 404, 431].contains(&answer.status), "{answer:?}");
    bystander.assert_unharmed(&mut agent);
}

#[test]
fn a_chunked_request_with_a_bad_size_is_refused() {
    let docker = machine();
    let mut agent = agent().start();
    let bystander = Bystander::start(docker, &agent);
    let mut client = http::connect(agent.proxy()).expect("the balancer listens");
    let path = &bystander.path;

    write!(
        client,
        "POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n0\r\n\r\n"
    )
    .expect("the request is small");

    // The request never became whole: it may not be answered as if it had.
    let answer = http::Answer::read(&client);
    assert!(
        answer.as_ref().is_ok_and(|answer| answer.status == 400),
        "{answer:?}"
    );
    bystander.assert_unharmed(&mut agent);
}

#[test]
fn a_client_that_closes_its_sending_half_still_gets_its_answer() {
    let docker = machine();
    let mut agent = agent().start();
    let bystander = Bystander::start(docker, &agent);
    let mut client = http::connect(agent.proxy()).expect("the balancer listens");

    write!(client, "GET {} HTTP/1.1\r\nHost: x\r\n\r\n", bystander.path).expect("the request is small");
    client.shutdown(Shutdown::Write).expect("the connection is open");

    let answer = http::Answer::read(&client).expect("half a connection is enough for an answer");
    assert_eq!(answer.status, 200);
    bystander.assert_unharmed(&mut agent);
}

#[test]
fn nonsense_and_half_requests_cost_only_their_own_connection() {
    let docker = machine();
    let mut agent = agent().start();
    let bystander = Bystander::start(docker, &agent);

    for nonsense in [
        "\r\n\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /\r\nHost",
        "\0\0\0\0",
    ] {
        let mut client = http::connect(agent.proxy()).expect("the balancer listens");
        client.write_all(nonsense.as_bytes()).expect("a few bytes");
        client.shutdown(Shutdown::Write).expect("the connection is open");
        if let Ok(answer) = http::Answer::read(&client) {
            assert!(
                (400..=505).contains(&answer.status),
                "{nonsense:?} was answered with {answer:?}"
            );
        }
    }
    bystander.assert_unharmed(&mut agent);
}

#[test]
fn a_taken_port_is_an_error_that_names_the_port_and_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = taken.local_addr().expect("it is bound").port();

    let address = format!("127.0.0.1:{port}");
    let asking = [
        ("-http-port", port.to_string()),
        ("-dns-port", port.to_string()),
        ("-ui.addr", address.clone()),
        ("-proxy.addr", address),
    ];
    for (flag, value) in &asking {
        // All of them, or the agent would ask for the ports that users have.
        let free = [
            "-http-port=0",
            "-dns-port=0",
            "-ui.addr=127.0.0.1:0",
            "-proxy.addr=127.0.0.1:0",
        ];
        let flags: Vec<&str> = ["agent", "-dev", "-registrator=false"]
            .into_iter()
            .chain(free)
            .collect();
        let (code, said) = agent().command(&flags).flag(&format!("{flag}={value}")).finish();

        assert_eq!(code, 1, "{said}");
        let line = said.lines().find(|line| line.contains(&format!(":{port}")));
        let line = line.unwrap_or_else(|| panic!("no line names the port {port}:\n{said}"));
        assert!(
            line.contains(flag.trim_start_matches('-')),
            "the line names who asked, {flag}: {line}"
        );
    }
}

#[test]
fn an_unknown_flag_is_an_error_that_names_it_and_what_was_meant() {
    let (code, said) = agent().flag("-http-prot=8500").finish();

    assert_eq!(code, 1, "{said}");
    assert!(said.contains("-http-prot"), "the flag is named:\n{said}");
    assert!(said.contains("-http-port"), "what was meant is named:\n{said}");
}

#[test]
fn a_bad_value_is_an_error_that_names_flag_and_value() {
    let (code, said) = agent().flag("-dns-port=many").finish();

    assert_eq!(code, 1, "{said}");
    assert!(said.contains("dns-port") && said.contains("many"), "{said}");
}
