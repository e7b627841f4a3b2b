//! Logs: one line an event on standard error, fields over prose.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt;

/// Starts writing logs from `level` up. Colour only where a person reads.
pub fn start(level: LevelFilter) {
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    fmt()
        .with_max_level(level)
        .with_ansi(colour)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
}

#[cfg(test)]
mod tests;
