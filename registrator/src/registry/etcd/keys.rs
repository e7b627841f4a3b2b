//! Services as keys and values, byte for byte as the original writes them, and back. Pure.
//!
//! | kind | key | value |
//! | --- | --- | --- |
//! | `etcd` | `<path>/<name>/<id>` | `10.0.0.1:80`, `[::1]:80` |
//! | `skydns2` | `/skydns/<labels of the domain, the last one first>/<name>/<id>` | `{"host":"10.0.0.1","port":80}` |

use std::sync::Arc;

use catalog::{Registration, ServiceSpec};

use crate::registry::skydns2;

/// Where services are kept, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelf {
    /// Empty, or `/path` without a slash at its end.
    root: String,
    /// Path or domain, as in a URI.
    called: String,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    SkyDns,
}

impl Shelf {
    /// Below this path, which may be empty; slashes at its ends mean nothing.
    #[must_use]
    pub fn plain(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        Self {
            root: parts.iter().map(|part| format!("/{part}")).collect(),
            called: parts.join("/"),
            form: Form::Plain,
        }
    }

    /// Where SkyDNS and CoreDNS look for names of this domain.
    ///
    /// # Errors
    /// What is wrong with the domain.
    pub fn skydns(domain: &str) -> Result<Self, String> {
        Ok(Self {
            root: skydns2::root(domain)?,
            called: domain.to_owned(),
            form: Form::SkyDns,
        })
    }

    /// Scheme of a URI that means this, and what stands behind its servers.
    pub(super) fn called(&self) -> (&'static str, &str) {
        let scheme = match self.form {
            Form::Plain => "etcd",
            Form::SkyDns => "skydns2",
        };
        (scheme, &self.called)
    }

    /// What all keys begin with; whatever follows is `<name>/<id>`.
    pub(super) fn prefix(&self) -> String {
        format!("{}/", self.root)
    }

    /// The whole key of an entry.
    pub(super) fn key(&self, entry: &str) -> String {
        format!("{}/{entry}", self.root)
    }

    /// The entry of a whole key.
    pub(super) fn entry<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(&self.root)?.strip_prefix('/')
    }

    /// Says why a service cannot be kept here, and which setting would help.
    pub(super) fn refuses(&self) -> Refuses {
        match self.form {
            Form::Plain => refuses,
            Form::SkyDns => {
                |service| refuses(service).or_else(|| skydns2::refuses(&service.name, &service.id))
            }
        }
    }

    /// What is kept of a service.
    pub(super) fn value(&self, service: &ServiceSpec) -> String {
        let ServiceSpec { address, port, .. } = service;
        match self.form {
            Form::SkyDns => skydns2::record(address, *port),
            Form::Plain if address.contains(':') => format!("[{address}]:{port}"),
            Form::Plain => format!("{address}:{port}"),
        }
    }

    /// What an entry tells of its service. One that nobody of us would have written has no address.
    pub(super) fn service(&self, entry: &str, value: &str) -> Option<Registration> {
        let (name, id) = entry.split_once('/')?;
        let place = match self.form {
            Form::Plain => plain(value),
            Form::SkyDns => skydns2::read(value),
        };
        let (address, port) = place.unwrap_or_default();
        Some(Registration {
            service: ServiceSpec {
                id: id.into(),
                name: name.into(),
                address,
                port,
                ..ServiceSpec::default()
            },
            checks: Vec::new(),
        })
    }
}

/// The setting that would help, and the reason.
type Refuses = fn(&ServiceSpec) -> Option<(&'static str, String)>;

/// What cannot be part of any key. What begins with an underscore is hidden from lists in v2, and marks are kept there.
fn refuses(service: &ServiceSpec) -> Option<(&'static str, String)> {
    let ServiceSpec { name, id, .. } = service;
    let odd = |text: &str| {
        text.split('/')
            .any(|part| matches!(part, "" | "." | "..") || part.starts_with('_'))
    };
    let why = |text: &str, more: &str| {
        format!(
            "{text:?} cannot be part of a key: {more}nothing empty, no dots alone, no underscore in front"
        )
    };
    if name.contains('/') || odd(name) {
        return Some(("SERVICE_NAME", why(name, "no slash, ")));
    }
    odd(id).then(|| ("SERVICE_ID", why(id, "")))
}

/// What tells entries apart.
pub(super) fn entry_of(service: &ServiceSpec) -> Arc<str> {
    format!("{}/{}", service.name, service.id).into()
}

fn plain(value: &str) -> Option<(String, u16)> {
    let (address, port) = value.rsplit_once(':')?;
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    Some((bare.unwrap_or(address).to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registry::is_of_a_host;

    fn service(name: &str, id: &str, address: &str, port: u16) -> ServiceSpec {
        ServiceSpec {
            id: id.into(),
            name: name.into(),
            address: address.to_owned(),
            port,
            ..ServiceSpec::default()
        }
    }

    fn written(shelf: &Shelf, service: &ServiceSpec) -> (String, String) {
        (shelf.key(&entry_of(service)), shelf.value(service))
    }

    #[test]
    fn keys_and_values_are_those_of_the_original() {
        let redis = service("redis", "t1:r:6379", "10.0.0.1", 10000);
        let six = service("dns", "t1:d:53:udp", "2001:db8::7", 53);
        let expect = |shelf: &Shelf, of: &ServiceSpec, key: &str, value: &str| {
            assert_eq!(written(shelf, of), (key.to_owned(), value.to_owned()));
        };
        let services = Shelf::plain("/services");
        expect(&services, &redis, "/services/redis/t1:r:6379", "10.0.0.1:10000");
        expect(&services, &six, "/services/dns/t1:d:53:udp", "[2001:db8::7]:53");
        expect(&Shelf::plain(""), &redis, "/redis/t1:r:6379", "10.0.0.1:10000");
        expect(
            &Shelf::plain("/a//b/"),
            &redis,
            "/a/b/redis/t1:r:6379",
            "10.0.0.1:10000",
        );
        let skydns = Shelf::skydns("cluster.local").expect("a domain");
        let named = service("redis", "redis-1", "10.0.0.1", 10000);
        expect(
            &skydns,
            &named,
            "/skydns/local/cluster/redis/redis-1",
            r#"{"host":"10.0.0.1","port":10000}"#,
        );
        let named = service("redis", "redis-1", "2001:db8::7", 1);
        expect(
            &skydns,
            &named,
            "/skydns/local/cluster/redis/redis-1",
            r#"{"host":"2001:db8::7","port":1}"#,
        );
    }

    #[test]
    fn what_cannot_be_part_of_a_key_is_refused_with_the_setting_that_helps() {
        let setting = |shelf: &Shelf, name, id| {
            let refused = shelf.refuses()(&service(name, id, "10.0.0.1", 1));
            refused.map(|(setting, _)| setting)
        };
        let plain = Shelf::plain("/services");
        assert_eq!(setting(&plain, "web", "t1:web:80"), None);
        assert_eq!(setting(&plain, "My_API", "a/b"), None);
        for name in ["team/web", "_web", "..", ""] {
            assert_eq!(setting(&plain, name, "x"), Some("SERVICE_NAME"), "{name}");
        }
        for id in ["", ".", "a/../b", "a//b", "_lictor", "a/_b"] {
            assert_eq!(setting(&plain, "web", id), Some("SERVICE_ID"), "{id}");
        }
        let skydns = Shelf::skydns("cluster.local").expect("a domain");
        assert_eq!(setting(&skydns, "web", "web-1"), None);
        assert_eq!(setting(&skydns, "web", "t1:web:80"), Some("SERVICE_ID"));
        assert_eq!(setting(&skydns, "..", "web-1"), Some("SERVICE_NAME"));
    }

    #[test]
    fn ids_of_the_original_are_told_by_their_shape() {
        for entry in ["web/t1:web:80", "web/t1:web:53:udp", "web/a:b:c:80"] {
            assert!(is_of_a_host(entry), "{entry}");
        }
        for entry in [
            "web/web-1",
            "web/t1:80",
            "web/t1::80",
            "web/:web:80",
            "web/t1:web:99999",
        ] {
            assert!(!is_of_a_host(entry), "{entry}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(
            name in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,8}",
            id in "[a-zA-Z0-9]([a-zA-Z0-9:/-]{0,8}[a-z0-9])?",
            v6: bool,
            port: u16,
            skydns: bool,
        ) {
            let shelf = if skydns { Shelf::skydns("a.example").expect("a domain") } else { Shelf::plain("p") };
            let address = if v6 { "2001:db8::1" } else { "10.1.2.3" };
            let wanted = service(&name, &id, address, port);
            prop_assume!(shelf.refuses()(&wanted).is_none());
            let (key, value) = written(&shelf, &wanted);
            let entry = shelf.entry(&key).expect("below its root");
            prop_assert_eq!(entry, &*entry_of(&wanted));
            prop_assert_eq!(shelf.service(entry, &value).expect("name and id").service, wanted);
        }

        #[test]
        fn whatever_others_have_written_is_read_without_harm(entry in ".{0,30}", value in ".{0,60}", skydns: bool) {
            let shelf = if skydns { Shelf::skydns("a.example").expect("a domain") } else { Shelf::plain("p") };
            let _ = shelf.service(&entry, &value);
            let _ = is_of_a_host(&entry);
        }
    }
}
