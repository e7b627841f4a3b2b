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
use crate::client::registry::Services;
use crate::machine::{Machine, Outcome, Server, free_address};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `lictor lb`, routes from a file.
    Lictor,
    /// `lictor agent`, routes from its own catalog.
    Agent,
    Haproxy,
    Nginx,
}

/// How clients speak to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    Http,
    /// TLS, with HTTP/2 for those who ask.
    Https,
    /// Bytes.
    Tcp,
}

/// What leads to the target: everything, or so many hosts `h<n>.example.com` or paths `/p<n>/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routes {
    One,
    Hosts(u32),
    Paths(u32),
}

/// What a proxy has to do.
pub struct Duty<'a> {
    pub front: Front,
    pub routes: Routes,
    pub target: SocketAddr,
    pub certificate: &'a Certificate,
}

/// One of them, running.
pub struct Proxy {
    pub address: SocketAddr,
    /// What an agent makes its routes of.
    pub services: Option<Services>,
    server: Server,
}

impl Proxy {
    pub fn start(kind: Kind, duty: &Duty, machine: &Machine) -> Outcome<Self> {
        let (address, api) = (free_address()?, free_address()?);
        // Several of one kind run side by side.
        let name = format!("{kind:?}-{}", address.port()).to_lowercase();
        let command = match kind {
            Kind::Lictor => lictor::balancer(machine, &name, duty, address),
            Kind::Agent => Ok(lictor::agent(machine, address, api)),
            Kind::Haproxy => haproxy::command(machine, &name, duty, address),
            Kind::Nginx => nginx::command(machine, &name, duty, address),
        }?;
        let server = machine.serve(&name, command, address)?;
        let services = match (kind, duty.routes) {
            (Kind::Agent, Routes::Paths(count)) => Some(Services::new(count, duty.target, api)),
            _ => None,
        };
        services.iter().try_for_each(|services| services.fill(address))?;
        Ok(Self {
            address,
            services,
            server,
        })
    }

    pub fn time(&self) -> Reading {
        Reading::of(self.server.pid())
    }

    pub fn resident_mib(&self) -> f64 {
        account::resident_mib(self.server.pid())
    }
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Lictor => "Lictor",
            Self::Agent => "Lictor's agent",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx",
        }
    }
}

impl Front {
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Http | Self::Tcp => "http",
            Self::Https => "https",
        }
    }
}

impl Routes {
    /// Each route as the host and path that it takes.
    fn sources(self) -> Vec<String> {
        match self {
            Self::One => vec!["/".to_owned()],
            Self::Hosts(count) => (0..count).map(|n| format!("h{n}.example.com/")).collect(),
            Self::Paths(count) => (0..count).map(|n| format!("/p{n}/")).collect(),
        }
    }
}
