//! TLS handshakes, each on a connection of its own and followed by one request: without a session before it, or resumed.
//!
//! X25519 only, which all contenders know: one that may choose takes another group, at another price.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use crate::certificate::{Certificate, NAME};
use crate::http::ask;
use crate::load::Target;
use crate::machine::Outcome;
use crate::reading::Tally;

/// Handshakes at a time.
const CLIENTS: usize = 8;

pub fn run(target: &Target, resumed: bool) -> Outcome<Tally> {
    let begun = Instant::now();
    let end = begun + Duration::from_secs(u64::from(target.seconds));
    let times: Outcome<Vec<Vec<u64>>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| client(target, resumed, end)))
            .collect();
        let ended = clients.into_iter().map(|client| client.join());
        ended
            .map(|times| times.map_err(|_| "a client panicked".to_owned())?)
            .collect()
    });
    let times: Vec<u64> = times?.into_iter().flatten().collect();
    Ok(Tally::of(
        times.len() as f64,
        begun.elapsed().as_secs_f64(),
        times,
    ))
}

/// Microseconds of each handshake and its request. The first one of all has no session to resume and does not count.
fn client(target: &Target, resumed: bool, end: Instant) -> Outcome<Vec<u64>> {
    let config = Arc::new(config(target.certificate, resumed)?);
    handshake(&config, target.address)?;
    let wanted = if resumed {
        HandshakeKind::Resumed
    } else {
        HandshakeKind::Full
    };
    let mut times = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        let kind = handshake(&config, target.address)?;
        if kind != Some(wanted) {
            return Err(format!("a handshake was {kind:?} where {wanted:?} was wanted"));
        }
        times.push(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok(times)
}

fn config(certificate: &Certificate, resumed: bool) -> Outcome<ClientConfig> {
    let provider = CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der.clone()).map_err(|e| e.to_string())?;
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    if !resumed {
        config.resumption = Resumption::disabled();
    }
    Ok(config)
}

/// The request is part of it: tickets come with its answer.
fn handshake(config: &Arc<ClientConfig>, address: SocketAddr) -> Outcome<Option<HandshakeKind>> {
    let name = ServerName::try_from(NAME).map_err(|e| e.to_string())?;
    let socket = TcpStream::connect(address).map_err(|e| format!("not connected: {e}"))?;
    let patience = Some(Duration::from_secs(5));
    socket.set_read_timeout(patience).map_err(|e| e.to_string())?;
    socket.set_nodelay(true).map_err(|e| e.to_string())?;
    let tls = ClientConnection::new(config.clone(), name).map_err(|e| e.to_string())?;
    let mut stream = StreamOwned::new(tls, socket);
    let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    ask(&mut stream, request.as_bytes())?;
    Ok(stream.conn.handshake_kind())
}
