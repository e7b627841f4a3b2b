//! The door to whoever keeps the registrations: five verbs that registrator users know.
//!
//! A registry only does what it is told. What should be there, what is there, and when to try
//! again is decided in `reconcile.rs`; an implementation never retries on its own.

use catalog::Registration;
use futures_util::future::BoxFuture;

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
