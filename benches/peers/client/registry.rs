//! Services of an agent: registered at the start, and changed while somebody measures what that does to requests.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::http::ask;
use crate::machine::Outcome;

/// Longer than a table of any size takes.
const PATIENCE: Duration = Duration::from_secs(30);

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

    fn register(&self, api: &mut TcpStream, n: u32, weight: &str) -> Outcome<()> {
        let (ip, port) = (self.target.ip(), self.target.port());
        let body = format!(
            r#"{{"Name":"s{n}","Address":"{ip}","Port":{port},"Tags":["urlprefix-/p{n}/ weight={weight}"]}}"#
        );
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
