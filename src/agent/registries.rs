//! The one place where a URI becomes a registry.

use std::sync::Arc;

use registrator::registry::Registry;
use registrator::registry::consul::Consul;

use super::BuildError;
use crate::config::Uri;
use crate::config::uri::consul::{self, At};

/// The registry that a URI means. Contacts nobody.
///
/// # Errors
/// It cannot be used, with the reason.
pub(super) fn open(uri: &Uri) -> Result<Arc<dyn Registry>, BuildError> {
    match uri {
        Uri::Consul(consul) => agent(consul),
        Uri::ConsulKv(..) | Uri::Etcd(_) | Uri::SkyDns(_) | Uri::ZooKeeper(_) => Err(later()),
    }
}

fn agent(consul: &consul::Consul) -> Result<Arc<dyn Registry>, BuildError> {
    let At::Http(address) = &consul.at else {
        return Err(later());
    };
    let mut config = api::client::Config::new(address);
    config.token = consul.token.as_ref().map(|token| token.reveal().to_owned());
    match Consul::new(&config) {
        Ok(consul) => Ok(Arc::new(consul)),
        Err(error) => Err(BuildError::of("registry uri", &error)),
    }
}

/// Reading a URI refuses these before.
fn later() -> BuildError {
    BuildError::of("registry uri", &"not supported by this version of lictor")
}
