//! Where a service stands in the tree, and what its node says: as readers of the original know it. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

/// Our own corner below the base path; no service can have this name.
const CORNER: &str = "_lictor";

/// Whether `part` may be a part of a path.
///
/// # Errors
/// What ZooKeeper has against it, in words.
pub fn part(part: &str) -> Result<(), String> {
    let forbidden = |c: char| matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}');
    let problem = match part {
        "" => "it is empty".to_owned(),
        "." | ".." => "it would be relative".to_owned(),
        _ if part.contains('/') => "a slash would make two parts of it".to_owned(),
        _ => match part.chars().find(|c| forbidden(*c)) {
            Some(c) => format!("it holds {c:?}"),
            None => return Ok(()),
        },
    };
    Err(format!("{part:?} cannot be part of a path: {problem}"))
}

/// The path that services stand under: `""` for the root, else `/a/b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base(String);

impl Base {
    /// Reads `/a/b`; slashes too many do not count.
    ///
    /// # Errors
    /// A part that ZooKeeper would refuse.
    pub(crate) fn new(path: &str) -> Result<Self, String> {
        let parts = path.split('/').filter(|part| !part.is_empty());
        let joined = parts.map(|one| part(one).map(|()| format!("/{one}")));
        joined.collect::<Result<String, _>>().map(Self)
    }

    /// As ZooKeeper writes it.
    pub(crate) fn path(&self) -> &str {
        if self.0.is_empty() { "/" } else { &self.0 }
    }

    /// The node behind a [`key`].
    pub(crate) fn node(&self, key: &str) -> String {
        format!("{}/{key}", self.0)
    }

    /// Where the sessions of `owner` are noted.
    pub(crate) fn mark(&self, owner: &str) -> String {
        self.node(&format!("{CORNER}/{owner}"))
    }

    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether the node of a service may be called so, under the root or under another base.
///
/// # Errors
/// Why not, in words.
pub(crate) fn name(name: &str, under_root: bool) -> Result<(), String> {
    part(name)?;
    if name == CORNER || (under_root && name == "zookeeper") {
        return Err(format!("{name:?} is taken in ZooKeeper"));
    }
    Ok(())
}

/// The path of a service below the base, `<name>/<ip>:<port>`. IPv6 is not put in brackets, as ever.
pub(crate) fn key(name: &str, address: &str, port: u16) -> String {
    format!("{name}/{address}:{port}")
}

/// Name, address and port out of a [`key`]; `None` for what is none of ours.
pub(crate) fn read(key: &str) -> Option<(&str, &str, u16)> {
    let (name, place) = key.split_once('/')?;
    let (address, port) = place.rsplit_once(':')?;
    let canonical = port
        .parse::<u16>()
        .ok()
        .filter(|number| number.to_string() == port);
    address.parse::<IpAddr>().ok()?;
    Some((name, address, canonical?))
}

/// What a node says. The names and their order are the original's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Body<'a> {
    pub(crate) name: &'a str,
    #[serde(rename = "IP")]
    pub(crate) ip: &'a str,
    pub(crate) public_port: u16,
    /// The port inside the container.
    pub(crate) private_port: u16,
    /// In fact the host name inside the container, which is the beginning of its id unless somebody chose another.
    #[serde(rename = "ContainerID")]
    pub(crate) container: &'a str,
    pub(crate) tags: &'a [String],
    pub(crate) attrs: &'a BTreeMap<String, String>,
}

impl Body<'_> {
    /// The bytes that Go's encoder would make of it: no blanks, and what could mean something to HTML or
    /// JavaScript spelt out. Outside strings none of these characters occurs in JSON.
    pub(crate) fn json(&self) -> String {
        let mut text = serde_json::to_string(self).expect("strings and numbers are always JSON");
        for (plain, spelt) in [
            ('<', "\\u003c"),
            ('>', "\\u003e"),
            ('&', "\\u0026"),
            ('\u{2028}', "\\u2028"),
            ('\u{2029}', "\\u2029"),
        ] {
            if text.contains(plain) {
                text = text.replace(plain, spelt);
            }
        }
        text
    }
}

/// Whose container a [`Body`] tells of, in its own words.
pub(crate) fn container(body: &[u8]) -> Option<String> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(body.get("ContainerID")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_node_says_what_the_original_says_byte_for_byte() {
        let attrs = BTreeMap::from([
            ("region".to_owned(), "us2".to_owned()),
            ("note".to_owned(), "a<b>&c \"d\" é".to_owned()),
        ]);
        let body = Body {
            name: "web-80",
            ip: "10.0.0.1",
            public_port: 49153,
            private_port: 80,
            container: "8a1b2c3d4e5f",
            tags: &["www".to_owned(), "a,b".to_owned()],
            attrs: &attrs,
        };
        assert_eq!(
            body.json(),
            "{\"Name\":\"web-80\",\"IP\":\"10.0.0.1\",\"PublicPort\":49153,\"PrivatePort\":80,\
             \"ContainerID\":\"8a1b2c3d4e5f\",\"Tags\":[\"www\",\"a,b\"],\
             \"Attrs\":{\"note\":\"a\\u003cb\\u003e\\u0026c \\\"d\\\" é\",\"region\":\"us2\"}}"
        );
    }

    #[test]
    fn without_tags_and_attributes_a_list_and_an_object_are_there_all_the_same() {
        let body = Body {
            name: "web",
            ip: "::1",
            public_port: 80,
            private_port: 80,
            container: "",
            tags: &[],
            attrs: &BTreeMap::new(),
        };
        assert_eq!(
            body.json(),
            r#"{"Name":"web","IP":"::1","PublicPort":80,"PrivatePort":80,"ContainerID":"","Tags":[],"Attrs":{}}"#
        );
    }

    #[test]
    fn a_base_path_may_have_levels_and_slashes_too_many() {
        for (given, path, node) in [
            ("", "/", "/web/10.0.0.1:80"),
            ("/", "/", "/web/10.0.0.1:80"),
            ("/services", "/services", "/services/web/10.0.0.1:80"),
            ("//a/b//c/", "/a/b/c", "/a/b/c/web/10.0.0.1:80"),
        ] {
            let base = Base::new(given).unwrap();
            assert_eq!(base.path(), path, "{given}");
            assert_eq!(base.node(&key("web", "10.0.0.1", 80)), node, "{given}");
        }
        for bad in ["/a/../b", "/a/\u{1}", "/."] {
            assert!(Base::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_that_would_be_somebody_elses_path_are_refused() {
        for bad in ["", "a/b", "..", "_lictor", "a\u{7f}"] {
            assert!(name(bad, false).is_err(), "{bad:?}");
        }
        assert!(name("zookeeper", true).is_err());
        assert_eq!(name("zookeeper", false), Ok(()));
        assert_eq!(name("nginx-80", true), Ok(()));
    }

    #[test]
    fn only_the_form_that_we_write_is_read_back() {
        assert_eq!(read("web/::1:80"), Some(("web", "::1", 80)));
        for other in [
            "web",
            "web/",
            "web/80",
            "web/10.0.0.1:080",
            "web/lock-0000000001",
            "a/b/10.0.0.1:80",
            "w/x:1",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(name in "[a-z][a-z0-9:._-]{0,20}", ip: IpAddr, port: u16) {
            let address = ip.to_string();
            let key = key(&name, &address, port);
            prop_assert_eq!(read(&key), Some((name.as_str(), address.as_str(), port)));
        }

        #[test]
        fn a_body_is_json_of_what_went_in(name: String, tag: String, value: String) {
            let attrs = BTreeMap::from([("k".to_owned(), value.clone())]);
            let tags = [tag.clone()];
            let body = Body {
                name: &name, ip: "10.0.0.1", public_port: 1, private_port: 2, container: "c", tags: &tags, attrs: &attrs,
            };
            let text = body.json();
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&read["Name"], &name);
            prop_assert_eq!(&read["Tags"][0], &tag);
            prop_assert_eq!(&read["Attrs"]["k"], &value);
            prop_assert_eq!(container(text.as_bytes()), Some("c".to_owned()));
        }
    }
}
