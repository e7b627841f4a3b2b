//! Services that this agent vouches for.

pub mod check;
pub mod health;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::wire::register;
use api::wire::service::AgentService;
use catalog::{Answer, Interest, ServiceSpec, State};
use hyper::StatusCode;

use super::reply::{Fault, Reply};
use super::request::Ask;
use crate::store::Wait;

/// `GET /v1/agent/services`.
pub fn services(ask: &Ask) -> Result<Reply, Fault> {
    let services = ask.context.local.services();
    let rows = services
        .iter()
        .map(|(id, spec)| (id.clone(), AgentService::of(spec, ask.datacenter())));
    Ok(Reply::json(rows.collect::<BTreeMap<_, _>>()))
}

/// `GET /v1/agent/service/<id>`, waiting until its content differs from `hash`.
pub async fn service(ask: Ask) -> Result<Reply, Fault> {
    let shown = |spec: Arc<ServiceSpec>| AgentService::of(&spec, ask.datacenter()).with_hash();
    let seen = ask.params.given("hash").unwrap_or_default();
    // The hash takes the part of the index. A local change reaches the catalog before whoever made it
    // is answered, so waiting for this node there sees all of them.
    let question = |_: &State| {
        let rows = ask.context.local.service(&ask.rest).map(shown);
        let same = rows.as_ref().is_some_and(|service| service.content_hash == seen);
        Answer {
            index: u64::from(!same),
            rows,
        }
    };
    let interest = Interest::on_node(&ask.context.identity.node);
    let wait = Wait {
        after: 0,
        until: ask.hash_deadline(),
    };
    let answer = if seen.is_empty() {
        question(&ask.context.store.read())
    } else {
        ask.wait_until(interest, wait, question).await
    };
    match answer.rows {
        None => Err(Fault::missing(format!("unknown service ID: {}", ask.rest))),
        Some(service) => {
            let hash = service.content_hash.clone();
            Ok(Reply::json(service).header("x-consul-contenthash", &hash))
        }
    }
}

/// `PUT /v1/agent/service/register`.
pub async fn register(ask: Ask) -> Result<Reply, Fault> {
    let registration = register::service(&ask.body)?;
    let replace = match ask.params.get("replace-existing-checks") {
        None => false,
        Some(value) => matches!(value, "" | "true" | "1"),
    };
    ask.context.local.register(registration, replace).await;
    Ok(Reply::done())
}

/// `PUT /v1/agent/service/deregister/<id>`. An unknown id is no error, as with Consul 1.10: what was
/// asked for is the case.
pub async fn deregister(ask: Ask) -> Result<Reply, Fault> {
    if ask.rest.is_empty() {
        return Err(Fault::internal("ServiceID missing"));
    }
    if !ask.context.local.deregister(&ask.rest).await {
        tracing::info!(
            service = ask.rest,
            "asked to deregister a service that is not registered"
        );
    }
    Ok(Reply::done())
}

/// `PUT /v1/agent/service/maintenance/<id>`.
pub async fn service_maintenance(ask: Ask) -> Result<Reply, Fault> {
    if ask.rest.is_empty() {
        return Err(Fault::bad("Missing service ID"));
    }
    let enable = enable(&ask)?;
    let reason = ask.params.get("reason").unwrap_or_default();
    let unknown = |_| Fault::missing(format!("No service registered with ID {:?}", ask.rest));
    ask.context
        .local
        .maintenance(Some(&ask.rest), enable, reason)
        .await
        .map_err(unknown)?;
    Ok(Reply::done())
}

/// `PUT /v1/agent/maintenance`.
pub async fn node_maintenance(ask: Ask) -> Result<Reply, Fault> {
    let enable = enable(&ask)?;
    let reason = ask.params.get("reason").unwrap_or_default();
    ask.context.local.maintenance(None, enable, reason).await?;
    Ok(Reply::done())
}

fn enable(ask: &Ask) -> Result<bool, Fault> {
    match ask.params.get("enable") {
        None | Some("") => Err(Fault::new(StatusCode::BAD_REQUEST, "Missing value for enable")),
        Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
        Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(Fault::bad(format!("Invalid value for enable: {other:?}"))),
    }
}
