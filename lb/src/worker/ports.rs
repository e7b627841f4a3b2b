//! The single owner of what listens. Ports are claimed for all workers before any is opened; a later configuration, or
//! for `tcp-dynamic` the routing table, opens others and closes some, and nobody on the rest notices.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::crew::{Crew, Opening, Order};
use crate::config::{Config, Listener, Proto};
use crate::listen;
use crate::table::Table;

mod changes;

/// A port that is taken may be free again without any route changing.
const AGAIN: Duration = Duration::from_secs(5);

/// A listener's address that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("proxy.addr: cannot listen on {addr} ({proto}): {source}", proto = proto.as_str())]
pub struct Unclaimable {
    /// The address asked for.
    pub addr: SocketAddr,
    /// What was to be spoken there.
    pub proto: Proto,
    /// Why not.
    pub source: io::Error,
}

/// Why another configuration does not hold. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// A new listener's port cannot be had.
    #[error(transparent)]
    Listener(#[from] Unclaimable),
    /// The balancer is stopping, or has stopped.
    #[error("the balancer is stopping")]
    Stopping,
}

/// Gives a running balancer another configuration; a cheap handle.
#[derive(Clone, Debug)]
pub struct Reloader(mpsc::Sender<Reload>);

#[derive(Debug)]
pub(super) struct Reload {
    config: Config,
    done: oneshot::Sender<Result<Vec<String>, ReloadError>>,
}

impl Reloader {
    /// Makes `config` hold for all connections and requests to come; no connection is dropped. Before the first table
    /// it waits for that. Returns a line for everything that changed, and for everything that only a restart changes.
    ///
    /// # Errors
    /// Why nothing changed.
    pub async fn apply(&self, config: Config) -> Result<Vec<String>, ReloadError> {
        let (done, answer) = oneshot::channel();
        let asked = self.0.send(Reload { config, done }).await;
        asked.map_err(|_| ReloadError::Stopping)?;
        answer.await.unwrap_or(Err(ReloadError::Stopping))
    }
}

/// Claimed sockets, for workers that do not run yet.
#[derive(Debug)]
pub(crate) struct Workers {
    claimed: Vec<Claimed>,
    reloads: (mpsc::Sender<Reload>, mpsc::Receiver<Reload>),
}

#[derive(Debug)]
struct Claimed {
    /// The address asked for.
    asked: SocketAddr,
    /// With the address it got.
    listener: Listener,
    /// One for each worker.
    sockets: Vec<Socket>,
}

impl Claimed {
    fn new(listener: &Listener, count: usize, ours: bool) -> Result<Self, Unclaimable> {
        let asked = listener.addr;
        let (addr, sockets) = listen::claim(asked, count, ours).map_err(|source| Unclaimable {
            addr: asked,
            proto: listener.proto,
            source,
        })?;
        let listener = Listener {
            addr,
            ..listener.clone()
        };
        Ok(Self {
            asked,
            listener,
            sockets,
        })
    }
}

/// Those with a port of their own; the ports of `tcp-dynamic` are in the table.
fn fixed(config: &Config) -> impl Iterator<Item = &Listener> {
    config
        .listeners
        .iter()
        .filter(|listener| listener.proto != Proto::TcpDynamic)
}

fn dynamic(config: &Config) -> impl Iterator<Item = &Listener> {
    config
        .listeners
        .iter()
        .filter(|listener| listener.proto == Proto::TcpDynamic)
}

impl Workers {
    /// Claims every port for every worker.
    pub(crate) fn claim(config: &Config) -> Result<Self, Unclaimable> {
        let count = config.workers.max(1);
        let claimed = fixed(config).map(|listener| Claimed::new(listener, count, false));
        Ok(Self {
            claimed: claimed.collect::<Result<_, _>>()?,
            reloads: mpsc::channel(1),
        })
    }

    /// The addresses that were claimed, in the order of the configuration.
    pub(crate) fn bound(&self) -> impl Iterator<Item = (SocketAddr, Proto)> {
        self.claimed
            .iter()
            .map(|port| (port.listener.addr, port.listener.proto))
    }

    /// For whoever may have another configuration later.
    pub(crate) fn reloader(&self) -> Reloader {
        Reloader(self.reloads.0.clone())
    }

    /// Serves until `stop`, then until every connection has ended or `shutdown_wait` is over. `swapped` changes with
    /// the table.
    pub(crate) async fn run(
        self,
        shared: Shared,
        mut swapped: watch::Receiver<()>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let (crew, mut ends) = Crew::start(&shared, &stop)?;
        let access_log = shared.access_log.clone();
        let mut ports = Ports::new(shared, crew, stop.clone());
        let mut reloads = self.reloads.1;
        let mut outcome = ports.open_all(self.claimed).await;
        if outcome.is_err() {
            stop.cancel();
        }
        loop {
            tokio::select! {
                ended = ends.next() => match ended {
                    Some(Ok(())) => {}
                    Some(failed) => {
                        stop.cancel();
                        outcome = outcome.and(failed);
                    }
                    None => break,
                },
                () = ports.table_due(&mut swapped), if !stop.is_cancelled() => ports.follow_table().await,
                Some(reload) = reloads.recv() => {
                    let changed = match stop.is_cancelled() {
                        false => ports.apply(reload.config).await,
                        true => Err(ReloadError::Stopping),
                    };
                    // Whoever asked may have gone.
                    let _ = reload.done.send(changed);
                }
            }
        }
        if let Some(log) = &access_log {
            log.written().await;
        }
        outcome
    }
}

/// Everything that is open.
struct Ports {
    shared: Shared,
    crew: Crew,
    config: Arc<Config>,
    /// In the order of the configuration.
    fixed: Vec<Port>,
    /// By address, as asked for by a `tcp-dynamic` listener and a route.
    dynamic: BTreeMap<SocketAddr, Port>,
    /// Ports of routes that could not be opened, by what was said of them.
    missing: BTreeMap<SocketAddr, io::ErrorKind>,
    /// When the table was last looked at.
    looked: Option<Instant>,
    next: u64,
    stop: CancellationToken,
}

/// One listener that is open on all workers.
struct Port {
    id: u64,
    asked: SocketAddr,
    listener: Arc<Listener>,
    halt: CancellationToken,
}

impl Ports {
    fn new(shared: Shared, crew: Crew, stop: CancellationToken) -> Self {
        Self {
            config: shared.config.clone(),
            shared,
            crew,
            fixed: Vec::new(),
            dynamic: BTreeMap::new(),
            missing: BTreeMap::new(),
            looked: None,
            next: 0,
            stop,
        }
    }

    async fn open_all(&mut self, claimed: Vec<Claimed>) -> io::Result<()> {
        for claimed in claimed {
            let port = self.open(claimed).await?;
            self.fixed.push(port);
        }
        self.count();
        Ok(())
    }

    /// Opens a claimed port on every worker.
    async fn open(&mut self, mut claimed: Claimed) -> io::Result<Port> {
        claimed.sockets.iter().try_for_each(listen::listen)?;
        let port = Port {
            id: self.next,
            asked: claimed.asked,
            listener: Arc::new(claimed.listener),
            halt: self.stop.child_token(),
        };
        self.next += 1;
        let order = || {
            Some(Order::Open(Opening {
                id: port.id,
                listener: port.listener.clone(),
                socket: claimed.sockets.pop()?,
                halt: port.halt.clone(),
            }))
        };
        self.crew.tell(order).await;
        Ok(port)
    }

    fn count(&self) {
        let open = self.fixed.len() + self.dynamic.len();
        self.shared.metrics.ports.open.set(open as u64);
    }

    /// Resolves when the table is to be looked at: it has changed, and not less than `refresh` after the last time; or a
    /// port that could not be opened may be free. For ever where no listener follows the table.
    async fn table_due(&self, swapped: &mut watch::Receiver<()>) {
        let Some(listener) = dynamic(&self.config).next() else {
            return std::future::pending().await;
        };
        let Some(looked) = self.looked else { return };
        let pause = listener.refresh.unwrap_or_default();
        sleep_until(looked + pause).await;
        let again = looked + AGAIN.max(pause);
        tokio::select! {
            // Its sender is the router's, which outlives the workers.
            Ok(()) = swapped.changed() => {}
            () = sleep_until(again), if !self.missing.is_empty() => {}
            else => std::future::pending().await,
        }
    }

    /// Opens the ports that TCP routes name and nobody has, and closes those that they name no more.
    async fn follow_table(&mut self) {
        self.looked = Some(Instant::now());
        let wanted = self.wanted(&self.shared.table.load());
        self.missing.retain(|addr, _| wanted.contains_key(addr));
        let gone = self.dynamic.extract_if(.., |addr, _| !wanted.contains_key(addr));
        for (addr, port) in gone {
            tracing::info!(%addr, "closing the port of a TCP route that is gone");
            port.halt.cancel();
        }
        for (addr, listener) in wanted {
            let Some(port) = self.dynamic.get_mut(&addr) else {
                self.open_dynamic(addr, listener).await;
                continue;
            };
            if *port.listener != listener {
                port.listener = Arc::new(listener);
                let change = Order::changing(port.id, &port.listener);
                self.crew.tell(change).await;
            }
        }
        self.count();
    }

    /// Addresses to listen on for the routes of `table`. A port that a listener of its own has is left to it.
    fn wanted(&self, table: &Table) -> BTreeMap<SocketAddr, Listener> {
        let mut wanted = BTreeMap::new();
        for listener in dynamic(&self.config) {
            for port in table.tcp_ports() {
                if self.fixed.iter().any(|fixed| fixed.listener.addr.port() == port) {
                    continue;
                }
                let addr = SocketAddr::new(listener.addr.ip(), port);
                let listener = Listener {
                    addr,
                    ..listener.clone()
                };
                wanted.entry(addr).or_insert(listener);
            }
        }
        wanted
    }

    async fn open_dynamic(&mut self, addr: SocketAddr, listener: Listener) {
        let opened = match Claimed::new(&listener, self.crew.size(), false) {
            Ok(claimed) => self.open(claimed).await,
            Err(unclaimable) => Err(unclaimable.source),
        };
        match opened {
            Ok(port) => {
                tracing::info!(%addr, "listening on the port of a TCP route");
                self.missing.remove(&addr);
                self.dynamic.insert(addr, port);
            }
            Err(error) => {
                self.shared.metrics.ports.failures.add(1);
                // Once for each cause, not at every attempt.
                if self.missing.insert(addr, error.kind()) != Some(error.kind()) {
                    tracing::warn!(%addr, %error, "cannot listen on the port of a TCP route; trying again");
                }
            }
        }
    }
}
