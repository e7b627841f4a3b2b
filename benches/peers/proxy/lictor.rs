//! Lictor, as a balancer alone with routes from a file, or as an agent; one worker for the traffic.

use std::net::SocketAddr;
use std::process::Command;

use super::{Duty, Front};
use crate::machine::{Machine, Outcome};

const BINARY: &str = env!("CARGO_BIN_EXE_lictor");

pub fn balancer(machine: &Machine, name: &str, duty: &Duty, at: SocketAddr) -> Outcome<Command> {
    let target = duty.target;
    let commands: String = match duty.front {
        Front::Tcp => format!("route add web :{} tcp://{target}\n", at.port()),
        Front::Http | Front::Https => {
            let sources = duty.routes.sources().into_iter().enumerate();
            sources
                .map(|(n, source)| format!("route add s{n} {source} http://{target}/\n"))
                .collect()
        }
    };
    let routes = machine.write(&format!("{name}.routes"), &commands)?;
    let mut command = machine.on_proxy_core(BINARY);
    command
        .args(["lb", "-proxy.workers=1", "-log.level=WARN", "-ui.addr="])
        // As HAProxy is told how many there may be; by default they are fewer where few files may be open.
        .arg("-proxy.limit.total=12000")
        .arg("-registry.backend=file")
        .arg(format!("-registry.file.path={}", routes.display()));
    match duty.front {
        Front::Http => command.arg(format!("-proxy.addr={at}")),
        Front::Tcp => command.arg(format!("-proxy.addr={at};proto=tcp")),
        Front::Https => {
            let (chain, key) = (duty.certificate.chain.display(), duty.certificate.key.display());
            command
                .arg(format!("-proxy.cs=cs=bench;type=file;cert={chain};key={key}"))
                .arg(format!("-proxy.addr={at};proto=https;cs=bench"))
        }
    };
    Ok(command)
}

/// Without routes yet: services are registered at its API.
pub fn agent(machine: &Machine, at: SocketAddr, api: SocketAddr) -> Command {
    let mut command = machine.on_proxy_core(BINARY);
    command
        .args(["agent", "-dev", "-registrator=false", "-dns-port=-1", "-ui.addr="])
        .args(["-proxy.workers=1", "-proxy.hostroutes=off", "-log-level=warn"])
        .arg(format!("-http-port={}", api.port()))
        .arg(format!("-proxy.addr={at}"));
    command
}
