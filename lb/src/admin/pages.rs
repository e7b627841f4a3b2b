//! Pages for people: plain HTML, every text of a stranger escaped, style and script served beside it.

use std::fmt::Write as _;

use super::api::{Figures, Standings, parameter, standings};
use super::{View, manual as overrides};
use crate::config::{SourceLinks, Ui};
use crate::policy::page::escaped;
use crate::table::{Route, Skipped, Target, Unfit};

/// Saves what is in the editor; the page is read without it, too.
pub(super) const SCRIPT: &str = include_str!("pages/manual.js");
const STYLE: &str = include_str!("pages/style.css");
const HELP: &str = include_str!("pages/help.html");

/// Colours of Material Design by the names that Materialize has for them (`ui.color`), shade 500.
const COLORS: [(&str, &str); 19] = [
    ("red", "#f44336"),
    ("pink", "#e91e63"),
    ("purple", "#9c27b0"),
    ("deep-purple", "#673ab7"),
    ("indigo", "#3f51b5"),
    ("blue", "#2196f3"),
    ("light-blue", "#03a9f4"),
    ("cyan", "#00bcd4"),
    ("teal", "#009688"),
    ("green", "#4caf50"),
    ("light-green", "#8bc34a"),
    ("lime", "#cddc39"),
    ("yellow", "#ffeb3b"),
    ("amber", "#ffc107"),
    ("orange", "#ff9800"),
    ("deep-orange", "#ff5722"),
    ("brown", "#795548"),
    ("grey", "#9e9e9e"),
    ("blue-grey", "#607d8b"),
];

/// `color` may carry a shade (`red darken-2`), which is passed over; an unknown one is light green.
pub(super) fn style(color: &str) -> String {
    let name = color.split(' ').next().unwrap_or_default();
    let known = COLORS.iter().find(|(known, _)| *known == name);
    STYLE.replace("$color", known.map_or("#8bc34a", |(_, code)| code))
}

/// The table; `query` may carry `filter=`, words that must all appear in a row.
pub(super) fn routes(view: &View, query: &str) -> String {
    let ui = view.ui();
    let table = view.live.load();
    let filter = parameter(query, "filter").unwrap_or_default();
    let mut page = head(&ui, "Routes");
    let _ = write!(
        page,
        "<form><input name=\"filter\" value=\"{}\" placeholder=\"all these words\"> <button>Filter</button></form>\
         <table><tr><th>#<th>Service<th>Source<th>Dest<th>Options<th>Weight<th>State<th>Requests<th>Errors\
         <th>In flight",
        escaped(&filter)
    );
    let mut rows = Rows {
        page,
        words: filter.split_whitespace().map(str::to_lowercase).collect(),
        links: ui.source_links.as_ref(),
        standings: standings(view),
        number: 0,
    };
    for route in table.routes() {
        for target in &route.targets {
            rows.target(route, target);
        }
        for unfit in route.unfit() {
            rows.unfit(route, unfit);
        }
    }
    let mut page = rows.page;
    page.push_str("</table>");
    listed(&mut page, "Tags and lines that make no route", table.skipped());
    listed(
        &mut page,
        "Options without the effect that was meant",
        table.notes(),
    );
    page
}

struct Rows<'a> {
    page: String,
    words: Vec<String>,
    links: Option<&'a SourceLinks>,
    standings: Standings,
    number: usize,
}

impl Rows<'_> {
    fn target(&mut self, route: &Route, target: &Target) {
        let figures = Figures::of(route, target, &self.standings);
        let shown = target.options.shown.iter();
        let opts: Vec<String> = shown.map(|(key, value)| format!("{key}={value}")).collect();
        let cells = [
            target.part.service.to_string(),
            route.source(),
            target.url().into_owned(),
            opts.join(" "),
            format!("{:.2}%", target.share * 100.0),
            figures.state,
            figures.requests.to_string(),
            figures.errors.to_string(),
            figures.in_flight.to_string(),
        ];
        self.row(route, &cells, "");
    }

    fn unfit(&mut self, route: &Route, unfit: &Unfit) {
        let mut cells: [String; 9] = Default::default();
        cells[0] = unfit.service.to_string();
        cells[1] = route.source();
        cells[2] = unfit.instance.to_string();
        cells[5] = unfit.why.to_string();
        self.row(route, &cells, "off");
    }

    fn row(&mut self, route: &Route, cells: &[String; 9], class: &str) {
        let text = cells.join(" ").to_lowercase();
        if !self.words.iter().all(|word| text.contains(word)) {
            return;
        }
        self.number += 1;
        // A tag with a URL where a host belongs never matches anything.
        let is_url = ["http://", "https://"]
            .iter()
            .any(|scheme| cells[1].starts_with(scheme));
        let class = if is_url { "wrong" } else { class };
        let _ = write!(self.page, "<tr class=\"{class}\"><td>{}", self.number);
        for (at, cell) in cells.iter().enumerate() {
            let cell = match self
                .links
                .filter(|_| at == 1)
                .and_then(|links| link(links, route))
            {
                Some((there, attributes)) => {
                    format!(
                        "<a href=\"{}\"{attributes}>{}</a>",
                        escaped(&there),
                        escaped(cell)
                    )
                }
                None => escaped(cell),
            };
            let _ = write!(self.page, "<td>{cell}");
        }
    }
}

/// Where a source leads (`ui.routingtable.source.*`); nowhere without a host, or where it is a port.
fn link(links: &SourceLinks, route: &Route) -> Option<(String, &'static str)> {
    let host = if links.host.is_empty() {
        &*route.host
    } else {
        &links.host
    };
    // Only what a browser opens: never `javascript:`.
    let web = matches!(&*links.scheme, "http" | "https");
    if !web || host.is_empty() || route.host.starts_with(':') || !route.path.starts_with('/') {
        return None;
    }
    let port = if links.port.is_empty() {
        String::new()
    } else {
        format!(":{}", links.port)
    };
    let attributes = if links.new_tab {
        " target=\"_blank\" rel=\"noopener noreferrer\""
    } else {
        ""
    };
    Some((
        format!("{}://{host}{port}{}", links.scheme, route.path),
        attributes,
    ))
}

fn listed<'a>(page: &mut String, title: &str, all: impl Iterator<Item = &'a Skipped>) {
    let mut all = all.peekable();
    if all.peek().is_none() {
        return;
    }
    let _ = write!(
        page,
        "<h2>{title}</h2><table><tr><th>Service<th>Instance<th>Tag<th>Why"
    );
    for skipped in all {
        let cells = [
            &*skipped.service,
            &*skipped.instance,
            &skipped.tag,
            &skipped.reason,
        ];
        let _ = write!(page, "<tr><td>{}", cells.map(escaped).join("<td>"));
    }
    page.push_str("</table>");
}

/// The editor of one document.
pub(super) async fn manual(view: &View, sub: &str) -> String {
    let ui = view.ui();
    let mut page = head(&ui, "Overrides");
    let base = escaped(&ui.path);
    page.push_str("<p>Documents:");
    for name in overrides::names(view).await.unwrap_or_default() {
        let shown = if name.is_empty() { "(default)" } else { &name };
        let there = encoded(&name);
        let _ = write!(page, " <a href=\"{base}/manual{there}\">{}</a>", escaped(shown));
    }
    match overrides::read(view, sub).await {
        Ok((value, version)) => {
            let _ = write!(
                page,
                "<form id=\"editor\" data-api=\"{base}/api/manual{}\" data-version=\"{version}\">\
                 <textarea name=\"value\" spellcheck=\"false\">\n{}</textarea>\
                 <p><button>Save</button> <output id=\"outcome\"></output>\
                 <noscript>Saving needs a script; without it, PUT to the address in the text below.</noscript></form>",
                encoded(sub),
                escaped(&value)
            );
        }
        Err(_) => page.push_str("<p class=\"wrong\">The key-value store cannot be read; see the log."),
    }
    page.push_str(HELP);
    let _ = write!(page, "<script src=\"{base}/assets/manual.js\"></script>");
    page
}

fn head(ui: &Ui, what: &str) -> String {
    let title = if ui.title.is_empty() {
        String::new()
    } else {
        format!("{} – ", escaped(&ui.title))
    };
    let base = escaped(&ui.path);
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}{what}</title>\
         <link rel=\"stylesheet\" href=\"{base}/assets/style.css\">\
         <header><h1>{title}{what}</h1><nav><a href=\"{base}/routes\">Routes</a> \
         <a href=\"{base}/manual\">Overrides</a></nav></header>"
    )
}

/// As part of a path.
fn encoded(sub: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    percent_encoding::utf8_percent_encode(sub, KEPT).to_string()
}
