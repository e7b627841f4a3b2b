//! Websockets: a server that says what it hears, and clients that wait for that before they say more.

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::machine::Outcome;
use crate::reading::Tally;

/// Clients at a time.
const CLIENTS: usize = 64;
/// Bytes of a message.
const MESSAGE: usize = 128;

/// A server in a thread of its own, which ends with this value.
pub struct Server {
    pub address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start() -> Outcome<Self> {
        let runtime = runtime()?;
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .map_err(|e| format!("no echo server: {e}"))?;
        let address = listener
            .local_addr()
            .map_err(|e| format!("no echo server: {e}"))?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let serving = move || {
            // Nothing, when it was stopped, is as good as its end.
            let _ = runtime.block_on(stopped.run_until_cancelled(serve(listener)));
        };
        Ok(Self {
            address,
            stop,
            thread: Some(thread::spawn(serving)),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            stream.set_nodelay(true).ok()?;
            let mut socket = tokio_tungstenite::accept_async(stream).await.ok()?;
            while let Some(Ok(message)) = socket.next().await {
                if message.is_binary() {
                    socket.send(message).await.ok()?;
                }
            }
            Some(())
        });
    }
}

/// Counts messages that came back.
pub fn ping(address: SocketAddr, seconds: u32) -> Outcome<Tally> {
    let begun = Instant::now();
    let end = begun + Duration::from_secs(u64::from(seconds));
    let times = runtime()?.block_on(async {
        let mut clients: JoinSet<Outcome<Vec<u64>>> = (0..CLIENTS).map(|_| client(address, end)).collect();
        let mut times = Vec::new();
        while let Some(ended) = clients.join_next().await {
            times.extend(ended.map_err(|e| e.to_string())??);
        }
        Outcome::Ok(times)
    })?;
    Ok(Tally::of(
        times.len() as f64,
        begun.elapsed().as_secs_f64(),
        times,
    ))
}

/// Microseconds from each message to its echo.
async fn client(address: SocketAddr, end: Instant) -> Outcome<Vec<u64>> {
    let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let url = format!("ws://{address}/");
    let opened = tokio_tungstenite::client_async(url, stream).await;
    let (mut socket, _) = opened.map_err(|e| format!("no websocket: {e}"))?;
    let message = Message::binary(vec![7; MESSAGE]);
    let mut times = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        socket.send(message.clone()).await.map_err(|e| e.to_string())?;
        match socket.next().await {
            Some(Ok(echo)) if echo == message => {}
            other => return Err(format!("no echo but {other:?}")),
        }
        times.push(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    socket.close(None).await.map_err(|e| e.to_string())?;
    Ok(times)
}

fn runtime() -> Outcome<Runtime> {
    let built = Builder::new_current_thread().enable_all().build();
    built.map_err(|e| format!("no runtime: {e}"))
}
