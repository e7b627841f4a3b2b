//! Whom an `https` check trusts: the system's authorities, Mozilla's where it has none, or anybody where
//! the check says so.

use std::sync::Arc;

use api::tls::{Tls, TlsError};
use rustls::ClientConfig;
use tokio::sync::OnceCell;

/// Configurations, made when first needed: reading the system's certificates takes a while.
#[derive(Clone, Default)]
pub(super) struct Trust {
    system: Arc<OnceCell<Arc<ClientConfig>>>,
    anybody: Arc<OnceCell<Arc<ClientConfig>>>,
}

impl Trust {
    /// The configuration for a check that skips verification, or does not.
    pub(super) async fn config(&self, skip_verify: bool) -> Result<Arc<ClientConfig>, TlsError> {
        let cell = if skip_verify { &self.anybody } else { &self.system };
        let tls = Tls {
            skip_verify,
            ..Tls::default()
        };
        // What was chosen stays: authorities installed later count from the next start. A failure does not.
        let made = cell.get_or_try_init(|| async {
            let config = tokio::task::spawn_blocking(move || tls.config()).await;
            config
                .unwrap_or_else(|died| Err(rustls::Error::General(died.to_string()).into()))
                .map(Arc::new)
        });
        made.await.cloned()
    }
}
