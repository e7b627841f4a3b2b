//! What is on its way to a stream, and the thread that writes it: the only one that waits for the stream's reader.
//!
//! Whoever has a line leaves it here and goes on. What does not fit is lost, counted, and told of as soon as there is
//! room again.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntCounter;

/// Bytes that may wait.
const MOST: usize = 1024 * 1024;

/// See the module; cheap to clone, clones are the same.
#[derive(Clone)]
pub struct Queue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Lines, all of them since the start.
    lost: IntCounter,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines lost since something waits.
    lost: u64,
    /// The thread has what waited before.
    writing: bool,
}

impl Queue {
    /// Starts the thread. `tell` says that so many lines are lost, on that thread and before they would have come.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(
        to: impl Write + Send + 'static,
        lost: IntCounter,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Self(Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            lost,
        }));
        let writer = queue.clone();
        let thread = std::thread::Builder::new().name("log".into());
        thread.spawn(move || writer.drain(to, tell))?;
        Ok(queue)
    }

    /// Leaves text that must not be lost, which is little.
    pub fn insist(&self, text: &str) {
        self.state().waiting.extend_from_slice(text.as_bytes());
        self.0.changed.notify_all();
    }

    /// Returns when everything is written, and after `limit` at the latest.
    pub fn settle(&self, limit: Duration) {
        let under_way = |state: &mut State| state.writing || !state.waiting.is_empty();
        let _ = self.0.changed.wait_timeout_while(self.state(), limit, under_way);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drain(&self, mut to: impl Write, tell: impl Fn(u64)) {
        loop {
            let idle = self
                .0
                .changed
                .wait_while(self.state(), |state| state.waiting.is_empty());
            let mut state = idle.unwrap_or_else(PoisonError::into_inner);
            let (lines, lost) = (
                std::mem::take(&mut state.waiting),
                std::mem::take(&mut state.lost),
            );
            state.writing = true;
            drop(state);
            if lost > 0 {
                tell(lost);
            }
            // Counted, and told to nobody: what would be said of it goes the same way.
            self.0.lost.inc_by(write_out(&mut to, &lines));
            self.state().writing = false;
            self.0.changed.notify_all();
        }
    }
}

/// Writes lines until that fails. How many are not out, or not whole.
fn write_out(to: &mut impl Write, mut lines: &[u8]) -> u64 {
    while !lines.is_empty() {
        match to.write(lines) {
            Ok(0) => break,
            Ok(written) => lines = &lines[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    // What cannot be flushed was taken, and is not ours any more.
    let _ = to.flush();
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Each call is one line, as the log makes them.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        if state.waiting.len() + line.len() <= MOST {
            state.waiting.extend_from_slice(line);
        } else {
            state.lost += 1;
            self.0.lost.inc();
        }
        drop(state);
        self.0.changed.notify_all();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use std::time::Instant;

    use super::super::steady::Steady;
    use super::*;

    /// A stream whose reader takes what is written, one writing at a time, when the test asks for it.
    struct Slow(SyncSender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Queue, Receiver<Vec<u8>>, Receiver<u64>, IntCounter) {
        let (stream, read) = sync_channel(0);
        let (say, told) = sync_channel(8);
        let lost = IntCounter::new("lost", "Lines.").unwrap();
        let tell = move |lines| say.send(lines).unwrap();
        let queue = Queue::start(Slow(stream), lost.clone(), tell).unwrap();
        (queue, read, told, lost)
    }

    #[test]
    fn whoever_writes_never_waits_and_what_does_not_fit_is_counted_and_told() {
        let (mut queue, read, told, lost) = slow();
        let line = [b'x'; 1024];
        let lines = 3 * MOST / line.len();
        for _ in 0..lines {
            queue.write_all(&line).unwrap();
        }
        assert!(lost.get() >= lines as u64 - 2 * (MOST / line.len()) as u64);
        queue.insist("the end");
        let mut written = 0;
        while written < (lines - lost.get() as usize) * line.len() + "the end".len() {
            written += read.recv().unwrap().len();
        }
        assert_eq!(told.recv().unwrap(), lost.get());
    }

    #[test]
    fn a_full_pipe_that_does_not_wait_loses_nothing_and_a_closed_one_counts_what_it_loses() {
        let (mut reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let lost = IntCounter::new("lost", "Lines.").unwrap();
        let mut queue = Queue::start(Steady(writer), lost.clone(), |_| {}).unwrap();
        // Several times what a pipe holds, and less than may wait.
        let text = format!("{}\n", "x".repeat(1023)).repeat(500);
        for line in text.split_inclusive('\n') {
            queue.write_all(line.as_bytes()).unwrap();
        }
        let (done, whole) = sync_channel(1);
        let length = text.len();
        std::thread::spawn(move || {
            let mut read = vec![0; length];
            let outcome = reader.read_exact(&mut read).map(|()| read);
            drop(reader);
            done.send(outcome).unwrap();
        });
        let read = whole.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
        queue.settle(Duration::from_secs(20));
        assert_eq!((read == text.as_bytes(), lost.get()), (true, 0));
        queue.write_all(b"one\ntwo\n").unwrap();
        queue.settle(Duration::from_secs(20));
        assert_eq!(lost.get(), 2);
    }

    #[test]
    fn the_end_waits_for_a_reader_that_reads_and_not_for_long_for_one_that_does_not() {
        let (mut queue, read, _told, _lost) = slow();
        queue.write_all(b"a line\n").unwrap();
        let begun = Instant::now();
        queue.settle(Duration::from_millis(20));
        assert!(begun.elapsed() >= Duration::from_millis(20));
        let reading = std::thread::spawn(move || read.recv().unwrap());
        queue.settle(Duration::from_secs(3600));
        assert_eq!(reading.join().unwrap(), b"a line\n");
    }
}
