//! What a route changes on the way: headers of requests and answers, and the path. Pure.

use std::borrow::Cow;

use hyper::http::header::HeaderMap;
use percent_encoding::percent_decode_str;

use crate::http::headers::drop_lookalikes;
use crate::http::path::encode;
use crate::table::options::{HeaderRule, Rewrite};

/// Does to `headers` what `rules` say, in their order.
pub(crate) fn apply(headers: &mut HeaderMap, rules: &[HeaderRule]) {
    for rule in rules {
        match rule {
            HeaderRule::Set(name, value) => {
                drop_lookalikes(headers, std::slice::from_ref(name));
                headers.insert(name.clone(), value.clone());
            }
            HeaderRule::Add(name, value) => {
                headers.append(name.clone(), value.clone());
            }
            HeaderRule::Delete(name) => {
                drop_lookalikes(headers, std::slice::from_ref(name));
                headers.remove(name);
            }
        }
    }
}

/// An encoded path after `rewrite=`: the pattern sees it decoded, the first place that fits is replaced, and the outcome
/// is encoded anew. A path that does not fit stays as it was sent, byte by byte. The outcome may hold dot segments.
pub(crate) fn path<'a>(encoded: &'a str, rewrite: &Rewrite) -> Cow<'a, str> {
    let decoded = percent_decode_str(encoded).decode_utf8_lossy();
    match rewrite.pattern.replace(&decoded, &*rewrite.with) {
        // Also where it fits and replaces nothing by nothing.
        same if same == decoded => Cow::Borrowed(encoded),
        changed => {
            let mut path = String::with_capacity(changed.len() + 1);
            if !changed.starts_with('/') {
                path.push('/');
            }
            path.push_str(&encode(&changed));
            Cow::Owned(path)
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn rewrite(pattern: &str, with: &str) -> Rewrite {
        Rewrite {
            pattern: regex::Regex::new(pattern).unwrap(),
            with: with.into(),
        }
    }

    #[test]
    fn rules_apply_in_their_order() {
        let rule = |text: &str| {
            let words: Vec<&str> = text.split(' ').collect();
            match words[..] {
                ["set", name, value] => HeaderRule::Set(name.parse().unwrap(), value.parse().unwrap()),
                ["add", name, value] => HeaderRule::Add(name.parse().unwrap(), value.parse().unwrap()),
                ["del", name] => HeaderRule::Delete(name.parse().unwrap()),
                _ => panic!("{text}"),
            }
        };
        let rules = [
            "set x-a new",
            "add x-b 2",
            "add x-b 3",
            "del x-c",
            "set x-d 1",
            "del x-d",
            "set x-forwarded-proto https",
        ]
        .map(rule);
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-a", "1"),
            ("x-a", "2"),
            ("x-b", "1"),
            ("x-c", "1"),
            ("host", "a"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        apply(&mut headers, &rules);
        let mut lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "host: a",
                "x-a: new",
                "x-b: 1",
                "x-b: 2",
                "x-b: 3",
                "x-forwarded-proto: https"
            ]
        );
    }

    #[test]
    fn a_path_is_seen_decoded_and_sent_encoded() {
        for (pattern, with, sent, expected) in [
            ("^/v1/(.*)", "/api/$1", "/v1/users", "/api/users"),
            ("^/v1/(.*)", "/api/$1", "/v2/users", "/v2/users"),
            ("^/a b/", "/x/", "/a%20b/c%20d", "/x/c%20d"),
            ("^/v1", "", "/v1/x%2Fy%3Fz", "/x/y%3Fz"),
            ("^/v1", "", "/v1", "/"),
            ("^/v1/", "", "/v1/x", "/x"),
            ("o", "0", "/foo/oo", "/f0o/oo"),
            ("^/x", "/y?z=1#%", "/x", "/y%3Fz=1%23%25"),
            ("^/(?P<name>[^/]+)/", "/${name}s/", "/user/7", "/users/7"),
            ("^/none", "/", "/%61%2Fb", "/%61%2Fb"),
            ("^/ä", "/ö", "/%C3%A4", "/%C3%B6"),
        ] {
            assert_eq!(
                path(sent, &rewrite(pattern, with)),
                expected,
                "{pattern} {with} {sent}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_outcome_is_always_a_path(sent in "/([ -~]|%[0-9a-f]{2}){0,20}", with in "[ -~]{0,10}") {
            let rewrite = rewrite("[a-m]+", &with);
            let changed = path(&sent, &rewrite);
            prop_assert!(changed.starts_with('/'));
            if changed != sent {
                prop_assert!(hyper::Uri::try_from(&*changed).is_ok_and(|uri| uri.query().is_none()), "{}", changed);
            }
        }
    }
}
