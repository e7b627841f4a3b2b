//! DNS over TCP: messages behind their length, any number on one connection, in order.
//!
//! Who is silent is let go, who reads too slowly too, and there is room for so many at a time;
//! those beyond wait in the system's queue.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Server;
use super::wire::Transport;

const MOST_CONNECTIONS: usize = 512;
/// For a whole message to arrive, counted from the reply before it.
const PATIENCE: Duration = Duration::from_secs(10);
/// For a reply to be taken.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

/// Accepts until `stop` fires; returns once every connection has ended.
pub(super) async fn serve(listener: TcpListener, server: Arc<Server>, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let connections = TaskTracker::new();
    while let Some((accepted, seat)) = stop
        .run_until_cancelled(async {
            let seat = room.clone().acquire_owned().await;
            (listener.accept().await, seat)
        })
        .await
    {
        match accepted {
            Ok((stream, _)) => {
                let (server, stop) = (server.clone(), stop.clone());
                connections.spawn(async move {
                    let _seat = seat;
                    server.metrics.connections.inc();
                    // Resets and silences are everyday; the connection is gone either way.
                    let ended = converse(stream, &server, &stop).await;
                    tracing::trace!(?ended, "DNS connection closed");
                    server.metrics.connections.dec();
                });
            }
            Err(error) => server.stumble("accept", error).await,
        }
    }
    connections.close();
    connections.wait().await;
}

async fn converse(mut stream: TcpStream, server: &Server, stop: &CancellationToken) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut query = Vec::new();
    loop {
        let Some(read) = stop
            .run_until_cancelled(timeout(PATIENCE, read_message(&mut stream, &mut query)))
            .await
        else {
            return Ok(());
        };
        read??;
        let Some(reply) = server.reply(&query, Transport::Tcp) else {
            return Ok(());
        };
        timeout(WRITE_PATIENCE, stream.write_all(&framed(&reply))).await??;
    }
}

async fn read_message(stream: &mut TcpStream, message: &mut Vec<u8>) -> io::Result<()> {
    let len = stream.read_u16().await?;
    message.resize(usize::from(len), 0);
    stream.read_exact(message).await?;
    Ok(())
}

/// Length and message in one piece, so that they leave in one segment.
fn framed(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).expect("replies are written within a limit of 65535 bytes");
    let mut frame = Vec::with_capacity(2 + message.len());
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(message);
    frame
}
