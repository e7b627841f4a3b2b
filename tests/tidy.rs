//! The house rules that no compiler checks: arrows between crates, sizes, openings of files, the changelog, and our
//! pages: links lead somewhere, what we tell users to type is understood, what containers may say is written down.
//!
//! Needs no agent and no Docker. A rule may be broken by a file in [`EXCEPTIONS`], with its reason; the list may only
//! shrink, and an entry that is no longer needed is itself a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// (file, rule, reason).
const EXCEPTIONS: &[(&str, Rule, &str)] = &[];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    Opening,
    Length,
    TestsApart,
    ModRs,
    Leftover,
    Glob,
}

const MAX_LINES: usize = 500;
/// Inline tests longer than this go to a file of their own.
const MAX_INLINE_TESTS: usize = 300;

/// The arrows of the house: a crate and the crates of ours that it may know. ARCHITECTURE.md draws them.
const ARROWS: [(&str, &[&str]); 5] = [
    ("catalog", &[]),
    ("api", &["catalog"]),
    ("lb", &["catalog"]),
    ("registrator", &["api", "catalog"]),
    ("lictor", &["api", "catalog", "lb", "registrator"]),
];

/// All that the pure crate may use: no runtime, socket, clock or dice.
const CATALOG_USES: [&str; 3] = ["imbl", "serde", "thiserror"];

/// Crates with one home.
const HOMES: [(&str, &str); 6] = [
    ("axum", "lictor"),
    ("hickory-proto", "lictor"),
    ("hcl-rs", "lictor"),
    ("mimalloc", "lictor"),
    ("hyper", "api lb registrator lictor"),
    ("tracing-subscriber", "lictor"),
];

#[test]
fn crates_know_only_whom_the_architecture_lets_them() {
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let drawn: BTreeSet<String> = ours.iter().map(|&name| name.to_owned()).collect();
    let members: BTreeSet<String> = manifests().into_keys().collect();
    assert_eq!(members, drawn, "every crate of the workspace has its arrows");
    for (name, may_know) in ARROWS {
        // Tests are part of the arrow: a dev-dependency compiles the other crate just the same.
        for (dependency, _) in dependencies(name) {
            let allowed = !ours.contains(dependency.as_str()) || may_know.contains(&dependency.as_str());
            assert!(
                allowed,
                "{name}/Cargo.toml names {dependency}: an arrow that ARCHITECTURE.md does not draw"
            );
        }
    }
}

#[test]
fn the_catalog_is_pure() {
    for dependency in shipped("catalog") {
        let allowed = CATALOG_USES.contains(&dependency.as_str());
        assert!(
            allowed,
            "catalog/Cargo.toml names {dependency}; the catalog has no runtime, socket, clock or dice"
        );
    }
}

#[test]
fn crates_with_one_home_stay_there() {
    for (name, _) in ARROWS {
        for dependency in shipped(name) {
            let home = HOMES.iter().find(|(crate_name, _)| *crate_name == dependency);
            let at_home = home.is_none_or(|(_, homes)| homes.split(' ').any(|home| home == name));
            assert!(
                at_home,
                "{name}/Cargo.toml names {dependency}, whose home is {home:?}"
            );
        }
    }
}

#[test]
fn every_dependency_is_used_and_has_its_reason_in_the_architecture() {
    let architecture = read(&top().join("ARCHITECTURE.md"));
    let (_, reasons) = architecture
        .split_once("\n## Dependencies\n")
        .expect("the architecture has its table");
    let listed: BTreeSet<&str> = reasons
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .flat_map(|names| names.trim_end_matches(" (tests)").split(", "))
        .filter(|name| !["crate", "---"].contains(name))
        .collect();
    let ours = ARROWS.map(|(name, _)| name);
    let used: BTreeSet<String> = ours
        .iter()
        .flat_map(|name| dependencies(name))
        .map(|(dependency, _)| dependency)
        .filter(|name| !ours.contains(&name.as_str()))
        .collect();
    let used: BTreeSet<&str> = used.iter().map(String::as_str).collect();
    assert_eq!(
        listed, used,
        "ARCHITECTURE.md (left) and the manifests (right) name different crates"
    );
    let manifest = read(&top().join("Cargo.toml"));
    let (_, versions) = manifest
        .split_once("[workspace.dependencies]\n")
        .expect("versions have one place");
    for line in versions.lines().take_while(|line| !line.starts_with(['#', '['])) {
        let name = line.split([' ', '=']).next().unwrap_or_default();
        let known = name.is_empty() || used.contains(name) || ours.contains(&name);
        assert!(known, "Cargo.toml has a version for {name}, which nobody uses");
    }
}

/// What a crate uses in what we ship, its tests apart.
fn shipped(name: &str) -> Vec<String> {
    let all = dependencies(name).into_iter();
    all.filter_map(|(dependency, kind)| (kind != "dev").then_some(dependency))
        .collect()
}

/// Name and kind (empty, `dev`, `build`) of every dependency of a crate of ours, whatever it is called there.
fn dependencies(name: &str) -> Vec<(String, String)> {
    let manifests = manifests();
    let listed = manifests[name]["dependencies"].as_array();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    listed
        .into_iter()
        .flatten()
        .map(|dependency| (text(&dependency["name"]), text(&dependency["kind"])))
        .collect()
}

/// The crates of the workspace as cargo reads their manifests: there are many ways to write a dependency, and cargo
/// knows them all.
fn manifests() -> BTreeMap<String, Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(cargo);
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1"]);
    let done = cargo.current_dir(top()).output().expect("cargo runs this test");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "cargo metadata: {said}");
    let read: Value = serde_json::from_slice(&done.stdout).expect("cargo writes JSON");
    let packages = read["packages"].as_array().expect("a workspace has packages");
    packages
        .iter()
        .filter_map(|package| Some((package["name"].as_str()?.to_owned(), package.clone())))
        .collect()
}

#[test]
fn every_source_file_keeps_the_card() {
    let mut broken = Vec::new();
    for path in files("rs") {
        let text = read(&path);
        for (rule, detail) in faults(&path, &text) {
            broken.push((name_of(&path), rule, detail));
        }
    }
    let excused =
        |(file, rule, _): &&(String, Rule, String)| EXCEPTIONS.iter().any(|e| (e.0, e.1) == (file, *rule));
    let unexcused: Vec<_> = broken.iter().filter(|fault| !excused(fault)).collect();
    assert!(
        unexcused.is_empty(),
        "the card of the house (CONTRIBUTING.md) is broken here: {unexcused:#?}"
    );
    for (file, rule, _) in EXCEPTIONS {
        let needed = broken
            .iter()
            .any(|fault| (fault.0.as_str(), fault.1) == (*file, *rule));
        assert!(
            needed,
            "{file} keeps {rule:?} by now: take it off the list of exceptions"
        );
    }
}

/// Which rules one file breaks, and how.
fn faults(path: &Path, text: &str) -> Vec<(Rule, String)> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push((
            Rule::Opening,
            "does not open with `//!`: what it is for, what it must never do".to_owned(),
        ));
    }
    if path.ends_with("mod.rs") {
        faults.push((Rule::ModRs, "`foo.rs` beside `foo/`, never `mod.rs`".to_owned()));
    }
    // Written apart, or this file would find itself.
    for leftover in [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
    ] {
        if let Some(number) = text.lines().position(|line| line.contains(leftover)) {
            faults.push((Rule::Leftover, format!("line {}: {leftover}", number + 1)));
        }
    }
    if is_test(path) {
        return faults;
    }
    if text.lines().any(|line| line.starts_with("use super::*")) {
        faults.push((Rule::Glob, "`use super::*` outside tests".to_owned()));
    }
    let lines: Vec<&str> = text.lines().collect();
    // A block of tests ends a file; `mod tests;` is only its name.
    let tests = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{'));
    let code = tests.unwrap_or(lines.len());
    if code > MAX_LINES {
        faults.push((Rule::Length, format!("{code} lines, {MAX_LINES} are the limit")));
    }
    if lines.len() - code > MAX_INLINE_TESTS {
        let tests = lines.len() - code;
        faults.push((
            Rule::TestsApart,
            format!("{tests} lines of tests: put them into a file of their own"),
        ));
    }
    faults
}

fn is_test(path: &Path) -> bool {
    path.ends_with("tests.rs")
        || path
            .strip_prefix(top())
            .is_ok_and(|path| path.iter().any(|part| part == "tests"))
}

/// The flows of ARCHITECTURE.md are walked file by file; crates leave out their `src/`.
#[test]
fn pages_name_only_sources_that_are_there() {
    let mut lost = Vec::new();
    for page in files("md") {
        let text = read(&page);
        for word in text.split(|char: char| !(char.is_ascii_alphanumeric() || "/._-".contains(char))) {
            if let Some((room, rest)) = word.split_once('/')
                && ["api", "catalog", "lb", "registrator", "src", "tests"].contains(&room)
                && word.ends_with(".rs")
                && !top().join(word).exists()
                && !top().join(room).join("src").join(rest).exists()
            {
                lost.push(format!("{}: {word}", name_of(&page)));
            }
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}

#[test]
fn the_changelog_has_its_shape() {
    let changelog = read(&top().join("CHANGELOG.md"));
    let version = env!("CARGO_PKG_VERSION");
    assert!(changelog.starts_with("# Changelog\n"), "it opens with its title");
    let mut releases = Vec::new();
    for (number, line) in changelog
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
    {
        assert!(
            line.len() <= 120,
            "CHANGELOG.md line {number} is longer than 120 bytes"
        );
        assert!(
            line == line.trim_end(),
            "CHANGELOG.md line {number} ends with blanks"
        );
        if let Some(release) = line.strip_prefix("## ") {
            releases.push(release);
        }
        if let Some(kind) = line.strip_prefix("### ") {
            let known = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
            assert!(
                known.contains(&kind),
                "CHANGELOG.md line {number}: {kind:?} is none of {known:?}"
            );
        }
    }
    let newest = releases.first().copied().unwrap_or_default();
    assert!(
        newest == "Unreleased" || newest.starts_with(version),
        "the first section is for {newest:?}, we are {version}"
    );
    for release in releases.iter().filter(|release| **release != "Unreleased") {
        let dated = release
            .split_once(" · ")
            .is_some_and(|(_, date)| date.len() == 10 && date.starts_with("20"));
        assert!(
            dated,
            "a released section is `<version> · <year-month-day>`, not {release:?}"
        );
    }
}

/// Commands in compose files and Dockerfiles are documentation that users copy. Every fault on a command line is
/// reported at once, so with one unknown flag added, that flag must be the only fault.
#[test]
fn commands_we_hand_out_are_understood_by_our_own_command_line() {
    let compose = command_in_compose(&read(&top().join("docker/compose.yml")));
    let image = command_in_dockerfile(&read(&top().join("docker/Dockerfile")));
    for command in [compose, image] {
        assert_eq!(command.first().map(String::as_str), Some("agent"), "{command:?}");
        let done = Command::new(env!("CARGO_BIN_EXE_lictor"))
            .args(&command)
            .arg("-tidy-probe")
            .output();
        let done = done.expect("cargo has built the binary under test");
        let said = [done.stdout, done.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(done.status.code(), Some(1), "{command:?}: {said}");
        let faults: Vec<&str> = said.lines().filter(|line| line.starts_with("==> ")).collect();
        assert!(
            faults.len() == 1 && faults[0].contains("tidy-probe"),
            "{command:?}: {said}"
        );
    }
}

/// The items below `command:` of the first service.
fn command_in_compose(text: &str) -> Vec<String> {
    let items = text
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "command:")
        .skip(1);
    items
        .map_while(|line| line.strip_prefix("- "))
        .map(str::to_owned)
        .collect()
}

fn command_in_dockerfile(text: &str) -> Vec<String> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("CMD "))
        .expect("the image has a default command");
    serde_json::from_str(line).expect("CMD is in its JSON form")
}

/// Whoever removes the last test of a bad day hears of it, and whoever names one that is in no list.
#[test]
fn every_bad_day_is_named_by_a_test() {
    let page = read(&top().join("tests/scenarios.md"));
    let listed: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .filter(|id| is_bad_day(id))
        .map(str::to_owned)
        .collect();
    let of = |kind: char| listed.iter().filter(|id| id.starts_with(kind)).count();
    assert_eq!((of('L'), of('R')), (54, 25), "tests/scenarios.md has lost rows");
    let tests = files("rs").into_iter().filter(|path| {
        let name = name_of(path);
        name.starts_with("tests/") || name.starts_with("registrator/")
    });
    let named: BTreeSet<String> = tests.flat_map(|path| bad_days(&read(&path))).collect();
    assert_eq!(
        named, listed,
        "named by tests (left), listed in tests/scenarios.md (right)"
    );
}

/// The ids in the comments above tests.
fn bad_days(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut comment = Vec::new();
    for line in code.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            comment.push(text);
        } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            let words = comment
                .drain(..)
                .flat_map(|text| text.split([' ', ',', '.', ':']));
            found.extend(words.filter(|word| is_bad_day(word)).map(str::to_owned));
        } else {
            comment.clear();
        }
    }
    found
}

/// `L12`, `R3`.
fn is_bad_day(word: &str) -> bool {
    let number = word.strip_prefix(['L', 'R']).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// A link that leads nowhere is the first thing a newcomer clicks.
#[test]
fn every_relative_link_of_our_pages_resolves() {
    let mut broken = Vec::new();
    for page in files("md") {
        let text = read(&page);
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap_or(top()).join(file),
            };
            let found = target.exists() && (anchor.is_empty() || anchors(&read(&target)).contains(anchor));
            if !found {
                broken.push(format!("{}: {link}", name_of(&page)));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
}

/// What stands in the brackets of `[text](target)`, outside blocks of code.
fn links(text: &str) -> Vec<&str> {
    let mut code = false;
    let prose = text.lines().filter(|line| {
        let fence = line.starts_with("```");
        code ^= fence;
        !fence && !code
    });
    prose
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| Some(rest.split_once(')')?.0))
        .collect()
}

/// The anchors of a page's headings: lower case, letters, digits, `-` and `_` only, blanks as `-`.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let words: String = heading
            .trim_start_matches('#')
            .trim()
            .chars()
            .filter(kept)
            .collect();
        words.to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

/// Whatever a container may say is written down for those who say it. The keys are read off the code
/// that looks them up, which knows no other list of them.
#[test]
fn every_key_that_containers_may_use_is_in_the_page_about_them() {
    let page = read(&top().join("docs/registrator.md"));
    let code: String = ["checks/asked.rs", "checks/probe.rs", "metadata.rs"]
        .map(|file| read(&top().join("registrator/src/services").join(file)))
        .concat();
    let steering = code
        .split_once("const STEERING")
        .and_then(|(_, rest)| rest.split_once(';'))
        .map(|(list, _)| quoted(list))
        .expect("metadata.rs lists the keys that steer");
    let checks = quoted(&code)
        .into_iter()
        .filter(|word| word.starts_with("check_") && word.len() > "check_".len() && !word.contains('{'));
    let keys: BTreeSet<&str> = steering.into_iter().chain(checks).collect();
    assert!(
        keys.len() > 12,
        "keys are not found in the code any more: {keys:?}"
    );
    let missing: Vec<String> = keys
        .iter()
        .map(|key| format!("SERVICE_{}", key.to_uppercase()))
        .filter(|key| !page.contains(&format!("`{key}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/registrator.md does not speak of {missing:?}"
    );
}

/// Short texts between double quotes that are made of key characters.
fn quoted(code: &str) -> Vec<&str> {
    let word = |text: &&str| {
        !text.is_empty() && text.len() < 40 && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    };
    code.split('"').filter(word).collect()
}

/// How many scenarios `registrator/tests/scenarios.md` has.
const SCENARIOS: usize = 55;

#[test]
fn every_scenario_is_held_by_a_transcript_or_a_test_that_is_there() {
    let table = read(&top().join("registrator/tests/scenarios.md"));
    let rows = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows: Vec<(usize, &str)> = rows
        .filter_map(|(number, rest)| Some((number.parse().ok()?, rest)))
        .collect();
    let numbers: Vec<usize> = rows.iter().map(|(number, _)| *number).collect();
    assert_eq!(
        numbers,
        (1..=SCENARIOS).collect::<Vec<_>>(),
        "each once, in order"
    );
    let mut lost = Vec::new();
    for (number, rest) in rows {
        let proofs = rest
            .rsplit(" | ")
            .next()
            .unwrap_or_default()
            .trim_end_matches(" |");
        let proofs: Vec<&str> = proofs
            .split('`')
            .map(str::trim)
            .filter(|proof| !proof.is_empty())
            .collect();
        if proofs.is_empty() {
            lost.push(format!("{number}: nothing"));
        }
        lost.extend(
            proofs
                .iter()
                .filter(|proof| !holds(proof, number))
                .map(|proof| format!("{number}: {proof}")),
        );
    }
    assert!(
        lost.is_empty(),
        "not there, or without the number in a heading: {lost:#?}"
    );
}

/// Whether a transcript has the number in a heading, `# 41, 42: …`, or a file the test.
fn holds(proof: &str, number: usize) -> bool {
    if let Some((file, test)) = proof.split_once("::") {
        return read(&top().join(file)).contains(&format!("fn {test}("));
    }
    let file = match proof.starts_with("golden/") {
        true => top().join("registrator/tests").join(proof),
        false => top().join(proof),
    };
    let text = read(&file);
    let mut headings = text.lines().filter_map(|line| line.strip_prefix("# "));
    headings.any(|heading| {
        let numbers = heading.split(':').next().unwrap_or_default();
        numbers.split(", ").any(|text| text.parse() == Ok(number))
    })
}

/// Every file of ours with this extension.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![top().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the tree can be read").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn name_of(path: &Path) -> String {
    path.strip_prefix(top()).unwrap_or(path).display().to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
