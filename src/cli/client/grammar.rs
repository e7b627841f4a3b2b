//! One row per verb that asks an agent: its words, its flags, and those of Consul's that are not
//! here yet. What they mean is in `client.rs`.

use std::fmt::Write as _;

use crate::cli::flags::{Bad, Shape};
use crate::config::options;

/// How one verb is called.
pub struct Grammar {
    /// Its words.
    pub path: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Flags that stand alone.
    pub switches: &'static [&'static str],
    /// Flags with a value.
    pub values: &'static [&'static str],
    /// In Consul, not here.
    pub later: &'static [&'static str],
    /// What follows the flags, at most.
    pub words: &'static [&'static str],
}

/// What every verb takes.
pub const COMMON: Grammar = Grammar {
    path: "",
    help: "",
    switches: &["stale"],
    values: &["http-addr", "token", "datacenter"],
    later: &[
        "token-file",
        "ca-file",
        "ca-path",
        "client-cert",
        "client-key",
        "tls-server-name",
        "namespace",
    ],
    words: &[],
};

/// One row a verb.
pub const GRAMMARS: &[Grammar] = &[
    Grammar {
        path: "members",
        help: "Lists who is in the cluster; -status takes names separated by |.",
        switches: &["detailed"],
        values: &["status"],
        later: &["wan", "segment", "filter"],
        words: &[],
    },
    Grammar {
        path: "catalog datacenters",
        help: "Lists the datacenters.",
        switches: &[],
        values: &[],
        later: &[],
        words: &[],
    },
    Grammar {
        path: "catalog nodes",
        help: "Lists the nodes, or those with a service.",
        switches: &["detailed"],
        values: &["service"],
        later: &["near", "node-meta", "filter"],
        words: &[],
    },
    Grammar {
        path: "catalog services",
        help: "Lists the names of services, with -tags their tags.",
        switches: &["tags"],
        values: &[],
        later: &["node", "node-meta"],
        words: &[],
    },
    Grammar {
        path: "kv get",
        help: "Prints a value, all under a prefix (-recurse), or their names (-keys).",
        switches: &["recurse", "keys", "detailed", "base64"],
        values: &["separator"],
        later: &[],
        words: &["KEY"],
    },
    Grammar {
        path: "kv put",
        help: "Writes a value: text, @file, or - for standard input.",
        switches: &["cas", "base64"],
        values: &["modify-index", "flags"],
        later: &["acquire", "release", "session"],
        words: &["KEY", "VALUE"],
    },
    Grammar {
        path: "kv delete",
        help: "Removes a key, or all under a prefix (-recurse).",
        switches: &["recurse", "cas"],
        values: &["modify-index"],
        later: &[],
        words: &["KEY"],
    },
    Grammar {
        path: "services register",
        help: "Registers a service with the agent; -tag and -meta may be repeated.",
        switches: &[],
        values: &["name", "id", "address", "port", "tag", "meta"],
        later: &["kind", "tagged-address"],
        words: &[],
    },
    Grammar {
        path: "services deregister",
        help: "Removes a service from the agent.",
        switches: &[],
        values: &["id"],
        later: &[],
        words: &[],
    },
    Grammar {
        path: "maint",
        help: "Switches maintenance of the node or a service; without options, lists it.",
        switches: &["enable", "disable"],
        values: &["service", "reason"],
        later: &[],
        words: &[],
    },
];

impl Grammar {
    /// How Go would read a flag of this name.
    pub fn shape(&self, name: &str) -> Shape {
        let takes = |names: fn(&Grammar) -> &'static [&'static str]| {
            names(self).contains(&name) || names(&COMMON).contains(&name)
        };
        // `-wan` is the one switch among what is not here yet.
        if takes(|grammar| grammar.switches) || name == "wan" && self.later.contains(&name) {
            Shape::Bool
        } else if takes(|grammar| grammar.values) || takes(|grammar| grammar.later) {
            Shape::Valued
        } else {
            Shape::Unknown
        }
    }

    /// Bad flags, in words.
    pub fn faults(&self, bad: Vec<Bad>) -> Vec<String> {
        let known = || {
            [self, &COMMON]
                .into_iter()
                .flat_map(|of| of.switches.iter().chain(of.values))
        };
        bad.into_iter()
            .map(|bad| match bad {
                Bad::Syntax(text) => text,
                Bad::Unknown(name) => {
                    let near = options::nearest(&name, known().map(|known| (*known, *known)));
                    let hint = near
                        .map(|near| format!("; did you mean -{near}?"))
                        .unwrap_or_default();
                    format!("flag provided but not defined: -{name}{hint}")
                }
            })
            .collect()
    }
}

/// How a verb, or each verb of a group, is called.
pub fn usage(program: &str, verb: &str) -> String {
    let mut text = String::new();
    let members = GRAMMARS.iter().filter(|grammar| {
        grammar.path == verb
            || grammar
                .path
                .strip_prefix(verb)
                .is_some_and(|rest| rest.starts_with(' '))
    });
    for grammar in members {
        let words: String = grammar.words.iter().map(|word| format!(" {word}")).collect();
        let _ = write!(
            text,
            "Usage: {program} {} [options]{words}\n  {}\n ",
            grammar.path, grammar.help
        );
        let switches = grammar.switches.iter().map(|name| format!(" -{name}"));
        text.extend(switches.chain(grammar.values.iter().map(|name| format!(" -{name}=…"))));
        text.push('\n');
    }
    text.push_str("All take -http-addr=…, -token=…, -datacenter=… and -stale.\n");
    text
}
