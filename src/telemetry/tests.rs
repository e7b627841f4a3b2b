//! `docs/metrics.md` is written from the tables that the parts export from.

use std::fmt::Write as _;

const INTRODUCTION: &str = "\
# Metrics

Prometheus text, on `/metrics` of the API (`-http-port`) and of the balancer's admin server (`-ui.addr`), and as
`/v1/agent/metrics?format=prometheus`. Always on. `lictor registrator` has them where `-http` says.

Generated from the tables in the code; `REWRITE=1 cargo test docs` writes it anew. To add a metric: a row in the
`METRICS` table of its part, and one line where it happens.
";

type Row = (&'static str, &'static str, &'static [&'static str], &'static str);

const FABIO: &str = "
## fabio's names

What `metrics.target` sends anywhere; with `prometheus` in it, also found beside the above, below a namespace of its
own. How names are made is in [observability.md](observability.md#metrics). A row exists where one of its listeners
does.

| Metric | Kind | Labels | Listeners | Meaning |
|---|---|---|---|---|
";

fn fabio(page: &mut String) {
    page.push_str(FABIO);
    for row in lb::metrics::FABIO {
        let labels: Vec<_> = row.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind) = (row.name, row.kind.as_str());
        let (labels, listeners) = (labels.join(" "), row.group.listeners());
        let _ = writeln!(
            page,
            "| `{name}` | {kind} | {labels} | {listeners} | {} |",
            row.help
        );
    }
}

fn page() -> String {
    let of_lb = lb::metrics::METRICS
        .iter()
        .map(|row| (row.name, row.kind.as_str(), row.labels, row.help));
    let parts: [(&str, Vec<Row>); 8] = [
        ("Balancer", of_lb.collect()),
        ("Source of routes", crate::feed::metrics::METRICS.to_vec()),
        ("Registrator", registrator::metrics::METRICS.to_vec()),
        ("Checks", crate::check::metrics::METRICS.to_vec()),
        ("DNS", crate::dns::metrics::METRICS.to_vec()),
        ("HTTP API", crate::http::METRICS.to_vec()),
        ("Log", super::METRICS.to_vec()),
        ("Process", crate::process::METRICS.to_vec()),
    ];
    let mut page = INTRODUCTION.to_owned();
    for (title, rows) in parts {
        let _ = write!(
            page,
            "\n## {title}\n\n| Metric | Kind | Labels | Meaning |\n|---|---|---|---|\n"
        );
        for (name, kind, labels, help) in rows {
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let _ = writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels.join(" "));
        }
    }
    fabio(&mut page);
    page
}

#[test]
fn the_page_of_metrics_in_docs_is_what_the_tables_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if std::env::var_os("REWRITE").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == page(),
        "docs/metrics.md is stale: REWRITE=1 cargo test docs"
    );
}
