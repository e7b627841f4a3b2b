//! A whole request of HTTP/1.1 as a proxy sees it, between a client and a target that keep their connections; and what
//! further headers cost, which is what rewriting them does.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::{LOG, valgrind};
use crate::http::ask;
use crate::machine::{Machine, Outcome};
use crate::proxy::{Duty, Kind, Proxy};

pub const FEW: u32 = 100;
pub const MANY: u32 = 1_100;
/// As few as a program sends, and as many as a browser.
pub const FURTHER_HEADERS: [u32; 2] = [0, 12];

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";

/// A target that answers whatever it is asked, until this process ends.
pub fn serve() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| format!("no target: {e}"))?;
    let address = listener.local_addr().map_err(|e| format!("no target: {e}"))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(|| answer(stream));
        }
    });
    Ok(address)
}

/// Ends with the connection.
fn answer(stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        if line == "\r\n" {
            lines.get_mut().write_all(ANSWER)?;
        }
        line.clear();
    }
    Ok(())
}

/// Instructions of a proxy that starts, serves so many requests and ends.
pub fn refs(machine: &Machine, kind: Kind, duty: &Duty, further: u32, times: u32) -> Outcome<u64> {
    let proxy = Proxy::start(kind, duty, machine)?;
    let headers: String = (0..further)
        .map(|n| format!("X-Header-{n}: value {n}\r\n"))
        .collect();
    let request = format!("GET / HTTP/1.1\r\nHost: www.example.com\r\n{headers}\r\n");
    let mut stream = TcpStream::connect(proxy.address).map_err(|e| format!("not connected: {e}"))?;
    let patience = Some(Duration::from_secs(10));
    stream.set_read_timeout(patience).map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    (0..times).try_for_each(|_| ask(&mut stream, request.as_bytes()).map(drop))?;
    drop(proxy);
    valgrind::read(&machine.path(LOG))
}
