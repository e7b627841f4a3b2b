//! The rows hold together: with each other, with what reads them, and with the page made of them.

use std::collections::BTreeSet;
use std::io;

use super::machine::{Fetched, Machine};
use super::options::{self, Command, Kind, Row, Status};
use super::raw::{Environment, Given, Raw};
use super::sockaddr::Interface;
use super::{Agent, Lb, Registrator, docs};

struct Nothing;

impl Machine for Nothing {
    fn read(&self, _: &str) -> io::Result<String> {
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
    Agent::resolve(gather(Command::Agent, &[dev])).unwrap();
    Lb::resolve(gather(Command::Lb, &[])).unwrap();
    Registrator::resolve(gather(Command::Registrator, &[]), "consul:").unwrap();
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
    let mut agent = Agent::resolve(gather(Command::Agent, &[dev]))
        .unwrap()
        .lb
        .unwrap();
    assert!(agent.shown.is_object());
    agent.shown = std::sync::Arc::default();
    assert_eq!(format!("{agent:?}"), format!("{:?}", lb::Config::default()));
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
