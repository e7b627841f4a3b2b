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
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Shared;
use super::crew::{Crew, Opening, Order};
use crate::config::{Config, Listener, Proto};
use crate::current::{Current, Now};
use crate::listen;
use crate::policy::{BadPolicy, Policy};
use crate::table::Table;
use crate::tls::{Acceptor, Alpn, Stores, TlsError};

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

/// Why listeners cannot be had as configured.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A port cannot be had.
    #[error(transparent)]
    Port(#[from] Unclaimable),
    /// TLS cannot be spoken as asked for.
    #[error("proxy.addr: {0}")]
    Tls(#[from] TlsError),
}

/// Why another configuration does not hold. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The listeners cannot be had.
    #[error(transparent)]
    Listeners(#[from] ListenError),
    /// Who is let in cannot be decided so.
    #[error(transparent)]
    Policy(#[from] BadPolicy),
    /// The admin server cannot speak TLS so.
    #[error("ui.addr: {0}")]
    Admin(TlsError),
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
    /// it waits for that. Returns a line for each listener that changed. What only a restart changes is to be as it was:
    /// whoever has a name for each option knows which those are.
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
    dynamic: Vec<Offer>,
    current: watch::Sender<Arc<Current>>,
    reloads: (mpsc::Sender<Reload>, mpsc::Receiver<Reload>),
}

#[derive(Debug)]
struct Claimed {
    /// The address asked for.
    asked: SocketAddr,
    /// With the address it got.
    offer: Offer,
    /// One for each worker.
    sockets: Vec<Socket>,
}

impl Claimed {
    fn new(offer: &Offer, count: usize, ours: bool) -> Result<Self, Unclaimable> {
        let asked = offer.listener.addr;
        let (addr, sockets) = listen::claim(asked, count, ours).map_err(|source| Unclaimable {
            addr: asked,
            proto: offer.listener.proto,
            source,
        })?;
        Ok(Self {
            asked,
            offer: offer.at(addr),
            sockets,
        })
    }
}

/// A listener, and what it shakes hands with.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub listener: Listener,
    /// `None`: it ends no TLS.
    pub acceptor: Option<Acceptor>,
}

impl Offer {
    fn new(listener: &Listener, stores: &Stores) -> Result<Self, TlsError> {
        let acceptor = |tls| stores.acceptor(tls, Alpn::of(listener.proto));
        Ok(Self {
            listener: listener.clone(),
            acceptor: listener.tls.as_ref().map(acceptor).transpose()?,
        })
    }

    /// Of all listeners of a configuration, in its order.
    fn all(config: &Config, stores: &Stores) -> Result<Vec<Self>, TlsError> {
        let listeners = config.listeners.iter();
        listeners.map(|listener| Self::new(listener, stores)).collect()
    }

    fn at(&self, addr: SocketAddr) -> Self {
        let mut offer = self.clone();
        offer.listener.addr = addr;
        offer
    }

    /// Its ports are those that the table names.
    fn is_dynamic(&self) -> bool {
        self.listener.proto == Proto::TcpDynamic
    }
}

impl Workers {
    /// Claims every port for every worker.
    pub(crate) fn claim(current: Current, stores: &Stores) -> Result<Self, ListenError> {
        let config = &current.config;
        let count = config.workers.max(1);
        let (dynamic, fixed): (Vec<_>, Vec<_>) = Offer::all(config, stores)?
            .into_iter()
            .partition(Offer::is_dynamic);
        let claimed = fixed.iter().map(|offer| Claimed::new(offer, count, false));
        Ok(Self {
            claimed: claimed.collect::<Result<_, _>>()?,
            dynamic,
            current: watch::Sender::new(Arc::new(current)),
            reloads: mpsc::channel(1),
        })
    }

    /// The addresses that were claimed, in the order of the configuration.
    pub(crate) fn bound(&self) -> impl Iterator<Item = (SocketAddr, Proto)> {
        self.claimed
            .iter()
            .map(|port| (port.offer.listener.addr, port.offer.listener.proto))
    }

    /// What holds now.
    pub(crate) fn now(&self) -> Now {
        self.current.subscribe()
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
        let (crew, mut ends) = Crew::start(&shared, &swapped, &stop)?;
        let access_log = shared.access_log.clone();
        let mut ports = Ports::new(shared, crew, (self.dynamic, self.current), stop.clone());
        let mut reloads = self.reloads.1;
        let mut outcome = ports.open_all(self.claimed).await;
        if outcome.is_err() {
            stop.cancel();
        }
        let mut dismissed = false;
        loop {
            tokio::select! {
                // Between two works, so that one that was begun is carried out.
                () = stop.cancelled(), if !dismissed => {
                    ports.crew.dismiss();
                    dismissed = true;
                }
                ended = ends.next() => match ended {
                    Some(Ok(())) => {}
                    Some(failed) => {
                        stop.cancel();
                        outcome = outcome.and(failed);
                    }
                    None => break,
                },
                () = ports.due(&mut swapped), if !stop.is_cancelled() => ports.look().await,
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
    current: watch::Sender<Arc<Current>>,
    /// Lets the policy look at its files for as long as it holds.
    looks: DropGuard,
    /// In the order of the configuration.
    fixed: Vec<Port>,
    /// Listeners on the ports that the table names.
    following: Vec<Offer>,
    /// By address, as asked for by a `tcp-dynamic` listener and a route.
    dynamic: BTreeMap<SocketAddr, Port>,
    /// Ports of routes that could not be opened, by what was said of them.
    missing: BTreeMap<SocketAddr, io::ErrorKind>,
    /// Listeners of the configuration that could not be opened, though their ports had been claimed.
    absent: Vec<Offer>,
    /// When ports were last looked at.
    looked: Option<Instant>,
    next: u64,
    stop: CancellationToken,
}

/// One listener that is open on all workers.
struct Port {
    id: u64,
    asked: SocketAddr,
    offer: Arc<Offer>,
    halt: CancellationToken,
}

fn look_after(shared: &Shared, policy: Arc<Policy>) -> DropGuard {
    let stop = CancellationToken::new();
    tokio::spawn(policy.run(shared.metrics.apart(), stop.clone()));
    stop.drop_guard()
}

impl Ports {
    fn new(
        shared: Shared,
        crew: Crew,
        (following, current): (Vec<Offer>, watch::Sender<Arc<Current>>),
        stop: CancellationToken,
    ) -> Self {
        Self {
            current,
            looks: look_after(&shared, shared.policy.clone()),
            shared,
            crew,
            fixed: Vec::new(),
            following,
            dynamic: BTreeMap::new(),
            missing: BTreeMap::new(),
            absent: Vec::new(),
            looked: None,
            next: 0,
            stop,
        }
    }

    /// The configuration of this moment.
    fn config(&self) -> Arc<Config> {
        self.current.borrow().config.clone()
    }

    /// Another configuration for what begins from now on.
    async fn adopt(&mut self, next: Current) {
        let next = Arc::new(next);
        self.crew.tell(|| Some(Order::Configure(next.clone()))).await;
        self.looks = look_after(&self.shared, next.policy.clone());
        self.current.send_replace(next);
    }

    async fn open_all(&mut self, claimed: Vec<Claimed>) -> io::Result<()> {
        for claimed in claimed {
            let (asked, proto) = (claimed.asked, claimed.offer.listener.proto);
            let opened = self.open(claimed).await;
            let port = opened.map_err(|source| Unclaimable {
                addr: asked,
                proto,
                source,
            });
            self.fixed.push(port.map_err(io::Error::other)?);
        }
        self.count();
        Ok(())
    }

    /// Opens a claimed port on every worker, or on none.
    async fn open(&mut self, claimed: Claimed) -> io::Result<Port> {
        self.warn_of(&claimed.offer.listener);
        claimed.sockets.iter().try_for_each(listen::listen)?;
        self.hand_over(claimed).await
    }

    async fn hand_over(&mut self, mut claimed: Claimed) -> io::Result<Port> {
        let port = Port {
            id: self.next,
            asked: claimed.asked,
            offer: Arc::new(claimed.offer),
            halt: self.stop.child_token(),
        };
        self.next += 1;
        let mut outcomes = Vec::new();
        let order = || {
            let (done, outcome) = oneshot::channel();
            outcomes.push(outcome);
            Some(Order::Open(Opening {
                id: port.id,
                offer: port.offer.clone(),
                socket: claimed.sockets.pop()?,
                halt: port.halt.clone(),
                done,
            }))
        };
        self.crew.tell(order).await;
        for outcome in outcomes {
            // A worker that has ended is noticed elsewhere.
            if let Ok(Err(error)) = outcome.await {
                port.halt.cancel();
                return Err(error);
            }
        }
        Ok(port)
    }

    /// Of what was surely meant otherwise, though it may be had.
    fn warn_of(&self, listener: &Listener) {
        if listener.proxy_header.is_some() && self.config().trusted.is_empty() {
            // Each connection that this ends is counted.
            tracing::warn!(addr = %listener.addr, "pxyproto=true, but proxy.trusted names nobody whose PROXY headers \
                are believed: connections that begin with one are closed");
        }
    }

    fn count(&self) {
        let open = self.fixed.len() + self.dynamic.len();
        self.shared.metrics.ports.open.set(open as u64);
    }

    /// Resolves when ports are to be looked at: the table has changed, and not less than `refresh` after the last time;
    /// or one that could not be opened may be free.
    async fn due(&self, swapped: &mut watch::Receiver<()>) {
        let following = self.following.first().map(|offer| &offer.listener);
        let Some(looked) = self.looked else {
            return match following {
                Some(_) => swapped.mark_unchanged(),
                None => std::future::pending().await,
            };
        };
        let pause = following
            .and_then(|listener| listener.refresh)
            .unwrap_or_default();
        sleep_until(looked + pause).await;
        let failed = !self.missing.is_empty() || !self.absent.is_empty();
        tokio::select! {
            // Its sender is the router's, which outlives the workers.
            Ok(()) = swapped.changed(), if following.is_some() => {}
            () = sleep_until(looked + AGAIN.max(pause)), if failed => {}
            else => std::future::pending().await,
        }
    }

    /// Tries again what could not be opened, and follows the table.
    async fn look(&mut self) {
        for offer in std::mem::take(&mut self.absent) {
            let addr = offer.listener.addr;
            match self.claim_and_open(&offer).await {
                Ok(port) => {
                    tracing::info!(%addr, "listening at last");
                    self.fixed.push(port);
                }
                Err(_) => {
                    self.shared.metrics.ports.reload_failures.add(1);
                    self.absent.push(offer);
                }
            }
        }
        self.follow_table().await;
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
        for (addr, offer) in wanted {
            if !self.dynamic.contains_key(&addr) {
                self.open_dynamic(addr, &offer).await;
            }
        }
        self.count();
    }

    /// Addresses to listen on for the routes of `table`. A port that a listener of its own has is left to it.
    fn wanted(&self, table: &Table) -> BTreeMap<SocketAddr, Offer> {
        let mut wanted = BTreeMap::new();
        if self.following.is_empty() {
            return wanted;
        }
        let mut ports = table.tcp_ports();
        let fixed = self.fixed.iter().map(|port| &port.offer.listener);
        for listener in fixed.chain(self.absent.iter().map(|offer| &offer.listener)) {
            ports.remove(&listener.addr.port());
        }
        for offer in &self.following {
            for port in &ports {
                let addr = SocketAddr::new(offer.listener.addr.ip(), *port);
                wanted.entry(addr).or_insert_with(|| offer.at(addr));
            }
        }
        wanted
    }

    async fn open_dynamic(&mut self, addr: SocketAddr, offer: &Offer) {
        match self.claim_and_open(offer).await {
            Ok(port) => {
                tracing::info!(%addr, "listening on the port of a TCP route");
                self.missing.remove(&addr);
                self.dynamic.insert(addr, port);
            }
            Err(error) => {
                self.shared.metrics.ports.route_failures.add(1);
                // Once for each cause, not at every attempt.
                if self.missing.insert(addr, error.kind()) != Some(error.kind()) {
                    tracing::warn!(%addr, %error, "cannot listen on the port of a TCP route; trying again");
                }
            }
        }
    }

    async fn claim_and_open(&mut self, offer: &Offer) -> io::Result<Port> {
        match Claimed::new(offer, self.crew.size(), false) {
            Ok(claimed) => self.open(claimed).await,
            Err(unclaimable) => Err(unclaimable.source),
        }
    }
}

#[cfg(test)]
mod tests;
