//! DNS over UDP: one packet in, one packet out.

use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::Server;
use super::wire::{LARGEST_DATAGRAM, Transport};

/// Answers one socket until `stop` fires.
pub(super) async fn serve(socket: UdpSocket, server: Arc<Server>, stop: CancellationToken) {
    let mut query = vec![0; usize::from(LARGEST_DATAGRAM)];
    loop {
        let received = tokio::select! {
            () = stop.cancelled() => return,
            received = socket.recv_from(&mut query) => received,
        };
        let (len, peer) = match received {
            Ok(received) => received,
            Err(error) => {
                server.stumble("receive", error).await;
                continue;
            }
        };
        // Nobody listens on port 0: the sender's address is forged.
        if peer.port() == 0 {
            continue;
        }
        let Some(reply) = server.reply(&query[..len], Transport::Udp(peer.ip())) else {
            continue;
        };
        if let Err(error) = socket.send_to(&reply, peer).await {
            // A peer that cannot be reached is its own trouble; the next packet is another's.
            server.metrics.faults.inc();
            tracing::debug!(%peer, %error, "a DNS reply was not sent");
        }
    }
}
