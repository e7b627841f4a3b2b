//! `docs/options.md`, written from the rows. Never edit that page: change a row.

use std::fmt::Write as _;

use super::options::{self, Owner, Row, Status};

/// The whole page.
pub fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    for (owner, title) in [
        (Owner::Lictor, "Lictor's own"),
        (Owner::Consul, "Consul's agent"),
        (Owner::Fabio, "fabio's balancer"),
        (Owner::Registrator, "registrator"),
    ] {
        let rows = || options::all().filter(move |row| row.owner == owner);
        let _ = write!(
            page,
            "\n## {title}\n\n| Option | Type | Default | In | Meaning |\n|---|---|---|---|---|\n"
        );
        for row in rows().filter(|row| row.status == Status::Supported) {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {} |",
                names(row),
                cell(&row.kind.describe()),
                defaults(row),
                commands(row),
                cell(row.help)
            );
        }
        if rows().any(|row| matches!(row.status, Status::Ignored(_))) {
            page.push_str(
                "\nAccepted without effect, with a note in the log:\n\n| Option | Why |\n|---|---|\n",
            );
        }
        for row in rows() {
            if let Status::Ignored(why) = row.status {
                let _ = writeln!(page, "| {} | {why} |", names(row));
            }
        }
        let later: Vec<String> = rows()
            .filter(|row| row.status == Status::NotYet)
            .map(names)
            .collect();
        if !later.is_empty() {
            let _ = write!(page, "\nNot yet: {}.\n", later.join(" · "));
        }
    }
    page
}

const INTRODUCTION: &str = "\
# Options

Generated from `src/config/options/`; `REWRITE=1 cargo test docs` writes it anew.

Flags take one dash or two, `-name value` or `-name=value`; booleans stand alone or take `=`. In
configuration files (`-config-file`, `-config-dir`; JSON or HCL) the same names are keys, sections are
dots (`proxy { addr = \":9999\" }` is `proxy.addr`), and the spellings in brackets mean the same. `lictor
lb` also reads Java properties (`-cfg`) and environment variables: `FABIO_` and the name, dots as
underscores, in any case; or the name alone if it holds an underscore. `lictor registrator` drops the
prefix `registrator.`. Stronger wins: flag, environment, file, default; of two files the later.

Every fault is reported, all at once, with its place and what would be right. Options marked *not yet*
are known but unsupported: setting one to anything but what this version does anyway is an error.
";

fn names(row: &Row) -> String {
    let mut names = format!("`{}`", row.name);
    if !row.keys.is_empty() {
        let keys: Vec<String> = row.keys.iter().map(|key| format!("`{key}`")).collect();
        let _ = write!(names, " ({})", keys.join(", "));
    }
    names
}

fn defaults(row: &Row) -> String {
    let shown = |text: &str| {
        if text.is_empty() {
            String::new()
        } else {
            format!("`{}`", cell(text))
        }
    };
    match row.agent_default {
        Some(agent) => format!("{}; in `agent` {}", shown(row.default), shown(agent)),
        None => shown(row.default),
    }
}

fn commands(row: &Row) -> String {
    let names: Vec<&str> = row.commands.iter().map(|command| command.name()).collect();
    names.join(", ")
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
