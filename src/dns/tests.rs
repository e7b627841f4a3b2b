//! Transcripts of the whole pure path, bytes that mean harm, and the sockets.
//!
//! `REWRITE=1 cargo test dns` writes the answers of `tests/golden/dns` anew; read the diff.

mod sockets;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use catalog::check::CheckSpec;
use catalog::command::{Record, Target};
use catalog::node::NodeSpec;
use catalog::service::Weights;
use catalog::{Command, ServiceSpec, State};
use datadriven::TestCase;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::name::{Zone, host};
use super::origin;
use super::wire::{Packet, Transport, reply};

const LOOPBACK: Transport = Transport::Udp(IpAddr::V4(Ipv4Addr::LOCALHOST));

fn zone() -> Zone {
    Zone {
        origin: origin("consul").unwrap(),
        datacenter: "dc1".to_owned(),
        node: "web1".to_owned(),
        only_passing: true,
    }
}

pub(super) fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let name = if name == "." {
        Name::root()
    } else {
        host(name).unwrap()
    };
    message.add_query(Query::query(name, kind));
    message
}

/// `n` instances of `web`, each with an address of its own.
pub(super) fn crowd(n: u32) -> State {
    let mut state = State::new();
    for i in 1..=n {
        let record = Record {
            node: NodeSpec {
                name: "web1".into(),
                address: "10.0.0.1".to_owned(),
                ..NodeSpec::default()
            },
            service: Some(ServiceSpec {
                id: format!("web-{i}").into(),
                name: "web".into(),
                address: Ipv4Addr::from(0x0a01_0000 + i).to_string(),
                port: 80,
                ..ServiceSpec::default()
            }),
            ..Record::default()
        };
        let applied = state.apply(u64::from(i), &Command::Register(Box::new(record)));
        applied.reply.unwrap();
    }
    state
}

fn ask(zone: &Zone, state: &State, query: &Message, transport: Transport, seed: u64) -> (Packet, Message) {
    let bytes = query.to_vec().unwrap();
    let packet = reply(zone, state, &bytes, transport, &mut StdRng::seed_from_u64(seed)).unwrap();
    let message = whole(&packet.bytes);
    (packet, message)
}

/// Reads a message and insists that nothing comes after it.
fn whole(bytes: &[u8]) -> Message {
    let mut decoder = BinDecoder::new(bytes);
    let message = Message::read(&mut decoder).unwrap();
    assert_eq!(decoder.len(), 0, "bytes are left over");
    message
}

#[test]
fn transcripts_hold() {
    datadriven::walk("tests/golden/dns", |file| {
        let (mut zone, mut state, mut index) = (zone(), State::new(), 0);
        file.run(|case| {
            index += 1;
            match run(&mut zone, &mut state, index, case) {
                Ok(text) => text,
                Err(error) => format!("error in the transcript: {error}\n"),
            }
        });
    });
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn run(zone: &mut Zone, state: &mut State, index: u64, case: &mut TestCase) -> Outcome<String> {
    let text = match case.directive.clone().as_str() {
        "zone" => {
            if let Some(domain) = case.try_take_arg::<String>("domain")? {
                zone.origin = origin(&domain)?;
            }
            zone.only_passing = case.try_take_arg("only-passing")?.unwrap_or(zone.only_passing);
            String::new()
        }
        "register" => {
            let record = registration(case)?;
            state.apply(index, &Command::Register(Box::new(record))).reply?;
            String::new()
        }
        "deregister" => {
            let node = case.take_arg::<String>("node")?.into();
            let target = Target::Service(case.take_arg::<String>("service")?.into());
            state.apply(index, &Command::Deregister { node, target }).reply?;
            String::new()
        }
        "dig" => dig(zone, state, case)?,
        other => return Err(format!("no directive {other:?}").into()),
    };
    case.expect_empty()?;
    Ok(text)
}

/// `node= address= [service= [id=] [port=] [at=] [tags=] [weights=(p,w)] [status=]] [node-status=]`;
/// below it, as `word value`, what the line cannot hold: `address`, `at`, `meta key=value` of the node and
/// `service-meta key=value`.
fn registration(case: &mut TestCase) -> Outcome<Record> {
    let below: Vec<(String, String)> = case
        .input
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(word, value)| (word.to_owned(), value.to_owned()))
        .collect();
    let said = |word: &str| below.iter().find(|(known, _)| known == word);
    let said = |word: &str| said(word).map(|(_, value)| value.clone());
    let meta = |of: &str| -> BTreeMap<String, String> {
        let pairs = below.iter().filter(|(word, _)| word == of);
        let pairs = pairs.filter_map(|(_, pair)| pair.rsplit_once('='));
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    };
    let node = NodeSpec {
        name: case.take_arg::<String>("node")?.into(),
        address: said("address").map_or_else(|| case.take_arg("address"), Ok)?,
        meta: meta("meta"),
        ..NodeSpec::default()
    };
    let mut record = Record {
        node,
        ..Record::default()
    };
    if let Some(status) = case.try_take_arg::<String>("node-status")? {
        record.checks.push(check("serfHealth", &status, None)?);
    }
    let Some(name) = case.try_take_arg::<String>("service")? else {
        return Ok(record);
    };
    let id: String = case.try_take_arg("id")?.unwrap_or_else(|| name.clone());
    let weights: Option<Vec<u16>> = case.try_take_args("weights")?;
    if let Some(status) = case.try_take_arg::<String>("status")? {
        record
            .checks
            .push(check(&format!("service:{id}"), &status, Some(&id))?);
    }
    record.service = Some(ServiceSpec {
        id: id.into(),
        name: name.into(),
        tags: case.try_take_args("tags")?.unwrap_or_default(),
        port: case.try_take_arg("port")?.unwrap_or_default(),
        address: case.try_take_arg("at")?.or(said("at")).unwrap_or_default(),
        weights: weights.map_or_else(Weights::default, |pair| Weights {
            passing: pair[0],
            warning: pair[1],
        }),
        meta: meta("service-meta"),
        ..ServiceSpec::default()
    });
    Ok(record)
}

fn check(id: &str, status: &str, service: Option<&str>) -> Outcome<CheckSpec> {
    Ok(CheckSpec {
        id: id.into(),
        name: id.to_owned(),
        status: status.parse()?,
        notes: String::new(),
        output: String::new(),
        service_id: service.map(Into::into),
        kind: String::new(),
    })
}

/// `name= [type=A] [edns=size [edns-version=]] [chaos] [status-opcode] [tcp]`, shown as dig would, with
/// each section sorted because the order of equals is random.
fn dig(zone: &Zone, state: &State, case: &mut TestCase) -> Outcome<String> {
    let name: String = case
        .try_take_arg("name")?
        .unwrap_or_else(|| case.input.trim().to_owned());
    let kind: String = case.try_take_arg("type")?.unwrap_or_else(|| "A".to_owned());
    let mut query = question(&name, kind.parse()?);
    if case.take_flag("chaos")? {
        query.queries[0].query_class = DNSClass::CH;
    }
    if case.take_flag("status-opcode")? {
        query.metadata.op_code = OpCode::Status;
    }
    if let Some(size) = case.try_take_arg("edns")? {
        let mut edns = Edns::new();
        edns.set_max_payload(size)
            .set_version(case.try_take_arg("edns-version")?.unwrap_or(0));
        query.set_edns(edns);
    }
    let transport = if case.take_flag("tcp")? {
        Transport::Tcp
    } else {
        LOOPBACK
    };
    let (packet, reply) = ask(zone, state, &query, transport, 1);
    assert_eq!(reply.metadata.id, query.metadata.id);
    assert_eq!(packet.truncated, reply.metadata.truncation);
    let mut text = format!("{:?}", reply.metadata.response_code);
    for (set, flag) in [
        (reply.metadata.authoritative, "aa"),
        (reply.metadata.truncation, "tc"),
        (reply.metadata.recursion_desired, "rd"),
        (reply.metadata.recursion_available, "ra"),
    ] {
        if set {
            write!(text, " {flag}")?;
        }
    }
    if let Some(edns) = &reply.edns {
        write!(text, " edns={}", edns.max_payload())?;
    }
    text.push('\n');
    for question in &reply.queries {
        writeln!(text, "; {} {}", question.name, question.query_type)?;
    }
    let sections = [
        ("answer", &reply.answers),
        ("authority", &reply.authorities),
        ("additional", &reply.additionals),
    ];
    for (section, records) in sections {
        let mut lines: Vec<_> = records.iter().map(ToString::to_string).collect();
        lines.sort();
        for line in lines {
            writeln!(text, "{section}: {line}")?;
        }
    }
    Ok(text)
}

#[test]
fn answers_come_in_every_order() {
    let state = crowd(3);
    let query = question("web.service.consul", RecordType::A);
    let first: std::collections::BTreeSet<_> = (0..64)
        .map(|seed| ask(&zone(), &state, &query, LOOPBACK, seed).1.answers[0].to_string())
        .collect();
    assert_eq!(first.len(), 3);
}

#[test]
fn what_fits_is_given_and_what_does_not_is_admitted() {
    let state = crowd(100);
    // One more A record would fit into 1232 bytes, but the encoder writes a name in full before it
    // finds the pointer to it.
    for (kind, edns, transport, answers, truncated) in [
        (RecordType::A, None, LOOPBACK, 29, true),
        (RecordType::A, Some(1232), LOOPBACK, 73, true),
        (RecordType::A, Some(4096), LOOPBACK, 100, false),
        (
            RecordType::A,
            Some(4096),
            Transport::Udp("192.0.2.1".parse().unwrap()),
            73,
            true,
        ),
        // HAProxy takes no more than 8192 bytes, and does not ask again over TCP.
        (RecordType::SRV, Some(8192), LOOPBACK, 100, false),
        (RecordType::A, None, Transport::Tcp, 100, false),
        (RecordType::SRV, None, Transport::Tcp, 100, false),
    ] {
        let mut query = question("web.service.consul", kind);
        if let Some(size) = edns {
            query.set_edns(Edns::new().set_max_payload(size).clone());
        }
        let (_, reply) = ask(&zone(), &state, &query, transport, 1);
        let got = (reply.answers.len(), reply.metadata.truncation);
        assert_eq!(got, (answers, truncated), "{kind} {edns:?} {transport:?}");
    }
}

#[test]
fn additional_addresses_go_first_and_their_absence_is_no_truncation() {
    let state = crowd(10);
    let query = question("web.service.consul", RecordType::SRV);
    let (_, reply) = ask(&zone(), &state, &query, LOOPBACK, 1);
    assert_eq!(reply.answers.len(), 10);
    assert!(reply.additionals.len() < 10);
    assert!(!reply.metadata.truncation);
}

#[test]
fn replies_and_scraps_are_met_with_silence() {
    let state = crowd(1);
    let mut answer = question("web.service.consul", RecordType::A);
    answer.metadata.message_type = MessageType::Response;
    let answer = answer.to_vec().unwrap();
    for bytes in [&answer[..], &answer[..11], &[], &[0; 11]] {
        assert_eq!(
            reply(&zone(), &state, bytes, LOOPBACK, &mut StdRng::seed_from_u64(1)),
            None
        );
    }
}

#[test]
fn malformed_queries_are_told_so() {
    let state = crowd(1);
    let good = question("web.service.consul", RecordType::A).to_vec().unwrap();
    let header = |questions: u8| {
        let mut bytes = good[..12].to_vec();
        bytes[5] = questions;
        bytes
    };
    let none = header(0);
    let mut two = header(2);
    two.extend([&good[12..], &good[12..]].concat());
    let missing = header(1);
    let looped = [&header(1)[..], &[0xc0, 12, 0, 1, 0, 1]].concat();
    let ahead = [&header(1)[..], &[0xc0, 0xff, 0, 1, 0, 1]].concat();
    let long_label = [&header(1)[..], &[0x80], &[b'a'; 128], &[0, 0, 1, 0, 1]].concat();
    let long_name = [&header(1)[..], &[1, b'a'].repeat(200), &[0, 0, 1, 0, 1]].concat();
    for bytes in [none, two, missing, looped, ahead, long_label, long_name] {
        let packet = reply(&zone(), &state, &bytes, LOOPBACK, &mut StdRng::seed_from_u64(1)).unwrap();
        assert_eq!(
            packet.code,
            hickory_proto::op::ResponseCode::FormErr,
            "{}",
            bytes.escape_ascii()
        );
        assert_eq!(packet.bytes.len(), 12);
        assert_eq!(packet.bytes[..2], good[..2], "the id is kept");
    }
}

/// A packet that is nearly a query: the kind of noise that gets past the first checks.
fn nearly_a_query() -> impl Strategy<Value = Vec<u8>> {
    let good = {
        let mut query = question("_web._tcp.service.dc1.consul", RecordType::SRV);
        query.set_edns(Edns::new());
        query.to_vec().unwrap()
    };
    let len = good.len();
    proptest::collection::vec((2..len, any::<u8>()), 0..6).prop_map(move |changes| {
        let mut bytes = good.clone();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #[test]
    fn whatever_arrives_nothing_panics_and_no_reply_is_larger_than_allowed(
        query in prop_oneof![proptest::collection::vec(any::<u8>(), 0..600), nearly_a_query()],
        near: bool,
    ) {
        let peer = if near { "127.0.0.1" } else { "203.0.113.9" };
        let udp = Transport::Udp(peer.parse().unwrap());
        let state = crowd(60);
        let mut rng = StdRng::seed_from_u64(1);
        if let Some(packet) = reply(&zone(), &state, &query, udp, &mut rng) {
            prop_assert!(query[2] & 0x80 == 0, "a reply was replied to");
            let edns = Message::from_vec(&query).ok().and_then(|query| query.edns);
            let asked = edns.map_or(512, |edns| usize::from(edns.max_payload()).max(512));
            let limit = asked.min(if near { 8192 } else { 1232 });
            prop_assert!(packet.bytes.len() <= limit);
            whole(&packet.bytes);
            prop_assert_eq!(&packet.bytes[..2], &query[..2]);
        }
    }
}
