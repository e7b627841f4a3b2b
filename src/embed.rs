//! The in-process halves of both doors: registrations in, pictures out.
//!
//! Door in: the registrator's registry over the same local table that the HTTP API uses; nothing is
//! special-cased. Door out: pictures of what could be routed, for the balancer, which learns beside
//! the catalog of this host's containers that exist but do not run: it answers 503 for them, where
//! the catalog, which lists what runs, has nothing to say.

mod kv;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use catalog::check::{CONTAINER_PREFIX, CheckSpec, Definition};
use catalog::{
    Check, Index, Instance, InstanceKey, Picture, Registration, Service, ServiceSpec, State, Status,
};
use imbl::ordmap::DiffItem;
use registrator::registry::{ALIVE, Abilities, Error, Offer, Registry};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::kv::StoreKv;
use crate::config::registry::Overrides;
use crate::feed::{self, Outs, texts};
use crate::identity::Identity;
use crate::leader::CONSUL_SERVICE;
use crate::local::Local;
use crate::store::Store;

// === Door in ===

/// The agent's own catalog as a registry.
pub struct Door {
    local: Local,
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

impl Door {
    /// Registers with this agent.
    pub fn new(local: Local) -> Self {
        Self { local }
    }

    fn list(&self) -> Vec<Registration> {
        let mut checks = BTreeMap::<Arc<str>, Vec<Definition>>::new();
        for check in self.local.checks().into_values() {
            // Maintenance is nobody's registration.
            if let (Some(service), Some(mut definition)) = (check.spec.service_id, check.definition) {
                definition.initial = Some(check.spec.status);
                definition.output = check.spec.output;
                checks.entry(service).or_default().push(definition);
            }
        }
        let of_leader = ServiceSpec {
            id: CONSUL_SERVICE.into(),
            name: CONSUL_SERVICE.into(),
            ..ServiceSpec::default()
        };
        let services = self.local.services();
        let services = services.values().map(|service| (**service).clone());
        services
            // Listed because it is taken, and whoever wants the id of it should hear so.
            .chain([of_leader])
            .map(|service| Registration {
                checks: checks.remove(&service.id).unwrap_or_default(),
                service,
            })
            .collect()
    }
}

impl Registry for Door {
    fn name(&self) -> String {
        "this agent".to_owned()
    }

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn services(&self) -> Answer<'_, Option<Vec<Registration>>> {
        Box::pin(async { Ok(Some(self.list())) })
    }

    fn register<'a>(&'a self, wanted: &'a Offer) -> Answer<'a, ()> {
        Box::pin(async {
            self.local.register((*wanted.registration).clone(), true).await;
            Ok(())
        })
    }

    fn refresh<'a>(&'a self, wanted: &'a Offer) -> Answer<'a, ()> {
        Box::pin(async {
            self.local.register((*wanted.registration).clone(), false).await;
            Ok(())
        })
    }

    fn report<'a>(&'a self, check: &'a str) -> Answer<'a, ()> {
        Box::pin(async {
            let heard = self.local.report(check, Status::Passing, ALIVE).await;
            heard.map_err(|error| Error::Refused(error.to_string()))
        })
    }

    fn deregister<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async {
            self.local.deregister(key).await;
            Ok(())
        })
    }
}

// === Door out ===

/// Containers of this host that exist but do not run, as the registrator last saw them.
pub type Stopped = watch::Receiver<Arc<[Registration]>>;

/// Turns states into pictures of what could be routed.
pub struct Feed {
    store: Store,
    stopped: Stopped,
    outs: Outs,
    keys: Overrides,
    /// Indexes of what was last told of the keys.
    told: (Index, Index),
    projection: Projection,
    /// What `resting` was made from.
    last_rest: Arc<[Registration]>,
    resting: Picture,
    identity: Arc<Identity>,
}

impl Feed {
    /// Follows `store` and `stopped`. Routable is what has a tag that starts with `tag_prefix`, or
    /// the container port that the registrator noted; `keys` are where people write to the balancer.
    pub fn new(
        store: Store,
        stopped: Stopped,
        identity: Arc<Identity>,
        tag_prefix: String,
        keys: Overrides,
    ) -> (Self, lb::Inputs) {
        let (outs, inputs) = Outs::new();
        let projection = Projection {
            tag_prefix,
            seen: Picture::new(),
            routable: Picture::new(),
        };
        let inputs = lb::Inputs {
            kv: Some(Arc::new(StoreKv::new(store.clone()))),
            ..inputs
        };
        let feed = Self {
            store,
            stopped,
            outs,
            keys,
            told: (0, 0),
            projection,
            last_rest: [].into(),
            resting: Picture::new(),
            identity,
        };
        (feed, inputs)
    }

    /// Publishes a picture at every change, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), std::convert::Infallible> {
        let mut states = self.store.subscribe();
        states.mark_changed();
        let mut watch_stopped = true;
        loop {
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return Ok(()) },
                changed = self.stopped.changed(), if watch_stopped => watch_stopped = changed.is_ok(),
                () = stop.cancelled() => return Ok(()),
            }
            // As in the store: traffic first.
            std::thread::yield_now();
            let state = states.borrow_and_update().clone();
            self.look(&state);
        }
    }

    /// Publishes what there is to be seen now, if it differs from what was seen last.
    fn look(&mut self, state: &State) {
        self.rest();
        self.read_keys(state);
        self.projection.advance(state.picture());
        // Of an id that runs and rests, say a container made anew under its old name, the first counts.
        let shown = self.projection.routable.clone().union(self.resting.clone());
        self.outs.instances.send_if_modified(|last| {
            let changed = !same(last, &shown);
            *last = shown;
            changed
        });
        self.outs
            .known
            .send_if_modified(|known| !std::mem::replace(known, true));
    }

    /// Reads again what people wrote, where its index has moved.
    fn read_keys(&mut self, state: &State) {
        let commands = state.kv_under(&self.keys.routes);
        let page = state.kv_under(&self.keys.no_route);
        let told = std::mem::replace(&mut self.told, (commands.index, page.index));
        if told.0 != commands.index {
            let text = texts::commands(&self.keys.routes, entries(&commands.rows));
            feed::tell(&self.outs.overrides, text);
        }
        if told.1 != page.index {
            let text = texts::page(&self.keys.no_route, entries(&page.rows));
            feed::tell(&self.outs.no_route, text);
        }
    }

    /// Renews the instances of containers at rest, if the registrator has looked again.
    fn rest(&mut self) {
        let at_rest = self.stopped.borrow_and_update().clone();
        if Arc::ptr_eq(&at_rest, &self.last_rest) {
            return;
        }
        self.last_rest = at_rest;
        let instances = self
            .last_rest
            .iter()
            .map(|registration| at_rest_on(&self.identity, registration))
            .filter(|instance| self.projection.could_route(instance));
        let fresh: Picture = instances
            .map(|instance| (instance.key(), Arc::new(instance)))
            .collect();
        // The old `Arc` serves on where nothing changed: the balancer compares by pointer.
        let keep = |(key, new): (InstanceKey, Arc<Instance>)| {
            let old = self.resting.get(&key).filter(|old| **old == new).cloned();
            (key, old.unwrap_or(new))
        };
        self.resting = fresh.into_iter().map(keep).collect();
    }
}

/// The routable part of a picture, kept in step change by change.
struct Projection {
    tag_prefix: String,
    seen: Picture,
    routable: Picture,
}

impl Projection {
    fn advance(&mut self, next: &Picture) {
        let seen = std::mem::replace(&mut self.seen, next.clone());
        for change in seen.diff(next) {
            match change {
                DiffItem::Add(key, instance)
                | DiffItem::Update {
                    new: (key, instance), ..
                } if self.could_route(instance) => {
                    self.routable.insert(key.clone(), instance.clone());
                }
                DiffItem::Add(key, _) | DiffItem::Update { new: (key, _), .. } | DiffItem::Remove(key, _) => {
                    self.routable.remove(key);
                }
            }
        }
    }

    fn could_route(&self, instance: &Instance) -> bool {
        feed::could_route(instance, &self.tag_prefix)
    }
}

fn entries(rows: &[Arc<catalog::kv::Entry>]) -> impl Iterator<Item = (&str, &[u8])> {
    rows.iter().map(|entry| (&*entry.key, &*entry.value))
}

/// Whether two pictures show the very same instances.
fn same(a: &Picture, b: &Picture) -> bool {
    a.len() == b.len() && a.diff(b).next().is_none()
}

/// A container at rest as an instance that is not fit for traffic.
fn at_rest_on(identity: &Identity, registration: &Registration) -> Instance {
    let node = catalog::Node {
        spec: identity.node_spec(),
        created: 0,
        modified: 0,
    };
    let service = Service {
        spec: registration.service.clone(),
        created: 0,
        modified: 0,
    };
    let output = registration
        .checks
        .first()
        .map(|check| check.output.clone())
        .unwrap_or_default();
    let spec = CheckSpec {
        id: format!("{CONTAINER_PREFIX}{}", service.spec.id).into(),
        name: "Container state".to_owned(),
        status: Status::Critical,
        notes: String::new(),
        output,
        service_id: Some(service.spec.id.clone()),
        kind: "container".to_owned(),
    };
    let check = Check {
        node: identity.node.clone(),
        spec,
        service_name: service.spec.name.clone(),
        service_tags: service.spec.tags.clone(),
        created: 0,
        modified: 0,
    };
    Instance {
        node: Arc::new(node),
        service: Arc::new(service),
        checks: vec![Arc::new(check)],
    }
}

#[cfg(test)]
mod tests;
