//! Properties that hold after any sequence of commands, on a small world where names collide.

use std::sync::Arc;

use catalog::check::CheckSpec;
use catalog::command::{KvCommand, Record, Target};
use catalog::node::NodeSpec;
use catalog::{Answer, Command, Interest, ServiceSpec, State, Status};
use proptest::prelude::*;

const NODES: [&str; 2] = ["n1", "N2"];
const IDS: [&str; 3] = ["a", "b", "c"];
const NAMES: [&str; 2] = ["web", "db"];
const KEYS: [&str; 4] = ["k", "k/a", "k/b", "l"];

fn command() -> impl Strategy<Value = Command> {
    let node = prop::sample::select(&NODES[..]);
    let service = (
        prop::sample::select(&IDS[..]),
        prop::sample::select(&NAMES[..]),
        0..2_u16,
    );
    let check = (
        prop::sample::select(&IDS[..]),
        0..3_usize,
        prop::option::of(prop::sample::select(&IDS[..])),
    );
    let register = (
        node.clone(),
        0..2_u8,
        any::<bool>(),
        prop::option::of(service),
        prop::option::of(check),
    );
    let target = prop_oneof![
        Just(Target::Node),
        prop::sample::select(&IDS[..]).prop_map(|id| Target::Service(id.into())),
        prop::sample::select(&IDS[..]).prop_map(|id| Target::Check(id.into())),
    ];
    prop_oneof![
        4 => register.prop_map(|(node, address, skip, service, check)| {
            let node = NodeSpec { name: node.into(), address: format!("10.0.0.{address}"), ..NodeSpec::default() };
            let service = service.map(|(id, name, port)| ServiceSpec {
                id: id.into(),
                name: name.into(),
                port,
                ..ServiceSpec::default()
            });
            let checks = check.into_iter().map(|(id, status, of)| checked(id, status, of)).collect();
            Command::Register(Box::new(Record { node, skip_node_update: skip, service, checks }))
        }),
        2 => (node, target).prop_map(|(node, target)| Command::Deregister { node: node.into(), target }),
        2 => kv().prop_map(Command::Kv),
    ]
}

fn checked(id: &str, status: usize, of: Option<&str>) -> CheckSpec {
    CheckSpec {
        id: id.into(),
        name: id.to_owned(),
        status: [Status::Passing, Status::Warning, Status::Critical][status],
        notes: String::new(),
        output: String::new(),
        service_id: of.map(Into::into),
        kind: String::new(),
    }
}

fn kv() -> impl Strategy<Value = KvCommand> {
    let key = prop::sample::select(&KEYS[..]);
    let value = prop::sample::select(vec!["1", "2"]);
    prop_oneof![
        (key.clone(), value.clone()).prop_map(|(key, value)| KvCommand::Set {
            key: key.into(),
            value: value.as_bytes().into(),
            flags: 0
        }),
        (key.clone(), value, 0..9_u64).prop_map(|(key, value, expected)| KvCommand::Cas {
            key: key.into(),
            value: value.as_bytes().into(),
            flags: 0,
            expected
        }),
        key.clone().prop_map(|key| KvCommand::Delete { key: key.into() }),
        key.prop_map(|key| KvCommand::DeleteTree { prefix: key.into() }),
    ]
}

/// Every kind of question, as (what it waits for, index, rows as text).
fn questions(state: &State) -> Vec<(Interest, u64, String)> {
    fn put<T: std::fmt::Debug>(
        out: &mut Vec<(Interest, u64, String)>,
        interest: Interest,
        answer: &Answer<T>,
    ) {
        out.push((interest, answer.index, format!("{:?}", answer.rows)));
    }
    let mut out = Vec::new();
    put(&mut out, Interest::Nodes, &state.nodes());
    put(&mut out, Interest::Services, &state.services());
    put(&mut out, Interest::Checks, &state.checks_in(None));
    for name in NAMES {
        put(&mut out, Interest::service(name), &state.instances_of(name));
        put(&mut out, Interest::service(name), &state.checks_of(name));
    }
    for node in NODES {
        put(&mut out, Interest::on_node(node), &state.services_on(node));
        put(&mut out, Interest::Checks, &state.checks_on(node));
    }
    for key in KEYS {
        put(&mut out, Interest::Key(key.into()), &state.kv(key));
        put(&mut out, Interest::Prefix(key.into()), &state.kv_under(key));
    }
    out
}

/// Index and rows of each thing that may be there, where it is: here the index is its own, while what
/// is missing is answered with the index of a table.
fn present(state: &State) -> Vec<Option<(u64, String)>> {
    fn own<T: std::fmt::Debug>(there: bool, answer: &Answer<T>) -> Option<(u64, String)> {
        there.then(|| (answer.index, format!("{:?}", answer.rows)))
    }
    let mut out = Vec::new();
    for answer in NAMES.map(|name| state.instances_of(name)) {
        out.push(own(!answer.rows.is_empty(), &answer));
    }
    for answer in NODES.map(|node| state.services_on(node)) {
        out.push(own(answer.rows.is_some(), &answer));
    }
    for key in KEYS {
        let (one, all) = (state.kv(key), state.kv_under(key));
        out.push(own(one.rows.is_some(), &one));
        out.push(own(!all.rows.is_empty(), &all));
    }
    out
}

/// The picture as it would be drawn from the tables anew.
fn drawn(state: &State) -> Vec<String> {
    let mut out = Vec::new();
    for node in state.nodes().rows {
        let checks = state.checks_on(&node.spec.name).rows;
        for service in state
            .services_on(&node.spec.name)
            .rows
            .map(|(_, services)| services)
            .unwrap_or_default()
        {
            let of = |id: Option<&Arc<str>>| {
                checks
                    .iter()
                    .filter(|c| c.spec.service_id.as_ref() == id)
                    .cloned()
                    .collect::<Vec<_>>()
            };
            let checks: Vec<_> = [of(None), of(Some(&service.spec.id))].concat();
            out.push(format!("{node:?} {service:?} {checks:?}"));
        }
    }
    out.sort();
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_changed_answer_moves_its_index_and_wakes_its_readers(commands in prop::collection::vec(command(), 1..40)) {
        let mut state = State::new();
        for command in commands {
            let mut next = state.clone();
            let applied = next.apply(state.index() + 1, &command);
            for (before, after) in questions(&state).into_iter().zip(questions(&next)) {
                if before.2 == after.2 {
                    continue;
                }
                prop_assert!(before.1 < after.1, "{:?} changed under {:?}", before.0, command);
                let woken = applied.touched.iter().any(|topic| after.0.covers(topic));
                prop_assert!(woken, "{:?} slept through {:?}", after.0, command);
            }
            if applied.touched.is_empty() {
                prop_assert_eq!(drawn(&state), drawn(&next));
            } else {
                state = next;
            }
        }
    }

    #[test]
    fn the_index_of_what_is_there_moves_with_its_answer_only(commands in prop::collection::vec(command(), 1..40)) {
        let mut state = State::new();
        for command in commands {
            let before = present(&state);
            state.apply(state.index() + 1, &command);
            for (before, after) in before.into_iter().zip(present(&state)) {
                if let (Some(before), Some(after)) = (before, after) {
                    prop_assert_eq!(before.0 == after.0, before.1 == after.1, "{:?} to {:?}", before, after);
                }
            }
        }
    }

    #[test]
    fn topics_find_the_readers_that_cover_them(commands in prop::collection::vec(command(), 1..20)) {
        let mut state = State::new();
        for command in commands {
            let index = state.index() + 1;
            for topic in state.apply(index, &command).touched {
                for interest in topic.interests() {
                    prop_assert!(interest.covers(&topic));
                }
                for (interest, _, _) in questions(&state) {
                    let keyed = matches!(interest, Interest::Key(_) | Interest::Prefix(_));
                    prop_assert!(keyed || interest.covers(&topic) == topic.interests().contains(&interest));
                }
            }
        }
    }

    #[test]
    fn the_picture_is_what_the_tables_say(commands in prop::collection::vec(command(), 1..60)) {
        let mut state = State::new();
        for command in commands {
            let index = state.index() + 1;
            state.apply(index, &command);
            let mut shown: Vec<_> = state.picture().iter().map(|(key, instance)| {
                assert_eq!(*key, instance.key());
                format!("{:?} {:?} {:?}", instance.node, instance.service, instance.checks)
            }).collect();
            shown.sort();
            prop_assert_eq!(shown, drawn(&state));
        }
    }
}
