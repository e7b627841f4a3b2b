//! Health as the catalog knows it.

use std::sync::Arc;

use api::wire::check::HealthCheck;
use api::wire::health::HealthEntry;
use catalog::{Check, Interest, State, Status};

use super::catalog::{has_meta, instances};
use super::reply::{Fault, Reply};
use super::request::Ask;

/// `GET /v1/health/node/<name>`.
pub async fn node(ask: Ask) -> Result<Reply, Fault> {
    if ask.rest.is_empty() {
        return Err(Fault::bad("Missing node name"));
    }
    let answer = ask
        .answer(Interest::on_node(&ask.rest), |state| state.checks_on(&ask.rest))
        .await;
    Ok(ask.fresh(shown(&answer.rows).indexed(answer.index)))
}

/// `GET /v1/health/checks/<service>`.
pub async fn checks(ask: Ask) -> Result<Reply, Fault> {
    if ask.rest.is_empty() {
        return Err(Fault::bad("Missing service name"));
    }
    let mut answer = ask
        .answer(Interest::service(&ask.rest), |state| state.checks_of(&ask.rest))
        .await;
    keep_nodes(&ask, &mut answer.rows);
    Ok(ask.fresh(shown(&answer.rows).indexed(answer.index)))
}

/// `GET /v1/health/service/<name>`.
pub async fn service(ask: Ask) -> Result<Reply, Fault> {
    let passing = passing_only(&ask)?;
    let answer = instances(&ask).await?;
    let rows = answer
        .rows
        .iter()
        .filter(|instance| !passing || instance.status() == Status::Passing);
    let rows: Vec<_> = rows
        .map(|instance| HealthEntry::of(instance, ask.datacenter()))
        .collect();
    Ok(ask.fresh(Reply::json(rows).indexed(answer.index)))
}

/// `GET /v1/health/state/<state>`.
pub async fn state(ask: Ask) -> Result<Reply, Fault> {
    let word = match ask.rest.as_str() {
        "" => return Err(Fault::bad("Missing check state")),
        "any" => None,
        word => Some(word.parse::<Status>()),
    };
    let mut answer = ask
        .answer(Interest::Checks, |state: &State| match &word {
            None => state.checks_in(None),
            Some(Ok(status)) => state.checks_in(Some(*status)),
            // A word that is no state: nothing is in it, but its index moves all the same.
            Some(Err(_)) => catalog::Answer {
                index: state.checks_in(None).index,
                rows: Vec::new(),
            },
        })
        .await;
    keep_nodes(&ask, &mut answer.rows);
    Ok(ask.fresh(shown(&answer.rows).indexed(answer.index)))
}

/// `passing`, bare or with a boolean as Go reads it.
fn passing_only(ask: &Ask) -> Result<bool, Fault> {
    match ask.params.get("passing") {
        None => Ok(false),
        Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(_) => Err(Fault::bad("Invalid value for ?passing")),
    }
}

fn keep_nodes(ask: &Ask, checks: &mut Vec<Arc<Check>>) {
    let meta = ask.params.node_meta();
    if meta.is_empty() {
        return;
    }
    let state = ask.context.store.read();
    checks.retain(|check| {
        state
            .node(&check.node)
            .rows
            .is_some_and(|node| has_meta(&node, &meta))
    });
}

fn shown(checks: &[Arc<Check>]) -> Reply {
    Reply::json(
        checks
            .iter()
            .map(|check| HealthCheck::from(&**check))
            .collect::<Vec<_>>(),
    )
}
