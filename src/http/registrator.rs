//! What a registrator answers: `/v1/registrator`, also in an agent, and, alone, `/health` and `/metrics`.
//!
//! Tells and changes nothing. Who may ask is a matter of the address it listens on.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use prometheus::{IntCounter, Registry};
use registrator::account::Report;
use registrator::{Asker, Connection, Status};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::reply::{Fault, Reply};
use super::request::Ask;
use super::{METRICS, guard, request, status};

/// A registrator that says nothing for so long is not well, or has not begun.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who knows what a registrator thinks.
#[derive(Clone)]
pub struct Mouth {
    asker: Asker,
    engine: String,
    state: watch::Receiver<Status>,
}

impl Mouth {
    /// Of this one.
    pub fn of(registrator: &registrator::Registrator) -> Self {
        Self {
            asker: registrator.asker(),
            engine: registrator.engine(),
            state: registrator.status(),
        }
    }

    /// What it thinks, or nothing if it does not say so in time; and why it is not well, if it is not.
    async fn asked(&self) -> (Option<Report>, Connection, Vec<String>) {
        let report = tokio::time::timeout(PATIENCE, self.asker.report()).await;
        let report = report.ok().flatten();
        let engine = self.state.borrow().engine.clone();
        let reasons = reasons((&self.engine, &engine), report.as_ref());
        (report, engine, reasons)
    }

    /// `GET /v1/registrator`: what it thinks, refusals included.
    pub async fn thinks(&self) -> Result<Reply, Fault> {
        let (report, engine, reasons) = self.asked().await;
        match report {
            None => Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, reasons.join("; "))),
            Some(report) => Ok(Reply::json(self.told(&report, &engine))),
        }
    }

    fn told(&self, report: &Report, engine: &Connection) -> Value {
        let mut told = report.json();
        let why = match engine {
            Connection::Waiting { reason } => Some(reason),
            _ => None,
        };
        told["engine"] = json!({
            "address": self.engine,
            "connected": *engine == Connection::Connected,
            "reason": why,
        });
        told
    }
}

/// `GET /v1/registrator` of an agent.
pub async fn of_agent(ask: Ask) -> Result<Reply, Fault> {
    match &ask.context.registrator {
        Some(mouth) => mouth.thinks().await,
        None => Err(Fault::missing(
            "this agent follows no containers (-registrator=false)",
        )),
    }
}

/// What the answers of a lone one are made of.
#[derive(Clone)]
pub struct Alone {
    mouth: Mouth,
    registry: Registry,
    node: String,
    failed_accepts: IntCounter,
}

impl Alone {
    /// Of this registrator on the host `node`; metrics of its own are added to `registry`.
    ///
    /// # Errors
    /// When another part of the process has taken the name of a metric.
    pub fn new(
        registrator: &registrator::Registrator,
        node: String,
        registry: Registry,
    ) -> prometheus::Result<Self> {
        let [_, (failed, .., about_failed)] = METRICS;
        let failed_accepts = IntCounter::new(failed, about_failed)?;
        registry.register(Box::new(failed_accepts.clone()))?;
        registrator.register_metrics(&registry)?;
        Ok(Self {
            mouth: Mouth::of(registrator),
            registry,
            node,
            failed_accepts,
        })
    }

    /// Answers on `listener` until `stop`.
    ///
    /// # Errors
    /// None so far.
    pub async fn run(self, listener: TcpListener, stop: CancellationToken) -> Result<(), Infallible> {
        let failed = self.failed_accepts.clone();
        let answer = move |_: SocketAddr, on_loopback, request| self.clone().serve(on_loopback, request);
        super::listen(listener, &failed, stop, answer).await;
        Ok(())
    }

    async fn serve(
        self,
        on_loopback: bool,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let pretty = request::is_pretty(request.uri().query());
        Ok(match self.answer(on_loopback, &request).await {
            Ok(reply) => reply.into_response(pretty),
            Err(fault) => fault.into_response(),
        })
    }

    async fn answer(&self, on_loopback: bool, request: &Request<Incoming>) -> Result<Reply, Fault> {
        guard::judge(request, on_loopback, (&self.node, ""))?;
        let path = request.uri().path();
        if !matches!(path, "/health" | "/metrics" | "/v1/registrator") {
            let known = "there are /health, /metrics and /v1/registrator";
            return Err(Fault::missing(format!("nothing is at {path}; {known}")));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let text = "only GET and HEAD, nothing can be changed here";
            return Err(
                Fault::new(StatusCode::METHOD_NOT_ALLOWED, text).header(hyper::header::ALLOW, "GET, HEAD")
            );
        }
        if path == "/metrics" {
            return status::exported(&self.registry);
        }
        if path != "/health" {
            return self.mouth.thinks().await;
        }
        let (_, _, reasons) = self.mouth.asked().await;
        let code = match reasons.is_empty() {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        let health = json!({"healthy": reasons.is_empty(), "reasons": reasons});
        Ok(Reply::json(health).status(code))
    }
}

/// Why a registrator is not well; nothing if it is.
fn reasons((address, engine): (&str, &Connection), report: Option<&Report>) -> Vec<String> {
    let mut reasons = Vec::new();
    let Some(report) = report else {
        let waited = PATIENCE.as_secs();
        reasons.push(format!(
            "it has not begun, no registry has answered yet; or it is stuck: it said nothing for {waited} s"
        ));
        return reasons;
    };
    match engine {
        Connection::Connected => {}
        Connection::Starting => {
            reasons.push(format!("the container engine at {address} has not answered yet"));
        }
        Connection::Waiting { reason } => {
            reasons.push(format!(
                "the container engine at {address} cannot be heard: {reason}"
            ));
        }
    }
    for registry in &report.registries {
        match &registry.unreachable {
            Some(reason) => reasons.push(format!("{}: {reason}", registry.name)),
            None if !registry.read => reasons.push(format!("{} has not answered yet", registry.name)),
            None => {}
        }
    }
    if !report.surveyed {
        reasons.push("not every container was looked at yet".to_owned());
    }
    reasons
}

#[cfg(test)]
mod tests {
    use registrator::account::Registrar;

    use super::*;

    fn report(unreachable: Option<&str>) -> Report {
        let registrar = Registrar {
            name: "consul://a:8500".to_owned(),
            read: unreachable.is_none(),
            unreachable: unreachable.map(str::to_owned),
            waiting: 0,
            failures: Vec::new(),
        };
        Report {
            surveyed: true,
            registries: vec![registrar],
            containers: Vec::new(),
        }
    }

    #[test]
    fn it_is_well_once_engine_and_registries_answer_and_all_was_compared() {
        let connected = ("unix:///d", &Connection::Connected);
        assert_eq!(reasons(connected, Some(&report(None))), [""; 0]);
        let down = reasons(connected, Some(&report(Some("connection refused"))));
        assert_eq!(down, ["consul://a:8500: connection refused"]);
        let early = Report {
            surveyed: false,
            ..report(None)
        };
        assert_eq!(
            reasons(connected, Some(&early)),
            ["not every container was looked at yet"]
        );
        let waiting = Connection::Waiting {
            reason: "no such file".to_owned(),
        };
        let deaf = reasons(("unix:///d", &waiting), Some(&report(None)));
        assert_eq!(
            deaf,
            ["the container engine at unix:///d cannot be heard: no such file"]
        );
        assert!(reasons(connected, None)[0].starts_with("it has not begun"));
    }
}
