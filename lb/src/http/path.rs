//! The path of a request: as routes see it and as servers get it. Pure.
//!
//! Servers differ in what they fold: `//`, `%2F`, `\`, `;x` of a segment. A guarded route must not be walked around by
//! a spelling that the server behind it reads as a guarded path, so routes are compared with the path folded in every
//! such way ([`Path::decoded`]). What is sent is the client's own spelling, since `http:%2F%2F` in a path is somebody's
//! address; but where a server that folds less would be led to another route, it is the folded one. Dot segments never
//! reach a server.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// A path without dot segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path<'a> {
    /// As the client encoded it.
    pub encoded: Cow<'a, str>,
    /// What prefixes and patterns are compared with.
    pub decoded: Cow<'a, str>,
    /// As the client encoded what was compared, where that is folded.
    folded: Option<String>,
}

/// Why a path is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadPath {
    /// A byte that no path has a use for.
    #[error("path contains an encoded control character (%{0:02X})")]
    Control(u8),
    /// To some servers `..;x` is `..`, to others a name.
    #[error("path contains a dot segment with parameters")]
    Parameters,
}

/// All that a path may not hold as it is (RFC 3986, 3.3).
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A path as it is sent.
pub(crate) fn encode(decoded: &str) -> String {
    utf8_percent_encode(decoded, PATH).to_string()
}

impl<'a> Path<'a> {
    /// Cleans the path of a request target.
    pub(crate) fn clean(sent: &'a str) -> Result<Self, BadPath> {
        if is_plain(sent) {
            return Ok(Self {
                encoded: Cow::Borrowed(sent),
                decoded: Cow::Borrowed(sent),
                folded: None,
            });
        }
        Self::clean_odd(sent)
    }

    /// The same where there may be something to clean.
    fn clean_odd(sent: &'a str) -> Result<Self, BadPath> {
        // Of HTTP/2 a path that is a fragment and nothing else.
        let sent = if sent.is_empty() { "/" } else { sent };
        let mut encoded = rooted(sent);
        // What goes may bring a second slash to the front, and that one dots.
        while has_dots(&encoded) {
            encoded = Cow::Owned(rooted(&tidy(&encoded)).into_owned());
        }
        if !encoded.contains(['%', '\\', ';']) && !encoded.contains("//") {
            return Ok(Self {
                decoded: encoded.clone(),
                encoded,
                folded: None,
            });
        }
        if let Some(control) = percent_decode_str(&encoded).find(u8::is_ascii_control) {
            return Err(BadPath::Control(control));
        }
        let literal = decoded(&encoded);
        let segments = || literal.split(['/', '\\']);
        if segments().any(|segment| matches!(segment.split_once(';'), Some(("." | "..", _)))) {
            return Err(BadPath::Parameters);
        }
        if segments().any(|segment| matches!(segment, "." | "..")) {
            // A server that takes `%2F` or `\` for a slash would resolve these dots, so they are resolved here.
            return Path::clean(&with_plain_slashes(&encoded)).map(Path::into_owned);
        }
        if !literal.contains("//") && !literal.contains(['\\', ';']) {
            return Ok(Self {
                encoded,
                decoded: Cow::Owned(literal),
                folded: None,
            });
        }
        let folded = folded(&encoded, Parameters::Go);
        Ok(Self {
            encoded,
            decoded: Cow::Owned(decoded(&folded)),
            folded: Some(folded),
        })
    }

    /// Takes the reading that holds, knowing to which route one leads, and whether that route names parameters itself.
    ///
    /// Whatever only folds slashes reads something between the letter and the path with all slashes folded. A prefix
    /// that fits one of those fits the latter, too: where both ends lead to one route, so does all between them.
    pub(crate) fn settle<R: PartialEq>(&mut self, route: impl Fn(&str) -> Option<(R, bool)>) {
        let Some(whole) = self.folded.take() else { return };
        let letter = decoded(&self.encoded);
        let slashes = folded(&self.encoded, Parameters::Stay);
        let plain = decoded(&slashes);
        let led = route(&plain);
        let (folded, is_same) = if matches!(led, Some((_, true))) {
            // Where parameters are meant, they are nothing that a server drops.
            self.decoded = Cow::Owned(plain);
            (slashes, led == route(&letter))
        } else {
            (whole, led == route(&letter) && led == route(&self.decoded))
        };
        if !is_same {
            self.encoded = Cow::Owned(folded);
        } else if *folded != *self.encoded {
            self.folded = Some(folded);
        }
    }

    /// As it was compared with routes, for whoever compares it with rules of his own.
    pub(crate) fn compared(&self) -> &str {
        self.folded.as_deref().unwrap_or(&self.encoded)
    }
}

impl Path<'_> {
    fn into_owned(self) -> Path<'static> {
        Path {
            encoded: Cow::Owned(self.encoded.into_owned()),
            decoded: Cow::Owned(self.decoded.into_owned()),
            folded: self.folded,
        }
    }
}

fn decoded(encoded: &str) -> String {
    percent_decode_str(encoded).decode_utf8_lossy().into_owned()
}

/// Most paths are clean as they come, which one look at each byte tells: one slash at a time, and nothing that may be a
/// dot segment, a parameter or encoded.
fn is_plain(sent: &str) -> bool {
    let mut before = 0;
    let is_odd = |byte: u8| {
        let begins_oddly = before == b'/' && matches!(byte, b'/' | b'.');
        before = byte;
        begins_oddly || matches!(byte, b'%' | b'\\' | b';')
    };
    sent.starts_with('/') && !sent.bytes().any(is_odd)
}

/// With one slash at the front: more would read as the name of a host, to browsers with a backslash, too.
fn rooted(sent: &str) -> Cow<'_, str> {
    let rest = sent.trim_start_matches(['/', '\\']);
    match sent.len() - rest.len() {
        1 => Cow::Borrowed(sent),
        _ => Cow::Owned(format!("/{rest}")),
    }
}

/// Whether there is a dot segment, encoded or not.
fn has_dots(encoded: &str) -> bool {
    encoded.split('/').any(|segment| {
        // Few segments begin so.
        segment.starts_with(['.', '%'])
            && matches!(&*percent_decode_str(segment).collect::<Vec<u8>>(), b"." | b"..")
    })
}

fn with_plain_slashes(encoded: &str) -> String {
    ["%2f", "%2F", "%5c", "%5C", "\\"]
        .iter()
        .fold(encoded.to_owned(), |path, slash| path.replace(slash, "/"))
}

/// What becomes of `;x` in a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parameters {
    Stay,
    Go,
}

/// An encoded path as a server reads it that makes every slash single and forward. All else stays encoded as it is,
/// since what it encodes need not be text.
fn folded(encoded: &str, parameters: Parameters) -> String {
    let mut folded = String::with_capacity(encoded.len());
    let (mut rest, mut in_parameters) = (encoded, false);
    while let Some((byte, mut length)) = first(rest.as_bytes()) {
        while !rest.is_char_boundary(length) {
            length += 1;
        }
        match byte {
            b'/' if folded.ends_with('/') => in_parameters = false,
            b'/' => {
                folded.push('/');
                in_parameters = false;
            }
            b';' if parameters == Parameters::Go => in_parameters = true,
            _ if in_parameters => {}
            _ => folded.push_str(&rest[..length]),
        }
        rest = &rest[length..];
    }
    folded
}

/// Resolves `.` and `..` (encoded or not) and drops empty segments; keeps a slash at the end.
pub(crate) fn tidy(path: &str) -> String {
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

/// What follows `prefix` (not encoded) in an encoded path, in which several slashes may stand for one of it.
fn rest_after<'a>(encoded: &'a str, prefix: &str) -> Option<&'a str> {
    if let Some(rest) = encoded.strip_prefix(prefix) {
        return Some(rest);
    }
    // By bytes: a path may hold characters of several, and a prefix may end within what they encode.
    let mut at = 0;
    let mut wanted = prefix.bytes().peekable();
    while let Some(byte) = wanted.next() {
        let (found, length) = first(&encoded.as_bytes()[at..])?;
        if byte != found {
            return None;
        }
        at += length;
        while byte == b'/'
            && wanted.peek().is_some_and(|next| *next != b'/')
            && let Some((b'/', length)) = first(&encoded.as_bytes()[at..])
        {
            at += length;
        }
    }
    encoded.get(at..)
}

/// The first byte of an encoded path, a backslash being a slash, and how many bytes say it.
fn first(encoded: &[u8]) -> Option<(u8, usize)> {
    let said = match encoded {
        [b'%', high, low, ..] => hex(*high).zip(hex(*low)),
        _ => None,
    };
    let (byte, length) = match said {
        Some((high, low)) => (high << 4 | low, 3),
        None => (*encoded.first()?, 1),
    };
    Some((if byte == b'\\' { b'/' } else { byte }, length))
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
    fn no_path_is_the_root() {
        assert_eq!(Path::clean("").unwrap(), Path::clean("/").unwrap());
    }

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
            ("/a//b/", "/a//b/", "/a/b/"),
            ("/a//./b", "/a/b", "/a/b"),
            ("///a", "/a", "/a"),
            ("/a/http:%2F%2Fb", "/a/http:%2F%2Fb", "/a/http:/b"),
            ("/a/%2Fb", "/a/%2Fb", "/a/b"),
            ("/a\\b%5Cc", "/a\\b%5Cc", "/a/b/c"),
            ("/a%5c..%5Cb", "/b", "/b"),
            ("/a;x=1/b%3By/;z", "/a;x=1/b%3By/;z", "/a/b/"),
            ("/;x/a", "/;x/a", "/a"),
            ("/a.;x/..b;", "/a.;x/..b;", "/a./..b"),
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
            ("/\\evil.com/x", "/evil.com/x", "/evil.com/x"),
            ("/\\/\\/x", "/x", "/x"),
        ] {
            let path = Path::clean(sent).unwrap();
            assert_eq!((&*path.encoded, &*path.decoded), (encoded, decoded), "{sent}");
        }
        assert_eq!(Path::clean("/a%00b"), Err(BadPath::Control(0)));
        assert_eq!(Path::clean("/a%0d%0ab"), Err(BadPath::Control(13)));
        for sent in [
            "/a/..;/b",
            "/a/..;x=1",
            "/a/%2e%2E%3b/b",
            "/a%2f.;/b",
            "/a\\..;\\b",
        ] {
            assert_eq!(Path::clean(sent), Err(BadPath::Parameters), "{sent}");
        }
    }

    /// As if the routes were these, each taken by the longest that a path begins with.
    fn sent_on(sent: &str, routes: &[&str]) -> (String, String) {
        let mut path = Path::clean(sent).unwrap();
        path.settle(|path| {
            let fits = routes.iter().filter(|route| path.starts_with(**route));
            fits.max_by_key(|route| route.len())
                .map(|route| (*route, route.contains(';')))
        });
        (path.encoded.into_owned(), path.decoded.into_owned())
    }

    #[test]
    fn a_spelling_is_kept_where_no_reading_of_it_leads_elsewhere() {
        let routes = ["/", "/api", "/api/admin", "/api/admin/open", "/v;2"];
        for (sent, encoded, compared) in [
            ("/img/http://a/b", "/img/http://a/b", "/img/http:/a/b"),
            ("/img/http:%2F%2Fa", "/img/http:%2F%2Fa", "/img/http:/a"),
            ("/api/admin//x;y", "/api/admin//x;y", "/api/admin/x"),
            ("/api//admin", "/api/admin", "/api/admin"),
            ("/api/%2Fadmin/a%20b", "/api/admin/a%20b", "/api/admin/a b"),
            ("/api\\admin", "/api/admin", "/api/admin"),
            ("/api;x/admin", "/api/admin", "/api/admin"),
            ("/api/admin//open", "/api/admin/open", "/api/admin/open"),
            ("/v;2/x;y", "/v;2/x;y", "/v;2/x;y"),
        ] {
            let said = (encoded.to_owned(), compared.to_owned());
            assert_eq!(sent_on(sent, &routes), said, "{sent}");
        }
    }

    #[test]
    fn a_route_with_parameters_of_its_own_is_not_walked_around_by_slashes() {
        let routes = ["/a", "/a/v;2", "/a/v;2/open"];
        for (sent, encoded, compared) in [
            ("/a//v;2/x", "/a/v;2/x", "/a/v;2/x"),
            ("/a\\v;2/x", "/a/v;2/x", "/a/v;2/x"),
            ("/a/v%3B2//x", "/a/v%3B2//x", "/a/v;2/x"),
            ("/a/v;2//open", "/a/v;2/open", "/a/v;2/open"),
            ("/a/v;2/open", "/a/v;2/open", "/a/v;2/open"),
            ("/a//v;3/x", "/a//v;3/x", "/a/v/x"),
        ] {
            let said = (encoded.to_owned(), compared.to_owned());
            assert_eq!(sent_on(sent, &routes), said, "{sent}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_sent_as_they_came() {
        let routes = ["/", "/api", "/api/admin"];
        for (sent, encoded) in [
            ("/api//admin/%FF%2b", "/api/admin/%FF%2b"),
            ("/api%5C%5cadmin/%ff%2F%2F%C3%A9", "/api/admin/%ff/%C3%A9"),
            ("/api;%FE/admin/%zz%", "/api/admin/%zz%"),
            ("/api%3b%FE/admin/%252F", "/api/admin/%252F"),
        ] {
            assert_eq!(sent_on(sent, &routes).0, encoded, "{sent}");
        }
        let guarded = Path::clean("/api/x//%FF").unwrap();
        assert_eq!(guarded.compared(), "/api/x/%FF");
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
            ("/a//b/c", Some("/a/b"), None, "/c"),
            ("/a/%2F%5Cb/c", Some("/a/b"), None, "/c"),
            ("/a/http:%2F%2Fb", Some("/a"), None, "/http:%2F%2Fb"),
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
        fn what_is_folded_keeps_its_letters_and_folds_to_itself(path in "(/([aé;\\\\]|%2[fF]|%5c|%3b|%FF|%z|%){0,4}){1,6}/?") {
            let once = folded(&path, Parameters::Go);
            prop_assert_eq!(&folded(&once, Parameters::Go), &once);
            let plain = decoded(&once);
            prop_assert!(!plain.contains("//") && !plain.contains(['\\', ';']), "{}", plain);
        }

        #[test]
        fn what_is_plain_at_sight_has_nothing_to_clean(path in "/?(/|[a-z.?;\\\\]|%2e){0,6}") {
            if is_plain(&path) {
                prop_assert_eq!(Path::clean(&path), Path::clean_odd(&path));
                prop_assert_eq!(&Path::clean_odd(&path).unwrap().encoded, &path);
            }
        }

        #[test]
        fn cleaning_twice_changes_nothing(path in "(/([a-z.;\\\\]|%2[eEfF]|%5c|%){0,4}){1,6}/?") {
            if let Ok(once) = Path::clean(&path) {
                prop_assert!(once.encoded.starts_with('/'));
                let encoded = once.encoded.into_owned();
                let twice = Path::clean(&encoded).unwrap();
                prop_assert_eq!(twice.encoded.as_ref(), encoded.as_str());
            }
        }
    }
}
