//! The balancer shown to people and programs on `ui.addr`, with fabio's paths: the current table and what it does,
//! overrides and their editor, health, metrics.
//!
//! | file | |
//! | --- | --- |
//! | `admin/server.rs` | sockets, TLS, limits |
//! | `admin/seats.rs` | who may be connected, and who makes room; pure |
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
mod seats;
mod server;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use prometheus::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ReloadRequest;
use crate::config::{Config, Ui};
use crate::current::{Current, Now};
use crate::histogram::Bounds;
use crate::kv::Kv;
use crate::metrics::Counters;
use crate::outlier::Outliers;
use crate::policy::BadPolicy;
use crate::router::Live;
use crate::tls::Stores;

pub use paths::PATHS;

/// The bound port of the admin server.
#[derive(Debug)]
pub struct Admin {
    pub(crate) listener: std::net::TcpListener,
    addr: SocketAddr,
}

/// What the admin server shows, and what it may change.
#[derive(Clone, Debug)]
pub struct View {
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
    /// What holds now: `ui.*`, our own names, who may log in.
    pub(crate) now: Now,
    /// What goes wrong before there is a request.
    pub(crate) counters: Arc<Counters>,
    /// Whose certificates are shown.
    pub(crate) stores: Option<Stores>,
    /// Who is passed over.
    pub(crate) outliers: Option<Arc<Outliers>>,
}

impl View {
    /// Of a table, by a configuration that stays; nothing can be changed.
    ///
    /// # Errors
    /// When a scheme of its passwords cannot be had.
    pub fn new(
        config: Arc<Config>,
        live: Live,
        ready: watch::Receiver<bool>,
        registry: Registry,
    ) -> Result<Self, BadPolicy> {
        // A watch without a sender stays as it is.
        let counters = Counters::new(&Bounds::of(&config.metrics));
        let now = watch::channel(Arc::new(Current::new(config)?)).1;
        Ok(Self::at((now, Arc::new(counters)), live, ready, registry))
    }

    pub(crate) fn at(
        (now, counters): (Now, Arc<Counters>),
        live: Live,
        ready: watch::Receiver<bool>,
        registry: Registry,
    ) -> Self {
        Self {
            now,
            counters,
            live,
            ready,
            registry,
            kv: None,
            reload: None,
            stores: None,
            outliers: None,
        }
    }

    /// What holds at this moment.
    fn now(&self) -> Arc<Current> {
        self.now.borrow().clone()
    }

    fn config(&self) -> Arc<Config> {
        self.now().config.clone()
    }

    fn ui(&self) -> Ui {
        self.config().ui.clone().unwrap_or_default()
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
