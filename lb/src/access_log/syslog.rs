//! An access log to a syslog: one message a line, as RFC 5424 has them, facility `local0`, severity `info`, to a
//! datagram socket of this machine or another's UDP port (RFC 5426).

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::net::{ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::format::rfc3339;
use super::sink::Lost;

/// Facility `local0` (16), severity `info` (6).
const PRIORITY: u32 = 16 * 8 + 6;
/// A message is cut here, so that every transport takes it whole.
const LONGEST: usize = 8 * 1024;
/// Time that the machine's syslog has to take a message.
const PATIENCE: Duration = Duration::from_millis(200);
/// Where the machine's syslog is.
const LOCAL: &str = "/dev/log";

/// See the module.
#[derive(Debug)]
pub(crate) struct Syslog {
    place: Place,
    /// Host name, program and process, as a message has them after the time.
    from: String,
    socket: Option<Socket>,
}

#[derive(Debug)]
enum Place {
    Local(PathBuf),
    Udp(String),
}

#[derive(Debug)]
enum Socket {
    Local(UnixDatagram),
    Udp(UdpSocket),
}

impl Syslog {
    /// To `syslog` or empty (this machine's), a path, or `udp://host:port`, after `syslog:` or without it. Connects
    /// at the first line.
    ///
    /// # Errors
    /// When it names no place.
    pub(super) fn to(place: &str, node: &str) -> io::Result<Self> {
        let place = match place.strip_prefix("syslog:").unwrap_or(place) {
            "" | "syslog" => Place::Local(LOCAL.into()),
            path if path.starts_with('/') => Place::Local(path.into()),
            other => match other.strip_prefix("udp://") {
                Some(addr) if addr.rsplit_once(':').is_some_and(|(host, _)| !host.is_empty()) => {
                    Place::Udp(addr.to_owned())
                }
                _ => {
                    return Err(io::Error::new(
                        ErrorKind::InvalidInput,
                        "a syslog is 'syslog', 'syslog:/path' or 'syslog:udp://host:port'",
                    ));
                }
            },
        };
        // A name in a message is printable and without blanks.
        let host: String = node.chars().filter(char::is_ascii_graphic).take(255).collect();
        let host = if host.is_empty() { "-" } else { &host };
        Ok(Self {
            place,
            from: format!("{host} lictor {} access -", std::process::id()),
            socket: None,
        })
    }

    pub(super) fn close(&mut self) {
        self.socket = None;
    }

    /// A message a line.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        let mut rest = lines;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let message = self.message(&rest[..end], SystemTime::now());
            if let Err(why) = self.send(&message) {
                // It is not worth waiting for each of the others.
                self.close();
                return Err(Lost::all(rest, why));
            }
            rest = &rest[end + 1..];
        }
        Ok(())
    }

    fn message(&self, line: &[u8], now: SystemTime) -> Vec<u8> {
        let mut message = Vec::with_capacity(line.len() + 96);
        message.extend_from_slice(format!("<{PRIORITY}>1 ").as_bytes());
        rfc3339(now, 6, &mut message);
        let _ = write!(message, " {} ", self.from);
        message.extend_from_slice(line);
        message.truncate(LONGEST);
        message
    }

    /// Once more with a new socket: a syslog that was started anew has another.
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if let Some(socket) = &self.socket {
            match socket.send(message) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => self.close(),
                sent => return sent,
            }
        }
        let socket = Socket::connect(&self.place)?;
        socket.send(message)?;
        self.socket = Some(socket);
        Ok(())
    }
}

impl Socket {
    fn connect(place: &Place) -> io::Result<Self> {
        Ok(match place {
            Place::Local(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Self::Local(socket)
            }
            Place::Udp(addr) => {
                let to = addr
                    .to_socket_addrs()?
                    .next()
                    .ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("{addr} has no address")))?;
                let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any)?;
                socket.connect(to)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Self::Udp(socket)
            }
        })
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Local(socket) => socket.send(message),
            Self::Udp(socket) => socket.send(message),
        }
        .map(|_| ())
    }
}

impl fmt::Display for Syslog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Local(path) => path.display().fmt(f),
            Place::Udp(addr) => write!(f, "udp://{addr}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(socket: &UnixDatagram) -> String {
        let mut message = [0; 16 * 1024];
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_line_is_a_message_and_a_syslog_started_anew_gets_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut syslog = Syslog::to(&format!("syslog:{}", path.display()), "bo x").unwrap();
        let lost = syslog.write(b"nobody\nis there\n").unwrap_err();
        assert_eq!(lost.lines, 2);
        let there = UnixDatagram::bind(&path).unwrap();
        syslog.write(b"GET /\nGET /b\n").unwrap();
        let (first, second) = (text(&there), text(&there));
        let (head, rest) = first.split_once(' ').unwrap();
        assert_eq!(head, "<134>1");
        let (time, rest) = rest.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.len() == "2024-02-29T12:34:56.123456Z".len());
        assert_eq!(rest, format!("box lictor {} access - GET /", std::process::id()));
        assert!(second.ends_with(" access - GET /b"));
        drop(there);
        std::fs::remove_file(&path).unwrap();
        let anew = UnixDatagram::bind(&path).unwrap();
        syslog.write(b"again\n").unwrap();
        assert!(text(&anew).ends_with(" again"));
        syslog
            .write(format!("{}\n", "x".repeat(20_000)).as_bytes())
            .unwrap();
        assert_eq!(text(&anew).len(), LONGEST);
    }

    #[test]
    fn another_machine_is_told_by_udp() {
        let there = UdpSocket::bind("127.0.0.1:0").unwrap();
        there.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let place = format!("udp://{}", there.local_addr().unwrap());
        let mut syslog = Syslog::to(&place, "").unwrap();
        syslog.write(b"GET /\n").unwrap();
        let mut message = [0; 1024];
        let length = there.recv(&mut message).unwrap();
        let message = String::from_utf8_lossy(&message[..length]).into_owned();
        assert!(
            message.starts_with("<134>1 ") && message.contains("Z - lictor "),
            "{message}"
        );
        assert!(Syslog::to("tcp://x:1", "").is_err() && Syslog::to("udp://", "").is_err());
    }
}
