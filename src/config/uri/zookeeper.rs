//! `zookeeper`: nodes of ZooKeeper below a path.

use registrator::registry::zookeeper::tree;

use super::{hosts, parts};

const PORT: u16 = 2181;

/// Servers of one ZooKeeper, and where to write in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeper {
    /// `host:port` of each; at least one.
    pub hosts: Vec<String>,
    /// The node above all of ours, without a slash at either end; may be empty.
    pub path: String,
}

impl ZooKeeper {
    /// Reads what follows `zookeeper:`.
    pub(super) fn parse(rest: &str) -> Result<Self, String> {
        let (host, path) = parts(rest);
        if path.contains('?') {
            return Err(": nothing can be said behind a '?'".to_owned());
        }
        for part in path.split('/').filter(|part| !part.is_empty()) {
            tree::part(part).map_err(|why| format!(": {why}"))?;
        }
        Ok(Self {
            hosts: match host {
                "" => vec![format!("127.0.0.1:{PORT}")],
                list => hosts(list, PORT)?,
            },
            path: path.trim_matches('/').to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_servers_and_a_path_of_several_levels() {
        let read = ZooKeeper::parse("//a,b:1/x/y").unwrap();
        assert_eq!(read.hosts, ["a:2181", "b:1"]);
        assert_eq!(read.path, "x/y");
        assert_eq!(ZooKeeper::parse("//a/").unwrap().path, "");
        assert_eq!(ZooKeeper::parse("").unwrap().hosts, ["127.0.0.1:2181"]);
    }

    #[test]
    fn what_zookeeper_would_refuse_is_refused_before() {
        assert_eq!(
            ZooKeeper::parse("//a/b/../c").unwrap_err(),
            ": \"..\" cannot be part of a path: it would be relative"
        );
        for bad in ["//a,/b", "//a/b?c=d", "//a:port/b"] {
            assert!(ZooKeeper::parse(bad).is_err(), "{bad}");
        }
    }
}
