//! JSON exactly as Consul spells it, both directions.
//!
//! Answers are structs whose field order, nulls and omissions are Consul's; they convert from
//! catalog types (we serve) and to them (we read a foreign Consul, leniently: unknown fields are
//! ignored and `null` is "nothing"). Requests are read by [`body`], which is as strict as Consul
//! is and says so in its words. Nothing here asks the catalog anything.

pub mod agent;
pub mod body;
pub mod check;
pub mod external;
mod hash;
pub mod health;
pub mod kv;
pub mod node;
pub mod register;
pub mod service;

use serde::{Deserialize, Deserializer, Serialize};

/// Compact JSON with the characters escaped that Go escapes, so that it is safe inside HTML.
///
/// # Errors
/// When a map key is not text or a number is not finite, which none of our types allow.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(value).map(|json| escape_html(&json))
}

/// The same for people: four spaces of indent, a line end at the end.
///
/// # Errors
/// As [`encode`].
pub fn encode_pretty<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::new();
    let four_spaces = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut json,
        four_spaces,
    ))?;
    json.push(b'\n');
    Ok(escape_html(&json))
}

/// These characters occur in JSON only inside strings, so the text can be rewritten as a whole.
fn escape_html(json: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(json.len());
    let mut rest = json;
    while let [first, tail @ ..] = rest {
        let (replacement, skipped): (&[u8], usize) = match (first, tail) {
            (b'<', _) => (b"\\u003c", 0),
            (b'>', _) => (b"\\u003e", 0),
            (b'&', _) => (b"\\u0026", 0),
            (0xe2, [0x80, 0xa8, ..]) => (b"\\u2028", 2),
            (0xe2, [0x80, 0xa9, ..]) => (b"\\u2029", 2),
            (other, _) => (std::slice::from_ref(other), 0),
        };
        escaped.extend_from_slice(replacement);
        rest = &tail[skipped..];
    }
    escaped
}

/// Reads `null` as the default: Go writes empty lists and maps either way.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// An empty map is `null` on the wire: what Consul shows for a map that was never set.
fn null_if_empty<S, K, V>(map: &std::collections::BTreeMap<K, V>, serializer: S) -> Result<S::Ok, S::Error>
where
    S: serde::Serializer,
    K: Serialize,
    V: Serialize,
{
    if map.is_empty() {
        serializer.serialize_none()
    } else {
        map.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_and_line_separators_are_escaped_inside_strings_only() {
        let json = encode(&serde_json::json!({"a<b": "x>y & \u{2028}\u{2029} é"})).unwrap();
        assert_eq!(
            String::from_utf8(json).unwrap(),
            "{\"a\\u003cb\":\"x\\u003ey \\u0026 \\u2028\\u2029 é\"}"
        );
    }

    #[test]
    fn pretty_means_four_spaces_and_a_line_end() {
        let json = encode_pretty(&serde_json::json!({"a": [1], "b": [], "c": {}})).unwrap();
        let expected = "{\n    \"a\": [\n        1\n    ],\n    \"b\": [],\n    \"c\": {}\n}\n";
        assert_eq!(String::from_utf8(json).unwrap(), expected);
    }
}
