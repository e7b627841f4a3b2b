//! Logs: one line an event on standard error, fields over prose. `queue.rs` keeps whoever logs from waiting for a reader.

mod json;
mod queue;
mod steady;
mod text;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, Registry};

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Format;
use queue::Queue;
use steady::Steady;

/// Every metric: its name, kind, labels and what it means.
pub const METRICS: &[(&str, &str, &[&str], &str)] = &[(
    LOST,
    "counter",
    &[],
    "Lines of the log that are lost because nobody took them from standard error in time.",
)];

const LOST: &str = "lictor_log_lost_total";

/// What the end of the process waits for a reader of its last lines.
const GOODBYE: Duration = Duration::from_secs(1);

/// The log of this process; a cheap handle.
#[derive(Clone)]
pub struct Log {
    level: Arc<dyn Fn(LevelFilter) + Send + Sync>,
    queue: Queue,
    lost: IntCounter,
    format: Format,
}

impl Log {
    /// Starts writing logs from `level` up. Colour only where a person reads.
    ///
    /// # Errors
    /// When the thread that writes them cannot start.
    pub fn start((level, format): (LevelFilter, Format)) -> io::Result<Self> {
        let colour = io::IsTerminal::is_terminal(&io::stderr());
        let mut log = Self::unheard(Steady(io::stderr()))?;
        let (targets, handle) = reload::Layer::new(targets(level));
        let queue = log.queue.clone();
        let lines = fmt::layer().with_writer(move || queue.clone());
        let lines = match format {
            Format::Text => lines
                .with_ansi(colour)
                .with_target(false)
                .fmt_fields(text::fields())
                .boxed(),
            Format::Json => lines.with_ansi(false).event_format(json::Objects).boxed(),
        };
        tracing_subscriber::registry().with(lines).with(targets).init();
        log.format = format;
        log.level = Arc::new(move |level| {
            // The subscriber lives as long as the process.
            let _ = handle.reload(self::targets(level));
        });
        Ok(log)
    }

    /// Of a process that logs nothing.
    fn unheard(to: impl io::Write + Send + 'static) -> io::Result<Self> {
        let (_, _, _, help) = METRICS[0];
        let lost = IntCounter::new(LOST, help).map_err(io::Error::other)?;
        let tell = |lines| tracing::warn!(lines, "log lines are lost: nobody took them in time");
        Ok(Self {
            level: Arc::new(|_| {}),
            queue: Queue::start(to, lost.clone(), tell)?,
            lost,
            format: Format::Text,
        })
    }

    /// The same, for tests.
    #[cfg(test)]
    pub fn none() -> Self {
        Self::unheard(io::sink()).unwrap()
    }

    /// Logs from `level` up from now on.
    pub fn set_level(&self, level: LevelFilter) {
        (self.level)(level);
    }

    /// Says what is no event, between those before and after it; to programs as if it were one.
    pub fn say(&self, level: Level, text: &str) {
        match self.format {
            Format::Text => self.queue.insist(text),
            Format::Json => self.queue.insist(&json::lines(level, text)),
        }
    }

    /// The last words are out, or nobody takes them.
    pub fn finish(&self) {
        self.queue.settle(GOODBYE);
    }

    /// Adds the metrics of [`METRICS`].
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.lost.clone()))
    }
}

fn targets(level: LevelFilter) -> Targets {
    // Libraries warn of what a stranger does on one connection; we count that, and a flood must not fill the log.
    let libraries = if level > LevelFilter::INFO {
        level
    } else {
        level.min(LevelFilter::ERROR)
    };
    Targets::new().with_default(level).with_targets([
        ("h2", libraries),
        ("hyper", libraries),
        ("rustls", libraries),
        ("zookeeper_client", libraries),
    ])
}

#[cfg(test)]
mod tests;
