//! What the system does to the process: signals, a log that is rotated, files that run out.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::harness::{Agent, agent, http, same, wait_at_most, wait_for};

/// A balancer that sends everything to `server`, with further flags, and at most so many open files.
fn lb_to(server: SocketAddr, further: &[&str], open_files: Option<u32>) -> Agent {
    let routes = format!("-registry.static.routes=route add web / http://{server}/");
    let mut words = vec![
        "lb",
        "-registry.backend=static",
        &routes,
        "-proxy.addr=127.0.0.1:0",
        "-ui.addr=127.0.0.1:0",
    ];
    words.extend(further);
    let builder = agent().command(&words);
    let builder = match open_files {
        Some(most) => builder.open_files(most),
        None => builder,
    };
    builder.start_parts(&["proxy", "ui"])
}

/// A server that answers every request with 200, until the process ends.
fn upstream() -> SocketAddr {
    let (listener, address) = listener();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || http::answer_ok(&connection));
        }
    });
    address
}

/// A client, as soon as there is a table and so a listener.
fn connected(lb: &Agent) -> TcpStream {
    wait_for("the balancer to listen", || http::connect(lb.proxy()))
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

fn written(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// What `path` says, as soon as it says `word`.
fn await_line(path: &Path, word: &str) -> String {
    wait_for(&format!("{word} in {}", path.display()), || {
        let text = written(path)?;
        if text.contains(word) { Ok(text) } else { Err(text) }
    })
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let (silent, address) = listener();
    let mut lb = lb_to(address, &["-proxy.shutdownwait=60s"], None);
    let mut client = connected(&lb);
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: any.example\r\n\r\n")
        .expect("a few bytes");
    let (mut asked, _) = silent.accept().expect("the request arrives");
    asked.read_exact(&mut [0; 16]).expect("a head");

    lb.signal("TERM");
    wait_for("the listener to close", || match TcpStream::connect(lb.proxy()) {
        Ok(_) => Err("it is open".to_owned()),
        Err(_) => Ok(()),
    });
    assert!(lb.running(), "a request is under way");
    lb.signal("TERM");
    wait_at_most(Duration::from_secs(5), "the process to end", || {
        same(lb.running(), false)
    });
    let said = lb.said();
    assert!(said.contains("told to stop again"), "{said}");
}

#[test]
fn an_access_log_that_was_renamed_is_written_anew_after_sighup_and_no_line_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, renamed) = (directory.path().join("access"), directory.path().join("access.1"));
    let target = format!("-log.access.target=file:{}", log.display());
    let mut lb = lb_to(upstream(), &[&target], None);
    lb.await_status("any.example", "/first", 200);
    await_line(&log, "GET /first");

    // As logrotate does it: what comes before the signal belongs to the old file.
    std::fs::rename(&log, &renamed).expect("the same directory");
    lb.await_status("any.example", "/between", 200);
    await_line(&renamed, "GET /between");
    lb.signal("HUP");
    wait_for("the new file", || written(&log));
    lb.await_status("any.example", "/after", 200);
    let after = await_line(&log, "GET /after");
    let before = written(&renamed).expect("it is there");
    assert_eq!((after.lines().count(), before.lines().count()), (1, 2));
    lb.assert_calm();
}

#[test]
fn another_log_level_takes_effect_at_a_reload() {
    let directory = tempfile::tempdir().expect("a directory");
    let properties = directory.path().join("fabio.properties");
    let write = |level: &str| {
        let text = format!(
            "registry.backend = static\nproxy.addr = 127.0.0.1:0;proto=tcp+sni\nui.addr = 127.0.0.1:0\n\
             log.level = {level}\n"
        );
        std::fs::write(&properties, text).expect("written");
    };
    write("INFO");
    let cfg = properties.display().to_string();
    let mut lb = agent()
        .command(&["lb", "-cfg", &cfg])
        .start_parts(&["proxy", "ui"]);
    let nonsense = |lb: &Agent| {
        let mut client = connected(lb);
        client.write_all(b"no hello").expect("a few bytes");
        let _ = client.read(&mut [0]);
    };
    nonsense(&lb);
    write("DEBUG");
    lb.signal("HUP");
    wait_for("the reload to be told", || {
        let said = lb.said();
        if said.contains("log.level: in effect") {
            Ok(())
        } else {
            Err(said)
        }
    });
    assert!(!lb.said().contains("DEBUG"), "{}", lb.said());
    nonsense(&lb);
    wait_for("what is only told at this level", || {
        let said = lb.said();
        let told = said
            .lines()
            .any(|line| line.contains("DEBUG") && line.contains("connection refused"));
        if told { Ok(()) } else { Err(said) }
    });
    lb.assert_calm();
}

#[test]
fn where_files_would_run_out_silent_clients_make_room_and_probes_are_answered() {
    let mut lb = lb_to(upstream(), &["-proxy.workers=1"], Some(100));
    lb.await_status("any.example", "/", 200);
    let crowd: Vec<TcpStream> = (0..150)
        .map(|_| http::connect(lb.proxy()).expect("the backlog has room"))
        .collect();
    lb.await_status("any.example", "/", 200);
    http::get(lb.ui(), "/health")
        .status(200)
        .expect("a probe is answered");
    let before = lb.cpu_time();
    std::thread::sleep(Duration::from_secs(1));
    let used = lb.cpu_time() - before;
    assert!(used < Duration::from_millis(500), "{used:?} of a second");
    let metrics = http::get(lb.ui(), "/metrics").ok().expect("metrics are served");
    let given_up = metrics
        .lines()
        .find_map(|line| line.strip_prefix("lictor_lb_connections_given_up_total "));
    let given_up: u32 = given_up
        .and_then(|count| count.parse().ok())
        .expect("it is counted");
    assert!(given_up > 50, "{given_up}");
    drop(crowd);
    lb.await_status("any.example", "/", 200);
    lb.assert_calm();
}

/// The value of a metric without labels.
fn metric(lb: &Agent, name: &str) -> Result<u64, String> {
    let page = http::get(lb.ui(), "/metrics").ok()?;
    let mut values = page
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = values.next().ok_or_else(|| format!("no {name} in {page}"))?;
    value.parse().map_err(|error| format!("{name} {value}: {error}"))
}

/// Ends it with one signal, whatever it has left to say.
fn assert_ends(lb: &mut Agent) {
    lb.signal("TERM");
    wait_at_most(Duration::from_secs(8), "the process to end", || {
        same(lb.running(), false)
    });
}

#[test]
fn a_log_that_nobody_reads_holds_up_neither_routes_nor_traffic_nor_the_end_and_its_gaps_are_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let (routes, server) = (directory.path().join("routes"), upstream());
    let write = |generation: &str| {
        // 1.5 MB of log: more than a pipe and what may wait for it.
        let many = (0..10_000)
            .map(|number| format!("route add bulk-{number} /bulk/{generation}/{number} http://{server}/\n"));
        let all: String = many
            .chain([format!("route add web /{generation} http://{server}/\n")])
            .collect();
        std::fs::write(&routes, all).expect("written");
    };
    std::fs::write(&routes, format!("route add web /first http://{server}/\n")).expect("written");
    let path = format!("-registry.file.path={}", routes.display());
    let words = [
        "lb",
        "-registry.backend=file",
        &path,
        "-proxy.addr=127.0.0.1:0",
        "-ui.addr=127.0.0.1:0",
    ];
    let mut lb = agent().command(&words).start_parts(&["proxy", "ui"]);
    lb.await_status("any.example", "/first", 200);

    let ear = lb.ear_for_errors();
    let deaf = ear.lock().expect("a reader does not panic");
    for generation in ["second", "third", "fourth"] {
        write(generation);
        lb.await_status("any.example", &format!("/{generation}"), 200);
    }
    let lost = wait_for("lost lines to be counted", || {
        match metric(&lb, "lictor_log_lost_total")? {
            0 => Err("none".to_owned()),
            lost => Ok(lost),
        }
    });
    drop(deaf);
    let told = || -> u64 {
        let said = lb.said();
        let gaps = said.lines().filter(|line| line.contains("log lines are lost"));
        gaps.filter_map(|line| line.rsplit_once("lines=")?.1.trim().parse::<u64>().ok())
            .sum()
    };
    wait_for("the gap to be told", || {
        if told() >= lost {
            Ok(())
        } else {
            Err(told().to_string())
        }
    });

    let _deaf = ear.lock().expect("a reader does not panic");
    write("fifth");
    lb.await_status("any.example", "/fifth", 200);
    assert_ends(&mut lb);
}

#[test]
fn an_access_log_that_nobody_reads_ends_with_the_process_and_what_is_lost_is_told() {
    let mut lb = lb_to(upstream(), &["-log.access.target=stdout"], None);
    let ear = lb.ear_for_output();
    let _deaf = ear.lock().expect("a reader does not panic");
    // Far more than a pipe holds.
    let path = format!("/{}", "x".repeat(6_000));
    for _ in 0..100 {
        lb.await_status("any.example", &path, 200);
    }
    assert_ends(&mut lb);
    wait_for("the loss to be told", || {
        let said = lb.said();
        if said.contains("the access log ends without its last lines") {
            Ok(())
        } else {
            Err(said)
        }
    });
}

#[test]
fn metrics_that_nobody_reads_cost_one_thread_and_not_one_more_at_each_interval() {
    let flags = [
        "-log.access.target=stdout",
        "-metrics.target=flat",
        "-metrics.interval=10ms",
    ];
    let mut lb = lb_to(upstream(), &flags, None);
    let ear = lb.ear_for_output();
    let _deaf = ear.lock().expect("a reader does not panic");
    let path = format!("/{}", "x".repeat(6_000));
    for _ in 0..30 {
        lb.await_status("any.example", &path, 200);
    }
    let failures = || metric(&lb, "lictor_lb_metrics_push_failures_total");
    let many = |least: u64| {
        move |count: u64| {
            if count >= least {
                Ok(())
            } else {
                Err(count.to_string())
            }
        }
    };
    wait_for("the first sending to fail", || failures().and_then(many(1)));
    let before = metric(&lb, "process_threads").expect("metrics are served");
    wait_for("many to fail", || failures().and_then(many(100)));
    let after = metric(&lb, "process_threads").expect("metrics are served");
    assert!(after < before + 20, "{before} threads, then {after}");
    assert_ends(&mut lb);
}

#[test]
fn a_signal_to_open_logs_anew_ends_nothing_where_there_are_none() {
    let mut lb = lb_to(upstream(), &[], None);
    lb.signal("USR1");
    lb.await_status("any.example", "/", 200);
    lb.assert_calm();
    let mut whole = agent().flag("-registrator=false").start();
    whole.signal("USR1");
    wait_for("the agent to answer", || whole.ask("/v1/agent/self"));
    whole.assert_calm();
}

#[test]
fn a_target_that_fails_again_and_again_is_told_once_a_second_with_the_number_of_the_others() {
    let (gone, address) = listener();
    drop(gone);
    let mut lb = lb_to(address, &["-proxy.workers=1"], None);
    for _ in 0..50 {
        lb.await_status("any.example", "/", 502);
    }
    let told = wait_for("the others to be told", || {
        let said = lb.said();
        let lines = said
            .lines()
            .filter(|line| line.contains("no answer from upstream"));
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        let others = lines
            .iter()
            .filter_map(|line| line.rsplit_once("others=")?.1.trim().parse::<usize>().ok());
        if lines.len() - others.clone().count() + others.sum::<usize>() >= 50 {
            Ok(lines)
        } else {
            Err(said)
        }
    });
    assert!(told.len() < 15, "{told:#?}");
    lb.assert_calm();
}
