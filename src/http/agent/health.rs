//! The agent's own verdict on services it vouches for, for balancers that ask with a status code.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::wire::health::AgentHealth;
use api::wire::service::AgentService;
use catalog::check::{NODE_MAINTENANCE, SERVICE_MAINTENANCE_PREFIX};
use catalog::{ServiceSpec, Status};
use hyper::{StatusCode, header};

use super::check::shown;
use crate::http::reply::{Fault, Reply};
use crate::http::request::Ask;
use crate::local::LocalCheck;

/// From best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Checked(Status),
    Maintenance,
}

impl Verdict {
    fn of<'a>(checks: impl Iterator<Item = &'a LocalCheck>) -> Self {
        let verdicts = checks.map(|check| {
            let id = &check.spec.id;
            let held = **id == *NODE_MAINTENANCE || id.starts_with(SERVICE_MAINTENANCE_PREFIX);
            if held {
                Self::Maintenance
            } else {
                Self::Checked(check.spec.status)
            }
        });
        verdicts.max().unwrap_or(Self::Checked(Status::Passing))
    }

    fn word(self) -> &'static str {
        match self {
            Self::Checked(status) => status.as_str(),
            Self::Maintenance => "maintenance",
        }
    }

    fn code(self) -> StatusCode {
        match self {
            Self::Checked(Status::Passing) => StatusCode::OK,
            Self::Checked(Status::Warning) => StatusCode::TOO_MANY_REQUESTS,
            Self::Checked(Status::Critical) | Self::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// `GET /v1/agent/health/service/id/<id>`.
pub fn by_id(ask: &Ask) -> Result<Reply, Fault> {
    if ask.rest.is_empty() {
        return Err(Fault::bad("Missing serviceID"));
    }
    let desk = Desk::of(ask);
    let Some(spec) = desk.services.get(ask.rest.as_str()) else {
        let nothing = AgentHealth {
            aggregated_status: "critical".to_owned(),
            service: None,
            checks: None,
        };
        return Ok(missing(
            ask,
            &format!("ServiceId {} not found", ask.rest),
            nothing,
        ));
    };
    let (verdict, health) = desk.judge(spec);
    Ok(answer(ask, verdict, health))
}

/// `GET /v1/agent/health/service/name/<name>`.
pub fn by_name(ask: &Ask) -> Result<Reply, Fault> {
    if ask.rest.is_empty() {
        return Err(Fault::bad("Missing service Name"));
    }
    let desk = Desk::of(ask);
    let named = desk
        .services
        .values()
        .filter(|spec| spec.name.eq_ignore_ascii_case(&ask.rest));
    let judged: Vec<_> = named.map(|spec| desk.judge(spec)).collect();
    let Some(worst) = judged.iter().map(|(verdict, _)| *verdict).max() else {
        let nothing = Vec::<AgentHealth>::new();
        return Ok(missing(
            ask,
            &format!("ServiceName {} Not Found", ask.rest),
            nothing,
        ));
    };
    let rows: Vec<_> = judged.into_iter().map(|(_, health)| health).collect();
    Ok(answer(ask, worst, rows))
}

/// One look at the local table.
struct Desk<'a> {
    ask: &'a Ask,
    services: BTreeMap<Arc<str>, Arc<ServiceSpec>>,
    checks: BTreeMap<Arc<str>, LocalCheck>,
}

impl<'a> Desk<'a> {
    fn of(ask: &'a Ask) -> Self {
        Self {
            ask,
            services: ask.context.local.services(),
            checks: ask.context.local.checks(),
        }
    }

    /// Checks of the node count for every service on it.
    fn judge(&self, spec: &ServiceSpec) -> (Verdict, AgentHealth) {
        let speaks = |check: &&LocalCheck| check.spec.service_id.as_ref().is_none_or(|id| *id == spec.id);
        let verdict = Verdict::of(self.checks.values().filter(speaks));
        let checks = self
            .checks
            .values()
            .filter(speaks)
            .map(|check| shown(self.ask, check, &self.services));
        let health = AgentHealth {
            aggregated_status: verdict.word().to_owned(),
            service: Some(AgentService::of(spec, self.ask.datacenter())),
            checks: Some(checks.collect()),
        };
        (verdict, health)
    }
}

fn answer(ask: &Ask, verdict: Verdict, value: impl serde::Serialize + Send + 'static) -> Reply {
    let reply = if as_text(ask) {
        Reply::text(verdict.word())
    } else {
        Reply::json(value)
    };
    reply
        .status(verdict.code())
        .header("x-consul-reason", verdict.word())
}

fn missing(ask: &Ask, text: &str, value: impl serde::Serialize + Send + 'static) -> Reply {
    let reply = if as_text(ask) {
        Reply::text(text)
    } else {
        Reply::json(value)
    };
    reply
        .status(StatusCode::NOT_FOUND)
        .header("x-consul-reason", text)
}

fn as_text(ask: &Ask) -> bool {
    let accepts = ask
        .headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    ask.params.get("format") == Some("text") || accepts.is_some_and(|accept| accept.starts_with("text/plain"))
}
