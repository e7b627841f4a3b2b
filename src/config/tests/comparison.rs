//! `docs/registrator.md` beside the original: what it must judge, and in which words.

use crate::config::options::{self, Command, Status};

/// What the original knows: its keys, its flags beside those of ours, its variables, its registries.
const KEYS: &[&str] = &[
    "NAME",
    "ID",
    "TAGS",
    "IGNORE",
    "CHECK_HTTP",
    "CHECK_HTTP_METHOD",
    "CHECK_HTTPS",
    "CHECK_HTTPS_METHOD",
    "CHECK_CMD",
    "CHECK_SCRIPT",
    "CHECK_TTL",
    "CHECK_TCP",
    "CHECK_GRPC",
    "CHECK_GRPC_USE_TLS",
    "CHECK_TLS_SKIP_VERIFY",
    "CHECK_TIMEOUT",
    "CHECK_INTERVAL",
    "CHECK_INITIAL_STATUS",
    "CHECK_DEREGISTER_AFTER",
];
const FLAGS: &[&str] = &["--version", "-h", "-help"];
const VARIABLES: &[&str] = &[
    "DOCKER_HOST",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "GL_DISABLE_VERSION_CHECK",
    "CONSUL_HTTP_ADDR",
    "CONSUL_HTTP_TOKEN",
    "CONSUL_HTTP_AUTH",
    "CONSUL_CACERT",
];
const VERDICTS: &[&str] = &["same", "better", "refused, because", "not yet", "Lictor's own"];

/// What a section judges, as it stands in its first column, and how.
fn judged(section: &str) -> Vec<(&'static str, &'static str)> {
    let page = include_str!("../../../docs/registrator.md");
    let (_, page) = page
        .split_once("\n## Compared with registrator\n")
        .expect("the section is there");
    let (_, rest) = page
        .split_once(&format!("\n### {section}\n"))
        .expect("its part is there");
    let part = rest.split("\n##").next().unwrap_or_default();
    let rows = part
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = rows.filter(|row| !row.starts_with("---") && !row.starts_with('|'));
    rows.map(|row| row.split_once(" | ").unwrap_or((row, "")))
        .collect()
}

fn verdict(section: &str, subject: &str) -> &'static str {
    let subject = format!("`{subject}`");
    let rows = judged(section);
    let row = rows.iter().find(|(subjects, _)| subjects.contains(&subject));
    row.unwrap_or_else(|| panic!("docs/registrator.md: {section} says nothing of {subject}"))
        .1
}

#[test]
fn the_page_about_registrator_judges_in_words_that_are_agreed() {
    for section in ["Command line", "Environment", "Keys", "Behaviour"] {
        let rows = judged(section);
        assert!(!rows.is_empty(), "{section}");
        for (subject, said) in rows {
            let agreed = VERDICTS.iter().any(|verdict| said.starts_with(verdict));
            assert!(
                agreed,
                "{section}, {subject}: {said:?} begins with none of {VERDICTS:?}"
            );
        }
    }
}

#[test]
fn the_page_about_registrator_judges_every_flag_that_works_and_every_key_variable_and_flag_of_the_original() {
    let rows = options::of(Command::Registrator).filter(|row| row.status == Status::Supported);
    for row in rows {
        let flag = format!("-{}", row.flag(Command::Registrator));
        let said = verdict("Command line", &flag);
        assert!(!said.starts_with("not yet"), "{flag} works");
    }
    FLAGS.iter().for_each(|flag| _ = verdict("Command line", flag));
    VARIABLES.iter().for_each(|name| _ = verdict("Environment", name));
    KEYS.iter()
        .for_each(|key| _ = verdict("Keys", &format!("SERVICE_{key}")));
}
