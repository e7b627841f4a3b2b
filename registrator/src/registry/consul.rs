//! An agent that speaks Consul's HTTP API, be it Consul's own or another Lictor's.
//!
//! Only this process knows the state of the containers, so their check is sent as a TTL check that
//! practically never runs out and is told what to say: registrations outlive the registrator, as
//! its users expect, and do so in the state they were in.
//!
//! | file | |
//! | --- | --- |
//! | `kv.rs` | the same services as keys, for readers of those |
//! | `link.rs` | the client of both, and words for what is refused |
//! | `ear.rs` | hears when entries get lost |

mod ear;
pub mod kv;
mod link;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use api::ClientError;
use api::client::Config;
use api::wire::check::AgentCheck;
use catalog::check::{CONTAINER_PREFIX, Definition, Probe};
use catalog::service::META_OWNER;
use catalog::{Registration, ServiceSpec, Status};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, try_join};

use super::{ALIVE, Abilities, Error, Lists, Offer, Registry, Terms};
use ear::{HELD, Held};
use link::Link;

/// Ten years: the state of a container is told, not kept alive.
const AS_GOOD_AS_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Services of an agent.
#[derive(Debug)]
pub struct Consul {
    link: Link,
    /// Marks what is ours, once that is known.
    owner: OnceLock<String>,
    /// Checks that registrators made, by the service they speak for, as far as they were listed or registered. An agent
    /// keeps those that a new registration does not bring.
    checks: Mutex<BTreeMap<Arc<str>, BTreeSet<Arc<str>>>>,
}

impl Consul {
    /// Registers with the agent that `config` leads to.
    ///
    /// # Errors
    /// The address or what it needs cannot be used.
    pub fn new(config: &Config) -> Result<Self, ClientError> {
        Ok(Self {
            link: Link::new(config)?,
            owner: OnceLock::new(),
            checks: Mutex::default(),
        })
    }

    async fn list(&self) -> Result<Vec<Registration>, ClientError> {
        let client = &self.link.client;
        let (services, checks) = try_join(client.agent_services(), client.agent_checks()).await?;
        let services: BTreeMap<_, _> = services
            .into_values()
            .map(ServiceSpec::from)
            .map(|service| (service.id.clone(), service))
            .collect();
        let owner = self.owner.get();
        let is_ours = |service: &ServiceSpec| owner.is_some() && service.meta.get(META_OWNER) == owner;
        let (mut made, mut states) = (BTreeMap::<_, BTreeSet<_>>::new(), BTreeMap::new());
        for check in checks.into_values() {
            let service = check.check.service_id.clone();
            let named_by_us = services.get(&service).is_some_and(is_ours);
            if is_made_by_registrators(&check.check.id, &service, named_by_us) {
                let ids = made.entry(service.clone()).or_default();
                ids.insert(check.check.id.clone());
            }
            if *check.check.id == *format!("{CONTAINER_PREFIX}{service}") {
                states.insert(service, state(check));
            }
        }
        *self.checks.lock().unwrap_or_else(PoisonError::into_inner) = made;
        let ours = services.values().filter(|service| is_ours(service));
        self.link.ear.there(ours.map(|service| service.id.clone()));
        let listed = services.into_values().map(|service| Registration {
            checks: states.remove(&service.id).into_iter().collect(),
            service,
        });
        Ok(listed.collect())
    }

    /// Tells the agent what the container's check says.
    async fn tell(&self, wanted: &Registration) -> Result<(), ClientError> {
        for check in wanted
            .checks
            .iter()
            .filter(|check| check.probe == Probe::Container)
        {
            let status = check.initial.unwrap_or(Status::Critical);
            let client = &self.link.client;
            client.update_check(&check.id, status, &check.output).await?;
        }
        Ok(())
    }

    async fn replace(&self, wanted: &Offer) -> Result<(), ClientError> {
        let Offer {
            registration, fit, ..
        } = wanted;
        // An agent that knows the check keeps its status over a registration: nobody is to be sent to a
        // container that is unfit, not for a moment. One that does not know it says so.
        if *fit != Status::Passing {
            _ = self.tell(registration).await;
        }
        self.link.client.register(&as_told(registration)).await?;
        self.tell(registration).await?;
        let id = &registration.service.id;
        let brought: BTreeSet<_> = registration.checks.iter().map(|check| check.id.clone()).collect();
        let known = self.known_checks(id);
        for left in known.difference(&brought) {
            match self.link.client.deregister_check(left).await {
                // Gone already, whatever it is called there.
                Ok(()) | Err(ClientError::Status { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.insert(id.clone(), brought);
        Ok(())
    }

    fn known_checks(&self, service: &str) -> BTreeSet<Arc<str>> {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.get(service).cloned().unwrap_or_default()
    }
}

impl Registry for Consul {
    fn name(&self) -> String {
        self.link.called("consul")
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            lists: Lists::States,
            ..Abilities::default()
        }
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), Error>> {
        async { self.link.told(self.is_there().await, "nothing") }.boxed()
    }

    fn begin(&self, terms: &Terms) {
        self.owner.get_or_init(|| terms.owner.clone());
    }

    fn services(&self) -> BoxFuture<'_, Result<Option<Vec<Registration>>, Error>> {
        async { Ok(Some(self.link.told(self.list().await, "service:read")?)) }.boxed()
    }

    fn register<'a>(&'a self, wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        async {
            let service = &wanted.registration.service;
            self.link
                .told(self.replace(wanted).await, &may_write(&service.name))?;
            self.link.ear.there([service.id.clone()]);
            Ok(())
        }
        .boxed()
    }

    fn refresh<'a>(&'a self, wanted: &'a Offer) -> BoxFuture<'a, Result<(), Error>> {
        async {
            let told = self.tell(&wanted.registration).await;
            self.link
                .told(told, &may_write(&wanted.registration.service.name))
        }
        .boxed()
    }

    fn report<'a>(&'a self, check: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let client = &self.link.client;
            let told = client.update_check(check, Status::Passing, ALIVE).await;
            self.link
                .told(told, &format!("service:write for check {check:?}"))
        }
        .boxed()
    }

    fn deregister<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        async {
            self.link.ear.goes(key);
            let gone = match self.link.client.deregister(key).await {
                Err(error) if is_unknown(&error) => Ok(()),
                other => other,
            };
            self.link.told(gone, &may_write(key))
        }
        .boxed()
    }

    fn faltered(&self) -> BoxFuture<'_, ()> {
        self.link.ear.alarm(self).boxed()
    }
}

impl Held for Consul {
    async fn is_there(&self) -> Result<(), ClientError> {
        // No leader is an answer too: the agent is there and will find one.
        self.link.client.leader().await.map(drop)
    }

    async fn mark(&self, key: &str, seen: Option<&str>) -> Result<Option<String>, ClientError> {
        let held = self.link.client.agent_service_after(key, seen, HELD).await?;
        Ok(held.map(|service| service.content_hash))
    }
}

fn may_write(service: &str) -> String {
    format!("service:write on {service:?}")
}

/// Whether a check is one that registrators make, ours or the original: others are others' affair. Ours may be called
/// by any name (`SERVICE_CHECK_ID`), the original's are numbered.
fn is_made_by_registrators(check: &str, service: &str, ours: bool) -> bool {
    let of_several = |rest: &str| match rest.strip_prefix(':') {
        Some(name) => ours || name.parse::<u16>().is_ok(),
        None => rest.is_empty(),
    };
    let of = |prefix| check.strip_prefix(prefix)?.strip_prefix(service);
    !service.is_empty()
        && (of(CONTAINER_PREFIX).is_some_and(str::is_empty) || of("service:").is_some_and(of_several))
}

/// What an agent shows of the container's check.
fn state(AgentCheck { check, .. }: AgentCheck) -> Definition {
    Definition {
        id: check.id,
        name: check.name,
        notes: check.notes,
        initial: Some(check.status),
        output: check.output,
        probe: Probe::Container,
        success_before_passing: 0,
        failures_before_critical: 0,
        deregister_critical_after: None,
    }
}

/// The registration with the container's check in a form that any agent can hold.
fn as_told(wanted: &Registration) -> Registration {
    let checks = wanted.checks.iter().map(|check| match check.probe {
        Probe::Container => Definition {
            probe: Probe::Ttl { ttl: AS_GOOD_AS_EVER },
            ..check.clone()
        },
        _ => check.clone(),
    });
    Registration {
        service: wanted.service.clone(),
        checks: checks.collect(),
    }
}

/// Whether an agent says that it has no such service; some versions say so with 500.
fn is_unknown(error: &ClientError) -> bool {
    let says_so = |text: &str| text.contains("Unknown service");
    error.is_not_found() || matches!(error, ClientError::Status { text, .. } if says_so(text))
}
