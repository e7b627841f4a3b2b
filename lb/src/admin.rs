//! The balancer shown to people and programs on `ui.addr`, with fabio's paths: the current table and what it does,
//! overrides and their editor, health, metrics.
//!
//! | file | |
//! | --- | --- |
//! | `admin/server.rs` | sockets, TLS, limits |
//! | `admin/guard.rs` | who may do what; pure |
//! | `admin/answer.rs` | answers, and what browsers may do with them |
//! | `admin/paths.rs` | the table of paths, and where each leads |
//! | `admin/pages.rs` `admin/pages/*` | HTML, style, script |
//! | `admin/api.rs` | what is shown as JSON |
//! | `admin/manual.rs` | overrides in the key-value store |
//!
//! The only thing that is written from here is the key-value store, and only below `registry.consul.kvpath`.

mod answer;
mod api;
mod guard;
mod manual;
mod pages;
mod paths;
mod server;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use prometheus::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ReloadRequest;
use crate::config::{Config, Ui};
use crate::kv::Kv;
use crate::outlier::Outliers;
use crate::policy::{BadPolicy, Policy};
use crate::router::Live;
use crate::tls::{Acceptor, Stores};

pub use paths::PATHS;

/// The bound port of the admin server.
#[derive(Debug)]
pub struct Admin {
    listener: std::net::TcpListener,
    addr: SocketAddr,
}

/// What the admin server shows, and what it may change.
#[derive(Clone, Debug)]
pub struct View {
    /// Of `ui.*`, and for our own names.
    pub config: Arc<Config>,
    /// The current table.
    pub live: Live,
    /// Whether traffic is welcome.
    pub ready: watch::Receiver<bool>,
    /// What `/metrics` says.
    pub registry: Registry,
    /// Where overrides are written.
    pub kv: Option<Arc<dyn Kv>>,
    /// Takes those who want the configuration read again.
    pub reload: Option<ReloadRequest>,
    /// Shakes hands where `ui.addr` names a certificate source.
    pub(crate) acceptor: Option<Acceptor>,
    /// Whose certificates are shown.
    pub(crate) stores: Option<Stores>,
    /// Verifies passwords.
    pub(crate) policy: Option<Arc<Policy>>,
    /// Who is passed over.
    pub(crate) outliers: Option<Arc<Outliers>>,
}

impl View {
    /// Of a table; nothing can be changed, and nobody can log in.
    #[must_use]
    pub fn new(config: Arc<Config>, live: Live, ready: watch::Receiver<bool>, registry: Registry) -> Self {
        Self {
            config,
            live,
            ready,
            registry,
            kv: None,
            reload: None,
            acceptor: None,
            stores: None,
            policy: None,
            outliers: None,
        }
    }

    /// Users of the schemes of its configuration may log in.
    ///
    /// # Errors
    /// When a scheme cannot be had.
    pub fn with_passwords(mut self) -> Result<Self, BadPolicy> {
        self.policy = Some(Arc::new(Policy::new(&self.config)?));
        Ok(self)
    }

    fn ui(&self) -> Ui {
        self.config.ui.clone().unwrap_or_default()
    }
}

impl Admin {
    /// Binds the port; nobody is answered yet.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let listener = server::bind(addr)?;
        Ok(Self {
            addr: listener.local_addr()?,
            listener,
        })
    }

    /// The address that was bound.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers until `stop`; connections end with it.
    pub async fn run(self, view: View, stop: CancellationToken) -> io::Result<()> {
        server::run(self.listener, view, stop).await
    }
}
