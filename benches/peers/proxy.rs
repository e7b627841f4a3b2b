//! The proxies under test, all with the same duties: connections kept on both sides, `X-Forwarded-For` added, no access
//! log, one thread on one core.
//!
//! How each of them is told so is in a file of its own; defaults stay where they do not change what has to be done.

mod haproxy;
mod lictor;
pub mod nginx;

use std::net::SocketAddr;

use crate::account::{self, Reading};
use crate::certificate::Certificate;
use crate::machine::{Machine, Outcome, Server, free_address};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Lictor,
    Haproxy,
    Nginx,
}

/// How clients speak to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    Http,
    /// TLS, with HTTP/2 for those who ask.
    Https,
}

/// What a proxy has to do.
pub struct Duty<'a> {
    pub front: Front,
    pub target: SocketAddr,
    pub certificate: &'a Certificate,
}

/// One of them, running.
pub struct Proxy {
    pub address: SocketAddr,
    server: Server,
}

impl Proxy {
    pub fn start(kind: Kind, duty: &Duty, machine: &Machine) -> Outcome<Self> {
        let address = free_address()?;
        let command = match kind {
            Kind::Lictor => lictor::command(machine, duty, address),
            Kind::Haproxy => haproxy::command(machine, duty, address),
            Kind::Nginx => nginx::command(machine, duty, address),
        }?;
        let server = machine.serve(kind.name(), command, address)?;
        Ok(Self { address, server })
    }

    pub fn time(&self) -> Reading {
        Reading::of(self.server.pid())
    }

    pub fn resident_mib(&self) -> f64 {
        account::resident_mib(self.server.pid())
    }
}

impl Front {
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Lictor => "Lictor",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
        }
    }
}
