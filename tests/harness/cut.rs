//! A Unix socket in front of another one that can be cut: the Docker API as seen through a bad line.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Passes bytes both ways between its own socket and the one behind it.
pub(crate) struct Cut {
    socket: PathBuf,
    lines: Arc<Mutex<Vec<UnixStream>>>,
    /// Raised once for all lines that are open.
    silence: Arc<Mutex<Arc<AtomicBool>>>,
}

impl Cut {
    /// Listens at `socket` for connections to `behind`, which need not exist yet.
    pub(crate) fn between(socket: &Path, behind: &Path) -> Self {
        let listener = UnixListener::bind(socket).expect("the directory is the test's own");
        let lines: Arc<Mutex<Vec<UnixStream>>> = Arc::default();
        let (kept, behind) = (Arc::clone(&lines), behind.to_owned());
        let silence: Arc<Mutex<Arc<AtomicBool>>> = Arc::default();
        let of_new = Arc::clone(&silence);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // Without anybody behind, the client sees its connection closed.
                if let Ok(pair) = join(
                    &near,
                    &behind,
                    &of_new.lock().unwrap_or_else(PoisonError::into_inner),
                ) {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).extend(pair);
                }
            }
        });
        Self {
            socket: socket.to_owned(),
            lines,
            silence,
        }
    }

    /// From now on what comes by the lines that are open goes nowhere, and they stay open: a pipe that is stuck. New ones
    /// work as before.
    pub(crate) fn stall(&self) {
        let mut silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *silence).store(true, Ordering::Relaxed);
    }

    /// The value of `DOCKER_HOST` that leads through here.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Closes every connection in the middle of whatever it carries. New ones are passed on as before.
    pub(crate) fn cut(&self) {
        for line in self
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..)
        {
            let _ = line.shutdown(Shutdown::Both);
        }
    }
}

/// Two pipes and the two ends that cut them.
fn join(near: &UnixStream, behind: &Path, silence: &Arc<AtomicBool>) -> io::Result<[UnixStream; 2]> {
    let far = UnixStream::connect(behind)?;
    pipe(near.try_clone()?, far.try_clone()?, Arc::clone(silence));
    pipe(far.try_clone()?, near.try_clone()?, Arc::clone(silence));
    Ok([near.try_clone()?, far])
}

fn pipe(mut from: UnixStream, mut to: UnixStream, silence: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut piece = [0; 16 << 10];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            if !silence.load(Ordering::Relaxed) && to.write_all(&piece[..length]).is_err() {
                break;
            }
        }
        if !silence.load(Ordering::Relaxed) {
            let _ = to.shutdown(Shutdown::Write);
        }
    });
}
