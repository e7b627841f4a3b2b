//! What `-cfg-check` looks at beyond the configuration itself: that the files it names can be read, and mean something. A
//! start would tell of them one after the other, or later.

use lb::config::{AuthKind, CertKind};

use super::fault::Fault;
use super::machine::Machine;
use super::registry::{Backend, NoRoute, Registry};

/// A fault for every file that is needed and cannot be read, or not understood.
pub fn files(lb: &lb::Config, registry: Option<&Registry>, machine: &dyn Machine) -> Vec<Fault> {
    let mut named = of_balancer(lb);
    named.extend(registry.into_iter().flat_map(of_registry));
    let mut faults = Vec::new();
    let mut fault = |path: &str, why: String| {
        let path = path.to_owned();
        let fault = Fault::File { path, why };
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    };
    for (path, option) in named {
        if let Err(error) = machine.read(&path) {
            fault(&path, format!("cannot be read: {error} ({option})"));
        }
    }
    for source in &lb.certs {
        let CertKind::File { cert, key } = &source.kind else {
            continue;
        };
        if let (Ok(chain), Ok(secret)) = (machine.read(cert), machine.read(key))
            && let Some(why) = lb::check::certificate(chain.as_bytes(), secret.as_bytes())
        {
            fault(cert, format!("{why} (proxy.cs, source {:?})", &*source.name));
        }
    }
    for scheme in &lb.auth {
        let AuthKind::Basic { file, .. } = &scheme.kind else {
            continue;
        };
        for why in machine
            .read(file)
            .iter()
            .flat_map(|text| lb::check::htpasswd(text.as_bytes()))
        {
            fault(file, why);
        }
    }
    match registry {
        Some(registry) if registry.backend == Backend::Static => {
            for why in lb::check::commands(lb, &registry.fixed.routes) {
                fault("registry.static.routes", why);
            }
        }
        Some(registry) if registry.backend == Backend::File => {
            let path = &registry.file.path;
            for why in machine
                .read(path)
                .iter()
                .flat_map(|text| lb::check::commands(lb, text))
            {
                fault(path, why);
            }
        }
        _ => {}
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
