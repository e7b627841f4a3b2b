//! A Docker Engine of the test's own, which may be stopped and started at will.
//!
//! It runs in namespaces of its own for network and mounts, which last for as long as this value does, with its own socket, data, state and process-id file: the
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
    /// Keeps the namespaces while the daemon is away.
    world: World,
    daemon: Mutex<Option<Child>>,
}

impl OwnEngine {
    /// Starts it with the image `lictor-whoami` in it.
    pub(crate) fn start() -> Self {
        Self::with("{}")
    }

    /// [`OwnEngine::start`] for one whose containers go on while it is away.
    pub(crate) fn start_with_live_restore() -> Self {
        Self::with(r#"{"live-restore": true}"#)
    }

    /// [`OwnEngine::start`] for one that starts no process for each published port.
    pub(crate) fn start_without_proxies() -> Self {
        Self::with(r#"{"userland-proxy": false}"#)
    }

    fn with(configuration: &str) -> Self {
        // Short, because the path of a socket is limited to some hundred characters.
        let home = tempfile::Builder::new()
            .prefix("lictor-engine-")
            .tempdir()
            .expect("/tmp is writable");
        std::fs::write(home.path().join("daemon.json"), configuration).expect("the directory is ours");
        let host = format!("unix://{}", home.path().join("docker.sock").display());
        let own = Self {
            engine: Engine { host: Some(host) },
            home,
            world: World::new(),
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

    /// Asks the daemon to stop, waits until it has, and starts it again. Without live-restore containers stop with it,
    /// and those with a restart policy come back.
    pub(crate) fn restart(&self) {
        self.restart_while(|| {});
    }

    /// [`OwnEngine::restart`], with something done while it is away.
    pub(crate) fn restart_while(&self, meanwhile: impl FnOnce()) {
        self.down()
            .unwrap_or_else(|log| panic!("our own dockerd did not stop:\n{log}"));
        meanwhile();
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
            "exec dockerd --config-file {home}/daemon.json --host unix://{home}/docker.sock \
             --data-root {home}/data --exec-root {home}/exec --pidfile {home}/pid --storage-driver vfs"
        );
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.world.0.id().to_string(), "--net", "--mount"])
            .args(["sh", "-c", &script])
            .stdin(Stdio::null())
            .stderr(log)
            .stdout(Stdio::null());
        let daemon = command.spawn().expect("nsenter is part of util-linux");
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

/// Namespaces for network and mounts, held by a process that does nothing.
struct World(Child);

impl World {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        command
            .args([
                "--net",
                "--mount",
                "sh",
                "-c",
                "ip link set lo up && exec sleep infinity",
            ])
            .stdin(Stdio::null());
        let world = Self(command.spawn().expect("unshare is part of util-linux"));
        let sleeps = format!("/proc/{}/comm", world.0.id());
        wait_at_most(PATIENCE, "namespaces of our own (they need root)", || {
            let program = std::fs::read_to_string(&sleeps).map_err(|error| error.to_string())?;
            if program.trim() == "sleep" {
                Ok(())
            } else {
                Err(program)
            }
        });
        world
    }
}

impl Drop for World {
    /// An engine that restarts while it starts a container may forget it, with live-restore for as long as it lives.
    fn drop(&mut self) {
        let net = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
        // Never the machine's own, should ours not have been made.
        let ours =
            net(&self.0.id().to_string()).filter(|ours| net("self").is_some_and(|machine| machine != *ours));
        let all: Vec<String> = std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        let here = |process: &String| ours.is_some() && net(process) == ours;
        // A container with a network of its own hangs on a process that has ours.
        let of_ours = |process: &String| parent(process).is_some_and(|parent| here(&parent));
        let left = all.iter().filter(|process| here(process) || of_ours(process));
        let left: Vec<&str> = left.map(String::as_str).collect();
        let mut kill = Command::new("kill");
        kill.arg("-KILL").args(left);
        let _ = output(kill);
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn parent(process: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Some(line.trim().to_owned())
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
