//! Transcripts of the catalog: commands in, everything observable out.
//!
//! `REWRITE=1 cargo test -p catalog --test golden` writes the answers anew; read the diff.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use catalog::check::CheckSpec;
use catalog::command::{KvCommand, Record, Target};
use catalog::node::NodeSpec;
use catalog::{Answer, Check, Command, Instance, ServiceSpec, State};
use datadriven::TestCase;

#[test]
fn transcripts_hold() {
    datadriven::walk("tests/golden", |file| {
        let mut state = State::new();
        file.run(|case| match answer(&mut state, case) {
            Ok(text) => text,
            Err(error) => format!("error in the transcript: {error}\n"),
        });
    });
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn answer(state: &mut State, case: &mut TestCase) -> Outcome<String> {
    let text = match case.directive.clone().as_str() {
        "register" => apply(state, &register(case)?),
        "deregister" => apply(state, &deregister(case)?),
        "put" | "delete" => apply(state, &kv(case)?),
        "reap" => apply(
            state,
            &Command::ReapTombstones {
                up_to: case.take_arg("up-to")?,
            },
        ),
        "nodes" => rows(&state.nodes(), |nodes| {
            nodes
                .iter()
                .map(|node| {
                    format!(
                        "{} {} {}..{}",
                        node.spec.name, node.spec.address, node.created, node.modified
                    )
                })
                .collect()
        }),
        "node" => {
            let name: String = case.take_arg("name")?;
            rows(&state.services_on(&name), |found| match found {
                None => vec!["none".to_owned()],
                Some((node, services)) => {
                    let head = format!("{} {}", node.spec.name, node.spec.address);
                    let services = services
                        .iter()
                        .map(|s| format!("  {} {}..{}", s.spec.id, s.created, s.modified));
                    std::iter::once(head).chain(services).collect()
                }
            })
        }
        "services" => rows(&state.services(), |services| {
            services
                .iter()
                .map(|(name, tags)| format!("{name} {tags:?}"))
                .collect()
        }),
        "service" => {
            let name: String = case.take_arg("name")?;
            rows(&state.instances_of(&name), |found| {
                found.iter().map(|i| instance(i)).collect()
            })
        }
        "checks" => checks(state, case)?,
        "get" => {
            let key: String = case.take_arg("key")?;
            rows(&state.kv(&key), |entry| {
                vec![entry.as_ref().map_or("none".to_owned(), |entry| shown(entry))]
            })
        }
        "list" => {
            let prefix: String = case.try_take_arg("prefix")?.unwrap_or_default();
            rows(&state.kv_under(&prefix), |entries| {
                entries.iter().map(|entry| shown(entry)).collect()
            })
        }
        "picture" => state.picture().values().fold(String::new(), |mut out, i| {
            let _ = writeln!(out, "{}", instance(i));
            out
        }),
        other => return Err(format!("no directive {other}").into()),
    };
    case.expect_empty()?;
    Ok(text)
}

/// Applies as the owner of a state does: an index that nothing happened at is not used up.
fn apply(state: &mut State, command: &Command) -> String {
    let mut next = state.clone();
    let applied = next.apply(state.index() + 1, command);
    let reply = match applied.reply {
        Ok(reply) => format!("{reply:?}"),
        Err(refused) => format!("refused: {refused}"),
    };
    if applied.touched.is_empty() && !matches!(command, Command::ReapTombstones { .. }) {
        return format!("{reply}, nothing changed\n");
    }
    *state = next;
    let touched: Vec<_> = applied.touched.iter().map(|topic| format!("{topic:?}")).collect();
    format!("{reply} at {}\ntouched: {}\n", state.index(), touched.join(", "))
}

fn register(case: &mut TestCase) -> Outcome<Command> {
    let node = NodeSpec {
        id: case.try_take_arg("node-id")?.unwrap_or_default(),
        name: case.try_take_arg::<String>("node")?.unwrap_or_default().into(),
        address: case.try_take_arg("address")?.unwrap_or_default(),
        ..NodeSpec::default()
    };
    let name: Option<String> = case.try_take_arg("service")?;
    let id: Option<String> = case.try_take_arg("id")?;
    let tags = case.try_take_args("tags")?.unwrap_or_default();
    let port = case.try_take_arg("port")?.unwrap_or_default();
    let given = name.is_some() || id.is_some();
    let name = name.unwrap_or_default();
    let id = id.unwrap_or_else(|| name.clone());
    let service = ServiceSpec {
        id: id.into(),
        name: name.into(),
        tags,
        port,
        ..ServiceSpec::default()
    };
    let mut checks = Vec::new();
    if let Some(id) = case.try_take_arg::<String>("check")? {
        checks.push(CheckSpec {
            id: id.clone().into(),
            name: id,
            status: case.take_arg::<String>("status")?.parse()?,
            notes: String::new(),
            output: case.try_take_arg("output")?.unwrap_or_default(),
            service_id: case.try_take_arg::<String>("of")?.map(Into::into),
            kind: String::new(),
        });
    }
    let record = Record {
        node,
        skip_node_update: case.take_flag("skip-node-update")?,
        service: given.then_some(service),
        checks,
    };
    Ok(Command::Register(Box::new(record)))
}

fn deregister(case: &mut TestCase) -> Outcome<Command> {
    let node = case.take_arg::<String>("node")?.into();
    let service: Option<String> = case.try_take_arg("id")?;
    let check: Option<String> = case.try_take_arg("check")?;
    let target = match (service, check) {
        (Some(id), _) => Target::Service(id.into()),
        (None, Some(id)) => Target::Check(id.into()),
        (None, None) => Target::Node,
    };
    Ok(Command::Deregister { node, target })
}

fn kv(case: &mut TestCase) -> Outcome<Command> {
    let key = case.try_take_arg::<String>("key")?.unwrap_or_default().into();
    let expected = case.try_take_arg("cas")?;
    let command = if case.directive == "put" {
        let value = case.take_arg::<String>("value")?.into_bytes().into();
        let flags = case.try_take_arg("flags")?.unwrap_or_default();
        match expected {
            Some(expected) => KvCommand::Cas {
                key,
                value,
                flags,
                expected,
            },
            None => KvCommand::Set { key, value, flags },
        }
    } else {
        match (expected, case.try_take_arg::<String>("prefix")?) {
            (Some(expected), _) => KvCommand::DeleteCas { key, expected },
            (None, Some(prefix)) => KvCommand::DeleteTree {
                prefix: prefix.into(),
            },
            (None, None) => KvCommand::Delete { key },
        }
    };
    Ok(Command::Kv(command))
}

fn checks(state: &State, case: &mut TestCase) -> Outcome<String> {
    let all = |found: &Vec<std::sync::Arc<Check>>| found.iter().map(|c| check(c)).collect();
    Ok(if let Some(node) = case.try_take_arg::<String>("node")? {
        rows(&state.checks_on(&node), all)
    } else if let Some(service) = case.try_take_arg::<String>("service")? {
        rows(&state.checks_of(&service), all)
    } else {
        let status: Option<String> = case.try_take_arg("state")?;
        rows(
            &state.checks_in(status.map(|text| text.parse()).transpose()?),
            all,
        )
    })
}

fn rows<T>(answer: &Answer<T>, show: impl Fn(&T) -> Vec<String>) -> String {
    let mut out = format!("index {}\n", answer.index);
    for line in show(&answer.rows) {
        let _ = writeln!(out, "{line}");
    }
    out
}

fn check(check: &Check) -> String {
    let spec = &check.spec;
    let of = if check.service_name.is_empty() {
        "node".to_owned()
    } else {
        format!("{} {:?}", check.service_name, check.service_tags)
    };
    format!(
        "{}/{} {} of {of} {}..{}",
        check.node, spec.id, spec.status, check.created, check.modified
    )
}

fn instance(instance: &Instance) -> String {
    let spec = &instance.service.spec;
    let ids: BTreeSet<_> = instance
        .checks
        .iter()
        .map(|check| check.spec.id.to_string())
        .collect();
    format!(
        "{} {}/{} {}:{} {:?} {} {ids:?} {}..{}",
        spec.name,
        instance.node.spec.name,
        spec.id,
        instance.address(),
        spec.port,
        spec.tags,
        instance.status(),
        instance.service.created,
        instance.service.modified
    )
}

fn shown(entry: &catalog::kv::Entry) -> String {
    let value = String::from_utf8_lossy(&entry.value);
    format!(
        "{}={value} flags {} {}..{}",
        entry.key, entry.flags, entry.created, entry.modified
    )
}
