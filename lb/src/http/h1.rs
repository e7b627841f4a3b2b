//! A client's connection of HTTP/1.1: hyper reads and writes it, `framing.rs` watches the bytes, `patience.rs` the
//! clock. It may end as a tunnel.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::http::{HeaderValue, Version, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::{MissedTickBehavior, interval};

use crate::arrival::Stream;
use crate::http::body::AnswerBody;
use crate::http::error::Refusal;
use crate::http::framing::{Framing, Reading, Watched};
use crate::http::patience::{Patience, Progress, Verdict};
use crate::http::upgrade::Tunnel;
use crate::http::{Client, MAX_HEAD};

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What the requests of one connection have in common.
struct Connection {
    client: Rc<Client>,
    framing: Framing,
    /// Requests begun.
    begun: Cell<u64>,
    /// The connection after its last request, when that was an upgrade.
    tunnel: RefCell<Option<Tunnel>>,
}

/// Serves it until either side ends it, it idles too long, or it shall stop and its request is answered.
pub(super) async fn serve(client: Rc<Client>, stream: impl Stream, mut patience: Patience) {
    let stream = Watched::new(stream);
    let shared = Rc::new(Connection {
        framing: stream.framing(),
        begun: Cell::new(0),
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
    let mut stopped = std::pin::pin!(client.stopped());
    let mut tick = interval(patience.tick());
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut draining = false;
    let ended_well = loop {
        tokio::select! {
            // In this order, so that no answer is written after the stop without saying that it is the last.
            biased;
            () = &mut stopped, if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            ended = connection.as_mut() => {
                let ended_well = ended.is_ok();
                if let Err(error) = ended {
                    if error.is_parse() {
                        client.unread(&error);
                    }
                    tracing::debug!(peer = %client.addr, %error, "client connection ended");
                }
                break ended_well;
            }
            now = tick.tick() => match patience.look(shared.progress(), now) {
                Verdict::Fine => {}
                Verdict::Idle => connection.as_mut().graceful_shutdown(),
                Verdict::Late => break false,
            }
        }
    };
    drop(connection);
    // A client that never learned of it has none.
    let tunnel = shared.tunnel.take().filter(|_| ended_well);
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
        let mut answered = self.client.answer(busy, admitted, parts, body).await;
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
