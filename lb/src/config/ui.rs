//! The admin server (`ui.*`).

use std::net::{Ipv4Addr, SocketAddr};

use super::{BadValue, Listener, Secret};

/// How the balancer is shown and changed by people and programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ui {
    /// `ui.addr`: where; over TLS with a certificate source.
    pub listener: Listener,
    /// `ui.access`.
    pub access: Access,
    /// `ui.color`: name of a Materialize colour.
    pub color: String,
    /// `ui.title`: shown in the header.
    pub title: String,
    /// `ui.path`: what all paths but `/health` begin with; empty, or `/…` without a slash at its end.
    pub path: String,
    /// `ui.token`: who says it (`Authorization: Bearer`, `X-Consul-Token`, `?token=`) may read and write.
    pub token: Option<Secret>,
    /// `ui.auth`: name of a scheme of `proxy.auth` whose users may read and write.
    pub auth: Option<String>,
    /// `ui.routingtable.source.*`.
    pub source_links: Option<SourceLinks>,
}

/// What may be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Read.
    ReadOnly,
    /// Read and write; strangers off loopback only read.
    #[default]
    Default,
    /// Read and write, because the operator wrote `rw`: also for strangers off loopback where nobody is asked who
    /// they are. Said in the log.
    ReadWrite,
}

/// The source column of the table as links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLinks {
    /// `.newtab`.
    pub new_tab: bool,
    /// `.scheme`.
    pub scheme: String,
    /// `.host`: instead of the route's.
    pub host: String,
    /// `.port`.
    pub port: String,
}

impl Ui {
    /// As by default, but there.
    #[must_use]
    pub fn at(addr: SocketAddr) -> Self {
        Self {
            listener: Listener::http(addr),
            ..Self::default()
        }
    }
}

impl Default for Ui {
    fn default() -> Self {
        Self {
            listener: Listener::http(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9998)),
            access: Access::default(),
            color: "light-green".to_owned(),
            title: String::new(),
            path: String::new(),
            token: None,
            auth: None,
            source_links: None,
        }
    }
}

/// `ui.access`: `ro`, `rw`, or nothing.
pub fn parse_access(text: &str) -> Result<Access, BadValue> {
    match text {
        "ro" => Ok(Access::ReadOnly),
        "rw" => Ok(Access::ReadWrite),
        "" => Ok(Access::Default),
        _ => Err(BadValue::new(
            format!("invalid ui.access: {text}"),
            "it is ro or rw",
        )),
    }
}

/// `ui.path`: the start of paths, with a slash in front and none at its end.
pub fn parse_ui_path(text: &str) -> Result<String, BadValue> {
    let inner = text.trim_matches('/');
    if inner.is_empty() {
        return Ok(String::new());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if inner.chars().all(plain) {
        return Ok(format!("/{inner}"));
    }
    Err(BadValue::new(
        format!("invalid ui.path: {text}"),
        "it is a path, for example /fabio",
    ))
}
