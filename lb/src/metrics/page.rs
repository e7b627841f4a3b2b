//! What a scraper reads: on listeners of `proto=prometheus`, and on the admin server.

use prometheus::{Registry, TextEncoder};

/// Type of [`text`].
pub(crate) const KIND: &str = "text/plain; version=0.0.4";

/// Everything in the registry, as Prometheus reads it. Written aside: thousands of targets take a while, and the
/// caller's thread may carry traffic.
pub(crate) async fn text(registry: &Registry) -> Result<String, String> {
    let registry = registry.clone();
    let written =
        tokio::task::spawn_blocking(move || TextEncoder::new().encode_to_string(&registry.gather()));
    match written.await {
        Ok(text) => text.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
