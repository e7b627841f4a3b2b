//! Transcripts: services with their tags in, the table in fabio's language and lookups out.
//! `REWRITE=1 cargo test -p lb` writes what is, for a person to read the difference.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};

use lb::Config;
use lb::config::{parse_checks_required, parse_host_routes, parse_matcher, parse_statuses};
use lb::table::{Ask, Builder, Choice, Explained, Options, Table, Tried, Weights};

use crate::picture::picture;

#[test]
fn tables_and_lookups_are_as_the_transcripts_say() {
    datadriven::walk("tests/golden", |file| {
        let mut table = Table::default();
        file.run(|case| match &*case.directive {
            "table" => {
                let mut config = Config {
                    node: "n1".to_owned(),
                    ..Config::default()
                };
                for (key, values) in &case.args {
                    set(&mut config, key, &values.join(","));
                }
                let (services, commands) = case.input.split_once("override\n").unwrap_or((&case.input, ""));
                table = Builder::table_of(config, &picture(services), commands);
                listing(&table)
            }
            "tree" => table.tree(),
            "effective" => table.text(Weights::Effective),
            "lookup" => case
                .input
                .lines()
                .map(|request| lookup(&table, request))
                .collect(),
            "counts" => counts(&table, case.input.trim()),
            "explain" => case
                .input
                .lines()
                .map(|request| explain(&table, request))
                .collect(),
            "aliases" => format!("{:?}\n", table.aliases()),
            "ports" => format!("{:?}\n", table.tcp_ports()),
            "turns" => turns(&table, case.input.trim()),
            "options" => case
                .input
                .lines()
                .map(|request| options(&table, request))
                .collect(),
            "json" => serde_json::to_string_pretty(&table.rows()).unwrap() + "\n",
            other => panic!("unknown directive {other}"),
        });
    });
}

#[test]
fn the_transcripts_ask_three_hundred_questions_of_sixty_tables() {
    let (mut tables, mut lookups) = (0, 0);
    for file in std::fs::read_dir("tests/golden").unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for block in text.split("\n\n") {
            let mut lines = block.lines().skip_while(|line| line.starts_with('#'));
            let directive = lines.next().unwrap_or_default();
            tables += usize::from(directive.split(' ').next() == Some("table"));
            if ["lookup", "explain"].contains(&directive) {
                lookups += lines.take_while(|line| *line != "----").count();
            }
        }
    }
    assert!(
        tables >= 60 && lookups >= 300,
        "{lookups} lookups over {tables} tables"
    );
}

fn set(config: &mut Config, key: &str, value: &str) {
    match key {
        "matcher" => config.matcher = parse_matcher(value).unwrap(),
        "required" => config.checks_required = parse_checks_required(value).unwrap(),
        "accepted" => config.accepted = parse_statuses(value).unwrap(),
        "names" => config.host_routes = parse_host_routes(value).unwrap(),
        "domains" => config.domains = value.split(',').map(str::to_owned).collect(),
        "node" => config.node = value.to_owned(),
        "globs" => config.glob_disabled = value == "off",
        "check" => config.require_check = value == "required",
        other => panic!("unknown setting {other}"),
    }
}

fn listing(table: &Table) -> String {
    let mut out = table.text(Weights::Asked);
    for skipped in table.skipped() {
        let _ = writeln!(
            out,
            "skipped {} '{}': {}",
            skipped.instance, skipped.tag, skipped.reason
        );
    }
    for note in table.notes() {
        let _ = writeln!(out, "note {} '{}': {}", note.instance, note.tag, note.reason);
    }
    if out.is_empty() { "empty\n".to_owned() } else { out }
}

/// `host/path` is a plain request, `https://host/path` one over TLS, `:port` and `tcp ip:port` a TCP connection,
/// `sni name[:port]` and `pass name[:port]` a TLS connection to a listener of tcp+sni, of https+tcp+sni.
fn find<'a>(table: &'a Table, request: &str) -> Option<&'a lb::table::Route> {
    let route = match request.split_once(' ') {
        Some(("tcp", local)) => table.tcp_at(local.parse().unwrap()),
        Some((kind, name)) => {
            let (name, port) = name.split_once(':').unwrap_or((name, "443"));
            let port = port.parse().unwrap();
            match kind {
                "sni" => table.sni(name, port),
                "pass" => table.pass_through(name, port),
                other => panic!("unknown kind of lookup {other}"),
            }
        }
        None => match request.strip_prefix(':') {
            Some(port) => table.tcp(port.parse().unwrap()),
            None => {
                let tls = request.strip_prefix("https://");
                let url = tls.unwrap_or(request);
                let (host, path) = url.split_at(url.find('/').unwrap());
                table.http(host, path, tls.is_some())
            }
        },
    };
    route.map(|route| &**route)
}

fn lookup(table: &Table, request: &str) -> String {
    let Some(route) = find(table, request) else {
        return format!("{request} -> 404\n");
    };
    let mut targets: Vec<&str> = route.targets.iter().map(|target| &*target.addr).collect();
    if route.pick(Choice::Random(0), &[]).is_none() {
        targets.push("503");
    }
    format!(
        "{request} -> {}{} {}\n",
        route.host,
        route.path,
        targets.join(" ")
    )
}

/// How many of 10000 requests in turn go to each target.
fn counts(table: &Table, request: &str) -> String {
    let route = find(table, request).unwrap();
    let mut counts = BTreeMap::new();
    for turn in 0..10_000 {
        let target = route.pick(Choice::Turn(turn), &[]).unwrap();
        *counts.entry(&*target.part.instance).or_insert(0) += 1;
    }
    let counts = counts
        .iter()
        .map(|(instance, count)| format!("{instance} {count}"));
    counts.collect::<Vec<_>>().join(" ") + "\n"
}

/// Everything but what only figures can say.
fn explain(table: &Table, request: &str) -> String {
    let tls = request.strip_prefix("https://");
    let url = tls.unwrap_or(request);
    let (host, path) = url.split_at(url.find('/').unwrap());
    let tls = tls.is_some();
    let method = "GET";
    let Explained {
        host,
        port,
        outcome,
        tried,
        route,
        skipped,
        notes,
        ..
    } = table.explain(Ask {
        host,
        path,
        method,
        tls,
    });
    let mut out = format!("{request}: '{host}' {port}: {outcome}\n");
    for Tried { host, path, why } in tried {
        let _ = writeln!(out, "  '{host}' {}: {why}", path.unwrap_or_default());
    }
    if let Some(route) = route {
        let strategy = route.strategy.unwrap_or_default();
        let _ = writeln!(out, "  route {} {strategy}", route.source);
        for target in route.targets {
            let _ = writeln!(
                out,
                "    {} {} {} weight {} share {:.2} {}",
                target.service, target.instance, target.dst, target.weight, target.share, target.opts
            );
        }
        for unfit in route.unfit {
            let _ = writeln!(out, "    not {}: {}", unfit.instance, unfit.why);
        }
    }
    for (what, ones) in [("skipped", skipped), ("note", notes)] {
        for one in ones {
            let _ = writeln!(out, "  {what} '{}': {}", one.tag, one.reason);
        }
    }
    out
}

/// Who gets the first twelve requests of a worker.
fn turns(table: &Table, request: &str) -> String {
    let route = find(table, request).unwrap();
    let letter = |turn| {
        let target = route.pick(Choice::Turn(turn), &[]).unwrap();
        target.part.instance.to_string()
    };
    let turns: Vec<String> = (0..12).map(letter).collect();
    turns.join(" ") + "\n"
}

/// All that is meant by the options of a route's first target.
fn options(table: &Table, request: &str) -> String {
    let route = find(table, request).unwrap();
    let options = &route.targets[0].options;
    let plain = Options::default();
    let mut out = format!("{request}:");
    let mut say = |name: &str, value: &dyn Debug, is_plain: bool| {
        if !is_plain {
            let value = format!("{value:?}").replace("Some(", "(");
            let _ = write!(out, "\n  {name} {value}");
        }
    };
    macro_rules! say {
        ($($field:ident)*) => {
            $(say(stringify!($field), &options.$field, options.$field == plain.$field);)*
        };
    }
    say!(strip prepend rewrite host weight scheme tls send_proxy register auth access strategy);
    say!(request_headers response_headers timeouts limits retries shutdown_sessions);
    if let Some(redirect) = &options.redirect {
        let location = redirect.location("foo.com:9999", "/a%2Fb", Some("q=1"));
        let _ = write!(out, "\n  redirect {} to {location}", redirect.code);
    }
    out + "\n"
}
