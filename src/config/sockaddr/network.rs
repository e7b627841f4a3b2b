//! What kinds of addresses there are, and the selectors of `include` and `exclude`. Pure.

use std::net::IpAddr;

use lb::config::IpNet;

use super::{Interface, regex};

/// RFC 6890: networks with a special purpose, private ones among them.
const SPECIAL: [&str; 27] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "100::/64",
    "2001::/23",
    "2001:2::/48",
    "2001:db8::/32",
    "2001:10::/28",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
];

/// Of these, the ones that no router passes on.
const STAYING: [&str; 16] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "100::/64",
    "2001:db8::/32",
    "fe80::/10",
    "ff00::/8",
];

/// RFC 1918, 4193 and others that people name.
const RFCS: [(&str, &[&str]); 4] = [
    ("1918", &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]),
    ("4193", &["fc00::/7"]),
    ("6598", &["100.64.0.0/10"]),
    ("6890", &SPECIAL),
];

const LINK_LOCAL: [&str; 2] = ["169.254.0.0/16", "fe80::/10"];

/// Go's global unicast: neither this host's alone, nor this link's, nor many's.
pub fn is_global(ip: IpAddr) -> bool {
    !ip.is_loopback() && !ip.is_multicast() && !ip.is_unspecified() && !within(ip, &LINK_LOCAL)
}

/// Whether RFC 6890 has it.
pub(super) fn is_special(ip: IpAddr) -> bool {
    within(ip, &SPECIAL)
}

/// Whether packets to it may leave their network.
pub(super) fn is_forwardable(ip: IpAddr) -> bool {
    !within(ip, &STAYING)
}

fn within(ip: IpAddr, networks: &[&str]) -> bool {
    let contains = |text: &&str| text.parse::<IpNet>().is_ok_and(|net| net.contains(ip));
    networks.iter().any(contains)
}

type Fits = Box<dyn Fn(&Interface) -> bool>;

/// What `include` keeps and `exclude` drops. Several values are separated by bars.
pub(super) fn selector(selector: &str, value: &str) -> Result<Fits, String> {
    let words = || value.split('|').map(str::trim);
    Ok(match selector {
        "address" => {
            let pattern = regex(value)?;
            Box::new(move |one| pattern.is_match(&one.ip.to_string()))
        }
        "name" => {
            let pattern = regex(value)?;
            Box::new(move |one| pattern.is_match(&one.name))
        }
        "network" => {
            let networks: Result<Vec<IpNet>, _> = words().map(str::parse).collect();
            let networks = networks.map_err(|bad| bad.to_string())?;
            Box::new(move |one| networks.iter().any(|net| net.contains(one.ip)))
        }
        "flag" | "flags" => {
            let flags: Result<Vec<_>, _> = words().map(flag).collect();
            let flags = flags?;
            Box::new(move |one| flags.iter().all(|flag| flag(one)))
        }
        "rfc" | "rfcs" => {
            let known = |word: &str| RFCS.iter().find(|(name, _)| *name == word).map(|(_, nets)| *nets);
            let nets: Option<Vec<_>> = words().map(known).collect();
            let nets = nets.ok_or_else(|| format!("rfc {value:?}: expected 1918, 4193, 6598 or 6890"))?;
            Box::new(move |one| nets.iter().any(|nets| within(one.ip, nets)))
        }
        "size" => {
            let bits: u8 = value
                .trim_start_matches('/')
                .parse()
                .map_err(|_| format!("size {value:?}: expected a number of bits"))?;
            Box::new(move |one| one.bits == bits)
        }
        "type" => {
            let kinds: Vec<String> = words().map(str::to_ascii_lowercase).collect();
            if let Some(strange) = kinds
                .iter()
                .find(|kind| !matches!(kind.as_str(), "ip" | "ipv4" | "ipv6"))
            {
                return Err(format!("type {strange:?}: expected ip, ipv4 or ipv6"));
            }
            Box::new(move |one| {
                let own = if one.ip.is_ipv4() { "ipv4" } else { "ipv6" };
                kinds.iter().any(|kind| kind == "ip" || kind == own)
            })
        }
        _ => {
            return Err(format!(
                "{selector:?} selects nothing: expected address, name, network, flags, rfc, size or type"
            ));
        }
    })
}

fn flag(word: &str) -> Result<fn(&Interface) -> bool, String> {
    Ok(match word {
        "up" => |one| one.up,
        "down" => |one| !one.up,
        "forwardable" => |one| is_forwardable(one.ip),
        "loopback" => |one| one.ip.is_loopback(),
        "multicast" => |one| one.ip.is_multicast(),
        "point-to-point" => |one| one.point_to_point,
        "broadcast" => |one| one.ip.is_ipv4() && !one.ip.is_loopback() && !one.point_to_point,
        "link-local unicast" => |one| within(one.ip, &LINK_LOCAL),
        "global unicast" => |one| is_global(one.ip),
        "unspecified" => |one| one.ip.is_unspecified(),
        _ => {
            return Err(format!(
                "flag {word:?}: expected up, down, forwardable, loopback, multicast, broadcast, point-to-point, \
                 global unicast, link-local unicast or unspecified"
            ));
        }
    })
}
