//! One direction of a plain TCP connection: bytes from one socket to the other, then its end.
//!
//! A short stream is copied. A long one is moved by splice(2): its bytes go from socket to socket through a pipe inside
//! the kernel and never pass through this process. Buffers and pipes are borrowed while bytes move and given back before
//! waiting for more, so a connection that rests holds neither, and ten thousand of them cost their sockets.

use std::cell::RefCell;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;

/// Bytes that a direction carries before it is a long stream.
const LONG: u64 = 64 << 10;
/// Size of a buffer.
const BUFFER: usize = 32 << 10;
/// Size asked for a pipe, and most that is moved at once. Where it is refused, the pipe is as large as it is.
const PIPE: usize = 256 << 10;
/// Buffers, and pipes, that a worker keeps for later.
const SPARE: usize = 32;

/// Buffers and pipes of one worker that nobody uses now.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    buffers: RefCell<Vec<Box<[u8]>>>,
    pipes: RefCell<Vec<Pipe>>,
}

/// An empty pipe.
#[derive(Debug)]
struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

impl Spares {
    fn buffer(&self) -> Box<[u8]> {
        let spare = self.buffers.borrow_mut().pop();
        spare.unwrap_or_else(|| vec![0; BUFFER].into())
    }

    fn pipe(&self) -> io::Result<Pipe> {
        if let Some(pipe) = self.pipes.borrow_mut().pop() {
            return Ok(pipe);
        }
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // The system limits what one user may have in pipes; the smaller one works, too.
        let _ = fcntl_setpipe_size(&into, PIPE);
        Ok(Pipe { out, into })
    }

    fn take_back<T>(spares: &RefCell<Vec<T>>, spare: T) {
        let mut spares = spares.borrow_mut();
        if spares.len() < SPARE {
            spares.push(spare);
        }
    }
}

/// What a direction tells of itself while it runs.
pub(super) trait Progress {
    /// Bytes were read and are to be written; 0: there are no more.
    fn read(&self, bytes: usize);
    /// Nothing has been read that is not written; the next bytes are waited for.
    fn waits(&self);
    /// Bytes were written.
    fn wrote(&self, bytes: usize);
    /// The other side takes nothing now.
    fn stalls(&self);
}

/// What became of a burst.
enum Burst {
    /// There is nothing to read now.
    Over,
    /// `from` has closed its half.
    Ended,
    /// The kernel cannot splice these.
    Cannot,
}

/// Carries bytes until `from` closes its half, then closes that half of `to`.
pub(super) async fn pump(
    from: &TcpStream,
    to: &TcpStream,
    spares: &Spares,
    progress: &impl Progress,
) -> io::Result<()> {
    let mut carried = 0;
    let mut splices = true;
    loop {
        progress.waits();
        from.readable().await?;
        let burst = if splices && carried >= LONG {
            moved(from, to, spares, progress).await?
        } else {
            copied(from, to, spares, progress, &mut carried).await?
        };
        match burst {
            Burst::Over => {}
            Burst::Cannot => splices = false,
            Burst::Ended => {
                progress.read(0);
                return close(to);
            }
        }
    }
}

/// Closes our half towards `to`. One that is gone has nothing left to be told.
fn close(to: &TcpStream) -> io::Result<()> {
    match SockRef::from(to).shutdown(Shutdown::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        ended => ended,
    }
}

/// Copies what there is to read, but not for longer than a stream is short.
async fn copied(
    from: &TcpStream,
    to: &TcpStream,
    spares: &Spares,
    progress: &impl Progress,
    carried: &mut u64,
) -> io::Result<Burst> {
    let mut buffer = spares.buffer();
    let limit = *carried + LONG;
    let burst = loop {
        match from.try_read(&mut buffer) {
            Ok(0) => break Burst::Ended,
            Ok(length) => {
                progress.read(length);
                write_all(to, &buffer[..length], progress).await?;
                *carried += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Burst::Over,
            Err(error) => return Err(error),
        }
        if *carried >= limit {
            break Burst::Over;
        }
        // Others have their turn between two reads of somebody fast.
        consume_budget().await;
    };
    Spares::take_back(&spares.buffers, buffer);
    Ok(burst)
}

/// Writes all of `bytes`.
pub(super) async fn write_all(to: &TcpStream, mut bytes: &[u8], progress: &impl Progress) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => {
                progress.wrote(length);
                bytes = &bytes[length..];
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                progress.stalls();
                to.writable().await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Moves what there is to read. A pipe in which something is left, since one side broke off, is dropped.
async fn moved(
    from: &TcpStream,
    to: &TcpStream,
    spares: &Spares,
    progress: &impl Progress,
) -> io::Result<Burst> {
    let Ok(pipe) = spares.pipe() else {
        // No file descriptors: copying needs none.
        return Ok(Burst::Cannot);
    };
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    let fill = || Ok(splice(from, None, &pipe.into, None, PIPE, flags)?);
    let burst = loop {
        // The pipe is empty, so it is the socket that would block.
        match from.try_io(Interest::READABLE, fill) {
            Ok(0) => break Burst::Ended,
            Ok(length) => {
                progress.read(length);
                drain(&pipe, length, to, progress).await?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Burst::Over,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
                ) =>
            {
                break Burst::Cannot;
            }
            Err(error) => return Err(error),
        }
        consume_budget().await;
    };
    Spares::take_back(&spares.pipes, pipe);
    Ok(burst)
}

async fn drain(pipe: &Pipe, mut left: usize, to: &TcpStream, progress: &impl Progress) -> io::Result<()> {
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    while left > 0 {
        match to.try_io(Interest::WRITABLE, || {
            Ok(splice(&pipe.out, None, to, None, left, flags)?)
        }) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => {
                progress.wrote(length);
                left -= length;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                progress.stalls();
                to.writable().await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
