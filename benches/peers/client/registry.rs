//! Services of an agent: registered at the start, and changed while somebody measures what that does to requests.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::http::ask;
use crate::machine::Outcome;
use crate::reading::Tally;

/// Longer than a table of any size takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether a change is there.
const LOOK: Duration = Duration::from_micros(200);

/// Services `s<n>`, each with one instance and a route for `/p<n>/`.
pub struct Services {
    count: u32,
    target: SocketAddr,
    /// Where they are registered.
    api: SocketAddr,
    /// Changes so far, in all rounds: a change to what is there already would be none.
    changes: AtomicU32,
}

impl Services {
    pub fn new(count: u32, target: SocketAddr, api: SocketAddr) -> Self {
        Self {
            count,
            target,
            api,
            changes: AtomicU32::new(0),
        }
    }

    /// Registers all and waits until the last is served.
    pub fn fill(&self, proxy: SocketAddr) -> Outcome<()> {
        let mut api = connect(self.api)?;
        (0..self.count).try_for_each(|n| self.register(&mut api, n, "0.5"))?;
        let request = get(&format!("/p{}/", self.count.saturating_sub(1)));
        let begun = Instant::now();
        while let Err(refused) = connect(proxy).and_then(|mut stream| ask(&mut stream, &request)) {
            if begun.elapsed() > PATIENCE {
                return Err(format!(
                    "the last route is not served after {PATIENCE:?}: {refused}"
                ));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Changes so many a second, one after the other, until told to stop. Each change is another weight: another table,
    /// and the same answers.
    pub fn change(&self, rate: u32, stop: &AtomicBool) -> Outcome<()> {
        let mut api = connect(self.api)?;
        let begun = Instant::now();
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            let change = self.changes.fetch_add(1, Ordering::Relaxed);
            let even = (change / self.count).is_multiple_of(2);
            // In steps that no small number divides: neighbours in the table are no neighbours in time.
            let n = change.wrapping_mul(7919) % self.count;
            self.register(&mut api, n, if even { "0.6" } else { "0.5" })?;
            sent += 1;
            let next = Duration::from_secs_f64(f64::from(sent) / f64::from(rate));
            thread::sleep(next.saturating_sub(begun.elapsed()));
        }
        Ok(())
    }

    /// How many tables took effect so far. Not asked while somebody measures: there are metrics of every service.
    pub fn tables(&self) -> Outcome<f64> {
        let metrics = ask(&mut connect(self.api)?, &get("/metrics"))?;
        let count = metrics.lines().find_map(|line| {
            line.strip_prefix("lictor_lb_table_swaps_total ")?
                .trim()
                .parse()
                .ok()
        });
        count.ok_or_else(|| "the agent does not tell how many tables it made".to_owned())
    }

    /// One change after the other, each from its order until a request finds it: a service moves to a path that nobody
    /// had. What it costs to look for it is in its cost.
    pub fn move_each(&self, proxy: SocketAddr, seconds: u32) -> Outcome<Tally> {
        let (mut api, mut requests) = (connect(self.api)?, connect(proxy)?);
        let begun = Instant::now();
        let mut times = Vec::new();
        while begun.elapsed() < Duration::from_secs(u64::from(seconds)) {
            let change = self.changes.fetch_add(1, Ordering::Relaxed);
            let path = format!("/moved{change}/");
            let ordered = Instant::now();
            self.route(&mut api, change.wrapping_mul(7919) % self.count, &path)?;
            while ask(&mut requests, &get(&path)).is_err() {
                if ordered.elapsed() > PATIENCE {
                    return Err(format!("{path} is not served after {PATIENCE:?}"));
                }
                thread::sleep(LOOK);
            }
            times.push(u64::try_from(ordered.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        Ok(Tally::of(
            times.len() as f64,
            begun.elapsed().as_secs_f64(),
            times,
        ))
    }

    fn register(&self, api: &mut TcpStream, n: u32, weight: &str) -> Outcome<()> {
        self.route(api, n, &format!("/p{n}/ weight={weight}"))
    }

    /// Service and route take the place of those that it had.
    fn route(&self, api: &mut TcpStream, n: u32, route: &str) -> Outcome<()> {
        let (ip, port) = (self.target.ip(), self.target.port());
        let body =
            format!(r#"{{"Name":"s{n}","Address":"{ip}","Port":{port},"Tags":["urlprefix-{route}"]}}"#);
        let length = body.len();
        let request = format!(
            "PUT /v1/agent/service/register HTTP/1.1\r\nHost: agent\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        ask(api, request.as_bytes())
            .map(drop)
            .map_err(|e| format!("service s{n}: {e}"))
    }
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: agent\r\n\r\n").into_bytes()
}

fn connect(to: SocketAddr) -> Outcome<TcpStream> {
    let stream = TcpStream::connect(to).map_err(|e| format!("nobody at {to}: {e}"))?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    Ok(stream)
}
