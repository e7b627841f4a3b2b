//! The page for users and the code know the same options.

use std::collections::BTreeSet;

use lb::table::options::OPTIONS;

#[test]
fn every_option_of_a_route_has_its_row_in_the_docs_and_no_other_has() {
    let page = include_str!("../../../docs/routing.md");
    let (_, rows) = page.split_once("| option | effect |\n").unwrap();
    let cells = rows.lines().take_while(|line| line.starts_with('|'));
    let documented: BTreeSet<&str> = cells
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter_map(|code| code.split_once('=').map(|(name, _)| name))
        .collect();
    let known: BTreeSet<&str> = OPTIONS.iter().map(|option| option.name).collect();
    assert_eq!(documented, known, "docs/routing.md (left) and OPTIONS (right)");
}
