//! One line per request, off the request's path.
//!
//! Each worker renders lines into a buffer of its own and hands full buffers to one writer thread over a
//! bounded channel. When the reader of our output is slower than our clients, lines are dropped and
//! counted; a request never waits for a log.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

pub(crate) mod file;
pub(crate) mod format;
pub(crate) mod sink;
pub(crate) mod syslog;

pub use format::{BadFormat, FIELDS, Format, JSON_KEYS};
pub(crate) use format::{Record, UNREAD, Upstreamed};
pub(crate) use sink::Sink;

/// A buffer this full is handed over at once; a younger one at the worker's next tick.
const BUFFER: usize = 16 * 1024;
/// What a stop waits for the writer, whose reader may be stuck.
const PATIENCE: Duration = Duration::from_secs(2);
/// From one look for room in the queue to the next.
const MOMENT: Duration = Duration::from_millis(10);
/// Buffers that may wait for the writer, of all workers together.
const WAITING: usize = 256;

/// The writer thread's side and what workers make theirs from. Cloned into each worker.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog {
    format: Arc<Format>,
    full: SyncSender<Job>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Lines.
    dropped: AtomicU64,
    /// The sink is to be opened anew before the next line.
    reopen: AtomicBool,
}

impl AccessLog {
    /// Starts the writer thread. It ends when the last worker has gone, after writing what it was given.
    pub(crate) fn start(format: Format, sink: impl Into<Sink>) -> std::io::Result<Self> {
        let (full, jobs) = sync_channel(WAITING);
        let (shared, sink) = (Arc::<Shared>::default(), sink.into());
        let writer = shared.clone();
        std::thread::Builder::new()
            .name("lb-access-log".into())
            .spawn(move || write(&jobs, sink, &writer))?;
        Ok(Self {
            format: Arc::new(format),
            full,
            shared,
        })
    }

    /// Lines lost because nobody took them in time.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }

    /// Has the sink opened anew: the file may have been renamed.
    pub(crate) fn reopen(&self) {
        self.shared.reopen.store(true, Relaxed);
        // Only to do it now: with a full queue, the writer looks soon by itself.
        let _ = self.full.try_send(Job::Write(Vec::new()));
    }

    /// Reopens at SIGHUP and SIGUSR1. Never ends by itself.
    pub(crate) async fn reopen_when_told(self) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut user = signal(SignalKind::user_defined1())?;
        loop {
            tokio::select! {
                Some(()) = hangup.recv() => {}
                Some(()) = user.recv() => {}
            }
            self.reopen();
        }
    }

    /// Returns when all that workers have handed over is written, or says that it cannot be.
    pub(crate) async fn written(&self) {
        let (done, report) = oneshot::channel();
        let all = async {
            let mut job = Job::Report(done);
            while let Err(TrySendError::Full(back)) = self.full.try_send(job) {
                job = back;
                sleep(MOMENT).await;
            }
            report.await.is_ok()
        };
        if timeout(PATIENCE, all).await != Ok(true) {
            tracing::warn!(
                dropped = self.dropped(),
                "the access log ends without its last lines: nobody takes them"
            );
        }
    }

    /// A worker's end.
    pub(crate) fn lines(&self) -> Lines {
        Lines {
            log: self.clone(),
            buffer: RefCell::default(),
            count: Cell::new(0),
        }
    }
}

/// What the writer thread is asked for.
#[derive(Debug)]
enum Job {
    /// Whole lines.
    Write(Vec<u8>),
    /// Say when all before is written.
    Report(oneshot::Sender<()>),
}

fn write(jobs: &Receiver<Job>, mut sink: Sink, shared: &Shared) {
    let mut broken = false;
    while let Ok(job) = jobs.recv() {
        if shared.reopen.swap(false, Relaxed) {
            sink.reopen();
        }
        match job {
            Job::Write(lines) => match sink.write(&lines) {
                Ok(()) if broken && !lines.is_empty() => {
                    tracing::info!(%sink, "the access log is written again");
                    broken = false;
                }
                Ok(()) => {}
                Err(lost) => {
                    shared.dropped.fetch_add(lost.lines, Relaxed);
                    // Once, not with each buffer.
                    if !std::mem::replace(&mut broken, true) {
                        tracing::warn!(%sink, error = %lost.why, "the access log loses lines");
                    }
                }
            },
            Job::Report(done) => {
                let _ = done.send(());
            }
        }
    }
}

/// The lines of one worker.
#[derive(Debug)]
pub(crate) struct Lines {
    log: AccessLog,
    buffer: RefCell<Vec<u8>>,
    count: Cell<u64>,
}

impl Lines {
    pub(crate) fn format(&self) -> &Format {
        &self.log.format
    }

    pub(crate) fn write(&self, record: &Record) {
        let full = {
            let mut buffer = self.buffer.borrow_mut();
            self.log.format.render(record, &mut buffer);
            buffer.push(b'\n');
            buffer.len() >= BUFFER
        };
        self.count.set(self.count.get() + 1);
        if full {
            self.flush();
        }
    }

    /// Hands over what has been rendered.
    pub(crate) fn flush(&self) {
        let buffer = self.buffer.take();
        let count = self.count.take();
        if !buffer.is_empty() && self.log.full.try_send(Job::Write(buffer)).is_err() {
            self.log.shared.dropped.fetch_add(count, Relaxed);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.flush();
    }
}
