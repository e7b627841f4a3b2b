//! The places that certificates come from. Each has one task, which is the only writer of its store.

mod file;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::TlsError;
use super::store::Store;
use crate::config::{CertKind, CertSource};

/// A source and what it gave.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) config: CertSource,
    pub(super) store: Arc<Store>,
}

impl Source {
    /// Reads what must be there from the start; nothing else.
    pub(super) fn build(config: &CertSource, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let store = Store::new(config.name.clone(), config.client_ca.is_some(), provider.clone())?;
        let source = Self {
            config: config.clone(),
            store: Arc::new(store),
        };
        if let CertKind::File { cert, key } = &config.kind {
            let problem = |problem| TlsError::Source {
                source_name: config.name.clone(),
                problem,
            };
            file::first(&source, cert, key, provider).map_err(problem)?;
        }
        Ok(source)
    }

    /// fabio's word for its type.
    pub(super) fn kind(&self) -> &'static str {
        match self.config.kind {
            CertKind::File { .. } => "file",
            CertKind::Path(_) => "path",
            CertKind::Http(_) => "http",
            CertKind::Consul(_) => "consul",
            CertKind::Vault(_) => "vault",
            CertKind::VaultPki(_) => "vault-pki",
            CertKind::Acme(_) => "acme",
        }
    }
}

/// Keeps the sources that are wanted current.
pub(super) async fn run(_wanted: watch::Receiver<Vec<Arc<Source>>>, stop: CancellationToken) {
    stop.cancelled().await;
}
