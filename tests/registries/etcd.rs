//! `lictor registrator etcd://…` and `skydns2://…` beside a real etcd, by v3 and by v2: each key and value as the original
//! writes it, read with `etcdctl`.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{Agent, Container, Etcd, agent, machine, same, unique, wait_at_most, wait_for};

/// How soon what was lost is to be there again: two seconds, and some for a machine that runs all tests at once.
const SOON: Duration = Duration::from_secs(6);

/// A registrator of this host name that writes where the URI says.
fn registrator(host: &str, flags: &[&str], uri: &str) -> Agent {
    let host = format!("-hostname={host}");
    let command = [&["registrator", "-ip=127.0.0.1", &host], flags, &[uri]].concat();
    agent().command(&command).start_parts(&[])
}

fn whoami(service: &str) -> Container<'static> {
    let image = machine().container("lictor-whoami");
    image.label("SERVICE_NAME", service).start()
}

/// What is to be found in etcd.
fn pairs<const N: usize>(pairs: [(String, String); N]) -> BTreeMap<String, String> {
    pairs.into()
}

fn address(container: &Container<'_>) -> String {
    format!("127.0.0.1:{}", container.published(8000))
}

/// The pair of a container in a registry below `/services`, as the reference gives it.
fn pair(service: &str, host: &str, container: &Container<'_>) -> (String, String) {
    let key = format!("/services/{service}/{host}:{}:8000", container.name());
    (key, address(container))
}

fn await_keys(etcd: &Etcd, service: &str, wanted: &BTreeMap<String, String>) {
    let prefix = format!("/services/{service}/");
    wait_for("the keys of v3", || same(etcd.keys(&prefix)?, wanted.clone()));
}

fn await_keys_v2(etcd: &Etcd, service: &str, wanted: &BTreeMap<String, String>) {
    let folder = format!("/services/{service}");
    wait_for("the keys of v2", || same(etcd.keys_v2(&folder)?, wanted.clone()));
}

/// A number that `etcdctl` shows of a key: `Lease`, `CreateRevision`, …
fn field(etcd: &Etcd, key: &str, name: &str) -> Result<i64, String> {
    let shown = etcd.ctl(3, &["get", key, "-w", "fields"])?;
    let line = format!("\"{name}\" : ");
    let number = shown
        .lines()
        .find_map(|shown| shown.strip_prefix(&line)?.parse().ok());
    number.ok_or(shown)
}

#[test]
fn a_container_is_a_key_of_v3_as_registrator_writes_it_until_it_is_gone() {
    let etcd = Etcd::start();
    let (service, host) = (unique("web"), unique("host"));
    let _registrator = registrator(&host, &[], &format!("etcd://{}/services", etcd.address()));
    let web = whoami(&service);

    await_keys(&etcd, &service, &pairs([pair(&service, &host, &web)]));
    web.stop();

    await_keys(&etcd, &service, &pairs([]));
}

#[test]
fn a_container_is_a_key_of_v2_as_registrator_writes_it_until_it_is_gone() {
    let etcd = Etcd::with_v2();
    let (service, host) = (unique("web"), unique("host"));
    let uri = format!("etcd://{}/services?api=2", etcd.address());
    let _registrator = registrator(&host, &[], &uri);
    let web = whoami(&service);

    await_keys_v2(&etcd, &service, &pairs([pair(&service, &host, &web)]));
    let all = etcd
        .ctl(2, &["ls", "--recursive", "-p", "/"])
        .expect("etcd answers");
    assert!(
        !all.contains("_lictor"),
        "whoever lists the services sees only services:\n{all}"
    );
    web.stop();

    await_keys_v2(&etcd, &service, &pairs([]));
}

#[test]
fn skydns_finds_a_record_for_each_container_that_has_an_id_fit_for_dns() {
    let etcd = Etcd::with_v2();
    let (service, host, id) = (unique("dns"), unique("host"), unique("one"));
    let at = etcd.address();
    let _v2 = registrator(&host, &[], &format!("skydns2://{at}/cluster.local"));
    let _v3 = registrator(&host, &[], &format!("skydns2://{at}/cluster.local?api=3"));
    let image = machine().container("lictor-whoami");
    let web = image
        .label("SERVICE_NAME", &service)
        .label("SERVICE_ID", &id)
        .start();

    let key = format!("/skydns/local/cluster/{service}/{id}");
    let record = format!(r#"{{"host":"127.0.0.1","port":{}}}"#, web.published(8000));
    let wanted = pairs([(key, record)]);
    let folder = format!("/skydns/local/cluster/{service}");
    wait_for("the record in v2", || {
        same(etcd.keys_v2(&folder)?, wanted.clone())
    });
    wait_for("the record in v3", || same(etcd.keys(&folder)?, wanted.clone()));
    web.remove();

    wait_for("no record in v2", || same(etcd.keys_v2(&folder)?, pairs([])));
    wait_for("no record in v3", || same(etcd.keys(&folder)?, pairs([])));
}

#[test]
fn an_id_that_is_no_dns_name_is_refused_with_the_setting_that_helps() {
    let etcd = Etcd::start();
    let (service, host) = (unique("colons"), unique("host"));
    let registrator = registrator(&host, &[], &format!("skydns2://{}/cluster.local", etcd.address()));
    let web = whoami(&service);

    wait_for("the registrator to say what is wrong", || {
        let said = registrator.said();
        let told = |line: &str| line.contains(web.name()) && line.contains("key=\"SERVICE_ID\"");
        if said.lines().any(told) { Ok(()) } else { Err(said) }
    });
    assert_eq!(
        etcd.keys(&format!("/skydns/local/cluster/{service}")),
        Ok(pairs([]))
    );
}

#[test]
fn a_registrator_that_was_killed_finds_its_entries_again_and_touches_nothing_else() {
    let etcd = Etcd::start();
    let (service, host) = (unique("again"), unique("host"));
    let others = pairs([
        (
            format!("/services/{service}/elsewhere:web:80"),
            "10.9.9.9:80".to_owned(),
        ),
        (format!("/services/{service}/by-hand"), "10.9.9.9:81".to_owned()),
        (format!("/services/{service}"), "no folder".to_owned()),
        ("/services/readme".to_owned(), "written by people".to_owned()),
        ("/elsewhere/key".to_owned(), "value".to_owned()),
    ]);
    for (key, value) in &others {
        etcd.ctl(3, &["put", key, value]).expect("etcd answers");
    }
    let uri = format!("etcd://{}/services", etcd.address());
    let (stays, goes) = (whoami(&service), whoami(&service));
    let killed = registrator(&host, &["-cleanup"], &uri);
    let with_others = |ours: Vec<(String, String)>| -> BTreeMap<String, String> {
        let below = format!("/services/{service}/");
        let others = others
            .clone()
            .into_iter()
            .filter(|(key, _)| key.starts_with(&below));
        others.chain(ours).collect()
    };
    let first = with_others(vec![pair(&service, &host, &stays), pair(&service, &host, &goes)]);
    await_keys(&etcd, &service, &first);
    let kept = pair(&service, &host, &stays).0;
    let before = field(&etcd, &kept, "ModRevision");

    killed.kill();
    goes.remove();
    let comes = whoami(&service);
    let _again = registrator(&host, &["-cleanup"], &uri);

    let second = with_others(vec![pair(&service, &host, &stays), pair(&service, &host, &comes)]);
    await_keys(&etcd, &service, &second);
    assert_eq!(
        field(&etcd, &kept, "ModRevision"),
        before,
        "what was right is not written again"
    );
    let now = etcd.keys("/").expect("etcd answers");
    for (key, value) in &others {
        assert_eq!(now.get(key), Some(value), "{key}");
    }
}

#[test]
fn a_registrator_that_was_killed_finds_its_entries_in_v2_again() {
    let etcd = Etcd::with_v2();
    let (service, host) = (unique("again"), unique("host"));
    let other = (format!("/services/{service}/by-hand"), "10.9.9.9:81".to_owned());
    etcd.ctl(2, &["set", &other.0, &other.1]).expect("etcd answers");
    let uri = format!("etcd://{}/services?api=2", etcd.address());
    let (stays, goes) = (whoami(&service), whoami(&service));
    let killed = registrator(&host, &[], &uri);
    let first = pairs([
        other.clone(),
        pair(&service, &host, &stays),
        pair(&service, &host, &goes),
    ]);
    await_keys_v2(&etcd, &service, &first);
    let modified = || {
        let shown = etcd.ctl(2, &["-o", "extended", "get", &pair(&service, &host, &stays).0])?;
        let line = shown.lines().find(|line| line.starts_with("Modified-Index"));
        line.map(str::to_owned).ok_or(shown)
    };
    let before = modified();

    killed.kill();
    goes.remove();
    let comes = whoami(&service);
    let _again = registrator(&host, &[], &uri);

    await_keys_v2(
        &etcd,
        &service,
        &pairs([
            other,
            pair(&service, &host, &stays),
            pair(&service, &host, &comes),
        ]),
    );
    assert_eq!(modified(), before, "what was right is not written again");
}

/// L35.
#[test]
fn an_etcd_that_was_away_is_brought_up_to_date_soon_after_its_return() {
    let mut etcd = Etcd::start();
    let (service, host) = (unique("away"), unique("host"));
    let mut registrator = registrator(&host, &[], &format!("etcd://{}/services", etcd.address()));
    let (stays, goes) = (whoami(&service), whoami(&service));
    await_keys(
        &etcd,
        &service,
        &pairs([pair(&service, &host, &stays), pair(&service, &host, &goes)]),
    );

    etcd.kill();
    goes.remove();
    let comes = whoami(&service);
    wait_for("the registrator to have tried in vain", || {
        let said = registrator.said();
        if said.contains("cannot be reached") {
            Ok(())
        } else {
            Err(said)
        }
    });
    etcd.again();

    let wanted = pairs([pair(&service, &host, &stays), pair(&service, &host, &comes)]);
    let prefix = format!("/services/{service}/");
    wait_at_most(Duration::from_secs(5), "the keys to be right", || {
        same(etcd.keys(&prefix)?, wanted.clone())
    });
    registrator.assert_calm();
}

/// L36.
#[test]
fn an_etcd_that_lost_everything_is_filled_again_within_seconds() {
    for (mut etcd, api) in [(Etcd::start(), 3), (Etcd::with_v2(), 2)] {
        let (service, host) = (unique("lost"), unique("host"));
        let uri = format!("etcd://{}/services?api={api}", etcd.address());
        let _registrator = registrator(&host, &[], &uri);
        let web = whoami(&service);
        let wanted = pairs([pair(&service, &host, &web)]);
        let folder = format!("/services/{service}");
        let keys = |etcd: &Etcd| {
            if api == 3 {
                etcd.keys(&folder)
            } else {
                etcd.keys_v2(&folder)
            }
        };
        wait_for("the key", || same(keys(&etcd)?, wanted.clone()));

        etcd.kill();
        // Nobody has anything to write meanwhile.
        std::thread::sleep(Duration::from_secs(3));
        etcd.again_without_its_data();

        let back = std::time::Instant::now();
        wait_at_most(SOON, "the key to be back", || same(keys(&etcd)?, wanted.clone()));
        println!("v{api}: there again {:?} after it was back", back.elapsed());
    }
}

#[test]
fn a_key_that_somebody_removes_comes_back_at_once() {
    let etcd = Etcd::start();
    let (service, host) = (unique("removed"), unique("host"));
    let _registrator = registrator(&host, &[], &format!("etcd://{}/services", etcd.address()));
    let web = whoami(&service);
    let wanted = pairs([pair(&service, &host, &web)]);
    await_keys(&etcd, &service, &wanted);

    etcd.ctl(3, &["del", "--prefix", "/services/"])
        .expect("etcd answers");

    await_keys(&etcd, &service, &wanted);
}

#[test]
fn of_two_registrators_that_want_one_key_the_first_keeps_it_and_the_other_says_so() {
    let etcd = Etcd::start();
    let (service, id) = (unique("rivals"), unique("id"));
    let uri = format!("etcd://{}/services", etcd.address());
    let image = machine().container("lictor-whoami");
    let web = image
        .label("SERVICE_NAME", &service)
        .label("SERVICE_ID", &id)
        .start();
    let key = format!("/services/{service}/{id}");
    let _first = registrator(&unique("first"), &["-owner=first"], &uri);
    await_keys(&etcd, &service, &pairs([(key.clone(), address(&web))]));
    let lease = field(&etcd, &key, "Lease");

    let second = registrator(&unique("second"), &["-owner=second"], &uri);

    wait_for("the second to say so", || {
        let said = second.said();
        let told = |line: &str| line.contains(web.name()) && line.contains("somebody else has the id");
        if said.lines().any(told) { Ok(()) } else { Err(said) }
    });
    assert_eq!(field(&etcd, &key, "Lease"), lease);
}

#[test]
fn who_comes_back_after_its_entry_ended_leaves_it_to_who_has_the_key_by_now() {
    for (etcd, api) in [(Etcd::start(), 3), (Etcd::with_v2(), 2)] {
        let (service, id) = (unique("taken"), unique("id"));
        let image = machine().container("lictor-whoami");
        let image = image.label("SERVICE_NAME", &service).label("SERVICE_ID", &id);
        let web = image.start();
        let uri = format!("etcd://{}/services?api={api}", etcd.address());
        let only = format!("-filter=name={}", web.name());
        let registrator = |who: &str, ip: &str| {
            let (owner, ip) = (format!("-owner={who}"), format!("-ip={ip}"));
            let life = ["-ttl=4", "-ttl-refresh=1", "-resync=1"];
            let command = [&["registrator", &owner, &ip, &only], &life[..], &[&uri]].concat();
            agent().command(&command).start_parts(&[])
        };
        let folder = format!("/services/{service}");
        let keys = || match api {
            3 => etcd.keys(&folder),
            _ => etcd.keys_v2(&folder),
        };
        let at = |ip: &str| {
            let place = format!("{ip}:{}", web.published(8000));
            pairs([(format!("{folder}/{id}"), place)])
        };
        let first = registrator("first", "192.0.2.1");
        wait_for("the key", || same(keys()?, at("192.0.2.1")));
        first.kill();
        wait_for("its end", || same(keys()?, pairs([])));
        let _second = registrator("second", "192.0.2.2");
        let taken = at("192.0.2.2");
        wait_for("the key of the second", || same(keys()?, taken.clone()));

        let again = registrator("first", "192.0.2.1");

        wait_for("the first to say whose it is", || {
            let said = again.said();
            if said.contains("somebody else has the id") {
                Ok(())
            } else {
                Err(said)
            }
        });
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            assert_eq!(keys().as_ref(), Ok(&taken));
        }
    }
}

#[test]
fn what_does_not_pass_is_not_there() {
    let etcd = Etcd::start();
    let (service, host) = (unique("paused"), unique("host"));
    let _registrator = registrator(&host, &[], &format!("etcd://{}/services", etcd.address()));
    let web = whoami(&service);
    let wanted = pairs([pair(&service, &host, &web)]);
    await_keys(&etcd, &service, &wanted);

    machine().docker(&["pause", web.name()]).expect("it runs");
    await_keys(&etcd, &service, &pairs([]));
    machine().docker(&["unpause", web.name()]).expect("it is paused");

    await_keys(&etcd, &service, &wanted);
}

#[test]
fn two_registrators_share_a_path_and_neither_touches_what_the_other_wrote() {
    for (etcd, api) in [(Etcd::start(), 3), (Etcd::with_v2(), 2)] {
        let (service, one, other) = (unique("shared"), unique("one"), unique("other"));
        let uri = format!("etcd://{}/services?api={api}", etcd.address());
        let (stays, goes) = (whoami(&service), whoami(&service));
        let gone = registrator(&one, &["-cleanup", "-owner=one"], &uri);
        let _there = registrator(&other, &["-cleanup", "-owner=other"], &uri);
        let folder = format!("/services/{service}");
        let keys = || {
            if api == 3 {
                etcd.keys(&folder)
            } else {
                etcd.keys_v2(&folder)
            }
        };
        let all = [(&one, &stays), (&one, &goes), (&other, &stays), (&other, &goes)];
        let wanted = pairs(all.map(|(host, web)| pair(&service, host, web)));
        wait_for("the keys of both", || same(keys()?, wanted.clone()));

        gone.kill();
        let comes = whoami(&service);
        goes.stop();

        // What nobody looks after any more stays as it was.
        let left = pair(&service, &one, &stays);
        let wanted = pairs([
            left,
            pair(&service, &other, &stays),
            pair(&service, &other, &comes),
        ]);
        wait_for("the keys of the other to be right", || {
            let mut keys = keys()?;
            let ghost = keys.remove(&format!("/services/{service}/{one}:{}:8000", goes.name()));
            same((keys, ghost.is_some()), (wanted.clone(), true))
        });
    }
}

#[test]
fn the_agent_writes_to_etcd_beside_its_own_catalog() {
    let etcd = Etcd::start();
    let service = unique("both");
    let also = format!("-registrator.also=etcd://{}/services", etcd.address());
    let agent = agent().flag(&also).start();
    let web = whoami(&service);

    agent.await_passing(&service, 1);
    await_keys(&etcd, &service, &pairs([pair(&service, agent.node(), &web)]));
}

/// L2, R13, R25.
#[test]
fn with_a_lifetime_entries_live_while_they_are_renewed_and_end_with_the_registrator() {
    let etcd = Etcd::start();
    let (service, host) = (unique("lease"), unique("host"));
    let uri = format!("etcd://{}/services", etcd.address());
    let registrator = registrator(&host, &["-ttl=4", "-ttl-refresh=1"], &uri);
    let web = whoami(&service);
    let wanted = pairs([pair(&service, &host, &web)]);
    await_keys(&etcd, &service, &wanted);
    let key = pair(&service, &host, &web).0;
    let written = field(&etcd, &key, "ModRevision");
    let lease = format!("{:x}", field(&etcd, &key, "Lease").expect("it has a lease"));
    let granted = etcd
        .ctl(3, &["lease", "timetolive", &lease])
        .expect("etcd answers");
    assert!(granted.contains("granted with TTL(4s)"), "{granted}");

    // Longer than its lifetime, read at each moment: never gone, never written.
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        assert_eq!(field(&etcd, &key, "ModRevision"), written);
    }
    // All keys are lost with it, and back at once.
    etcd.ctl(3, &["lease", "revoke", &lease]).expect("it is there");
    wait_at_most(Duration::from_secs(3), "the key to be back", || {
        let prefix = format!("/services/{service}/");
        same(etcd.keys(&prefix)?, wanted.clone())
    });

    registrator.kill();

    await_keys(&etcd, &service, &pairs([]));
}

#[test]
fn a_lifetime_that_is_set_later_holds_for_what_is_there() {
    for (etcd, api) in [(Etcd::start(), 3), (Etcd::with_v2(), 2)] {
        let (service, host) = (unique("later"), unique("host"));
        let uri = format!("etcd://{}/services?api={api}", etcd.address());
        let web = whoami(&service);
        let (key, value) = pair(&service, &host, &web);
        let get = || match api {
            3 => etcd.ctl(3, &["get", "--print-value-only", &key]),
            _ => etcd.ctl(2, &["get", &key]).or_else(|_| Ok(String::new())),
        };
        let without = registrator(&host, &[], &uri);
        wait_for("the key", || same(get()?, value.clone()));
        without.kill();

        let with = registrator(&host, &["-ttl=3", "-ttl-refresh=1"], &uri);
        wait_for("the key to have a lifetime", || match api {
            3 => {
                let lease = format!("{:x}", field(&etcd, &key, "Lease")?);
                let granted = etcd.ctl(3, &["lease", "timetolive", &lease])?;
                same(granted.contains("granted with TTL(3s)"), true)
            }
            _ => same(
                etcd.ctl(2, &["-o", "extended", "get", &key])?
                    .contains("\nTTL: 0\n"),
                false,
            ),
        });
        assert_eq!(get(), Ok(value));
        with.kill();

        wait_for("its end", || same(get()?, String::new()));
    }
}

#[test]
fn what_the_original_left_for_this_host_is_taken_over_or_cleaned_up() {
    let etcd = Etcd::start();
    let (service, host) = (unique("left"), unique("host"));
    let web = whoami(&service);
    let (key, value) = pair(&service, &host, &web);
    let ghost = format!("/services/{service}/{host}:ghost:80");
    let custom = format!("/services/{service}/custom");
    for (key, value) in [
        (&key, "10.9.9.9:1"),
        (&ghost, "10.9.9.9:2"),
        (&custom, "10.9.9.9:3"),
    ] {
        etcd.ctl(3, &["put", key, value]).expect("etcd answers");
    }
    let uri = format!("etcd://{}/services", etcd.address());

    let without = registrator(&host, &[], &uri);
    let other = (custom, "10.9.9.9:3".to_owned());
    let mine = (key, value);
    await_keys(
        &etcd,
        &service,
        &pairs([mine.clone(), (ghost, "10.9.9.9:2".to_owned()), other.clone()]),
    );
    without.kill();

    let _with = registrator(&host, &["-cleanup"], &uri);
    await_keys(&etcd, &service, &pairs([mine, other]));
}

#[test]
fn a_key_that_somebody_else_wrote_is_not_overwritten() {
    let etcd = Etcd::start();
    let (service, host, id) = (unique("taken"), unique("host"), unique("id"));
    let key = format!("/services/{service}/{id}");
    etcd.ctl(3, &["put", &key, "10.9.9.9:1"]).expect("etcd answers");
    let registrator = registrator(&host, &[], &format!("etcd://{}/services", etcd.address()));
    let image = machine().container("lictor-whoami");
    let web = image
        .label("SERVICE_NAME", &service)
        .label("SERVICE_ID", &id)
        .start();

    wait_for("the registrator to say so", || {
        let said = registrator.said();
        let told = |line: &str| line.contains(&key) && line.contains("somebody else");
        if said.lines().any(told) { Ok(()) } else { Err(said) }
    });
    assert_eq!(
        etcd.keys(&key),
        Ok(pairs([(key.clone(), "10.9.9.9:1".to_owned())]))
    );
    web.remove();
    etcd.ctl(3, &["del", &key]).expect("etcd answers");
}

#[test]
fn renewing_a_lifetime_of_v2_wakes_nobody_who_watches() {
    let etcd = Etcd::with_v2();
    let (service, host) = (unique("quiet"), unique("host"));
    let uri = format!("etcd://{}/services?api=2", etcd.address());
    let registrator = registrator(&host, &["-ttl=3", "-ttl-refresh=1"], &uri);
    let web = whoami(&service);
    let wanted = pairs([pair(&service, &host, &web)]);
    await_keys_v2(&etcd, &service, &wanted);

    let mut watcher = Watcher::of_v2(&etcd, &format!("/services/{service}"));
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        assert_eq!(etcd.keys_v2(&format!("/services/{service}")), Ok(wanted.clone()));
    }
    assert!(!watcher.was_woken(), "nothing has happened but renewals");
    registrator.kill();

    await_keys_v2(&etcd, &service, &pairs([]));
    wait_for("the watcher to hear of the end", || {
        same(watcher.was_woken(), true)
    });
}

/// `etcdctl watch`, which ends with the first change.
struct Watcher(Child);

impl Watcher {
    fn of_v2(etcd: &Etcd, folder: &str) -> Self {
        let child = Command::new("etcdctl")
            .env("ETCDCTL_API", "2")
            .arg(format!("--endpoints=http://{}", etcd.address()))
            .args(["watch", "--recursive", folder])
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("etcdctl is there"))
    }

    fn was_woken(&mut self) -> bool {
        self.0.try_wait().expect("the child is ours").is_some()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Turns users on: `reg`, who may read and write below `/services/` and nowhere else.
fn with_users(etcd: &Etcd) {
    for command in [
        "user add root:secret",
        "user grant-role root root",
        "user add reg:p@ss:w/rd",
        "role add registrator",
        "role grant-permission --prefix registrator readwrite /services/",
        "user grant-role reg registrator",
        "auth enable",
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        etcd.ctl(3, &words)
            .unwrap_or_else(|reason| panic!("{command}: {reason}"));
    }
}

#[test]
fn a_user_with_rights_below_the_path_is_enough_and_logs_in_again_when_its_token_is_forgotten() {
    let mut etcd = Etcd::start();
    with_users(&etcd);
    let (service, host) = (unique("user"), unique("host"));
    let uri = format!("etcd://reg:p%40ss%3Aw%2Frd@{}/services", etcd.address());
    let registrator = registrator(&host, &[], &uri);
    let first = whoami(&service);
    let keys = |etcd: &Etcd| etcd.keys_as("root:secret", &format!("/services/{service}/"));
    let wanted = pairs([pair(&service, &host, &first)]);
    wait_for("the key", || same(keys(&etcd)?, wanted.clone()));

    // Tokens are in memory there.
    etcd.kill();
    etcd.again();
    let second = whoami(&service);

    let wanted = pairs([pair(&service, &host, &first), pair(&service, &host, &second)]);
    wait_for("both keys", || same(keys(&etcd)?, wanted.clone()));
    let (key, _) = pair(&service, &host, &first);
    etcd.ctl_as("root:secret", &["del", &key]).expect("etcd answers");
    wait_for("the removed key to be back", || {
        same(keys(&etcd)?, wanted.clone())
    });
    let said = registrator.said();
    assert!(
        !said.contains("p@ss") && !said.contains("p%40ss"),
        "a password is never shown:\n{said}"
    );
}

#[test]
fn v2_is_written_with_the_password_of_a_user() {
    let etcd = Etcd::with_v2();
    for command in [
        "user add root:secret",
        "auth enable",
        "-u root:secret role remove guest",
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        etcd.ctl(2, &words)
            .unwrap_or_else(|reason| panic!("{command}: {reason}"));
    }
    let (service, host) = (unique("basic"), unique("host"));
    let at = etcd.address();
    let command = [
        "registrator",
        "-ip=127.0.0.1",
        &format!("etcd://{at}/services?api=2"),
    ];
    let (code, said) = agent().command(&command).finish();
    assert_eq!(code, 1, "{said}");
    let _registrator = registrator(&host, &[], &format!("etcd://root:secret@{at}/services?api=2"));
    let web = whoami(&service);

    let (key, value) = pair(&service, &host, &web);
    wait_for("the key", || {
        same(etcd.ctl(2, &["-u", "root:secret", "get", &key])?, value.clone())
    });
}

#[test]
fn a_wrong_password_is_an_error_that_says_so() {
    let etcd = Etcd::start();
    with_users(&etcd);
    for (credentials, wanted) in [("reg:wrong@", "user \"reg\""), ("", "user name is empty")] {
        let uri = format!("etcd://{credentials}{}/services", etcd.address());
        let command = ["registrator", "-ip=127.0.0.1", "-retry-attempts=0", &uri];

        let (code, said) = agent().command(&command).finish();

        assert_eq!(code, 1, "{said}");
        assert!(said.contains(wanted), "{said}");
        assert!(!said.contains(":wrong@"), "{said}");
    }
}

#[test]
fn an_etcd_behind_tls_is_reached_with_the_right_certificates_and_with_no_others() {
    let etcd = Etcd::behind_tls();
    let (service, host) = (unique("tls"), unique("host"));
    let [authority, certificate, key] =
        ["ca", "cert", "key"].map(|name| format!("{name}={}", etcd.pem(name)));
    let uri = |query: &str| format!("etcd://{}/services?{query}", etcd.address());
    let _registrator = registrator(&host, &[], &uri(&format!("{authority}&{certificate}&{key}")));
    let web = whoami(&service);
    await_keys(&etcd, &service, &pairs([pair(&service, &host, &web)]));

    for (query, wanted) in [
        ("tls=true", "UnknownIssuer"),
        (&authority, "alert"),
        ("tls=false", "connection closed"),
    ] {
        let command = ["registrator", "-ip=127.0.0.1", "-retry-attempts=0", &uri(query)];

        let (code, said) = agent().command(&command).finish();

        assert_eq!(code, 1, "{query}: {said}");
        assert!(said.contains(wanted), "{query}: {said}");
    }
}

#[test]
fn of_two_members_one_may_be_dead() {
    let mut etcd = Etcd::start();
    let mut dead = Etcd::start();
    let (service, host) = (unique("two"), unique("host"));
    dead.kill();
    let uri = format!("etcd://{},{}/services", dead.address(), etcd.address());
    let _registrator = registrator(&host, &[], &uri);
    let first = whoami(&service);
    await_keys(&etcd, &service, &pairs([pair(&service, &host, &first)]));

    // The other way round, while it runs: what was dead serves, and knows nothing yet.
    dead.again();
    etcd.kill();

    await_keys(&dead, &service, &pairs([pair(&service, &host, &first)]));
}
