//! Connections of HTTP/2 to servers, of one worker: shared by the requests that want the same way, each as far as the
//! server allows streams; the next is opened when all are full.
//!
//! One task opens a connection for all who wait, and goes on when the one who asked leaves. A connection that a
//! server takes leave of (GOAWAY) gets no new request; what runs on it ends by itself.
//!
//! fabio cuts the streams of a target that left its table after two seconds, which cut every long call at each flap of
//! a check (its issue 759). Here they run on, as requests of HTTP/1.1 do; only an unused connection is closed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::http::body::RequestBody;
use crate::upstream::Fault;
use crate::upstream::dial::Connected;
use crate::upstream::way::Way;

/// Streams that we put on one connection at most, whatever the server allows.
const MOST: usize = 1000;
/// A server that is silent while we wait for it is asked whether it is there, and has that long to say so.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// Largest head of an answer.
const MAX_HEAD: u32 = 64 * 1024;
/// What waits to be sent on a stream whose server does not take it.
const SEND_BUFFER: usize = 128 * 1024;
/// What a server may send before the client takes it: of a stream, and of a connection as much as can be said. Were it
/// less than all its streams may have, clients that read nothing would use it up and keep their server from others.
const WINDOWS: (u32, u32) = (64 * 1024, (1 << 31) - 1);

/// Runs the parts of a connection where it was opened.
#[derive(Clone, Debug)]
pub(super) struct Here;

impl<F: Future<Output = ()> + 'static> Executor<F> for Here {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// `None` once it has ended: what it holds, requests that it did not send among it, is told so by being dropped.
type Driven = Rc<RefCell<Option<Pin<Box<Connection<TokioIo<Connected>, RequestBody, Here>>>>>>;

/// One connection.
pub(super) struct Shared {
    pub sender: SendRequest<RequestBody>,
    /// Knows what the server allows.
    driven: Driven,
    under_way: Cell<usize>,
    /// When it was last in use.
    used: Cell<Instant>,
}

/// A stream of a connection until dropped.
pub(super) struct Stream(Rc<Shared>);

impl Stream {
    pub(super) fn sender(&self) -> SendRequest<RequestBody> {
        self.0.sender.clone()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
        self.0.used.set(Instant::now());
    }
}

impl Shared {
    fn has_room(&self) -> bool {
        !self.sender.is_closed() && self.under_way.get() < self.allowed().min(MOST)
    }

    /// Streams that the server allows; none before it has said how many.
    fn allowed(&self) -> usize {
        let driven = self.driven.borrow();
        driven
            .as_ref()
            .map_or(0, |connection| connection.current_max_send_streams())
    }
}

/// What those who wait for a connection are told: `None` while it is being opened.
type News = watch::Receiver<Option<Result<(), Fault>>>;

/// See the module.
#[derive(Default)]
pub(super) struct Streams {
    open: RefCell<HashMap<Way, Vec<Rc<Shared>>>>,
    opening: RefCell<HashMap<Way, News>>,
    /// Since when a way leads to no target.
    unwanted: RefCell<HashMap<Way, Instant>>,
}

impl Streams {
    /// A stream on a connection that has room.
    pub(super) fn take(&self, way: &Way) -> Option<Stream> {
        let open = self.open.borrow();
        let shared = open.get(way)?.iter().find(|shared| shared.has_room())?;
        shared.under_way.set(shared.under_way.get() + 1);
        Some(Stream(shared.clone()))
    }

    /// Waits until one more connection is open, within `limit`. `dial` is asked only by the first who waits.
    pub(super) async fn opened(
        self: &Rc<Self>,
        way: &Way,
        limit: Duration,
        dial: impl Future<Output = Result<Connected, Fault>> + 'static,
    ) -> Result<(), Fault> {
        let known = self.opening.borrow().get(way).cloned();
        let mut news = known.unwrap_or_else(|| self.clone().open(way.clone(), limit, dial));
        let told = news.wait_for(Option::is_some).await.map(|news| (*news).clone());
        // The task that opens it does not end without telling, unless the worker does.
        told.ok().flatten().unwrap_or(Err(Fault::DialTimeout))
    }

    fn open(
        self: Rc<Self>,
        way: Way,
        limit: Duration,
        dial: impl Future<Output = Result<Connected, Fault>> + 'static,
    ) -> News {
        let (tell, news) = watch::channel(None);
        self.opening.borrow_mut().insert(way.clone(), news.clone());
        let opening = Opening { streams: self, way };
        tokio::task::spawn_local(async move {
            let opened = async { handshake(dial.await?).await };
            let opened = timeout(limit, opened).await.unwrap_or(Err(Fault::DialTimeout));
            tell.send_replace(Some(opened.map(|shared| opening.done(shared))));
        });
        news
    }

    /// Connections now, in use or not.
    pub(super) fn len(&self) -> usize {
        self.open.borrow().values().map(Vec::len).sum()
    }

    /// Closes what nobody uses any more: after `idle`, or after `grace` where it leads to no `wanted` authority.
    pub(super) fn sweep(&self, wanted: impl Fn(&str) -> bool, idle: Duration, grace: Duration) {
        let now = Instant::now();
        let mut unwanted = self.unwanted.borrow_mut();
        self.open.borrow_mut().retain(|way, connections| {
            let limit = if wanted(&way.authority) {
                unwanted.remove(way);
                idle
            } else {
                let since = *unwanted.entry(way.clone()).or_insert(now);
                grace.saturating_sub(now.saturating_duration_since(since))
            };
            connections.retain(|shared| {
                let unused = now.saturating_duration_since(shared.used.get());
                !shared.sender.is_closed()
                    && (shared.under_way.get() > 0 || (unused < limit && !limit.is_zero()))
            });
            !connections.is_empty()
        });
        let open = self.open.borrow();
        unwanted.retain(|way, _| open.contains_key(way));
    }
}

/// A connection that is being opened, until dropped: even a panic lets the next one try again.
struct Opening {
    streams: Rc<Streams>,
    way: Way,
}

impl Opening {
    fn done(&self, shared: Shared) {
        let mut open = self.streams.open.borrow_mut();
        open.entry(self.way.clone()).or_default().push(Rc::new(shared));
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.streams.opening.borrow_mut().remove(&self.way);
    }
}

async fn handshake(mut stream: Connected) -> Result<Shared, Fault> {
    let heard = stream.first_word();
    let mut builder = Builder::new(Here);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .keep_alive_while_idle(false)
        // Until its settings are known, lest a burst goes to one that allows less.
        .initial_max_send_streams(0)
        .max_header_list_size(MAX_HEAD)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .max_send_buf_size(SEND_BUFFER);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let driven: Driven = Rc::new(RefCell::new(Some(Box::pin(connection))));
    let driving = driven.clone();
    tokio::task::spawn_local(async move {
        let ended = poll_fn(|cx| match driving.borrow_mut().as_mut() {
            Some(connection) => connection.as_mut().poll(cx),
            None => Poll::Ready(Ok(())),
        });
        let ended = ended.await;
        driving.take();
        // Whoever waits for an answer is told; without anybody it is just an idle connection's end.
        if let Err(error) = ended {
            tracing::trace!(%error, "connection to server ended");
        }
    });
    let shared = Shared {
        sender,
        driven,
        under_way: Cell::new(0),
        used: Cell::new(Instant::now()),
    };
    // Its settings are the first that a server of HTTP/2 says; the task that reads them handles them at once.
    let _ = heard.await;
    if shared.sender.is_closed() || shared.allowed() == 0 {
        return Err(Fault::Tongue);
    }
    Ok(shared)
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn a_panic_while_a_connection_opens_costs_that_connection_only() {
        let way = Way {
            authority: "127.0.0.1:1".into(),
            h2: true,
            tls: None,
        };
        let streams = Rc::new(Streams::default());
        let limit = Duration::from_secs(5);
        let opening = async {
            let panics = async { panic!("a fault of ours") };
            assert!(streams.opened(&way, limit, panics).await.is_err());
            let refused = async { Err(Fault::Host) };
            let told = streams.opened(&way, limit, refused).await;
            assert!(matches!(told, Err(Fault::Host)), "{told:?}");
        };
        LocalSet::new().run_until(opening).await;
    }
}
