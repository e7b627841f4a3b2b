//! HTTP/1.1 to servers as it mostly is: in the clear, and requests without a body.
//!
//! Such an exchange needs no task of its own and no channel to one: whoever waits for the answer writes the request and
//! reads the answer, its body included, which is where hyper's client spends most of its time. What is not like that
//! goes by hyper: bodies, upgrades, TLS, HTTP/2. Answers are understood as hyper understands them.
//!
//! Nobody reads while a connection idles. That the server has hung up shows when it is to be used again.

mod body;
mod chunked;
mod head;
mod plain;

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut as _, BytesMut};
use hyper::Request;
use hyper::http::{Method, header};
use socket2::SockRef;
use tokio::io::{AsyncWrite as _, Interest};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

pub(super) use self::body::DirectBody;
pub(crate) use self::plain::Plain;
use crate::http::body::RequestBody;
use crate::upstream::{Answer, Fault, ServerBody, UPSTREAM_BUFFER};

/// Most that is read at once. One piece is read ahead of the client for each answer, so this is what one costs whose
/// client does not read.
const PIECE: usize = 32 * 1024;
/// What is read at first, where an answer may be short.
const FIRST: usize = 8 * 1024;

/// A connection on which nothing is under way.
#[derive(Debug)]
pub(super) struct Direct {
    stream: TcpStream,
    /// Read and not yet understood.
    read: BytesMut,
    /// Of the last request.
    written: Vec<u8>,
    /// Scratch.
    places: Vec<head::Place>,
}

/// Why there is no answer, and whether any of the request was sent.
pub(super) type Failed = (Fault, bool);

impl Direct {
    /// Is this a request that can go on one?
    pub(super) fn suits(request: &Request<RequestBody>) -> bool {
        let headers = request.headers();
        request.body().is_empty()
            && request.method() != Method::CONNECT
            && !headers.contains_key(header::UPGRADE)
            && headers
                .get_all(header::CONTENT_LENGTH)
                .iter()
                .all(|length| length == "0")
    }

    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
            written: Vec::new(),
            places: Vec::new(),
        }
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// For who speaks otherwise.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Neither bytes nor an end have come from the server, as far as the runtime was told. Only where it was told
    /// something is the system asked, so this may be asked of thousands at once.
    pub(super) fn is_quiet(&self) -> bool {
        let look = || SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]);
        let told = self.stream.try_io(Interest::READABLE, look);
        self.read.is_empty() && told.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Gives up what large heads and bodies have needed: it may idle for long.
    fn shrink(&mut self) {
        if self.read.capacity() > FIRST {
            self.read = BytesMut::new();
        }
        self.written.shrink_to(FIRST);
    }

    /// Sends `request`, which it suits, and reads the head of the answer, which may be `plain`.
    pub(super) async fn send(
        mut self: Box<Self>,
        request: &Request<RequestBody>,
        plain: bool,
    ) -> Result<Answer, Failed> {
        self.written.clear();
        head::write(request, &mut self.written);
        let mut sent = 0;
        while sent < self.written.len() {
            let (stream, left) = (&mut self.stream, &self.written[sent..]);
            sent += poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, left))
                .await
                .map_err(|error| (broken(error), sent > 0))?;
        }
        let plain = plain && request.method() != Method::HEAD;
        loop {
            if plain && let Some((plain, body, is_last)) = plain::read(&mut self.read) {
                let body = ServerBody::Direct(DirectBody::new(self, body, is_last));
                return Ok(Answer::Plain(Box::new(plain), body));
            }
            let head = head::read(&mut self.read, request.method(), &mut self.places);
            if let Some(head) = head.map_err(|fault| (fault, true))? {
                let body = DirectBody::new(self, head.body, head.is_last);
                return Ok(Answer::Read(head.response.map(|()| ServerBody::Direct(body))));
            }
            if self.read.len() >= UPSTREAM_BUFFER {
                return Err((Fault::Malformed("its head is too large"), true));
            }
            match poll_fn(|cx| self.poll_fill(cx, FIRST)).await {
                Ok(0) => return Err((broken(io::ErrorKind::UnexpectedEof.into()), true)),
                Ok(_) => {}
                Err(error) => return Err((broken(error), true)),
            }
        }
    }

    /// Reads more; 0: the server has hung up. There is always room for some, and new room is made only for want of that,
    /// or each small piece of a body would hold a large one.
    fn poll_fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        if self.read.capacity() - self.read.len() < FIRST {
            self.read.reserve(most);
        }
        poll_read_buf(Pin::new(&mut self.stream), cx, &mut (&mut self.read).limit(most))
    }
}

/// The connection broke before the answer.
fn broken(error: io::Error) -> Fault {
    Fault::Broken(Arc::new(error))
}
