//! Idle connections of HTTP/1.1 to servers, of one worker, by way. The youngest is used first, so that the rest can
//! age.
//!
//! A connection is in here only while nobody uses it. It comes back when the answer's body has ended, and
//! never after an upgrade.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::sync::Weak;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::hash;
use crate::http::body::RequestBody;
use crate::upstream::direct::Direct;
use crate::upstream::way::Way;

/// See the module.
#[derive(Default)]
pub(crate) struct Pool(RefCell<hash::Map<Way, Rc<Shelf>>>);

/// The idle connections of one way. Who has taken one puts it back without looking for the place again.
#[derive(Default)]
pub(crate) struct Shelf(RefCell<Vec<Idle>>);

struct Idle {
    link: Link,
    since: Instant,
}

/// A connection, as whoever uses it holds it.
pub(crate) enum Link {
    /// On the heap: it is handed on often.
    Direct(Box<Direct>),
    Hyper(Hyper),
}

/// One that a task of hyper's reads and writes.
pub(crate) struct Hyper {
    pub sender: SendRequest<RequestBody>,
    /// Its socket, as long as the connection has it.
    pub socket: Weak<TcpStream>,
}

impl Link {
    fn is_direct(&self) -> bool {
        matches!(self, Self::Direct(_))
    }

    /// Open and free as far as we have been told.
    fn is_ready(&self) -> bool {
        match self {
            Self::Direct(direct) => direct.is_quiet(),
            Self::Hyper(hyper) => hyper.sender.is_ready(),
        }
    }

    /// The same, as far as the system knows.
    fn is_quiet(&self) -> bool {
        match self {
            Self::Direct(direct) => is_quiet(direct.stream()),
            Self::Hyper(hyper) => hyper.socket.upgrade().is_some_and(|socket| is_quiet(&socket)),
        }
    }
}

/// Nothing has come from the other side, not even its end. The system is asked itself: on a busy machine its word may
/// have been there for a while before the runtime hears it.
pub(super) fn is_quiet(socket: &TcpStream) -> bool {
    let peeked = SockRef::from(socket).peek(&mut [MaybeUninit::uninit()]);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

impl Pool {
    /// Where connections of this way are.
    pub(crate) fn shelf(&self, way: &Way) -> Rc<Shelf> {
        let mut shelves = self.0.borrow_mut();
        match shelves.get(way) {
            Some(shelf) => shelf.clone(),
            None => shelves.entry(way.clone()).or_default().clone(),
        }
    }

    /// Closes what has aged, what the other side closed, and every connection to an authority not `wanted`.
    pub(crate) fn sweep(&self, wanted: impl Fn(&str) -> bool, idle_timeout: Duration) {
        self.0.borrow_mut().retain(|way, shelf| {
            let mut idle = shelf.0.borrow_mut();
            if wanted(&way.authority) {
                idle.retain(|idle| idle.link.is_ready() && idle.since.elapsed() < idle_timeout);
            } else {
                idle.clear();
            }
            // Whoever still has one of its connections will put it there, where it must be found.
            !idle.is_empty() || Rc::strong_count(shelf) > 1
        });
    }

    /// Idle connections now.
    pub(crate) fn len(&self) -> usize {
        let shelves = self.0.borrow();
        shelves.values().map(|shelf| shelf.0.borrow().len()).sum()
    }
}

impl Shelf {
    /// A connection that is open and free as far as we have been told, and was used less than `age` ago: the youngest
    /// of the kind that is wanted, else of all.
    pub(crate) fn take(&self, age: Duration, direct: bool) -> Option<Link> {
        let mut connections = self.0.borrow_mut();
        loop {
            let is_young = |at: &usize| connections[*at].since.elapsed() < age;
            let fitting = connections
                .iter()
                .rposition(|idle| idle.link.is_direct() == direct);
            let youngest = fitting
                .filter(is_young)
                .or_else(|| connections.len().checked_sub(1).filter(is_young))?;
            let link = connections.remove(youngest).link;
            if link.is_ready() {
                return Some(link);
            }
        }
    }

    /// The same, and open as far as the system knows.
    pub(crate) fn take_quiet(&self, age: Duration, direct: bool) -> Option<Link> {
        loop {
            let link = self.take(age, direct)?;
            if link.is_quiet() {
                return Some(link);
            }
        }
    }

    /// Takes back a connection whose exchange is over, or will be as soon as its task has run, unless there are `most`.
    pub(crate) fn put(self: Rc<Self>, link: Link, most: usize) {
        let mut hyper = match link {
            Link::Hyper(hyper) if !hyper.sender.is_ready() => hyper,
            ready => return self.keep(ready, most),
        };
        if !hyper.sender.is_closed() {
            tokio::task::spawn_local(async move {
                if hyper.sender.ready().await.is_ok() {
                    self.keep(Link::Hyper(hyper), most);
                }
            });
        }
    }

    fn keep(&self, link: Link, most: usize) {
        let mut connections = self.0.borrow_mut();
        if connections.len() < most {
            connections.push(Idle {
                link,
                since: Instant::now(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_connection_is_quiet_until_the_system_has_a_word_of_the_other_side_heard_or_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap());
        for speaks in [true, false] {
            let (socket, accepted) = tokio::join!(connect(), listener.accept());
            let (socket, mut other) = (socket.unwrap(), accepted.unwrap().0.into_std().unwrap());
            assert!(is_quiet(&socket));
            // Nothing is awaited from here on, so the runtime hears of none of it.
            if speaks {
                other.write_all(b"x").unwrap();
            } else {
                drop(other);
            }
            assert!(!is_quiet(&socket), "{speaks}");
        }
    }

    #[tokio::test]
    async fn what_is_put_back_after_a_sweep_is_found_and_an_empty_shelf_goes_once_nobody_will_put_anything_there()
     {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = Way {
            authority: "a".into(),
            h2: false,
            tls: None,
        };
        let (pool, day) = (Pool::default(), Duration::from_secs(86_400));
        let shelf = pool.shelf(&way);
        pool.sweep(|_| true, day);
        let (socket, _accepted) = tokio::join!(
            TcpStream::connect(listener.local_addr().unwrap()),
            listener.accept()
        );
        shelf.put(Link::Direct(Box::new(Direct::new(socket.unwrap()))), 1);
        assert!(pool.shelf(&way).take(day, true).is_some());
        pool.sweep(|_| true, day);
        assert_eq!(pool.0.borrow().len(), 0);
    }

    #[tokio::test]
    async fn however_many_connections_a_server_closes_at_once_none_of_them_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = Way {
            authority: "a".into(),
            h2: false,
            tls: None,
        };
        let pool = Rc::new(Pool::default());
        for _ in 0..300 {
            let connect = TcpStream::connect(listener.local_addr().unwrap());
            let (socket, accepted) = tokio::join!(connect, listener.accept());
            let socket = socket.unwrap();
            drop(accepted);
            socket.readable().await.unwrap();
            pool.shelf(&way)
                .put(Link::Direct(Box::new(Direct::new(socket))), 1000);
        }
        let day = Duration::from_secs(86_400);
        assert_eq!(pool.len(), 300);
        pool.sweep(|_| true, day);
        assert_eq!(pool.len(), 0);
    }
}
