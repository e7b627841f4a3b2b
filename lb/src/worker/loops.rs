//! Targets that are listeners of ours: what they get comes back in.
//!
//! Requests are stopped by how often they have come ([`hops`](crate::http::headers::hops)), which also holds where
//! another balancer or an address that somebody translates lies between. Bytes carry no such mark, so a TCP connection
//! is never dialled to the listener that it came in by, and ports from which one of our listeners is dialled are
//! remembered ([`Hops`]), so that what comes in from there is known to have come by before.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

use crate::arrival::Arrival;
use crate::config::Config;
use crate::table::Table;
use crate::upstream::Fault;

/// A TCP connection that came in from ourselves this often is dialled to none of our listeners.
const MOST: usize = 4;

/// How long the addresses of this machine are believed to be the same: to ask is to wait for the kernel, and a dial to
/// a foreign host at a port of ours wants to know.
const SAME: Duration = Duration::from_secs(1);

/// Addresses of this machine.
fn addresses() -> Vec<IpAddr> {
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    let found = found.iter().map(|interface| interface.ip().to_canonical());
    let local: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    local.into_iter().chain(found).collect()
}

/// Which addresses are this machine's.
#[derive(Default)]
struct Here(RefCell<Option<(Instant, Vec<IpAddr>)>>);

impl Here {
    /// `find` is asked now and then.
    fn has(&self, ip: IpAddr, now: Instant, find: impl FnOnce() -> Vec<IpAddr>) -> bool {
        let mut known = self.0.borrow_mut();
        known.take_if(|(since, _)| now.saturating_duration_since(*since) >= SAME);
        let (_, addresses) = known.get_or_insert_with(|| (now, find()));
        addresses.contains(&ip)
    }
}

/// Whether a connection to `to` comes in by a listener at `at`, on a machine with certain addresses.
fn is_at(at: SocketAddr, to: SocketAddr, is_here: impl FnOnce(IpAddr) -> bool) -> bool {
    let (at_ip, to_ip) = (at.ip().to_canonical(), to.ip().to_canonical());
    let to_ip = match to_ip {
        // Where nobody is named, the system means itself.
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    // `::` takes IPv4, too.
    let takes_all = at_ip.is_unspecified() && (at_ip.is_ipv6() || to_ip.is_ipv4());
    at.port() == to.port() && (at_ip == to_ip || (takes_all && is_here(to_ip)))
}

/// TCP connections from us to us: how often what goes through each has come by, by the port that it is dialled from.
/// All workers share it, as any of them may accept what another dials; no other connection needs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hops(Arc<Mutex<BTreeMap<u16, usize>>>);

/// A connection to a listener of ours, until dropped.
#[derive(Debug)]
pub(crate) struct Hop {
    hops: Hops,
    port: u16,
}

impl Hops {
    /// Held for a few lines.
    fn known(&self) -> MutexGuard<'_, BTreeMap<u16, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often what comes from this port of ours has come by.
    fn of(&self, port: u16) -> Option<usize> {
        self.known().get(&port).copied()
    }

    /// A connection to one of our own listeners is dialled from `port`.
    fn enter(&self, port: u16, hops: usize) -> Hop {
        self.known().insert(port, hops);
        Hop {
            hops: self.clone(),
            port,
        }
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.hops.known().remove(&self.port);
    }
}

/// A socket for a connection to any address.
pub(crate) fn socket(to: SocketAddr) -> std::io::Result<TcpSocket> {
    match to {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
}

/// What has been said of such targets.
#[derive(Default)]
pub(crate) struct Loops {
    /// For these it holds.
    looked: RefCell<Option<(Rc<Table>, Rc<Config>)>>,
    said: RefCell<BTreeSet<String>>,
    hops: Hops,
    here: Here,
    /// Where this worker listens.
    listeners: RefCell<Vec<SocketAddr>>,
}

impl Loops {
    pub(super) fn new(hops: Hops) -> Self {
        Self {
            hops,
            ..Self::default()
        }
    }

    /// A listener has opened.
    pub(super) fn opened(&self, at: SocketAddr) {
        self.listeners.borrow_mut().push(at);
    }

    /// One has closed.
    pub(super) fn closed(&self, at: SocketAddr) {
        let mut listeners = self.listeners.borrow_mut();
        if let Some(found) = listeners.iter().position(|listener| *listener == at) {
            listeners.swap_remove(found);
        }
    }

    fn is_here(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.here.has(ip, Instant::now(), addresses)
    }

    /// How often what comes from `peer` has come by.
    fn hops(&self, peer: SocketAddr) -> usize {
        let hops = self.hops.of(peer.port());
        // Somebody else's port may have the same number.
        hops.filter(|_| self.is_here(peer.ip().to_canonical()))
            .unwrap_or(0)
    }

    /// A socket to carry `arrival`, which came in by the listener at `by`, on to the address `to`. Where that is a
    /// listener of ours, the port is known before whoever accepts it can ask.
    pub(crate) fn socket(
        &self,
        arrival: &Arrival,
        by: SocketAddr,
        to: SocketAddr,
    ) -> Result<(TcpSocket, Option<Hop>), Fault> {
        let is_at = |at| is_at(at, to, |ip| self.is_here(ip));
        if is_at(by) {
            return Err(Fault::Loop);
        }
        let socket = socket(to)?;
        if !self.listeners.borrow().iter().any(|at| is_at(*at)) {
            return Ok((socket, None));
        }
        let hops = self.hops(arrival.peer) + 1;
        if hops > MOST {
            return Err(Fault::Loop);
        }
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        socket.bind((any, 0).into())?;
        let port = socket.local_addr()?.port();
        Ok((socket, Some(self.hops.enter(port, hops))))
    }

    /// Says of each target in the table that is a listener of the configuration, when it comes. Returns how many there are;
    /// `None`: nothing has changed.
    pub(super) fn look(&self, table: &Rc<Table>, config: &Rc<Config>) -> Option<usize> {
        let mut looked = self.looked.borrow_mut();
        let is_known =
            |(before, by): &(Rc<Table>, Rc<Config>)| Rc::ptr_eq(before, table) && Rc::ptr_eq(by, config);
        if looked.as_ref().is_some_and(is_known) {
            return None;
        }
        *looked = Some((table.clone(), config.clone()));
        let mut own: BTreeSet<String> = authorities(config);
        own.retain(|authority| table.leads_to(authority));
        let mut said = self.said.borrow_mut();
        for authority in own.difference(&said) {
            let leads_there = |target: &Arc<crate::table::Target>| *target.addr == **authority;
            let route = table.routes().find(|route| route.targets.iter().any(leads_there));
            let route = route.map(|route| route.source()).unwrap_or_default();
            tracing::warn!(%route, target = %authority, "this target is a listener of this balancer: what it gets \
                comes back in");
        }
        let count = own.len();
        *said = own;
        Some(count)
    }
}

/// What targets would be called that are listeners of ours.
fn authorities(config: &Config) -> BTreeSet<String> {
    let mut own = BTreeSet::new();
    for listener in &config.listeners {
        let (ip, port) = (listener.addr.ip(), listener.addr.port());
        let ips = if ip.is_unspecified() {
            addresses()
        } else {
            vec![ip]
        };
        if ips.iter().any(IpAddr::is_loopback) {
            own.insert(format!("localhost:{port}"));
        }
        own.extend(ips.iter().map(|ip| SocketAddr::new(*ip, port).to_string()));
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_listener_by_its_address_or_by_any_of_the_machine_s() {
        for (at, to, is) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "0.0.0.0:80", true),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80", true),
            ("0.0.0.0:80", "127.0.0.2:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "[::1]:80", true),
            ("[::]:80", "[::]:80", true),
            ("[::]:80", "192.0.2.1:80", false),
            ("[::1]:80", "127.0.0.1:80", false),
        ] {
            let is_here = |ip: IpAddr| ip.is_loopback();
            assert_eq!(
                is_at(at.parse().unwrap(), to.parse().unwrap(), is_here),
                is,
                "{at} {to}"
            );
        }
        let loops = Loops::default();
        for ip in addresses() {
            let is_here = |ip| loops.is_here(ip);
            assert!(
                is_at("[::]:80".parse().unwrap(), SocketAddr::new(ip, 80), is_here),
                "{ip}"
            );
        }
    }

    #[test]
    fn the_system_is_asked_for_its_addresses_once_a_second_at_most() {
        let (here, start) = (Here::default(), Instant::now());
        let asked = std::cell::Cell::new(0);
        let ours: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let has = |ip: usize, milliseconds| {
            let find = || vec![ours[asked.replace(asked.get() + 1)]];
            here.has(ours[ip], start + Duration::from_millis(milliseconds), find)
        };
        assert!(has(0, 0) && !has(1, 500) && has(0, 999));
        assert_eq!(asked.get(), 1);
        assert!(has(1, 1000) && !has(0, 1999));
        assert_eq!(asked.get(), 2);
    }
}
