//! HAProxy with one thread. Connections to the backend are shared by all clients, as Lictor and nginx do.

use std::net::SocketAddr;
use std::process::Command;

use super::{Duty, Front, Routes};
use crate::machine::{Machine, Outcome};

pub fn command(machine: &Machine, name: &str, duty: &Duty, at: SocketAddr) -> Outcome<Command> {
    let tls = match duty.front {
        Front::Http | Front::Tcp => String::new(),
        Front::Https => format!(" ssl crt {} alpn h2,http/1.1", duty.certificate.both.display()),
    };
    let mode = match duty.front {
        Front::Tcp => "mode tcp\noption splice-auto",
        Front::Http | Front::Https => "mode http\noption forwardfor\nhttp-reuse always",
    };
    let (rule, target) = (rule(machine, name, duty)?, duty.target);
    // The limit of open files may allow less than two for each connection; most of them are idle where there are many.
    let config = format!(
        "global
        nbthread 1
        no strict-limits
        maxconn 12000
        defaults
        {mode}
        timeout connect 5s
        timeout client 60s
        timeout server 60s
        frontend clients
        bind {at}{tls}
        {rule}
        backend web
        server one {target}\n"
    );
    let path = machine.write(&format!("{name}.cfg"), &config)?;
    let mut command = machine.on_proxy_core("haproxy");
    command.arg("-db").arg("-f").arg(path);
    Ok(command)
}

/// Many routes are a map here: of hosts by hash, of paths by their beginning.
fn rule(machine: &Machine, name: &str, duty: &Duty) -> Outcome<String> {
    let key = match duty.routes {
        Routes::One => return Ok("default_backend web".to_owned()),
        Routes::Hosts(_) => "req.hdr(host),field(1,:),lower,map",
        Routes::Paths(_) => "path,map_beg",
    };
    let sources = duty.routes.sources().into_iter();
    let entries: String = match duty.routes {
        Routes::Hosts(_) => sources
            .map(|host| format!("{} web\n", host.trim_end_matches('/')))
            .collect(),
        Routes::One | Routes::Paths(_) => sources.map(|path| format!("{path} web\n")).collect(),
    };
    let map = machine.write(&format!("{name}.map"), &entries)?;
    Ok(format!("use_backend %[{key}({})]", map.display()))
}
