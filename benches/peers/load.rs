//! Who asks, on the core of the load: programs that others wrote where there are any, and clients of our own.
//!
//! An error of any kind, or an answer that is none of success, fails the measurement: a proxy that fails is fast.

mod h2load;
mod wrk;

use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use crate::certificate::Certificate;
use crate::client::registry::Services;
use crate::client::{echo, handshakes, idle, paced};
use crate::machine::{Machine, Outcome};
use crate::proxy::{Front, Routes};
use crate::reading::{self, Tally};

/// What is asked, and how.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// `GET` of this path, one at a time on each connection, as fast as answers come.
    Get(&'static str),
    /// The same, with so many bytes of body.
    Post(usize),
    /// `GET` of any of the routes, each as likely as the others.
    Spread,
    /// `GET` over HTTP/2, several at a time on each connection.
    Streams,
    /// As `Spread`, at half of the rate that the slowest contender reaches, the same for all.
    Half,
    /// A connection, a handshake and one `GET` each, with the session before it or without any.
    Handshakes { resumed: bool },
    /// Messages over websockets and their echo, one at a time on each connection.
    Echo,
    /// So many bytes of a path, once, whatever time that takes.
    Download(&'static str, u64),
    /// Changes of an agent's routes, each until a request finds it.
    Move,
    /// Connections that have been answered once and then stay.
    Idle(usize),
}

/// Whom it is asked of.
pub struct Target<'a> {
    pub machine: &'a Machine,
    pub certificate: &'a Certificate,
    pub front: Front,
    pub routes: Routes,
    pub address: SocketAddr,
    /// Of an agent.
    pub services: Option<&'a Services>,
    pub seconds: u32,
    /// Requests a second, for `Half`; without one it is to be found out.
    pub rate: Option<f64>,
}

/// What was counted, and connections that stay open for as long as somebody looks at what they cost.
pub struct Put {
    pub tally: Tally,
    pub held: Vec<TcpStream>,
}

impl Load {
    pub fn put(self, target: &Target) -> Outcome<Put> {
        let tally = match (self, target.rate) {
            (Self::Get(path), _) => wrk::get(target, path),
            (Self::Post(bytes), _) => wrk::post(target, bytes),
            (Self::Spread, _) | (Self::Half, None) => wrk::spread(target),
            (Self::Half, Some(rate)) => paced::run(target, rate),
            (Self::Streams, _) => h2load::streams(target),
            (Self::Handshakes { resumed }, _) => handshakes::run(target, resumed),
            (Self::Echo, _) => echo::ping(target.address, target.seconds),
            (Self::Download(path, bytes), _) => download(target, path, bytes),
            (Self::Move, _) => match target.services {
                Some(services) => services.move_each(target.address, target.seconds),
                None => Err("only an agent's services move".to_owned()),
            },
            (Self::Idle(connections), _) => return idle::open(target.address, connections),
        };
        let held = Vec::new();
        tally.map(|tally| Put { tally, held })
    }
}

impl Target<'_> {
    fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.front.scheme(), self.address)
    }
}

fn download(target: &Target, path: &str, bytes: u64) -> Outcome<Tally> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--output", "/dev/null"]);
    command.args(["--write-out", "%{size_download} %{time_total}"]);
    command.arg(target.url(path));
    reading::curl(&output(command)?, bytes)
}

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
