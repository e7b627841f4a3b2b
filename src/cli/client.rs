//! Verbs that ask a running agent: how their command lines are read. What they do then is in
//! `client/run.rs`: an `api` call and a printer each.

mod grammar;
mod print;
mod run;

use super::flags::{self, Flag};
use super::{Invocation, Usage};
use crate::config::raw::Environment;
use grammar::{COMMON, GRAMMARS, Grammar};

pub use grammar::usage;
pub use run::{Outcome, run};

/// First words of all verbs.
pub const VERBS: &[&str] = &["members", "catalog", "kv", "services", "maint"];

/// A question or a change, and whom to ask.
#[derive(Debug)]
pub struct Call {
    /// The agent.
    pub agent: api::client::Config,
    /// Whether any server may answer.
    pub stale: bool,
    /// What to ask.
    pub verb: Verb,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `members`
    Members { detailed: bool, status: Option<String> },
    /// `catalog datacenters`
    Datacenters,
    /// `catalog nodes`
    Nodes { detailed: bool, service: Option<String> },
    /// `catalog services`
    Services { tags: bool },
    /// `kv get`
    KvGet {
        key: String,
        scope: Scope,
        detailed: bool,
        base64: bool,
    },
    /// `kv put`
    KvPut {
        key: String,
        value: Source,
        base64: bool,
        flags: u64,
        cas: Option<u64>,
    },
    /// `kv delete`
    KvDelete {
        key: String,
        recurse: bool,
        cas: Option<u64>,
    },
    /// `services register`
    Register(Box<catalog::ServiceSpec>),
    /// `services deregister`
    Deregister { id: String },
    /// `maint`; `enable: None` lists.
    Maint {
        service: Option<String>,
        enable: Option<bool>,
        reason: String,
    },
}

/// What `kv get` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One key.
    One,
    /// All under a prefix.
    Recurse,
    /// The names under a prefix, folded at the separator.
    Keys { separator: String },
}

/// Where `kv put` has its value from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Text(String),
    /// A file.
    File(String),
    /// Standard input.
    Input,
}

/// Reads the command line of a verb.
pub fn parse(program: &str, verb: &str, words: &[String], env: &Environment) -> Result<Invocation, Usage> {
    let path = match words.first() {
        Some(word) if GRAMMARS.iter().all(|grammar| grammar.path != verb) => format!("{verb} {word}"),
        _ => verb.to_owned(),
    };
    let Some(grammar) = GRAMMARS.iter().find(|grammar| grammar.path == path) else {
        let asked = words
            .first()
            .is_some_and(|word| matches!(word.as_str(), "-h" | "-help" | "--help"));
        let text = usage(program, verb);
        return if asked {
            Ok(Invocation::Print(text))
        } else {
            Err(Usage::error(text, 1))
        };
    };
    let words = if path == verb { words } else { &words[1..] };
    let scan = flags::scan(words, &|name| grammar.shape(name));
    if scan.help {
        return Ok(Invocation::Print(usage(program, &path)));
    }
    let mut options = Options {
        flags: scan.flags,
        faults: grammar.faults(scan.bad),
    };
    options.unsupported(grammar);
    let agent = api::client::Config {
        token: options
            .last("token")
            .or_else(|| env.get("CONSUL_HTTP_TOKEN").cloned()),
        datacenter: options.last("datacenter"),
        ..api::client::Config::new(
            options
                .last("http-addr")
                .or_else(|| env.get("CONSUL_HTTP_ADDR").cloned())
                .filter(|address| !address.is_empty())
                .unwrap_or_else(|| "127.0.0.1:8500".to_owned()),
        )
    };
    let stale = options.on("stale");
    let verb = meaning(grammar, &mut options, &scan.rest);
    match verb {
        Some(verb) if options.faults.is_empty() => {
            Ok(Invocation::Client(Box::new(Call { agent, stale, verb })))
        }
        _ => Err(Usage::error(options.faults.join("\n") + "\n", 1)),
    }
}

/// The flags given to a verb, and what is wrong so far.
struct Options {
    flags: Vec<Flag>,
    faults: Vec<String>,
}

impl Options {
    fn all(&self, name: &str) -> Vec<String> {
        self.flags
            .iter()
            .filter(|flag| flag.name == name)
            .map(|flag| flag.value.clone())
            .collect()
    }

    fn last(&self, name: &str) -> Option<String> {
        self.all(name).pop()
    }

    fn on(&mut self, name: &str) -> bool {
        let value = self.last(name).unwrap_or_else(|| "false".to_owned());
        crate::config::values::boolean(&value).unwrap_or_else(|why| {
            self.faults
                .push(format!("invalid boolean value {value:?} for -{name}: {why}"));
            false
        })
    }

    fn number<T: std::str::FromStr>(&mut self, name: &str) -> Option<T> {
        let value = self.last(name)?;
        let number = value.parse().ok();
        if number.is_none() {
            self.faults.push(format!(
                "invalid value {value:?} for flag -{name}: expected a whole number in range"
            ));
        }
        number
    }

    fn unsupported(&mut self, grammar: &Grammar) {
        let later = |flag: &&Flag| {
            [grammar, &COMMON]
                .iter()
                .any(|of| of.later.contains(&flag.name.as_str()))
        };
        let faults = self.flags.iter().filter(later).map(|flag| {
            format!(
                "-{} is known to Consul but not supported by this version of lictor",
                flag.name
            )
        });
        let faults: Vec<String> = faults.collect();
        self.faults.extend(faults);
    }
}

/// What is asked; `None` if it cannot be known, with a fault that says why.
fn meaning(grammar: &Grammar, options: &mut Options, words: &[String]) -> Option<Verb> {
    if words.len() > grammar.words.len() {
        let text = match grammar.words.len() {
            0 => format!("Too many arguments (expected 0, got {})", words.len()),
            count => format!(
                "Too many arguments (expected {count}, got {}); flags go before them",
                words.len()
            ),
        };
        options.faults.push(text);
        return None;
    }
    Some(match grammar.path {
        "members" => Verb::Members {
            detailed: options.on("detailed"),
            status: options.last("status"),
        },
        "catalog datacenters" => Verb::Datacenters,
        "catalog nodes" => Verb::Nodes {
            detailed: options.on("detailed"),
            service: options.last("service"),
        },
        "catalog services" => Verb::Services {
            tags: options.on("tags"),
        },
        "services register" => Verb::Register(Box::new(service(options)?)),
        "services deregister" => Verb::Deregister {
            id: required(options, "id")?,
        },
        "maint" => maintenance(options)?,
        path => key_value(path, options, words)?,
    })
}

fn key_value(path: &str, options: &mut Options, words: &[String]) -> Option<Verb> {
    // The first slash means nothing, as in Consul.
    let key = words
        .first()
        .map(|key| key.strip_prefix('/').unwrap_or(key).to_owned());
    let scope = match (options.on("keys"), options.on("recurse")) {
        (true, _) => Scope::Keys {
            separator: options.last("separator").unwrap_or_else(|| "/".to_owned()),
        },
        (false, true) => Scope::Recurse,
        (false, false) => Scope::One,
    };
    let key = match key {
        Some(key) if !key.is_empty() || scope != Scope::One => key,
        None if path == "kv get" && scope != Scope::One => String::new(),
        _ => {
            options.faults.push("Error! Missing KEY argument".to_owned());
            return None;
        }
    };
    let index = options.number("modify-index");
    let cas = options.on("cas").then(|| index.unwrap_or(0));
    Some(match path {
        "kv get" => Verb::KvGet {
            key,
            scope,
            detailed: options.on("detailed"),
            base64: options.on("base64"),
        },
        "kv delete" => {
            if cas == Some(0) {
                options
                    .faults
                    .push("Must specify -modify-index with -cas!".to_owned());
            }
            Verb::KvDelete {
                key,
                recurse: scope == Scope::Recurse,
                cas,
            }
        }
        _ => {
            let value = match words.get(1).map(String::as_str) {
                None => Source::Text(String::new()),
                Some("-") => Source::Input,
                Some(text) => match text.strip_prefix('@') {
                    Some(path) => Source::File(path.to_owned()),
                    None => Source::Text(text.to_owned()),
                },
            };
            let flags = options.number("flags").unwrap_or(0);
            Verb::KvPut {
                key,
                value,
                base64: options.on("base64"),
                flags,
                cas,
            }
        }
    })
}

fn service(options: &mut Options) -> Option<catalog::ServiceSpec> {
    let name = required(options, "name")?;
    let mut meta = std::collections::BTreeMap::new();
    for pair in options.all("meta") {
        match pair.split_once('=') {
            Some((key, value)) => drop(meta.insert(key.to_owned(), value.to_owned())),
            None => options.faults.push(format!(
                "invalid value {pair:?} for flag -meta: expected key=value"
            )),
        }
    }
    Some(catalog::ServiceSpec {
        id: options.last("id").unwrap_or_else(|| name.clone()).into(),
        name: name.into(),
        tags: options.all("tag"),
        meta,
        port: options.number("port").unwrap_or(0),
        address: options.last("address").unwrap_or_default(),
        ..catalog::ServiceSpec::default()
    })
}

fn required(options: &mut Options, name: &str) -> Option<String> {
    let value = options.last(name).filter(|value| !value.is_empty());
    if value.is_none() {
        options.faults.push(format!("-{name} is required"));
    }
    value
}

fn maintenance(options: &mut Options) -> Option<Verb> {
    let enable = match (options.on("enable"), options.on("disable")) {
        (true, true) => {
            options
                .faults
                .push("Only one of -enable or -disable may be provided".to_owned());
            return None;
        }
        (true, false) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    };
    let (service, reason) = (options.last("service"), options.last("reason"));
    if enable.is_none() && (service.is_some() || reason.is_some()) {
        options.faults.push("Requires -enable or -disable".to_owned());
        return None;
    }
    if enable == Some(false) && reason.is_some() {
        options
            .faults
            .push("Reason may only be provided with -enable".to_owned());
        return None;
    }
    Some(Verb::Maint {
        service,
        enable,
        reason: reason.unwrap_or_default(),
    })
}
