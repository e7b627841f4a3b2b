//! TCP: a listener's port is the route. Each side may close its half when it likes.

use std::sync::Arc;
use std::time::Instant;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::TcpStream;

use crate::config::Listener;
use crate::meter::{Meter, Metered};
use crate::table::{Asker, Choice, Route, Served, Target, UnderWay};
use crate::worker::Worker;

/// Buffer of each direction.
const BUFFER: usize = 32 * 1024;
/// Targets that one connection may try, not counting those that refuse at once.
const ATTEMPTS: usize = 3;

/// Carries one connection until both halves are closed, or closes it where it leads nowhere.
pub(crate) async fn serve(worker: &Worker, listener: &Listener, client: TcpStream) {
    let started = Instant::now();
    let counters = &worker.counters;
    counters.tcp_accepted.add(1);
    let _open = counters.tcp_connections.enter();
    let table = worker.table();
    let Some(route) = table
        .tcp(listener.addr.port())
        .filter(|route| !route.targets.is_empty())
    else {
        counters.tcp_no_route.add(1);
        tracing::debug!(addr = %listener.addr, "no route for a TCP connection");
        return;
    };
    let asker = Asker {
        worker: worker.number,
        client: client.peer_addr().map_or(listener.addr.ip(), |peer| peer.ip()),
        headers: None,
        random: &rand::random::<u64>,
    };
    let choice = route.choice(&worker.config().strategy, &asker);
    let Some((target, mut server)) = connect(worker, route, choice).await else {
        counters.tcp_connect_failures.add(1);
        return;
    };
    let tally = Tally {
        worker,
        _under_way: target.load.enter(worker.number),
        target,
        started,
        meter: Meter::default(),
    };
    let mut client = Metered::new(client, tally.meter.clone());
    tokio::select! {
        ended = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER) => {
            if let Err(error) = ended {
                tracing::debug!(target = %tally.target.addr, %error, "TCP connection broke off");
            }
        }
        () = tally.meter.silence(listener.read_timeout, listener.write_timeout) => {
            tracing::debug!(target = %tally.target.addr, "TCP connection closed after silence");
        }
    }
}

/// Counts a connection when it ends, however it ends.
struct Tally<'a> {
    worker: &'a Worker,
    target: Arc<Target>,
    _under_way: UnderWay,
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
        self.target.stats.record(self.worker.number, served);
    }
}

/// Dials targets of `route` until one accepts.
async fn connect(worker: &Worker, route: &Route, choice: Choice) -> Option<(Arc<Target>, TcpStream)> {
    let mut tried = Vec::new();
    let mut attempts = 0;
    while attempts < ATTEMPTS {
        let target = worker.pick(route, choice, &tried)?.clone();
        worker.counters.retries.add(u64::from(!tried.is_empty()));
        match worker.upstream.dial(&target.addr).await {
            Ok(stream) => return Some((target, stream)),
            Err(fault) => {
                tracing::warn!(service = %target.service, target = %target.addr, %fault, "TCP target refused");
                worker.counters.upstream_failures.add(1);
                attempts += usize::from(!fault.is_refusal());
                tried.push(target);
            }
        }
    }
    None
}
