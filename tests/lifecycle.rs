//! What becomes of entries when their registrator stops or changes its name.

use crate::harness::{Agent, agent, machine, same, unique, wait_for};

fn registrator(consul: &Agent, flags: &[&str]) -> Agent {
    let uri = format!("consul://{}", consul.http());
    let mut command = vec!["registrator", "-ip=127.0.0.1"];
    command.extend(flags);
    command.push(&uri);
    agent().command(&command).start_parts(&[])
}

/// Ids of the instances of a service.
fn ids(consul: &Agent, service: &str) -> Result<Vec<String>, String> {
    let id = |row: &serde_json::Value| row["ServiceID"].as_str().map(str::to_owned);
    let rows = consul.instances(service)?;
    rows.iter()
        .map(|row| id(row).ok_or_else(|| format!("odd row {row}")))
        .collect()
}

/// L38, R14.
#[test]
fn a_registrator_that_gets_another_host_name_finds_its_entries_and_gives_them_new_ids() {
    let docker = machine();
    let consul = agent().flag("-registrator=false").start();
    let service = unique("renamed");
    let web = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .start();
    let id = |host: &str| vec![format!("{host}:{}:8000", web.name())];
    let first = registrator(&consul, &["-hostname=before"]);
    wait_for("the registration", || same(ids(&consul, &service)?, id("before")));

    first.kill();
    let second = registrator(&consul, &["-hostname=after"]);
    wait_for("the new id alone", || same(ids(&consul, &service)?, id("after")));

    // Another, of somebody who is told apart by name.
    let _other = registrator(&consul, &["-hostname=other", "-owner=other"]);
    let both = [id("after"), id("other")].concat();
    wait_for("both", || same(ids(&consul, &service)?, both.clone()));
    second.kill();
    web.remove();
    wait_for("only what the other does not own", || {
        let left = ids(&consul, &service)?;
        same(
            left.iter().map(|id| id.starts_with("after:")).collect(),
            vec![true],
        )
    });
}

/// L3.
#[test]
fn a_registrator_that_is_stopped_keeps_drains_or_removes_its_entries() {
    let docker = machine();
    let service = unique("left");
    let _web = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .start();
    for (at_exit, registered, passing) in [("keep", 1, 1), ("drain", 1, 0), ("remove", 0, 0)] {
        let consul = agent().flag("-registrator=false").start();
        let mut registrator = registrator(&consul, &[&format!("-at-exit={at_exit}")]);
        consul.await_passing(&service, 1);

        registrator.signal("TERM");
        wait_for("the registrator to end", || {
            same(registrator.exit_code(), Some(0))
        });

        let left = (
            consul.instances(&service).map(|rows| rows.len()),
            consul.passing(&service).map(|rows| rows.len()),
        );
        assert_eq!(left, (Ok(registered), Ok(passing)), "{at_exit}");
    }
}
