//! A small HTTP server that says who answered: the demo image `lictor-whoami` and the upstream of many tests.
//!
//! It knows the standard library only, so that `rustc` alone turns it into one static file (`tests/docker/build.sh`).
//! One thread per connection. `/health` answers `ok`, `/slow/<ms>` answers after that pause, every other path answers
//! with host name, addresses and the request as it arrived. Each request is a line on standard output as it comes.
//! On SIGTERM it goes on answering until it has been quiet for a moment, as a well-behaved container should:
//! `docker stop` behind a balancer then costs no request.
//!
//! Options: `-listen=<address>` (default `0.0.0.0:8000`), `-name=<name>` (default: the host name).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Raised by the signal handler, read by `main`.
static STOPPING: AtomicBool = AtomicBool::new(false);
/// Requests being answered now, and answered so far: what "quiet" is measured by.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static ANSWERED: AtomicU64 = AtomicU64::new(0);

/// A balancer that learns of the stop sends nothing new within this time.
const QUIET: Duration = Duration::from_millis(500);
/// Whoever goes on sending after this long is not listening to anybody.
const LAST_CALL: Duration = Duration::from_secs(8);
const SIGTERM: i32 = 15;

fn main() -> ExitCode {
    let mut listen = String::from("0.0.0.0:8000");
    let mut name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .unwrap_or_default()
        .trim()
        .to_owned();
    for argument in std::env::args().skip(1) {
        match argument.trim_start_matches('-').split_once('=') {
            Some(("listen", value)) => value.clone_into(&mut listen),
            Some(("name", value)) => value.clone_into(&mut name),
            _ => {
                return refuse(&format!(
                    "unknown option {argument:?}; known are -listen=<address> and -name=<name>"
                ));
            }
        }
    }
    let listener = match TcpListener::bind(&listen) {
        Ok(listener) => listener,
        Err(error) => return refuse(&format!("cannot listen on {listen}: {error}")),
    };
    println!(
        "whoami: listening on {}",
        listener.local_addr().map_or(listen, |bound| bound.to_string())
    );
    on_sigterm();
    std::thread::spawn(move || accept(&listener, &name));
    wait_for_the_end();
    ExitCode::SUCCESS
}

fn refuse(reason: &str) -> ExitCode {
    println!("whoami: {reason}");
    ExitCode::FAILURE
}

extern "C" fn stop(_signal: i32) {
    STOPPING.store(true, Ordering::SeqCst);
}

/// A process with number 1 in its container gets no default action for SIGTERM: without a handler `docker stop`
/// would wait its ten seconds and kill. The standard library has no signals, hence the one foreign call.
#[allow(unsafe_code)]
fn on_sigterm() {
    unsafe extern "C" {
        fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    }
    // SAFETY: `signal` is async-signal-safe to install, and the handler only stores to an atomic.
    unsafe { signal(SIGTERM, stop) };
}

/// Returns once a stop was asked for and nothing has happened for [`QUIET`], or [`LAST_CALL`] has passed.
fn wait_for_the_end() {
    let tick = Duration::from_millis(20);
    while !STOPPING.load(Ordering::SeqCst) {
        std::thread::sleep(tick);
    }
    let (asked, mut quiet_since, mut seen) =
        (Instant::now(), Instant::now(), ANSWERED.load(Ordering::SeqCst));
    while asked.elapsed() < LAST_CALL && quiet_since.elapsed() < QUIET {
        std::thread::sleep(tick);
        let answered = ANSWERED.load(Ordering::SeqCst);
        if RUNNING.load(Ordering::SeqCst) > 0 || answered != seen {
            (quiet_since, seen) = (Instant::now(), answered);
        }
    }
}

fn accept(listener: &TcpListener, name: &str) {
    for connection in listener.incoming().flatten() {
        let name = name.to_owned();
        // A client that breaks the rules or leaves loses its connection, nothing else.
        std::thread::spawn(move || serve(&connection, &name));
    }
}

fn serve(connection: &TcpStream, name: &str) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::new(connection);
    while let Some(request) = Request::read(&mut reader)? {
        RUNNING.fetch_add(1, Ordering::SeqCst);
        println!(
            "{} {}",
            connection.peer_addr()?,
            request.head.lines().next().unwrap_or_default()
        );
        let close = request.wants_close() || STOPPING.load(Ordering::SeqCst);
        let sent = answer(connection, &request, name, close);
        ANSWERED.fetch_add(1, Ordering::SeqCst);
        RUNNING.fetch_sub(1, Ordering::SeqCst);
        sent?;
        if close {
            break;
        }
    }
    Ok(())
}

fn answer(mut connection: &TcpStream, request: &Request, name: &str, close: bool) -> io::Result<()> {
    let path = request.path();
    if let Some(pause) = path.strip_prefix("/slow/").and_then(|ms| ms.parse().ok()) {
        std::thread::sleep(Duration::from_millis(pause));
    }
    let body = if path == "/health" {
        String::from("ok\n")
    } else {
        let (here, there) = (connection.local_addr()?, connection.peer_addr()?);
        format!(
            "Hostname: {name}\nLocalAddr: {here}\nRemoteAddr: {there}\n{}\n",
            request.head
        )
    };
    let kept = if close { "close" } else { "keep-alive" };
    let length = body.len();
    let body = if request.head.starts_with("HEAD ") {
        ""
    } else {
        body.as_str()
    };
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8";
    write!(
        connection,
        "{head}\r\nContent-Length: {length}\r\nConnection: {kept}\r\n\r\n{body}"
    )
}

/// The head of a request as it arrived, line ends normalised; its body has been read and dropped.
struct Request {
    head: String,
}

impl Request {
    /// `None` when the client has closed between requests.
    fn read(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<Self>> {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            match line.trim_end() {
                "" => break,
                text => head.extend([text, "\n"]),
            }
        }
        let request = Self { head };
        let length = request
            .header("content-length")
            .and_then(|value| value.parse().ok())
            .unwrap_or(0);
        io::copy(&mut reader.take(length), &mut io::sink())?;
        Ok(Some(request))
    }

    fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or("/")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields
            .into_iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// A chunked body is not read here, so the connection cannot be used again.
    fn wants_close(&self) -> bool {
        let said = self
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        said || self.header("transfer-encoding").is_some()
    }
}
