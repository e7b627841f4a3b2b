//! A question about the catalog, answered: name → what it asks for → records.
//!
//! Pure: the state is given, and so are the dice. Sizes, flags of the packet and sockets are
//! `wire`'s and `dns`'s.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use catalog::service::{META_BASE, META_PORT};
use catalog::{Instance, Node, State, Status};
use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use rand::Rng;
use rand::seq::SliceRandom;

use super::name::{Asked, Zone, host};

/// Answers are as true as the moment they are given: nobody may keep them.
const TTL: u32 = 0;
/// Aliases of aliases in our own domain that are followed before giving up.
const ALIAS_DEPTH: usize = 3;
/// Longest string in a TXT record.
const TXT_STRING: usize = 255;

/// The records of an answer by section, and its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// What became of the question.
    pub code: ResponseCode,
    /// What was asked for.
    pub answers: Vec<Record>,
    /// Who says that there is nothing.
    pub authorities: Vec<Record>,
    /// Addresses that will be asked for next.
    pub additionals: Vec<Record>,
}

/// Answers one question. Order among equals is shuffled with `rng`, so that clients which take the
/// first spread.
pub fn answer(zone: &Zone, state: &State, query: &Query, rng: &mut impl Rng) -> Answers {
    let foreign_class = !matches!(query.query_class, DNSClass::IN | DNSClass::ANY);
    let transfer = matches!(query.query_type, RecordType::AXFR | RecordType::IXFR);
    if foreign_class || transfer {
        return Answers::of(ResponseCode::Refused);
    }
    let mut lookup = Lookup {
        zone,
        state,
        rng,
        owner: query.name.clone(),
        kind: query.query_type,
        answers: Vec::new(),
        additionals: Vec::new(),
    };
    match lookup.ask(&query.name, ALIAS_DEPTH) {
        Found::Elsewhere => Answers::of(ResponseCode::Refused),
        found => {
            let nothing = lookup.answers.is_empty();
            Answers {
                code: match found {
                    Found::No => ResponseCode::NXDomain,
                    Found::Yes | Found::Elsewhere => ResponseCode::NoError,
                },
                authorities: nothing
                    .then(|| start_of_authority(zone, state))
                    .into_iter()
                    .collect(),
                answers: lookup.answers,
                additionals: lookup.additionals,
            }
        }
    }
}

impl Answers {
    /// Nothing but a code.
    pub fn of(code: ResponseCode) -> Self {
        Self {
            code,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
        }
    }
}

/// Whether the name exists, whatever records it has.
enum Found {
    Yes,
    No,
    /// Not ours to say.
    Elsewhere,
}

impl From<bool> for Found {
    fn from(exists: bool) -> Self {
        if exists { Self::Yes } else { Self::No }
    }
}

/// What SRV records already say, so that nothing is said twice.
#[derive(Default)]
struct Places {
    ports: HashSet<(Name, u16)>,
    targets: HashSet<Name>,
}

/// One question on its way to an answer.
struct Lookup<'a, R> {
    zone: &'a Zone,
    state: &'a State,
    rng: &'a mut R,
    /// Name of the records to come: the question's, in its spelling, until an alias is followed.
    owner: Name,
    kind: RecordType,
    answers: Vec<Record>,
    additionals: Vec<Record>,
}

impl<R: Rng> Lookup<'_, R> {
    fn ask(&mut self, name: &Name, depth: usize) -> Found {
        match self.zone.read(name) {
            Asked::Origin => {
                self.origin();
                Found::Yes
            }
            Asked::Branch => Found::Yes,
            Asked::Service { name, tag } => self.service(&name, tag.as_deref(), depth).into(),
            Asked::Node(name) => match self.state.node(&name).rows {
                Some(node) => {
                    self.node(&node, depth);
                    Found::Yes
                }
                None => Found::No,
            },
            Asked::Address(address) => {
                self.addresses(&[&address.to_string()], depth);
                Found::Yes
            }
            Asked::Reverse(address) => self.reverse(address),
            Asked::Nothing => Found::No,
            Asked::Foreign => Found::Elsewhere,
        }
    }

    fn origin(&mut self) {
        match self.kind {
            RecordType::SOA | RecordType::ANY => {
                let mut soa = start_of_authority(self.zone, self.state);
                soa.name = self.owner.clone();
                self.answers.push(soa);
            }
            RecordType::NS => {
                let node = self.state.node(&self.zone.node).rows;
                let Some(target) = node
                    .as_ref()
                    .and_then(|node| self.zone.node_name(&node.spec.name))
                else {
                    return;
                };
                self.answer(RData::NS(NS(target.clone())));
                if let Some(address) = node.and_then(|node| node.spec.address.parse().ok()) {
                    self.additional(target, address);
                }
            }
            _ => {}
        }
    }

    fn node(&mut self, node: &Node, depth: usize) {
        if self.kind == RecordType::TXT {
            for (key, value) in &node.spec.meta {
                self.answer(RData::TXT(text(key, value)));
            }
        } else {
            self.addresses(&[&node.spec.address], depth);
        }
    }

    /// False when there is no instance to be had.
    fn service(&mut self, name: &str, tag: Option<&str>, depth: usize) -> bool {
        let worst = if self.zone.only_passing {
            Status::Passing
        } else {
            Status::Warning
        };
        let mut instances = behind(self.state, name);
        instances.retain(|instance| instance.status() <= worst && has_tag(instance, tag));
        instances.shuffle(self.rng);
        if self.kind == RecordType::SRV {
            let mut places = Places::default();
            for instance in &instances {
                self.locate(instance, &mut places);
            }
        } else {
            let addresses: Vec<_> = instances.iter().map(|instance| instance.address()).collect();
            self.addresses(&addresses, depth);
        }
        !instances.is_empty()
    }

    /// Adds where one instance is: its SRV record and the address of the target.
    fn locate(&mut self, instance: &Instance, places: &mut Places) {
        let spec = &instance.service.spec;
        let address: Option<IpAddr> = instance.address().parse().ok();
        let target = match address {
            Some(address) if !spec.address.is_empty() => self.zone.address_name(address),
            Some(address) => {
                let node = self.zone.node_name(&instance.node.spec.name);
                node.or_else(|| self.zone.address_name(address))
            }
            None => host(instance.address()),
        };
        let Some(target) = target else { return };
        let weight = match instance.status() {
            Status::Passing => spec.weights.passing,
            Status::Warning | Status::Critical => spec.weights.warning,
        };
        if !places.ports.insert((target.clone(), spec.port)) {
            return;
        }
        self.answer(RData::SRV(SRV::new(1, weight, spec.port, target.clone())));
        if let Some(address) = address.filter(|_| places.targets.insert(target.clone())) {
            self.additional(target, address);
        }
    }

    /// Adds the addresses of the family asked for; host names only where there is no address at
    /// all, and then one of them, since an alias may have no records beside it.
    fn addresses(&mut self, addresses: &[&str], depth: usize) {
        let parsed: Vec<IpAddr> = addresses
            .iter()
            .filter_map(|address| address.parse().ok())
            .collect();
        if parsed.is_empty() {
            if let Some(target) = addresses.iter().find_map(|address| host(address)) {
                self.alias(&target, depth);
            }
            return;
        }
        // Whoever asks for anything gets one set of records: answers shall not be large.
        let v4 = match self.kind {
            RecordType::A => true,
            RecordType::AAAA => false,
            RecordType::ANY => parsed.iter().any(IpAddr::is_ipv4),
            _ => return,
        };
        let mut seen = HashSet::new();
        for address in parsed {
            if address.is_ipv4() == v4 && seen.insert(address) {
                self.answer(address_data(address));
            }
        }
    }

    fn alias(&mut self, target: &Name, depth: usize) {
        if !matches!(
            self.kind,
            RecordType::A | RecordType::AAAA | RecordType::ANY | RecordType::CNAME
        ) {
            return;
        }
        self.answer(RData::CNAME(CNAME(target.clone())));
        let followed = matches!(self.kind, RecordType::A | RecordType::AAAA);
        let circular = self.answers.iter().any(|alias| alias.name == *target);
        if followed && !circular && depth > 0 && self.zone.origin.zone_of(target) {
            self.owner = target.clone();
            self.ask(target, depth - 1);
        }
    }

    /// Who has this address: nodes first, then services.
    fn reverse(&mut self, address: IpAddr) -> Found {
        let is = |text: &str| text.parse() == Ok(address);
        let nodes = self.state.nodes().rows;
        let nodes = nodes.iter().filter(|node| is(&node.spec.address));
        let mut names: Vec<_> = nodes
            .filter_map(|node| self.zone.node_name(&node.spec.name))
            .collect();
        let services: BTreeMap<_, _> = self
            .state
            .picture()
            .values()
            .filter(|instance| is(&instance.service.spec.address))
            .map(|instance| (instance.key().service, &instance.service.spec.name))
            .collect();
        names.extend(services.values().filter_map(|name| self.zone.service_name(name)));
        if names.is_empty() {
            return Found::Elsewhere;
        }
        if matches!(self.kind, RecordType::PTR | RecordType::ANY) {
            for name in names {
                self.answer(RData::PTR(PTR(name)));
            }
        }
        Found::Yes
    }

    fn answer(&mut self, data: RData) {
        self.answers
            .push(Record::from_rdata(self.owner.clone(), TTL, data));
    }

    fn additional(&mut self, name: Name, address: IpAddr) {
        let data = address_data(address);
        self.additionals.push(Record::from_rdata(name, TTL, data));
    }
}

/// Who is meant by a name: the service that is called so. Only where there is none, as the balancer's built-in host
/// names have it: one whose name DNS spells so, `my-api` for `My_API`; and with `redis-6379` whoever has port 6379 of
/// redis, also where it is the only one and gave the service no suffix.
fn behind(state: &State, name: &str) -> Vec<Arc<Instance>> {
    let known = |name: &str| {
        let named = state.instances_of(name).rows;
        match state.spelled(name) {
            Some(service) if named.is_empty() => state.instances_of(service).rows,
            _ => named,
        }
    };
    let named = known(name);
    let Some((base, port)) = name.rsplit_once('-').filter(|_| named.is_empty()) else {
        return named;
    };
    let mut of_port = known(base);
    of_port.retain(|instance| {
        let service = &instance.service.spec;
        let says = |key: &str, wanted: &str| service.meta.get(key).is_some_and(|value| value == wanted);
        // A service that has its name of something else, or a suffix of its own, is not meant.
        says(META_PORT, port) && says(META_BASE, &service.name)
    });
    of_port
}

fn has_tag(instance: &Instance, tag: Option<&str>) -> bool {
    tag.is_none_or(|tag| {
        let tags = &instance.service.spec.tags;
        tags.iter().any(|its| its.to_lowercase() == tag)
    })
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

/// The record that vouches for "there is nothing". Its serial is the catalog's index, which moves
/// exactly when answers may.
fn start_of_authority(zone: &Zone, state: &State) -> Record {
    let server = zone.child("ns").unwrap_or_else(Name::root);
    let master = zone.child("hostmaster").unwrap_or_else(Name::root);
    #[allow(clippy::cast_possible_truncation, reason = "serials wrap by design")]
    let serial = state.index() as u32;
    let soa = SOA::new(server, master, serial, 3600, 600, 86400, 0);
    Record::from_rdata(zone.origin.clone(), TTL, RData::SOA(soa))
}

/// One pair of a node's meta as RFC 1464 writes it: `key=value`. Keys that start with `rfc1035-`
/// ask for the bare value.
fn text(key: &str, value: &str) -> TXT {
    let pair = if key.to_lowercase().starts_with("rfc1035-") {
        value.to_owned()
    } else {
        format!("{}={value}", quote_key(key))
    };
    if pair.is_empty() {
        return TXT::new(vec![String::new()]);
    }
    TXT::from_bytes(pair.as_bytes().chunks(TXT_STRING).collect())
}

/// Marks what would end or bend the key: `=`, the mark itself, and white space at the edges.
fn quote_key(key: &str) -> String {
    let inner = key.trim_matches([' ', '\t']);
    let start = key.len() - key.trim_start_matches([' ', '\t']).len();
    let mut quoted = String::with_capacity(key.len());
    for (at, letter) in key.char_indices() {
        let edge = at < start || at >= start + inner.len();
        if edge || matches!(letter, '=' | '`') {
            quoted.push('`');
        }
        quoted.push(letter);
    }
    quoted
}
