//! `explain`: what would be registered of one container, asked of the engine itself.
//!
//! The loop is run without hands until it knows everything: so what it says is what a registrator with these settings
//! would do. What only events tell, stop signals, a process that begins now cannot know.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::Registrator;
use crate::account::{Account, Report};
use crate::config::{BuildError, Config};
use crate::docker::Docker;
use crate::docker::stream::Connection;
use crate::reconcile::engine::Hands;
use crate::reconcile::notes::Notes;
use crate::reconcile::witness::Ask;
use crate::registry::Registry;

/// As long may engine and registries take over all their answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why nothing can be said of a container.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// A setting cannot work.
    #[error(transparent)]
    Settings(#[from] BuildError),
    /// The engine gave no answer, or none that is understood. Trying again may help.
    #[error("cannot ask the container engine at {engine}: {reason}")]
    Engine {
        /// Where it was looked for.
        engine: String,
        /// What went wrong.
        reason: String,
    },
    /// There is no such container.
    #[error("no container is called {wanted:?}, and none has an id that begins so; the engine is {engine}")]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// Which engine says so.
        engine: String,
    },
    /// Not all was answered in time.
    #[error("no full picture within {} s: the engine at {engine} lists its containers and then answers no more", PATIENCE.as_secs())]
    Late {
        /// Which engine.
        engine: String,
    },
}

impl Config {
    /// What would become of the container of this name, or of an id that begins so, with these settings. Writes nothing;
    /// a registry that cannot be reached only lacks in the answer, and there need be none.
    ///
    /// # Errors
    /// A setting cannot work; the engine cannot be asked, or knows no such container.
    pub async fn explain(
        self,
        registries: Vec<Arc<dyn Registry>>,
        wanted: &str,
    ) -> Result<Account, ExplainError> {
        self.ready(registries)?.explain(wanted).await
    }
}

impl Registrator {
    async fn explain(self, wanted: &str) -> Result<Account, ExplainError> {
        let engine = self.engine();
        let failed = |reason: String| ExplainError::Engine {
            engine: engine.clone(),
            reason,
        };
        let unknown = || ExplainError::Unknown {
            wanted: wanted.to_owned(),
            engine: engine.clone(),
        };
        // Engines allow no other letters in names, and an address must not be made of what a user typed.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if wanted.is_empty() || wanted.starts_with('.') || !wanted.bytes().all(plain) {
            return Err(unknown());
        }
        let docker = Docker::connect(&self.endpoint, !self.config.tags.is_plain())
            .await
            .map_err(|error| failed(error.to_string()))?;
        let found = docker
            .inspect(wanted)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let id = found.ok_or_else(unknown)?.id;
        let (answer, report) = oneshot::channel();
        let (questions, asks) = mpsc::channel(1);
        let ask = Ask {
            patiently: true,
            to: answer,
        };
        let notes: Arc<Notes> = Arc::default();
        let looking = Self {
            asks,
            hands: Hands::Rest,
            ..self
        };
        questions
            .try_send(ask)
            .map_err(|error| failed(error.to_string()))?;
        notes.connected(docker);
        let looking = async {
            let (connection, counts) = (watch::channel(Connection::Connected).1, watch::Sender::default());
            let engine = looking.into_loop(&notes, connection, counts).await;
            engine.run(CancellationToken::new()).await;
        };
        let report: Option<Report> = tokio::select! {
            () = looking => None,
            report = report.map(Result::ok) => report,
            () = tokio::time::sleep(PATIENCE) => None,
        };
        let report = report.ok_or(ExplainError::Late {
            engine: engine.clone(),
        })?;
        report
            .containers
            .into_iter()
            .find(|account| account.id == id)
            .ok_or_else(unknown)
    }
}
