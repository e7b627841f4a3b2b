//! fabio's route commands: `route add`, `route del`, `route weight`, one a line. Pure.
//!
//! People write them, into a key-value store or a file. A line that cannot be meant is left out and named, by its
//! number and in fabio's words, and harms only itself; there the whole text is refused. Lines may be of any length.

mod words;

use std::sync::Arc;

use super::Skipped;
use super::alike::Alike;
use super::options::read::{self as options, BadOption, Read};
use super::options::{Options, Scheme};
use super::part::Part;
use super::route::{Candidate, Destination};
use super::tag::{self, BadTag, Source, shorten};
use crate::authority;
use crate::config::Config;
use words::Words;

/// One line, as meant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    /// A further target of the route of this source.
    Add(Source, Candidate),
    /// These targets are none any more.
    Del(Box<Filter>),
    /// These targets share this weight; and the line, for where there are none.
    Weight(Box<Filter>, f64, Box<str>),
}

/// Which targets are meant: those of which all that is given is true.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Filter {
    service: Option<Arc<str>>,
    /// All that one way of writing may mean; empty: whatever source.
    sources: Vec<Source>,
    dst: Option<Box<str>>,
    tags: Box<[Box<str>]>,
}

/// What a text says.
#[derive(Debug, Default)]
pub(super) struct Commands {
    pub commands: Vec<Command>,
    /// Lines that are no command.
    pub skipped: Vec<Skipped>,
    /// Lines with options that have no effect.
    pub notes: Vec<Skipped>,
}

/// Why a line is no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum BadCommand {
    #[error("syntax error: 'route' expected")]
    Route,
    #[error("syntax error: 'route {0}' invalid: it is {1}")]
    Form(&'static str, &'static str),
    #[error("syntax error: weight value invalid")]
    Weight,
    #[error("it contains the control character {0}")]
    Control(String),
    #[error(transparent)]
    Source(#[from] BadTag),
    #[error(transparent)]
    Option(#[from] BadOption),
    #[error("'{0}' is no destination: it is <scheme>://<host>:<port>, with http, https, tcp, grpc or grpcs")]
    Destination(String),
}

const ADD: BadCommand = BadCommand::Form(
    "add",
    "route add <service> <source> <destination>[ weight <w>][ tags \"<t>,…\"][ opts \"<k>=<v> …\"]",
);
const DEL: BadCommand = BadCommand::Form(
    "del",
    "route del <service>[ <source>[ <destination>]] or route del [<service> ]tags \"<t>,…\"",
);
const WEIGHT: BadCommand = BadCommand::Form(
    "weight",
    "route weight <service> <source> weight <w>[ tags \"<t>,…\"] or route weight <source> weight <w> tags \"<t>,…\"",
);

impl Commands {
    /// Reads a text.
    pub(super) fn parse(config: &Config, text: &str) -> Self {
        let (mut read, mut alike) = (Self::default(), Alike::default());
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || line.starts_with("//") {
                continue;
            }
            let remark = |reason: &dyn ToString| Skipped {
                service: Arc::default(),
                instance: Arc::default(),
                tag: shorten(line),
                reason: format!("line {}: {}", number + 1, reason.to_string()),
            };
            match command(config, line, &mut alike) {
                Ok((command, notes)) => {
                    read.commands.push(command);
                    read.notes.extend(notes.iter().map(|note| remark(note)));
                }
                Err(bad) => read.skipped.push(remark(&bad)),
            }
        }
        read.commands.shrink_to_fit();
        read
    }
}

fn command(config: &Config, line: &str, alike: &mut Alike) -> Result<(Command, Vec<String>), BadCommand> {
    if let Some(control) = line.chars().find(|c| c.is_control() && *c != '\t') {
        return Err(BadCommand::Control(control.escape_default().to_string()));
    }
    let mut words = Words::of(line);
    if !words.keyword("route") {
        return Err(BadCommand::Route);
    }
    match words.word() {
        Some("add") => add(config, &mut words, alike),
        Some("del") => Ok((Command::Del(Box::new(del(config, &mut words)?)), Vec::new())),
        Some("weight") => {
            let (filter, weight) = weight(config, &mut words)?;
            let line = shorten(line).into();
            Ok((Command::Weight(Box::new(filter), weight, line), Vec::new()))
        }
        _ => Err(BadCommand::Route),
    }
}

fn add(
    config: &Config,
    words: &mut Words<'_>,
    alike: &mut Alike,
) -> Result<(Command, Vec<String>), BadCommand> {
    let (Some(service), Some(src), Some(dst)) = (words.name(), words.word(), words.word()) else {
        return Err(ADD);
    };
    let weight = match words.keyword("weight") {
        true => weight_value(words.word().ok_or(ADD)?)?,
        false => 0.0,
    };
    let tags = tags(words, ADD)?.unwrap_or_default();
    let opts = match words.keyword("opts") {
        true => words.quoted().ok_or(ADD)?,
        false => String::new(),
    };
    if !words.at_end() {
        return Err(ADD);
    }
    let opts = options::pairs(opts.split_whitespace());
    let Read {
        options,
        proto,
        mut notes,
        ..
    } = options::read(&opts, Some(dst))?;
    if opts.iter().any(|(key, _)| *key == "weight") {
        notes.push("weight= has no effect among opts, it is a word of its own before tags".to_owned());
    }
    let (addr, to, said) = destination(dst, options.redirect.is_some())?;
    let scheme = scheme(said, proto, &mut notes);
    let mut source = source(config, src, scheme == Scheme::Tcp)?;
    if let Source::Http { path, .. } = &mut source {
        *path = alike.text(path);
    }
    let is_http = matches!(source, Source::Http { .. });
    if !is_http && options.redirect.is_some() {
        return Err(BadTag::TcpRedirect.into());
    }
    let options = Options {
        scheme: if is_http { scheme } else { Scheme::Tcp },
        weight,
        tags,
        ..options
    };
    let candidate = Candidate {
        part: Arc::new(Part::of_command(&service, alike.text(&addr))),
        options: alike.options(options),
        weight,
        to: Some(alike.destination(to)),
    };
    Ok((Command::Add(source, candidate), notes))
}

fn del(config: &Config, words: &mut Words<'_>) -> Result<Filter, BadCommand> {
    let mut filter = Filter::default();
    if let Some(tags) = tags(words, DEL)? {
        filter.tags = tags;
    } else {
        filter.service = Some(words.name().ok_or(DEL)?.into());
        if let Some(tags) = tags(words, DEL)? {
            filter.tags = tags;
        } else if let Some(src) = words.word() {
            filter.sources = sources(config, src)?;
            filter.dst = words.word().map(Into::into);
        }
    }
    if words.at_end() { Ok(filter) } else { Err(DEL) }
}

fn weight(config: &Config, words: &mut Words<'_>) -> Result<(Filter, f64), BadCommand> {
    let first = words.name().ok_or(WEIGHT)?;
    let (service, src) = match words.keyword("weight") {
        true => (None, first),
        false => {
            let src = words.word().ok_or(WEIGHT)?;
            if !words.keyword("weight") {
                return Err(WEIGHT);
            }
            (Some(first.into()), src.into())
        }
    };
    let weight = weight_value(words.word().ok_or(WEIGHT)?)?;
    let tags = tags(words, WEIGHT)?;
    if !words.at_end() || (service.is_none() && tags.is_none()) {
        return Err(WEIGHT);
    }
    let filter = Filter {
        service,
        sources: sources(config, &src)?,
        dst: None,
        tags: tags.unwrap_or_default(),
    };
    Ok((filter, weight))
}

/// `tags "a,b"`, where that is next. No tag at all would mean every target, which nobody writes so.
fn tags(words: &mut Words<'_>, form: BadCommand) -> Result<Option<Box<[Box<str>]>>, BadCommand> {
    let before = words.clone();
    if !words.keyword("tags") {
        return Ok(None);
    }
    let Some(text) = words.quoted() else {
        // A service may be called so.
        *words = before;
        return Ok(None);
    };
    let tags = text.split(',').map(str::trim).filter(|tag| !tag.is_empty());
    let tags: Box<[Box<str>]> = tags.map(Into::into).collect();
    if tags.is_empty() {
        Err(form)
    } else {
        Ok(Some(tags))
    }
}

fn weight_value(text: &str) -> Result<f64, BadCommand> {
    options::weight(text).map_err(|_| BadCommand::Weight)
}

fn parted(src: &str) -> (&str, Option<&str>) {
    match src.find('/') {
        Some(slash) => (&src[..slash], Some(&src[slash..])),
        None => (src, None),
    }
}

fn source(config: &Config, src: &str, tcp: bool) -> Result<Source, BadTag> {
    let (host, path) = parted(src);
    tag::source(config, host, path, tcp)
}

/// All that may stand in the table under this source: whether targets are spoken to by bytes is not said here.
fn sources(config: &Config, src: &str) -> Result<Vec<Source>, BadTag> {
    let http = source(config, src, false);
    let mut sources: Vec<Source> = source(config, src, true).into_iter().collect();
    match http {
        Ok(http) if !sources.contains(&http) => sources.push(http),
        Ok(_) => {}
        Err(bad) if sources.is_empty() => return Err(bad),
        Err(_) => {}
    }
    Ok(sources)
}

/// Address, all there is to know, and scheme of a destination. A redirect leads to a text of any form.
fn destination(dst: &str, redirects: bool) -> Result<(String, Destination, Scheme), BadCommand> {
    let bad = || BadCommand::Destination(shorten(dst));
    let (scheme, rest) = match dst.split_once("://") {
        Some(parts) => parts,
        None if redirects => ("http", dst),
        None => return Err(bad()),
    };
    let scheme = match (scheme.to_ascii_lowercase().as_str(), redirects) {
        ("http" | "ws", _) | (_, true) => Scheme::Http,
        ("https" | "wss", _) => Scheme::Https,
        ("tcp", _) => Scheme::Tcp,
        ("grpc" | "h2c", _) => Scheme::H2c,
        ("grpcs" | "h2", _) => Scheme::H2,
        _ => return Err(bad()),
    };
    let rest = rest.split('#').next().unwrap_or(rest);
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    let (name, port) = authority::split(authority);
    let addr = match port {
        _ if redirects => authority.to_owned(),
        Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => authority.to_owned(),
        None if scheme == Scheme::Tcp => return Err(bad()),
        None => format!(
            "{name}:{}",
            if scheme.is_tls() {
                super::HTTPS_PORT
            } else {
                super::HTTP_PORT
            }
        ),
        Some(_) => return Err(bad()),
    };
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let outlandish =
        |c: char| c.is_control() || matches!(c, '@' | '"' | '<' | '>' | '\\' | '%' | '[' | ']' | ':' | '$');
    let is_name = !name.is_empty() && !name.contains(outlandish);
    if !redirects && !is_name && literal.is_none_or(|ip| ip.parse::<std::net::Ipv6Addr>().is_err()) {
        return Err(bad());
    }
    let to = Destination {
        url: dst.into(),
        query: query
            .filter(|query| !query.is_empty() && !redirects)
            .map(Into::into),
    };
    Ok((addr, to, scheme))
}

/// The destination decides; `proto=` may say more, but not whether there is TLS.
fn scheme(said: Scheme, proto: Option<Scheme>, notes: &mut Vec<String>) -> Scheme {
    match proto {
        None => said,
        Some(Scheme::Tcp) => Scheme::Tcp,
        Some(proto) if said != Scheme::Tcp && proto.is_tls() == said.is_tls() => {
            if said.is_h2() {
                said
            } else {
                proto
            }
        }
        Some(_) => {
            notes.push("proto= is not what the destination says, which decides".to_owned());
            said
        }
    }
}

impl Filter {
    /// The sources that it is about; empty: all.
    pub(super) fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The service that it is about; `None`: all.
    pub(super) fn service(&self) -> Option<&Arc<str>> {
        self.service.as_ref()
    }

    /// Whether a target is meant whose source is.
    pub(super) fn takes(&self, candidate: &Candidate) -> bool {
        self.service
            .as_ref()
            .is_none_or(|service| *service == candidate.part.service)
            && self.tags.iter().all(|tag| candidate.options.tags.contains(tag))
            && self.dst.as_ref().is_none_or(|dst| candidate.leads_to(dst))
    }
}

#[cfg(test)]
mod tests;
