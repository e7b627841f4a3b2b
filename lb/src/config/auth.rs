//! Authentication schemes: `proxy.auth`. Routes and the admin server ask for them by name.

use std::sync::Arc;
use std::time::Duration;

use super::{BadValue, Item, words};

/// One scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthScheme {
    /// `name`.
    pub name: Arc<str>,
    /// `type`, and its options.
    pub kind: AuthKind,
}

/// What asks for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthKind {
    /// `basic`: user and password in an htpasswd file.
    Basic {
        /// `file`: the htpasswd file.
        file: String,
        /// `realm`: what the client is told; by default the scheme's name.
        realm: String,
        /// `refresh`: time between two looks at the file; `None`: read once.
        refresh: Option<Duration>,
        /// `forward=true`: targets see the Authorization header that let the request in. fabio always sends it on,
        /// which hands every password to every target (fabio #671).
        forward: bool,
    },
    /// `external`: a GET to another server, whose 2xx lets the request in (fabio PR 1082).
    External {
        /// `endpoint`: its URL.
        endpoint: String,
        /// `set-auth-headers`: headers of its answer that replace those of the request.
        set_headers: Vec<String>,
        /// `append-auth-headers`: headers of its answer that are added to those of the request.
        append_headers: Vec<String>,
        /// `timeout`: how long it may take; default 5 s. No answer lets nobody in.
        timeout: Duration,
    },
}

/// Every type of authentication scheme, with its options beside `name` and `type`.
pub const AUTH_TYPES: &[(&str, &[&str])] = &[
    ("basic", &["file", "realm", "refresh", "forward"]),
    (
        "external",
        &["endpoint", "set-auth-headers", "append-auth-headers", "timeout"],
    ),
];
/// An answer of another server that takes longer lets nobody in.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Looking at a file more often helps nobody.
const LEAST_REFRESH: Duration = Duration::from_secs(1);

/// `proxy.auth`: `name=<n>;type=basic;file=<htpasswd>[;realm=<r>][;refresh=<d>][;forward=true]` or
/// `name=<n>;type=external;endpoint=<url>[;set-auth-headers=…][;append-auth-headers=…][;timeout=<d>]`, separated by
/// commas.
pub fn parse_auth(text: &str) -> (Vec<AuthScheme>, Vec<BadValue>) {
    super::each("proxy.auth", text, scheme, |scheme| &scheme.name)
}

fn scheme(item: &Item) -> Result<AuthScheme, BadValue> {
    let get = |key: &str| {
        let given = item.iter().rev().find(|(name, _)| name == key);
        given
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    };
    let name =
        get("name").ok_or_else(|| BadValue::new("missing 'name' in auth", "routes ask for it by name"))?;
    let needs = |key: &str| {
        get(key).ok_or_else(|| {
            BadValue::new(
                format!("missing '{key}' in auth '{name}'"),
                format!("it needs {key}=…"),
            )
        })
    };
    let given = needs("type")?;
    let kind = match given {
        "basic" => AuthKind::Basic {
            file: needs("file")?.to_owned(),
            realm: get("realm").unwrap_or(name).to_owned(),
            refresh: time(get("refresh"), "refresh")?.map(|refresh| refresh.max(LEAST_REFRESH)),
            forward: super::truth("proxy.auth", "forward", get("forward").unwrap_or_default())?,
        },
        "external" => AuthKind::External {
            endpoint: endpoint(needs("endpoint")?, name)?,
            set_headers: headers(get("set-auth-headers"), name)?,
            append_headers: headers(get("append-auth-headers"), name)?,
            timeout: time(get("timeout"), "timeout")?.unwrap_or(TIMEOUT),
        },
        other => {
            return Err(BadValue::new(
                format!("unknown auth type '{other}'"),
                "it is basic or external",
            ));
        }
    };
    let options = AUTH_TYPES.iter().find(|(known, _)| *known == given);
    let options = options.map_or(&[][..], |(_, options)| options);
    let stray = item
        .iter()
        .find(|(key, _)| !matches!(key.as_str(), "name" | "type") && !options.contains(&key.as_str()));
    match stray {
        Some((key, _)) => Err(BadValue::new(
            format!("unknown option '{key}' in auth '{name}'"),
            format!("there are {}", options.join(", ")),
        )),
        None => Ok(AuthScheme {
            name: name.into(),
            kind,
        }),
    }
}

/// A time, of which zero means none.
fn time(text: Option<&str>, key: &str) -> Result<Option<Duration>, BadValue> {
    let time = text
        .map(|text| super::duration("proxy.auth", key, text))
        .transpose()?;
    Ok(time.filter(|time| !time.is_zero()))
}

fn endpoint(text: &str, name: &str) -> Result<String, BadValue> {
    let uri: Option<hyper::Uri> = text.parse().ok();
    let known =
        uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    if known {
        return Ok(text.to_owned());
    }
    Err(BadValue::new(
        format!("invalid endpoint in auth '{name}'"),
        "it is http://host[:port]/path or https://…",
    ))
}

fn headers(text: Option<&str>, name: &str) -> Result<Vec<String>, BadValue> {
    let header = |word: &str| match hyper::header::HeaderName::from_bytes(word.as_bytes()) {
        Ok(_) => Ok(word.to_owned()),
        Err(_) => Err(BadValue::new(
            format!("invalid header '{word}' in auth '{name}'"),
            "it is a list of header names, in quotes where there are several",
        )),
    };
    words(text.unwrap_or_default()).map(header).collect()
}
