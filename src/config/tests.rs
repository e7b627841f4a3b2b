//! The rows hold together: with each other, with what reads them, and with the page made of them.

mod comparison;

use std::collections::BTreeSet;
use std::io;

use super::machine::{Fetched, Machine};
use super::options::{self, Command, Kind, Owner, Row, Status};
use super::raw::{Environment, Given, Raw};
use super::sockaddr::Interface;
use super::{Agent, Lb, Registrator, docs};

struct Nothing;

impl Machine for Nothing {
    fn read(&self, _: &str) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &str) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn fetch(&self, _: &str) -> io::Result<Fetched> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn interfaces(&self) -> Vec<Interface> {
        Vec::new()
    }
}

fn gather(command: Command, given: &[Given]) -> Raw {
    Raw::gather(command, given, &Environment::new(), &Nothing)
}

const COMMANDS: [Command; 3] = [Command::Agent, Command::Lb, Command::Registrator];

#[test]
fn no_two_rows_of_a_command_share_a_spelling() {
    for command in COMMANDS {
        let mut seen = BTreeSet::new();
        for row in options::of(command) {
            for spelling in std::iter::once(row.flag(command)).chain(row.keys.iter().copied()) {
                assert!(
                    seen.insert(spelling),
                    "{spelling} means two things to {}",
                    command.name()
                );
            }
        }
    }
}

#[test]
fn every_default_is_a_valid_value_and_every_supported_row_is_read() {
    // The reader panics on a bad default and, in test builds, on a row that nobody reads.
    let dev = Given {
        row: options::by_flag(Command::Agent, "dev").unwrap(),
        value: "true".to_owned(),
    };
    assert_eq!(Agent::resolve(gather(Command::Agent, &[dev])).1, []);
    assert_eq!(Lb::resolve(gather(Command::Lb, &[])).1, []);
    assert_eq!(
        Registrator::resolve(gather(Command::Registrator, &[]), &["consul:".to_owned()]).1,
        []
    );
}

#[test]
fn an_unsupported_option_set_to_its_default_says_nothing_and_is_no_fault() {
    for command in COMMANDS {
        for row in options::of(command).filter(|row| row.status == Status::NotYet && row.kind != Kind::Tree) {
            let value = row.default_for(command).to_owned();
            assert_eq!(
                gather(command, &[Given { row, value }]).faults,
                [],
                "{}",
                row.name
            );
            let given = Given {
                row,
                value: "something else".to_owned(),
            };
            assert_eq!(gather(command, &[given]).faults.len(), 1, "{}", row.name);
        }
    }
}

#[test]
fn every_supported_row_explains_itself_in_a_sentence() {
    let supported = |row: &&Row| row.status == Status::Supported;
    for row in options::all().filter(supported) {
        assert!(row.help.ends_with('.'), "{}: {:?}", row.name, row.help);
    }
}

#[test]
fn the_balancer_in_the_agent_starts_with_the_defaults_of_the_balancer() {
    let dev = Given {
        row: options::by_flag(Command::Agent, "dev").unwrap(),
        value: "true".to_owned(),
    };
    let mut agent = Agent::resolve(gather(Command::Agent, &[dev])).0.lb.unwrap();
    assert!(agent.shown.is_object());
    agent.shown = std::sync::Arc::default();
    assert_eq!(format!("{agent:?}"), format!("{:?}", lb::Config::default()));
}

#[test]
fn links_to_sources_are_shown_with_their_defaults_where_there_are_none() {
    let shown = Lb::resolve(gather(Command::Lb, &[])).0.lb.shown;
    let source = &shown["UI"]["RoutingTable"]["Source"];
    let expected = r#"{"Host":"","LinkEnabled":false,"NewTab":true,"Port":"","Scheme":"http"}"#;
    assert_eq!(source.to_string(), expected);
}

#[test]
fn the_page_of_docs_is_what_the_rows_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/options.md");
    if std::env::var_os("REWRITE").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
        std::fs::write(path, docs::page()).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == docs::page(),
        "docs/options.md is stale: REWRITE=1 cargo test docs"
    );
}

/// Rows of a section of docs/fabio.md: the name as it begins (in backquotes, or words) and the mark.
fn compared(section: &str) -> Vec<(String, String)> {
    let page = include_str!("../../docs/fabio.md");
    let (_, rest) = page.split_once(&format!("\n## {section}\n")).unwrap();
    let body = rest.split("\n## ").next().unwrap();
    let rows = body
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| fabio "));
    rows.map(|line| {
        let cells: Vec<&str> = line.split(" | ").collect();
        (cells[0].trim_start_matches("| ").to_owned(), cells[1].to_owned())
    })
    .collect()
}

/// The names of rows that are one word in backquotes, behind what they begin with.
fn names_in(section: &str, front: &str) -> BTreeSet<String> {
    let rows = compared(section);
    let word = |name: &str| {
        let word = name.strip_prefix(front)?.strip_prefix('`')?.strip_suffix('`')?;
        (!word.contains([' ', '`'])).then(|| word.to_owned())
    };
    rows.iter().filter_map(|(name, _)| word(name)).collect()
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

#[test]
fn the_page_about_fabio_marks_every_row_with_one_of_three_words() {
    let page = include_str!("../../docs/fabio.md");
    for line in page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| fabio "))
    {
        let cells: Vec<&str> = line.trim_end_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 3, "{line}");
        let mark = cells[1];
        let issues = mark.strip_prefix("better").map(str::trim);
        let number = |word: &str| {
            word.strip_prefix('#')
                .is_some_and(|digits| digits.parse::<u16>().is_ok())
        };
        let right = match issues {
            Some("") => true,
            Some(issues) => issues.trim_matches(['(', ')']).split(' ').all(number),
            None => mark == "same" || mark == "refused, because",
        };
        assert!(right, "{line}");
        let says_why = !cells[2].trim().is_empty();
        assert!(says_why || mark == "same" || line.starts_with("| `"), "{line}");
    }
}

#[test]
fn the_page_about_fabio_has_a_row_for_every_property_and_says_which_are_refused() {
    let rows = || options::all().filter(|row| row.owner == Owner::Fabio);
    assert_eq!(names_in("Properties", ""), set(rows().map(|row| row.name)));
    let marks: std::collections::BTreeMap<String, String> = compared("Properties").into_iter().collect();
    for row in rows() {
        let mark = &marks[&format!("`{}`", row.name)];
        match row.status {
            Status::Refused(_) => assert_eq!(mark, "refused, because", "{}", row.name),
            Status::Supported => assert_ne!(mark, "refused, because", "{}", row.name),
            Status::Ignored(_) => {}
            Status::NotYet => panic!("{}: fabio has it and we have not", row.name),
        }
    }
}

#[test]
fn the_page_about_fabio_has_a_row_for_every_option_of_listeners_sources_schemes_and_routes() {
    use lb::config::{AUTH_TYPES, CERT_OPTIONS, CERT_TYPES, LISTENER_OPTIONS, Proto};
    let of_type = |section: &str, front: &str| -> BTreeSet<String> {
        let names = names_in(section, "").into_iter();
        names
            .filter_map(|name| name.strip_prefix(front).map(str::to_owned))
            .collect()
    };
    assert_eq!(of_type("Listeners", "proto="), set(Proto::ALL.map(Proto::as_str)));
    assert_eq!(
        names_in("Listeners", "option "),
        set(LISTENER_OPTIONS.iter().copied().filter(|name| *name != "proto"))
    );
    assert_eq!(
        of_type("Certificate sources", "type="),
        set(CERT_TYPES.iter().copied())
    );
    assert_eq!(
        names_in("Certificate sources", "option "),
        set(CERT_OPTIONS.iter().copied())
    );
    let types: BTreeSet<String> = compared("Authentication")
        .iter()
        .filter_map(|(name, _)| Some(name.strip_prefix("`type=")?.split('`').next()?.to_owned()))
        .collect();
    assert_eq!(types, set(AUTH_TYPES.iter().map(|(name, _)| *name)));
    let options = AUTH_TYPES.iter().flat_map(|(_, options)| options.iter().copied());
    assert_eq!(
        names_in("Authentication", "option "),
        set(options.chain(["name", "type"]))
    );
    let routes = lb::table::options::OPTIONS.iter().filter(|row| row.of_fabio);
    assert_eq!(names_in("Route options", ""), set(routes.map(|row| row.name)));
}

#[test]
fn the_page_about_fabio_has_a_row_for_every_field_of_the_access_log() {
    let ours = lb::ACCESS_LOG_FIELDS
        .iter()
        .filter(|(_, help)| !help.contains("Not fabio's"))
        .map(|(name, _)| format!("${}", name.trim_start_matches('$')));
    let ours: BTreeSet<String> = ours.filter(|name| !name.starts_with("$header")).collect();
    let mut rows = names_in("Logs", "");
    assert!(rows.remove("$header.<name>"));
    rows.retain(|name| name.starts_with('$'));
    assert_eq!(rows, ours);
}

#[test]
fn the_page_about_fabio_has_a_row_for_every_metric_and_knows_no_path_that_is_not_there() {
    let ours = lb::metrics::FABIO.iter().map(|row| row.name);
    let ours: BTreeSet<String> = ours
        .filter(|name| *name != "grpc.status")
        .map(str::to_owned)
        .collect();
    assert_eq!(
        names_in("Metrics", ""),
        ours,
        "grpc.status stands beside grep.status"
    );
    let paths = lb::admin::PATHS
        .iter()
        .map(|(path, ..)| path.trim_end_matches("[/sub]"));
    let paths = set(paths);
    let mut rows = names_in("Admin", "");
    rows.retain(|name| name.starts_with('/') && name != "/assets");
    assert!(rows.is_subset(&paths), "{rows:?} and {paths:?}");
}
