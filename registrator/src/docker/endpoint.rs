//! Where the engine is: what the user says → an endpoint. Contacts nobody.
//!
//! Contexts of the `docker` command are not read: they are files in somebody's home, and a service that follows
//! another engine because its user typed `docker context use` is a surprise.

use std::fmt;
use std::path::{Path, PathBuf};

use api::tls::Tls;

use crate::config::BuildError;

/// Where the original looks, whose image is started with the engine's socket there.
const ORIGINALS_SOCKET: &str = "/tmp/docker.sock";
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
const PODMAN_SOCKET: &str = "/run/podman/podman.sock";
/// The engine's own ports, where an address names none.
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;
/// What an address of an engine looks like.
const RIGHT: &str = "an address like unix:///var/run/docker.sock, tcp://host:2375 or https://host:2376";
const NO_SSH: &str = "an address with unix://, tcp:// or https://; Lictor starts no ssh: forward the socket with \
    ssh -N -L /run/remote.sock:/var/run/docker.sock host, and name unix:///run/remote.sock";
const NO_PIPE: &str = "an address with unix://, tcp:// or https://; named pipes are for engines on Windows";

/// What a user says of the engine's whereabouts. By default the usual sockets of root are tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineAddress {
    /// The option, else `DOCKER_HOST`; `None`: the usual sockets are tried, one after the other.
    pub host: Option<String>,
    /// Whether `tcp://` means TLS, as it does where `DOCKER_TLS_VERIFY` has a value.
    pub tls: bool,
    /// The folder of `ca.pem`, `cert.pem` and `key.pem` (`DOCKER_CERT_PATH`, else `~/.docker`). Files that are not there
    /// are not used: the system's authorities are trusted, no certificate is shown.
    pub certificates: Option<PathBuf>,
    /// Where engines without root have their sockets (`XDG_RUNTIME_DIR`).
    pub runtime_dir: Option<PathBuf>,
    /// Whether `/tmp/docker.sock` is tried first, the default of the original.
    pub like_the_original: bool,
}

/// Where the engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// The first of these sockets that is there and may be used.
    Sockets(Vec<PathBuf>),
    Remote(Remote),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// What stands before every path, for engines behind a proxy; empty or `/…`.
    pub(super) prefix: String,
    pub(super) tls: Option<Certificates>,
}

/// The folder of certificate files, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificates(Option<PathBuf>);

impl EngineAddress {
    /// Whether an engine can be named like this; else what would be right.
    ///
    /// # Errors
    /// What would be right.
    pub fn judge(host: &str) -> Result<(), &'static str> {
        let said = Self {
            host: Some(host.to_owned()),
            ..Self::default()
        };
        said.endpoint().map(drop)
    }

    pub(crate) fn choose(&self) -> Result<Endpoint, BuildError> {
        self.endpoint().map_err(|expected| BuildError::Invalid {
            setting: "DOCKER_HOST",
            value: self.host.clone().unwrap_or_default(),
            expected,
        })
    }

    fn endpoint(&self) -> Result<Endpoint, &'static str> {
        let Some(host) = &self.host else {
            return Ok(Endpoint::Sockets(self.usual_sockets()));
        };
        let (scheme, rest) = host.split_once("://").unwrap_or(("unix", host));
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Endpoint::Sockets(vec![rest.into()])),
            "tcp" => self.remote(rest, self.tls),
            "http" => self.remote(rest, false),
            "https" => self.remote(rest, true),
            "ssh" => Err(NO_SSH),
            "npipe" => Err(NO_PIPE),
            _ => Err(RIGHT),
        }
    }

    /// As `docker` and `podman` place them; sockets of an engine of root come before those of a user's.
    fn usual_sockets(&self) -> Vec<PathBuf> {
        let original = self.like_the_original.then(|| ORIGINALS_SOCKET.into());
        let in_runtime_dir = |path: &str| self.runtime_dir.as_ref().map(|dir| dir.join(path));
        let sockets = [
            original,
            Some(DOCKER_SOCKET.into()),
            in_runtime_dir("docker.sock"),
            in_runtime_dir("podman/podman.sock"),
            Some(PODMAN_SOCKET.into()),
        ];
        sockets.into_iter().flatten().collect()
    }

    fn remote(&self, rest: &str, tls: bool) -> Result<Endpoint, &'static str> {
        let (authority, prefix) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let authority: hyper::http::uri::Authority = authority.parse().map_err(|_| RIGHT)?;
        let host = authority.host().trim_matches(['[', ']']);
        // `a:` and `a:x` parse as an authority without a port.
        let spelt_out = authority.as_str().len() == authority.host().len();
        let port = match authority.port_u16() {
            Some(port) => port,
            None if !spelt_out => return Err(RIGHT),
            None if tls => TLS_PORT,
            None => PLAIN_PORT,
        };
        if host.is_empty() || authority.as_str().contains('@') || prefix.contains(['?', '#']) {
            return Err(RIGHT);
        }
        Ok(Endpoint::Remote(Remote {
            host: host.to_owned(),
            port,
            prefix: prefix.trim_end_matches('/').to_owned(),
            tls: tls.then(|| Certificates(self.certificates.clone())),
        }))
    }
}

impl Remote {
    /// `host:port`, with brackets where they belong.
    pub(super) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl Certificates {
    /// The files that are there now: they may be replaced while we run. Looks at the disk.
    pub(super) fn files(&self) -> Tls {
        let file = |name| {
            self.0
                .as_deref()
                .map(|folder| folder.join(name))
                .filter(|file| file.exists())
        };
        let (cert_file, key_file) = (file("cert.pem"), file("key.pem"));
        // One without the other is a mistake, and is called so when the missing one is read.
        let pair = (cert_file.is_some() || key_file.is_some())
            .then(|| self.0.clone())
            .flatten();
        let of_pair = |name| pair.as_deref().map(|folder: &Path| folder.join(name));
        Tls {
            ca_file: file("ca.pem"),
            cert_file: of_pair("cert.pem"),
            key_file: of_pair("key.pem"),
            ..Tls::default()
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sockets(paths) => {
                for (number, path) in paths.iter().enumerate() {
                    let or = if number > 0 { " or " } else { "" };
                    write!(f, "{or}unix://{}", path.display())?;
                }
                Ok(())
            }
            Self::Remote(remote) => {
                let scheme = if remote.tls.is_some() { "https" } else { "tcp" };
                write!(f, "{scheme}://{}{}", remote.authority(), remote.prefix)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(host: &str, tls: bool) -> String {
        let address = EngineAddress {
            host: Some(host.to_owned()),
            tls,
            ..EngineAddress::default()
        };
        match address.endpoint() {
            Ok(endpoint) => endpoint.to_string(),
            Err(expected) => format!("must be {expected}"),
        }
    }

    #[test]
    fn an_engine_is_named_as_docker_names_it() {
        for (host, tls, endpoint) in [
            ("unix:///var/run/docker.sock", true, "unix:///var/run/docker.sock"),
            ("/run/d.sock", false, "unix:///run/d.sock"),
            ("tcp://10.0.0.2:4243", false, "tcp://10.0.0.2:4243"),
            ("tcp://engine", false, "tcp://engine:2375"),
            ("tcp://engine", true, "https://engine:2376"),
            ("http://engine:1", true, "tcp://engine:1"),
            ("https://[fd00::2]:2376/", false, "https://[fd00::2]:2376"),
            ("tcp://[::1]", false, "tcp://[::1]:2375"),
            ("tcp://proxy:80/engines/a/", false, "tcp://proxy:80/engines/a"),
        ] {
            assert_eq!(said(host, tls), endpoint, "{host}");
        }
    }

    #[test]
    fn what_names_no_engine_is_told_what_would() {
        for host in [
            "",
            "engine",
            "unix://",
            "unix://run/d.sock",
            "tcp://",
            "tcp://:2375",
            "tcp://a:x",
            "tcp://a:",
            "tcp://a:99999",
            "tcp://me@a:1",
            "tcp://a:1/b?c",
            "fd://",
            "ftp://a",
            "tcp://a b",
        ] {
            assert_eq!(said(host, false), format!("must be {RIGHT}"), "{host:?}");
        }
        assert!(said("ssh://me@host", false).contains("forward the socket with ssh -N -L"));
        assert!(said("npipe:////./pipe/docker_engine", false).contains("Windows"));
    }

    #[test]
    fn sockets_are_looked_for_where_engines_put_them_the_originals_first_under_its_name() {
        let sockets = |address: EngineAddress| address.choose().unwrap().to_string();
        assert_eq!(
            sockets(EngineAddress::default()),
            "unix:///var/run/docker.sock or unix:///run/podman/podman.sock"
        );
        let address = EngineAddress {
            runtime_dir: Some("/run/user/7".into()),
            like_the_original: true,
            ..EngineAddress::default()
        };
        assert_eq!(
            sockets(address),
            "unix:///tmp/docker.sock or unix:///var/run/docker.sock or unix:///run/user/7/docker.sock or \
             unix:///run/user/7/podman/podman.sock or unix:///run/podman/podman.sock"
        );
    }

    #[test]
    fn certificates_that_are_not_there_are_not_used_and_half_a_pair_is_asked_for_whole() {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates(Some(folder.path().to_owned()));
        assert_eq!(certificates.files(), Tls::default());
        std::fs::write(folder.path().join("ca.pem"), "").unwrap();
        assert_eq!(
            certificates.files(),
            Tls {
                ca_file: Some(folder.path().join("ca.pem")),
                ..Tls::default()
            }
        );
        std::fs::write(folder.path().join("key.pem"), "").unwrap();
        assert_eq!(
            certificates.files().cert_file,
            Some(folder.path().join("cert.pem"))
        );
        assert_eq!(Certificates(None).files(), Tls::default());
    }
}
