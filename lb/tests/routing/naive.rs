//! The rules of routing written down naively: one list of targets, looked through from end to end. Shares no code with
//! the table; what it knows is generated as values, and written as tags and commands for the table to read.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use lb::config::Matcher;

/// A source and whether it is for connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// As written, upper case too; with a port or not.
    pub host: &'static str,
    pub path: &'static str,
    pub tcp: bool,
}

impl Source {
    fn text(&self) -> String {
        format!("{}{}", self.host, self.path)
    }
}

/// An instance and its tags.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub name: &'static str,
    pub number: u8,
    pub fit: bool,
    pub tags: Vec<&'static str>,
    pub routes: Vec<(Source, Option<f64>)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Command {
    Add(Target),
    Del(Filter),
    Weight(Filter, f64),
    /// A line that is none.
    Nonsense(&'static str),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub service: Option<&'static str>,
    pub source: Option<Source>,
    pub addr: Option<String>,
    pub tags: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub source: Source,
    pub service: &'static str,
    pub addr: String,
    pub weight: f64,
    pub tags: Vec<&'static str>,
    pub fit: bool,
}

/// The whole table.
pub(crate) struct Naive {
    pub matcher: Matcher,
    pub globs: bool,
    targets: Vec<Target>,
}

/// What a lookup finds: source, and each target with its share in thousandths.
pub(crate) type Found = Option<(String, Vec<(String, u64)>)>;

pub(crate) fn addr(number: u8) -> String {
    format!("10.0.0.{number}:80")
}

/// The services as the table's tests read them.
pub(crate) fn picture_text(services: &[Service]) -> String {
    let mut out = String::new();
    for service in services {
        let check = if service.fit { "passing" } else { "critical" };
        writeln!(out, "{} {} check={check}", service.name, addr(service.number)).unwrap();
        service
            .tags
            .iter()
            .for_each(|tag| writeln!(out, "  {tag}").unwrap());
        for (source, weight) in &service.routes {
            write!(out, "  urlprefix-{}", source.text()).unwrap();
            if source.tcp {
                out.push_str(" proto=tcp");
            }
            weight
                .iter()
                .for_each(|weight| write!(out, " weight={weight}").unwrap());
            out.push('\n');
        }
    }
    out
}

pub(crate) fn commands_text(commands: &[Command]) -> String {
    let tags = |tags: &[&str]| match tags {
        [] => String::new(),
        tags => format!(" tags \"{}\"", tags.join(",")),
    };
    let line = |command: &Command| match command {
        Command::Nonsense(line) => (*line).to_owned(),
        Command::Add(target) => {
            let scheme = if target.source.tcp { "tcp" } else { "http" };
            let weight = match target.weight {
                0.0 => String::new(),
                weight => format!(" weight {weight}"),
            };
            let (service, source, addr) = (target.service, target.source.text(), &target.addr);
            format!(
                "route add {service} {source} {scheme}://{addr}{weight}{}",
                tags(&target.tags)
            )
        }
        Command::Del(filter) => {
            let mut line = "route del".to_owned();
            let source = filter.source.as_ref().map(Source::text);
            let words = [filter.service.map(str::to_owned), source, filter.dst()];
            words
                .into_iter()
                .flatten()
                .for_each(|word| write!(line, " {word}").unwrap());
            line + &tags(&filter.tags)
        }
        Command::Weight(filter, weight) => {
            let service = filter
                .service
                .map(|service| format!(" {service}"))
                .unwrap_or_default();
            let source = filter.source.as_ref().map(Source::text).unwrap_or_default();
            format!(
                "route weight{service} {source} weight {weight}{}",
                tags(&filter.tags)
            )
        }
    };
    commands.iter().map(|command| line(command) + "\n").collect()
}

impl Filter {
    fn dst(&self) -> Option<String> {
        self.addr.as_ref().map(|addr| format!("http://{addr}/"))
    }

    fn takes(&self, target: &Target, matcher: Matcher) -> bool {
        let source = |own: &Source, other: &Source| {
            host(own) == host(other) && path(own, matcher) == path(other, matcher)
        };
        self.service.is_none_or(|service| service == target.service)
            && self.source.as_ref().is_none_or(|own| source(own, &target.source))
            && self
                .addr
                .as_ref()
                .is_none_or(|addr| *addr == target.addr && !target.source.tcp)
            && self.tags.iter().all(|tag| target.tags.contains(tag))
    }
}

fn host(source: &Source) -> String {
    source.host.to_lowercase()
}

fn path(source: &Source, matcher: Matcher) -> String {
    let path = if source.path.is_empty() && !source.host.starts_with(':') {
        "/"
    } else {
        source.path
    };
    match matcher {
        Matcher::IPrefix => path.to_lowercase(),
        Matcher::Prefix | Matcher::Glob => path.to_owned(),
    }
}

impl Naive {
    pub(crate) fn new(matcher: Matcher, globs: bool, services: &[Service], commands: &[Command]) -> Self {
        let mut naive = Self {
            matcher,
            globs,
            targets: Vec::new(),
        };
        for service in services {
            for (source, weight) in &service.routes {
                naive.add(Target {
                    source: source.clone(),
                    service: service.name,
                    addr: addr(service.number),
                    weight: weight.unwrap_or(0.0),
                    tags: service.tags.clone(),
                    fit: service.fit,
                });
            }
        }
        for command in commands {
            match command {
                Command::Nonsense(_) => {}
                Command::Add(target) => naive.add(target.clone()),
                Command::Del(filter) => naive.targets.retain(|target| !filter.takes(target, matcher)),
                // Requests and connections take different routes, each of which has its own share.
                Command::Weight(filter, weight) => [false, true].into_iter().for_each(|tcp| {
                    let meant = |target: &&mut Target| {
                        target.fit && target.source.tcp == tcp && filter.takes(target, matcher)
                    };
                    let count = naive.targets.iter_mut().filter(meant).count();
                    let meant = naive.targets.iter_mut().filter(meant);
                    meant.for_each(|target| target.weight = weight / count as f64);
                }),
            }
        }
        naive
    }

    fn add(&mut self, new: Target) {
        let matcher = self.matcher;
        let same = |known: &Target| {
            known.fit
                && new.fit
                && host(&known.source) == host(&new.source)
                && path(&known.source, matcher) == path(&new.source, matcher)
                && known.source.tcp == new.source.tcp
                && (known.service, &known.addr, &known.tags) == (new.service, &new.addr, &new.tags)
                && known.weight == new.weight
        };
        if !self.targets.iter().any(same) {
            self.targets.push(new);
        }
    }

    /// By host, port and path.
    pub(crate) fn http(&self, name: &str, port: u16, asked: &str) -> Found {
        let path_fits = |source: &Source| {
            let own = path(source, self.matcher);
            match self.matcher {
                Matcher::Prefix => asked.starts_with(&own),
                Matcher::IPrefix => asked.to_lowercase().starts_with(&own),
                Matcher::Glob => fits(&own, asked),
            }
        };
        let of_http = self.targets.iter().filter(|target| !target.source.tcp);
        let fitting = of_http.filter_map(|target| {
            let host = self.exactness(&host(&target.source), name, port)?;
            let path = path(&target.source, self.matcher);
            let order = if self.matcher == Matcher::Glob {
                0
            } else {
                path.len()
            };
            path_fits(&target.source).then_some(((host, order, path), target))
        });
        let best = fitting.max_by(|left, right| left.0.cmp(&right.0))?.1;
        Some(self.found(best))
    }

    /// What passes TLS on for a name, and whether it was made for that.
    pub(crate) fn sni(&self, name: &str, port: u16) -> Found {
        let may = |target: &&Target| {
            let for_root = path(&target.source, self.matcher);
            let root = match self.matcher {
                Matcher::Glob => fits(&for_root, "/"),
                Matcher::Prefix | Matcher::IPrefix => for_root == "/",
            };
            target.source.tcp || root
        };
        self.most_exact(name, port, may).map(|target| self.found(target))
    }

    pub(crate) fn pass_through(&self, name: &str, port: u16) -> Found {
        let target = self.most_exact(name, port, |_| true)?;
        target.source.tcp.then(|| self.found(target))
    }

    fn most_exact(&self, name: &str, port: u16, may: impl Fn(&&Target) -> bool) -> Option<&Target> {
        let fitting = self.targets.iter().filter(may).filter_map(|target| {
            let exactness = self.exactness(&host(&target.source), name, port)?;
            let path = path(&target.source, self.matcher);
            let named =
                !name.is_empty() && !target.source.host.is_empty() && !target.source.host.starts_with(':');
            named.then_some(((exactness, target.source.tcp, path), target))
        });
        fitting
            .max_by(|left, right| left.0.cmp(&right.0))
            .map(|(_, target)| target)
    }

    pub(crate) fn tcp(&self, port: u16) -> Found {
        let own = format!(":{port}");
        let target = self.targets.iter().find(|target| target.source.host == own)?;
        Some(self.found(target))
    }

    pub(crate) fn ports(&self) -> BTreeSet<u16> {
        let port = |target: &Target| target.source.host.strip_prefix(':')?.parse().ok();
        self.targets.iter().filter_map(port).collect()
    }

    /// How exactly a host names the one asked for; greater is better.
    fn exactness(&self, own: &str, name: &str, port: u16) -> Option<(u8, Vec<usize>, bool)> {
        let (own, own_port) = match own.split_once(':') {
            Some((own, port)) => (own, Some(port.parse::<u16>().unwrap())),
            None => (own, None),
        };
        if own_port.is_some_and(|own| own != port) {
            return None;
        }
        let is_pattern = self.globs && own.contains(['*', '?', '[', '{']);
        let class = match own {
            "" => 0,
            "*" if self.globs => 1,
            _ if is_pattern => 2,
            _ => 3,
        };
        let fits = match class {
            0 | 1 => true,
            2 => !name.is_empty() && fits(own, name),
            _ => own == name,
        };
        let signs = "*?[]{}";
        let rank = |char: char| signs.find(char).unwrap_or(signs.len() + char as usize);
        fits.then(|| (class, own.chars().rev().map(rank).collect(), own_port.is_some()))
    }

    fn found(&self, of: &Target) -> (String, Vec<(String, u64)>) {
        let key = |target: &Target| {
            (
                host(&target.source),
                path(&target.source, self.matcher),
                target.source.tcp,
            )
        };
        let targets: Vec<&Target> = self
            .targets
            .iter()
            .filter(|target| key(target) == key(of) && target.fit)
            .collect();
        let fixed: f64 = targets
            .iter()
            .map(|target| target.weight)
            .filter(|weight| *weight > 0.0)
            .sum();
        let dynamic = targets.iter().filter(|target| target.weight <= 0.0).count();
        let share = |target: &Target| match (target.weight > 0.0, fixed > 1.0 || dynamic == 0) {
            (true, true) => target.weight / fixed,
            (true, false) => target.weight,
            (false, true) => 0.0,
            (false, false) => (1.0 - fixed) / dynamic as f64,
        };
        let mut shares: Vec<(String, u64)> = targets
            .iter()
            .map(|target| (target.addr.clone(), (share(target) * 1000.0).round() as u64))
            .collect();
        shares.sort();
        (host(&of.source) + &path(&of.source, self.matcher), shares)
    }
}

/// Whether a text fits a pattern; alternatives are tried one by one.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let Some(first) = pattern.chars().next() else {
        return text.is_empty();
    };
    let rest = &pattern[first.len_utf8()..];
    let mut chars = text.chars();
    match first {
        '*' => fits(rest, text) || (chars.next().is_some() && fits(pattern, chars.as_str())),
        '?' => chars.next().is_some() && fits(rest, chars.as_str()),
        '[' => {
            let (class, after) = rest.split_once(']').unwrap();
            chars.next().is_some_and(|char| class.contains(char)) && fits(after, chars.as_str())
        }
        '{' => {
            let (alternatives, after) = rest.split_once('}').unwrap();
            alternatives
                .split(',')
                .any(|one| fits(&format!("{one}{after}"), text))
        }
        plain => chars.next() == Some(plain) && fits(rest, chars.as_str()),
    }
}
