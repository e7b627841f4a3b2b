//! Containers on a real Docker Engine, through the `docker` command that users type.
//!
//! The machine's engine is shared: containers have unique names and the label `lictor-test=<process id>`, a test
//! looks only at its own, and nothing here ever stops or configures the engine itself.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::unique;

const LABEL: &str = "lictor-test";

/// The engine of this machine, with the images that tests run. The first call builds what is missing and removes
/// what earlier, interrupted runs have left.
pub(crate) fn machine() -> &'static Engine {
    static MACHINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    let prepared = MACHINE.get_or_init(|| {
        build_images()?;
        let engine = Engine { host: None };
        engine.remove_leftovers()?;
        Ok(engine)
    });
    prepared
        .as_ref()
        .unwrap_or_else(|reason| panic!("these tests need a Docker Engine and their images: {reason}"))
}

fn build_images() -> Result<(), String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/docker/build.sh");
    output(Command::new(script)).map(drop)
}

/// A Docker Engine, named as `DOCKER_HOST` names it.
pub(crate) struct Engine {
    pub(super) host: Option<String>,
}

impl Engine {
    /// Runs `docker` with these arguments: what it printed, or why it failed.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("docker");
        if let Some(host) = &self.host {
            command.env("DOCKER_HOST", host);
        }
        command.args(arguments);
        output(command).map_err(|reason| format!("docker {}: {reason}", arguments.join(" ")))
    }

    /// A container to be started with `docker run -dP`.
    pub(crate) fn container(&self, image: &str) -> Setup<'_> {
        let name = unique("lictor-test");
        let label = format!("--label={LABEL}={}", std::process::id());
        Setup {
            engine: self,
            options: vec![String::from("-P"), format!("--name={name}"), label],
            image: image.to_owned(),
            arguments: Vec::new(),
            name,
        }
    }

    /// Containers whose test process is gone.
    fn remove_leftovers(&self) -> Result<(), String> {
        let format = format!("{{{{.ID}}}} {{{{.Label \"{LABEL}\"}}}}");
        let listed = self.docker(&[
            "ps",
            "-a",
            "--filter",
            &format!("label={LABEL}"),
            "--format",
            &format,
        ])?;
        for (id, owner) in listed.lines().filter_map(|line| line.split_once(' ')) {
            if !Path::new("/proc").join(owner).exists() {
                // Another test process may be doing the same.
                let _ = self.docker(&["rm", "-fv", id]);
            }
        }
        Ok(())
    }
}

/// `docker run -dP` in the making.
pub(crate) struct Setup<'a> {
    engine: &'a Engine,
    options: Vec<String>,
    image: String,
    arguments: Vec<String>,
    name: String,
}

impl<'a> Setup<'a> {
    /// Without `-P`, which does not go with every network.
    pub(crate) fn unpublished(mut self) -> Self {
        self.options.retain(|option| option != "-P");
        self
    }

    /// What its program is told.
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    pub(crate) fn label(self, name: &str, value: &str) -> Self {
        self.option(&format!("--label={name}={value}"))
    }

    pub(crate) fn env(self, name: &str, value: &str) -> Self {
        self.option(&format!("--env={name}={value}"))
    }

    pub(crate) fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    pub(crate) fn start(self) -> Container<'a> {
        let mut arguments = vec!["run", "-d"];
        arguments.extend(self.options.iter().map(String::as_str));
        arguments.push(&self.image);
        arguments.extend(self.arguments.iter().map(String::as_str));
        // The guard exists before the container does: one that fails half way is removed, too.
        let container = Container {
            engine: self.engine,
            name: self.name,
        };
        container
            .engine
            .docker(&arguments)
            .unwrap_or_else(|reason| panic!("{reason}"));
        container
    }
}

/// A container of a test; removed when dropped.
pub(crate) struct Container<'a> {
    engine: &'a Engine,
    name: String,
}

impl Container<'_> {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The port of the host that leads to a port of the container.
    pub(crate) fn published(&self, port: u16) -> u16 {
        let answer = self.docker(&["port", &self.name, &port.to_string()]);
        let first = answer.lines().next().and_then(|line| line.rsplit(':').next());
        first
            .and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("no published port in {answer:?}"))
    }

    pub(crate) fn stop(&self) {
        self.docker(&["stop", &self.name]);
    }

    pub(crate) fn kill(&self) {
        self.docker(&["kill", &self.name]);
    }

    pub(crate) fn remove(self) {
        self.docker(&["rm", "-fv", &self.name]);
    }

    /// What the program in it has written, both streams.
    pub(crate) fn logs(&self) -> String {
        self.docker(&["logs", &self.name])
    }

    fn docker(&self, arguments: &[&str]) -> String {
        self.engine
            .docker(arguments)
            .unwrap_or_else(|reason| panic!("{reason}"))
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self
                .engine
                .docker(&["logs", "--tail=20", &self.name])
                .unwrap_or_else(|reason| reason);
            println!("---- what container {} said ----\n{logs}", self.name);
        }
        let _ = self.engine.docker(&["rm", "-fv", &self.name]);
    }
}

/// What a command printed, or, when it failed, all of it as the reason.
pub(super) fn output(mut command: Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command
        .output()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    let (out, err) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    if done.status.success() {
        Ok(out.trim().to_owned())
    } else {
        Err(format!("{}: {out}{err}", done.status))
    }
}
