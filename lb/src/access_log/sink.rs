//! Where lines go: standard output, a file, a syslog. Owned by the writer thread, which may block here; nobody else
//! ever does.

use std::fmt;
use std::io::{self, Write};

use super::file::File;
use super::syslog::Syslog;
use crate::config::LogTarget;

/// See the module.
#[derive(Debug)]
pub(crate) enum Sink {
    Stream(Stream),
    File(File),
    Syslog(Syslog),
}

/// Lines that nobody took.
#[derive(Debug)]
pub(crate) struct Lost {
    pub lines: u64,
    pub why: io::Error,
}

impl Lost {
    /// All of these.
    pub(super) fn all(lines: &[u8], why: io::Error) -> Self {
        Self {
            lines: lines.iter().filter(|byte| **byte == b'\n').count() as u64,
            why,
        }
    }
}

impl Sink {
    /// Opens what was asked for; `node` is who we say we are.
    ///
    /// # Errors
    /// When a file cannot be opened. A syslog that is not there yet may come.
    pub(crate) fn open(target: &LogTarget, node: &str) -> io::Result<Self> {
        Ok(match target {
            LogTarget::Stdout => Self::from(io::stdout()),
            LogTarget::File { path, max_size, keep } => {
                Self::File(File::open(path.clone(), *max_size, *keep)?)
            }
            LogTarget::Syslog(place) => Self::Syslog(Syslog::to(place, node)?),
        })
    }

    /// Writes whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<(), Lost> {
        if lines.is_empty() {
            return Ok(());
        }
        match self {
            Self::Stream(Stream(stream)) => stream
                .write_all(lines)
                .and_then(|()| stream.flush())
                .map_err(|why| Lost::all(lines, why)),
            Self::File(file) => file.write(lines).map_err(|why| Lost::all(lines, why)),
            Self::Syslog(syslog) => syslog.write(lines),
        }
    }

    /// The next line goes to what is under that name by then.
    pub(super) fn reopen(&mut self) {
        match self {
            Self::Stream(_) => {}
            Self::File(file) => file.reopen(),
            Self::Syslog(syslog) => syslog.close(),
        }
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(_) => f.write_str("stdout"),
            Self::File(file) => write!(f, "file:{}", file.path().display()),
            Self::Syslog(syslog) => write!(f, "syslog:{syslog}"),
        }
    }
}

/// Standard output, or what a test reads.
pub(crate) struct Stream(Box<dyn Write + Send>);

impl<W: Write + Send + 'static> From<W> for Sink {
    fn from(stream: W) -> Self {
        Self::Stream(Stream(Box::new(stream)))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}
