//! One listener on one worker: accepts, learns who comes and what for, and hands the connection on.
//!
//! Everything that a client could delay (PROXY header, ClientHello, TLS handshake) happens in the task of its own
//! connection. A door that closes takes in whoever has knocked before, and then waits for those inside: without end
//! where only the listener goes, until `proxy.shutdownwait` is over where the process does.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::crowd::Place;
use super::guests::Guest;
use super::ports::Offer;
use super::scrape;
use crate::arrival::{Arrival, Refused, Socket, Stream, proxy_header, server_name};
use crate::config::Proto;
use crate::http::patience::Patience;
use crate::listen::Trouble;
use crate::metrics::Counters;
use crate::tcp::{Client, Key, Passage};
use crate::{http, listen, tls};

/// Time that connections have at the stop even where `proxy.shutdownwait` grants none: an answer that is already
/// written may leave.
const FAREWELL: Duration = Duration::from_millis(200);

/// For a handshake that may take as long as it likes.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// See the module.
pub(super) struct Door {
    /// What holds for the next connection.
    pub offer: RefCell<Rc<Offer>>,
    /// Accept no more.
    pub halt: CancellationToken,
}

impl Door {
    /// Serves until it is closed and everybody has left.
    pub(super) async fn run(self: Rc<Self>, worker: Rc<Worker>, tcp: TcpListener) {
        let mut connections = JoinSet::new();
        let addr = self.offer.borrow().listener.addr;
        let mut trouble = Trouble::new(worker.counters.clone(), addr);
        worker.loops.opened(addr);
        loop {
            tokio::select! {
                (stream, peer) = next(&worker, &tcp, &mut trouble) => {
                    let place = self.admit(&worker);
                    connections.spawn_local(self.clone().connection(worker.clone(), (stream, peer), place));
                }
                Some(ended) = connections.join_next() => bury(&worker.counters, ended),
                () = self.halt.cancelled() => break,
            }
        }
        worker.loops.closed(addr);
        for (stream, peer) in listen::waiting(&tcp) {
            let place = self.admit(&worker);
            connections.spawn_local(self.clone().connection(worker.clone(), (stream, peer), place));
        }
        drop(tcp);
        self.drain(&worker, connections).await;
    }

    /// A place for a client, and be it that of another.
    fn admit(&self, worker: &Worker) -> Place {
        worker.counters.doors.given_up.add(worker.crowd.make_room());
        worker.crowd.enter(self.halt.child_token())
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
            let (addr, left) = (self.offer.borrow().listener.addr, connections.len());
            tracing::info!(%addr, left, "connections cut at the end of proxy.shutdownwait");
        }
    }

    async fn connection(
        self: Rc<Self>,
        worker: Rc<Worker>,
        (stream, peer): (TcpStream, SocketAddr),
        place: Place,
    ) {
        let _open = worker.counters.clone().connections.enter();
        let offer = self.offer.borrow().clone();
        let mut visitor = Visitor {
            arrival: Arrival::plain(&stream, peer, offer.listener.addr, place.seat()),
            trusted: trusts(&worker, peer.ip()),
            worker,
            offer,
            _guests: Vec::new(),
        };
        // A proxy of ours brings connections of many.
        if !visitor.trusted && !visitor.enters(peer.ip()) {
            return;
        }
        let mut socket = Socket::new(stream);
        let served = async {
            match visitor.introduced(&mut socket).await {
                Ok(true) => return visitor.serve(socket).await,
                Ok(false) => {}
                Err(refused) => visitor.refuse(&refused),
            }
            None
        };
        // Looked at when it is its turn, and not at every word on the connection.
        let mut given_up = FuturesUnordered::from_iter([place.given_up()]);
        let cargo = tokio::select! {
            // In this order, so that whoever is given up may still say goodbye.
            biased;
            cargo = served => cargo,
            _ = given_up.next() => {
                tracing::debug!(%peer, "an idle connection makes room");
                None
            }
        };
        if let Some(cargo) = cargo {
            cargo.carry().await;
        }
    }
}

/// The next client, once there is room for it.
async fn next(worker: &Worker, tcp: &TcpListener, trouble: &mut Trouble) -> (TcpStream, SocketAddr) {
    worker.crowd.room().await;
    listen::accept(tcp, trouble).await
}

fn trusts(worker: &Worker, peer: IpAddr) -> bool {
    let config = worker.config();
    config.trusted.iter().any(|network| network.contains(peer))
}

/// A client between the door and what serves it.
struct Visitor {
    worker: Rc<Worker>,
    offer: Rc<Offer>,
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
        let Some(wait) = self.offer.listener.proxy_header else {
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

    /// Serves it, as far as it is not just bytes.
    async fn serve(self, socket: Socket) -> Option<Box<Cargo>> {
        match self.offer.listener.proto {
            Proto::TcpSni | Proto::HttpsTcpSni => Box::pin(self.by_name(socket)).await,
            _ => self.unwrapped(socket).await,
        }
    }

    /// Passes a connection on by the name in its ClientHello, or ends its TLS here.
    async fn by_name(self, mut socket: Socket) -> Option<Box<Cargo>> {
        let limit = self.worker.config().edge.header_timeout;
        let listener = &self.offer.listener;
        let ends_here = listener.proto == Proto::HttpsTcpSni;
        match server_name(&mut socket, limit).await {
            Ok(Some(name)) => {
                let port = listener.addr.port();
                if ends_here && self.worker.table().pass_through(&name, port).is_none() {
                    return self.unwrapped(socket).await;
                }
                return self.cargo(Client::Plain(socket), Key::Name(name));
            }
            Ok(None) if ends_here => return self.unwrapped(socket).await,
            Ok(None) => self.refuse(&Refused::Nameless),
            Err(refused) => self.refuse(&refused),
        }
        None
    }

    /// Serves what is inside the TLS, where there is one.
    async fn unwrapped(mut self, socket: Socket) -> Option<Box<Cargo>> {
        let Some(acceptor) = &self.offer.acceptor else {
            return match self.offer.listener.proto {
                Proto::Tcp | Proto::TcpDynamic => self.cargo(Client::Plain(socket), Key::Port),
                _ => self.spoken(socket).await,
            };
        };
        let limit = self.worker.config().edge.header_timeout.unwrap_or(NEVER);
        let accepted = Box::pin(acceptor.accept(socket, limit)).await;
        // Or every connection would be larger by the state of TLS, several times over.
        match accepted.map(|(stream, facts)| (Box::new(stream), facts)) {
            Ok((stream, facts)) => {
                self.arrival.tls = Some(Arc::new(facts));
                match self.offer.listener.proto {
                    Proto::Tcp | Proto::TcpDynamic => self.cargo(Client::Tls(stream), Key::Port),
                    _ => self.spoken(stream).await,
                }
            }
            // No fault: that was all there was to say.
            Err(tls::Refused::Challenge) => None,
            Err(refused) => {
                self.worker.counters.doors.tls_failed.add(1);
                let (peer, addr) = (self.arrival.peer, self.arrival.local);
                tracing::debug!(%peer, %addr, %refused, "TLS connection refused");
                None
            }
        }
    }

    async fn spoken(self, stream: impl Stream) -> Option<Box<Cargo>> {
        match self.offer.listener.proto {
            Proto::Prometheus => scrape::serve(&self.worker, stream, &self.arrival).await,
            proto => {
                if matches!(proto, Proto::Grpc | Proto::Grpcs) {
                    self.worker.counters.grpc.accepted.add(1);
                }
                let patience = self.patience();
                http::serve(self.worker, patience, stream, self.arrival).await;
            }
        }
        None
    }

    /// With who speaks HTTP.
    fn patience(&self) -> Patience {
        let edge = &self.worker.config().edge;
        Patience::new(&self.offer.listener, edge, Instant::now())
    }

    fn cargo(self, client: Client, key: Key) -> Option<Box<Cargo>> {
        Some(Box::new(Cargo {
            visitor: self,
            client,
            key,
        }))
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

/// A connection whose bytes are all there is to carry. That takes as long as it lives, and it asks for something all
/// the time: it makes room for nobody, so nothing has to be asked about that whenever a few bytes come.
struct Cargo {
    visitor: Visitor,
    client: Client,
    key: Key,
}

impl Cargo {
    async fn carry(self: Box<Self>) {
        let Self { visitor, client, key } = *self;
        let passage = Passage {
            worker: &visitor.worker,
            listener: &visitor.offer.listener,
            arrival: &visitor.arrival,
            key,
        };
        let _busy = visitor.arrival.seat.asks();
        Box::pin(passage.serve(client)).await;
    }
}

/// A panic costs the connection it happened in, and is said and counted.
pub(crate) fn bury(counters: &Counters, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        counters.panics.add(1);
        tracing::error!(%error, "a connection's task panicked; other connections are not affected");
    }
}
