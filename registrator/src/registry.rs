//! The door to whoever keeps the registrations: five verbs that registrator users know.
//!
//! A registry only does what it is told. What should be there, what is there, and when to try
//! again is decided in `reconcile.rs`; an implementation never retries on its own.

pub mod consul;

use std::sync::Arc;

use catalog::Registration;
use futures_util::future::BoxFuture;

use consul::Consul;

/// A place where services are registered.
pub trait Registry: Send + Sync {
    /// Whether it can be reached.
    fn ping(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Everything registered there, whoever wrote it; `None` where it cannot tell. Checks may be
    /// left out by a registry that does not list them: then what was last written counts.
    fn services(&self) -> BoxFuture<'_, Result<Option<Vec<Registration>>, Error>>;

    /// Adds the service and its checks, or replaces what its id held.
    fn register<'a>(&'a self, wanted: &'a Registration) -> BoxFuture<'a, Result<(), Error>>;

    /// The service is known as `wanted` but for what its checks say: pass that on.
    fn refresh<'a>(&'a self, wanted: &'a Registration) -> BoxFuture<'a, Result<(), Error>>;

    /// Removes the service with its checks. One that is not there is removed already.
    fn deregister<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Error>>;
}

/// Why a registry did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer, or none in time.
    #[error("the registry cannot be reached: {0}")]
    Unreachable(String),
    /// It understood, and will not.
    #[error("the registry refused: {0}")]
    Refused(String),
}

/// The registry that a URI names, as users of the original write it: `consul://host:8500`.
///
/// # Errors
/// The scheme is none of ours, or the address cannot be used.
pub fn open(uri: &str) -> Result<Arc<dyn Registry>, OpenError> {
    let wrong = |reason: String| OpenError {
        uri: uri.to_owned(),
        reason,
    };
    let (scheme, rest) = uri
        .split_once(':')
        .ok_or_else(|| wrong("write it like consul://host:8500".to_owned()))?;
    // What follows the host has no meaning to a Consul agent.
    let host = rest
        .trim_start_matches("//")
        .split('/')
        .next()
        .filter(|host| !host.is_empty());
    match scheme {
        "consul" => Ok(Arc::new(
            Consul::new(host).map_err(|error| wrong(error.to_string()))?,
        )),
        _ => Err(wrong(format!(
            "the registry '{scheme}' is not supported; this version knows consul"
        ))),
    }
}

/// A URI that names no registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("registry {uri:?}: {reason}")]
pub struct OpenError {
    /// As given.
    pub uri: String,
    /// What is wrong with it.
    pub reason: String,
}
