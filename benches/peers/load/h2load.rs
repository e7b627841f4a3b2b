//! h2load: HTTP/2.
//!
//! Its own percentiles are none, so it writes down every request and they are counted from that.

use std::fs;
use std::process::Command;

use super::{Target, output};
use crate::machine::Outcome;
use crate::reading::{self, Tally};

/// Connections of HTTP/2, and requests at a time on each.
const CONNECTIONS: u32 = 8;
const STREAMS: u32 = 8;

pub fn streams(target: &Target) -> Outcome<Tally> {
    let mut command = Command::new("h2load");
    command
        .arg(format!("--clients={CONNECTIONS}"))
        .arg(format!("--max-concurrent-streams={STREAMS}"))
        .arg(target.url("/"));
    run(target, command)
}

fn run(target: &Target, mut command: Command) -> Outcome<Tally> {
    let log = target.machine.path("h2load.log");
    command
        .arg(format!("--duration={}", target.seconds))
        .arg(format!("--log-file={}", log.display()));
    let said = output(command)?;
    let logged = fs::read_to_string(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    // It goes on with the same file otherwise.
    fs::remove_file(&log).map_err(|e| format!("{}: {e}", log.display()))?;
    reading::h2load(&said, &logged, f64::from(target.seconds))
}
