//! Two pipes and a goodbye: what a connection becomes once both sides agreed to speak something else.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use crate::http::exchange::Exchange;
use crate::meter::{Meter, Metered};

/// Both halves of an upgrade that a server has agreed to. The server's connection is never pooled again.
pub(crate) struct Tunnel {
    pub client: OnUpgrade,
    pub server: OnUpgrade,
    /// Over when the tunnel is.
    pub exchange: Exchange,
}

impl Tunnel {
    /// Carries bytes until both sides have closed, each when it likes.
    pub(crate) async fn run(mut self) {
        let (client, mut server) = match (self.client.await, self.server.await) {
            (Ok(client), Ok(server)) => (TokioIo::new(client), TokioIo::new(server)),
            (Err(error), _) | (_, Err(error)) => {
                tracing::debug!(%error, "upgrade was agreed to but did not happen");
                return;
            }
        };
        let meter = Meter::default();
        let mut client = Metered::new(client, meter.clone());
        self.exchange.carries(meter);
        // An error is an end like any other: somebody left.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
