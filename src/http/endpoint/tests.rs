//! The table of endpoints is sound, and `docs/endpoints.md` is written from it.

use std::fmt::Write as _;

use super::*;

/// The page that users read; made from the rows, so that it cannot be wrong.
fn page() -> String {
    let mut page = String::from(
        "# HTTP endpoints\n\n\
         Made from the table in `src/http/endpoint/table.rs`; `REWRITE=1 cargo test docs` \
         writes it anew.\n\n\
         A path that ends in `/` takes what follows as its argument. *Waits*: can be asked with `index` and \
         `wait`. *Right*: what an access rule will have to allow.\n\
         Endpoints not yet there answer 501 and name themselves.\n\n\
         | Path | Methods | There | Waits | Right |\n| --- | --- | --- | --- | --- |\n",
    );
    let mark = |yes: bool| if yes { "yes" } else { "" };
    for row in ROWS {
        let methods: Vec<_> = row.methods.iter().map(Method::as_str).collect();
        let there = if row.run.is_some() { "yes" } else { "501" };
        let (path, methods, waits, right) = (row.path, methods.join(", "), mark(row.waits), row.right);
        writeln!(page, "| `{path}` | {methods} | {there} | {waits} | {right} |").unwrap();
    }
    page
}

#[test]
fn docs_are_fresh() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/endpoints.md");
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        written,
        page(),
        "docs/endpoints.md is stale: REWRITE=1 cargo test docs"
    );
}

#[test]
fn no_path_answers_a_method_twice() {
    for (path, rows) in PATHS.iter() {
        let methods: Vec<_> = rows
            .iter()
            .flat_map(|row| row.methods)
            .map(Method::as_str)
            .collect();
        let unique: std::collections::BTreeSet<_> = methods.iter().collect();
        assert_eq!(unique.len(), methods.len(), "{path}");
    }
}

#[test]
fn a_path_finds_its_own_row_first_and_else_the_longest_before_it() {
    let found = |path: &str| find(path).ok().map(|found| (found.rows[0].path, found.rest));
    let row = |path, rest: &str| Some((path, rest.to_owned()));
    assert_eq!(found("/v1/kv/a/b"), row("/v1/kv/", "a/b"));
    assert_eq!(found("/v1/kv/"), row("/v1/kv/", ""));
    assert_eq!(
        found("/v1/agent/service/register"),
        row("/v1/agent/service/register", "")
    );
    assert_eq!(found("/v1/agent/service/web"), row("/v1/agent/service/", "web"));
    for path in ["/v1/agent/self/", "/v1/kv", "/nowhere", "/v1/agent/service"] {
        assert_eq!(found(path), None, "{path}");
    }
}
