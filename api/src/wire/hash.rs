//! `ContentHash` of a service: Go's `hashstructure`, version 1, over Consul's struct. Pure.
//!
//! Clients compare it with values they were given before, and Consul's own tests fix one.

use std::collections::BTreeMap;

use super::service::{Address, AgentService};

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// Lower-case hex without padding, as Consul 1.8 computes it (before `Datacenter` was a field).
pub(super) fn of_agent_service(service: &AgentService) -> String {
    let absent = integer(0);
    let hash = structure(
        "AgentService",
        &[
            ("Kind", text(&service.kind)),
            ("ID", text(&service.id)),
            ("Service", text(&service.name)),
            ("Tags", list(service.tags.iter().map(|tag| text(tag)))),
            ("Meta", map(&service.meta, |value| text(value))),
            ("Port", integer(service.port.into())),
            ("Address", text(&service.address)),
            ("TaggedAddresses", map(&service.tagged_addresses, address)),
            (
                "Weights",
                structure(
                    "AgentWeights",
                    &[
                        ("Passing", integer(service.weights.passing.into())),
                        ("Warning", integer(service.weights.warning.into())),
                    ],
                ),
            ),
            ("EnableTagOverride", fnv(&[u8::from(service.enable_tag_override)])),
            ("CreateIndex", absent),
            ("ModifyIndex", absent),
            ("ContentHash", text("")),
            ("Proxy", absent),
            ("Connect", absent),
        ],
    );
    format!("{hash:x}")
}

fn address(address: &Address) -> u64 {
    structure(
        "ServiceAddress",
        &[
            ("Address", text(&address.address)),
            ("Port", integer(address.port.into())),
        ],
    )
}

/// FNV-1, 64 bit: multiply, then xor.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(OFFSET, |hash, byte| hash.wrapping_mul(PRIME) ^ u64::from(*byte))
}

fn text(text: &str) -> u64 {
    fnv(text.as_bytes())
}

fn integer(number: u64) -> u64 {
    fnv(&number.to_le_bytes())
}

fn pair(a: u64, b: u64) -> u64 {
    fnv(&[a.to_le_bytes(), b.to_le_bytes()].concat())
}

fn list(hashes: impl Iterator<Item = u64>) -> u64 {
    hashes.fold(0, pair)
}

fn map<V>(map: &BTreeMap<String, V>, hash: impl Fn(&V) -> u64) -> u64 {
    map.iter()
        .fold(0, |sum, (key, value)| sum ^ pair(text(key), hash(value)))
}

fn structure(name: &str, fields: &[(&str, u64)]) -> u64 {
    fields
        .iter()
        .fold(text(name), |sum, (field, value)| sum ^ pair(text(field), *value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_consuls_own_tests_expect() {
        let service = AgentService {
            id: "foo".into(),
            name: "foo".into(),
            tags: vec!["bar".to_owned(), "baz".to_owned()],
            port: 8000,
            ..AgentService::default()
        };
        assert_eq!(of_agent_service(&service), "6b13684bfe179e67");
    }
}
