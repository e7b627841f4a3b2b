//! A value that must not be shown.

use std::fmt;

/// Text that prints as stars.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

/// What stands in the place of a secret.
pub const STARS: &str = "***";

/// A URL without what may be a secret in it: user and password, and the values of its query. What is no URL stays.
#[must_use]
pub fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (place, query) = match rest.split_once('?') {
        None => (rest, None),
        Some((place, query)) => (place, Some(query)),
    };
    let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{STARS}@{host}"),
        // A password with a slash or a question mark in it: nobody can tell where it ends.
        None if has_odd_port(authority) => return format!("{scheme}://{STARS}"),
        None => authority.to_owned(),
    };
    let value = |pair: &str| match pair.split_once('=') {
        Some((name, _)) => format!("{name}={STARS}"),
        None => STARS.to_owned(),
    };
    let values = |query: &str| query.split('&').map(value).collect::<Vec<_>>().join("&");
    let query = query.map_or_else(String::new, |query| format!("?{}", values(query)));
    format!("{scheme}://{authority}{path}{query}")
}

fn has_odd_port(authority: &str) -> bool {
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| !port.ends_with(']') && !port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_urls_are_stars_and_the_rest_stays() {
        for (url, expected) in [
            (
                "http://c:8500/v1/kv/certs?token=abc&dc=x",
                "http://c:8500/v1/kv/certs?token=***&dc=***",
            ),
            ("https://me:pass@host/list", "https://***@host/list"),
            ("https://me:p@ss@host", "https://***@host"),
            ("https://me:pass@host?a=b@c", "https://***@host?a=***"),
            ("https://host/a@b", "https://host/a@b"),
            ("https://[::1]:81/x", "https://[::1]:81/x"),
            ("https://[::1]/x", "https://[::1]/x"),
            ("https://me:p/ss@host/x", "https://***"),
            ("https://me:p?ss@host/x", "https://***"),
            ("/etc/certs", "/etc/certs"),
            ("/etc/what?", "/etc/what?"),
            ("http://h/?secret", "http://h/?***"),
        ] {
            assert_eq!(masked(url), expected);
        }
    }
}
