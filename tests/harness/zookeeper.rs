//! A ZooKeeper of the test's own, out of Debian's jars, and kazoo as a second pair of eyes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::engine::output;
use super::wait_for;

/// The manifest of the first names all others; the second lets the server say what it does.
const JARS: &str = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar";

pub(crate) struct ZooKeeper {
    address: String,
    home: TempDir,
    server: Mutex<Option<Child>>,
}

/// What a node says, and the session that it hangs on; 0 for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) data: String,
    pub(crate) session: i64,
}

impl ZooKeeper {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// With further lines of its configuration.
    pub(crate) fn start_with(further: &str) -> Self {
        let home = tempfile::tempdir().expect("/tmp is writable");
        // It cannot be given port 0, so it gets one that was free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("loopback has free ports").port();
        let configuration = format!(
            "tickTime=500\ndataDir={home}/data\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\n{further}\n",
            home = home.path().display()
        );
        std::fs::write(home.path().join("zoo.cfg"), configuration).expect("the directory is ours");
        let zookeeper = Self {
            address: format!("127.0.0.1:{port}"),
            home,
            server: Mutex::default(),
        };
        zookeeper.up();
        zookeeper
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Ends it as a power cut would.
    pub(crate) fn down(&self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut server) = server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Loses all it knew, while it is down.
    pub(crate) fn forget(&self) {
        std::fs::remove_dir_all(self.home.path().join("data")).expect("it has written something");
    }

    pub(crate) fn up(&self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.home.path().join("log"));
        let log = log.expect("the directory is ours");
        let mut java = Command::new("java");
        java.args([
            "-Xmx64m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            JARS,
        ])
        .arg("org.apache.zookeeper.server.ZooKeeperServerMain")
        .arg(self.home.path().join("zoo.cfg"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
        let server = java.spawn().expect("java is there: tests/tools.sh sees to it");
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
        wait_for("our own ZooKeeper to serve", || {
            let answer = self.says("srvr").unwrap_or_else(|error| error.to_string());
            if answer.starts_with("Zookeeper version") {
                return Ok(());
            }
            let log = std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
            Err(format!("{answer}; its log:\n{log}"))
        });
    }

    /// Its answer to one of its four-letter words. Who asks while it starts may wait for ever.
    fn says(&self, word: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        stream.write_all(word.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Every node from `path` on, by its path.
    pub(crate) fn tree(&self, path: &str) -> Result<BTreeMap<String, Node>, String> {
        let text = output(self.eyes(&["tree", path]))?;
        let read: BTreeMap<String, Value> =
            serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        let node = |value: &Value| {
            Some(Node {
                data: value["data"].as_str()?.to_owned(),
                session: value["session"].as_i64()?,
            })
        };
        let nodes = read
            .iter()
            .map(|(path, value)| Some((path.clone(), node(value)?)));
        nodes.collect::<Option<_>>().ok_or(text)
    }

    /// Makes a node that stays, or lets one that is there say this.
    pub(crate) fn put(&self, path: &str, data: &str) {
        output(self.eyes(&["put", path, data])).unwrap_or_else(|reason| panic!("{reason}"));
    }

    /// Makes a node that hangs on a session of its own, which ends with what this returns.
    pub(crate) fn hold(&self, path: &str, data: &str) -> Watcher {
        let watcher = self.begin(&["hold", path, data]);
        watcher.wait_to_say("held");
        watcher
    }

    /// Looks at a node all the time.
    pub(crate) fn watch(&self, path: &str) -> Watcher {
        let watcher = self.begin(&["watch", path]);
        watcher.wait_to_say("there");
        watcher
    }

    /// Debian's own Python has kazoo; another one in front of it may not.
    fn eyes(&self, words: &[&str]) -> Command {
        let mut python = Command::new("/usr/bin/python3");
        python
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/registries/zookeeper.py"
            ))
            .arg(&self.address)
            .args(words);
        python
    }

    fn begin(&self, words: &[&str]) -> Watcher {
        let mut process = self
            .eyes(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python is there");
        let (said, printed) = (Arc::<Mutex<Vec<String>>>::default(), process.stdout.take());
        let lines = BufReader::new(printed.expect("standard output is piped"));
        let ear = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                ear.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Watcher {
            open: process.stdin.take(),
            process,
            said,
        }
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        self.down();
    }
}

/// Another client of the same ZooKeeper; it leaves when dropped.
pub(crate) struct Watcher {
    process: Child,
    open: Option<ChildStdin>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Watcher {
    /// What it has said so far, in order.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wait_to_say(&self, word: &str) {
        wait_for(word, || {
            let said = self.said();
            if said.iter().any(|line| line == word) {
                Ok(())
            } else {
                Err(format!("{said:?}"))
            }
        });
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Its input ends; it closes its session and ends by itself, or is ended.
        drop(self.open.take());
        let left = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && left.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
