//! Lictor as a balancer alone: routes from a file, one worker.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Duty, Front};
use crate::machine::{Machine, Outcome};

pub fn command(machine: &Machine, duty: &Duty, at: SocketAddr) -> Outcome<Command> {
    let routes = machine.write(
        "lictor.routes",
        &format!("route add web / http://{}/\n", duty.target),
    )?;
    let mut command = machine.on_proxy_core(Path::new(env!("CARGO_BIN_EXE_lictor")));
    command
        .args(["lb", "-proxy.workers=1", "-log.level=WARN", "-ui.addr="])
        .arg("-registry.backend=file")
        .arg(format!("-registry.file.path={}", routes.display()));
    match duty.front {
        Front::Http => command.arg(format!("-proxy.addr={at}")),
        Front::Https => {
            let (chain, key) = (duty.certificate.chain.display(), duty.certificate.key.display());
            command
                .arg(format!("-proxy.cs=cs=bench;type=file;cert={chain};key={key}"))
                .arg(format!("-proxy.addr={at};proto=https;cs=bench"))
        }
    };
    Ok(command)
}
