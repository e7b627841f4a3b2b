//! A Docker Engine of the test's own, which may be stopped and started at will.
//!
//! It runs in namespaces of its own for network and mounts, with its own socket, data, state and process-id file: the
//! machine's engine, its bridge `docker0` and its packet filter are out of its reach, and nothing stays mounted. (A
//! second `dockerd` in the machine's namespace is not harmless: told to have no bridge, it deletes the `docker0` it
//! finds.)

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::engine::{Engine, output};
use super::{machine, wait_at_most};

/// Stopping three hundred containers on two cores takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct OwnEngine {
    pub(crate) engine: Engine,
    home: TempDir,
    daemon: Mutex<Option<Child>>,
}

impl OwnEngine {
    /// Starts it with the image `lictor-whoami` in it.
    pub(crate) fn start() -> Self {
        // Short, because the path of a socket is limited to some hundred characters.
        let home = tempfile::Builder::new()
            .prefix("lictor-engine-")
            .tempdir()
            .expect("/tmp is writable");
        std::fs::write(home.path().join("daemon.json"), "{}").expect("the directory is ours");
        let host = format!("unix://{}", home.path().join("docker.sock").display());
        let own = Self {
            engine: Engine { host: Some(host) },
            home,
            daemon: Mutex::default(),
        };
        own.up();
        let image = own.home.path().join("whoami.tar").display().to_string();
        machine()
            .docker(&["save", "-o", &image, "lictor-whoami"])
            .expect("the image was built");
        own.engine
            .docker(&["load", "-i", &image])
            .expect("an engine loads what another saved");
        own
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.path().join("docker.sock")
    }

    /// Asks the daemon to stop, waits until it has, and starts it again. Containers stop with it, as they do
    /// wherever live-restore is off; those with a restart policy come back.
    pub(crate) fn restart(&self) {
        self.down()
            .unwrap_or_else(|log| panic!("our own dockerd did not stop:\n{log}"));
        self.up();
    }

    fn up(&self) {
        let home = self.home.path().display();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.home.path().join("log"));
        let log = log.expect("the directory is ours");
        // `exec` twice over: the process we hold is the daemon itself, to be ended by its own id.
        let script = format!(
            "ip link set lo up && exec dockerd --config-file {home}/daemon.json --host unix://{home}/docker.sock \
             --data-root {home}/data --exec-root {home}/exec --pidfile {home}/pid --storage-driver vfs"
        );
        let mut command = Command::new("unshare");
        command
            .args(["--net", "--mount", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stderr(log)
            .stdout(Stdio::null());
        let daemon = command.spawn().expect("unshare is part of util-linux");
        *self.daemon.lock().unwrap_or_else(PoisonError::into_inner) = Some(daemon);
        wait_at_most(
            PATIENCE,
            "our own dockerd to answer (it needs root and the dockerd program)",
            || {
                // One that has given up says why in its log; two minutes of patience would not change it.
                assert!(self.alive(), "our own dockerd ended:\n{}", self.log());
                self.engine
                    .docker(&["version"])
                    .map_err(|reason| format!("{reason}\n{}", self.log()))
            },
        );
    }

    fn alive(&self) -> bool {
        let mut daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
        let state = daemon.as_mut().map(Child::try_wait);
        matches!(state, Some(Ok(None)))
    }

    /// No panic in here: dropping calls it, too.
    fn down(&self) -> Result<(), String> {
        let daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut daemon) = daemon else {
            return Ok(());
        };
        let mut term = Command::new("kill");
        term.arg(daemon.id().to_string());
        let _ = output(term);
        let asked = Instant::now();
        while matches!(daemon.try_wait(), Ok(None)) {
            if asked.elapsed() > PATIENCE {
                let _ = daemon.kill();
                return Err(self.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The end of what the daemon wrote.
    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        let from = log.len().saturating_sub(4000);
        log.get(from..).unwrap_or_default().to_owned()
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        if let Ok(all) = self.engine.docker(&["ps", "-aq"])
            && !all.is_empty()
        {
            let mut remove = vec!["rm", "-f"];
            remove.extend(all.lines());
            let _ = self.engine.docker(&remove);
        }
        let _ = self.down();
    }
}
