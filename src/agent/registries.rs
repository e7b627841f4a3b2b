//! The one place where a URI becomes a registry.

use std::sync::Arc;

use registrator::registry::Registry;
use registrator::registry::consul::Consul;
use registrator::registry::etcd::{Api, Credentials, Etcd, Settings, Shelf};
use registrator::registry::zookeeper::ZooKeeper;

use super::BuildError;
use crate::config::Uri;
use crate::config::uri::consul::{self, At};
use crate::config::uri::etcd;

/// The registry that a URI means, for a registrator of this configuration. Contacts nobody.
///
/// # Errors
/// It cannot be used, with the reason.
pub(super) fn open(uri: &Uri, config: &registrator::Config) -> Result<Arc<dyn Registry>, BuildError> {
    match uri {
        Uri::Consul(consul) => agent(consul),
        Uri::Etcd(etcd) => cluster(etcd, Shelf::plain(&etcd.path), Api::ByVersion, config),
        Uri::SkyDns(etcd) => {
            let shelf = Shelf::skydns(&etcd.path);
            let shelf = shelf.map_err(|reason| BuildError::of("registry uri", &reason))?;
            cluster(etcd, shelf, Api::PreferV2, config)
        }
        Uri::ConsulKv(..) => Err(later()),
        Uri::ZooKeeper(tree) => match ZooKeeper::new(&tree.hosts, &tree.path, &config.owner) {
            Ok(zookeeper) => Ok(Arc::new(zookeeper)),
            Err(reason) => Err(BuildError::of("registry uri", &reason)),
        },
    }
}

fn cluster(
    uri: &etcd::Etcd,
    shelf: Shelf,
    by_default: Api,
    config: &registrator::Config,
) -> Result<Arc<dyn Registry>, BuildError> {
    let user = uri.user.as_ref().map(|(user, password)| Credentials {
        user: user.clone(),
        password: password.reveal().to_owned(),
    });
    let settings = Settings {
        members: uri.endpoints.clone(),
        tls: uri.tls.clone(),
        user,
        shelf,
        api: match uri.api {
            Some(etcd::Api::V2) => Api::V2,
            Some(etcd::Api::V3) => Api::V3,
            None => by_default,
        },
        owner: config.owner.clone(),
        former_owners: config.former_owners.clone(),
        ttl: config.ttl,
    };
    let etcd = Etcd::new(settings).map_err(|reason| BuildError::of("registry uri", &reason))?;
    Ok(Arc::new(etcd))
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
