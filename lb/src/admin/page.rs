//! The routing table as a plain page: no script, every text of a stranger escaped.

use std::fmt::Write as _;

use crate::table::{Row, Table, Unfit};

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Routes</title><style>\
body{font:14px/1.4 system-ui,sans-serif;margin:2em}table{border-collapse:collapse}\
td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}td{font-family:monospace}\
tr.off td{color:#888}h2{margin-top:2em}</style>";

/// The page; `query` may carry `filter=`, words that must all appear in a row.
pub(super) fn routes(table: &Table, query: &str) -> String {
    let filter = filter(query);
    let words: Vec<String> = filter.split_whitespace().map(str::to_lowercase).collect();
    let mut page = String::from(HEAD);
    let _ = write!(
        page,
        "<h1>Routes</h1><form><input name=\"filter\" value=\"{}\" placeholder=\"all these words\"> \
         <button>Filter</button></form>\
         <table><tr><th>#<th>Service<th>Source<th>Dest<th>Options<th>Weight",
        escape(&filter)
    );
    let mut number = 0;
    let mut row = |service: &str, src: &str, dst: &str, opts: &str, weight: &str| {
        let text = format!("{service} {src} {dst} {opts}").to_lowercase();
        if words.iter().all(|word| text.contains(word)) {
            number += 1;
            let class = if weight.is_empty() { " class=\"off\"" } else { "" };
            let cells = [service, src, dst, opts, weight].map(escape).join("<td>");
            let _ = write!(page, "<tr{class}><td>{number}<td>{cells}");
        }
    };
    for Row {
        service,
        src,
        dst,
        opts,
        weight,
        ..
    } in table.rows()
    {
        row(&service, &src, &dst, &opts, &format!("{:.2}%", weight * 100.0));
    }
    for route in table.routes() {
        let src = format!("{}{}", route.host, route.path);
        for Unfit {
            service,
            instance,
            why,
        } in &route.unfit
        {
            row(service, &src, &format!("{instance}: {why}"), "", "");
        }
    }
    page.push_str("</table>");
    if table.skipped().next().is_some() {
        page.push_str("<h2>Tags that make no route</h2><table><tr><th>Service<th>Instance<th>Tag<th>Why");
        for skipped in table.skipped() {
            let cells = [
                &*skipped.service,
                &*skipped.instance,
                &skipped.tag,
                &skipped.reason,
            ];
            let _ = write!(page, "<tr><td>{}", cells.map(escape).join("<td>"));
        }
        page.push_str("</table>");
    }
    page
}

fn filter(query: &str) -> String {
    let value = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("filter="))
        .unwrap_or("");
    percent_encoding::percent_decode_str(&value.replace('+', " "))
        .decode_utf8_lossy()
        .into_owned()
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            plain => out.push(plain),
        }
    }
    out
}
