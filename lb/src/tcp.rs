//! TCP: a listener's port, or the name that a client asks for in its ClientHello, is the route. Bytes go through
//! unread, and each side may close its half when it likes.
//!
//! A connection lives on when its target leaves the table, unless its route says for how long: the target may be
//! draining, and nobody but its two ends knows what they are in the middle of.

use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::arrival::{Arrival, Socket, proxy};
use crate::config::{Listener, Proto};
use crate::meter::{Meter, Metered};
use crate::metrics::Count;
use crate::policy::access;
use crate::table::{Asker, Route, Served, Table, Target, UnderWay};
use crate::upstream::Fault;
use crate::worker::Worker;
use crate::worker::loops::Hop;

mod pump;

pub(crate) use pump::Spares;

/// Buffer of each direction of a connection over TLS.
const BUFFER: usize = 16 * 1024;
/// Targets that one connection may try, not counting those that refuse at once.
const ATTEMPTS: usize = 3;

/// A client whose bytes are carried.
pub(crate) enum Client {
    /// As they come, TLS or not.
    Plain(Socket),
    /// Out of the TLS that ended here.
    Tls(Box<TlsStream<Socket>>),
}

/// What chooses the route.
#[derive(Clone, Debug)]
pub(crate) enum Key {
    /// The port, or address and port, that the client came to.
    Port,
    /// The name that it asked for.
    Name(Box<str>),
}

/// One connection on its way to a target.
pub(crate) struct Passage<'a> {
    pub worker: &'a Worker,
    pub listener: &'a Listener,
    pub arrival: &'a Arrival,
    pub key: Key,
}

/// Where kinds of connections are counted apart.
struct Counts<'a> {
    accepted: &'a Count,
    failed: &'a Count,
    no_route: &'a Count,
}

/// Why no target got a connection.
enum Unserved {
    Denied,
    Failed,
}

impl Passage<'_> {
    /// Carries the connection until both halves are closed, or closes it where it leads nowhere.
    pub(crate) async fn serve(&self, client: Client) {
        let started = Instant::now();
        let counters = &self.worker.counters;
        let counts = self.counts();
        counts.accepted.add(1);
        let _open = counters.tcp_connections.enter();
        let table = self.worker.table();
        let Some(route) = self.route(&table).filter(|route| !route.targets.is_empty()) else {
            counts.no_route.add(1);
            self.decline(&client);
            tracing::debug!(client = %self.arrival.client, addr = %self.arrival.local, key = ?self.key,
                "no route for a TCP connection");
            return;
        };
        let (target, (server, _hop)) = match self.connect(route).await {
            Ok(connected) => connected,
            Err(Unserved::Denied) => return counters.doors.tcp_denied.add(1),
            Err(Unserved::Failed) => return counts.failed.add(1),
        };
        drop(table);
        let tally = Tally {
            worker: self.worker,
            under_way: UnderWay::at(target, self.worker.number),
            started,
            meter: Meter::default(),
        };
        let target = tally.under_way.target();
        tokio::select! {
            biased;
            ended = self.carry(client, server, target, &tally.meter) => {
                if let Err(error) = ended {
                    tracing::debug!(target = %target.addr, %error, "TCP connection broke off");
                }
            }
            () = tally.meter.silence(self.listener.read_timeout, self.listener.write_timeout) => {
                tracing::debug!(target = %target.addr, "TCP connection closed after silence");
            }
            () = self.abandoned(target) => {
                tracing::debug!(target = %target.addr, "TCP connection closed, its target has left");
            }
        }
    }

    /// Resolves when its target has left the table for as long as its route lets connections go on.
    async fn abandoned(&self, target: &Target) {
        let Some(grace) = target.options.shutdown_sessions else {
            return std::future::pending().await;
        };
        let is_there = || self.worker.table().leads_to(&target.addr);
        loop {
            self.until(|| !is_there()).await;
            if timeout(grace, self.until(is_there)).await.is_err() {
                return;
            }
        }
    }

    /// Resolves with a table of which that is true.
    async fn until(&self, so: impl Fn() -> bool) {
        loop {
            // Before it is asked, so that no table is missed.
            let turned = self.worker.turned.notified();
            if so() {
                return;
            }
            turned.await;
        }
    }

    /// Tells a TLS client why its connection ends, as far as that can be said at once (RFC 6066, section 3).
    fn decline(&self, client: &Client) {
        /// A fatal alert: unrecognized_name.
        const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
        if let (Key::Name(_), Client::Plain(socket)) = (&self.key, client) {
            socket.say(&ALERT);
        }
    }

    fn route<'t>(&self, table: &'t Table) -> Option<&'t Arc<Route>> {
        match &self.key {
            Key::Port if self.listener.proto == Proto::Tcp => table.tcp(self.listener.addr.port()),
            Key::Port => table.tcp_at(self.arrival.local),
            Key::Name(name) if self.listener.proto == Proto::TcpSni => {
                table.sni(name, self.listener.addr.port())
            }
            Key::Name(name) => table.pass_through(name, self.listener.addr.port()),
        }
    }

    fn counts(&self) -> Counts<'_> {
        let counters = &self.worker.counters;
        match self.key {
            Key::Port => Counts {
                accepted: &counters.tcp_accepted,
                failed: &counters.tcp_connect_failures,
                no_route: &counters.tcp_no_route,
            },
            Key::Name(_) => Counts {
                accepted: &counters.tcp_sni_accepted,
                failed: &counters.tcp_sni_connect_failures,
                no_route: &counters.tcp_sni_no_route,
            },
        }
    }

    /// Dials targets of `route` until one accepts.
    async fn connect(&self, route: &Route) -> Result<(Arc<Target>, (TcpStream, Option<Hop>)), Unserved> {
        let worker = self.worker;
        let asker = Asker {
            worker: worker.number,
            client: self.arrival.client.ip(),
            headers: None,
            random: &rand::random::<u64>,
        };
        let choice = route.choice(&worker.config().strategy, &asker);
        let mut tried = Vec::new();
        let mut attempts = 0;
        while attempts < ATTEMPTS {
            let Some(target) = worker.pick(route, choice, &tried).cloned() else {
                break;
            };
            if !access::admits(&target.options.access, self.arrival.client.ip()) {
                tracing::debug!(client = %self.arrival.client, target = %target.addr, "TCP client is not let in");
                return Err(Unserved::Denied);
            }
            worker.counters.retries.add(u64::from(!tried.is_empty()));
            let socket = |to| worker.loops.socket(self.arrival, self.listener.addr, to);
            let dialled = worker
                .upstream
                .dial(&target.addr, target.options.timeouts.dial, socket)
                .await;
            match dialled {
                Ok(connected) => return Ok((target, connected)),
                Err(fault) => {
                    self.note(&target, &fault);
                    attempts += usize::from(!fault.is_refusal());
                    tried.push(target);
                }
            }
        }
        Err(Unserved::Failed)
    }

    fn note(&self, target: &Target, fault: &Fault) {
        self.worker.failures.tell("TCP target refused", target, fault);
        let counters = &self.worker.counters;
        counters.upstream_failures.add(1);
        counters.loops.add(u64::from(matches!(fault, Fault::Loop)));
    }

    async fn carry(
        &self,
        client: Client,
        mut server: TcpStream,
        target: &Target,
        meter: &Meter,
    ) -> std::io::Result<()> {
        if let Some(version) = target.options.send_proxy {
            let header = proxy::header(version, self.arrival.client, self.arrival.local);
            server.write_all(&header).await?;
        }
        match client {
            Client::Plain(socket) => {
                let (mut client, seen) = socket.into_parts();
                let (up, down) = (FromClient(meter), ToClient(meter));
                let spares = &self.worker.spares;
                let (from_client, to_client) = client.split();
                let (from_server, to_server) = server.split();
                let sent = async {
                    up.0.came(seen.len());
                    pump::write_all(to_server.as_ref(), &seen, &up).await?;
                    drop(seen);
                    pump::pump(from_client, to_server.as_ref(), spares, &up).await
                };
                let answered = pump::pump(from_server, to_client.as_ref(), spares, &down);
                tokio::try_join!(sent, answered)?;
            }
            Client::Tls(stream) => {
                let mut client = Metered::new(stream, meter.clone());
                copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await?;
            }
        }
        Ok(())
    }
}

struct FromClient<'a>(&'a Meter);

impl pump::Progress for FromClient<'_> {
    fn read(&self, bytes: usize) {
        self.0.came(bytes);
    }
    fn waits(&self) {
        self.0.awaits();
    }
    fn wrote(&self, _: usize) {}
    fn stalls(&self) {}
}

struct ToClient<'a>(&'a Meter);

impl pump::Progress for ToClient<'_> {
    fn read(&self, _: usize) {}
    fn waits(&self) {}
    fn wrote(&self, bytes: usize) {
        self.0.went(bytes);
    }
    fn stalls(&self) {
        self.0.stalls();
    }
}

/// Counts a connection when it ends, however it ends.
struct Tally<'a> {
    worker: &'a Worker,
    under_way: UnderWay,
    started: Instant,
    meter: Meter,
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        let served = Served {
            status: None,
            took: self.started.elapsed(),
            rx: self.meter.written(),
            tx: self.meter.read(),
        };
        self.worker.count(self.under_way.target(), served);
    }
}
