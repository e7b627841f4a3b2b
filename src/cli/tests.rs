//! Transcripts: command lines in; faults, or the values that differ from the defaults, and the
//! exit code out. `REWRITE=1` writes them anew.
//!
//! | directive | |
//! | --- | --- |
//! | `file` | a path, then its content, for what follows; `as=latin1` and `as=marked` (UTF-8 with a mark in front) |
//! | `env` | `NAME=value` lines, replacing those before |
//! | `run` | command lines, each answered in turn |
//! | `shown` | command lines, each answered by what `/api/config` says beyond the defaults |
//! | `head lines=N` | the same, but only the first lines of each answer |

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::io;

use proptest::prelude::*;

use super::{Invocation, Stream, Usage, parse};
use crate::config::machine::{Fetched, Machine};
use crate::config::options::{self, Command, Kind, Row};
use crate::config::raw::Environment;
use crate::config::sockaddr::Interface;
use crate::config::{Agent, Containers, Lb, Registrator};

#[derive(Default)]
struct Desk {
    files: BTreeMap<String, Vec<u8>>,
    env: Environment,
}

impl Machine for Desk {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.files
            .get(path)
            .cloned()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let directory = format!("{}/", directory.trim_end_matches('/'));
        let inside = |path: &String| path.strip_prefix(&directory).map(str::to_owned);
        let names: Vec<String> = self.files.keys().rev().filter_map(inside).collect();
        if names.is_empty() {
            Err(io::Error::new(io::ErrorKind::NotFound, "no such directory"))
        } else {
            Ok(names)
        }
    }

    /// Files whose path is a URL, the first line of each being status and content type.
    fn fetch(&self, url: &str) -> io::Result<Fetched> {
        let answer = self
            .files
            .get(url)
            .ok_or_else(|| io::Error::other("connection refused"))?;
        let (head, body) = answer.split_at(answer.iter().position(|byte| *byte == b'\n').unwrap() + 1);
        let head = str::from_utf8(head).unwrap().trim_end();
        let (status, content_type) = head.split_once(' ').unwrap_or((head, ""));
        Ok(Fetched {
            status: status.parse().unwrap(),
            content_type: content_type.to_owned(),
            body: body.to_vec(),
        })
    }

    fn interfaces(&self) -> Vec<Interface> {
        let one = |name: &str, ip: &str, bits| Interface {
            name: name.to_owned(),
            ip: ip.parse().unwrap(),
            bits,
            up: true,
            point_to_point: false,
            default: name == "eth0",
        };
        vec![
            one("lo", "127.0.0.1", 8),
            one("eth1", "10.1.0.7", 8),
            one("eth0", "192.168.1.20", 24),
            one("eth0", "198.41.0.4", 24),
        ]
    }
}

impl Desk {
    fn answer(&self, line: &str) -> String {
        match parse(&words(line), &self.env, self) {
            Ok(Invocation::Print(text)) => text + "exit 0\n",
            Ok(invocation) => differences(&invocation),
            Err(Usage { text, code, stream }) => {
                let stream = if stream == Stream::Out { " (stdout)" } else { "" };
                format!("{text}exit {code}{stream}\n")
            }
        }
    }
}

impl Desk {
    /// The lines of the configuration as it is shown that differ from the shortest command line's.
    fn shown(&self, line: &str) -> String {
        let of = |invocation: Invocation| match invocation {
            Invocation::Lb(lb) => lb.lb.shown,
            Invocation::Agent(agent) => agent.lb.unwrap().shown,
            other => panic!("{line}: {other:?}"),
        };
        let lines = |value: &serde_json::Value| {
            let mut lines = Vec::new();
            leaves("", value, &mut lines);
            lines
        };
        let plain = lines(&of(parse(&words("fabio"), &Environment::new(), self).unwrap()));
        let shown = lines(&of(parse(&words(line), &self.env, self).unwrap()));
        let mut text = String::new();
        for line in shown.iter().filter(|line| !plain.contains(line)) {
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

/// Every leaf, with its path.
fn leaves(path: &str, value: &serde_json::Value, lines: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) if !fields.is_empty() => fields
            .iter()
            .for_each(|(name, value)| leaves(&format!("{path}.{name}"), value, lines)),
        serde_json::Value::Array(members) if members.iter().any(serde_json::Value::is_object) => members
            .iter()
            .enumerate()
            .for_each(|(at, value)| leaves(&format!("{path}[{at}]"), value, lines)),
        leaf => lines.push(format!("{path} = {leaf}")),
    }
}

#[test]
fn command_lines_mean_what_the_transcripts_say() {
    datadriven::walk("src/cli/golden", |file| {
        let mut desk = Desk::default();
        file.run(|case| -> String {
            match case.directive.as_str() {
                "file" => {
                    let encoding = case.try_take_arg::<String>("as").unwrap();
                    let (path, content) = case.input.split_once('\n').unwrap();
                    let content = match encoding.as_deref() {
                        None => content.as_bytes().to_vec(),
                        Some("marked") => format!("\u{feff}{content}").into_bytes(),
                        Some("latin1") => latin(content),
                        Some(other) => panic!("unknown encoding {other}"),
                    };
                    desk.files.insert(path.to_owned(), content);
                    String::new()
                }
                "env" => {
                    let pairs = case.input.lines().filter_map(|line| line.split_once('='));
                    desk.env = pairs
                        .map(|(name, value)| (name.to_owned(), value.to_owned()))
                        .collect();
                    String::new()
                }
                "run" => case
                    .input
                    .lines()
                    .map(|line| desk.answer(line))
                    .collect::<Vec<_>>()
                    .join("\n"),
                "shown" => case
                    .input
                    .lines()
                    .map(|line| desk.shown(line))
                    .collect::<Vec<_>>()
                    .join("\n"),
                "head" => {
                    let count = case.take_arg("lines").unwrap();
                    let head = |text: String| {
                        text.lines()
                            .take(count)
                            .fold(String::new(), |all, line| all + line + "\n")
                    };
                    case.input
                        .lines()
                        .map(|line| head(desk.answer(line)))
                        .collect::<Vec<_>>()
                        .join("\n")
                }
                other => panic!("unknown directive {other}"),
            }
        });
    });
}

fn latin(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect()
}

/// As a shell would: blanks separate, single and double quotes hold together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What an invocation says beyond the shortest one of its kind.
fn differences(invocation: &Invocation) -> String {
    let shortest = match invocation {
        Invocation::Agent(_) => "lictor agent -dev",
        Invocation::Lb(_) => "lictor lb",
        Invocation::Registrator(_) | Invocation::Explain(..) => "lictor registrator consul:",
        Invocation::Client(call) => return format!("{call:?}\n"),
        Invocation::Print(text) => return text.clone(),
    };
    let plain = parse(&words(shortest), &Environment::new(), &Desk::default()).unwrap();
    let (kind, defaults) = (shortest.split(' ').nth(1).unwrap(), values(&plain));
    let mut text = format!("{kind}\n");
    for line in values(invocation)
        .into_iter()
        .filter(|line| !defaults.contains(line))
    {
        let _ = writeln!(text, "  {line}");
    }
    text
}

proptest! {
    /// Every option with any value: read or refused, in one go, and the same each time.
    #[test]
    fn no_command_line_of_known_options_panics(
        picks in prop::collection::vec((0..1000usize, value()), 0..6),
        agent in any::<bool>(),
    ) {
        let command = if agent { Command::Agent } else { Command::Lb };
        let rows: Vec<&Row> = options::of(command).filter(|row| row.kind != Kind::Tree).collect();
        let mut line = vec!["lictor".to_owned(), command.name().to_owned()];
        for (pick, value) in picks {
            line.push(format!("-{}={value}", rows[pick % rows.len()].flag(command)));
        }
        let answer = |line: &[String]| match parse(line, &Environment::new(), &Desk::default()) {
            Ok(invocation) => values(&invocation).join("\n"),
            Err(usage) => usage.text,
        };
        prop_assert_eq!(answer(&line), answer(&line));
    }
}

/// What people write, and what they should not.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,16}",
        "[0-9]{0,20}(s|ms|h|m|k|G)?",
        "(:[0-9]{1,6}|[a-z.]{1,8}:80)(;(proto|cs|rt|tlsmin|pxyproto|refresh|x)=[a-z0-9+-]{0,8}){0,3}",
        "(cs|name)=[a-z]{0,3};type=[a-z-]{0,9};(cert|file|endpoint)=[!-~]{0,12}",
        "\\{\\{ ?(GetPrivateIP|GetAllInterfaces)( \\| [a-z]{1,7} \"[a-z0-9/.]{0,8}\"){0,2} ?\\}?\\}?",
        "https?://[!-~]{0,12}",
    ]
}

macro_rules! fields {
    ($lines:ident, $prefix:literal, $from:expr, $($field:ident)*) => {
        $($lines.push(line(concat!($prefix, stringify!($field)), &$from.$field));)*
    };
}

fn line(name: &str, value: &dyn Debug) -> String {
    format!("{name} = {value:?}")
}

fn values(invocation: &Invocation) -> Vec<String> {
    let mut lines = Vec::new();
    match invocation {
        Invocation::Agent(agent) => {
            let agent: &Agent = agent;
            fields!(lines, "", agent, node node_id datacenter domain client advertise http_port dns_port
                http_asked dns_asked log_level dev overrides register notes);
            match &agent.lb {
                Some(lb) => balancer(&mut lines, lb),
                None => lines.push("lb off".to_owned()),
            }
            match &agent.registrator {
                Some(section) => containers(&mut lines, section),
                None => lines.push("registrator off".to_owned()),
            }
        }
        Invocation::Lb(lb) => {
            let lb: &Lb = lb;
            fields!(lines, "", lb, log_level notes);
            fields!(lines, "registry.", lb.registry, backend timeout retry fixed file custom);
            fields!(lines, "consul.", lb.registry.consul, addr tls token namespace overrides monitors poll consistency
                register);
            balancer(&mut lines, &lb.lb);
        }
        Invocation::Registrator(alone) => {
            let alone: &Registrator = alone;
            alone_fields(&mut lines, alone);
        }
        Invocation::Explain(alone, container) => {
            lines.push(line("explain", container));
            alone_fields(&mut lines, alone);
        }
        Invocation::Client(_) | Invocation::Print(_) => {}
    }
    lines
}

fn alone_fields(lines: &mut Vec<String>, alone: &Registrator) {
    fields!(lines, "", alone, uris retry_attempts retry_interval dry_run http log_level log_format format notes);
    containers(lines, &alone.registrator);
}

fn balancer(lines: &mut Vec<String>, lb: &lb::Config) {
    fields!(lines, "lb.", lb, listeners certs auth ui strategy matcher no_route_status dial_timeout glob_disabled headers
        gzip edge retries outliers keep_alive grpc_shutdown response_header_timeout idle_conn_timeout
        max_idle_per_target shutdown_wait grace tag_prefix accepted checks_required require_check access_log routes_log
        metrics traces trusted host_routes domains node datacenter workers);
}

fn containers(lines: &mut Vec<String>, section: &Containers) {
    fields!(lines, "registrator.", section, ip internal explicit use_ip_from_label tags
        deregister_on_success_only cleanup resync ttl ttl_refresh hostname docker also
        filter networks ipv6 compose_names owner drain grace at_exit);
}
