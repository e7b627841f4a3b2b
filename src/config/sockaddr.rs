//! Addresses that only the machine knows, in the little language of go-sockaddr: `{{ GetPrivateIP }}:9999`,
//! `{{ GetInterfaceIP "eth0" }}`, `{{ GetAllInterfaces | include "network" "10.0.0.0/8" | attr "address" }}`.
//!
//! Pure: what interfaces there are comes in as a list. A template that finds nothing is a fault: in the original it
//! leaves an empty text, and a listener that was meant for one network opens on all of them.

mod network;

pub use network::is_global;

use std::cmp::Ordering;
use std::net::IpAddr;

use lb::config::IpNet;

/// One address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name of the interface.
    pub name: String,
    /// The address.
    pub ip: IpAddr,
    /// Leading bits of the address that name its network.
    pub bits: u8,
    /// The interface is switched on.
    pub up: bool,
    /// Two ends and nobody between.
    pub point_to_point: bool,
    /// The default route leaves by it.
    pub default: bool,
}

/// Which of two comes first.
type Order = fn(&Interface, &Interface) -> Ordering;

/// What goes from one function of a pipeline to the next.
enum Value {
    Addresses(Vec<Interface>),
    Text(String),
}

const SOURCES: &str = "GetPrivateIP, GetPublicIP, GetInterfaceIP \"name\", GetPrivateInterfaces, GetPublicInterfaces, \
                       GetDefaultInterfaces, GetAllInterfaces";
const FILTERS: &str = "include, exclude, sort, unique, limit, offset, attr, join";

/// Replaces every `{{ … }}` in `text`.
///
/// # Errors
/// What is wrong, or was not found, in words.
pub fn expand(text: &str, interfaces: &[Interface]) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once("{{") {
        let (inner, after) = after
            .split_once("}}")
            .ok_or_else(|| format!("{text:?} has {{{{ without }}}}"))?;
        expanded.push_str(plain);
        let found = pipeline(inner.trim_start_matches('-').trim_end_matches('-'), interfaces)?;
        if found.is_empty() {
            return Err(format!("{{{{{inner}}}}} finds no address on this host"));
        }
        expanded.push_str(&found);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn pipeline(text: &str, interfaces: &[Interface]) -> Result<String, String> {
    let mut value = None;
    for stage in stages(text)? {
        let Some((function, arguments)) = stage.split_first() else {
            return Err(format!("{{{{{text}}}}} has an empty step"));
        };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        value = Some(match value {
            None => source(function, &arguments, interfaces)?,
            Some(Value::Addresses(addresses)) => step(function, &arguments, addresses)?,
            Some(Value::Text(_)) => return Err(format!("nothing can follow a text, and {function} does")),
        });
    }
    match value {
        Some(Value::Text(text)) => Ok(text),
        Some(Value::Addresses(_)) => Err("an address is missing: end with attr \"address\"".to_owned()),
        None => Err("{{ }} is empty".to_owned()),
    }
}

/// The steps between bars, each as words; quotes hold words together.
fn stages(text: &str) -> Result<Vec<Vec<String>>, String> {
    let (mut stages, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' | '`' => {
                let open = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => open.extend(chars.next()),
                        Some(inner) => open.push(inner),
                        None => return Err(format!("{{{{{text}}}}} has a quote that does not close")),
                    }
                }
            }
            '|' => {
                words.extend(word.take());
                stages.push(std::mem::take(&mut words));
            }
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    stages.push(words);
    Ok(stages)
}

fn source(function: &str, arguments: &[&str], all: &[Interface]) -> Result<Value, String> {
    let private = || usable(all, network::is_special);
    let public = || usable(all, |ip| !network::is_special(ip));
    let first =
        |found: Vec<Interface>| Value::Text(found.first().map(|one| one.ip.to_string()).unwrap_or_default());
    let every = |found: &[Interface]| Value::Text(join(found, "address", " ").unwrap_or_default());
    Ok(match (function, arguments) {
        ("GetAllInterfaces" | ".", []) => Value::Addresses(all.to_vec()),
        ("GetDefaultInterfaces", []) => {
            Value::Addresses(all.iter().filter(|one| one.default).cloned().collect())
        }
        ("GetPrivateInterfaces", []) => Value::Addresses(private()),
        ("GetPublicInterfaces", []) => Value::Addresses(public()),
        ("GetPrivateIP", []) => first(private()),
        ("GetPrivateIPs", []) => every(&private()),
        ("GetPublicIP", []) => first(public()),
        ("GetPublicIPs", []) => every(&public()),
        ("GetInterfaceIP", [name]) => first(named(all, name)?),
        ("GetInterfaceIPs", [name]) => every(&named(all, name)?),
        _ => return Err(format!("unknown function {function}: there are {SOURCES}")),
    })
}

/// Addresses of interfaces that are up, that can be forwarded to and that are of this kind; best first.
fn usable(all: &[Interface], kind: impl Fn(IpAddr) -> bool) -> Vec<Interface> {
    let mut usable: Vec<Interface> = all
        .iter()
        .filter(|one| one.up && network::is_forwardable(one.ip) && kind(one.ip))
        .cloned()
        .collect();
    usable.sort_by(|left, right| {
        by_default(left, right)
            .then_with(|| by_type(left, right))
            .then_with(|| by_size(left, right))
    });
    usable
}

/// Addresses of one interface that can be forwarded to, IPv4 first.
fn named(all: &[Interface], name: &str) -> Result<Vec<Interface>, String> {
    let pattern = regex(&format!("^(?:{name})$"))?;
    let mut named: Vec<Interface> = all
        .iter()
        .filter(|one| pattern.is_match(&one.name) && network::is_forwardable(one.ip))
        .cloned()
        .collect();
    named.sort_by(|left, right| by_type(left, right).then_with(|| by_size(left, right)));
    Ok(named)
}

fn step(function: &str, arguments: &[&str], mut addresses: Vec<Interface>) -> Result<Value, String> {
    match (function, arguments) {
        ("include", [selector, value]) => {
            let fits = network::selector(selector, value)?;
            addresses.retain(|one| fits(one));
        }
        ("exclude", [selector, value]) => {
            let fits = network::selector(selector, value)?;
            addresses.retain(|one| !fits(one));
        }
        ("sort", [keys]) => sort(keys, &mut addresses)?,
        ("unique", ["address"]) => addresses.dedup_by(|one, before| one.ip == before.ip),
        ("unique", ["name"]) => addresses.dedup_by(|one, before| one.name == before.name),
        ("limit", [count]) => {
            let count = count
                .parse()
                .map_err(|_| format!("limit {count}: expected a number"))?;
            addresses.truncate(count);
        }
        ("offset", [count]) => {
            let count: i64 = count
                .parse()
                .map_err(|_| format!("offset {count}: expected a number"))?;
            let skipped = usize::try_from(count.unsigned_abs())
                .unwrap_or(usize::MAX)
                .min(addresses.len());
            let from = if count < 0 {
                addresses.len() - skipped
            } else {
                skipped
            };
            addresses.drain(..from);
        }
        ("attr", [name]) => {
            addresses.truncate(1);
            return join(&addresses, name, "").map(Value::Text);
        }
        ("join", [name, separator]) => return join(&addresses, name, separator).map(Value::Text),
        _ => {
            return Err(format!(
                "unknown function {function}: there are {FILTERS}, each with its arguments"
            ));
        }
    }
    Ok(Value::Addresses(addresses))
}

fn sort(keys: &str, addresses: &mut [Interface]) -> Result<(), String> {
    let mut orders: Vec<(bool, Order)> = Vec::new();
    for key in keys.split(',').map(str::trim).filter(|key| !key.is_empty()) {
        let (down, name) = match key.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, key.trim_start_matches('+')),
        };
        orders.push((
            down,
            match name {
                "address" => |left, right| left.ip.cmp(&right.ip),
                "default" => by_default,
                "name" => |left, right| left.name.cmp(&right.name),
                "private" => |left, right| network::is_special(right.ip).cmp(&network::is_special(left.ip)),
                "size" => by_size,
                "type" => by_type,
                _ => {
                    return Err(format!(
                        "sort {key:?}: expected address, default, name, private, size or type"
                    ));
                }
            },
        ));
    }
    addresses.sort_by(|left, right| {
        orders.iter().fold(Ordering::Equal, |so_far, (down, order)| {
            so_far.then_with(|| {
                if *down {
                    order(right, left)
                } else {
                    order(left, right)
                }
            })
        })
    });
    Ok(())
}

/// That of the default route first.
fn by_default(left: &Interface, right: &Interface) -> Ordering {
    right.default.cmp(&left.default)
}

/// IPv4 first.
fn by_type(left: &Interface, right: &Interface) -> Ordering {
    left.ip.is_ipv6().cmp(&right.ip.is_ipv6())
}

/// The larger network first.
fn by_size(left: &Interface, right: &Interface) -> Ordering {
    host_bits(right).cmp(&host_bits(left))
}

fn host_bits(one: &Interface) -> u8 {
    let width = if one.ip.is_ipv4() { 32 } else { 128 };
    width - one.bits.min(width)
}

fn join(addresses: &[Interface], attribute: &str, separator: &str) -> Result<String, String> {
    let texts: Result<Vec<String>, String> = addresses.iter().map(|one| attr(one, attribute)).collect();
    Ok(texts?.join(separator))
}

fn attr(one: &Interface, name: &str) -> Result<String, String> {
    let net = || IpNet::new(one.ip, one.bits);
    Ok(match name {
        "address" | "host" => one.ip.to_string(),
        "name" => one.name.clone(),
        "type" => if one.ip.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned(),
        "string" => format!("{}/{}", one.ip, one.bits),
        "mask_bits" => one.bits.to_string(),
        "network" => net().network().to_string(),
        "port" => "0".to_owned(),
        _ => {
            return Err(format!(
                "attr {name:?}: expected address, name, type, string, network, mask_bits or port"
            ));
        }
    })
}

fn regex(text: &str) -> Result<regex::Regex, String> {
    regex::Regex::new(text).map_err(|_| format!("{text:?} is no regular expression"))
}

#[cfg(test)]
mod tests;
