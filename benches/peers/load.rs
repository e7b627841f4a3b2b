//! Who asks: wrk, on the core of the load, with all that is to be known of it in one line.
//!
//! An error of any kind, or an answer that is none of success, fails the measurement: a proxy that fails is fast.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::machine::{Machine, Outcome};
use crate::proxy::Front;
use crate::reading::{self, Tally};

/// Connections at a time.
const CONNECTIONS: u32 = 64;

/// What is asked, and how.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// `GET`, one at a time on each connection, as fast as answers come.
    Get(&'static str),
}

impl Load {
    /// Asks for so many seconds.
    pub fn put(&self, machine: &Machine, front: Front, at: SocketAddr, seconds: u32) -> Outcome<Tally> {
        match self {
            Self::Get(path) => wrk(machine, &format!("{}://{at}{path}", front.scheme()), seconds),
        }
    }
}

fn wrk(machine: &Machine, url: &str, seconds: u32) -> Outcome<Tally> {
    let script = machine.write("wrk.lua", WRK_RESULT)?;
    let mut command = machine.on_load_core(Path::new("wrk"));
    command
        .arg("-t1")
        .arg(format!("-c{CONNECTIONS}"))
        .arg(format!("-d{seconds}s"))
        .arg("--latency")
        .arg("-s")
        .arg(script)
        .arg(url);
    reading::wrk(&output(command)?)
}

/// What `reading::wrk` reads. Times are microseconds.
const WRK_RESULT: &str = r#"
done = function(summary, latency)
    local e = summary.errors
    local failed = e.connect + e.read + e.write + e.status + e.timeout
    print(string.format("RESULT %d %d %d %d %d", summary.requests, failed, summary.duration,
        latency:percentile(50), latency:percentile(99)))
end
"#;

/// What a program says that has to end well.
fn output(mut command: Command) -> Outcome<String> {
    let done = command
        .output()
        .map_err(|e| format!("{command:?} cannot be started: {e}"))?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    if !done.status.success() {
        let complaint = String::from_utf8_lossy(&done.stderr);
        return Err(format!(
            "{command:?}: {}; it said: {said}{complaint}",
            done.status
        ));
    }
    Ok(said)
}
