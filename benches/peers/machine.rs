//! Where things run: cores, ports, a folder, and processes that end with their value.
//!
//! Load and backend share one core, the proxy under test has another one alone. Nothing here outlives the measurement,
//! also when that fails: every process is ended by its own id, first asked and then made to.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use tempfile::TempDir;

/// What went wrong, in words for whoever reads the table that is missing.
pub type Outcome<T> = Result<T, String>;

/// Longer than any of them takes to begin or to end. A hundred thousand routes have to be read.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a state that nobody announces.
const LOOK: Duration = Duration::from_millis(5);

pub struct Machine {
    pub cores: usize,
    /// Of the proxy under test alone.
    proxy_core: usize,
    /// A program and its arguments that runs the proxy in its place; none as a rule.
    pub wrapper: Vec<String>,
    folder: TempDir,
}

impl Machine {
    /// Takes the last two cores: interrupts and everybody else prefer the first. This process moves to the one for the
    /// load, and what it starts or spawns goes with it.
    pub fn new() -> Outcome<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        if cores < 2 {
            return Err(
                "one core for the load and one for the proxy are needed, this machine has one".to_owned(),
            );
        }
        let mut here = CpuSet::new();
        here.set(cores - 2);
        sched_setaffinity(None, &here)
            .map_err(|e| format!("this process cannot move to core {}: {e}", cores - 2))?;
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let all = Rlimit {
            current: maximum,
            maximum,
        };
        setrlimit(Resource::Nofile, all).map_err(|e| format!("open files stay limited: {e}"))?;
        let folder = TempDir::new().map_err(|e| format!("no folder for configurations: {e}"))?;
        Ok(Self {
            cores,
            proxy_core: cores - 1,
            wrapper: Vec::new(),
            folder,
        })
    }

    /// Writes a file that somebody is going to read, and says where it is.
    pub fn write(&self, name: &str, content: &str) -> Outcome<PathBuf> {
        let path = self.path(name);
        fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program on the core of the proxy, to be configured further. `taskset` becomes the program, so the id of the
    /// one is that of the other.
    pub fn on_proxy_core(&self, program: &str) -> Command {
        let mut command = Command::new("taskset");
        command.arg("-c").arg(self.proxy_core.to_string());
        command.args(&self.wrapper).arg(program);
        command
    }

    /// Starts a server and waits until it accepts; what it says goes to a file that is shown when it does not.
    pub fn serve(&self, name: &str, mut command: Command, at: SocketAddr) -> Outcome<Server> {
        let log = self.path(&format!("{name}.log"));
        let open = || File::create(&log).map_err(|e| format!("{}: {e}", log.display()));
        let said = open()?;
        let said_too = said.try_clone().map_err(|e| format!("{}: {e}", log.display()))?;
        command.stdin(Stdio::null()).stdout(said).stderr(said_too);
        let child = command
            .spawn()
            .map_err(|e| format!("{name} cannot be started, is it installed? {e}"))?;
        let mut server = Server { child };
        let begun = Instant::now();
        while let Err(refused) = TcpStream::connect(at) {
            let ended = server.child.try_wait().ok().flatten();
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let said = fs::read_to_string(&log).unwrap_or_default();
                return Err(format!(
                    "{name} does not listen on {at}: {refused}; {ended:?}; it said: {said}"
                ));
            }
            thread::sleep(LOOK);
        }
        Ok(server)
    }
}

/// An address of loopback that nobody has at the moment. That somebody takes it before the program does would be seen:
/// two of them do not listen on one port.
pub fn free_address() -> Outcome<SocketAddr> {
    let held = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    held.map_err(|e| format!("no free port: {e}"))
}

/// A process of ours, which ends with this value.
pub struct Server {
    child: Child,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first: a master that is killed leaves its workers behind.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
