//! Idle connections to servers, of one worker, by authority. The youngest is used first, so that the rest
//! can age.
//!
//! A connection is in here only while nobody uses it. It comes back when the answer's body has ended, and
//! never after an upgrade.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Body;
use hyper::client::conn::http1::SendRequest;

/// See the module.
pub(crate) struct Pool<B> {
    idle: RefCell<HashMap<Arc<str>, Vec<Idle<B>>>>,
    max_idle: usize,
    idle_timeout: Duration,
}

struct Idle<B> {
    sender: SendRequest<B>,
    since: Instant,
}

impl<B: Body + 'static> Pool<B> {
    /// Keeps up to `max_idle` connections per authority, each unused for `idle_timeout` at most.
    pub(crate) fn new(max_idle: usize, idle_timeout: Duration) -> Self {
        Self {
            idle: RefCell::default(),
            max_idle,
            idle_timeout,
        }
    }

    /// A connection that is open and free as far as we have been told.
    pub(crate) fn take(&self, authority: &str) -> Option<SendRequest<B>> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(authority)?;
        while let Some(Idle { sender, since }) = connections.pop() {
            if sender.is_ready() && since.elapsed() < self.idle_timeout {
                return Some(sender);
            }
        }
        None
    }

    /// Takes back a connection whose exchange is over, or will be as soon as its task has run.
    pub(crate) fn put(self: &Rc<Self>, authority: Arc<str>, mut sender: SendRequest<B>) {
        if sender.is_ready() {
            self.keep(authority, sender);
        } else if !sender.is_closed() {
            let pool = self.clone();
            tokio::task::spawn_local(async move {
                if sender.ready().await.is_ok() {
                    pool.keep(authority, sender);
                }
            });
        }
    }

    fn keep(&self, authority: Arc<str>, sender: SendRequest<B>) {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(authority).or_default();
        if connections.len() < self.max_idle {
            connections.push(Idle {
                sender,
                since: Instant::now(),
            });
        }
    }

    /// Closes what has aged, what the other side closed, and every connection to an authority not `wanted`.
    pub(crate) fn sweep(&self, wanted: impl Fn(&str) -> bool) {
        self.idle.borrow_mut().retain(|authority, connections| {
            connections.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < self.idle_timeout);
            !connections.is_empty() && wanted(authority)
        });
    }

    /// Idle connections now.
    pub(crate) fn len(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }
}
