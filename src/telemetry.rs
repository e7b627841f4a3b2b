//! Logs: one line an event on standard error, fields over prose.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts writing logs from `level` up. Colour only where a person reads.
pub fn start(level: LevelFilter) {
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    // Libraries warn of what a stranger does on one connection; we count that, and a flood must not fill the log.
    let libraries = if level > LevelFilter::INFO {
        level
    } else {
        level.min(LevelFilter::ERROR)
    };
    let targets = Targets::new().with_default(level).with_targets([
        ("h2", libraries),
        ("hyper", libraries),
        ("rustls", libraries),
    ]);
    let lines = fmt::layer()
        .with_ansi(colour)
        .with_writer(std::io::stderr)
        .with_target(false);
    tracing_subscriber::registry().with(lines).with(targets).init();
}

#[cfg(test)]
mod tests;
