//! What `-cfg-check` looks at beyond the configuration itself: that the files it names can be read, and mean something. A
//! start would tell of them one after the other, or later.

use std::io::ErrorKind;

use lb::config::{AuthKind, CertKind, CertSource, LogTarget};

use super::fault::Fault;
use super::machine::Machine;
use super::registry::{Backend, NoRoute, Registry};

/// What is wrong with a file: which, and why.
type Bad = (String, String);

/// A fault for every file that is needed and cannot be read, not understood, or not be written.
pub fn files(lb: &lb::Config, registry: Option<&Registry>, machine: &dyn Machine) -> Vec<Fault> {
    let mut bad = unread(lb, registry, machine);
    bad.extend(registry.and_then(|registry| unlisted(registry, machine)));
    bad.extend(unwritten(lb, registry, machine));
    bad.extend(certificates(lb, machine));
    bad.extend(places(lb, machine));
    bad.extend(passwords(lb, machine));
    bad.extend(registry.map_or(Vec::new(), |registry| commands(lb, registry, machine)));
    let mut faults = Vec::new();
    for (path, why) in bad {
        let fault = Fault::File { path, why };
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    faults
}

fn unread(lb: &lb::Config, registry: Option<&Registry>, machine: &dyn Machine) -> Vec<Bad> {
    let mut named = of_balancer(lb);
    named.extend(registry.into_iter().flat_map(of_registry));
    // An empty one is missing, which is a fault of its own.
    named.retain(|(path, _)| !path.is_empty());
    let bad = |(path, option): (String, String)| {
        let error = machine.read(&path).err()?;
        Some((path, format!("cannot be read: {error} ({option})")))
    };
    named.into_iter().filter_map(bad).collect()
}

/// The folder of authorities, which a start reads.
fn unlisted(registry: &Registry, machine: &dyn Machine) -> Option<Bad> {
    let tls = registry.consul.tls.as_ref();
    let tls = tls.filter(|_| matches!(registry.backend, Backend::Consul))?;
    let folder = tls.ca_path.as_deref().filter(|path| !path.is_empty())?;
    let error = machine.list(folder).err()?;
    let why = format!("cannot be read: {error} (registry.consul.tls.capath)");
    Some((folder.to_owned(), why))
}

fn unwritten(lb: &lb::Config, registry: Option<&Registry>, machine: &dyn Machine) -> Vec<Bad> {
    let snapshot = registry.and_then(|registry| registry.snapshot.as_deref());
    let places = [
        (access_log(lb), "log.access.target"),
        (snapshot, "registry.snapshot"),
    ];
    let bad = |(path, option): (Option<&str>, &str)| {
        let why = no_place(path?, machine)?;
        Some((path?.to_owned(), format!("cannot be written: {why} ({option})")))
    };
    places.into_iter().filter_map(bad).collect()
}

fn certificates(lb: &lb::Config, machine: &dyn Machine) -> Vec<Bad> {
    let bad = |source: &CertSource| {
        let CertKind::File { cert, key } = &source.kind else {
            return None;
        };
        let why = lb::check::certificate(&machine.read(cert).ok()?, &machine.read(key).ok()?)?;
        let why = format!("{why} (proxy.cs, source {:?})", &*source.name);
        Some((cert.clone(), why))
    };
    lb.certs.iter().filter_map(bad).collect()
}

/// Places of certificates and authorities that can never be read; a folder that is not there yet may come.
fn places(lb: &lb::Config, machine: &dyn Machine) -> Vec<Bad> {
    let mut bad = Vec::new();
    for source in &lb.certs {
        let option = format!("(proxy.cs, source {:?})", &*source.name);
        if let CertKind::Path(folder) = &source.kind {
            let files = [Some(folder), source.client_ca.as_ref()].into_iter().flatten();
            let files = files.filter(|path| machine.read(path).is_ok());
            bad.extend(files.map(|path| {
                (
                    path.clone(),
                    format!("is a file; type=path takes folders {option}"),
                )
            }));
        }
        let wrong = lb::check::place(source).map(|why| ("proxy.cs".to_owned(), format!("{why} {option}")));
        bad.extend(wrong);
    }
    bad
}

fn passwords(lb: &lb::Config, machine: &dyn Machine) -> Vec<Bad> {
    let mut bad = Vec::new();
    for scheme in &lb.auth {
        if let AuthKind::Basic { file, .. } = &scheme.kind
            && let Ok(text) = machine.read(file)
        {
            bad.extend(
                lb::check::htpasswd(&text)
                    .into_iter()
                    .map(|why| (file.clone(), why)),
            );
        }
    }
    bad
}

fn commands(lb: &lb::Config, registry: &Registry, machine: &dyn Machine) -> Vec<Bad> {
    let (place, text) = match registry.backend {
        Backend::Static => ("registry.static.routes", registry.fixed.routes.clone()),
        Backend::File => {
            let path = &registry.file.path;
            let bytes = machine.read(path).unwrap_or_default();
            (path.as_str(), String::from_utf8_lossy(&bytes).into_owned())
        }
        Backend::Consul | Backend::Custom => return Vec::new(),
    };
    let bad = lb::check::commands(lb, &text).into_iter();
    bad.map(|why| (place.to_owned(), why)).collect()
}

/// The file of the access log, where it goes to one.
fn access_log(lb: &lb::Config) -> Option<&str> {
    match &lb.access_log.as_ref()?.target {
        LogTarget::File { path, .. } => path.to_str(),
        LogTarget::Stdout | LogTarget::Syslog(_) => None,
    }
}

/// Why a file cannot be made there; what only the system knows (rights, room) is left to the start.
fn no_place(path: &str, machine: &dyn Machine) -> Option<String> {
    if path.ends_with('/') || machine.list(path).is_ok() {
        return Some("it is a folder".to_owned());
    }
    let folder = match path.rsplit_once('/') {
        None => ".",
        Some(("", _)) => "/",
        Some((folder, _)) => folder,
    };
    let error = machine.list(folder).err()?;
    let missing = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
    missing.then(|| format!("{folder}: {error}"))
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
            CertKind::Acme(acme) => acme
                .trust
                .iter()
                .chain(&source.client_ca)
                .for_each(|path| file(path)),
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
