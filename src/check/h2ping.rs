//! One run of an HTTP/2 check: a connection of its own, a PING, its answer.
//!
//! hyper sends PINGs only to keep connections alive and tells nobody of the answers, so the few frames are read here.

use catalog::Status;
use catalog::check::H2PingProbe;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::Outcome;
use super::connect::{self, Fault, reason};
use super::tcp::patience;
use super::tls::Trust;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Our settings, which are the defaults: a frame without content.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Its content is of no importance, but eight bytes long.
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0lictor\0\0";
const KIND_SETTINGS: u8 = 4;
const KIND_PING: u8 = 6;
const KIND_GOAWAY: u8 = 7;
const IS_ANSWER: u8 = 1;
/// Longest content that a peer may send whom nobody has allowed more.
const LONGEST_FRAME: u32 = 16_384;
/// So many frames may come before the answer.
const MOST_FRAMES: usize = 100;

pub(super) async fn run(probe: &H2PingProbe, trust: &Trust) -> Outcome {
    let H2PingProbe { address, .. } = probe;
    let patience = patience(probe.timeout);
    match timeout(patience, ping(probe, trust)).await {
        Ok(Ok(())) => Outcome {
            status: Status::Passing,
            output: format!("HTTP2 ping {address}: success"),
        },
        Ok(Err(fault)) => Outcome::critical(format!("HTTP2 ping {address}: {}", reason(fault.as_ref()))),
        Err(_) => Outcome::critical(format!("HTTP2 ping {address}: no answer within {patience:?}")),
    }
}

async fn ping(probe: &H2PingProbe, trust: &Trust) -> Result<(), Fault> {
    let tls = connect::Tls::wanted(probe.tls, probe.tls_skip_verify);
    let mut stream = connect::open(&probe.address, tls, trust).await?;
    stream.write_all(&[PREFACE, &SETTINGS, PING].concat()).await?;
    stream.flush().await?;
    for nth in 0..MOST_FRAMES {
        let length_and_kind = stream.read_u32().await?;
        let (length, kind) = (length_and_kind >> 8, length_and_kind.to_be_bytes()[3]);
        let flags = stream.read_u8().await?;
        let _stream_id = stream.read_u32().await?;
        // A server speaks first of its settings.
        if length > LONGEST_FRAME || (nth == 0 && kind != KIND_SETTINGS) {
            return Err("the server does not speak HTTP/2".into());
        }
        let mut content = vec![0; length as usize];
        stream.read_exact(&mut content).await?;
        match kind {
            KIND_PING if flags & IS_ANSWER != 0 => return Ok(()),
            KIND_GOAWAY => return Err("the server closes the connection".into()),
            _ => {}
        }
    }
    Err("no answer to PING among many frames".into())
}
