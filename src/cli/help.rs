//! Help texts, read off the option rows.

use std::fmt::Write as _;

use crate::config::options::{self, Command, Owner, Row, Status};

/// `lictor` alone, `lictor help`.
pub const OVERVIEW: &str = "\
Usage: lictor <command> [options]

  agent         catalog, DNS, registrator and balancer in one process
  lb            the balancer alone, fed by a Consul (fabio's options)
  registrator   the registrator alone: lictor registrator [options] <registry uri>...

Asking a running agent, or any Consul:

  members       who is in the cluster
  catalog       datacenters, nodes, services
  kv            get, put, delete
  services      register, deregister
  maint         switch maintenance on and off

  version       print the version
  help          this text; lictor help <command> lists its options

To begin: lictor agent -dev
Called through a link named consul, fabio or registrator, it takes that program's command line.
";

/// `consul` alone, in that program's layout.
pub const CONSUL: &str = "\
Usage: consul [--version] [--help] <command> [<args>]

Available commands are:
    agent       Runs a Consul-compatible agent (lictor)
    catalog     Interact with the catalog
    kv          Interact with the key-value store
    maint       Controls node or service maintenance mode
    members     Lists the members of a Consul cluster
    services    Interact with services
    version     Prints the version
";

/// How a long-running command is called.
pub fn usage_line(program: &str, command: Command) -> String {
    match command {
        Command::Registrator => format!(
            "Usage: {program} [options] <registry uri>...\n       \
             {program} [options] explain <container> [<registry uri>...]\n"
        ),
        _ => format!("Usage: {program} [options]\n"),
    }
}

/// All options of a command, by section.
pub fn command(program: &str, command: Command) -> String {
    let mut text = usage_line(program, command);
    for (owner, title) in [
        (Owner::Lictor, "Lictor's own"),
        (Owner::Consul, "As in Consul"),
        (Owner::Fabio, "The balancer, as in fabio"),
        (Owner::Registrator, "As in registrator"),
    ] {
        let rows: Vec<&Row> = options::of(command).filter(|row| row.owner == owner).collect();
        let works: Vec<&&Row> = rows
            .iter()
            .filter(|row| row.status == Status::Supported)
            .collect();
        if works.is_empty() {
            continue;
        }
        let _ = write!(text, "\n{title}\n");
        for row in works {
            text.push_str(&entry(row, command));
        }
        let quiet = |row: &&&Row| matches!(row.status, Status::Ignored(_));
        names(
            &mut text,
            "accepted without effect",
            rows.iter().filter(quiet),
            command,
        );
        let refused = |row: &&&Row| matches!(row.status, Status::Refused(_));
        names(&mut text, "refused", rows.iter().filter(refused), command);
        names(
            &mut text,
            "not yet supported",
            rows.iter().filter(|row| row.status == Status::NotYet),
            command,
        );
    }
    text
}

fn entry(row: &Row, command: Command) -> String {
    let default = match row.default_for(command) {
        "" => String::new(),
        default => format!(" (default {default})"),
    };
    format!(
        "  -{} <{}>\n      {}{default}\n",
        row.flag(command),
        row.kind.describe(),
        row.help
    )
}

fn names<'a>(text: &mut String, title: &str, rows: impl Iterator<Item = &'a &'a Row>, command: Command) {
    let names: Vec<&str> = rows.map(|row| row.flag(command)).collect();
    if names.is_empty() {
        return;
    }
    let mut line = format!("  {title}:");
    for name in names {
        if line.len() + name.len() > 98 {
            let _ = writeln!(text, "{line}");
            "     ".clone_into(&mut line);
        }
        let _ = write!(line, " {name}");
    }
    let _ = writeln!(text, "{line}");
}
