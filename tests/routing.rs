//! Host names of the registrator's kind and `urlprefix-` tags lead to containers.

use crate::harness::{Container, Engine, agent, http, machine, unique, wait_for};

#[test]
fn a_plain_nginx_answers_by_its_name_port_and_node() {
    let docker = machine();
    let agent = agent().start();
    let _nginx = docker.container("nginx").start();

    for host in [
        format!("nginx-80.{}", agent.node()),
        format!("NGINX-80.{}:9999", agent.node()),
    ] {
        let answer = agent.await_status(&host, "/", 200);
        assert!(
            answer.body.contains("Welcome to nginx!"),
            "{host} answered {answer:?}"
        );
    }
}

/// nginx under a service name of the test's own: tests in parallel have each their own instances.
fn nginx<'a>(docker: &'a Engine, service: &str) -> Container<'a> {
    docker.container("nginx").label("SERVICE_NAME", service).start()
}

#[test]
fn two_instances_share_the_load_and_the_last_one_to_stop_leaves_503_then_404() {
    let docker = machine();
    let agent = agent().start();
    let service = unique("pair");
    let pair = [nginx(docker, &service), nginx(docker, &service)];
    let host = format!("{service}-80.{}", agent.node());
    agent.await_passing(&service, 2);
    agent.await_status(&host, "/", 200);

    for _ in 0..60 {
        http::get(agent.proxy(), "/")
            .host(&host)
            .ok()
            .expect("two instances are there to answer");
    }
    for container in &pair {
        // The access log goes to standard output, here and in the official image.
        let answered = wait_for("nginx to write its log", || {
            let lines = container.logs().matches("\"GET / HTTP").count();
            if lines > 0 {
                Ok(lines)
            } else {
                Err("no request logged".to_owned())
            }
        });
        assert!(
            answered >= 15,
            "one of two instances got only {answered} of 60 requests"
        );
    }

    let [first, second] = pair;
    first.stop();
    agent.await_status(&host, "/", 200);
    second.stop();
    agent.await_status(&host, "/", 503);
    first.remove();
    second.remove();
    agent.await_status(&host, "/", 404);
}

#[test]
fn a_tag_routes_a_path_whatever_the_host() {
    let docker = machine();
    let agent = agent().start();
    let path = format!("/{}", unique("foo"));
    let _web = docker
        .container("nginx")
        .option(&format!("-lSERVICE_TAGS=urlprefix-{path}"))
        .start();

    let answer = agent.await_status("any.example", &format!("{path}/bar"), 200);

    assert!(answer.body.contains("Welcome to nginx!"), "{answer:?}");
    http::get(agent.proxy(), "/elsewhere")
        .host("any.example")
        .status(404)
        .expect("other paths are unknown");
}

#[test]
fn a_tag_routes_a_host_strips_a_prefix_and_the_container_learns_who_asked() {
    let docker = machine();
    let agent = agent().start();
    let host = format!("{}.example", unique("app"));
    let tag = format!("urlprefix-{host}/api strip=/api");
    let container = docker
        .container("lictor-whoami")
        .label("SERVICE_TAGS", &tag)
        .start();

    let asked = format!("{host}:8080");
    let answer = agent.await_status(&asked, "/api/users?page=2", 200);

    let said = |line: &str| answer.body.lines().any(|seen| seen.eq_ignore_ascii_case(line));
    assert!(said("GET /users?page=2 HTTP/1.1"), "{answer:?}");
    assert!(said(&format!("Host: {asked}")), "{answer:?}");
    assert!(said("X-Forwarded-For: 127.0.0.1"), "{answer:?}");
    assert!(said("X-Forwarded-Proto: http"), "{answer:?}");
    // The port the client believes to talk to, as fabio has it.
    assert!(said("X-Forwarded-Port: 8080"), "{answer:?}");
    let hostname = docker
        .docker(&["inspect", "-f", "{{.Config.Hostname}}", container.name()])
        .expect("it runs");
    assert!(said(&format!("Hostname: {hostname}")), "{answer:?}");
}

#[test]
fn a_redirect_tag_answers_with_the_new_place() {
    let docker = machine();
    let agent = agent().start();
    let path = format!("/{}", unique("old"));
    let tag = format!("urlprefix-{path} redirect=302\\,https://new.example$path");
    let _container = docker
        .container("lictor-whoami")
        .label("SERVICE_TAGS", &tag)
        .start();

    let answer = agent.await_status("any.example", &format!("{path}/page"), 302);

    assert_eq!(
        answer.header("location"),
        Some(format!("https://new.example{path}/page").as_str())
    );
}

#[test]
fn weights_divide_the_traffic_of_a_route() {
    let docker = machine();
    let agent = agent().start();
    let (path, service) = (format!("/{}", unique("canary")), unique("canary"));
    let canary = |weight: &str| {
        let tag = format!("urlprefix-{path} weight={weight}");
        docker
            .container("lictor-whoami")
            .label("SERVICE_NAME", &service)
            .label("SERVICE_TAGS", &tag)
            .start()
    };
    let (rare, _usual) = (canary("0.1"), canary("0.9"));
    agent.await_passing(&service, 2);
    let rare = docker
        .docker(&["inspect", "-f", "{{.Config.Hostname}}", rare.name()])
        .expect("it runs");

    // The table follows the catalog by a moment; the shares are right once both instances are in it.
    wait_for("one request in ten at the lighter instance", || {
        let mut count = 0;
        for _ in 0..100 {
            let body = http::get(agent.proxy(), &path).ok()?;
            count += usize::from(body.contains(&format!("Hostname: {rare}")));
        }
        if (3..=25).contains(&count) {
            Ok(())
        } else {
            Err(format!("{count} of 100"))
        }
    });
}
