//! Idle connections of HTTP/1.1 to servers, of one worker, by way. The youngest is used first, so that the rest can
//! age.
//!
//! A connection is in here only while nobody uses it. It comes back when the answer's body has ended, and
//! never after an upgrade.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::sync::Weak;
use std::time::{Duration, Instant};

use hyper::body::Body;
use hyper::client::conn::http1::SendRequest;
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::upstream::way::Way;

/// See the module.
pub(crate) struct Pool<B>(RefCell<HashMap<Way, Vec<Idle<B>>>>);

struct Idle<B> {
    link: Link<B>,
    since: Instant,
}

/// A connection, as whoever uses it holds it.
pub(crate) struct Link<B> {
    pub sender: SendRequest<B>,
    /// Its socket, as long as the connection has it.
    pub socket: Weak<TcpStream>,
}

/// Nothing has come from the other side, not even its end. The system is asked itself: on a busy machine its word may
/// have been there for a while before the connection's task hears it.
fn is_quiet(socket: &Weak<TcpStream>) -> bool {
    let Some(socket) = socket.upgrade() else {
        return false;
    };
    let peeked = SockRef::from(&*socket).peek(&mut [MaybeUninit::uninit()]);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

impl<B> Default for Pool<B> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<B: Body + 'static> Pool<B> {
    /// A connection that is open and free as far as we have been told, and was used less than `age` ago.
    pub(crate) fn take(&self, way: &Way, age: Duration) -> Option<Link<B>> {
        let mut idle = self.0.borrow_mut();
        let connections = idle.get_mut(way)?;
        while connections.last()?.since.elapsed() < age {
            let youngest = connections.pop()?.link;
            if youngest.sender.is_ready() {
                return Some(youngest);
            }
        }
        None
    }

    /// The same, and open as far as the system knows.
    pub(crate) fn take_quiet(&self, way: &Way, age: Duration) -> Option<Link<B>> {
        loop {
            let link = self.take(way, age)?;
            if is_quiet(&link.socket) {
                return Some(link);
            }
        }
    }

    /// Takes back a connection whose exchange is over, or will be as soon as its task has run, unless there are `most`.
    pub(crate) fn put(self: &Rc<Self>, way: Way, mut link: Link<B>, most: usize) {
        if link.sender.is_ready() {
            self.keep(way, link, most);
        } else if !link.sender.is_closed() {
            let pool = self.clone();
            tokio::task::spawn_local(async move {
                if link.sender.ready().await.is_ok() {
                    pool.keep(way, link, most);
                }
            });
        }
    }

    fn keep(&self, way: Way, link: Link<B>, most: usize) {
        let mut idle = self.0.borrow_mut();
        let connections = idle.entry(way).or_default();
        if connections.len() < most {
            connections.push(Idle {
                link,
                since: Instant::now(),
            });
        }
    }

    /// Closes what has aged, what the other side closed, and every connection to an authority not `wanted`.
    pub(crate) fn sweep(&self, wanted: impl Fn(&str) -> bool, idle_timeout: Duration) {
        self.0.borrow_mut().retain(|way, connections| {
            connections.retain(|idle| !idle.link.sender.is_closed() && idle.since.elapsed() < idle_timeout);
            !connections.is_empty() && wanted(&way.authority)
        });
    }

    /// Idle connections now.
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_connection_is_quiet_until_the_system_has_a_word_of_the_other_side_heard_or_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap());
        for speaks in [true, false] {
            let (socket, accepted) = tokio::join!(connect(), listener.accept());
            let (socket, mut other) = (Arc::new(socket.unwrap()), accepted.unwrap().0.into_std().unwrap());
            let looked_at = Arc::downgrade(&socket);
            assert!(is_quiet(&looked_at));
            // Nothing is awaited from here on, so the runtime hears of none of it.
            if speaks {
                other.write_all(b"x").unwrap();
            } else {
                drop(other);
            }
            assert!(!is_quiet(&looked_at), "{speaks}");
            drop(socket);
            assert!(!is_quiet(&looked_at), "it is gone");
        }
    }
}
