//! The command line: one program under four names.
//!
//! `parse` turns arguments, environment and the machine into what shall be done, or into the text that
//! says what is wrong; it is pure, so that every command line is a test. Only `client::run` acts.
//! Each long-running command keeps the exit codes of the program it stands in for.

pub mod client;
mod explain;
mod flags;
mod help;

use std::fmt::Write as _;

use crate::config::fault::{Fault, Origin};
use crate::config::machine::Machine;
use crate::config::options::{self, Command, Kind};
use crate::config::raw::{self, Environment, Given, Raw};
use crate::config::settings::Settings;
use crate::config::{Agent, Lb, Registrator, check, file};
use flags::{Bad, Shape};

/// What shall be done.
#[derive(Debug)]
pub enum Invocation {
    /// Run the agent.
    Agent(Box<Agent>),
    /// Run the balancer alone.
    Lb(Box<Lb>),
    /// Run the registrator alone.
    Registrator(Box<Registrator>),
    /// Say what the registrator would make of this container.
    Explain(Box<Registrator>, String),
    /// Ask an agent and print its answer.
    Client(Box<client::Call>),
    /// Print this and be done.
    Print(String),
}

/// Where a text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A command line that cannot be followed: what to print, and the code to exit with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// All that is wrong, or how it is meant.
    pub text: String,
    /// Exit code.
    pub code: u8,
    /// Where the text goes.
    pub stream: Stream,
}

impl Usage {
    fn error(text: impl Into<String>, code: u8) -> Self {
        Self {
            text: text.into(),
            code,
            stream: Stream::Err,
        }
    }
}

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The releases whose command lines we speak; scripts look for these numbers.
const CONSUL_VERSION: &str = "1.10.11";
const FABIO_VERSION: &str = "1.7.3";
const REGISTRATOR_VERSION: &str = "v7.4.0";

/// Reads a command line; `args` begin with the name the program was called by.
///
/// # Errors
/// What to tell the user instead, and the exit code.
pub fn parse(args: &[String], env: &Environment, machine: &dyn Machine) -> Result<Invocation, Usage> {
    let held = None;
    read(args, World { env, machine, held })
}

/// Reads the command line of a process that runs with these settings. All of it has to be right; what only a restart
/// changes is then as it is.
///
/// # Errors
/// As [`parse`].
pub fn parse_again(
    args: &[String],
    env: &Environment,
    machine: &dyn Machine,
    held: &Settings,
) -> Result<Invocation, Usage> {
    let held = Some(held);
    read(args, World { env, machine, held })
}

fn read(args: &[String], world: World<'_>) -> Result<Invocation, Usage> {
    let (program, words) = args.split_first().map_or(("lictor", args), |(program, words)| {
        (program.rsplit('/').next().unwrap_or(program), words)
    });
    match program {
        "consul" => consul(words, world),
        "fabio" => lb("fabio", words, world),
        "registrator" => registrator("registrator", words, world),
        _ => lictor(words, world),
    }
}

/// What a command line is read against.
#[derive(Clone, Copy)]
struct World<'a> {
    env: &'a Environment,
    machine: &'a dyn Machine,
    /// What a running process was started with; its log wants a fault a line, and nothing for a terminal.
    held: Option<&'a Settings>,
}

impl World<'_> {
    fn resolve<T>(&self, mut raw: Raw, resolve: impl Fn(Raw) -> (T, Vec<Fault>)) -> (T, Vec<Fault>) {
        if let Some(held) = self.held {
            let (config, faults) = resolve(raw.clone());
            if !faults.is_empty() {
                return (config, faults);
            }
            raw.settings = raw.settings.holding(held);
        }
        resolve(raw)
    }
}

fn lictor(words: &[String], world: World<'_>) -> Result<Invocation, Usage> {
    let Some((command, rest)) = words.split_first() else {
        return Ok(Invocation::Print(help::OVERVIEW.to_owned()));
    };
    match command.as_str() {
        "agent" => agent("lictor agent", rest, world),
        "lb" => lb("lictor lb", rest, world),
        "registrator" => registrator("lictor registrator", rest, world),
        "version" | "-version" | "--version" | "-v" => Ok(Invocation::Print(format!("lictor {VERSION}\n"))),
        "help" | "-h" | "-help" | "--help" => topic(rest),
        name if client::VERBS.contains(&name) => client::parse("lictor", name, rest, world.env),
        name => Err(unknown_command(name)),
    }
}

fn topic(words: &[String]) -> Result<Invocation, Usage> {
    let text = match words.first().map(String::as_str) {
        None => help::OVERVIEW.to_owned(),
        Some("agent") => help::command("lictor agent", Command::Agent),
        Some("lb") => help::command("lictor lb", Command::Lb),
        Some("registrator") => help::command("lictor registrator", Command::Registrator),
        Some(name) if client::VERBS.contains(&name) => client::usage("lictor", name),
        Some(name) => return Err(unknown_command(name)),
    };
    Ok(Invocation::Print(text))
}

fn unknown_command(name: &str) -> Usage {
    let commands = ["agent", "lb", "registrator", "version", "help"]
        .iter()
        .chain(client::VERBS);
    let mut text = format!("unknown command {name:?}");
    if let Some(near) = options::nearest(name, commands.map(|command| (*command, *command))) {
        let _ = write!(text, "; did you mean {near}?");
    }
    text.push_str("\nlictor help lists the commands\n");
    Usage::error(text, 2)
}

fn consul(words: &[String], world: World<'_>) -> Result<Invocation, Usage> {
    let listing = |code| Usage {
        text: help::CONSUL.to_owned(),
        code,
        stream: Stream::Out,
    };
    let Some((command, rest)) = words.split_first() else {
        return Err(listing(127));
    };
    match command.as_str() {
        "agent" => agent("consul agent", rest, world),
        "version" | "-version" | "--version" | "-v" => Ok(Invocation::Print(format!(
            "Consul v{CONSUL_VERSION}\nProvided by lictor {VERSION}\nProtocol 2 spoken by default, \
             understands 2 to 3\n"
        ))),
        "-h" | "-help" | "--help" => Err(listing(0)),
        name if client::VERBS.contains(&name) => client::parse("consul", name, rest, world.env),
        _ => Err(listing(127)),
    }
}

fn agent(program: &str, words: &[String], world: World<'_>) -> Result<Invocation, Usage> {
    let line = Line::read(Command::Agent, words);
    if line.help {
        return Ok(Invocation::Print(help::command(program, Command::Agent)));
    }
    let (raw, mut faults) = line.gather(world);
    let (config, found) = world.resolve(raw, Agent::resolve);
    faults.extend(found);
    if let Some(lb) = config.lb.as_ref().filter(|_| config.check) {
        faults.extend(check::files(lb, None, world.machine));
    }
    if world.held.is_some() && !faults.is_empty() {
        return Err(Usage::error(report("", &faults), 1));
    }
    if !faults.is_empty() {
        let mut text = report("==> ", &faults);
        let _ = writeln!(text, "{program} -help lists the options");
        return Err(Usage::error(text, 1));
    }
    if config.check {
        return Ok(right(&config.notes));
    }
    Ok(Invocation::Agent(Box::new(config)))
}

fn lb(program: &str, words: &[String], world: World<'_>) -> Result<Invocation, Usage> {
    // Anywhere on the command line, as fabio looks for it before anything else.
    if words
        .iter()
        .any(|word| matches!(word.as_str(), "-v" | "-version" | "--version"))
    {
        let text = match program {
            "fabio" => format!("{FABIO_VERSION} (lictor {VERSION})\n"),
            _ => format!("lictor {VERSION} (fabio {FABIO_VERSION} command line)\n"),
        };
        return Ok(Invocation::Print(text));
    }
    let line = Line::read(Command::Lb, words);
    if line.help {
        return Ok(Invocation::Print(help::command(program, Command::Lb)));
    }
    let (raw, mut faults) = line.gather(world);
    let (config, found) = world.resolve(raw, Lb::resolve);
    faults.extend(found);
    if config.check {
        faults.extend(check::files(&config.lb, Some(&config.registry), world.machine));
    }
    if world.held.is_some() && !faults.is_empty() {
        return Err(Usage::error(report("", &faults), 1));
    }
    if !faults.is_empty() {
        return Err(originals(program, Command::Lb, &faults));
    }
    if config.check {
        return Ok(right(&config.notes));
    }
    Ok(Invocation::Lb(Box::new(config)))
}

fn registrator(program: &str, words: &[String], world: World<'_>) -> Result<Invocation, Usage> {
    if let [only] = words
        && only == "--version"
    {
        return Ok(Invocation::Print(format!(
            "{REGISTRATOR_VERSION} (lictor {VERSION})\n"
        )));
    }
    let mut line = Line::read_with_positional(Command::Registrator, words);
    let explained = line.explained(program);
    if line.help {
        return Ok(Invocation::Print(help::command(program, Command::Registrator)));
    }
    let uris = match explained {
        Some(_) if line.rest.is_empty() => Vec::new(),
        _ => line.uris(program),
    };
    let (raw, mut faults) = line.gather(world);
    // Without a URI the options are still read, so that their faults are told as well.
    let (mut config, found) = Registrator::resolve(raw, &uris);
    config.registrator.docker.like_the_original = program == "registrator";
    faults.extend(found);
    if !faults.is_empty() {
        let usage = originals(program, Command::Registrator, &faults);
        // Nothing of the original's to be like: 1 says that the container cannot be explained.
        let code = if explained.is_some() { 2 } else { usage.code };
        return Err(Usage { code, ..usage });
    }
    Ok(match explained {
        Some(container) => Invocation::Explain(Box::new(config), container),
        None => Invocation::Registrator(Box::new(config)),
    })
}

/// What `-cfg-check` says of a configuration without faults.
fn right(notes: &[String]) -> Invocation {
    let mut text = String::from("the configuration is right\n");
    for note in notes {
        let _ = writeln!(text, "note: {note}");
    }
    Invocation::Print(text)
}

/// fabio and registrator tell a bad command line (2, with usage) from bad settings (1).
fn originals(program: &str, command: Command, faults: &[Fault]) -> Usage {
    if faults.iter().any(Fault::is_usage) {
        let mut text = report("", faults);
        text.push_str(&help::usage_line(program, command));
        let _ = writeln!(text, "{program} -help lists the options");
        Usage::error(text, 2)
    } else {
        Usage::error(report("[FATAL] ", faults), 1)
    }
}

fn report(prefix: &str, faults: &[Fault]) -> String {
    faults.iter().fold(String::new(), |mut text, fault| {
        let _ = writeln!(text, "{prefix}{fault}");
        text
    })
}

/// A command line of a long-running command, with its faults so far.
struct Line {
    command: Command,
    given: Vec<Given>,
    rest: Vec<String>,
    faults: Vec<Fault>,
    help: bool,
}

impl Line {
    /// A command line of flags only: stray words are faults, and what follows them is read too.
    fn read(command: Command, words: &[String]) -> Self {
        let mut line = Self::read_with_positional(command, words);
        while let Some((stray, after)) = line.rest.split_first() {
            let further = Self::read_with_positional(command, after);
            line.faults.push(self::stray(stray));
            line.faults.extend(further.faults);
            line.given.extend(further.given);
            line.help |= further.help;
            line.rest = further.rest;
        }
        line
    }

    fn read_with_positional(command: Command, words: &[String]) -> Self {
        let scan = flags::scan(words, &|name| match options::by_flag(command, name) {
            Some(row) if row.kind == Kind::Bool => Shape::Bool,
            // A section of a file has no flag.
            Some(row) if row.kind == Kind::Tree => Shape::Unknown,
            Some(_) => Shape::Valued,
            None => Shape::Unknown,
        });
        let given = scan.flags.into_iter().filter_map(|flag| {
            let row = options::by_flag(command, &flag.name)?;
            Some(Given {
                row,
                value: flag.value,
            })
        });
        let faults = scan.bad.into_iter().map(|bad| match bad {
            // In fabio's words, and with its exit code.
            Bad::Syntax(text) if text == "flag needs an argument: -cfg" => file::no_path(),
            Bad::Syntax(text) => Fault::Syntax(text),
            Bad::Unknown(name) => {
                let hint = options::nearest_flag(command, &name).map(|near| format!("-{near}"));
                let theirs = options::elsewhere(command, &name).map(|(theirs, _)| theirs);
                raw::unknown(command, Origin::Flag(name), hint, theirs)
            }
        });
        Self {
            command,
            given: given.collect(),
            faults: faults.collect(),
            rest: scan.rest,
            help: scan.help,
        }
    }

    /// The words behind the flags: registries, one at least.
    fn uris(&mut self, program: &str) -> Vec<String> {
        let mut words = std::mem::take(&mut self.rest);
        // What was meant for a boolean in front is not a registry.
        if words.len() > 1 && is_boolean(&words[0]) {
            self.faults.push(stray(&words.remove(0)));
        }
        if words.is_empty() {
            let text = format!(
                "missing required argument for registry URI, for example {program} consul://127.0.0.1:8500"
            );
            self.faults.push(Fault::Syntax(text));
        }
        let late = words.iter().skip(1).filter(|word| word.starts_with('-'));
        let late: Vec<Fault> = late
            .map(|word| {
                Fault::Syntax(format!(
                    "{word} stands behind the registry URI: flags must come before it"
                ))
            })
            .collect();
        if late.is_empty() {
            return words;
        }
        self.faults.extend(late);
        // Between flags that came too late stand their values, which are no registries.
        words.truncate(1);
        words
    }

    fn gather(self, world: World<'_>) -> (Raw, Vec<Fault>) {
        (
            Raw::gather(self.command, &self.given, world.env, world.machine),
            self.faults,
        )
    }
}

fn stray(word: &str) -> Fault {
    let hint = if is_boolean(word) {
        "; a boolean takes its value as -name=value"
    } else {
        ""
    };
    // It may be the URL of a configuration.
    Fault::Syntax(format!(
        "unexpected argument {:?}{hint}",
        lb::config::masked(word)
    ))
}

fn is_boolean(word: &str) -> bool {
    matches!(word, "true" | "false")
}

#[cfg(test)]
mod tests;
