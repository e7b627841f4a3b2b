//! The one place where a URI becomes a registry.

use std::sync::Arc;

use registrator::registry::Registry;
use registrator::registry::consul::Consul;
use registrator::registry::consul::kv::Keys;
use registrator::registry::etcd::{Api, Credentials, Etcd, Settings, Shelf};
use registrator::registry::zookeeper::{self, ZooKeeper};

use super::BuildError;
use crate::config::Uri;
use crate::config::uri::consul;
use crate::config::uri::etcd;

/// The registry that a URI means, for a registrator of this configuration. Contacts nobody.
///
/// # Errors
/// It cannot be used, with the reason.
pub(super) fn open(uri: &Uri, config: &registrator::Config) -> Result<Arc<dyn Registry>, BuildError> {
    match uri {
        Uri::Consul(consul) => {
            let opened = Consul::new(&client(consul)?);
            Ok(Arc::new(opened.map_err(|error| wrong(&error))?))
        }
        Uri::ConsulKv(consul, prefix) => {
            let opened = Keys::new(&client(consul)?, prefix.as_str());
            Ok(Arc::new(opened.map_err(|error| wrong(&error))?))
        }
        Uri::Etcd(etcd) => cluster(etcd, Shelf::plain(&etcd.path), Api::ByVersion, config),
        Uri::SkyDns(etcd) => {
            let shelf = Shelf::skydns(&etcd.path);
            let shelf = shelf.map_err(|reason| wrong(&reason))?;
            cluster(etcd, shelf, Api::PreferV2, config)
        }
        Uri::ZooKeeper(tree) => {
            // A mark that is made is plain.
            if config.machine.is_none() {
                let plain = zookeeper::tree::part(&config.owner);
                plain.map_err(|why| wrong(&format_args!("whose entries are ours: {why}")))?;
            }
            let opened = ZooKeeper::new(&tree.hosts, &tree.path);
            Ok(Arc::new(opened.map_err(|reason| wrong(&reason))?))
        }
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
        ttl: config.ttl,
    };
    let etcd = Etcd::new(settings).map_err(|reason| wrong(&reason))?;
    Ok(Arc::new(etcd))
}

/// How a Consul is reached. Reads its token, where that is in a file.
fn client(consul: &consul::Consul) -> Result<api::client::Config, BuildError> {
    let token = match &consul.token_file {
        None => consul.token.as_ref().map(|token| token.reveal().to_owned()),
        Some(path) => {
            let read = std::fs::read_to_string(path);
            let read = read.map_err(|error| {
                wrong(&format_args!(
                    "CONSUL_HTTP_TOKEN_FILE: {}: {error}",
                    path.display()
                ))
            })?;
            Some(read.trim().to_owned())
        }
    };
    let login = consul.login.as_ref();
    Ok(api::client::Config {
        token,
        login: login.map(|(user, password)| (user.clone(), password.reveal().to_owned())),
        tls: consul.tls.clone().map(Box::new),
        ..api::client::Config::new(&consul.address)
    })
}

fn wrong(reason: &dyn std::fmt::Display) -> BuildError {
    BuildError::of("registry uri", reason)
}
