//! `etcd` and `skydns2`: keys of etcd, below a path or a DNS domain.

use super::{hosts, parts};

const PORT: u16 = 2379;

/// Servers of one etcd, and where to write in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// `host:port` of each; at least one.
    pub endpoints: Vec<String>,
    /// What the keys begin with, without a slash at either end; may be empty. For SkyDNS the domain.
    pub path: String,
}

impl Etcd {
    /// Reads what follows `etcd:`.
    pub(super) fn parse(rest: &str) -> Result<Self, String> {
        let (host, path) = parts(rest);
        let endpoints = match host {
            "" => vec![format!("127.0.0.1:{PORT}")],
            list => hosts(list, PORT)?,
        };
        Ok(Self {
            endpoints,
            path: path.trim_matches('/').to_owned(),
        })
    }

    /// Reads what follows `skydns2:`, whose path is a DNS domain.
    pub(super) fn parse_domain(rest: &str) -> Result<Self, String> {
        let etcd = Self::parse(rest)?;
        if etcd.path.is_empty() {
            return Err(": the path is a DNS domain, and there is none".to_owned());
        }
        Ok(etcd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_servers_and_a_path_that_may_be_missing() {
        let etcd = Etcd::parse("//a,b:1/x/y/").unwrap();
        assert_eq!(etcd.endpoints, ["a:2379", "b:1"]);
        assert_eq!(etcd.path, "x/y");
        let here = Etcd::parse("").unwrap();
        assert_eq!(
            (here.endpoints, here.path),
            (vec!["127.0.0.1:2379".to_owned()], String::new())
        );
        assert!(Etcd::parse("//a,/x").is_err());
        assert!(Etcd::parse_domain("//a/").unwrap_err().contains("DNS domain"));
        assert_eq!(
            Etcd::parse_domain("//a/skydns.local").unwrap().path,
            "skydns.local"
        );
    }
}
