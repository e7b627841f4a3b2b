//! Answers as text, laid out as Consul's users and their scripts know it. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use api::wire::agent::Member;
use api::wire::kv::Pair;
use api::wire::node::Node;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Columns two blanks apart, the last one unpadded.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// `members`, sorted by name.
pub fn members(members: &[Member], detailed: bool) -> String {
    let mut members: Vec<&Member> = members.iter().collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let mut rows = vec![if detailed {
        row(["Node", "Address", "Status", "Tags"])
    } else {
        row([
            "Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Segment",
        ])
    }];
    for member in members {
        let address = member.addr.parse::<IpAddr>().map_or_else(
            |_| format!("{}:{}", member.addr, member.port),
            |ip| std::net::SocketAddr::new(ip, member.port).to_string(),
        );
        let status = status(member);
        if detailed {
            rows.push(row([&member.name, &address, status, &pairs(&member.tags)]));
            continue;
        }
        let tag = |name: &str| member.tags.get(name).map_or("", String::as_str);
        let (kind, segment) = match (tag("role"), tag("segment")) {
            ("consul", _) => ("server", "<all>"),
            ("node", "") => ("client", "<default>"),
            ("node", segment) => ("client", segment),
            _ => ("unknown", ""),
        };
        let build = tag("build").split(':').next().unwrap_or_default();
        let protocol = member.protocol_cur.to_string();
        rows.push(row([
            &member.name,
            &address,
            status,
            kind,
            build,
            &protocol,
            tag("dc"),
            segment,
        ]));
    }
    table(&rows)
}

/// The word for a member's status.
pub fn status(member: &Member) -> &'static str {
    match member.status {
        1 => "alive",
        2 => "leaving",
        3 => "left",
        4 => "failed",
        _ => "none",
    }
}

/// `catalog nodes`.
pub fn nodes(nodes: &[Node], detailed: bool) -> String {
    if nodes.is_empty() {
        return "No nodes match the given query - try expanding your search.\n".to_owned();
    }
    let mut rows = vec![if detailed {
        row(["Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"])
    } else {
        row(["Node", "ID", "Address", "DC"])
    }];
    for node in nodes {
        rows.push(if detailed {
            let (addresses, meta) = (pairs(&node.tagged_addresses), pairs(&node.meta));
            row([
                &node.name,
                &node.id,
                &node.address,
                &node.datacenter,
                &addresses,
                &meta,
            ])
        } else {
            let id = node.id.get(..8).unwrap_or(&node.id);
            row([&node.name, id, &node.address, &node.datacenter])
        });
    }
    table(&rows)
}

/// `catalog services`, with the tags of all instances if wanted.
pub fn services<K: AsRef<str>>(services: &BTreeMap<K, Vec<String>>, tags: bool) -> String {
    let rows = services.iter().map(|(name, of)| {
        let mut of = of.clone();
        of.sort();
        let name = name.as_ref().to_owned();
        if tags {
            vec![name, of.join(",")]
        } else {
            vec![name]
        }
    });
    table(&rows.collect::<Vec<_>>())
}

/// `kv get -detailed` for one pair.
pub fn detailed(pair: &Pair, base64: bool) -> Vec<u8> {
    let mut text = Vec::new();
    let session = pair.session.clone().unwrap_or_else(|| "-".to_owned());
    for (name, value) in [
        ("CreateIndex", pair.create_index.to_string()),
        ("Flags", pair.flags.to_string()),
        ("Key", pair.key.to_string()),
        ("LockIndex", pair.lock_index.to_string()),
        ("ModifyIndex", pair.modify_index.to_string()),
        ("Session", session),
    ] {
        text.extend(format!("{name:<17}{value}\n").into_bytes());
    }
    text.extend(format!("{:<17}", "Value").into_bytes());
    text.extend(value(pair, base64));
    text.push(b'\n');
    text
}

/// A value, as it is or in base64.
pub fn value(pair: &Pair, base64: bool) -> Vec<u8> {
    if base64 {
        STANDARD.encode(&pair.value).into_bytes()
    } else {
        pair.value.to_vec()
    }
}

fn pairs(map: &BTreeMap<String, String>) -> String {
    map.iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_sorted_and_padded_as_consul_does() {
        let tags = [("role", "consul"), ("dc", "dc1"), ("build", "1.8.5:")];
        let tags: BTreeMap<String, String> = tags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let member = |name: &str, addr: &str| Member {
            name: name.to_owned(),
            addr: addr.to_owned(),
            port: 8301,
            tags: tags.clone(),
            status: 1,
            protocol_cur: 2,
            ..Member::default()
        };
        let text = members(&[member("web", "::1"), member("a", "127.0.0.1")], false);
        let expected = "\
Node  Address         Status  Type    Build  Protocol  DC   Segment
a     127.0.0.1:8301  alive   server  1.8.5  2         dc1  <all>
web   [::1]:8301      alive   server  1.8.5  2         dc1  <all>
";
        assert_eq!(text, expected);
        assert!(members(&[member("a", "h")], true).ends_with("build=1.8.5:,dc=dc1,role=consul\n"));
    }

    #[test]
    fn node_ids_are_cut_and_no_node_is_a_sentence() {
        let node = Node {
            id: "cdcedf4f-2dfe-9ed4-b2dd-52878f3b7aa0".to_owned(),
            name: "obs1".into(),
            address: "127.0.0.1".to_owned(),
            datacenter: "dc1".to_owned(),
            ..Node::default()
        };
        assert_eq!(
            nodes(&[node], false),
            "Node  ID        Address    DC\nobs1  cdcedf4f  127.0.0.1  dc1\n"
        );
        assert!(nodes(&[], false).starts_with("No nodes match"));
    }

    #[test]
    fn services_are_one_a_line_with_sorted_tags_if_wanted() {
        let map: BTreeMap<String, Vec<String>> = [
            ("redis".to_owned(), vec!["b".to_owned(), "a".to_owned()]),
            ("consul".to_owned(), vec![]),
        ]
        .into();
        assert_eq!(services(&map, false), "consul\nredis\n");
        assert_eq!(services(&map, true), "consul\nredis   a,b\n");
    }

    #[test]
    fn a_pair_in_detail_is_two_columns() {
        let pair = Pair {
            lock_index: 0,
            key: "foo".into(),
            flags: 0,
            value: b"bar".as_slice().into(),
            session: None,
            create_index: 63,
            modify_index: 64,
        };
        let text = String::from_utf8(detailed(&pair, false)).unwrap();
        assert!(
            text.starts_with("CreateIndex      63\nFlags            0\nKey              foo\n"),
            "{text}"
        );
        assert!(
            text.ends_with("Session          -\nValue            bar\n"),
            "{text}"
        );
        assert_eq!(value(&pair, true), b"YmFy");
    }
}
