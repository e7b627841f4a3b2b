//! One listener on one worker: accepts, learns who comes and what for, and hands the connection on.
//!
//! Everything that a client could delay (PROXY header, ClientHello, TLS handshake) happens in the task of its own
//! connection. A door that closes takes in whoever has knocked before, and then waits for those inside: without end
//! where only the listener goes, until `proxy.shutdownwait` is over where the process does.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::guests::Guest;
use crate::arrival::{Arrival, Refused, Socket, proxy_header, server_name};
use crate::config::{Listener, Proto};
use crate::metrics::Counters;
use crate::tcp::{Client, Key, Visit};
use crate::{http, listen};

/// Time that connections have at the stop even where `proxy.shutdownwait` grants none: an answer that is already
/// written may leave.
const FAREWELL: Duration = Duration::from_millis(200);

/// See the module.
pub(super) struct Door {
    /// What holds for the next connection.
    pub listener: RefCell<Rc<Listener>>,
    /// Accept no more.
    pub halt: CancellationToken,
}

impl Door {
    /// Serves until it is closed and everybody has left.
    pub(super) async fn run(self: Rc<Self>, worker: Rc<Worker>, tcp: TcpListener) {
        let mut connections = JoinSet::new();
        let counters = worker.counters.clone();
        let on_error = |error: &io::Error| {
            counters.doors.accept_errors.add(1);
            tracing::warn!(%error, "accepting connections fails, trying again");
        };
        loop {
            tokio::select! {
                (stream, peer) = listen::accept(&tcp, on_error) => {
                    connections.spawn_local(self.clone().connection(worker.clone(), stream, peer));
                }
                Some(ended) = connections.join_next() => bury(&worker.counters, ended),
                () = self.halt.cancelled() => break,
            }
        }
        for (stream, peer) in listen::waiting(&tcp).await {
            connections.spawn_local(self.clone().connection(worker.clone(), stream, peer));
        }
        drop(tcp);
        self.drain(&worker, connections).await;
    }

    async fn drain(&self, worker: &Worker, mut connections: JoinSet<()>) {
        loop {
            tokio::select! {
                ended = connections.join_next() => match ended {
                    Some(ended) => bury(&worker.counters, ended),
                    None => return,
                },
                () = worker.stop.cancelled() => break,
            }
        }
        let deadline = Instant::now() + worker.config().shutdown_wait.max(FAREWELL);
        while let Ok(Some(ended)) = timeout_at(deadline, connections.join_next()).await {
            bury(&worker.counters, ended);
        }
        if !connections.is_empty() {
            let (addr, left) = (self.listener.borrow().addr, connections.len());
            tracing::info!(%addr, left, "connections cut at the end of proxy.shutdownwait");
        }
    }

    async fn connection(self: Rc<Self>, worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr) {
        let _open = worker.counters.clone().connections.enter();
        let listener = self.listener.borrow().clone();
        let mut visitor = Visitor {
            arrival: Arrival::plain(&stream, peer, listener.addr, self.halt.clone()),
            trusted: trusts(&worker, peer.ip()),
            worker,
            listener,
            _guests: Vec::new(),
        };
        // A proxy of ours brings connections of many.
        if !visitor.trusted && !visitor.enters(peer.ip()) {
            return;
        }
        let mut socket = Socket::new(stream);
        match visitor.introduced(&mut socket).await {
            Ok(true) => visitor.serve(socket).await,
            Ok(false) => {}
            Err(refused) => visitor.refuse(&refused),
        }
    }
}

fn trusts(worker: &Worker, peer: IpAddr) -> bool {
    let config = worker.config();
    config.trusted.iter().any(|network| network.contains(peer))
}

/// A client between the door and what serves it.
struct Visitor {
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    arrival: Arrival,
    /// Its other end of the socket is a proxy that is believed.
    trusted: bool,
    /// It counts as one of these until it leaves.
    _guests: Vec<Guest>,
}

impl Visitor {
    /// Counts a client in; `false`: it has as many connections as it may.
    fn enters(&mut self, address: IpAddr) -> bool {
        let Some(most) = self.worker.config().edge.connections else {
            return true;
        };
        let Some(guest) = self.worker.guests.enter(address, most) else {
            self.worker.counters.doors.over_limit.add(1);
            tracing::debug!(client = %address, most, "too many connections of one client");
            return false;
        };
        self._guests.push(guest);
        true
    }

    /// Learns who the client is. `false`: the connection is over, and counted.
    async fn introduced(&mut self, socket: &mut Socket) -> Result<bool, Refused> {
        let Some(wait) = self.listener.proxy_header else {
            return Ok(true);
        };
        let Some(named) = proxy_header(socket, wait).await? else {
            return Ok(true);
        };
        if !self.trusted {
            self.worker.counters.doors.proxy_distrusted.add(1);
            tracing::debug!(peer = %self.arrival.peer, "a PROXY header of a peer that is not in proxy.trusted");
            return Ok(false);
        }
        if let Some(client) = named {
            self.arrival.client = client;
            return Ok(self.enters(client.ip()));
        }
        Ok(true)
    }

    async fn serve(self, socket: Socket) {
        match self.listener.proto {
            Proto::Http | Proto::Grpc => {
                http::serve(self.worker, self.listener, socket, self.arrival).await;
            }
            Proto::Tcp | Proto::TcpDynamic => self.carry(Client::Plain(socket), Key::Port).await,
            Proto::TcpSni => self.by_name(socket).await,
            Proto::Https | Proto::Grpcs | Proto::HttpsTcpSni | Proto::Prometheus => {}
        }
    }

    /// Passes a connection on by the name in its ClientHello.
    async fn by_name(self, mut socket: Socket) {
        let limit = self.worker.config().edge.header_timeout;
        match server_name(&mut socket, limit).await {
            Ok(Some(name)) => self.carry(Client::Plain(socket), Key::Name(name)).await,
            Ok(None) => self.refuse(&Refused::Nameless),
            Err(refused) => self.refuse(&refused),
        }
    }

    async fn carry(&self, client: Client, key: Key) {
        let visit = Visit {
            worker: &self.worker,
            listener: &self.listener,
            arrival: &self.arrival,
            key,
        };
        visit.serve(client).await;
    }

    fn refuse(&self, refused: &Refused) {
        let doors = &self.worker.counters.doors;
        match refused {
            Refused::Gone(_) => {}
            Refused::BrokenHeader | Refused::LateHeader => doors.proxy_broken.add(1),
            Refused::Hello(_) | Refused::Nameless | Refused::LateHello => doors.hello_refused.add(1),
        }
        tracing::debug!(peer = %self.arrival.peer, addr = %self.arrival.local, why = %refused, "connection refused");
    }
}

/// A panic costs the connection it happened in, and is said and counted.
pub(super) fn bury(counters: &Counters, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        counters.panics.add(1);
        tracing::error!(%error, "a connection's task panicked; other connections are not affected");
    }
}
