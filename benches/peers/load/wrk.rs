//! wrk: 64 connections, each with one request at a time, from one thread.
//!
//! What it is to ask, and how it tells what came of it, are scripts of its own language.

use std::process::Command;

use super::{Target, output};
use crate::machine::Outcome;
use crate::proxy::Routes;
use crate::reading::{self, Tally};

const CONNECTIONS: u32 = 64;

pub fn get(target: &Target, path: &str) -> Outcome<Tally> {
    run(target, path, "")
}

pub fn post(target: &Target, bytes: usize) -> Outcome<Tally> {
    let body = format!("wrk.method = 'POST'\nwrk.body = string.rep('x', {bytes})\n");
    run(target, "/", &body)
}

/// Requests are put together by hand: `wrk.format` would be what the core of the load does most of the time.
pub fn spread(target: &Target) -> Outcome<Tally> {
    let (count, head) = match target.routes {
        Routes::One => return get(target, "/"),
        Routes::Hosts(count) => (
            count,
            "'GET / HTTP/1.1\\r\\nHost: h' .. n .. '.example.com\\r\\n\\r\\n'",
        ),
        Routes::Paths(count) => (
            count,
            "'GET /p' .. n .. '/ HTTP/1.1\\r\\nHost: www.example.com\\r\\n\\r\\n'",
        ),
    };
    let any = format!(
        "local random = math.random
        request = function()
            local n = random(0, {count} - 1)
            return {head}
        end\n"
    );
    run(target, "/", &any)
}

fn run(target: &Target, path: &str, requests: &str) -> Outcome<Tally> {
    let script = target.machine.write("wrk.lua", &format!("{requests}{RESULT}"))?;
    let mut command = Command::new("wrk");
    command
        .args(["-t1", "--latency"])
        .arg(format!("-c{CONNECTIONS}"))
        .arg(format!("-d{}s", target.seconds))
        .arg("-s")
        .arg(script)
        .arg(target.url(path));
    reading::wrk(&output(command)?)
}

/// What `reading::wrk` reads. Times are microseconds.
const RESULT: &str = r#"
done = function(summary, latency)
    local e = summary.errors
    local failed = e.connect + e.read + e.write + e.status + e.timeout
    print(string.format("RESULT %d %d %d %d %d", summary.requests, failed, summary.duration,
        latency:percentile(50), latency:percentile(99)))
end
"#;
