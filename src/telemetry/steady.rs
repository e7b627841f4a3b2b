//! A stream that waits until it can be written to, even if its file was made not to wait.
//!
//! Whether a file waits is a property of the file, not of ours: whoever started us shares it, and may set `O_NONBLOCK` on
//! what is our standard error at any time. Must only be used by a thread that may wait for a reader for ever.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};

/// See the module.
pub struct Steady<W>(pub W);

impl<W: Write + AsFd> Write for Steady<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait()?,
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: AsFd> Steady<W> {
    /// Until there is room, or nobody who could make some: the next attempt tells which.
    fn wait(&self) -> io::Result<()> {
        let mut room = [PollFd::new(&self.0, PollFlags::OUT)];
        match poll(&mut room, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
