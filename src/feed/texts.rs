//! What people wrote into a key-value store for the balancer: keys and values → route commands, pages. Pure.

use std::fmt::Write as _;

/// The route commands at `path` and below it, in the order of their keys: each value trimmed, behind a comment that
/// names its key, a blank line between two. Bytes that are no text become U+FFFD: the line they are in is refused, no
/// other.
///
/// Unlike fabio, which takes every key that only begins like `path`: `fabio/configuration` is somebody else's.
pub fn commands<'a>(path: &str, entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut text = String::new();
    for (key, value) in belonging(path, entries) {
        let gap = if text.is_empty() { "" } else { "\n\n" };
        // A key may hold a line end, and what is behind it must not be read as a command.
        let key = key.escape_debug();
        let _ = write!(
            text,
            "{gap}# --- {key}\n{}",
            String::from_utf8_lossy(value).trim()
        );
    }
    text
}

/// The page at `path`: its value and those below it, trimmed, a blank line between two.
pub fn page<'a>(path: &str, entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let values = belonging(path, entries).map(|(_, value)| String::from_utf8_lossy(value).trim().to_owned());
    values.collect::<Vec<_>>().join("\n\n")
}

fn belonging<'a>(
    path: &str,
    entries: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    let path = path.trim_end_matches('/');
    entries.into_iter().filter(move |(key, _)| {
        let below = key.strip_prefix(path);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || path.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: [(&str, &[u8]); 6] = [
        ("fabio/config", b"\nroute del web\n\n"),
        ("fabio/config/a", b"  route add a /a http://10.0.0.1/  "),
        ("fabio/config/empty", b""),
        (
            "fabio/config/odd\nroute del x",
            b"route add \xff / http://10.0.0.1/\r\nroute del b",
        ),
        ("fabio/configuration", b"route del everything"),
        ("fabio/noroute.html", b"<p>nothing</p>\n"),
    ];

    #[test]
    fn commands_are_those_of_the_path_and_below_it_in_order() {
        let wanted = "# --- fabio/config\nroute del web\n\n\
                      # --- fabio/config/a\nroute add a /a http://10.0.0.1/\n\n\
                      # --- fabio/config/empty\n\n\n\
                      # --- fabio/config/odd\\nroute del x\nroute add \u{fffd} / http://10.0.0.1/\r\nroute del b";
        assert_eq!(commands("fabio/config", ENTRIES), wanted);
        assert_eq!(commands("fabio/config/", ENTRIES), wanted);
        assert_eq!(commands("fabio/other", ENTRIES), "");
    }

    #[test]
    fn a_page_is_what_its_key_holds() {
        assert_eq!(page("fabio/noroute.html", ENTRIES), "<p>nothing</p>");
        assert_eq!(page("fabio/none", ENTRIES), "");
    }
}
