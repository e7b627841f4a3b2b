//! Podman's API service of the test's own, asked by the `docker` command like any engine.
//!
//! It runs in namespaces of its own for network, mounts and processes, with memory over the folders that all Podmans of a
//! machine share: whatever else runs on this machine is out of its reach, and whatever it started ends with it.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::engine::{Engine, output};
use super::{machine, wait_for};

/// Limits that a test machine without all of root's powers can give; no systemd, journal or shared locks.
const CONFIGURATION: &str = r#"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "HOME/tmp"
[network]
network_config_dir = "HOME/networks"
"#;

pub(crate) struct Podman {
    pub(crate) engine: Engine,
    home: TempDir,
    service: Child,
}

impl Podman {
    /// Starts it with the image `lictor-whoami` in it.
    pub(crate) fn start() -> Self {
        // Short, because the path of a socket is limited to some hundred characters.
        let home = tempfile::Builder::new().prefix("lictor-podman-").tempdir();
        let home = home.expect("/tmp is writable");
        let at = home.path().display();
        let configuration = CONFIGURATION.replace("HOME", &at.to_string());
        std::fs::create_dir(home.path().join("networks")).expect("the directory is ours");
        std::fs::write(home.path().join("containers.conf"), configuration).expect("the directory is ours");
        let log = File::create(home.path().join("log")).expect("the directory is ours");
        // With its first process ends all of a namespace; Podman leaves those that watch over programs inside containers.
        let script = format!(
            "mount -t tmpfs none /run && mount -t tmpfs none /dev/shm && mkdir -p /var/lib/cni && \
             mount -t tmpfs none /var/lib/cni && ip link set lo up && \
             for life in 1 2 3; do \
             podman --root {at}/root --runroot {at}/run --storage-driver vfs \
             system service --time 0 unix://{at}/podman.sock & \
             echo $! >{at}/service.pid; wait $!; done"
        );
        let mut command = Command::new("unshare");
        command
            .args([
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .args(["sh", "-c", &script])
            .env("CONTAINERS_CONF", home.path().join("containers.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let service = command.spawn().expect("unshare is part of util-linux");
        let host = format!("unix://{at}/podman.sock");
        let podman = Self {
            engine: Engine { host: Some(host) },
            home,
            service,
        };
        wait_for("Podman to answer (it needs root, podman and runc)", || {
            let version = podman.engine.docker(&["version"]);
            version.map_err(|reason| format!("{reason}\n{}", podman.log()))
        });
        let image = podman.home.path().join("whoami.tar").display().to_string();
        machine()
            .docker(&["save", "-o", &image, "lictor-whoami"])
            .expect("the image was built");
        podman
            .engine
            .docker(&["load", "-i", &image])
            .expect("Podman loads what Docker saved");
        podman
    }

    /// The value of `DOCKER_HOST` that leads here.
    pub(crate) fn host(&self) -> &str {
        self.engine.host.as_deref().expect("it has a socket of its own")
    }

    /// Ends its service, of which there are three lives, and waits for the next. Containers go on.
    pub(crate) fn restart(&self) {
        let id = self.service.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let first = children.expect("it runs").trim().to_owned();
        let numbered = self.home.path().join("service.pid");
        // The number that the service has in there means another process out here.
        let number = std::fs::read_to_string(&numbered).expect("the shell wrote it");
        let mut kill = Command::new("nsenter");
        kill.args([
            "--target",
            &first,
            "--pid",
            "--mount",
            "kill",
            "-TERM",
            number.trim(),
        ]);
        output(kill).unwrap_or_else(|reason| panic!("{reason}"));
        wait_for("the next life of Podman", || {
            let now = std::fs::read_to_string(&numbered).map_err(|error| error.to_string())?;
            if now == number {
                return Err("the one before has not ended".to_owned());
            }
            self.engine.docker(&["version"])
        });
    }

    /// Runs `podman` itself with these arguments, for what `docker` has no words for.
    pub(crate) fn podman(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("podman");
        command.args(["--url", self.host()]).args(arguments);
        output(command).map_err(|reason| format!("podman {}: {reason}", arguments.join(" ")))
    }

    /// Asks its API, as Docker's in version 1.41, to change something.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<String, String> {
        let socket = self.home.path().join("podman.sock").display().to_string();
        let (url, body) = (format!("http://podman/v1.41{path}"), body.to_string());
        let json = "Content-Type: application/json";
        let mut command = Command::new("curl");
        command.args(["-sSf", "--unix-socket", &socket, "-H", json, "-d", &body, &url]);
        output(command).map_err(|reason| format!("{path}: {reason}"))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("---- what Podman said ----\n{}", self.log());
        }
        if let Ok(all) = self.engine.docker(&["ps", "-aq"])
            && !all.is_empty()
        {
            let mut remove = vec!["rm", "-f"];
            remove.extend(all.lines());
            let _ = self.engine.docker(&remove);
        }
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}
