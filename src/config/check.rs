//! What `-cfg-check` looks at beyond the configuration itself: that the files it names can be read. A start would find
//! them one after the other.

use lb::config::{AuthKind, CertKind};

use super::fault::Fault;
use super::machine::Machine;
use super::registry::{Backend, NoRoute, Registry};

/// A fault for every file that is needed and cannot be read.
pub fn files(lb: &lb::Config, registry: Option<&Registry>, machine: &dyn Machine) -> Vec<Fault> {
    let mut named = of_balancer(lb);
    named.extend(registry.into_iter().flat_map(of_registry));
    let mut faults = Vec::new();
    for (path, option) in named {
        if let Err(error) = machine.read(&path) {
            let fault = Fault::File {
                path,
                why: format!("cannot be read: {error} ({option})"),
            };
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
    }
    faults
}

/// Files with the option that names them.
fn of_balancer(lb: &lb::Config) -> Vec<(String, String)> {
    let mut named = Vec::new();
    for source in &lb.certs {
        let option = format!("proxy.cs, source {:?}", &*source.name);
        let mut file = |path: &str| named.push((path.to_owned(), option.clone()));
        match &source.kind {
            CertKind::File { cert, key } => {
                file(cert);
                file(key);
                source.client_ca.iter().for_each(|path| file(path));
            }
            CertKind::Acme(acme) => acme.trust.iter().for_each(|path| file(path)),
            // A folder may come later, and the others are no files.
            CertKind::Path(_)
            | CertKind::Http(_)
            | CertKind::Consul(_)
            | CertKind::Vault(_)
            | CertKind::VaultPki(_) => {}
        }
        if let Some(path) = source
            .vault_fetch_token
            .as_deref()
            .and_then(|way| way.strip_prefix("file:"))
        {
            file(path);
        }
    }
    for scheme in &lb.auth {
        if let AuthKind::Basic { file, .. } = &scheme.kind {
            named.push((file.clone(), format!("proxy.auth, scheme {:?}", &*scheme.name)));
        }
    }
    named
}

fn of_registry(registry: &Registry) -> Vec<(String, String)> {
    let mut named = Vec::new();
    let mut file = |path: &str, option: &str| named.push((path.to_owned(), option.to_owned()));
    match registry.backend {
        Backend::Static => {
            if let NoRoute::File(path) = &registry.fixed.no_route {
                file(path, "registry.static.noroutehtmlpath");
            }
        }
        Backend::File => {
            file(&registry.file.path, "registry.file.path");
            if let NoRoute::File(path) = &registry.file.no_route {
                file(path, "registry.file.noroutehtmlpath");
            }
        }
        Backend::Consul => {
            let tls = registry.consul.tls.clone().unwrap_or_default();
            if let Some((cert, key)) = &tls.pair {
                file(cert, "registry.consul.tls.certfile");
                file(key, "registry.consul.tls.keyfile");
            }
            if let Some(path) = &tls.ca_file {
                file(path, "registry.consul.tls.cafile");
            }
        }
        Backend::Custom => {}
    }
    named
}
