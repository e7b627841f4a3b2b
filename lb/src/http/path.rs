//! The path of a request: as routes see it and as servers get it. Pure.
//!
//! Both views come from one cleaned path, so no server behind us can resolve `..`, `//` or `%2e` into a
//! path that another route, with other rules, would have answered for.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A path without dot segments and doubled slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path<'a> {
    /// Encoded as the client encoded it.
    pub encoded: Cow<'a, str>,
    /// What prefixes and patterns are compared with.
    pub decoded: Cow<'a, str>,
}

/// The path encodes a byte that no path has a use for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path contains an encoded control character (%{0:02X})")]
pub(crate) struct BadPath(u8);

impl<'a> Path<'a> {
    /// Cleans the path of a request target.
    pub(crate) fn clean(sent: &'a str) -> Result<Self, BadPath> {
        let encoded = if needs_cleaning(sent) {
            Cow::Owned(without_dots(sent))
        } else {
            Cow::Borrowed(sent)
        };
        if !encoded.contains('%') {
            return Ok(Self {
                decoded: encoded.clone(),
                encoded,
            });
        }
        if let Some(control) = percent_decode_str(&encoded).find(|byte| byte.is_ascii_control()) {
            return Err(BadPath(control));
        }
        let decoded = percent_decode_str(&encoded).decode_utf8_lossy().into_owned();
        // A server that takes `%2F` for a slash would resolve these dots, so they are resolved here.
        let slashes = encoded.replace("%2f", "/").replace("%2F", "/");
        if slashes != encoded && decoded.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Path::clean(&slashes).map(Path::into_owned);
        }
        Ok(Self {
            encoded,
            decoded: Cow::Owned(decoded),
        })
    }
}

impl Path<'_> {
    fn into_owned(self) -> Path<'static> {
        Path {
            encoded: Cow::Owned(self.encoded.into_owned()),
            decoded: Cow::Owned(self.decoded.into_owned()),
        }
    }
}

fn needs_cleaning(path: &str) -> bool {
    let bytes = path.as_bytes();
    let suspicious = |pair: &[u8]| pair[0] == b'/' && matches!(pair[1], b'/' | b'.' | b'%');
    bytes.windows(2).any(suspicious) || bytes.first() == Some(&b'.')
}

/// Resolves `.` and `..` (encoded or not) and drops empty segments; keeps a slash at the end.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut open_end = false;
    for segment in path.split('/').skip(1) {
        open_end = true;
        match percent_decode_str(segment).collect::<Vec<u8>>().as_slice() {
            b"" | b"." => {}
            b".." => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                open_end = false;
            }
        }
    }
    let mut clean = String::with_capacity(path.len());
    for segment in &kept {
        clean.push('/');
        clean.push_str(segment);
    }
    if open_end || kept.is_empty() {
        clean.push('/');
    }
    clean
}

/// The path a server gets: `strip` removed where the path starts with it, then `prepend` put before.
pub(crate) fn rewrite<'a>(encoded: &'a str, strip: Option<&str>, prepend: Option<&str>) -> Cow<'a, str> {
    let stripped = strip
        .filter(|prefix| !prefix.is_empty())
        .and_then(|prefix| rest_after(encoded, prefix));
    let path = match stripped {
        Some(rest) if rest.starts_with('/') => Cow::Borrowed(rest),
        Some(rest) => Cow::Owned(format!("/{rest}")),
        None => Cow::Borrowed(encoded),
    };
    match prepend.filter(|prefix| !prefix.is_empty()) {
        None => path,
        Some(prefix) => {
            let slash = if prefix.starts_with('/') { "" } else { "/" };
            Cow::Owned(format!("{slash}{prefix}{path}"))
        }
    }
}

/// What follows `prefix` (not encoded) in an encoded path.
fn rest_after<'a>(encoded: &'a str, prefix: &str) -> Option<&'a str> {
    if let Some(rest) = encoded.strip_prefix(prefix) {
        return Some(rest);
    }
    // By bytes: a path may hold characters of several, and a prefix may end within what they encode.
    let mut at = 0;
    for wanted in prefix.bytes() {
        let (byte, length) = match &encoded.as_bytes()[at..] {
            [b'%', high, low, ..] => (hex(*high)? << 4 | hex(*low)?, 3),
            [byte, ..] => (*byte, 1),
            [] => return None,
        };
        if byte != wanted {
            return None;
        }
        at += length;
    }
    encoded.get(at..)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn characters_of_several_bytes_are_stripped_whole_or_not_at_all() {
        for (sent, strip, left) in [
            ("/%61é", "/aé", "/"),
            ("/è/x", "/é", "/è/x"),
            ("/%C3%A9/x", "/é", "/x"),
            ("/é/x", "/é", "/x"),
        ] {
            assert_eq!(rewrite(sent, Some(strip), None), left, "{sent} {strip}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_stripped_of_whatever_path_costs_no_panic(path in "/[a%C3\\xA9éè/]{0,6}", strip in "/[aéè/]{0,3}") {
            rewrite(&path, Some(&strip), None);
        }
    }

    #[test]
    fn a_path_is_cleaned_the_same_way_for_routes_and_servers() {
        for (sent, encoded, decoded) in [
            ("/", "/", "/"),
            ("/a/b", "/a/b", "/a/b"),
            ("/a//b/", "/a/b/", "/a/b/"),
            ("/a/./b", "/a/b", "/a/b"),
            ("/a/../b", "/b", "/b"),
            ("/../..", "/", "/"),
            ("/a/..", "/", "/"),
            ("/a/b/..", "/a/", "/a/"),
            ("/a/%2e%2E/b", "/b", "/b"),
            ("/.hidden/..x", "/.hidden/..x", "/.hidden/..x"),
            ("/a%2Fb", "/a%2Fb", "/a/b"),
            ("/a%20b", "/a%20b", "/a b"),
            ("/a%23b%3Fc", "/a%23b%3Fc", "/a#b?c"),
            ("/%252e", "/%252e", "/%2e"),
            ("/a/x%2f..%2Fb%20c", "/a/b%20c", "/a/b c"),
            ("/a%2F%2e%2e%2fb", "/b", "/b"),
            ("//evil.com/x", "/evil.com/x", "/evil.com/x"),
        ] {
            let path = Path::clean(sent).unwrap();
            assert_eq!((&*path.encoded, &*path.decoded), (encoded, decoded), "{sent}");
        }
        assert_eq!(Path::clean("/a%00b"), Err(BadPath(0)));
        assert_eq!(Path::clean("/a%0d%0ab"), Err(BadPath(13)));
    }

    #[test]
    fn strip_and_prepend_change_the_path_and_keep_its_encoding() {
        for (path, strip, prepend, expected) in [
            ("/a/b", Some("/a"), None, "/b"),
            ("/a", Some("/a"), None, "/"),
            ("/ab", Some("/a"), None, "/b"),
            ("/x", Some("/a"), None, "/x"),
            ("/a/b%2Fc", Some("/a"), None, "/b%2Fc"),
            ("/%61%20b/c", Some("/a b"), None, "/c"),
            ("/a/b", Some("/a"), Some("/p"), "/p/b"),
            ("/b", None, Some("p"), "/p/b"),
            ("/b", Some(""), Some(""), "/b"),
        ] {
            assert_eq!(
                rewrite(path, strip, prepend),
                expected,
                "{path} {strip:?} {prepend:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing(path in "(/([a-z.]|%2[eEfF]|%){0,4}){1,6}/?") {
            if let Ok(once) = Path::clean(&path) {
                prop_assert!(once.encoded.starts_with('/'));
                let encoded = once.encoded.into_owned();
                let twice = Path::clean(&encoded).unwrap();
                prop_assert_eq!(twice.encoded.as_ref(), encoded.as_str());
            }
        }
    }
}
