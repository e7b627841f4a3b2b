//! nginx with one worker; also the frame of the configuration that the backend shares.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use super::{Duty, Front, Routes};
use crate::machine::{Machine, Outcome};

/// Requests on one connection. nginx ends it after a thousand by default, the others after none.
pub const FOR_EVER: u32 = 1_000_000_000;

pub fn command(machine: &Machine, name: &str, duty: &Duty, at: SocketAddr) -> Outcome<Command> {
    let config = config(machine, name, &servers(duty, at)?)?;
    let mut command = machine.on_proxy_core("nginx");
    command.arg("-c").arg(config);
    Ok(command)
}

/// Bodies larger than the buffers would go by way of a file, which is no duty of the others: they are streamed. TLS 1.3,
/// which the others speak unasked, is off by default in this version.
fn servers(duty: &Duty, at: SocketAddr) -> Outcome<String> {
    let (chain, key) = (duty.certificate.chain.display(), duty.certificate.key.display());
    let tls = match duty.front {
        Front::Http => "",
        Front::Https => " ssl http2",
        Front::Tcp => return Err("nginx passes bytes with a module that is not installed".to_owned()),
    };
    if duty.routes != Routes::One {
        return Err("nginx is not told of routes".to_owned());
    }
    let target = duty.target;
    Ok(format!(
        "upstream web {{
            server {target};
            keepalive 256;
            keepalive_requests {FOR_EVER};
        }}
        map $http_upgrade $asked {{
            default upgrade;
            '' '';
        }}
        server {{
            listen {at}{tls} backlog=4096;
            keepalive_requests {FOR_EVER};
            ssl_certificate {chain};
            ssl_certificate_key {key};
            ssl_protocols TLSv1.2 TLSv1.3;
            location / {{
                proxy_pass http://web;
                proxy_http_version 1.1;
                proxy_set_header Connection $asked;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Host $http_host;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                proxy_max_temp_file_size 0;
                proxy_request_buffering off;
            }}
        }}"
    ))
}

/// The frame around servers. All that nginx writes lies in a folder of its own, so that whoever runs this may; and it
/// stays who it is, or its worker could not read that folder.
pub fn config(machine: &Machine, name: &str, servers: &str) -> Outcome<PathBuf> {
    let home = machine.path(&format!("{name}.home"));
    std::fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    let home = home.display();
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {home}/{kind};\n"))
        .collect();
    let frame = format!(
        "{user}
        daemon off;
        worker_processes 1;
        pid {home}/pid;
        error_log stderr warn;
        events {{ worker_connections 16384; }}
        http {{
            access_log off;
            {temporary}
            {servers}
        }}"
    );
    machine.write(&format!("{name}.conf"), &frame)
}
