//! The catalog over DNS: sockets, and the loops that read and write them.
//!
//! Each address has one UDP socket and one TCP listener on the same port. What a packet means is
//! `dns/wire.rs`, what a name means is `dns/name.rs`, and what is true of it `dns/answer.rs`; those
//! three are pure. Must not change the state, and must not answer for names outside its domain.

pub mod answer;
pub mod metrics;
pub mod name;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;
pub mod wire;

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use catalog::State;
use hickory_proto::ProtoError;
use hickory_proto::rr::Name;
use prometheus::Registry;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::metrics::{Metrics, result};
use self::name::Zone;
use self::wire::Transport;

/// Ports to try when any will do and UDP's twin of TCP's choice is taken.
const PORT_TRIES: usize = 32;
/// Before a socket that failed is asked again, lest it fails in a tight loop.
const BREATH: Duration = Duration::from_millis(50);

/// Where the state is read.
pub type Read = Arc<dyn Fn() -> Arc<State> + Send + Sync>;

/// What a DNS server needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen, over UDP and TCP both. Port 0: any port that both can have.
    pub addrs: Vec<SocketAddr>,
    /// `consul`, or several labels; the dot at its end may be left out.
    pub domain: String,
    /// The datacenter of this agent.
    pub datacenter: String,
    /// The node of this agent, named as the domain's name server.
    pub node: String,
    /// Leave out warning instances too; critical ones always are. On by default here, off in
    /// Consul: a name that resolves should mean the same health as a route of the balancer does.
    pub only_passing: bool,
}

/// Why a DNS server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The domain is not a name.
    #[error("domain {domain:?} is not a domain name such as \"consul\": {reason}")]
    Domain {
        /// As configured.
        domain: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An address cannot be had.
    #[error("cannot listen on {addr} ({transport}): {source}")]
    Bind {
        /// As configured, with the port that was chosen.
        addr: SocketAddr,
        /// `udp` or `tcp`.
        transport: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// A server whose sockets are bound, and which answers once it is run.
pub struct Dns {
    sockets: Vec<(UdpSocket, TcpListener)>,
    bound: Vec<SocketAddr>,
    server: Arc<Server>,
}

/// What every loop shares.
struct Server {
    zone: Zone,
    read: Read,
    metrics: Metrics,
}

impl Config {
    /// Binds every address; nothing is answered yet.
    pub async fn build(self, read: Read) -> Result<Dns, BuildError> {
        let origin = origin(&self.domain)?;
        let mut sockets = Vec::with_capacity(self.addrs.len());
        let mut bound = Vec::with_capacity(self.addrs.len());
        for addr in self.addrs {
            let (udp, tcp) = bind(addr).await?;
            bound.push(tcp.local_addr().map_err(|source| BuildError::Bind {
                addr,
                transport: "tcp",
                source,
            })?);
            sockets.push((udp, tcp));
        }
        let zone = Zone {
            origin,
            datacenter: self.datacenter,
            node: self.node,
            only_passing: self.only_passing,
        };
        let metrics = Metrics::new();
        let server = Arc::new(Server { zone, read, metrics });
        Ok(Dns {
            sockets,
            bound,
            server,
        })
    }
}

impl Dns {
    /// The addresses listened on, each over UDP and TCP, in the order configured.
    #[must_use]
    pub fn bound(&self) -> &[SocketAddr] {
        &self.bound
    }

    /// Adds the server's counters to those that are exported.
    pub fn register_metrics(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.server.metrics.register(registry)
    }

    /// Answers until `stop` fires; then returns once replies under way are written.
    pub async fn run(self, stop: CancellationToken) {
        let mut loops = JoinSet::new();
        for (socket, listener) in self.sockets {
            loops.spawn(udp::serve(socket, self.server.clone(), stop.clone()));
            loops.spawn(tcp::serve(listener, self.server.clone(), stop.clone()));
        }
        while let Some(ended) = loops.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                resume_unwind(error.into_panic());
            }
        }
    }
}

impl Server {
    /// The reply to one packet. A packet that makes us stumble costs its sender the reply, and
    /// nobody else anything.
    fn reply(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let state = (self.read)();
        let reply = catch_unwind(AssertUnwindSafe(|| {
            wire::reply(&self.zone, &state, query, transport, &mut rand::rng())
        }));
        let reply = reply.unwrap_or_else(|_| {
            self.metrics.faults.inc();
            tracing::error!(query = %query.escape_ascii(), "a DNS query made us panic");
            None
        });
        let result = reply.as_ref().map_or("dropped", |packet| result(packet.code));
        let transport = match transport {
            Transport::Udp(_) => "udp",
            Transport::Tcp => "tcp",
        };
        self.metrics.queries.with_label_values(&[transport, result]).inc();
        let packet = reply?;
        if packet.truncated {
            self.metrics.truncated.inc();
        }
        Some(packet.bytes)
    }

    /// A socket failed in a way that says nothing about the next try.
    async fn stumble(&self, doing: &'static str, error: io::Error) {
        self.metrics.faults.inc();
        tracing::warn!(doing, %error, "a DNS socket failed; going on");
        tokio::time::sleep(BREATH).await;
    }
}

/// Takes TCP's choice of port first, because a listener's port is the scarcer one.
async fn bind(wanted: SocketAddr) -> Result<(UdpSocket, TcpListener), BuildError> {
    let failed = |addr, transport| {
        move |source| BuildError::Bind {
            addr,
            transport,
            source,
        }
    };
    let mut tries = if wanted.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        let tcp = TcpListener::bind(wanted).await.map_err(failed(wanted, "tcp"))?;
        let addr = tcp.local_addr().map_err(failed(wanted, "tcp"))?;
        tries -= 1;
        match UdpSocket::bind(addr).await {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => return Err(failed(addr, "udp")(error)),
        }
    }
}

fn origin(domain: &str) -> Result<Name, BuildError> {
    let refuse = |reason: String| BuildError::Domain {
        domain: domain.to_owned(),
        reason,
    };
    let mut origin = Name::from_ascii(domain).map_err(|error: ProtoError| refuse(error.to_string()))?;
    if origin.is_root() || origin.num_labels() == 0 {
        return Err(refuse("it has no label".to_owned()));
    }
    origin.set_fqdn(true);
    Ok(origin)
}
