//! How a client of ours gets to its server: over TCP or a Unix socket, with TLS on top where that is asked for.
//!
//! hyper's client asks for a connection, here it is made; who keeps it and for how long is that client's affair.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, ResolveServerName};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;
use tower_service::Service;

use crate::tls::{Tls, TlsError};

pub(crate) type Connector = HttpsConnector<Dial>;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A connector to hosts and ports that gives up after `patience`; without `tls` it speaks in the clear.
pub(crate) fn network(tls: Option<&Tls>, patience: Duration) -> Result<Connector, TlsError> {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(patience));
    tcp.enforce_http(false);
    over(Dial::Tcp(tcp), tls)
}

/// A connector to a socket of this machine, whatever host it is asked for.
pub(crate) fn socket(path: &Path) -> Result<Connector, TlsError> {
    over(Dial::Unix(path.to_owned()), None)
}

fn over(dial: Dial, tls: Option<&Tls>) -> Result<Connector, TlsError> {
    // One that speaks in the clear reads no certificates.
    let unused = Tls {
        skip_verify: true,
        ..Tls::default()
    };
    let config = tls.unwrap_or(&unused).config()?;
    let named = tls.and_then(|tls| tls.server_name.as_deref());
    let resolver: Arc<dyn ResolveServerName + Send + Sync> = match named {
        None => Arc::new(DefaultServerNameResolver::default()),
        Some(name) => {
            let wrong = |_| TlsError::ServerName(name.to_owned());
            let name = ServerName::try_from(name.to_owned()).map_err(wrong)?;
            Arc::new(FixedServerNameResolver::new(name))
        }
    };
    Ok(HttpsConnector::new(dial, config, tls.is_some(), resolver))
}

/// What the bytes go over, TLS or not.
#[derive(Clone, Debug)]
pub(crate) enum Dial {
    Tcp(HttpConnector),
    Unix(PathBuf),
}

impl Service<Uri> for Dial {
    type Response = Line;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Line, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Tcp(tcp) => tcp.poll_ready(context).map_err(Into::into),
            Self::Unix(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        match self {
            Self::Tcp(tcp) => {
                let connecting = tcp.call(to);
                Box::pin(async move {
                    let stream = connecting.await?.into_inner();
                    Ok(Line(TokioIo::new(Either::Left(stream))))
                })
            }
            Self::Unix(path) => {
                let path = path.clone();
                Box::pin(async move {
                    let stream = UnixStream::connect(path).await?;
                    Ok(Line(TokioIo::new(Either::Right(stream))))
                })
            }
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Line(TokioIo<Either<TcpStream, UnixStream>>);

impl Connection for Line {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl Write for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
