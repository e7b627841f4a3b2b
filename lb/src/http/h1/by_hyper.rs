//! What is not common in HTTP/1.1: hyper reads and writes it, `framing.rs` watches the bytes. It may end as a tunnel.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::body::Incoming;
use hyper::http::{Version, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::direct::Standing;
use super::in_time;
use crate::arrival::Stream;
use crate::http::body::AnswerBody;
use crate::http::error::Refusal;
use crate::http::framing::{Framing, Reading, Watched};
use crate::http::headers::CLOSE;
use crate::http::patience::{Patience, Progress};
use crate::http::upgrade::Tunnel;
use crate::http::{Client, MAX_HEAD};

/// What the requests of one connection have in common.
struct Connection {
    client: Rc<Client>,
    framing: Framing,
    /// Requests begun.
    begun: Cell<u64>,
    /// The connection after its last request, when that was an upgrade.
    tunnel: RefCell<Option<Tunnel>>,
}

/// Serves what follows where the connection is `standing`.
pub(super) async fn serve(
    client: Rc<Client>,
    (stream, standing): (impl Stream, &Standing),
    mut patience: Patience,
) {
    let stream = Watched::after(stream, standing.begun.get(), standing.written.get());
    let shared = Rc::new(Connection {
        framing: stream.framing(),
        begun: standing.begun.clone(),
        tunnel: RefCell::new(None),
        client: client.clone(),
    });
    let service = service_fn(|request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    let connection = builder()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // On the heap, to be dropped before the tunnel runs: that waits for what the connection would give it.
    let mut connection = Box::pin(connection);
    let (ends, mut is_told, mut has_begun) = (&standing.ends, false, false);
    let serving = pin!(poll_fn(|cx| {
        // What was read before it became hyper's has begun, and hyper ends at once where it knows of nothing begun.
        if !std::mem::replace(&mut has_begun, true)
            && let ended @ Poll::Ready(_) = connection.as_mut().poll(cx)
        {
            return ended;
        }
        if ends.get() && !is_told {
            is_told = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    }));
    let progress = || shared.progress();
    let ended = in_time((&client, &mut patience), ends, progress, serving).await;
    drop(connection);
    if let Some(Err(error)) = &ended {
        if error.is_parse() {
            client.unread(error);
        }
        tracing::debug!(peer = %client.addr, %error, "client connection ended");
    }
    // A client that never learned of it has none.
    let tunnel = shared.tunnel.take().filter(|_| matches!(ended, Some(Ok(()))));
    if let Some(tunnel) = tunnel {
        let _open = client.worker.counters.tunnels.enter();
        tunnel.run().await;
    }
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // `max_headers` stays what hyper has: for any other number it fills two lists of that length for each head.
    // Not `pipeline_flush`: hyper 1.12 then closes without writing what it holds when bytes that nobody will
    // read are left over, so a client that sent too much never learns why it was refused.
    builder
        .half_close(true)
        .max_header_size(MAX_HEAD)
        .max_buf_size(2 * MAX_HEAD)
        // `Patience` tells slow heads from idle connections, and needs no timer per request.
        .header_read_timeout(None);
    builder
}

impl Connection {
    fn progress(&self) -> Progress {
        let waiting = self.client.tally.is_waiting();
        let (begun, answered) = (self.framing.heads(), self.client.tally.answered());
        let under_way = begun.saturating_sub(answered);
        let reading = match self.framing.reading() {
            // Of a request that was sent ahead: nobody reads on before its turn.
            Reading::Head if under_way > 0 => Reading::Nothing,
            Reading::Body if under_way > 1 => Reading::Nothing,
            reading => reading,
        };
        Progress {
            reading,
            begun,
            answered,
            half_closed: self.framing.is_half_closed(),
            written: self.framing.written(),
            waiting,
            unsent: waiting || self.framing.is_flushing(),
            taken: self.framing.written(),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let busy = self.client.asks();
        let number = self.begun.replace(self.begun.get() + 1);
        let (parts, body) = request.into_parts();
        let admitted = if self.framing.is_ambiguous(number) {
            Err(Refusal::Ambiguous)
        } else {
            Ok(())
        };
        let mut answered = self.client.answer(busy, admitted, parts.into(), Some(body)).await;
        answered.response.version_mut().clone_from(&Version::HTTP_11);
        if answered.is_last {
            answered.response.headers_mut().insert(header::CONNECTION, CLOSE);
        }
        if let Some(tunnel) = answered.tunnel {
            self.framing.becomes_tunnel();
            *self.tunnel.borrow_mut() = Some(tunnel);
        }
        answered.response
    }
}
