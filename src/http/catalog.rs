//! The catalog as it is: nodes, services, and changes made past any agent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::wire::external::{self, CatalogChange};
use api::wire::node::Node;
use api::wire::service::{CatalogService, NodeService};
use catalog::service::NodeServices;
use catalog::{Answer, Instance, Interest, State};
use serde::Serialize;

use super::reply::{Fault, Reply};
use super::request::{Ask, own_datacenter};

/// `PUT /v1/catalog/register`.
pub async fn register(ask: Ask) -> Result<Reply, Fault> {
    change(&ask, external::register(&ask.body)?).await
}

/// `PUT /v1/catalog/deregister`.
pub async fn deregister(ask: Ask) -> Result<Reply, Fault> {
    change(&ask, external::deregister(&ask.body)?).await
}

async fn change(ask: &Ask, change: CatalogChange) -> Result<Reply, Fault> {
    own_datacenter(&ask.context, &change.datacenter)?;
    ask.context.store.propose(&change.command).await?;
    Ok(Reply::json(true))
}

/// `GET /v1/catalog/datacenters`.
pub fn datacenters(ask: &Ask) -> Result<Reply, Fault> {
    Ok(Reply::json([ask.datacenter().to_owned()]))
}

/// `GET /v1/catalog/nodes`.
pub async fn nodes(ask: Ask) -> Result<Reply, Fault> {
    let answer = ask.answer(Interest::Nodes, State::nodes).await;
    let meta = ask.params.node_meta();
    let rows = answer.rows.iter().filter(|node| has_meta(node, &meta));
    let rows: Vec<Node> = rows.map(|node| Node::of(node, ask.datacenter())).collect();
    Ok(ask.fresh(Reply::json(rows).indexed(answer.index)))
}

/// `GET /v1/catalog/services`.
pub async fn services(ask: Ask) -> Result<Reply, Fault> {
    let meta = ask.params.node_meta();
    let answer = ask.answer(Interest::Services, |state| {
        if meta.is_empty() {
            state.services()
        } else {
            services_on_nodes(state, &meta)
        }
    });
    let answer = answer.await;
    Ok(ask.fresh(Reply::json(answer.rows).indexed(answer.index)))
}

fn services_on_nodes(
    state: &State,
    meta: &[(String, String)],
) -> Answer<BTreeMap<Arc<str>, BTreeSet<String>>> {
    let mut rows = BTreeMap::<Arc<str>, BTreeSet<String>>::new();
    for instance in state
        .picture()
        .values()
        .filter(|instance| has_meta(&instance.node, meta))
    {
        let service = &instance.service.spec;
        rows.entry(service.name.clone())
            .or_default()
            .extend(service.tags.iter().cloned());
    }
    Answer {
        index: state.services().index.max(state.nodes().index),
        rows,
    }
}

/// `GET /v1/catalog/service/<name>`.
pub async fn service(ask: Ask) -> Result<Reply, Fault> {
    let answer = instances(&ask).await?;
    let rows = answer
        .rows
        .iter()
        .map(|instance| CatalogService::of(instance, ask.datacenter()));
    Ok(ask.fresh(Reply::json(rows.collect::<Vec<_>>()).indexed(answer.index)))
}

/// Instances of the service that the path names, with all the tags and node metadata asked for.
pub async fn instances(ask: &Ask) -> Result<Answer<Vec<Arc<Instance>>>, Fault> {
    if ask.rest.is_empty() {
        return Err(Fault::bad("Missing service name"));
    }
    let mut answer = ask
        .answer(Interest::service(&ask.rest), |state| {
            state.instances_of(&ask.rest)
        })
        .await;
    let meta = ask.params.node_meta();
    let wanted: Vec<&str> = ask.params.all("tag").filter(|tag| !tag.is_empty()).collect();
    answer.rows.retain(|instance| {
        let tags = &instance.service.spec.tags;
        wanted
            .iter()
            .all(|wanted| tags.iter().any(|tag| tag.eq_ignore_ascii_case(wanted)))
            && has_meta(&instance.node, &meta)
    });
    Ok(answer)
}

/// Whether a node has all of these pairs.
pub fn has_meta(node: &catalog::Node, wanted: &[(String, String)]) -> bool {
    wanted
        .iter()
        .all(|(key, value)| node.spec.meta.get(key) == Some(value))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NodeWithServices<S> {
    node: Option<Node>,
    services: Option<S>,
}

/// `GET /v1/catalog/node/<name or id>`: services by id.
pub async fn node(ask: Ask) -> Result<Reply, Fault> {
    let answer = services_on(&ask).await?;
    let reply = match answer.rows {
        None => Reply::json(()),
        Some((node, services)) => {
            let services = services
                .iter()
                .map(|service| (service.spec.id.clone(), NodeService::from(&**service)));
            Reply::json(NodeWithServices {
                node: Some(Node::of(&node, ask.datacenter())),
                services: Some(services.collect::<BTreeMap<_, _>>()),
            })
        }
    };
    Ok(ask.fresh(reply.indexed(answer.index)))
}

/// `GET /v1/catalog/node-services/<name or id>`: services in a list.
pub async fn node_services(ask: Ask) -> Result<Reply, Fault> {
    let answer = services_on(&ask).await?;
    let (node, services) = answer.rows.unzip();
    let list = |services: Vec<Arc<catalog::Service>>| {
        services
            .iter()
            .map(|service| NodeService::from(&**service))
            .collect::<Vec<_>>()
    };
    let reply = Reply::json(NodeWithServices {
        node: node.map(|node| Node::of(&node, ask.datacenter())),
        services: services.map(list),
    });
    Ok(ask.fresh(reply.indexed(answer.index)))
}

async fn services_on(ask: &Ask) -> Result<Answer<Option<NodeServices>>, Fault> {
    if ask.rest.is_empty() {
        return Err(Fault::bad("Missing node name"));
    }
    let name = node_name(&ask.context.store.read(), &ask.rest);
    Ok(ask
        .answer(Interest::on_node(&name), |state| state.services_on(&name))
        .await)
}

/// A node may be named by its id, or the first characters of it (two at least).
fn node_name(state: &State, asked: &str) -> Arc<str> {
    const SHORTEST: usize = 2;
    let named = state.node(asked).rows;
    let by_id = || {
        let nodes = state.nodes().rows;
        let mut alike = nodes.into_iter().filter(|node| node.spec.id.starts_with(asked));
        // Two nodes that begin alike are neither.
        alike.next().filter(|_| alike.next().is_none())
    };
    let node = named.or_else(|| if asked.len() >= SHORTEST { by_id() } else { None });
    node.map_or_else(|| asked.into(), |node| node.spec.name.clone())
}
