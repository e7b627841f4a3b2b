//! What a registrator tells of itself, on the real engine: explain, a dry run, health and metrics, a log for programs.

use serde_json::Value;

use crate::harness::{agent, http, machine, same, unique, wait_for};

#[test]
fn explain_names_the_rule_of_each_field_by_name_and_by_id_and_what_it_leaves_out() {
    let docker = machine();
    let service = unique("explained");
    let web = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .label("SERVICE_TAGS", "blue")
        .label("SERVICE_WEIGHT_", "odd")
        .start();
    let explain = |words: &[&str]| {
        let words = [&["registrator", "-ip=10.9.8.7", "explain"], words].concat();
        agent().command(&words).finish()
    };
    let (code, said) = explain(&[web.name()]);
    assert_eq!(code, 0, "{said}");
    for line in [
        format!("container {} (", web.name()),
        format!("service {service}, port 8000/tcp of the container: passing (running)\n"),
        format!("  {service}  (SERVICE_NAME)\n"),
        "  10.9.8.7  (-ip)\n".to_owned(),
        format!("  {}  (", web.published(8000)),
    ] {
        assert!(said.contains(&line), "{line:?} in:\n{said}");
    }
    let id = docker
        .docker(&["inspect", "--format={{.Id}}", web.name()])
        .unwrap();
    let (code, by_id) = explain(&[&id[..12]]);
    assert_eq!((code, by_id), (0, said));

    let (code, said) = explain(&["-explicit=false", "-internal", "-format=json", web.name()]);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, 0);
    assert_eq!(told["services"][0]["port"], 8000);
    assert_eq!(told["id"], id.trim());
    assert_eq!(told["services"][0]["name"], service);

    docker.docker(&["stop", "-t", "0", web.name()]).unwrap();
    let (code, said) = explain(&[web.name()]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(": it does not run\n"), "{said}");
}

#[test]
fn what_cannot_be_explained_is_told_why() {
    machine();
    let (code, said) = agent()
        .command(&["registrator", "explain", "nobody-is-called-so"])
        .finish();
    assert_eq!(code, 1);
    assert!(
        said.contains("no container is called \"nobody-is-called-so\""),
        "{said}"
    );
    let words = [
        "registrator",
        "-docker=unix:///nowhere/docker.sock",
        "explain",
        "web",
    ];
    let (code, said) = agent().command(&words).finish();
    assert_eq!(code, 1);
    assert!(
        said.contains("cannot ask the container engine at unix:///nowhere/docker.sock"),
        "{said}"
    );
}

#[test]
fn a_dry_run_writes_nothing_and_logs_what_it_would() {
    let docker = machine();
    let consul = agent().flag("-registrator=false").start();
    let uri = format!("consul://{}", consul.http());
    let service = unique("rehearsed");
    let _web = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .start();
    let registrator = agent()
        .command(&["registrator", "-dry-run", "-ip=127.0.0.1", &uri])
        .start_parts(&[]);
    wait_for("the line that says it", || {
        let said = registrator.said();
        let told = said
            .lines()
            .any(|line| line.contains("would register") && line.contains(&service));
        told.then_some(()).ok_or(said)
    });
    assert_eq!(consul.instances(&service), Ok(Vec::new()));
}

/// R24.
#[test]
fn a_lone_registrator_answers_for_its_health_its_metrics_and_what_it_thinks() {
    let docker = machine();
    let consul = agent().flag("-registrator=false").start();
    let address = consul.http().to_string();
    let uri = format!("consul://{address}");
    let service = unique("asked");
    let web = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .start();
    let registrator = agent()
        .command(&["registrator", "-http=127.0.0.1:0", "-ip=127.0.0.1", &uri])
        .start_parts(&["http"]);
    let at = registrator.http();
    wait_for("it to be well", || http::get(at, "/health").status(200).map(drop));

    let told = wait_for("the container to be registered", || {
        let told = registrator.ask("/v1/registrator")?;
        let containers = told["containers"].as_array().cloned().unwrap_or_default();
        let ours = containers
            .into_iter()
            .find(|container| container["name"] == web.name());
        let ours = ours.ok_or("not there")?;
        same(
            &ours["services"][0]["registries"][0]["standing"],
            &Value::from("registered"),
        )?;
        Ok(ours)
    });
    assert_eq!(told["services"][0]["name"], service);
    let metrics = http::get(at, "/metrics").ok().unwrap();
    let line = "lictor_registrator_writes_total{operation=\"register\",registry=\"";
    let counted = metrics.lines().find(|counted| counted.starts_with(line));
    assert!(
        counted.is_some_and(|counted| counted.contains(&address)),
        "{metrics}"
    );
    http::get(at, "/v1/agent/self").status(404).unwrap();
    http::get(at, "/health").host("evil.example").status(421).unwrap();
    assert!(http::put(at, "/health", &Value::Null).ok().is_err());

    consul.kill();
    docker.docker(&["pause", web.name()]).unwrap();
    wait_for("it to say that the registry is gone", || {
        let answer = http::get(at, "/health").status(503)?;
        let reasons = answer.body.contains(&address) && answer.body.contains("\"healthy\":false");
        reasons.then_some(()).ok_or(answer.body)
    });
}

#[test]
fn a_log_for_programs_is_an_object_a_line_from_the_first_line_to_the_last() {
    let words = [
        "registrator",
        "-log-format=json",
        "-http=127.0.0.1:0",
        "consul://127.0.0.1:1",
    ];
    let (code, said) = agent().command(&words).finish();
    assert_eq!(code, 1);
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let lines: Vec<Value> = said.lines().map(read).collect();
    assert!(
        lines
            .iter()
            .all(|line| line["timestamp"].is_string() && line["message"].is_string())
    );
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "ERROR");
    assert!(
        last["message"]
            .as_str()
            .unwrap()
            .contains("no contact with the registry"),
        "{said}"
    );
}
