//! Connections to servers, of one worker: dialled, reused, given back; and what refused lately.
//!
//! This file sends one request to one authority. Whether another may be tried is decided in
//! `http/attempt.rs`, which is why a failure hands the request back when none of it was sent.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http::body::{RequestBody, Upload, Uploaded};

mod pool;

use pool::Pool;

/// How long a worker passes over an authority that refused a connection, when there are others.
const AVOIDED: Duration = Duration::from_secs(1);

/// A connection used this short a time ago is hardly being closed by a server that tires of idle ones.
const YOUNG: Duration = Duration::from_secs(1);

/// Which idle connections a request may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// All: should the server just be closing it, the request can be sent again.
    Any,
    /// One that was in use a moment ago, since the request can be sent only once.
    Young,
    /// None: one of them was just found closed, so others will be.
    No,
}

/// Limits of the connections to servers.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// For the connect.
    pub dial: Duration,
    /// From the end of the request to the head of the answer.
    pub header: Option<Duration>,
    /// An unused connection is closed after that long.
    pub idle: Duration,
    /// Unused connections kept per authority.
    pub max_idle: usize,
}

/// What went wrong with a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("connecting fails: {0}")]
    Dial(#[source] io::Error),
    #[error("no connection in time")]
    DialTimeout,
    #[error("no answer in time")]
    HeaderTimeout,
    /// The connection broke before an answer, or the answer is not HTTP.
    #[error("no valid answer: {0}")]
    Answer(#[source] hyper::Error),
    #[error("it switched protocols unasked")]
    Switched,
    /// In words that would mean the opposite to the client.
    #[error("it declined an upgrade")]
    Declined,
}

impl Fault {
    /// Nobody listens there now, as far as one attempt can tell.
    fn is_dial(&self) -> bool {
        matches!(self, Self::Dial(_) | Self::DialTimeout)
    }

    /// It said so at once, which cost next to nothing.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Dial(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// It took too long, whatever it was.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self, Self::DialTimeout | Self::HeaderTimeout)
    }

    /// Another attempt may fare better: there was no sign of an answer.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Answer(error) => !error.is_parse(),
            fault => fault.is_dial(),
        }
    }
}

/// A request that got no answer.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub fault: Fault,
    /// The whole request, when none of it left: it may be sent elsewhere whatever it is.
    pub unsent: Option<Request<RequestBody>>,
    /// It went out on a connection that had been idle, which says little about the server.
    pub reused: bool,
}

/// A connection in use. Dropping it closes the connection.
pub(crate) struct Lease {
    sender: SendRequest<RequestBody>,
    authority: Arc<str>,
    upstream: Rc<Upstream>,
}

impl Lease {
    /// The answer has been read to its end.
    pub(crate) fn give_back(self) {
        self.upstream.pool.put(self.authority, self.sender);
    }
}

/// See the module.
pub(crate) struct Upstream {
    pool: Rc<Pool<RequestBody>>,
    avoided: RefCell<HashMap<Arc<str>, Instant>>,
    limits: Limits,
    http: http1::Builder,
}

impl Upstream {
    pub(crate) fn new(limits: Limits) -> Self {
        let mut http = http1::Builder::new();
        http.max_headers(256);
        Self {
            pool: Rc::new(Pool::new(limits.max_idle, limits.idle)),
            avoided: RefCell::default(),
            limits,
            http,
        }
    }

    /// Sends `request` to `authority` and waits for the head of the answer.
    pub(crate) async fn send(
        self: &Rc<Self>,
        authority: &Arc<str>,
        request: Request<RequestBody>,
        upload: &Upload,
        reuse: Reuse,
    ) -> Result<(Response<Incoming>, Lease), Box<Unanswered>> {
        let idle = match reuse {
            Reuse::Any => self.pool.take(authority, self.limits.idle),
            Reuse::Young => self.pool.take(authority, YOUNG.min(self.limits.idle)),
            Reuse::No => None,
        };
        let (sender, reused) = match idle {
            Some(sender) => (sender, true),
            None => match self.open(authority).await {
                Ok(sender) => (sender, false),
                Err(fault) => {
                    return Err(Box::new(Unanswered {
                        fault,
                        unsent: Some(request),
                        reused: false,
                    }));
                }
            },
        };
        let mut lease = Lease {
            sender,
            authority: authority.clone(),
            upstream: self.clone(),
        };
        let answer = lease.sender.try_send_request(request);
        match self.in_time(answer, upload).await {
            Some(Ok(answer)) => Ok((answer, lease)),
            Some(Err(mut error)) => {
                let unsent = error.take_message();
                Err(Box::new(Unanswered {
                    fault: Fault::Answer(error.into_error()),
                    unsent,
                    reused,
                }))
            }
            None => Err(Box::new(Unanswered {
                fault: Fault::HeaderTimeout,
                unsent: None,
                reused,
            })),
        }
    }

    /// `None` when the server took too long. Time runs only while it is the server we wait for.
    async fn in_time<T>(&self, answer: impl Future<Output = T>, upload: &Upload) -> Option<T> {
        let Some(limit) = self.limits.header else {
            return Some(answer.await);
        };
        let mut answer = std::pin::pin!(answer);
        loop {
            let uploading = matches!(upload.state(), Uploaded::No | Uploaded::Begun);
            match timeout(limit, answer.as_mut()).await {
                Ok(answer) => return Some(answer),
                Err(_) if uploading => {}
                Err(_) => return None,
            }
        }
    }

    async fn open(&self, authority: &Arc<str>) -> Result<SendRequest<RequestBody>, Fault> {
        let stream = self.dial(authority).await?;
        let (sender, connection) = self
            .http
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Fault::Answer)?;
        tokio::task::spawn_local(async move {
            // Whoever waits for an answer is told; without anybody it is just an idle connection's end.
            if let Err(error) = connection.with_upgrades().await {
                tracing::trace!(%error, "connection to server ended");
            }
        });
        Ok(sender)
    }

    /// A plain connection to `authority`, remembering who refuses.
    pub(crate) async fn dial(&self, authority: &Arc<str>) -> Result<TcpStream, Fault> {
        let dialled = match timeout(self.limits.dial, TcpStream::connect(&**authority)).await {
            Ok(Ok(stream)) => stream.set_nodelay(true).map(|()| stream).map_err(Fault::Dial),
            Ok(Err(error)) => Err(Fault::Dial(error)),
            Err(_) => Err(Fault::DialTimeout),
        };
        match &dialled {
            Err(fault) if fault.is_dial() => {
                self.avoided
                    .borrow_mut()
                    .insert(authority.clone(), Instant::now() + AVOIDED);
            }
            _ if !self.avoided.borrow().is_empty() => {
                self.avoided.borrow_mut().remove(authority);
            }
            _ => {}
        }
        dialled
    }

    /// Did it refuse a connection a moment ago?
    pub(crate) fn is_avoided(&self, authority: &str) -> bool {
        let avoided = self.avoided.borrow();
        !avoided.is_empty()
            && avoided
                .get(authority)
                .is_some_and(|until| Instant::now() < *until)
    }

    /// Idle connections now.
    pub(crate) fn idle(&self) -> usize {
        self.pool.len()
    }

    /// Closes what has aged and what leads to no `wanted` authority.
    pub(crate) fn sweep(&self, wanted: impl Fn(&str) -> bool) {
        self.pool.sweep(wanted);
        let now = Instant::now();
        self.avoided.borrow_mut().retain(|_, until| now < *until);
    }
}
