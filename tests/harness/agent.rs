//! Starts the real binary, learns from its output where it listens, and ends it with the test.
//!
//! Every port is 0, every name unique: any number of agents run side by side. What the process says is kept and
//! shown when the test fails.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::{http, unique, wait_at_most, wait_for};

/// `lictor agent -dev` on free loopback ports.
pub(crate) fn agent() -> Builder {
    let node = unique("lictor-test");
    let fixed = [
        "agent",
        "-dev",
        "-http-port=0",
        "-dns-port=0",
        "-ui.addr=127.0.0.1:0",
        "-registrator.ip=127.0.0.1",
    ];
    let mut arguments: Vec<String> = fixed.map(str::to_owned).to_vec();
    arguments.push(format!("-node={node}"));
    arguments.push(format!("-registrator.hostname={node}"));
    Builder {
        arguments,
        environment: Vec::new(),
        listeners: String::from("127.0.0.1:0"),
        node,
        open_files: None,
        mounts: None,
        network: None,
        nobody: false,
    }
}

pub(crate) struct Builder {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    listeners: String,
    node: String,
    open_files: Option<u32>,
    mounts: Option<String>,
    network: Option<String>,
    nobody: bool,
}

impl Builder {
    /// A command line of its own instead of the agent's, for `lb`, `registrator` and the verbs.
    pub(crate) fn command(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self.listeners.clear();
        self
    }

    pub(crate) fn flag(mut self, flag: &str) -> Self {
        self.arguments.push(flag.to_owned());
        self
    }

    /// A port that stays the same from one process to the next.
    pub(crate) fn http_port(mut self, port: u16) -> Self {
        self.arguments.retain(|argument| argument != "-http-port=0");
        self.flag(&format!("-http-port={port}"))
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The system lets it have this many open files and no more.
    pub(crate) fn open_files(mut self, most: u32) -> Self {
        self.open_files = Some(most);
        self
    }

    /// It sees this folder empty, in a mount namespace of its own.
    pub(crate) fn hiding(mut self, folder: &'static str) -> Self {
        self.mounts = Some(format!("mount -t tmpfs none {folder}"));
        self
    }

    /// It takes this machine for the one whose id is in this file.
    pub(crate) fn on_machine(mut self, id: &Path) -> Self {
        self.mounts = Some(format!("mount --bind {} /etc/machine-id", id.display()));
        self
    }

    /// It runs in this network namespace of `ip netns`.
    pub(crate) fn in_network(mut self, name: &str) -> Self {
        self.network = Some(name.to_owned());
        self
    }

    /// It has no user's rights but those of `nobody`.
    pub(crate) fn unprivileged(mut self) -> Self {
        self.nobody = true;
        self
    }

    /// A second listener of the balancer, for `proto=tcp` routes.
    pub(crate) fn tcp_listener(mut self) -> Self {
        self.listeners.push_str(",127.0.0.1:0;proto=tcp");
        self
    }

    /// Runs until every part named has said where it listens.
    fn spawn(&self) -> Process {
        let binary = env!("CARGO_BIN_EXE_lictor");
        let mut command = match (self.open_files, &self.mounts, &self.network) {
            (_, _, Some(network)) => {
                // It becomes what it starts: the process we hold is the agent itself.
                let mut ip = Command::new("ip");
                ip.args(["netns", "exec", network, binary]);
                ip
            }
            (Some(most), _, None) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\""), binary]);
                shell
            }
            (None, Some(mounts), None) => {
                let mut unshare = Command::new("unshare");
                let script = format!("{mounts} && exec \"$0\" \"$@\"");
                unshare.args(["--mount", "sh", "-c", &script, binary]);
                unshare
            }
            (None, None, None) if self.nobody => {
                let mut setpriv = Command::new("setpriv");
                setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups", binary]);
                setpriv
            }
            (None, None, None) => Command::new(binary),
        };
        command.args(&self.arguments);
        if !self.listeners.is_empty() {
            command.arg(format!("-proxy.addr={}", self.listeners));
        }
        // What the developer's shell has set for a real Consul or Docker must not leak into a test.
        for (name, _) in
            std::env::vars().filter(|(name, _)| name.starts_with("CONSUL_") || name.starts_with("DOCKER_"))
        {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Process::spawn(command)
    }

    /// Starts the agent and waits until it has said where it listens.
    pub(crate) fn start(self) -> Agent {
        self.start_parts(&["http", "dns", "ui", "proxy"])
    }

    /// [`Builder::start`] for a process with fewer parts.
    pub(crate) fn start_parts(self, parts: &[&str]) -> Agent {
        let mut process = self.spawn();
        let proxies = self.listeners.split(',').count();
        let bound = wait_for("the process to say where it listens", || {
            if let Some(status) = process.ended() {
                return Err(format!("it ended with {status}:\n{}", process.said()));
            }
            let bound = addresses(&process.said());
            let missing = |part: &&&str| {
                bound
                    .get(**part)
                    .is_none_or(|all| **part == "proxy" && all.len() < proxies)
            };
            match parts.iter().find(missing) {
                Some(part) => Err(format!(
                    "no address of {part:?} among {bound:?}:\n{}",
                    process.said()
                )),
                None => Ok(bound),
            }
        });
        Agent {
            process,
            node: self.node,
            bound,
        }
    }

    /// Runs a process that is expected to end by itself: its exit code and all it said.
    pub(crate) fn finish(self) -> (i32, String) {
        let mut process = self.spawn();
        let status = wait_for("the process to end", || {
            process.ended().ok_or_else(|| process.said())
        });
        (status.code().unwrap_or(-1), process.complete())
    }
}

/// Where the parts listen, read from lines such as `==> http: 127.0.0.1:8500`. The only place that knows their form.
fn addresses(output: &str) -> BTreeMap<String, Vec<SocketAddr>> {
    let mut bound: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new();
    for line in output.lines() {
        let Some((part, address)) = line.strip_prefix("==> ").and_then(|rest| rest.split_once(':')) else {
            continue;
        };
        let Some(address) = address
            .split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
        else {
            continue;
        };
        bound
            .entry(part.trim().to_ascii_lowercase())
            .or_default()
            .push(address);
    }
    bound
}

pub(crate) struct Agent {
    process: Process,
    node: String,
    bound: BTreeMap<String, Vec<SocketAddr>>,
}

impl Agent {
    /// The unique name of the node, and of the host in the registrator's ids.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.bound["http"][0]
    }

    pub(crate) fn dns(&self) -> SocketAddr {
        self.bound["dns"][0]
    }

    /// The balancer's admin server.
    pub(crate) fn ui(&self) -> SocketAddr {
        self.bound["ui"][0]
    }

    pub(crate) fn proxy(&self) -> SocketAddr {
        self.bound["proxy"][0]
    }

    /// The listener of [`Builder::tcp_listener`].
    pub(crate) fn tcp(&self) -> SocketAddr {
        self.bound["proxy"][1]
    }

    pub(crate) fn said(&self) -> String {
        self.process.said()
    }

    /// What it wrote to standard output.
    pub(crate) fn printed(&self) -> String {
        let printed = &self.process.printed;
        printed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// What it returned, once it has ended.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.process.ended()?.code()
    }

    /// A question to the HTTP API that has to succeed.
    pub(crate) fn ask(&self, path: &str) -> Result<Value, String> {
        http::get(self.http(), path).json()
    }

    pub(crate) fn tell(&self, path: &str, body: &Value) -> Result<String, String> {
        http::put(self.http(), path, body).ok()
    }

    /// The instances of a service in the catalog.
    pub(crate) fn instances(&self, service: &str) -> Result<Vec<Value>, String> {
        rows(self.ask(&format!("/v1/catalog/service/{service}"))?)
    }

    /// The instances of a service that pass their checks.
    pub(crate) fn passing(&self, service: &str) -> Result<Vec<Value>, String> {
        rows(self.ask(&format!("/v1/health/service/{service}?passing"))?)
    }

    /// Waits until so many instances of a service pass.
    pub(crate) fn await_passing(&self, service: &str, wanted: usize) -> Vec<Value> {
        wait_for(&format!("{wanted} passing instances of {service}"), || {
            let rows = self.passing(service)?;
            if rows.len() == wanted {
                Ok(rows)
            } else {
                Err(format!("{} pass", rows.len()))
            }
        })
    }

    /// Waits until a request through the balancer has this status.
    pub(crate) fn await_status(&self, host: &str, path: &str, status: u16) -> http::Answer {
        let request = http::get(self.proxy(), path).host(host);
        wait_for(&format!("{status} from {host}{path}"), || request.status(status))
    }

    /// The promise of every robustness test: still there, and nothing panicked on the way.
    pub(crate) fn assert_calm(&mut self) {
        assert!(self.running(), "the agent is gone");
        let said = self.said();
        assert!(!said.contains("panicked"), "something panicked:\n{said}");
    }
}

fn rows(answer: Value) -> Result<Vec<Value>, String> {
    match answer {
        Value::Array(rows) => Ok(rows),
        other => Err(format!("a list was expected, not {other}")),
    }
}

/// A child whose output is collected as it comes; it is killed, by its process id, when dropped.
struct Process {
    child: Child,
    /// Of both streams.
    output: Arc<Mutex<String>>,
    /// Of standard output alone.
    printed: Arc<Mutex<String>>,
    /// Standard output and standard error are read, each while nobody else holds the lock.
    ears: [Arc<Mutex<()>>; 2],
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Process {
    fn spawn(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("cargo has built the binary under test");
        let (output, printed) = (Arc::default(), Arc::default());
        let out = child.stdout.take().expect("standard output is piped");
        let err = child.stderr.take().expect("standard error is piped");
        let ears = [Arc::default(), Arc::default()];
        let readers = vec![
            collect(out, &ears[0], &[&output, &printed]),
            collect(err, &ears[1], &[&output]),
        ];
        Self {
            child,
            output,
            printed,
            ears,
            readers,
        }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child is ours to wait for")
    }

    fn said(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All it said, once both streams have ended.
    fn complete(&mut self) -> String {
        self.readers
            .drain(..)
            .for_each(|reader| reader.join().expect("reading lines does not panic"));
        self.said()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // First politely, so that a clean stop is exercised by every test; then for certain. One that has ended is
        // left alone: its number may be another's by now.
        if self.ended().is_none() {
            let _ = Command::new("kill")
                .args(["-TERM", &self.child.id().to_string()])
                .status();
        }
        let waited = std::time::Instant::now();
        while self.ended().is_none() && waited.elapsed() < Duration::from_secs(2) && !std::thread::panicking()
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("---- what process {} said ----\n{}", self.child.id(), self.said());
        }
    }
}

fn collect(
    from: impl Read + Send + 'static,
    ear: &Arc<Mutex<()>>,
    into: &[&Arc<Mutex<String>>],
) -> std::thread::JoinHandle<()> {
    let ear = Arc::clone(ear);
    let into: Vec<_> = into.iter().map(|text| Arc::clone(text)).collect();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(from);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            for text in &into {
                text.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&String::from_utf8_lossy(&line));
            }
            line.clear();
            drop(ear.lock().unwrap_or_else(PoisonError::into_inner));
        }
    })
}

impl Agent {
    /// Asks it to read its configuration again.
    pub(crate) fn hangup(&self) {
        self.signal("HUP");
    }

    /// Whoever holds this keeps its standard output from being read.
    pub(crate) fn ear_for_output(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.process.ears[0])
    }

    /// The same of its standard error.
    pub(crate) fn ear_for_errors(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.process.ears[1])
    }

    pub(crate) fn signal(&self, name: &str) {
        let _ = Command::new("kill")
            .args([&format!("-{name}"), &self.process.child.id().to_string()])
            .status();
    }

    /// What its threads have used so far, to a hundredth of a second.
    pub(crate) fn cpu_time(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.process.child.id());
        let stat = std::fs::read_to_string(path).expect("it runs");
        // The name may hold blanks; behind it utime and stime are the 12th and 13th.
        let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|field| field.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(10 * ticks)
    }

    /// Ends the process at once, as a power cut would.
    pub(crate) fn kill(mut self) {
        let _ = self.process.child.kill();
        wait_at_most(Duration::from_secs(5), "the killed process to end", || {
            self.process
                .ended()
                .map(drop)
                .ok_or_else(|| "still running".to_owned())
        });
    }
}
