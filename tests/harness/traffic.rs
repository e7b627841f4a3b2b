//! A steady stream of requests, so many a second, and an exact account of those that failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::http::Request;
use super::wait_for;

const CLIENTS: u32 = 8;

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) started: Instant,
    #[allow(dead_code, reason = "read through Debug, in the message of a failed test")]
    pub(crate) reason: String,
}

/// Runs until [`Traffic::stop`]. A failure is anything but 200.
pub(crate) struct Traffic {
    stopping: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<Failure>>>,
}

impl Traffic {
    /// Requests that can be on their way at once.
    pub(crate) const AT_ONCE: usize = CLIENTS as usize;

    pub(crate) fn start(request: &Request, per_second: u32) -> Self {
        let (stopping, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let period = Duration::from_secs(1) * CLIENTS / per_second;
        let begin = Instant::now();
        let client = |number| {
            let (request, stopping, answered) =
                (request.clone(), Arc::clone(&stopping), Arc::clone(&answered));
            let first = begin + period * number / CLIENTS;
            std::thread::spawn(move || drive(&request, first, period, &stopping, &answered))
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self {
            stopping,
            answered,
            clients,
        }
    }

    /// Waits until so many more requests have been answered: "a while" measured in work done.
    pub(crate) fn flow(&self, requests: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + requests;
        wait_for(&format!("{requests} more requests"), || {
            let answered = self.answered.load(Ordering::Relaxed);
            if answered >= goal {
                Ok(())
            } else {
                Err(format!("{answered} of {goal}"))
            }
        });
    }

    /// How many were answered well, and every one that was not.
    pub(crate) fn stop(self) -> (usize, Vec<Failure>) {
        self.stopping.store(true, Ordering::Relaxed);
        let failures = self
            .clients
            .into_iter()
            .flat_map(|client| client.join().expect("clients do not panic"));
        let failures = failures.collect();
        (self.answered.load(Ordering::Relaxed), failures)
    }
}

fn drive(
    request: &Request,
    first: Instant,
    period: Duration,
    stopping: &AtomicBool,
    answered: &AtomicUsize,
) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut due = first;
    while !stopping.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += period;
        let started = Instant::now();
        match request.ok() {
            Ok(_) => _ = answered.fetch_add(1, Ordering::Relaxed),
            Err(reason) => failures.push(Failure { started, reason }),
        }
    }
    failures
}
