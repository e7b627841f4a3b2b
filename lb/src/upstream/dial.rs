//! A fresh connection to a server: TCP, and TLS on it where the route asks.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::Stores;
use crate::upstream::Fault;
use crate::upstream::way::{Tls, Way};

/// Bytes to and from a server, in the clear for us.
#[derive(Debug)]
pub(crate) struct Connected {
    bytes: Bytes,
    /// Told when the server has said its first word.
    heard: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
enum Bytes {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected {
    fn of(bytes: Bytes) -> Self {
        Self { bytes, heard: None }
    }

    /// Ready when the server has said its first word, or hung up.
    pub(crate) fn first_word(&mut self) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        self.heard = Some(tell);
        told
    }
}

/// Opens one within `limit`, all handshakes included. `probes`: how far TCP's keep-alive probes are apart.
pub(crate) async fn open(
    way: &Way,
    stores: &Stores,
    limit: Duration,
    probes: Option<Duration>,
) -> Result<Connected, Fault> {
    let opening = async {
        let stream = connect(&way.authority, probes).await?;
        match &way.tls {
            None => Ok(Connected::of(Bytes::Plain(stream))),
            Some(tls) => {
                let stream = secured(stream, tls, way.h2, stores).await?;
                Ok(Connected::of(Bytes::Tls(Box::new(stream))))
            }
        }
    };
    timeout(limit, opening).await.unwrap_or(Err(Fault::DialTimeout))
}

/// TCP alone.
pub(crate) async fn connect(authority: &str, probes: Option<Duration>) -> Result<TcpStream, Fault> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    if let Some(probes) = probes {
        let keep_alive = socket2::TcpKeepalive::new()
            .with_time(probes)
            .with_interval(probes);
        socket2::SockRef::from(&stream).set_tcp_keepalive(&keep_alive)?;
    }
    Ok(stream)
}

async fn secured(
    stream: TcpStream,
    tls: &Tls,
    h2: bool,
    stores: &Stores,
) -> Result<TlsStream<TcpStream>, Fault> {
    let name = tls.server_name()?;
    let fault = |why: &dyn std::fmt::Display| Fault::Tls(why.to_string().into());
    let config = stores
        .client_config(&tls.options, h2)
        .await
        .map_err(|error| fault(&error))?;
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|error| fault(&error))?;
    if h2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(fault(&"the server does not offer HTTP/2"));
    }
    Ok(stream)
}

impl AsyncRead for Connected {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = match &mut this.bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Bytes::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if polled.is_ready()
            && let Some(heard) = this.heard.take()
        {
            // Whoever asked may have lost interest.
            let _ = heard.send(());
        }
        polled
    }
}

impl AsyncWrite for Connected {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Bytes::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Bytes::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.bytes {
            Bytes::Plain(stream) => stream.is_write_vectored(),
            Bytes::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Bytes::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Bytes::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
