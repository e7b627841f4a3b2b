//! One direction of a plain TCP connection: bytes from one socket to the other, then its end.
//!
//! Small pieces are copied, each with one read and one write. More than a buffer holds is moved by splice(2): its bytes
//! go from socket to socket through a pipe inside the kernel and never pass through this process. The buffer is one for
//! all connections of a worker and pipes are borrowed while bytes move, so a connection that rests holds neither, and
//! ten thousand of them cost their sockets.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use socket2::SockRef;
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;
use tokio::task::coop::consume_budget;

/// Size of the buffer. Three calls of the system move what two copy, which pays for more than this.
const BUFFER: usize = 32 << 10;
/// Size asked for a pipe, and most that is moved at once. Where it is refused, the pipe is as large as it is.
const PIPE: usize = 256 << 10;
/// Pipes that a worker keeps for later.
const SPARE: usize = 32;

/// What the directions of one worker share.
#[derive(Debug)]
pub(crate) struct Spares {
    /// Empty whenever nobody runs: what cannot be written at once is taken out of it.
    buffer: RefCell<Box<[u8]>>,
    /// Pipes that nobody uses now.
    pipes: RefCell<Vec<Pipe>>,
}

/// An empty pipe.
#[derive(Debug)]
struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

impl Default for Spares {
    fn default() -> Self {
        Self {
            buffer: RefCell::new(vec![0; BUFFER].into()),
            pipes: RefCell::default(),
        }
    }
}

impl Spares {
    fn pipe(&self) -> io::Result<Pipe> {
        if let Some(pipe) = self.pipes.borrow_mut().pop() {
            return Ok(pipe);
        }
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // The system limits what one user may have in pipes; the smaller one works, too.
        let _ = fcntl_setpipe_size(&into, PIPE);
        Ok(Pipe { out, into })
    }

    fn take_back(&self, pipe: Pipe) {
        let mut pipes = self.pipes.borrow_mut();
        if pipes.len() < SPARE {
            pipes.push(pipe);
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

/// Why copying stops.
enum Copied {
    /// There was as much as the buffer holds, so there may be more.
    Much,
    /// This could not be written.
    Stuck(Vec<u8>),
    /// `from` has closed its half.
    Ended,
}

/// What became of a burst that was moved.
enum Burst {
    /// So many bytes; there is nothing more to read now.
    Over(usize),
    /// `from` has closed its half.
    Ended,
    /// The kernel cannot splice these.
    Cannot,
}

/// Carries bytes until `from` closes its half, then closes that half of `to`.
pub(super) async fn pump(
    mut from: ReadHalf<'_>,
    to: &TcpStream,
    spares: &Spares,
    progress: &impl Progress,
) -> io::Result<()> {
    let mut splices = true;
    loop {
        match poll_fn(|cx| copied(cx, &mut from, to, spares, progress)).await? {
            Copied::Ended => break,
            Copied::Much => {}
            Copied::Stuck(left) => write_all(to, &left, progress).await?,
        }
        // Bursts are moved for as long as there is more in them than it takes to begin.
        while splices {
            match moved(from.as_ref(), to, spares, progress).await? {
                Burst::Over(bytes) if bytes < BUFFER => break,
                Burst::Over(_) => {
                    progress.waits();
                    from.readable().await?;
                }
                Burst::Ended => return ended(to, progress),
                Burst::Cannot => splices = false,
            }
        }
    }
    ended(to, progress)
}

/// No more will come: closes our half towards `to`. One that is gone has nothing left to be told.
fn ended(to: &TcpStream, progress: &impl Progress) -> io::Result<()> {
    progress.read(0);
    match SockRef::from(to).shutdown(Shutdown::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        ended => ended,
    }
}

/// Copies pieces as they come. A read that leaves room in the buffer has emptied the socket, which the runtime knows as
/// well: no other read has to find that out.
fn copied(
    cx: &mut Context<'_>,
    from: &mut ReadHalf<'_>,
    to: &TcpStream,
    spares: &Spares,
    progress: &impl Progress,
) -> Poll<io::Result<Copied>> {
    let mut buffer = spares.buffer.borrow_mut();
    loop {
        let mut piece = ReadBuf::new(&mut buffer);
        let Poll::Ready(read) = Pin::new(&mut *from).poll_read(cx, &mut piece) else {
            progress.waits();
            return Poll::Pending;
        };
        read?;
        let piece = piece.filled();
        if piece.is_empty() {
            return Poll::Ready(Ok(Copied::Ended));
        }
        progress.read(piece.len());
        let left = write(to, piece, progress)?;
        if !left.is_empty() {
            return Poll::Ready(Ok(Copied::Stuck(left.to_vec())));
        }
        if piece.len() == BUFFER {
            return Poll::Ready(Ok(Copied::Much));
        }
    }
}

/// Writes as much as `to` takes now, and returns the rest.
fn write<'b>(to: &TcpStream, mut bytes: &'b [u8], progress: &impl Progress) -> io::Result<&'b [u8]> {
    while !bytes.is_empty() {
        match to.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => {
                progress.wrote(length);
                bytes = &bytes[length..];
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                progress.stalls();
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Writes all of `bytes`.
pub(super) async fn write_all(to: &TcpStream, mut bytes: &[u8], progress: &impl Progress) -> io::Result<()> {
    loop {
        bytes = write(to, bytes, progress)?;
        if bytes.is_empty() {
            return Ok(());
        }
        to.writable().await?;
    }
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
    let mut bytes = 0;
    let burst = loop {
        // The pipe is empty, so it is the socket that would block.
        match from.try_io(Interest::READABLE, fill) {
            Ok(0) => break Burst::Ended,
            Ok(length) => {
                progress.read(length);
                drain(&pipe, length, to, progress).await?;
                bytes += length;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Burst::Over(bytes),
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
    spares.take_back(pipe);
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
