//! What becomes of containers, engines and registrators on a bad day: ends that nobody sees, crash loops, signals, names
//! that are swapped, pipes that are stuck, sockets that may not be opened.
//!
//! Each beside somebody's Consul, which is another Lictor, so that a registrator can be killed and its entries be looked
//! at. What a real engine cannot be made to show is in `registrator/tests/scripted/`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{
    Agent, Container, Cut, Engine, OwnEngine, Traffic, agent, http, machine, same, unique, wait_at_most,
    wait_for,
};

/// Two seconds, and some for a machine that runs all tests at once. Where nothing is heard it takes a minute.
const SOON: Duration = Duration::from_secs(6);
/// The port that images of whoami declare: nobody has it on the host.
const EXPOSED: u64 = 8000;

fn consul() -> Agent {
    agent().flag("-registrator=false").start()
}

fn registrator(consul: &Agent, flags: &[&str]) -> Agent {
    let uri = format!("consul://{}", consul.http());
    let words = [
        &["registrator", "-ip=127.0.0.1", "-hostname=fates"],
        flags,
        &[&uri],
    ]
    .concat();
    agent().command(&words).start_parts(&[])
}

fn web<'a>(engine: &'a Engine, service: &str) -> Container<'a> {
    let container = engine.container("lictor-whoami");
    container.label("SERVICE_NAME", service).start()
}

/// One whose program is a line of shell; the images of tests have none.
fn shell<'a>(engine: &'a Engine, service: &str, options: &[&str], line: &str) -> Container<'a> {
    let mounts = ["/bin", "/lib", "/lib64", "/usr"].map(|folder| format!("--volume={folder}:{folder}:ro"));
    let container = engine
        .container("lictor-whoami")
        .label("SERVICE_NAME", service)
        .option("--entrypoint=/bin/sh");
    let options = mounts.iter().map(String::as_str).chain(options.iter().copied());
    let container = options.fold(container, crate::harness::Setup::option);
    container.argument("-c").argument(line).start()
}

fn docker(engine: &Engine, words: &[&str]) -> String {
    engine.docker(words).unwrap_or_else(|reason| panic!("{reason}"))
}

/// What the container's own check says of each instance, by id: status, output, port.
fn states(consul: &Agent, service: &str) -> Result<BTreeMap<String, (String, String, u64)>, String> {
    let rows = consul.ask(&format!("/v1/health/service/{service}"))?;
    let read = |row: &Value| {
        let id = row["Service"]["ID"].as_str()?;
        let own = format!("container:{id}");
        let check = row["Checks"]
            .as_array()?
            .iter()
            .find(|check| check["CheckID"] == own)?;
        let text = |name: &str| check[name].as_str().map(str::to_owned);
        let port = row["Service"]["Port"].as_u64()?;
        Some((id.to_owned(), (text("Status")?, text("Output")?, port)))
    };
    let rows = rows.as_array().ok_or("no list")?;
    rows.iter()
        .map(|row| read(row).ok_or_else(|| format!("odd row {row}")))
        .collect()
}

fn await_state(consul: &Agent, service: &str, status: &str, output: &str) {
    wait_for(&format!("{service} to be {status}: {output}"), || {
        let states = states(consul, service)?;
        let (status_now, output_now, _) = states.values().next().ok_or("nothing")?;
        same((status_now.as_str(), output_now.as_str()), (status, output))
    });
}

/// The index at which each instance came, and the one at which it last changed.
fn indexes(consul: &Agent, service: &str) -> BTreeMap<String, (Value, Value)> {
    let rows = consul.instances(service).expect("the API answers");
    let read = |row: &Value| {
        let id = row["ServiceID"].as_str().expect("an id").to_owned();
        (id, (row["CreateIndex"].clone(), row["ModifyIndex"].clone()))
    };
    rows.iter().map(read).collect()
}

/// Lines of its log that tell of a registration of this container.
fn registrations(registrator: &Agent, name: &str) -> Vec<String> {
    let said = registrator.said();
    let of = said
        .lines()
        .filter(|line| line.contains(" registered ") && line.contains(&format!(":{name}:")));
    of.map(str::to_owned).collect()
}

/// L1, R13: three stop, three start, three start anew and two do nothing while nobody looks.
#[test]
fn after_a_kill_all_is_right_again_at_once_and_what_did_not_change_is_not_touched() {
    let (docker_, consul) = (machine(), consul());
    let [still, stop, start, again] = ["still", "stop", "start", "again"].map(unique);
    let three = |service: &str| [(); 3].map(|()| web(docker_, service));
    let (_still, stopped, begun, restarted) = (three(&still), three(&stop), three(&start), three(&again));
    let all = |verb: &[&str], containers: &[Container]| {
        let names: Vec<&str> = containers.iter().map(Container::name).collect();
        docker(docker_, &[verb, &names].concat());
    };
    all(&["stop", "-t", "1"], &begun);
    let first = registrator(&consul, &[]);
    for (service, count) in [(&still, 3), (&stop, 3), (&start, 0), (&again, 3)] {
        consul.await_passing(service, count);
    }
    let before = indexes(&consul, &still);

    first.kill();
    all(&["stop", "-t", "1"], &stopped);
    all(&["start"], &begun);
    all(&["restart", "-t", "0"], &restarted);
    let began = Instant::now();
    let _second = registrator(&consul, &[]);

    let ports = |containers: &[Container]| {
        let mut ports: Vec<u64> = containers.iter().map(|one| one.published(8000).into()).collect();
        ports.sort_unstable();
        ports
    };
    for (service, wanted) in [
        (&stop, vec![]),
        (&start, ports(&begun)),
        (&again, ports(&restarted)),
    ] {
        wait_at_most(SOON, "what changed to be right", || {
            let mut held: Vec<u64> = states(&consul, service)?.values().map(|state| state.2).collect();
            held.sort_unstable();
            same(held, wanted.clone())
        });
    }
    println!("right {:?} after the start", began.elapsed());
    assert_eq!(indexes(&consul, &still), before);
}

/// L12, L13, L14, R5, R6, R9: engines call a container that waits for its next start running, and show no ports of it, as
/// if it had those of its host.
#[test]
fn who_fails_again_and_again_is_known_while_it_runs_and_never_by_a_port_it_does_not_have() {
    let (docker_, consul) = (machine(), consul());
    let registrator = registrator(&consul, &["-resync=1"]);
    let (looping, hosted, brief) = (unique("looping"), unique("hosted"), unique("brief"));
    let fails = |service, network| {
        let line = "sleep 0.3; exit 1";
        shell(docker_, service, &["--restart=always", network], line)
    };
    for network in ["--net=bridge", "--net=host"].repeat(3) {
        let container = docker_.container("lictor-whoami").label("SERVICE_NAME", &brief);
        let _ended = container
            .unpublished()
            .option(network)
            .argument("-nonsense")
            .start();
    }
    let mut told = Vec::new();
    for (service, network) in [(&looping, "--net=bridge"), (&hosted, "--net=host")] {
        let container = fails(service, network);
        let waits = || {
            docker(
                docker_,
                &["inspect", "-f", "{{.State.Restarting}}", container.name()],
            )
        };
        for _ in 0..3 {
            wait_for("the pause between two lives", || same(waits(), "true".to_owned()));
            // The pauses grow; one that is too short to be looked at proves nothing.
            wait_for("nothing to be there in the pause", || {
                let entries = consul.instances(service)?.len();
                same(waits(), "true".to_owned())?;
                same(entries, 0)
            });
            wait_for("the next life", || same(waits(), "false".to_owned()));
        }
        wait_for("the last pause", || same(waits(), "true".to_owned()));
        told.push(registrations(&registrator, container.name()));
        container.remove();
    }
    // Whatever was to be seen of them has been seen.
    let marker = unique("marker");
    let _marker = web(docker_, &marker);
    consul.await_passing(&marker, 1);
    std::thread::sleep(Duration::from_secs(2));
    for service in [&looping, &hosted, &brief] {
        assert_eq!(consul.instances(service), Ok(Vec::new()), "a ghost");
    }
    let at_its_own = |line: &String| line.contains(&format!("port={EXPOSED} "));
    assert!(
        told.iter().all(|told| !told.is_empty()),
        "each was known while it ran"
    );
    assert!(!told[0].iter().any(at_its_own), "{told:#?}");
}

/// L15, L16, L17, R8, R10, R11: kept are those that failed, wherever their exit code can be had.
#[test]
fn with_on_success_an_exit_code_counts_also_where_the_engine_removes_the_container_itself() {
    let (docker_, consul) = (machine(), consul());
    let _registrator = registrator(&consul, &["-deregister=on-success"]);
    let case = |kind: &str, options: &[&str], code: u8| {
        let service = unique(kind);
        let container = shell(docker_, &service, options, &format!("sleep 1; exit {code}"));
        consul.await_passing(&service, 1);
        (service, container)
    };
    let kept = [
        case("failed", &[], 1),
        case("odd", &[], 255),
        case("removed", &["--rm"], 1),
    ];
    let gone = [case("fine", &[], 0), case("finegone", &["--rm"], 0)];
    for ((service, container), code) in kept.iter().zip([1, 255, 1]) {
        await_state(
            &consul,
            service,
            "critical",
            &format!("container exited ({code})"),
        );
        let filter = format!("name={}", container.name());
        wait_for("the engine to have removed it or not", || {
            let listed = docker(docker_, &["ps", "-aq", "--filter", &filter]);
            same(listed.is_empty(), service.starts_with("removed"))
        });
    }
    for (service, _) in &gone {
        wait_for("the successful to go", || {
            same(consul.instances(service)?.len(), 0)
        });
    }
    // Removed by people, it goes; removed by the engine, it stays for people.
    let [failed, _, removed] = kept;
    failed.1.remove();
    wait_for("the removed to go", || {
        same(consul.instances(&failed.0)?.len(), 0)
    });
    await_state(&consul, &removed.0, "critical", "container exited (1)");

    let again = unique("again");
    let fails = shell(docker_, &again, &["--restart=always"], "sleep 2; exit 1");
    let port = consul.await_passing(&again, 1)[0]["Service"]["Port"].clone();
    wait_for("the next life at another port", || {
        let rows = consul.passing(&again)?;
        let now = rows.first().ok_or("it does not run")?["Service"]["Port"].clone();
        if now == port {
            Err(now.to_string())
        } else {
            same(rows.len(), 1)
        }
    });
    fails.remove();
    wait_for("no ghost", || same(consul.instances(&again)?.len(), 0));
}

/// L19, L20, L21, L23, R19.
#[test]
fn only_the_stop_signal_and_a_pause_take_a_container_out_of_rotation_and_it_comes_back() {
    let (docker_, consul) = (machine(), consul());
    let registrator = registrator(&consul, &["-drain=1s"]);
    let service = unique("signalled");
    // Its program has no handler for this signal, and as the first process of its container it survives.
    let container = docker_
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .option("--stop-signal=USR1")
        .option("--stop-timeout=1")
        .start();
    consul.await_passing(&service, 1);
    let id = indexes(&consul, &service);
    for signal in ["HUP", "USR2"] {
        docker(docker_, &["kill", "-s", signal, container.name()]);
    }
    docker(docker_, &["kill", "-s", "USR1", container.name()]);
    await_state(&consul, &service, "critical", "stopping (SIGUSR1)");
    await_state(&consul, &service, "passing", "running");
    let told = registrator.said();
    let told = told
        .lines()
        .filter(|line| line.contains("state passed on") && line.contains(container.name()));
    assert_eq!(
        told.count(),
        2,
        "out and in, and nothing for the others:\n{}",
        registrator.said()
    );

    docker(docker_, &["pause", container.name()]);
    await_state(&consul, &service, "critical", "paused");
    docker(docker_, &["unpause", container.name()]);
    await_state(&consul, &service, "passing", "running");
    assert_eq!(
        indexes(&consul, &service),
        id,
        "the service itself was never written"
    );
}

/// L24, L25, L27, L44, R7: names may be swapped, and what concerns no service is no reason to write.
#[test]
fn names_that_are_swapped_are_both_right_and_what_changes_no_service_is_not_written() {
    let (docker_, consul) = (machine(), consul());
    let _registrator = registrator(&consul, &["-resync=1"]);
    let (service, image) = (unique("swapped"), unique("lictor-tagged"));
    let pair = [web(docker_, &service), web(docker_, &service)];
    let tagged = {
        docker(docker_, &["tag", "lictor-whoami", &image]);
        docker_.container(&image).start()
    };
    consul.await_passing(&service, 2);
    consul.await_passing(&image, 1);
    let [one, other] = pair.each_ref().map(Container::name);
    let ports = pair
        .each_ref()
        .map(|container| u64::from(container.published(8000)));

    let between = format!("{one}-between");
    for names in [[one, &between], [other, one], [&between, other]] {
        docker(docker_, &["rename", names[0], names[1]]);
    }
    let id = |name: &str| format!("fates:{name}:8000");
    let wanted: BTreeMap<_, _> = [(id(one), ports[1]), (id(other), ports[0])].into();
    wait_for("each under the other's name", || {
        let held = states(&consul, &service)?;
        let held: BTreeMap<_, _> = held.into_iter().map(|(id, state)| (id, state.2)).collect();
        same(held, wanted.clone())
    });

    let before = [indexes(&consul, &service), indexes(&consul, &image)];
    docker(docker_, &["update", "--restart=on-failure", one, tagged.name()]);
    // The name of its image comes to mean another one, and then none.
    docker(docker_, &["tag", "redis", &image]);
    docker(docker_, &["rmi", &image]);
    docker(
        docker_,
        &[
            "update",
            "--memory=512m",
            "--memory-swap=512m",
            one,
            tagged.name(),
        ],
    );
    let marker = unique("marker");
    let _marker = web(docker_, &marker);
    consul.await_passing(&marker, 1);
    // A few looks at everything, too.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!([indexes(&consul, &service), indexes(&consul, &image)], before);
}

/// L37: what an agent thinks of containers can be asked, also what other registries say to it.
#[test]
fn an_agent_says_what_its_registrator_thinks_and_what_registries_refused() {
    let (docker_, other) = (machine(), consul());
    let refused = unique("refused");
    let gate = crate::harness::gate::Gate::refusing(other.http(), &refused);
    let also = format!("-registrator.also=consul-unix://{}", gate.socket().display());
    let agent = agent().flag(&also).start();
    let web = web(docker_, &refused);
    agent.await_passing(&refused, 1);
    let places = wait_for("the refusal to be seen", || {
        let told = agent.ask("/v1/registrator")?;
        let all = told["containers"].as_array().cloned().unwrap_or_default();
        let ours = all
            .into_iter()
            .find(|one| one["name"] == web.name())
            .ok_or("not there")?;
        let places = ours["services"][0]["registries"].clone();
        if places[1]["failure"].is_null() {
            Err(places.to_string())
        } else {
            Ok(places)
        }
    });
    assert_eq!(places[0]["standing"], "registered");
    assert!(
        places[1]["failure"]["error"]
            .as_str()
            .unwrap_or_default()
            .contains("403"),
        "{places}"
    );
    let silent = consul();
    http::get(silent.http(), "/v1/registrator")
        .status(404)
        .expect("it follows no containers");
}

/// L45: a container is replaced as compose does it, where the next is started before the last is stopped.
#[test]
fn a_container_that_is_replaced_under_traffic_fails_no_request_and_its_successor_has_its_id() {
    let (docker_, agent) = (machine(), agent().start());
    let (service, path) = (unique("replaced"), format!("/{}", unique("replaced")));
    let tag = format!("urlprefix-{path}");
    let one = |number: &str| {
        docker_
            .container("lictor-whoami")
            .label("SERVICE_NAME", &service)
            .label("SERVICE_TAGS", &tag)
            .label("SERVICE_CHECK_HTTP", "/health")
            .label("com.docker.compose.config-hash", number)
            .start()
    };
    let old = one("1");
    let name = old.name().to_owned();
    agent.await_passing(&service, 1);
    agent.await_status("any.example", &path, 200);
    let traffic = Traffic::start(&http::get(agent.proxy(), &path), 100);
    traffic.flow(50);
    let new = one("2");
    agent.await_passing(&service, 2);
    let port = format!(":{}/", new.published(8000));
    wait_for("the successor in the table", || {
        let table = http::get(agent.ui(), "/api/routes").ok()?;
        if table.contains(&port) { Ok(()) } else { Err(table) }
    });
    old.stop();
    old.remove();
    docker(docker_, &["rename", new.name(), &name]);
    let id = format!("{}:{name}:8000", agent.node());
    wait_for("the id of the old with the port of the new", || {
        let rows = agent.passing(&service)?;
        let ids: Vec<&str> = rows
            .iter()
            .filter_map(|row| row["Service"]["ID"].as_str())
            .collect();
        same(ids, vec![id.as_str()])
    });
    traffic.flow(50);
    let (answered, failures) = traffic.stop();
    assert!(
        failures.is_empty(),
        "{} failed, {answered} did not: {failures:#?}",
        failures.len()
    );
}

/// L43: as much as an engine takes.
#[test]
fn a_thousand_labels_and_an_environment_of_64_kib_harm_nobody() {
    let (docker_, mut agent) = (machine(), agent().start());
    let service = unique("laden");
    let container = docker_
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .label("SERVICE_REGION", "here")
        .env("SERVICE_LOAD", &"x".repeat(64 << 10));
    let labelled = (0..1000).fold(container, |container, number| {
        container.label(&format!("of.somebody.{number}"), "\u{fffd}\u{7}")
    });
    let _laden = labelled.start();
    let row = agent.await_passing(&service, 1).remove(0);
    assert_eq!(row["Service"]["Meta"]["region"], "here");
    agent.assert_calm();
}

/// L8, R24: the pipe to the engine is stuck and does not close.
#[test]
fn a_stream_that_is_silent_without_an_end_is_found_out_and_left() {
    let (docker_, consul) = (machine(), consul());
    let directory = tempfile::tempdir().expect("/tmp is writable");
    let line = Cut::between(
        &directory.path().join("docker.sock"),
        std::path::Path::new("/var/run/docker.sock"),
    );
    let _registrator = registrator(&consul, &["-resync=2", &format!("-docker={}", line.host())]);
    let (goes, comes) = (unique("goes"), unique("comes"));
    let gone = web(docker_, &goes);
    consul.await_passing(&goes, 1);

    line.stall();
    let began = Instant::now();
    gone.remove();
    let _new = web(docker_, &comes);
    wait_at_most(Duration::from_secs(60), "what happened meanwhile", || {
        same(
            (consul.instances(&goes)?.len(), consul.passing(&comes)?.len()),
            (0, 1),
        )
    });
    println!("found out after {:?}", began.elapsed());
    // And the new stream is heard.
    let last = unique("last");
    let _last = web(docker_, &last);
    wait_at_most(SOON, "an event", || same(consul.passing(&last)?.len(), 1));
}

/// L48.
#[test]
fn a_socket_that_may_not_be_opened_is_named_and_taken_up_when_it_may() {
    let (docker_, consul) = (machine(), consul());
    let directory = tempfile::tempdir().expect("/tmp is writable");
    let socket = directory.path().join("docker.sock");
    let line = Cut::between(&socket, std::path::Path::new("/var/run/docker.sock"));
    let allow = |path: &std::path::Path, mode: u32| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("it is ours");
    };
    allow(directory.path(), 0o755);
    allow(&socket, 0o600);
    let service = unique("forbidden");
    let _web = web(docker_, &service);
    let uri = format!("consul://{}", consul.http());
    let at = format!("-docker={}", line.host());
    let mut registrator = agent()
        .command(&["registrator", "-ip=127.0.0.1", &at, &uri])
        .unprivileged()
        .start_parts(&[]);
    wait_for("it to say why it waits", || {
        let said = registrator.said();
        let told = said.contains("Permission denied") && said.contains(&socket.display().to_string());
        told.then_some(()).ok_or(said)
    });
    assert_eq!(consul.instances(&service), Ok(Vec::new()));
    allow(&socket, 0o666);
    consul.await_passing(&service, 1);
    registrator.assert_calm();
}

/// L5, L6, L10, L46, L47, R2, R3, R17: an engine of our own, whose containers outlive it.
#[test]
fn an_engine_that_is_away_makes_entries_critical_after_the_grace_and_its_chatter_costs_nothing() {
    let own = OwnEngine::start_with_live_restore();
    let consul = consul();
    let host = format!("-docker=unix://{}", own.socket().display());
    let uri = format!("consul://{}", consul.http());
    let words = [
        "registrator",
        "-ip=127.0.0.1",
        "-hostname=fates",
        "-http=127.0.0.1:0",
        "-grace=2s",
        &host,
        &uri,
    ];
    let mut registrator = agent().command(&words).start_parts(&["http"]);
    let service = unique("outlives");
    let web = shell(&own.engine, &service, &[], "sleep 1000");
    consul.await_passing(&service, 1);
    let counted = |name: &str| -> Result<String, String> {
        let metrics = http::get(registrator.http(), "/metrics").ok()?;
        let line = metrics
            .lines()
            .find(|line| line.starts_with(&format!("lictor_registrator_{name} ")));
        line.map(str::to_owned).ok_or(metrics)
    };
    let told = || Ok::<_, String>((counted("events_total")?, counted("refreshed_total")?));
    let (before, entry) = (told(), indexes(&consul, &service));

    let scratch = web.name().to_owned() + "-scratch";
    for _ in 0..20 {
        docker(&own.engine, &["exec", web.name(), "/bin/true"]);
    }
    docker(
        &own.engine,
        &["cp", "/etc/hostname", &format!("{}:/hostname", web.name())],
    );
    docker(&own.engine, &["commit", "--pause=false", web.name(), &scratch]);
    docker(&own.engine, &["volume", "create", &scratch]);
    docker(&own.engine, &["volume", "rm", &scratch]);
    docker(&own.engine, &["rmi", &scratch]);
    assert_eq!(told(), before, "nobody was told of what does not count");

    own.restart_while(|| await_state(&consul, &service, "critical", "container engine not heard"));
    await_state(&consul, &service, "passing", "running");
    assert_eq!(indexes(&consul, &service), entry, "the same entry all the time");
    own.restart();
    let second = unique("second");
    let _second = shell(&own.engine, &second, &[], "sleep 1000");
    consul.await_passing(&second, 1);
    assert_eq!(indexes(&consul, &service), entry);
    registrator.assert_calm();
}

/// L37: one service is refused by whoever stands before the registry, and only that.
#[test]
fn a_service_that_is_refused_is_named_with_the_reason_and_harms_no_other() {
    let (docker_, consul) = (machine(), consul());
    let refused = unique("refused");
    let gate = crate::harness::gate::Gate::refusing(consul.http(), &refused);
    let uri = format!("consul-unix://{}", gate.socket().display());
    let words = [
        "registrator",
        "-ip=127.0.0.1",
        "-hostname=fates",
        "-http=127.0.0.1:0",
        &uri,
    ];
    let mut registrator = agent().command(&words).start_parts(&["http"]);
    let (bad, fine) = (web(docker_, &refused), unique("fine"));
    let _fine = web(docker_, &fine);
    consul.await_passing(&fine, 1);
    let ours = wait_for("the refusal to be seen", || {
        let told = registrator.ask("/v1/registrator")?;
        let all = told["containers"].as_array().cloned().unwrap_or_default();
        let ours = all
            .into_iter()
            .find(|one| one["name"] == bad.name())
            .ok_or("not there")?;
        let place = ours["services"][0]["registries"][0].clone();
        if place["failure"].is_null() {
            Err(place.to_string())
        } else {
            Ok(place)
        }
    });
    assert_eq!(
        ours["standing"], "unknown",
        "a write that failed may have been obeyed"
    );
    assert_eq!(ours["failure"]["operation"], "register");
    let error = ours["failure"]["error"].as_str().unwrap_or_default();
    assert!(error.contains("403"), "{error}");
    wait_for("health: to refuse is to answer", || {
        http::get(registrator.http(), "/health").status(200).map(drop)
    });
    std::thread::sleep(Duration::from_secs(3));
    let tried = gate
        .asked()
        .iter()
        .filter(|line| line.contains("/register") && line.ends_with("403"))
        .count();
    assert!((3..=8).contains(&tried), "{tried} attempts: {:#?}", gate.asked());
    let warned = registrator.said();
    let warned = warned
        .lines()
        .filter(|line| line.contains("WARN") && line.contains(bad.name()));
    assert_eq!(warned.count(), 1, "{}", registrator.said());
    assert_eq!(consul.instances(&refused), Ok(Vec::new()));
    registrator.assert_calm();
}

/// L28.
#[test]
fn who_had_no_memory_left_goes_and_explain_says_of_what_it_died() {
    let (docker_, consul) = (machine(), consul());
    let _registrator = registrator(&consul, &[]);
    let service = unique("starved");
    let greedy = "sleep 1; x=xxxxxxxx; while :; do x=$x$x; done";
    let container = shell(docker_, &service, &["--memory=16m"], greedy);
    consul.await_passing(&service, 1);
    wait_for("the starved to go", || same(consul.instances(&service)?.len(), 0));
    let words = ["registrator", "-ip=127.0.0.1", "explain", container.name()];
    let (code, said) = agent().command(&words).finish();
    assert!(
        code == 3 && said.contains("exited (137, out of memory)"),
        "{said}"
    );
}

/// L29, L30: a program that somebody restarts when it turns bad, and one whose check cannot make up its mind.
#[test]
fn the_unhealthy_are_out_until_they_are_well_at_their_next_port_and_the_fickle_are_as_they_were_last() {
    let (docker_, consul) = (machine(), consul());
    let registrator = registrator(&consul, &[]);
    let health = |command: &str| format!("--health-cmd={command}");
    let every = ["--health-interval=1s", "--health-retries=1"];
    let (ill, fickle) = (unique("ill"), unique("fickle"));
    let (sick, flaps) = (
        health("test -e /well"),
        health("test -e /steady || rm /well || ! touch /well"),
    );
    let patient = shell(
        docker_,
        &ill,
        &[&sick, every[0], every[1]],
        "touch /well; sleep 1000",
    );
    let flapping = shell(
        docker_,
        &fickle,
        &[&flaps, every[0], every[1]],
        "touch /well; sleep 1000",
    );
    let before = consul.await_passing(&ill, 1)[0]["Service"]["Port"].clone();
    docker(docker_, &["exec", patient.name(), "/bin/rm", "/well"]);
    wait_for("it to be out", || same(consul.passing(&ill)?.len(), 0));
    docker(docker_, &["restart", "-t", "0", patient.name()]);
    wait_for("it to be back, once and elsewhere", || {
        let rows = consul.passing(&ill)?;
        assert!(consul.instances(&ill)?.len() <= 1, "{rows:?}");
        let port = &rows.first().ok_or("it is not well")?["Service"]["Port"];
        if *port == before {
            Err("it is where it was".to_owned())
        } else {
            Ok(())
        }
    });

    let told = || {
        let said = registrator.said();
        let of = |line: &&str| line.contains("state passed on") && line.contains(flapping.name());
        said.lines().filter(of).count()
    };
    wait_for("it to change its mind a few times", || {
        if told() > 4 {
            Ok(())
        } else {
            Err(registrator.said())
        }
    });
    docker(docker_, &["exec", flapping.name(), "/bin/touch", "/steady"]);
    consul.await_passing(&fickle, 1);
    await_state(&consul, &fickle, "passing", "healthy");
}
