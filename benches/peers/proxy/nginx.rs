//! nginx with one worker; also the frame of the configuration that the backend shares.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Duty, Front};
use crate::machine::{Machine, Outcome};

/// Requests on one connection. nginx ends it after a thousand by default, the others after none.
pub const FOR_EVER: u32 = 1_000_000_000;

pub fn command(machine: &Machine, duty: &Duty, at: SocketAddr) -> Outcome<Command> {
    let config = config(machine, "nginx", &servers(duty, at))?;
    let mut command = machine.on_proxy_core(Path::new("nginx"));
    command.arg("-c").arg(config);
    Ok(command)
}

/// Answers larger than the buffers would go by way of a file, which is no duty of the others: that is off.
fn servers(duty: &Duty, at: SocketAddr) -> String {
    let (chain, key) = (duty.certificate.chain.display(), duty.certificate.key.display());
    let tls = match duty.front {
        Front::Http => "",
        Front::Https => " ssl http2",
    };
    let target = duty.target;
    format!(
        "upstream web {{
            server {target};
            keepalive 256;
            keepalive_requests {FOR_EVER};
        }}
        server {{
            listen {at}{tls} backlog=4096;
            keepalive_requests {FOR_EVER};
            ssl_certificate {chain};
            ssl_certificate_key {key};
            location / {{
                proxy_pass http://web;
                proxy_http_version 1.1;
                proxy_set_header Connection \"\";
                proxy_set_header Host $http_host;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                proxy_max_temp_file_size 0;
            }}
        }}"
    )
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
