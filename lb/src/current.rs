//! What holds at this moment: the configuration that was taken over last, and what was made of it.
//!
//! The owner of the listeners is the only writer. Workers are told by order; everybody else looks here, at each
//! connection or request, so that nobody goes on with what held at the start.

use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Config;
use crate::policy::{BadPolicy, Policy};
use crate::tls::{Acceptor, Alpn, Stores, TlsError};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub config: Arc<Config>,
    /// What is asked of requests, and verifies passwords.
    pub policy: Arc<Policy>,
    /// Shakes hands where `ui.addr` names a certificate source.
    pub admin: Option<Acceptor>,
}

/// Where it is found.
pub(crate) type Now = watch::Receiver<Arc<Current>>;

impl Current {
    /// Reads the files of the policy. Nobody speaks TLS with the admin server.
    pub(crate) fn new(config: Arc<Config>) -> Result<Self, BadPolicy> {
        Ok(Self {
            policy: Arc::new(Policy::new(&config)?),
            config,
            admin: None,
        })
    }

    /// With what `ui.addr` asks for, from these sources.
    pub(crate) fn over_tls(mut self, stores: &Stores) -> Result<Self, TlsError> {
        let tls = self.config.ui.as_ref().and_then(|ui| ui.listener.tls.as_ref());
        self.admin = tls.map(|tls| stores.acceptor(tls, Alpn::Http1)).transpose()?;
        Ok(self)
    }
}
