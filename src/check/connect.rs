//! The connection of one run over HTTP/2, in the clear or over TLS, and what to say when there is none.

use std::error::Error;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tcp::brief;
use super::tls::Trust;

/// Why there was no answer.
pub(super) type Fault = Box<dyn Error + Send + Sync>;

/// A connection, whatever carries it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How a certificate is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tls {
    skip_verify: bool,
}

impl Tls {
    pub(super) fn wanted(tls: bool, skip_verify: bool) -> Option<Self> {
        tls.then_some(Self { skip_verify })
    }
}

/// Connects to `host:port` for HTTP/2.
pub(super) async fn open(address: &str, tls: Option<Tls>, trust: &Trust) -> Result<Box<dyn Stream>, Fault> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("dial tcp {address}: {}", brief(&error)))?;
    stream.set_nodelay(true)?;
    let Some(Tls { skip_verify }) = tls else {
        return Ok(Box::new(stream));
    };
    let mut config = (*trust.config(skip_verify).await?).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned())?;
    Ok(Box::new(
        TlsConnector::from(std::sync::Arc::new(config))
            .connect(name, stream)
            .await?,
    ))
}

/// An error with its causes, which is where the reason is.
pub(super) fn reason(fault: &(dyn Error + 'static)) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(next) = cause {
        let next_text = next.to_string();
        if !text.contains(&next_text) {
            text = format!("{text}: {next_text}");
        }
        cause = next.source();
    }
    text
}
