//! A whole request of HTTP/1.1 as the balancer sees it, between a client and a target that keep their connections; and
//! what further headers cost, which is what rewriting them does.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::http::ask;
use crate::machine::{Machine, Outcome, free_address};
use crate::valgrind;

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

/// Instructions of a balancer that starts, serves so many requests and ends.
pub fn refs(machine: &Machine, target: SocketAddr, further: u32, times: u32) -> Outcome<u64> {
    let at = free_address()?;
    let routes = machine.write("routes", &format!("route add web / http://{target}/\n"))?;
    let log = machine.path("valgrind.log");
    let mut command = valgrind::counting(Path::new(env!("CARGO_BIN_EXE_lictor")), &log);
    command
        .args([
            "lb",
            "-proxy.workers=1",
            "-log.level=WARN",
            "-ui.addr=",
            "-registry.backend=file",
        ])
        .arg(format!("-registry.file.path={}", routes.display()))
        .arg(format!("-proxy.addr={at}"));
    let balancer = machine.serve("lictor", command, at)?;
    let headers: String = (0..further)
        .map(|n| format!("X-Header-{n}: value {n}\r\n"))
        .collect();
    let request = format!("GET / HTTP/1.1\r\nHost: www.example.com\r\n{headers}\r\n");
    let mut stream = TcpStream::connect(at).map_err(|e| format!("not connected: {e}"))?;
    let patience = Some(Duration::from_secs(10));
    stream.set_read_timeout(patience).map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    (0..times).try_for_each(|_| ask(&mut stream, request.as_bytes()).map(drop))?;
    drop(balancer);
    valgrind::read(&log)
}
