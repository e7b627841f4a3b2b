//! The servers behind every proxy: one nginx worker with answers of all sizes, on the core of the load.
//!
//! Answers come from memory or from a file without content, so that the backend costs as little as it can.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::machine::{Machine, Outcome, Server, free_address};
use crate::proxy::nginx::{self, FOR_EVER};

/// What `/` answers.
const SMALL: usize = 128;
/// What `/64k` answers.
const LARGE: u64 = 64 << 10;
/// What `/1g` answers.
const HUGE: u64 = 1 << 30;

pub struct Backend {
    pub http: SocketAddr,
    _server: Server,
}

impl Backend {
    pub fn start(machine: &Machine) -> Outcome<Self> {
        sparse(&machine.path("64k"), LARGE)?;
        sparse(&machine.path("1g"), HUGE)?;
        let http = free_address()?;
        let config = nginx::config(machine, "backend", &servers(machine, http))?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(config);
        let server = machine.serve("backend", command, http)?;
        Ok(Self {
            http,
            _server: server,
        })
    }
}

fn servers(machine: &Machine, at: SocketAddr) -> String {
    let body = "x".repeat(SMALL);
    let [large, huge] = ["64k", "1g"].map(|name| machine.path(name).display().to_string());
    format!(
        "server {{
            listen {at} backlog=4096;
            keepalive_requests {FOR_EVER};
            default_type text/plain;
            sendfile on;
            tcp_nopush on;
            open_file_cache max=10;
            location / {{ return 200 {body}; }}
            location = /64k {{ alias {large}; }}
            location = /1g {{ alias {huge}; }}
        }}"
    )
}

/// A file of zeros that takes no space.
fn sparse(path: &Path, bytes: u64) -> Outcome<()> {
    let made = File::create(path).and_then(|file| file.set_len(bytes));
    made.map_err(|e| format!("{}: {e}", path.display()))
}
