//! The endpoint table: one row per route and method that Consul has, ours or not yet ours.
//!
//! The router, `docs/endpoints.md` and the 501 of what is missing all come from these rows.
//! To add an endpoint, write its handler and give its row to it.

mod table;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::LazyLock;

use hyper::{Method, StatusCode, header};

use self::table::ROWS;
use super::reply::{Fault, Reply};
use super::request::Ask;

/// An answer under way.
pub type Pending = Pin<Box<dyn Future<Output = Result<Reply, Fault>> + Send>>;
/// Parses, asks, shapes.
pub type Handler = fn(Ask) -> Pending;

/// Largest value of a key.
const MAX_VALUE: u64 = 512 << 10;
/// Largest JSON body; a registration is a few kilobytes.
const MAX_JSON: u64 = 1 << 20;

/// What a request brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// Nothing that is looked at.
    None,
    /// JSON.
    Json,
    /// The value of a key, as it is.
    Value,
}

impl BodyKind {
    /// In bytes; `None` where the body is not read.
    pub fn limit(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Json => Some(MAX_JSON),
            Self::Value => Some(MAX_VALUE),
        }
    }
}

/// One endpoint.
pub struct Row {
    /// With a slash at its end it takes the rest of the path as its argument.
    pub path: &'static str,
    /// All that do the same.
    pub methods: &'static [Method],
    /// `None`: known, but not implemented by this version.
    pub run: Option<Handler>,
    /// Whether it can be asked with `index` (or `hash`) and `wait`.
    pub waits: bool,
    /// What an access rule has to allow; nothing is refused while there are no such rules.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "access rules come later; until then the page shows it")
    )]
    pub right: &'static str,
    /// What it reads.
    pub body: BodyKind,
}

impl Row {
    const fn new(methods: &'static [Method], path: &'static str, right: &'static str) -> Self {
        Self {
            path,
            methods,
            run: None,
            waits: false,
            right,
            body: BodyKind::None,
        }
    }

    const fn run(mut self, handler: Handler) -> Self {
        self.run = Some(handler);
        self
    }

    const fn waits(mut self) -> Self {
        self.waits = true;
        self
    }

    const fn reads(mut self, body: BodyKind) -> Self {
        self.body = body;
        self
    }
}

/// The rows of one path, and what of the path is their argument.
pub struct Found {
    rows: &'static [&'static Row],
    /// Empty where the row takes the whole path.
    pub rest: String,
}

/// Rows by path.
static PATHS: LazyLock<BTreeMap<&'static str, Vec<&'static Row>>> = LazyLock::new(|| {
    let mut paths = BTreeMap::<_, Vec<_>>::new();
    for row in ROWS {
        paths.entry(row.path).or_default().push(row);
    }
    paths
});

/// The rows of a path: exactly its own, or those of the longest path before it that ends in a slash.
pub fn find(path: &str) -> Result<Found, Fault> {
    if let Some(rows) = PATHS.get(path) {
        return Ok(Found {
            rows,
            rest: String::new(),
        });
    }
    // "/" is the root's own and no prefix of everything.
    let ends = path
        .rmatch_indices('/')
        .map(|(at, _)| at + 1)
        .filter(|end| *end > 1);
    let found = ends
        .filter_map(|end| Some((PATHS.get(&path[..end])?, &path[end..])))
        .next();
    match found {
        Some((rows, rest)) => Ok(Found {
            rows,
            rest: rest.to_owned(),
        }),
        None => Err(Fault::missing(
            "Invalid URL path: not a recognized HTTP API endpoint",
        )),
    }
}

impl Found {
    /// The row for a method. `HEAD` is answered as `GET` is, without the body.
    pub fn row(&self, method: &Method) -> Result<&'static Row, Fault> {
        let method = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        self.rows
            .iter()
            .find(|row| row.methods.contains(method))
            .copied()
            .ok_or_else(|| {
                Fault::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    format!("method {method} not allowed"),
                )
                .header(header::ALLOW, &self.allowed())
            })
    }

    /// Methods of this path, for `Allow`.
    pub fn allowed(&self) -> String {
        let methods = self.rows.iter().flat_map(|row| row.methods).map(Method::as_str);
        ["OPTIONS"]
            .into_iter()
            .chain(methods)
            .collect::<Vec<_>>()
            .join(",")
    }
}

/// Runs the row's handler, or says by name that there is none.
pub async fn run(row: &'static Row, ask: Ask) -> Result<Reply, Fault> {
    match row.run {
        Some(handler) => handler(ask).await,
        None => Err(not_implemented(&format!("{} {}", ask.method, row.path))),
    }
}

/// 501 for something known and missing.
pub fn not_implemented(what: &str) -> Fault {
    let text = format!("{what} is not implemented by this version of Lictor");
    Fault::new(StatusCode::NOT_IMPLEMENTED, text)
}

/// An answer that waits for nobody.
fn now(answer: Result<Reply, Fault>) -> Pending {
    Box::pin(std::future::ready(answer))
}

#[cfg(test)]
mod tests;
