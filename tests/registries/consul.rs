//! `lictor registrator consul…://` beside somebody's Consul, which is another Lictor, partly behind HAProxy.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::gate::{self, Gate};
use crate::harness::{Agent, Builder, Container, agent, http, machine, same, unique, wait_at_most, wait_for};

/// How soon what was lost is to be there again: two seconds, and some for a machine that runs all tests at once. Where
/// nobody listens it takes a minute.
const SOON: Duration = Duration::from_secs(6);

/// Somebody's Consul, on a port that may be taken again.
fn consul_at(port: u16) -> Agent {
    let port = format!("-http-port={port}");
    let words = [
        "agent",
        "-dev",
        &port,
        "-dns-port=-1",
        "-proxy=false",
        "-registrator=false",
    ];
    agent().command(&words).start_parts(&["http"])
}

type Environment<'a> = &'a [(&'a str, &'a str)];

/// A registrator of a host of its own, and its environment.
fn registrator(uri: &str, flags: &[&str], environment: Environment<'_>) -> Agent {
    started(uri, flags, environment).start_parts(&[])
}

fn started(uri: &str, flags: &[&str], environment: Environment<'_>) -> Builder {
    let mut words = vec!["registrator", "-ip=127.0.0.1"];
    words.extend(flags);
    words.push(uri);
    let with = |builder: Builder, (name, value): &(&str, &str)| builder.env(name, value);
    environment.iter().fold(agent().command(&words), with)
}

fn web(service: &str) -> Container<'static> {
    let container = machine().container("lictor-whoami");
    container.label("SERVICE_NAME", service).start()
}

/// The entries of a service by id, each with what its container's check says.
fn states(consul: &Agent, service: &str) -> Result<Vec<(String, String)>, String> {
    let rows = consul.ask(&format!("/v1/health/service/{service}"))?;
    let read = |row: &Value| {
        let id = row["Service"]["ID"].as_str()?;
        let checks = row["Checks"].as_array()?;
        let own = checks
            .iter()
            .find(|check| check["CheckID"] == format!("container:{id}"))?;
        Some((id.to_owned(), own["Status"].as_str()?.to_owned()))
    };
    let rows = rows.as_array().ok_or("no list")?;
    rows.iter()
        .map(|row| read(row).ok_or_else(|| format!("odd row {row}")))
        .collect()
}

#[test]
fn a_container_is_registered_through_a_socket_through_tls_and_behind_a_login() {
    let consul = consul_at(0);
    let gate = Gate::before(consul.http());
    let service = unique("way");
    let hosts = ["unix", "tls", "ssl", "login"].map(unique);
    let names: Vec<String> = hosts.iter().map(|host| format!("-hostname={host}")).collect();
    // They follow one engine.
    let owners: Vec<String> = hosts.iter().map(|host| format!("-owner={host}")).collect();
    let (ca, cert, key) = (gate.file("ca"), gate.file("client"), gate.file("key"));
    let trust = [
        ("CONSUL_CACERT", ca.as_str()),
        ("CONSUL_CLIENT_CERT", &cert),
        ("CONSUL_CLIENT_KEY", &key),
        ("CONSUL_TLS_SERVER_NAME", gate::NAME),
    ];
    let tls = gate.tls().to_string();
    let by_environment = [
        &trust[..],
        &[("CONSUL_HTTP_SSL", "true"), ("CONSUL_HTTP_ADDR", &tls)],
    ]
    .concat();
    let socket = format!("consul-unix://{}", gate.socket().display());
    let _registrators = [
        registrator(&socket, &[&names[0], &owners[0]], &[]),
        registrator(&format!("consul-tls://{tls}"), &[&names[1], &owners[1]], &trust),
        registrator("consul:", &[&names[2], &owners[2]], &by_environment),
        registrator(
            &format!("consul://{}", gate.login()),
            &[&names[3], &owners[3]],
            &[("CONSUL_HTTP_AUTH", gate::LOGIN)],
        ),
    ];

    let container = web(&service);

    let rows = consul.await_passing(&service, 4);
    let mut ids: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["Service"]["ID"].as_str())
        .collect();
    ids.sort_unstable();
    let mut expected = hosts.map(|host| format!("{host}:{}:8000", container.name()));
    expected.sort();
    assert_eq!(ids, expected);
    container.remove();
    wait_for("all four to go", || same(consul.instances(&service)?.len(), 0));
}

#[test]
fn who_may_not_come_in_is_told_what_is_missing() {
    let consul = consul_at(0);
    let gate = Gate::before(consul.http());
    let (ca, tls) = (gate.file("ca"), format!("consul-tls://{}", gate.tls()));
    let trusted = ("CONSUL_CACERT", ca.as_str());
    let login = format!("consul://{}", gate.login());
    let odd = format!("consul-unix://{}.other", gate.socket().display());
    let cases: [(&str, Environment<'_>, &str); 6] = [
        (&login, &[], "set CONSUL_HTTP_AUTH to user:password"),
        (
            &login,
            &[("CONSUL_HTTP_AUTH", "reg:wrong")],
            "set CONSUL_HTTP_AUTH to user:password",
        ),
        // Signed by nobody whom the system knows, and not for 127.0.0.1.
        (&tls, &[], "certificate"),
        (&tls, &[trusted], "certificate not valid for name"),
        (&odd, &[], "No such file"),
        (
            &login,
            &[("CONSUL_HTTP_TOKEN_FILE", "/none/here")],
            "CONSUL_HTTP_TOKEN_FILE: /none/here",
        ),
    ];
    for (uri, environment, words) in cases {
        let (code, said) = started(uri, &[], environment).finish();
        assert_eq!(code, 1, "{uri} {environment:?}:\n{said}");
        assert!(
            said.contains(words),
            "{words:?} is not in what was said of {uri}:\n{said}"
        );
    }
}

/// Writes to the agent that the gate has let through so far.
fn writes(gate: &Gate) -> Vec<String> {
    let mut asked = gate.asked();
    asked.retain(|line| line.starts_with("PUT"));
    asked
}

/// L1, R8.
#[test]
fn a_restart_writes_nothing_where_nothing_changed_and_what_failed_meanwhile_turns_critical() {
    let consul = consul_at(0);
    let (service, host) = (unique("again"), format!("-hostname={}", unique("host")));
    let flags = [host.as_str(), "-deregister=on-success"];
    let stays = web(&service);
    let (_directory, fails) = failing(&service);
    // Others' containers come and go on this engine, and must not count as writes of ours.
    let gate = Gate::before(consul.http());
    let uri = format!("consul-unix://{}", gate.socket().display());
    let ours = |lines: &[String]| {
        let of = |line: &&String| line.contains(fails.name()) || line.contains(stays.name());
        lines.iter().filter(of).cloned().collect::<Vec<_>>()
    };
    let first = registrator(&uri, &flags, &[]);
    consul.await_passing(&service, 2);
    // The last that is written of each: what the check of its container says.
    wait_for("both to be told in full", || same(ours(&writes(&gate)).len(), 2));
    first.kill();
    fails.stop();
    let before = writes(&gate).len();

    let second = registrator(&uri, &flags, &[]);

    let failed = wait_for("the failed one to be critical", || {
        let mut states = states(&consul, &service)?;
        states.retain(|(_, state)| state == "critical");
        states.pop().ok_or_else(|| "none is".to_owned())
    });
    assert!(failed.0.contains(fails.name()), "{failed:?}");
    // What the registrator compares comes in one look; whatever else it had to write would have come with it.
    let marker = unique("marker");
    let _marker = web(&marker);
    consul.await_passing(&marker, 1);
    let after = ours(&writes(&gate)[before..]);
    assert_eq!(after.len(), 1, "{after:?}");
    assert!(after[0].contains("/v1/agent/check/update/"), "{after:?}");
    let said = second.said();
    assert!(!said.contains(&format!("registered id={}", failed.0)), "{said}");
}

/// A container whose process says that it failed when it is stopped.
fn failing(service: &str) -> (tempfile::TempDir, Container<'static>) {
    let directory = tempfile::tempdir().expect("/tmp is writable");
    let script = directory.path().join("fail");
    let text = "#!/bin/sh\ntrap 'exit 3' TERM\nwhile :; do sleep 0.05; done\n";
    std::fs::write(&script, text).expect("the directory is ours");
    let runs = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&script, runs).expect("it is ours");
    let mut container = machine()
        .container("lictor-whoami")
        .label("SERVICE_NAME", service);
    for part in ["bin", "lib", "lib64", "usr"] {
        container = container.option(&format!("--volume=/{part}:/{part}:ro"));
    }
    let container = container
        .option(&format!("--volume={}:/fail:ro", script.display()))
        .option("--entrypoint=/fail")
        .start();
    (directory, container)
}

/// L36.
#[test]
fn a_consul_that_lost_its_services_has_them_again_at_once() {
    let consul = consul_at(0);
    let port = consul.http().port();
    let (service, late) = (unique("lost"), unique("late"));
    let registrator = registrator(&format!("consul://{}", consul.http()), &[], &[]);
    let containers = [web(&service), web(&service)];
    consul.await_passing(&service, 2);

    // By hand, and all of them, since one is listened to for all and other tests have containers, too.
    let listed = consul.ask("/v1/agent/services").expect("an answer");
    for id in listed.as_object().expect("services by id").keys() {
        let path = format!("/v1/agent/service/deregister/{id}");
        consul.tell(&path, &json!(null)).expect("a removal");
    }
    wait_at_most(SOON, "what was removed to be back", || {
        same(consul.passing(&service)?.len(), 2)
    });

    consul.kill();
    let missed = web(&late);
    wait_for("a write that fails", || {
        let said = registrator.said();
        let tried = |line: &str| line.contains("registry write failed") && line.contains(missed.name());
        said.lines().any(tried).then_some(()).ok_or(said.clone())
    });
    let consul = consul_at(port);
    for (name, count) in [(&service, 2), (&late, 1)] {
        wait_at_most(SOON, "all to be there again", || {
            same(consul.passing(name)?.len(), count)
        });
    }

    for container in containers {
        container.remove();
    }
    wait_for("the removed to go", || same(consul.instances(&service)?.len(), 0));
}

#[test]
fn what_a_restarted_registrator_found_right_comes_back_as_soon_as_it_is_lost() {
    let consul = consul_at(0);
    let (service, host) = (unique("found"), format!("-hostname={}", unique("host")));
    let container = web(&service);
    let only = format!("-filter=name={}", container.name());
    let (uri, flags) = (format!("consul://{}", consul.http()), [host.as_str(), &only]);
    let first = registrator(&uri, &flags, &[]);
    let id = consul.await_passing(&service, 1)[0]["Service"]["ID"].clone();
    let id = id.as_str().expect("an id").to_owned();
    first.kill();
    let second = registrator(&uri, &flags, &[]);
    wait_for("it to have looked", || {
        let said = second.said();
        if said.contains("our entries are marked") {
            Ok(())
        } else {
            Err(said)
        }
    });
    // It has written nothing by now, and will not.
    std::thread::sleep(Duration::from_secs(1));

    let path = format!("/v1/agent/service/deregister/{id}");
    consul.tell(&path, &json!(null)).expect("a removal");

    wait_at_most(SOON, "what was removed to be back", || {
        same(consul.passing(&service)?.len(), 1)
    });
}

#[test]
fn a_name_with_a_slash_is_refused_as_a_key_of_consul_with_the_setting_that_helps() {
    let consul = consul_at(0);
    let (folder, service) = (unique("folder"), unique("slash"));
    let name = format!("{folder}/{service}");
    let uri = format!("consulkv://{}/services", consul.http());
    let odd = web(&name);
    let registrator = registrator(&uri, &[&format!("-filter=name={}", odd.name())], &[]);

    wait_for("the registrator to say what is wrong", || {
        let said = registrator.said();
        let told = |line: &str| line.contains(odd.name()) && line.contains("key=\"SERVICE_NAME\"");
        if said.lines().any(told) { Ok(()) } else { Err(said) }
    });
    assert_eq!(
        pairs(consul.http(), &format!("services/{folder}")),
        Ok(Vec::new())
    );
}

/// L36: nobody has anything to write while it is away, so no write can fail.
#[test]
fn a_consul_that_forgot_everything_in_a_quiet_hour_has_all_of_it_soon_after_it_is_back() {
    let consul = consul_at(0);
    let (server, port) = (consul.http(), consul.http().port());
    let service = unique("forgotten");
    // Others' containers would give it something to write.
    let only = format!("-filter=label=SERVICE_NAME={service}");
    let _services = registrator(&format!("consul://{server}"), &["-owner=services", &only], &[]);
    let _keys = registrator(&format!("consulkv://{server}/kept"), &["-owner=keys", &only], &[]);
    let _container = web(&service);
    let prefix = format!("kept/{service}");
    consul.await_passing(&service, 1);
    wait_for("the key", || same(pairs(server, &prefix)?.len(), 1));

    consul.kill();
    std::thread::sleep(Duration::from_secs(3));
    let consul = consul_at(port);
    let back = std::time::Instant::now();
    wait_at_most(SOON, "service and key", || {
        same(
            (consul.passing(&service)?.len(), pairs(server, &prefix)?.len()),
            (1, 1),
        )
    });
    println!("all there again {:?} after it was back", back.elapsed());
}

/// The pairs below a prefix: key, value and flags.
fn pairs(server: SocketAddr, prefix: &str) -> Result<Vec<(String, String, u64)>, String> {
    let path = format!("/v1/kv/{prefix}?keys");
    let answer = http::get(server, &path).send()?;
    if answer.status == 404 {
        return Ok(Vec::new());
    }
    let keys: Vec<String> = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
    let read = |key: String| {
        let value = http::get(server, &format!("/v1/kv/{key}?raw")).ok()?;
        let pair = http::get(server, &format!("/v1/kv/{key}")).json()?;
        Ok((key, value, pair[0]["Flags"].as_u64().unwrap_or_default()))
    };
    keys.into_iter().map(read).collect()
}

#[test]
fn keys_are_those_of_the_original_and_only_ours_are_touched() {
    let consul = consul_at(0);
    let (server, port) = (consul.http(), consul.http().port());
    let gate = Gate::before(server);
    let (service, host) = (unique("key"), unique("host"));
    let name = format!("-hostname={host}");
    let others = format!("app/services/{service}/elsewhere:x:80");
    let write = |key: &str, text: &str| {
        let written = http::put_text(server, &format!("/v1/kv/{key}"), text).ok();
        assert_eq!(written.expect("a write").trim(), "true");
    };
    write(&others, "10.9.9.9:80");
    let socket = format!("consulkv-unix://{}:/app/services", gate.socket().display());
    let first = registrator(&socket, &[&name], &[]);
    let container = web(&service);
    let below = format!("app/services/{service}");
    let key = format!("{below}/{host}:{}:8000", container.name());
    let value = format!("127.0.0.1:{}", container.published(8000));
    let foreign = (others.clone(), "10.9.9.9:80".to_owned(), 0);
    let mine = |pairs: Vec<(String, String, u64)>| pairs.into_iter().find(|(found, ..)| *found == key);
    let written = wait_for("the key", || {
        mine(pairs(server, &below)?).ok_or_else(|| "none".to_owned())
    });
    assert_eq!(written.1, value);
    assert_ne!(written.2, 0, "flags say whose it is");

    // Keys that go missing are mended; what nobody marked is left alone. All of them, since one is listened to for all.
    let all = pairs(server, "app/services/").expect("an answer");
    for (key, ..) in all.iter().filter(|(key, ..)| key.contains(&host)) {
        let removed = http::get(server, &format!("/v1/kv/{key}")).delete().ok();
        removed.expect("a removal");
    }
    wait_at_most(SOON, "the key to be right again", || {
        same(pairs(server, &below)?, vec![foreign.clone(), written.clone()])
    });

    // Its own host's keys are found again after a crash, and go with their container.
    first.kill();
    container.remove();
    let kept = web(&service);
    let uri = format!("consulkv://{server}/app/services");
    let _second = registrator(&uri, &[&name], &[]);
    let key = format!("{below}/{host}:{}:8000", kept.name());
    let keys = |server| {
        Ok::<_, String>(
            pairs(server, &below)?
                .into_iter()
                .map(|(key, ..)| key)
                .collect::<Vec<_>>(),
        )
    };
    wait_for("only what runs", || {
        same(keys(server)?, vec![others.clone(), key.clone()])
    });

    // A stopped container has no key, nor has one that a server lost for more than a moment.
    consul.kill();
    let consul = consul_at(port);
    wait_at_most(SOON, "the key to be there again", || {
        same(keys(consul.http())?, vec![key.clone()])
    });
    kept.stop();
    wait_for("nothing", || same(keys(consul.http())?, Vec::new()));
}
