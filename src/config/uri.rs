//! Where a registrator alone writes to: `<scheme>://<host>[:<port>][/<path>]`, one file a family of
//! schemes. What the environment adds to a URI is handed in, so that a URI is all there is to know.

pub mod consul;
pub mod etcd;
pub mod zookeeper;

use self::consul::Consul;
use self::etcd::Etcd;
use self::zookeeper::ZooKeeper;

const EXAMPLE: &str = "expected for example consul://127.0.0.1:8500";

/// How a URI of this scheme is written.
fn example(scheme: &str) -> &'static str {
    match scheme {
        "consulkv" => "expected for example consulkv://127.0.0.1:8500/services",
        "consul-unix" => "expected for example consul-unix:///run/consul.sock",
        "consulkv-unix" => "expected for example consulkv-unix:///run/consul.sock:/services",
        "etcd" => "expected for example etcd://127.0.0.1:2379/services",
        "skydns2" => "expected for example skydns2://127.0.0.1:2379/example.com",
        "zookeeper" => "expected for example zookeeper://127.0.0.1:2181/services",
        _ => EXAMPLE,
    }
}

/// A registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uri {
    /// Services of a Consul agent.
    Consul(Consul),
    /// Keys of a Consul server below a prefix, which does not begin with a slash.
    ConsulKv(Consul, String),
    /// Keys of etcd below a path.
    Etcd(Etcd),
    /// Keys of etcd below the DNS domain that the path is, as SkyDNS reads them.
    SkyDns(Etcd),
    /// Nodes of ZooKeeper below a path.
    ZooKeeper(ZooKeeper),
}

/// A variable of the environment, unless empty.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Uri {
    /// Reads what a user typed.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str, variables: Variables<'_>) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(format!("bad adapter uri: {text:?} has no scheme; {EXAMPLE}"));
        };
        let shown = without_password(text);
        let wrong = |why: &str| format!("bad adapter uri: {shown:?}{why}; {}", example(scheme));
        let read = match scheme {
            "consul" | "consul-tls" | "consul-unix" => {
                Consul::parse(scheme, rest, variables).map(Self::Consul)
            }
            "consulkv" | "consulkv-unix" => {
                Consul::parse_kv(scheme, rest, variables).map(|(agent, prefix)| Self::ConsulKv(agent, prefix))
            }
            "etcd" => Etcd::parse(rest, variables).map(Self::Etcd),
            "skydns2" => Etcd::parse_domain(rest, variables).map(Self::SkyDns),
            "zookeeper" => ZooKeeper::parse(rest).map(Self::ZooKeeper),
            _ => return Err(format!("unrecognized adapter: {shown}; {EXAMPLE}")),
        };
        read.map_err(|why| wrong(&why))
    }
}

/// URIs between commas; what follows a comma and has no scheme is a further host of the URI before.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it stands where parsers stand that can fail"
)]
pub fn list(text: &str) -> Result<Vec<String>, String> {
    let mut uris: Vec<String> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match uris.last_mut().filter(|_| !part.contains("://")) {
            Some(uri) => uri.extend([",", part]),
            None => uris.push(part.to_owned()),
        }
    }
    Ok(uris)
}

/// A URI as it may be shown: whatever stands before an '@' may be secret.
fn without_password(uri: &str) -> String {
    match (uri.split_once(':'), uri.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => uri.to_owned(),
    }
}

/// Host and path of what follows the colon of a scheme; both may be empty.
fn parts(rest: &str) -> (&str, &str) {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    rest.split_once('/').unwrap_or((rest, ""))
}

/// The hosts between commas, each with a port.
fn hosts(text: &str, port: u16) -> Result<Vec<String>, String> {
    let one = |host: &str| with_port(host, port).ok_or_else(|| format!(": {host:?} is no host:port"));
    text.split(',').map(one).collect()
}

/// `host` or `host:port` as it is; `None` if it is neither.
pub fn authority(text: &str) -> Option<String> {
    with_port(text, 0).map(|_| text.to_owned())
}

/// `host:port`, with a port added where there is none; `None` if it is not an address at all.
pub fn with_port(address: &str, port: u16) -> Option<String> {
    let authority: hyper::http::uri::Authority = address.parse().ok()?;
    if authority.host().is_empty() || address.contains('@') {
        return None;
    }
    match (
        authority.port_u16(),
        address
            .rsplit_once(']')
            .map_or(address, |(_, tail)| tail)
            .contains(':'),
    ) {
        (Some(_), _) => Some(address.to_owned()),
        (None, false) => Some(format!("{address}:{port}")),
        // A colon, but no port behind it.
        (None, true) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(text: &str) -> Result<Uri, String> {
        Uri::parse(text, &|_| None)
    }

    #[test]
    fn a_list_of_uris_leaves_the_hosts_of_each_together() {
        let uris = list("consul://a, etcd://b,c:1/x,zookeeper://d,").unwrap();
        assert_eq!(uris, ["consul://a", "etcd://b,c:1/x", "zookeeper://d"]);
        assert_eq!(list(""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_registry_is_refused_by_name() {
        assert!(
            bare("redis://h")
                .unwrap_err()
                .starts_with("unrecognized adapter: redis://h")
        );
        assert!(bare("localhost").unwrap_err().contains("has no scheme"));
        let shown = bare("etcd://reg:secret@h:port/x").unwrap_err();
        assert!(
            shown.contains("etcd://…@h:port/x") && !shown.contains("secret"),
            "{shown}"
        );
        assert!(bare("consul://h:99999").is_err());
    }
}
