//! Java properties, as fabio reads them: `key = value` with comments, continued lines, escapes and
//! `${…}` for another key or an environment variable. `$path` without braces is plain text.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::raw::Environment;

/// A key of a file, its value, and whether another value refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// As written, escapes undone.
    pub key: String,
    /// With what it refers to filled in; `None`: it cannot be, and that is told.
    pub value: Option<String>,
    /// Whether it is there for others.
    pub referred: bool,
}

/// The pairs of a file, keys once each (the last wins), in order of key; and all that is malformed, in words.
pub fn parse(text: &str, env: &Environment) -> (Vec<Pair>, Vec<String>) {
    let (mut pairs, mut faults) = (BTreeMap::new(), Vec::new());
    for line in logical_lines(text) {
        match split(&line) {
            Ok((key, value)) => _ = pairs.insert(key, value),
            Err(why) => faults.push(why),
        }
    }
    let within = Within { pairs: &pairs, env };
    let pair = |key: &String| {
        let reference = format!("${{{key}}}");
        let refers = |value: &Result<String, String>| matches!(value, Ok(text) if text.contains(&reference));
        let value = within.resolve(key, &[]).map_err(|why| {
            // Whoever refers to it has the same fault.
            if !faults.contains(&why) {
                faults.push(why);
            }
        });
        Pair {
            key: key.clone(),
            value: value.ok(),
            referred: pairs.values().any(refers),
        }
    };
    let read = pairs.keys().map(pair).collect();
    (read, faults)
}

/// Replaces `${name}` by what `lookup` says.
///
/// # Errors
/// A brace that never closes.
pub fn expand(text: &str, lookup: &dyn Fn(&str) -> String) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((plain, reference)) = rest.split_once("${") {
        let (name, after) = reference
            .split_once('}')
            .ok_or_else(|| format!("${{{reference} has no closing brace"))?;
        expanded.push_str(plain);
        expanded.push_str(&lookup(name));
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// What references may refer to.
struct Within<'a> {
    pairs: &'a BTreeMap<String, Result<String, String>>,
    env: &'a Environment,
}

impl Within<'_> {
    /// The value of a key, or else of a variable; `from` are the keys whose values led here.
    fn resolve(&self, key: &str, from: &[&str]) -> Result<String, String> {
        let Some(value) = self.pairs.get(key) else {
            return Ok(self.env.get(key).cloned().unwrap_or_default());
        };
        let value = value.as_ref().map_err(Clone::clone)?;
        if from.contains(&key) {
            return Err(format!("{key} refers to itself"));
        }
        let path = [from, &[key]].concat();
        let failed = RefCell::new(None);
        let expanded = expand(value, &|name| {
            self.resolve(name, &path).unwrap_or_else(|why| {
                *failed.borrow_mut() = Some(why);
                String::new()
            })
        })
        .map_err(|why| format!("{key}: {why}"))?;
        failed.into_inner().map_or(Ok(expanded), Err)
    }
}

/// Lines without comments, continuations joined.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        let line = line.trim_start();
        if open.is_none() && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let mut whole = open.take().unwrap_or_default();
        // An even number of backslashes at the end is a text that ends in backslashes.
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            whole.push_str(&line[..line.len() - 1]);
            open = Some(whole);
        } else {
            whole.push_str(line);
            lines.push(whole);
        }
    }
    lines.extend(open);
    lines
}

/// A line's key and value, escapes undone. The key ends at the first plain `=`, `:` or blank; without one there is no pair.
fn split(line: &str) -> Result<(String, Result<String, String>), String> {
    let mut escaped = false;
    let end = line
        .find(|c: char| {
            let ends = !escaped && (matches!(c, '=' | ':') || c.is_whitespace());
            escaped = c == '\\' && !escaped;
            ends
        })
        .unwrap_or(line.len());
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
    let key = unescape(key)?;
    let value = match unescape(value) {
        Ok(value) => Ok(value.trim_end().to_owned()),
        Err(why) => Err(format!("{key}: {why}")),
    };
    Ok((key, value))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match rest.next() {
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits: String = rest.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16)
                    .ok()
                    .filter(|_| digits.len() == 4);
                let code = code.and_then(char::from_u32);
                plain.push(
                    code.ok_or_else(|| format!("\\u{digits} is no character; expected four hex digits"))?,
                );
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let env = Environment::from([("HOME".to_owned(), "/root".to_owned())]);
        let (pairs, faults) = parse(text, &env);
        assert_eq!(faults, [""; 0]);
        let pairs = pairs.into_iter();
        pairs.map(|pair| (pair.key, pair.value.unwrap())).collect()
    }

    fn one(text: &str) -> String {
        pairs(text).pop().unwrap().1
    }

    #[test]
    fn all_three_separators_and_none_work() {
        for text in [
            "a.b = c d",
            "a.b: c d",
            "a.b c d",
            "  a.b=c d",
            "# x\n! y\n\na.b =c d  ",
        ] {
            assert_eq!(pairs(text), [("a.b".to_owned(), "c d".to_owned())], "{text:?}");
        }
        assert_eq!(one("a"), "");
    }

    #[test]
    fn lines_continue_and_escapes_are_undone() {
        assert_eq!(one("a = 1,\\\n     2"), "1,2");
        assert_eq!(one(r"a = x\ty\u0041\=\\"), "x\tyA=\\");
        assert_eq!(one("a = end\\\\\nb = 1").len(), 1);
    }

    #[test]
    fn references_reach_keys_then_environment_then_nothing() {
        assert_eq!(one("a = 1\nb = ${a}-${HOME}-${NOPE}-$path"), "1-/root--$path");
    }

    #[test]
    fn circles_and_open_braces_are_named_and_hide_nothing() {
        let faults = |text: &str| parse(text, &Environment::new()).1;
        assert_eq!(
            faults("a = ${b}\nb = ${a}"),
            ["a refers to itself", "b refers to itself"]
        );
        let (pairs, faults) = parse(
            "a = ${a}\nb = ${a}\nc = ${b\nd = \\u12\ne = 1",
            &Environment::new(),
        );
        let expected = [
            "a refers to itself",
            "c: ${b has no closing brace",
            "d: \\u12 is no character; expected four hex digits",
        ];
        assert_eq!(faults, expected);
        let read = pairs.into_iter().filter_map(|pair| Some((pair.key, pair.value?)));
        assert_eq!(read.collect::<Vec<_>>(), [("e".to_owned(), "1".to_owned())]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text in "[ -~\\n\u{e9}\\\\${}]{0,60}") {
            let _ = parse(&text, &Environment::new());
        }

        #[test]
        fn plain_values_survive(value in "[a-z0-9;,=:./]{1,30}") {
            prop_assert_eq!(one(&format!("key = {value}")), value);
        }
    }
}
