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
            "\n## {title}\n\n| Option | Type | Default | In | Change | Meaning |\n|---|---|---|---|---|---|\n"
        );
        for row in rows().filter(|row| row.status == Status::Supported) {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {} | {} |",
                names(row),
                cell(&row.kind.describe()),
                defaults(row),
                commands(row),
                if row.lasting { "restart" } else { "at once" },
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
        if rows().any(|row| matches!(row.status, Status::Refused(_))) {
            page.push_str("\nRefused:\n\n| Option | Why, and what does it instead |\n|---|---|\n");
        }
        for row in rows() {
            if let Status::Refused(why) = row.status {
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

Flags take one dash or two, `-name value` or `-name=value`; booleans stand alone or take `=`. In configuration
files (`-config-file`, `-config-dir`; JSON or HCL) the same names are keys, sections are dots (`proxy { addr =
\":9999\" }` is `proxy.addr`), and the spellings in brackets mean the same. `lictor lb` also reads Java properties
from a file or URL (`-cfg`; a URL has to answer 200 and plain text) and environment variables: `FABIO_` and the
name, dots as underscores, in any case; or, for fabio's own options, the name alone if it holds an underscore,
which is then told in the log. `lictor registrator` drops the prefix `registrator.`. Stronger wins: flag,
variable with `FABIO_`, variable without, file, default; of two files the later. Letters of keys in files may be
upper or lower case; the log tells how they were read.

*Change* says when a running balancer takes over another value: *at once*, when the configuration is read again
([sources.md](sources.md#reading-the-configuration-again)), or with the next restart.

In a properties file a key that is no option is fine where another value refers to it (`${my.host}`). What may
be an address may also be a template of go-sockaddr: `{{ GetPrivateIP }}:9999`, `{{ GetInterfaceIP \"eth0\" }}`,
`{{ GetAllInterfaces | include \"network\" \"10.0.0.0/8\" | attr \"address\" }}`. One that finds nothing is a fault.

Every fault is reported, all at once, with its place and what would be right; `-cfg-check` does that and nothing
else, also reads the files that the configuration names and looks for the folders of those that it would
write, and exits with 0 where all is right, with 1 for bad
settings and 2 for a bad command line. A variable with `FABIO_` that begins like a section of the options and is
none is a fault; others (`FABIO_VERSION`) are named in the log, and what Kubernetes sets for services
(`FABIO_UI_SERVICE_PORT`, `FABIO_UI_PORT=tcp://…`) is left alone. So is, with a word in the log, a variable
without the prefix whose text is none of the option's type (`PROXY_MAXCONN=many`), or no level or layout of the
log (`LOG_LEVEL=verbose`); any other bad value there is a fault. Options marked *not yet* are known but
unsupported: setting one to anything but what this version does anyway is an error, and so for those that are
refused.
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
