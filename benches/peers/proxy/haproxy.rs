//! HAProxy with one thread. Connections to the backend are shared by all clients, as Lictor and nginx do.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Duty, Front};
use crate::machine::{Machine, Outcome};

pub fn command(machine: &Machine, duty: &Duty, at: SocketAddr) -> Outcome<Command> {
    let tls = match duty.front {
        Front::Http => String::new(),
        Front::Https => format!(" ssl crt {} alpn h2,http/1.1", duty.certificate.both.display()),
    };
    let target = duty.target;
    let config = format!(
        "global
            nbthread 1
        defaults
            mode http
            option forwardfor
            http-reuse always
            timeout connect 5s
            timeout client 60s
            timeout server 60s
        frontend clients
            bind {at}{tls}
            default_backend web
        backend web
            server one {target}\n"
    );
    let path = machine.write("haproxy.cfg", &config)?;
    let mut command = machine.on_proxy_core(Path::new("haproxy"));
    command.arg("-db").arg("-f").arg(path);
    Ok(command)
}
