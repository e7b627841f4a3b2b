//! Services as keys of a Consul, byte for byte as the original writes them: `<prefix>/<name>/<id>` = `address:port`.
//!
//! There is no place for tags, attributes and checks. Whose an entry is stands in its flags, a number that
//! Consul keeps for its users beside each value, and decides: what others hold is neither written nor removed, and every
//! change is made only if the key is as it was found.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use api::client::Config;
use api::wire::kv::Pair;
use api::{ClientError, Query};
use catalog::service::META_OWNER;
use catalog::{Registration, ServiceSpec};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::ear::{HELD, Held};
use super::link::Link;
use crate::registry::{Abilities, Error, Lists, Offer, Registry, Terms, is_of_a_host};

/// Keys below a prefix.
#[derive(Debug)]
pub struct Keys {
    link: Link,
    prefix: String,
    owners: OnceLock<Owners>,
}

/// Whose keys are ours.
#[derive(Debug)]
struct Owners {
    /// Marks what we write.
    flags: u64,
    /// Our marks by their flags, those of before too.
    names: BTreeMap<u64, String>,
}

impl Owners {
    fn new(owner: &str, former: &[String]) -> Self {
        let names = former.iter().map(String::as_str).chain([owner]);
        Self {
            flags: flags(owner),
            names: names.map(|name| (flags(name), name.to_owned())).collect(),
        }
    }
}

impl Keys {
    /// Writes below `prefix`, which does not begin with a slash.
    ///
    /// # Errors
    /// The address or what it needs cannot be used.
    pub fn new(config: &Config, prefix: impl Into<String>) -> Result<Self, ClientError> {
        Ok(Self {
            link: Link::new(config)?,
            prefix: prefix.into(),
            owners: OnceLock::new(),
        })
    }

    fn owners(&self) -> Result<&Owners, Error> {
        self.owners.get().ok_or_else(Error::nobody)
    }

    fn whole(&self, key: &str) -> String {
        format!("{}/{key}", self.prefix)
    }

    async fn list(&self, owners: &Owners) -> Result<Vec<Registration>, ClientError> {
        let all = self
            .link
            .client
            .kv_list(&self.whole(""), &Query::default())
            .await?;
        let start = self.prefix.len() + 1;
        let read = |pair: &Pair| Some((owners.read(pair.key.get(start..)?, pair)?, pair.flags));
        let listed: Vec<_> = all.rows.iter().filter_map(read).collect();
        let ours = listed.iter().filter(|(_, flags)| *flags == owners.flags);
        self.link.ear.there(ours.map(|(entry, _)| key_of(&entry.service)));
        Ok(listed.into_iter().map(|(entry, _)| entry).collect())
    }

    async fn find(&self, whole: &str) -> Result<Option<Pair>, Error> {
        let found = self.link.client.kv_get(whole, &Query::default()).await;
        Ok(self.link.told(found, &format!("key:read on {whole:?}"))?.rows)
    }

    async fn write(&self, key: &str, value: String) -> Result<(), Error> {
        let (owners, whole) = (self.owners()?, self.whole(key));
        let seen = match self.find(&whole).await? {
            Some(seen) if !owners.may_change(&seen) => {
                return Err(Error::Refused(format!(
                    "{whole} holds {:?}, written by somebody else; another SERVICE_ID would help",
                    String::from_utf8_lossy(&seen.value)
                )));
            }
            // An attempt before this one was obeyed, and its answer lost.
            Some(seen) if seen.flags == owners.flags && *seen.value == *value.as_bytes() => return Ok(()),
            Some(seen) => seen.modify_index,
            None => 0,
        };
        let client = &self.link.client;
        let written = client.kv_put(&whole, value, owners.flags, Some(seen)).await;
        unless_overtaken(self.link.told(written, &may_write(&whole))?, &whole)
    }
}

impl Owners {
    /// Whether a key may be written or go on our word: it is ours, or of the original for a host that the reconciliation
    /// knows to be this one.
    fn may_change(&self, pair: &Pair) -> bool {
        self.names.contains_key(&pair.flags) || pair.flags == 0 && is_of_a_host(&pair.key)
    }

    /// What an entry tells of its service. One that nobody of us would have written has no address.
    fn read(&self, key: &str, pair: &Pair) -> Option<Registration> {
        let (name, id) = key.split_once('/')?;
        let (address, port) = place(&pair.value).unwrap_or_default();
        let owner = (pair.flags != 0).then(|| {
            let known = self.names.get(&pair.flags);
            known.cloned().unwrap_or_else(|| format!("flags {}", pair.flags))
        });
        let service = ServiceSpec {
            id: id.into(),
            name: name.into(),
            address,
            port,
            meta: owner
                .map(|owner| (META_OWNER.to_owned(), owner))
                .into_iter()
                .collect(),
            ..ServiceSpec::default()
        };
        Some(Registration {
            service,
            checks: Vec::new(),
        })
    }
}

impl Registry for Keys {
    fn name(&self) -> String {
        format!("{}/{}", self.link.called("consulkv"), self.prefix)
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            tells_health: false,
            lists: Lists::Places,
            key: key_of,
            refuses,
            ..Abilities::default()
        }
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), Error>> {
        // No leader is an answer too: the agent is there and will find one.
        async {
            let leader = self.link.client.leader().await;
            self.link.told(leader.map(drop), "nothing")
        }
        .boxed()
    }

    fn begin(&self, terms: &Terms) {
        self.owners
            .get_or_init(|| Owners::new(&terms.owner, &terms.former_owners));
    }

    fn services(&self) -> BoxFuture<'_, Result<Option<Vec<Registration>>, Error>> {
        async {
            let right = format!("key:read on {:?}", self.whole(""));
            let listed = self.list(self.owners()?).await;
            Ok(Some(self.link.told(listed, &right)?))
        }
        .boxed()
    }

    fn register<'a>(&'a self, wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        async {
            let service = &wanted.registration.service;
            let key = key_of(service);
            self.write(&key, value(&service.address, service.port)).await?;
            self.link.ear.there([key]);
            Ok(())
        }
        .boxed()
    }

    fn refresh<'a>(&'a self, _: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }

    fn deregister<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async {
            self.link.ear.goes(key);
            let (owners, whole) = (self.owners()?, self.whole(key));
            let Some(seen) = self.find(&whole).await?.filter(|seen| owners.may_change(seen)) else {
                return Ok(());
            };
            let client = &self.link.client;
            let removed = client.kv_delete(&whole, Some(seen.modify_index)).await;
            unless_overtaken(self.link.told(removed, &may_write(&whole))?, &whole)
        }
        .boxed()
    }

    fn faltered(&self) -> BoxFuture<'_, ()> {
        self.link.ear.alarm(self).boxed()
    }
}

impl Held for Keys {
    async fn is_there(&self) -> Result<(), ClientError> {
        // Keys are the leader's: without one nothing can be read.
        let query = Query::default();
        self.link.client.kv_get(&self.whole(""), &query).await.map(drop)
    }

    async fn mark(&self, key: &str, seen: Option<&str>) -> Result<Option<String>, ClientError> {
        let query = Query {
            index: seen.and_then(|seen| seen.parse().ok()).unwrap_or_default(),
            wait: Some(HELD),
            ..Query::default()
        };
        let held = self.link.client.kv_get(&self.whole(key), &query).await?;
        Ok(held.rows.map(|pair| pair.modify_index.to_string()))
    }
}

/// What tells entries apart.
fn key_of(service: &ServiceSpec) -> Arc<str> {
    format!("{}/{}", service.name, service.id).into()
}

/// Why a service cannot have a key, and the setting that would help. A slash would put it among the keys of another
/// service, from where it would be read back as that one's; and addresses do without what is only dots.
fn refuses(service: &ServiceSpec) -> Option<(&'static str, String)> {
    let ServiceSpec { name, id, .. } = service;
    let why = |text: &str| match text {
        "" | "." | ".." => Some(format!("{text:?} cannot be part of a key of Consul")),
        _ if text.contains('/') => Some(format!(
            "{text:?} cannot be part of a key of Consul: with a slash it would stand in another folder"
        )),
        _ => None,
    };
    let odd = |setting, text| Some((setting, why(text)?));
    odd("SERVICE_NAME", name).or_else(|| odd("SERVICE_ID", id))
}

fn unless_overtaken(done: bool, key: &str) -> Result<(), Error> {
    match done {
        true => Ok(()),
        false => Err(Error::Refused(format!("somebody else wrote {key} in between"))),
    }
}

fn may_write(key: &str) -> String {
    format!("key:write on {key:?}")
}

fn value(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

fn place(value: &[u8]) -> Option<(String, u16)> {
    let (address, port) = std::str::from_utf8(value).ok()?.rsplit_once(':')?;
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    Some((bare.unwrap_or(address).to_owned(), port.parse().ok()?))
}

/// The number that marks what an owner wrote: FNV-1a of its name. 0 is what everybody else writes.
fn flags(owner: &str) -> u64 {
    let hash = owner.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, flags: u64, value: &str) -> Pair {
        Pair {
            lock_index: 0,
            key: key.into(),
            flags,
            value: value.as_bytes().into(),
            session: None,
            create_index: 1,
            modify_index: 1,
        }
    }

    #[test]
    fn a_value_is_an_address_and_a_port_with_brackets_where_it_has_colons() {
        for (address, port, text) in [
            ("10.0.0.1", 80, "10.0.0.1:80"),
            ("2001:db8::7", 53, "[2001:db8::7]:53"),
        ] {
            assert_eq!(value(address, port), text);
            assert_eq!(place(text.as_bytes()), Some((address.to_owned(), port)));
        }
        for odd in [&b"10.0.0.1"[..], b"", b"h:99999", b"\xff:80"] {
            assert_eq!(place(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn flags_are_those_of_the_published_hash_and_never_those_of_nobody() {
        // From the authors' page: http://www.isthe.com/chongo/tech/comp/fnv/.
        assert_eq!(flags("foobar"), 0x8594_4171_f739_67e8);
        assert_ne!(flags(""), 0);
    }

    #[test]
    fn what_would_stand_among_the_keys_of_others_is_refused_with_the_setting_that_helps() {
        let refused = |name: &str, id: &str| {
            let service = ServiceSpec {
                name: name.into(),
                id: id.into(),
                ..ServiceSpec::default()
            };
            refuses(&service).map(|(setting, _)| setting)
        };
        assert_eq!(refused("web", "t1:web:80:udp"), None);
        assert_eq!(refused("a/b", "1"), Some("SERVICE_NAME"));
        assert_eq!(refused("web", "b/1"), Some("SERVICE_ID"));
        assert_eq!(refused("..", "1"), Some("SERVICE_NAME"));
        assert_eq!(refused("web", "."), Some("SERVICE_ID"));
        assert_eq!(refused("", "1"), Some("SERVICE_NAME"));
    }

    #[test]
    fn whose_an_entry_is_stands_in_its_flags() {
        let owners = Owners::new("us", &["we".to_owned()]);
        let owner = |flags| {
            let read = owners.read("web/t1:w:80", &pair("s/web/t1:w:80", flags, "10.0.0.1:80"));
            read.unwrap().service.meta.get(META_OWNER).cloned()
        };
        assert_eq!(owner(0), None);
        assert_eq!(owner(flags("us")).as_deref(), Some("us"));
        assert_eq!(owner(flags("we")).as_deref(), Some("we"));
        assert_eq!(owner(7).as_deref(), Some("flags 7"));
        assert_eq!(owners.read("web", &pair("s/web", 0, "x")), None);
    }
}
