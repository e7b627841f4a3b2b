//! The threads of the workers, and the orders that they take: which doors to open, what has changed.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::OptionFuture;
use socket2::Socket;
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::door::Door;
use super::ports::Offer;
use super::{Shared, Worker};
use crate::current::Current;
use crate::listen;
use crate::probe;

/// Orders that a worker may have before it.
const ORDERS: usize = 16;

/// What a worker is told.
pub(super) enum Order {
    /// Accept connections on this socket.
    Open(Opening),
    /// Another offer to the connections to come of a listener.
    Change(u64, Arc<Offer>),
    /// Another configuration for the requests to come.
    Configure(Arc<Current>),
}

/// A listener to open.
pub(super) struct Opening {
    /// What it is called from now on.
    pub id: u64,
    pub offer: Arc<Offer>,
    /// It listens already.
    pub socket: Socket,
    /// Closes it.
    pub halt: CancellationToken,
    /// Told whether it is open.
    pub done: oneshot::Sender<io::Result<()>>,
}

/// All workers, to be told.
pub(super) struct Crew(Vec<mpsc::Sender<Order>>);

/// How the workers end.
pub(super) struct Ends(JoinSet<io::Result<()>>);

impl Ends {
    /// The next end of a worker; `None`: all have ended.
    pub(super) async fn next(&mut self) -> Option<io::Result<()>> {
        let ended = self.0.join_next().await?;
        Some(ended.unwrap_or_else(|error| Err(io::Error::other(error))))
    }
}

impl Crew {
    /// Starts the threads; no door is open.
    pub(super) fn start(
        shared: &Shared,
        swapped: &watch::Receiver<()>,
        stop: &CancellationToken,
    ) -> io::Result<(Self, Ends)> {
        let (mut crew, mut ends) = (Self(Vec::new()), Ends(JoinSet::new()));
        for number in 0..shared.config.workers.max(1) {
            let (shared, stop) = (shared.clone(), stop.clone());
            let probes = (number == 0).then(|| swapped.clone());
            let (give, orders) = mpsc::channel(ORDERS);
            let (done, end) = oneshot::channel();
            std::thread::Builder::new()
                .name(format!("lb-worker-{number}"))
                .spawn(move || {
                    // Nobody waits any more only when the whole lb is being dropped.
                    let _ = done.send(thread((number, shared), probes, orders, stop));
                })?;
            crew.0.push(give);
            ends.0.spawn(async {
                end.await
                    .unwrap_or_else(|_| Err(io::Error::other("a worker's thread panicked")))
            });
        }
        Ok((crew, ends))
    }

    pub(super) fn size(&self) -> usize {
        self.0.len()
    }

    /// No more orders will come: the workers end with their last door.
    pub(super) fn dismiss(&mut self) {
        self.0.clear();
    }

    /// Gives every worker an order. One that has ended is noticed elsewhere.
    pub(super) async fn tell(&self, mut order: impl FnMut() -> Option<Order>) {
        for worker in &self.0 {
            if let Some(order) = order() {
                let _ = worker.send(order).await;
            }
        }
    }
}

fn thread(
    (number, shared): (usize, Shared),
    probes: Option<watch::Receiver<()>>,
    orders: mpsc::Receiver<Order>,
    stop: CancellationToken,
) -> io::Result<()> {
    // Of the kind that runs what stays on its thread by itself: a `LocalSet` would be a second queue behind the first.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let worker = Rc::new(Worker::new(number, shared, stop.child_token()));
        // One asks for all.
        let probes = probes.map(|swapped| probe::run(worker.clone(), swapped));
        let chores = worker.clone().chores();
        let beside_it = async {
            tokio::join!(chores, OptionFuture::from(probes));
        };
        beside(obey(&worker, orders), beside_it).await
    })
}

/// What a worker does, and its chores beside it, without which it would go on in silence and fill up.
async fn beside(
    work: impl Future<Output = io::Result<()>>,
    chores: impl Future<Output = ()> + 'static,
) -> io::Result<()> {
    let mut chores = tokio::task::spawn_local(chores);
    let outcome = tokio::select! {
        outcome = work => outcome,
        ended = &mut chores => Err(ended.err().map_or_else(|| io::Error::other("chores ended"), io::Error::other)),
    };
    chores.abort();
    outcome
}

/// Takes orders until there are no more, then waits until every door is closed. Not only until the stop: clients may
/// already wait at a socket that an order is about to bring, and dropping it would reset them all.
async fn obey(worker: &Rc<Worker>, mut orders: mpsc::Receiver<Order>) -> io::Result<()> {
    let mut doors = HashMap::new();
    let mut running = JoinSet::new();
    let mut commanded = true;
    while commanded || !running.is_empty() {
        tokio::select! {
            order = orders.recv(), if commanded => match order {
                Some(order) => carry_out(worker, order, &mut doors, &mut running),
                None => commanded = false,
            },
            Some(ended) = running.join_next() => {
                doors.remove(&ended.map_err(io::Error::other)?);
            }
        }
    }
    Ok(())
}

fn carry_out(
    worker: &Rc<Worker>,
    order: Order,
    doors: &mut HashMap<u64, Rc<Door>>,
    running: &mut JoinSet<u64>,
) {
    match order {
        Order::Open(opening) => {
            // Whoever gave the order may have gone.
            let tcp = match listen::take(opening.socket) {
                Ok(tcp) => {
                    let _ = opening.done.send(Ok(()));
                    tcp
                }
                Err(error) => {
                    let _ = opening.done.send(Err(error));
                    return;
                }
            };
            let door = Rc::new(Door {
                offer: Rc::new((*opening.offer).clone()).into(),
                halt: opening.halt.child_token(),
            });
            doors.insert(opening.id, door.clone());
            let (id, worker) = (opening.id, worker.clone());
            running.spawn_local(async move {
                door.run(worker, tcp).await;
                id
            });
        }
        Order::Change(id, offer) => {
            if let Some(door) = doors.get(&id) {
                door.offer.replace(Rc::new((*offer).clone()));
            }
        }
        Order::Configure(current) => worker.configure(&current),
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn a_panic_in_the_chores_of_a_worker_ends_it() {
        let both = async {
            let ended = beside(std::future::pending(), async { panic!("oh") }).await;
            let said = ended.unwrap_err().to_string();
            assert!(said.contains("panicked"), "{said}");
            assert!(beside(async { Ok(()) }, std::future::pending()).await.is_ok());
        };
        LocalSet::new().run_until(both).await;
    }
}
