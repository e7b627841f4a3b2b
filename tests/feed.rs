//! Where routes come from: a foreign catalog with what people wrote beside it, its loss and return, a snapshot, files;
//! and the balancer as a service of that catalog.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};

use serde_json::json;

use crate::harness::{Agent, agent, http, same, unique, wait_for};

/// Agent without balancer and registrator, as somebody's Consul, on a port that may be taken again.
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

fn lb_of(consul: SocketAddr, further: &[&str]) -> Agent {
    let registry = format!("-registry.consul.addr={consul}");
    let mut words = vec!["lb", &registry, "-proxy.addr=127.0.0.1:0", "-ui.addr=127.0.0.1:0"];
    words.extend(further);
    agent().command(&words).start_parts(&["proxy", "ui"])
}

/// A server that answers every request with 200, until the process ends.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || http::answer_ok(&connection));
        }
    });
    address
}

/// Registers an instance that passes, with these tags.
fn register(consul: &Agent, name: &str, at: SocketAddr, tags: &[&str]) {
    let body = json!({
        "ID": name, "Name": name, "Address": at.ip().to_string(), "Port": at.port(), "Tags": tags,
        "Check": { "TTL": "1h", "Status": "passing" },
    });
    consul
        .tell("/v1/agent/service/register", &body)
        .expect("a registration");
}

fn write(consul: &Agent, key: &str, text: &str) {
    let written = http::put_text(consul.http(), &format!("/v1/kv/{key}"), text).ok();
    assert_eq!(written.expect("a write").trim(), "true");
}

#[test]
fn what_people_write_into_the_foreign_store_overrides_routes_as_soon_as_it_is_written() {
    let consul = consul_at(0);
    let (up, path) = (upstream(), format!("/{}", unique("over")));
    let name = unique("web");
    register(&consul, &name, up, &[&format!("urlprefix-{path}")]);
    let mut lb = lb_of(consul.http(), &[]);
    lb.await_status("any.example", &path, 200);

    write(&consul, "fabio/config/a", &format!("route del {name}"));
    lb.await_status("any.example", &path, 404);
    // Begins like the path and is not below it.
    write(
        &consul,
        "fabio/configuration",
        "route add x /somebody-else http://127.0.0.1:1/",
    );
    write(
        &consul,
        "fabio/config/b",
        &format!("this is no command\nroute add other {path}/new http://{up}/"),
    );
    lb.await_status("any.example", &format!("{path}/new"), 200);
    http::get(lb.proxy(), "/somebody-else")
        .status(404)
        .expect("not ours");

    write(&consul, "fabio/noroute.html", "<h1>nobody wants this</h1>");
    wait_for("the page", || {
        same(
            http::get(lb.proxy(), "/nowhere").status(404)?.body.as_str(),
            "<h1>nobody wants this</h1>",
        )
    });
    write(&consul, "fabio/config/a", "");
    lb.await_status("any.example", &path, 200);
    lb.assert_calm();
}

#[test]
fn the_agents_own_store_overrides_its_routes_and_answers_without_one() {
    let mut agent = agent().flag("-registrator=false").start();
    let (up, path) = (upstream(), format!("/{}", unique("own")));
    write(
        &agent,
        "fabio/config",
        &format!("route add web {path} http://{up}/"),
    );
    agent.await_status("any.example", &path, 200);
    write(&agent, "fabio/noroute.html", "<h1>no</h1>");
    wait_for("the page", || {
        same(
            http::get(agent.proxy(), "/nowhere").status(404)?.body.as_str(),
            "<h1>no</h1>",
        )
    });
    agent.assert_calm();
}

#[test]
fn the_balancer_is_a_service_of_the_catalog_under_every_name_its_routes_wish_for_until_it_stops() {
    let consul = consul_at(0);
    let (name, alias) = (unique("web"), unique("alias"));
    let tag = format!("urlprefix-/{name} register={alias}");
    register(&consul, &name, upstream(), &[&tag]);
    let lb = lb_of(consul.http(), &["-registry.consul.register.tags=edge"]);

    let entry = consul.await_passing("fabio", 1).remove(0);
    assert_eq!(entry["Service"]["Port"], lb.ui().port());
    assert_eq!(entry["Service"]["Tags"], json!(["edge"]));
    let entry = consul.await_passing(&alias, 1).remove(0);
    assert_eq!(entry["Service"]["Address"], "127.0.0.1");
    // Lost by the catalog, made again by the balancer.
    let id = entry["Service"]["ID"].as_str().expect("an id").to_owned();
    consul
        .tell(&format!("/v1/agent/service/deregister/{id}"), &json!(null))
        .expect("gone");
    consul.await_passing(&alias, 1);

    // Nobody wishes for it any more.
    register(&consul, &name, upstream(), &[&format!("urlprefix-/{name}")]);
    wait_for("the alias to go", || same(consul.instances(&alias)?.len(), 0));
    drop(lb);
    assert_eq!(consul.instances("fabio").map(|rows| rows.len()), Ok(0));
}

#[test]
fn a_catalog_that_is_killed_leaves_its_routes_and_is_followed_again_when_it_returns() {
    let consul = consul_at(0);
    let address = consul.http();
    let (up, path) = (upstream(), format!("/{}", unique("kept")));
    let tag = format!("urlprefix-{path}");
    register(&consul, "web", up, &[&tag]);
    let mut lb = lb_of(address, &[]);
    lb.await_status("any.example", &path, 200);
    let reached = |lb: &Agent| -> Result<bool, String> {
        let text = http::get(lb.ui(), "/metrics").ok()?;
        Ok(text.contains("\nlictor_lb_catalog_reached 1\n"))
    };
    wait_for("the catalog in reach", || same(reached(&lb)?, true));

    consul.kill();
    wait_for("the catalog out of reach", || same(reached(&lb)?, false));
    for _ in 0..20 {
        http::get(lb.proxy(), &path)
            .status(200)
            .expect("the last table is kept");
    }

    let consul = consul_at(address.port());
    let second = format!("{path}-second");
    register(&consul, "web", up, &[&tag]);
    register(&consul, "other", up, &[&format!("urlprefix-{second}")]);
    lb.await_status("any.example", &second, 200);
    lb.await_status("any.example", &path, 200);
    wait_for("the catalog in reach again", || same(reached(&lb)?, true));
    lb.assert_calm();
}

#[test]
fn a_snapshot_serves_a_restart_without_the_catalog_and_gives_way_to_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("routes.json");
    let snapshot = format!("-registry.snapshot={}", path.display());
    let consul = consul_at(0);
    let address = consul.http();
    let route = format!("/{}", unique("kept"));
    register(&consul, "web", upstream(), &[&format!("urlprefix-{route}")]);
    write(
        &consul,
        "fabio/config",
        &format!("route add more {route}-more http://{}/", upstream()),
    );
    let lb = lb_of(address, &[&snapshot]);
    lb.await_status("any.example", &route, 200);
    wait_for("the snapshot", || same(path.exists(), true));
    drop(lb);
    consul.kill();

    let lb = lb_of(address, &[&snapshot]);
    lb.await_status("any.example", &route, 200);
    lb.await_status("any.example", &format!("{route}-more"), 200);

    let consul = consul_at(address.port());
    let fresh = format!("/{}", unique("fresh"));
    register(&consul, "fresh", upstream(), &[&format!("urlprefix-{fresh}")]);
    lb.await_status("any.example", &fresh, 200);
}

#[test]
fn a_catalog_that_is_not_there_ends_the_balancer_after_the_time_it_was_given() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .expect("a port");
    let registry = format!("-registry.consul.addr={nobody}");
    let words = [
        "lb",
        &registry,
        "-proxy.addr=127.0.0.1:0",
        "-ui.addr=127.0.0.1:0",
        "-registry.timeout=200ms",
    ];
    let (code, said) = agent().command(&words).finish();
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("registry.consul.addr: no answer within 200ms"),
        "{said}"
    );
}

#[test]
fn commands_in_a_file_are_followed_and_sighup_reads_the_properties_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (routes, properties) = (
        directory.path().join("routes"),
        directory.path().join("fabio.properties"),
    );
    let put = |path: &std::path::Path, text: &str| {
        let mut file = std::fs::File::create(path).expect("a file");
        file.write_all(text.as_bytes()).expect("written");
    };
    let up = upstream();
    put(&routes, &format!("route add web /one http://{up}/"));
    let with_status = |status: u16| {
        format!(
            "registry.backend = file\nregistry.file.path = {}\nproxy.addr = 127.0.0.1:0\nui.addr = 127.0.0.1:0\n\
             proxy.noroutestatus = {status}\n",
            routes.display()
        )
    };
    put(&properties, &with_status(404));
    let cfg = properties.display().to_string();
    let mut lb = agent()
        .command(&["lb", "-cfg", &cfg])
        .start_parts(&["proxy", "ui"]);
    lb.await_status("any.example", "/one", 200);
    put(&routes, &format!("route add web /two http://{up}/"));
    lb.await_status("any.example", "/two", 200);
    lb.await_status("any.example", "/one", 404);

    put(&properties, &with_status(418));
    lb.hangup();
    lb.await_status("any.example", "/one", 418);
    put(&properties, "proxy.noroutestatus = many\n");
    lb.hangup();
    wait_for("the fault in the log", || {
        let said = lb.said();
        if said.contains("refused") {
            Ok(())
        } else {
            Err(said)
        }
    });
    lb.await_status("any.example", "/one", 418);
    lb.await_status("any.example", "/two", 200);
    lb.assert_calm();
}

#[test]
fn standard_output_carries_the_access_log_and_nothing_else() {
    let routes = format!("-registry.static.routes=route add web / http://{}/", upstream());
    let words = [
        "lb",
        "-registry.backend=static",
        &routes,
        "-proxy.addr=127.0.0.1:0",
        "-ui.addr=127.0.0.1:0",
        "-insecure",
        "-log.access.target=stdout",
        "-log.access.format=$request_method $response_status",
    ];
    let lb = agent().command(&words).start_parts(&["proxy", "ui"]);
    lb.await_status("any.example", "/", 200);
    let lines = wait_for("a line", || match lb.printed() {
        none if none.is_empty() => Err("nothing was printed".to_owned()),
        some => Ok(some),
    });
    assert!(lines.lines().all(|line| line == "GET 200"), "{lines}");
    assert!(
        lb.said().contains("==> note: -insecure has no effect"),
        "{}",
        lb.said()
    );
}
