//! Whose an entry is, in registries that have no place for it: by a mark that is no name of a host.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::harness::{Agent, Builder, Container, Etcd, Node, Watcher, ZooKeeper, agent, http};
use crate::harness::{machine, same, unique, wait_for};

/// Longer than three comparisons of a registrator of these tests.
const A_WHILE: Duration = Duration::from_secs(4);

/// A registry that is empty at first.
enum Place {
    /// By the API of this number.
    Etcd(Box<Etcd>, u8),
    Keys(Agent),
    Nodes(ZooKeeper),
}

/// One of each kind, to be started when its turn has come.
const EACH: [fn() -> Place; 4] = [
    || Place::Etcd(Box::new(Etcd::start()), 3),
    || Place::Etcd(Box::new(Etcd::with_v2()), 2),
    || {
        let dev = ["agent", "-dev", "-http-port=0", "-dns-port=-1"];
        let parts = ["-proxy=false", "-registrator=false"];
        Place::Keys(
            agent()
                .command(&[&dev[..], &parts].concat())
                .start_parts(&["http"]),
        )
    },
    // Sessions outlive the test: what is right is so because it was found, not because it timed out.
    || {
        Place::Nodes(ZooKeeper::start_with(
            "minSessionTimeout=60000\nmaxSessionTimeout=60000",
        ))
    },
];

impl Place {
    fn uri(&self) -> String {
        match self {
            Self::Etcd(etcd, api) => format!("etcd://{}/services?api={api}", etcd.address()),
            Self::Keys(consul) => format!("consulkv://{}/services", consul.http()),
            Self::Nodes(zookeeper) => format!("zookeeper://{}/services", zookeeper.address()),
        }
    }

    /// A registrator of this host and address, which sees only containers of its own machine.
    fn registrator(&self, (host, ip, machine): (&str, &str, &str), flags: &[&str]) -> Agent {
        self.builder((host, ip, machine), flags).start_parts(&[])
    }

    fn builder(&self, (host, ip, machine): (&str, &str, &str), flags: &[&str]) -> Builder {
        let (host, ip) = (format!("-hostname={host}"), format!("-ip={ip}"));
        let filter = format!("-filter=label=machine={machine}");
        let uri = self.uri();
        let command = [&["registrator", "-resync=1", &host, &ip, &filter], flags, &[&uri]].concat();
        agent().command(&command)
    }

    /// What the entries of a service say, by their names below it.
    fn entries(&self, service: &str) -> Result<BTreeMap<String, String>, String> {
        let folder = format!("/services/{service}");
        let all = match self {
            Self::Etcd(etcd, 3) => etcd.keys(&folder)?,
            Self::Etcd(etcd, _) => etcd.keys_v2(&folder)?,
            Self::Keys(_) => {
                let all = self.pairs(service)?.into_iter();
                all.map(|(key, (value, _))| (format!("/{key}"), value)).collect()
            }
            Self::Nodes(_) => {
                let all = self.nodes(&folder)?.into_iter();
                all.map(|(path, node)| (path, node.data)).collect()
            }
        };
        let name = |key: &str| Some(key.strip_prefix(&folder)?.strip_prefix('/')?.to_owned());
        Ok(all
            .into_iter()
            .filter_map(|(key, value)| Some((name(&key)?, value)))
            .collect())
    }

    /// Keys of Consul with their values and flags.
    fn pairs(&self, service: &str) -> Result<BTreeMap<String, (String, u64)>, String> {
        let Self::Keys(consul) = self else {
            return Err("no Consul".to_owned());
        };
        let answer = http::get(consul.http(), "/v1/kv/services/?keys").send()?;
        if answer.status == 404 {
            return Ok(BTreeMap::new());
        }
        let mut keys: Vec<String> = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
        keys.retain(|key| key.starts_with(&format!("services/{service}/")));
        let read = |key: String| {
            let value = http::get(consul.http(), &format!("/v1/kv/{key}?raw")).ok()?;
            let pair = http::get(consul.http(), &format!("/v1/kv/{key}")).json()?;
            Ok((key, (value, pair[0]["Flags"].as_u64().unwrap_or_default())))
        };
        keys.into_iter().map(read).collect()
    }

    fn nodes(&self, path: &str) -> Result<BTreeMap<String, Node>, String> {
        match self {
            Self::Nodes(zookeeper) => zookeeper.tree(path),
            _ => Err("no ZooKeeper".to_owned()),
        }
    }

    /// What the entry of a container is called.
    fn name(&self, (host, ip): (&str, &str), container: &Container<'_>) -> String {
        match self {
            Self::Nodes(_) => format!("{ip}:{}", container.published(8000)),
            _ => format!("{host}:{}:8000", container.name()),
        }
    }

    /// Whose an entry is, in the registry's own words.
    fn mark(&self, service: &str, name: &str) -> Result<String, String> {
        let key = format!("/services/{service}/{name}");
        match self {
            Self::Etcd(etcd, 3) => {
                let shown = etcd.ctl(3, &["get", &key, "-w", "fields"])?;
                let lease = shown.lines().find_map(|line| line.strip_prefix("\"Lease\" : "));
                lease.map(str::to_owned).ok_or(shown)
            }
            Self::Etcd(etcd, _) => {
                let all = etcd.ctl(2, &["ls", "--recursive", "/services/_lictor"])?;
                let marks: Vec<&str> = all.lines().filter(|line| line.ends_with(name)).collect();
                Ok(marks.join(" "))
            }
            Self::Keys(_) => {
                let flags = self
                    .pairs(service)?
                    .get(&key[1..])
                    .map(|(_, flags)| flags.to_string());
                flags.ok_or_else(|| "it is missing".to_owned())
            }
            Self::Nodes(_) => {
                let session = self.nodes(&key)?.get(&key).map(|node| node.session.to_string());
                session.ok_or_else(|| "it is missing".to_owned())
            }
        }
    }

    /// Writes an entry as a registrator would that marks what it writes with the name of this host.
    fn write(&self, host: &str, service: &str, (name, value): (&str, &str), like: &str) -> Option<Watcher> {
        let key = format!("/services/{service}/{name}");
        let mark = self.mark(service, like).expect("it is there");
        match self {
            Self::Etcd(etcd, 3) => {
                let lease: i64 = mark.parse().expect("a number");
                let put = ["put", &format!("--lease={lease:x}"), &key, value];
                etcd.ctl(3, &put).expect("etcd answers");
            }
            Self::Etcd(etcd, _) => {
                let marked = format!("/services/_lictor/{host}/{service}%2F{name}");
                for key in [&marked, &key] {
                    etcd.ctl(2, &["set", key, value]).expect("etcd answers");
                }
            }
            Self::Keys(consul) => {
                let path = format!("/v1/kv{key}?flags={mark}");
                http::put_text(consul.http(), &path, value).ok().expect("a write");
            }
            Self::Nodes(zookeeper) => {
                let held = zookeeper.hold(&key, value);
                let session: i64 = self.mark(service, name).ok()?.parse().ok()?;
                let note = format!("/services/_lictor/{host}");
                let before = self.nodes(&note).expect("it answers")[&note].data.clone();
                zookeeper.put(&note, &format!("{before}{session:#x}\n"));
                return Some(held);
            }
        }
        None
    }

    fn await_names(&self, service: &str, mut wanted: Vec<String>) {
        wanted.sort();
        wait_for(&format!("the entries in {}", self.uri()), || {
            same(self.entries(service)?.into_keys().collect(), wanted.clone())
        });
    }
}

fn whoami(service: &str, of: &str) -> Container<'static> {
    let image = machine().container("lictor-whoami");
    image.label("SERVICE_NAME", service).label("machine", of).start()
}

#[test]
fn a_registrator_that_gets_another_host_name_finds_its_entries_in_every_registry() {
    for start in EACH {
        let place = start();
        let (service, here, ip) = (unique("renamed"), unique("machine"), "192.0.2.1");
        let (stays, goes) = (whoami(&service, &here), whoami(&service, &here));
        let first = place.registrator(("before", ip, &here), &[]);
        let before = [&stays, &goes].map(|web| place.name(("before", ip), web));
        place.await_names(&service, before.to_vec());

        first.kill();
        goes.remove();
        let comes = whoami(&service, &here);
        let _second = place.registrator(("after", ip, &here), &[]);

        let after = [&stays, &comes].map(|web| place.name(("after", ip), web));
        place.await_names(&service, after.to_vec());
    }
}

#[test]
fn of_two_hosts_of_one_name_neither_removes_what_the_other_registered_in_any_registry() {
    for start in EACH {
        let place = start();
        let (service, host) = (unique("twins"), unique("host"));
        let (one, other) = (unique("one"), unique("other"));
        let (one, other) = ((&*host, "192.0.2.1", &*one), (&*host, "192.0.2.2", &*other));
        let flags = ["-cleanup"];
        let gone = place.registrator(one, &flags);
        let id = tempfile::NamedTempFile::new().expect("/tmp is writable");
        std::fs::write(id.path(), "00112233445566778899aabbccddeeff\n").expect("it is ours");
        let there = place.builder(other, &flags).on_machine(id.path());
        let _there = there.start_parts(&[]);
        let (stays, goes, others) = (
            whoami(&service, one.2),
            whoami(&service, one.2),
            whoami(&service, other.2),
        );
        let name = |of: (&str, &str, &str), web: &Container<'_>| place.name((of.0, of.1), web);
        let (stayed, went) = (name(one, &stays), name(one, &goes));
        place.await_names(&service, vec![stayed.clone(), went.clone(), name(other, &others)]);

        gone.kill();
        goes.remove();
        others.remove();
        let comes = whoami(&service, other.2);
        let came = name(other, &comes);

        // What nobody looks after any more stays as it was, however often the other looks.
        let all = vec![stayed.clone(), went, came.clone()];
        place.await_names(&service, all.clone());
        let began = Instant::now();
        while began.elapsed() < A_WHILE {
            let entries = place.entries(&service).expect("it answers");
            assert_eq!(entries.len(), all.len(), "{}: {entries:?}", place.uri());
        }
        let _again = place.registrator(one, &flags);
        place.await_names(&service, vec![stayed, came]);
    }
}

#[test]
fn what_an_older_version_left_under_the_host_name_is_taken_over_where_a_container_here_has_it() {
    for start in EACH {
        let place = start();
        let (service, host, ip, here) = (unique("older"), unique("host"), "192.0.2.1", unique("machine"));
        let as_before = format!("-owner={host}");
        let (stays, goes) = (whoami(&service, &here), whoami(&service, &here));
        let [stayed, went] = [&stays, &goes].map(|web| place.name((&host, ip), web));
        let older = place.registrator((&host, ip, &here), &[&as_before]);
        place.await_names(&service, vec![stayed.clone(), went.clone()]);
        let before = place.mark(&service, &stayed).expect("it is there");

        // Meanwhile another host of that name registers what this one wants to, and more.
        older.kill();
        goes.remove();
        let rival = whoami(&service, &here);
        let rivals = place.name((&host, ip), &rival);
        let further = match place {
            Place::Nodes(_) => "192.0.2.9:80".to_owned(),
            _ => format!("{host}:elsewhere:8000"),
        };
        let theirs = match place {
            Place::Nodes(_) => r#"{"ContainerID":"theirs"}"#,
            _ => "192.0.2.9:80",
        };
        let _held = [&rivals, &further].map(|name| place.write(&host, &service, (name, theirs), &stayed));
        let newer = place.registrator((&host, ip, &here), &[]);

        wait_for("the mark of now", || match place.mark(&service, &stayed)? {
            same if same == before => Err(same),
            _ => Ok(()),
        });
        wait_for("it to say whose the other is", || {
            let said = newer.said();
            let told = ["somebody else has the id", "which is not ours"];
            let told = |line: &str| line.contains(&rivals) && told.iter().any(|words| line.contains(words));
            if said.lines().any(told) { Ok(()) } else { Err(said) }
        });
        place.await_names(
            &service,
            vec![stayed.clone(), went.clone(), rivals.clone(), further.clone()],
        );
        stays.remove();
        place.await_names(&service, vec![went, rivals.clone(), further.clone()]);
        let entries = place.entries(&service).expect("it answers");
        for name in [rivals, further] {
            assert_eq!(entries[&name], theirs, "{}", place.uri());
        }
    }
}
