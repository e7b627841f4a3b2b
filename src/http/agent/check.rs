//! Checks that this agent runs or listens for.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use api::wire::body::Fields;
use api::wire::check::AgentCheck;
use api::wire::register;
use catalog::{ServiceSpec, Status};

use crate::http::reply::{Fault, Reply};
use crate::http::request::Ask;
use crate::local::LocalCheck;

/// What is kept of the words of a report: as much as of the answer to a check that runs here.
const MOST_OUTPUT: usize = 4096;

/// `GET /v1/agent/checks`.
pub fn checks(ask: &Ask) -> Result<Reply, Fault> {
    let (checks, services) = (ask.context.local.checks(), ask.context.local.services());
    let rows = checks
        .iter()
        .map(|(id, check)| (id.clone(), shown(ask, check, &services)));
    Ok(Reply::json(rows.collect::<BTreeMap<_, _>>()))
}

/// How a check is shown beside the services it may speak for.
pub fn shown(ask: &Ask, check: &LocalCheck, services: &BTreeMap<Arc<str>, Arc<ServiceSpec>>) -> AgentCheck {
    let service = check.spec.service_id.as_ref().and_then(|id| services.get(id));
    let nobody = ServiceSpec::default();
    let service = service.map_or(&nobody, |service| &**service);
    let node = &ask.context.identity.node;
    AgentCheck::of(
        node,
        &check.spec,
        check.definition.as_ref(),
        (&service.name, &service.tags),
    )
}

/// `PUT /v1/agent/check/register`.
pub async fn register(ask: Ask) -> Result<Reply, Fault> {
    let request = register::check(&ask.body)?;
    ask.context
        .local
        .register_check(request.definition, request.service_id.as_deref())
        .await?;
    Ok(Reply::done())
}

/// `PUT /v1/agent/check/deregister/<id>`. An unknown id is no error, as with Consul.
pub async fn deregister(ask: Ask) -> Result<Reply, Fault> {
    ask.context.local.deregister_check(&ask.rest).await;
    Ok(Reply::done())
}

/// `PUT /v1/agent/check/pass/<id>`.
pub async fn pass(ask: Ask) -> Result<Reply, Fault> {
    note(ask, Status::Passing).await
}

/// `PUT /v1/agent/check/warn/<id>`.
pub async fn warn(ask: Ask) -> Result<Reply, Fault> {
    note(ask, Status::Warning).await
}

/// `PUT /v1/agent/check/fail/<id>`.
pub async fn fail(ask: Ask) -> Result<Reply, Fault> {
    note(ask, Status::Critical).await
}

async fn note(ask: Ask, status: Status) -> Result<Reply, Fault> {
    report(&ask, status, ask.params.get("note").unwrap_or_default()).await
}

/// `PUT /v1/agent/check/update/<id>`.
pub async fn update(ask: Ask) -> Result<Reply, Fault> {
    let mut fields = Fields::parse(&ask.body)?;
    let (word, output) = (fields.text(&["Status"])?, fields.text(&["Output"])?);
    fields.finish()?;
    let status = word
        .parse()
        .map_err(|_| Fault::bad(format!("Invalid check status: '{word}'")))?;
    report(&ask, status, &output).await
}

async fn report(ask: &Ask, status: Status, output: &str) -> Result<Reply, Fault> {
    let kept = output.floor_char_boundary(MOST_OUTPUT);
    let mut words = output[..kept].to_owned();
    if kept < output.len() {
        let _ = write!(words, " ... (captured {kept} of {} bytes)", output.len());
    }
    ask.context.local.report(&ask.rest, status, &words).await?;
    Ok(Reply::done())
}
