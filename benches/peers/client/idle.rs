//! Connections that were answered once and then stay, for whoever wants to know what they weigh.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::http::ask;
use crate::load::Put;
use crate::machine::Outcome;
use crate::reading::Tally;

/// Opens them one after the other.
pub fn open(address: SocketAddr, connections: usize) -> Outcome<Put> {
    let begun = Instant::now();
    let mut held = Vec::with_capacity(connections);
    let mut times = Vec::with_capacity(connections);
    for opened in 0..connections {
        let start = Instant::now();
        let stream = one(address).map_err(|e| format!("after {opened} connections: {e}"))?;
        times.push(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
        held.push(stream);
    }
    let tally = Tally::of(connections as f64, begun.elapsed().as_secs_f64(), times);
    Ok(Put { tally, held })
}

fn one(address: SocketAddr) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(address).map_err(|e| e.to_string())?;
    let patience = Some(Duration::from_secs(5));
    stream.set_read_timeout(patience).map_err(|e| e.to_string())?;
    ask(&mut stream, b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")?;
    Ok(stream)
}
