//! Requests at a rate that is given, each at its own time, whether those before it were answered or not.
//!
//! A time is counted from the moment at which the request was due. Whoever counts from when it was sent does not see what
//! a stalled proxy does to all who would have come meanwhile; and a burst of all connections at once, which is how tools
//! keep a rate, measures the burst.
//!
//! p99 is taken of each tenth of a second, and the median of those told: a machine that stands still for a moment, as
//! virtual ones do, would otherwise be all that it says. What a proxy does many times a second is in every tenth. Tenths in
//! which the kernel says that cores were given to other machines are left out, if there are others.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::http::missing;
use crate::load::Target;
use crate::machine::Outcome;
use crate::proxy::Routes;
use crate::reading::Tally;

const CONNECTIONS: usize = 64;
/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// From one thread: as many as there are connections would take the core from the backend.
pub fn run(target: &Target, rate: f64) -> Outcome<Tally> {
    let opened: io::Result<Vec<Connection>> = (0..CONNECTIONS)
        .map(|_| Connection::open(target.address))
        .collect();
    let mut connections = opened.map_err(|e| format!("not connected: {e}"))?;
    let between = Duration::from_secs_f64(1.0 / rate);
    let begun = Instant::now();
    let end = begun + Duration::from_secs(u64::from(target.seconds));
    let mut due = begun;
    let mut sent = 0;
    let mut tenths = vec![Vec::new(); 10 * target.seconds as usize + 1];
    let mut stolen = vec![None; tenths.len()];
    loop {
        let tenth = begun.elapsed().as_millis() as usize / 100;
        if let Some(unknown @ None) = stolen.get_mut(tenth) {
            *unknown = Some(stolen_so_far()?);
        }
        for idle in connections
            .iter_mut()
            .filter(|connection| connection.due.is_none())
        {
            if due >= end || due > Instant::now() {
                break;
            }
            idle.ask(&request(target.routes, sent), due)
                .map_err(|e| format!("not sent: {e}"))?;
            due += between;
            sent += 1;
        }
        let waiting = connections
            .iter()
            .filter(|connection| connection.due.is_some())
            .count();
        if waiting == 0 && due >= end {
            break;
        }
        let more = waiting < CONNECTIONS && due < end;
        let patience = if more {
            due.saturating_duration_since(Instant::now())
        } else {
            PATIENCE
        };
        let answered = answers(&mut connections, patience)?;
        if answered.is_empty() && !more {
            return Err(format!("no answer within {PATIENCE:?}"));
        }
        for (due, time) in answered {
            tenths[due.duration_since(begun).as_millis() as usize / 100].push(time);
        }
    }
    let own = |tenth: usize| stolen[tenth].is_some() && Some(stolen[tenth]) == stolen.get(tenth + 1).copied();
    Ok(Tally::of_tenths(begun.elapsed().as_secs_f64(), tenths, own))
}

/// Time that other machines had our cores, in the kernel's ticks.
fn stolen_so_far() -> Outcome<u64> {
    let stat = std::fs::read_to_string("/proc/stat").map_err(|e| format!("/proc/stat: {e}"))?;
    let stolen = stat
        .lines()
        .next()
        .and_then(|line| line.split_whitespace().nth(8));
    stolen
        .and_then(|ticks| ticks.parse().ok())
        .ok_or_else(|| "/proc/stat does not say how much time was stolen".to_owned())
}

/// Waits until there are answers, or it is time for something else; of those that are whole, when they were due and how
/// many microseconds they took.
fn answers(connections: &mut [Connection], patience: Duration) -> Outcome<Vec<(Instant, u64)>> {
    let mut waiting: Vec<&mut Connection> = connections.iter_mut().filter(|c| c.due.is_some()).collect();
    let mut polled: Vec<PollFd> = waiting
        .iter()
        .map(|connection| PollFd::new(&connection.stream, PollFlags::IN))
        .collect();
    let patience = Timespec::try_from(patience).map_err(|e| e.to_string())?;
    poll(&mut polled, Some(&patience)).map_err(|e| format!("poll: {e}"))?;
    let ready: Vec<bool> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
    let mut times = Vec::new();
    for (connection, _) in waiting.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
        times.extend(connection.read()?);
    }
    Ok(times)
}

struct Connection {
    stream: TcpStream,
    /// When the request was due that is under way.
    due: Option<Instant>,
    answer: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            due: None,
            answer: Vec::new(),
        })
    }

    fn ask(&mut self, request: &str, due: Instant) -> io::Result<()> {
        self.due = Some(due);
        self.stream.write_all(request.as_bytes())
    }

    /// Reads what is there; if the answer is whole, when its request was due, and the microseconds since.
    fn read(&mut self) -> Outcome<Option<(Instant, u64)>> {
        let mut piece = [0; 4096];
        let read = self
            .stream
            .read(&mut piece)
            .map_err(|e| format!("no answer: {e}"))?;
        self.answer.extend_from_slice(&piece[..read]);
        if missing(&self.answer) != Some(0) {
            return if read > 0 {
                Ok(None)
            } else {
                Err("the connection ended".to_owned())
            };
        }
        if !self.answer.starts_with(b"HTTP/1.1 200") {
            return Err(format!(
                "another answer than 200: {}",
                String::from_utf8_lossy(&self.answer)
            ));
        }
        self.answer.clear();
        let due = self.due.take();
        Ok(due.map(|due| (due, u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX))))
    }
}

/// In steps that no small number divides: neighbours in the table are no neighbours in time.
fn request(routes: Routes, turn: usize) -> String {
    let any = |count: u32| turn.wrapping_mul(7919) % count as usize;
    let (host, path) = match routes {
        Routes::One => ("www.example.com".to_owned(), "/".to_owned()),
        Routes::Hosts(count) => (format!("h{}.example.com", any(count)), "/".to_owned()),
        Routes::Paths(count) => ("www.example.com".to_owned(), format!("/p{}/", any(count))),
    };
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}
