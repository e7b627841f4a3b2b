//! Idle connections of HTTP/1.1 to servers, of one worker, by way. The youngest is used first, so that the rest can
//! age.
//!
//! A connection is in here only while nobody uses it. It comes back when the answer's body has ended, and
//! never after an upgrade.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::body::Body;
use hyper::client::conn::http1::SendRequest;

use crate::upstream::way::Way;

/// See the module.
pub(crate) struct Pool<B>(RefCell<HashMap<Way, Vec<Idle<B>>>>);

struct Idle<B> {
    sender: SendRequest<B>,
    since: Instant,
}

impl<B> Default for Pool<B> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<B: Body + 'static> Pool<B> {
    /// A connection that is open and free as far as we have been told, and was used less than `age` ago.
    pub(crate) fn take(&self, way: &Way, age: Duration) -> Option<SendRequest<B>> {
        let mut idle = self.0.borrow_mut();
        let connections = idle.get_mut(way)?;
        while connections.last()?.since.elapsed() < age {
            let youngest = connections.pop()?.sender;
            if youngest.is_ready() {
                return Some(youngest);
            }
        }
        None
    }

    /// Takes back a connection whose exchange is over, or will be as soon as its task has run, unless there are `most`.
    pub(crate) fn put(self: &Rc<Self>, way: Way, mut sender: SendRequest<B>, most: usize) {
        if sender.is_ready() {
            self.keep(way, sender, most);
        } else if !sender.is_closed() {
            let pool = self.clone();
            tokio::task::spawn_local(async move {
                if sender.ready().await.is_ok() {
                    pool.keep(way, sender, most);
                }
            });
        }
    }

    fn keep(&self, way: Way, sender: SendRequest<B>, most: usize) {
        let mut idle = self.0.borrow_mut();
        let connections = idle.entry(way).or_default();
        if connections.len() < most {
            connections.push(Idle {
                sender,
                since: Instant::now(),
            });
        }
    }

    /// Closes what has aged, what the other side closed, and every connection to an authority not `wanted`.
    pub(crate) fn sweep(&self, wanted: impl Fn(&str) -> bool, idle_timeout: Duration) {
        self.0.borrow_mut().retain(|way, connections| {
            connections.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < idle_timeout);
            !connections.is_empty() && wanted(&way.authority)
        });
    }

    /// Idle connections now.
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().values().map(Vec::len).sum()
    }
}
