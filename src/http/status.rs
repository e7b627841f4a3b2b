//! Who leads, and the small texts: the root page and metrics.

use prometheus::{Encoder as _, TextEncoder};

use super::endpoint::not_implemented;
use super::reply::{Fault, Reply};
use super::request::Ask;

/// `GET /`: there is no page to look at yet.
pub fn root(_ask: &Ask) -> Result<Reply, Fault> {
    Ok(Reply::text("Consul Agent"))
}

/// `GET /v1/status/leader`: one node leads itself.
pub fn leader(ask: &Ask) -> Result<Reply, Fault> {
    Ok(Reply::json(ask.context.identity.server_address()))
}

/// `GET /v1/status/peers`: one node is its only peer.
pub fn peers(ask: &Ask) -> Result<Reply, Fault> {
    Ok(Reply::json([ask.context.identity.server_address()]))
}

/// `GET /metrics`: every metric of this process, in Prometheus' text.
pub fn metrics(ask: &Ask) -> Result<Reply, Fault> {
    exported(&ask.context.registry)
}

/// All that is in there, in Prometheus' text.
pub fn exported(registry: &prometheus::Registry) -> Result<Reply, Fault> {
    let mut text = Vec::new();
    let families = registry.gather();
    TextEncoder::new()
        .encode(&families, &mut text)
        .map_err(|error| Fault::internal(error.to_string()))?;
    Ok(Reply::text(String::from_utf8_lossy(&text)).header("content-type", prometheus::TEXT_FORMAT))
}

/// `GET /v1/agent/metrics?format=prometheus`.
pub fn agent_metrics(ask: &Ask) -> Result<Reply, Fault> {
    match ask.params.get("format") {
        Some("prometheus") => metrics(ask),
        _ => Err(not_implemented("GET /v1/agent/metrics without format=prometheus")),
    }
}
