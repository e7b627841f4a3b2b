//! Scenarios of `registrator/tests/scenarios.md` that take a real engine, or several parts of Lictor, to be shown.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Agent, OwnEngine, agent, http, machine, same, unique, wait_for};

/// What `explain` says with these options, and its exit code.
fn explain(options: &[&str], container: &str) -> (i32, String) {
    let words = [&["registrator", "-ip=10.9.8.7"], options, &["explain", container]].concat();
    agent().command(&words).finish()
}

fn docker(arguments: &[&str]) -> String {
    let answer = machine().docker(arguments);
    answer.unwrap_or_else(|reason| panic!("{reason}"))
}

/// Rows 6, 7, 10, 32, 33, 40 and 43: whoever is missing finds out why.
#[test]
fn explain_names_the_rule_that_leaves_a_container_or_a_port_of_it_out() {
    let whoami = || machine().container("lictor-whoami");
    let owner = machine().container("redis").start();
    let shared = format!("--network=container:{}", owner.name());
    let id = unique("wanted-twice");
    let first = whoami().label("SERVICE_ID", &id).start();
    let second = whoami().label("SERVICE_ID", &id).start();
    let of_two = [first.name(), second.name()];
    for (options, container, wanted) in [
        (
            &[][..],
            whoami().label("lictor.ignore", "yes"),
            "port 8000/tcp: lictor.ignore",
        ),
        (&["-filter=name=x"], whoami(), "container name=x: -filter"),
        (&["-explicit"], whoami(), "port 8000/tcp: -explicit, and no name"),
        (
            &[],
            whoami().label("com.docker.compose.oneoff", "True"),
            "made by 'compose run'",
        ),
        (
            &[],
            whoami().label("io.kubernetes.docker.type", "podsandbox"),
            "holds only the network of a pod",
        ),
        (&[], whoami().unpublished(), "port 8000/tcp: not published"),
        (
            &[],
            whoami().label("SERVICE_PORT", "9000"),
            "SERVICE_PORT: port 9000/tcp not registered: not published",
        ),
        (
            &[],
            whoami().unpublished().option("--network=none"),
            "port 8000/tcp: no network",
        ),
        (
            &["-internal"],
            whoami().unpublished().option("--network=none"),
            "port 8000/tcp: no network",
        ),
    ] {
        let container = container.start();
        let (code, said) = explain(options, container.name());
        assert_eq!(code, 3, "{wanted}: {said}");
        assert!(said.contains(wanted), "{wanted:?} in:\n{said}");
    }
    let sidecar = whoami().unpublished().option(&shared).start();
    let (code, said) = explain(&[], sidecar.name());
    assert_eq!(code, 0, "{said}");
    docker(&["stop", "-t=0", owner.name()]);
    let (code, said) = explain(&[], sidecar.name());
    assert_eq!(code, 3, "{said}");
    let wanted = "port 8000/tcp: not to be had through the container whose network it shares";
    assert!(said.contains(wanted), "{said}");
    let told = of_two.map(|name| explain(&[], name));
    let lost: Vec<_> = told.iter().filter(|(code, _)| *code == 3).collect();
    assert_eq!(lost.len(), 1, "{told:?}");
    assert!(lost[0].1.contains("has that id"), "{}", lost[0].1);
}

/// Removes a name of an image that was made for a test.
struct Tag(String);

impl Drop for Tag {
    fn drop(&mut self) {
        let _ = machine().docker(&["rmi", &self.0]);
    }
}

#[test]
fn two_images_of_one_last_name_are_one_service_and_explain_wonders() {
    let base = unique("api");
    let tags = ["one", "other"].map(|team| Tag(format!("lictor-test-{team}/{base}")));
    let containers = [0, 1].map(|at| {
        // The image must be there before anything is made of it.
        machine();
        docker(&["tag", "lictor-whoami", &tags[at].0]);
        machine().container(&tags[at].0).start()
    });
    let agent = agent().start();
    agent.await_passing(&base, 2);
    let (code, said) = explain(&[], containers[0].name());
    assert_eq!(code, 0, "{said}");
    let wanted = format!(
        "of the image {} is an instance of it too; SERVICE_NAME tells them apart",
        tags[1].0
    );
    assert!(said.contains(&wanted), "{wanted:?} in:\n{said}");
    // Versions of one image are no accident.
    let version = Tag(format!("{}:2", tags[0].0));
    docker(&["tag", "lictor-whoami", &version.0]);
    let newer = machine().container(&version.0).start();
    containers
        .into_iter()
        .nth(1)
        .into_iter()
        .for_each(|other| other.remove());
    let (_, said) = explain(&[], newer.name());
    assert!(!said.contains("perhaps not meant"), "{said}");
}

#[test]
fn an_image_that_is_given_by_its_id_is_known_by_its_tag() {
    // An image of its own: other tests give names to those that all of them share.
    let tag = Tag(unique("lictor-test-tagged"));
    let model = machine().container("lictor-whoami").start();
    let id = docker(&["commit", model.name(), &tag.0]);
    let digits = id
        .trim_start_matches("sha256:")
        .get(..12)
        .expect("an id is longer");
    for image in [id.as_str(), digits] {
        let container = machine().container(image).start();
        let (code, said) = explain(&[], container.name());
        assert_eq!(code, 0, "{said}");
        let named = format!("{}  (tag of the image)", tag.0);
        assert!(said.contains(&named), "{image}: {said}");
    }
}

/// The names that a question is answered with, sorted.
fn dig(agent: &Agent, name: &str) -> Vec<String> {
    let (server, port) = (agent.dns().ip(), agent.dns().port());
    let words = [
        format!("@{server}"),
        format!("-p{port}"),
        "+short".to_owned(),
        name.to_owned(),
    ];
    let done = Command::new("dig").args(words).output();
    let done = done.unwrap_or_else(|error| panic!("dig: {error}; install it with: apt-get install dnsutils"));
    let answers = String::from_utf8_lossy(&done.stdout);
    answers.lines().map(str::to_owned).collect()
}

#[test]
fn a_service_is_asked_for_as_dns_spells_it_and_by_its_only_port() {
    let agent = agent().flag("-proxy.domain=example.io").start();
    let service = unique("My_API");
    let _api = machine()
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .start();
    agent.await_passing(&service, 1);
    let alias = service.to_lowercase().replace('_', "-");
    let here = vec!["127.0.0.1".to_owned()];
    for name in [service.clone(), alias.clone(), format!("{alias}-8000")] {
        assert_eq!(dig(&agent, &format!("{name}.service.consul")), here, "{name}");
    }
    assert_eq!(
        dig(&agent, &format!("{alias}-8001.service.consul")),
        Vec::<String>::new()
    );
    for head in [alias.clone(), format!("{alias}-8000")] {
        for suffix in [agent.node().to_owned(), format!("{}.example.io", agent.node())] {
            agent.await_status(&format!("{head}.{suffix}"), "/", 200);
        }
    }
}

#[test]
fn each_of_two_ports_has_its_host_name_and_a_service_called_like_one_keeps_it() {
    let agent = agent().flag("-proxy.domain=example.io").start();
    let service = unique("two-ports");
    let two = machine()
        .container("lictor-whoami")
        .option("--expose=9000")
        .label("SERVICE_NAME", &service)
        .start();
    agent.await_passing(&format!("{service}-8000"), 1);
    agent.await_passing(&format!("{service}-9000"), 1);
    let host = |port: u16| format!("{service}-{port}.{}.example.io", agent.node());
    let answered = |port: u16| http::get(agent.proxy(), "/").host(&host(port)).ok();
    wait_for("the port that is served", || {
        let answer = answered(8000)?;
        same(answer.contains(&hostname(two.name())), true)
    });
    // Nobody listens there, and the table knows that port.
    agent.await_status(&host(9000), "/", 502);

    // Another service, really called so.
    two.remove();
    let single = |name: &str| {
        machine()
            .container("lictor-whoami")
            .label("SERVICE_NAME", name)
            .start()
    };
    let plain = single(&service);
    wait_for("its only port", || {
        same(answered(8000)?.contains(&hostname(plain.name())), true)
    });
    let exact = single(&format!("{service}-8000"));
    agent.await_passing(&format!("{service}-8000"), 1);
    wait_for("the exact name", || {
        same(answered(8000)?.contains(&hostname(exact.name())), true)
    });
    for _ in 0..20 {
        let answer = answered(8000).expect("it answered before");
        assert!(answer.contains(&hostname(exact.name())), "{answer:?}");
    }
}

fn hostname(container: &str) -> String {
    docker(&["inspect", "--format={{.Config.Hostname}}", container])
}

/// How many services a container has in the agent's catalog.
fn count(agent: &Agent, container: &str) -> Result<usize, String> {
    let services = agent.ask("/v1/agent/services")?;
    let of_it = |service: &&Value| {
        let id = service["ID"].as_str().unwrap_or_default();
        id.contains(&format!(":{container}:"))
    };
    Ok(services
        .as_object()
        .into_iter()
        .flat_map(|all| all.values())
        .filter(of_it)
        .count())
}

#[test]
fn two_hundred_ports_are_two_hundred_services_within_two_seconds_or_none_where_they_are_ignored() {
    // Publishing so many keeps an engine from answering anybody for a while.
    let own = OwnEngine::start_without_proxies();
    let agent = agent()
        .env("DOCKER_HOST", &format!("unix://{}", own.socket().display()))
        .start();
    let start = |outside: &str, inside: &str, ignore: &str| {
        own.engine
            .container("lictor-whoami")
            .unpublished()
            .option(&format!("--publish=127.0.0.1:{outside}:{inside}/udp"))
            .label("SERVICE_NAME", "rtp")
            .label("SERVICE_10000-10199_UDP_IGNORE", ignore)
            .start()
    };
    let ignored = start("21000-21009", "10000-10009", "true");
    let all = start("21200-21399", "10000-10199", "");
    let began = Instant::now();
    wait_for("all of them", || same(count(&agent, all.name())?, 200));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    // It was started first, and would have been seen by now.
    assert_eq!(count(&agent, ignored.name()), Ok(0));
}
