//! The few templates of Go that `metrics.prefix` and `metrics.names` are written in: text, fields, `clean`, pipes.
//! Pure.

use crate::config::BadValue;

/// What templates are made of, for messages.
const RIGHT: &str = "text with {{.Field}}, {{clean .Field}} or {{.Field | clean}}";

/// Fields of `metrics.prefix`.
pub(crate) const PREFIX_FIELDS: &[&str] = &["Hostname", "Exec"];
/// Fields of `metrics.names`.
pub(crate) const NAME_FIELDS: &[&str] = &[
    "Service",
    "Host",
    "Path",
    "TargetURL",
    "TargetURL.Scheme",
    "TargetURL.Host",
    "TargetURL.Hostname",
    "TargetURL.Port",
    "TargetURL.Path",
];

/// A compiled template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A field, or a text as it stands, made clean so many times.
    Value {
        what: What,
        clean: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Field(&'static str),
    Text(String),
}

impl Template {
    /// Compiles the text of `option`, which may ask for `fields`.
    ///
    /// # Errors
    /// When it is more than the templates known here, or asks for something else.
    pub(crate) fn parse(
        option: &'static str,
        text: &str,
        fields: &'static [&'static str],
    ) -> Result<Self, BadValue> {
        let bad = |problem: String| {
            let right = format!("it is {RIGHT}, where Field is one of {}", fields.join(", "));
            BadValue::new(format!("{option}: {problem}"), right)
        };
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let (action, after) = split_at_end(after).ok_or_else(|| bad("{{ is not closed".into()))?;
            let (before, action) = match action.strip_prefix("- ") {
                Some(action) => (before.trim_end(), action),
                None => (before, action),
            };
            let (action, after) = match action.strip_suffix(" -") {
                Some(action) => (action, after.trim_start()),
                None => (action, after),
            };
            pieces.push(Piece::Text(before.to_owned()));
            let action = action.trim();
            if !(action.starts_with("/*") && action.ends_with("*/")) {
                pieces.push(Piece::parse(action, fields).map_err(bad)?);
            }
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        Ok(Self(pieces))
    }

    /// The text, with what `field` says of each field asked for.
    pub(crate) fn render(&self, field: impl Fn(&'static str) -> String) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Value { what, clean: wanted } => {
                    let value = match what {
                        What::Field(name) => field(name),
                        What::Text(text) => text.clone(),
                    };
                    out.push_str(&if *wanted { clean(&value) } else { value });
                }
            }
        }
        out
    }
}

impl Piece {
    fn parse(action: &str, fields: &'static [&'static str]) -> Result<Self, String> {
        let words = words(action)?;
        let mut commands = words.split(|word| word == "|");
        let first = commands.next().unwrap_or_default();
        let (cleaned, operand) = match first {
            [operand] => (false, operand),
            [function, operand] if function == "clean" => (true, operand),
            [function, ..] if !function.starts_with(['.', '"', '`']) => {
                return Err(format!("there is no function {function:?}, only clean"));
            }
            _ => return Err(format!("{{{{{action}}}}} is not understood")),
        };
        let what = match operand.strip_prefix('.') {
            Some(name) => fields
                .iter()
                .find(|known| **known == name)
                .map(|known| What::Field(known))
                .ok_or_else(|| format!("there is no field .{name}"))?,
            None => match operand.strip_prefix(['"', '`']) {
                Some(text) => What::Text(text.to_owned()),
                None => return Err(format!("{operand:?} is neither a field nor a text")),
            },
        };
        let mut clean = cleaned;
        for command in commands {
            match command {
                [function] if function == "clean" => clean = true,
                other => return Err(format!("there is no function {:?}, only clean", other.join(" "))),
            }
        }
        Ok(Self::Value { what, clean })
    }
}

/// What an action says, and what follows it; `}}` within a text does not end it.
fn split_at_end(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, char) in text.char_indices() {
        match (quote, char) {
            (None, '"' | '`') => quote = Some(char),
            (Some(open), char) if open == char => quote = None,
            (None, '}') if text[at..].starts_with("}}") => return Some((&text[..at], &text[at + 2..])),
            _ => {}
        }
    }
    None
}

/// Words of an action; a text in quotes is one, and keeps the first of them.
fn words(action: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = action.trim();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '`' => rest[1..]
                .find(first)
                .ok_or_else(|| format!("{rest:?} is not closed"))?
                .saturating_add(1),
            '|' => 1,
            _ => rest.find([' ', '\t', '|']).unwrap_or(rest.len()),
        };
        words.push(rest[..length].to_owned());
        let closing = usize::from(matches!(first, '"' | '`'));
        rest = rest[length + closing..].trim_start();
    }
    Ok(words)
}

/// fabio's `clean`: something that has no dots of its own in a dotted name.
pub(super) fn clean(text: &str) -> String {
    if text.is_empty() {
        return "_".to_owned();
    }
    text.replace(['.', ':'], "_").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<String, String> {
        let template = Template::parse("metrics.names", text, NAME_FIELDS).map_err(|bad| bad.to_string())?;
        Ok(template.render(|field| match field {
            "Service" => "Web.API".into(),
            "Host" => String::new(),
            "TargetURL.Host" => "10.0.0.1:80".into(),
            other => format!("<{other}>"),
        }))
    }

    #[test]
    fn templates_say_what_they_say_in_go() {
        for (text, said) in [
            (
                "{{clean .Service}}.{{clean .Host}}.{{clean .Path}}.{{clean .TargetURL.Host}}",
                "web_api._.<path>.10_0_0_1_80",
            ),
            ("plain", "plain"),
            ("", ""),
            ("{{ .Service }}x", "Web.APIx"),
            ("{{.Service|clean}}", "web_api"),
            ("{{ \"A.}}\" | clean }}", "a_}}"),
            ("a {{- .Service -}} b", "aWeb.APIb"),
            ("{{/* nothing */}}a", "a"),
            ("{{`x`}}{{.TargetURL.Port}}", "x<TargetURL.Port>"),
        ] {
            assert_eq!(names(text).as_deref(), Ok(said), "{text}");
        }
    }

    #[test]
    fn faults_name_the_option_and_what_there_is() {
        for (text, part) in [
            (
                "{{clean .Service",
                "metrics.names: {{ is not closed: it is text with",
            ),
            ("{{.Hostname}}", "there is no field .Hostname: "),
            ("{{upper .Service}}", "there is no function \"upper\", only clean"),
            (
                "{{.Service | lower}}",
                "there is no function \"lower\", only clean",
            ),
            ("{{if .Service}}", "there is no function \"if\""),
            ("{{Service}}", "\"Service\" is neither a field nor a text"),
            ("{{}}", "is not understood"),
            ("{{\"a}}", "is not closed"),
            ("{{.Host}}{{.Service .Host}}", "is not understood"),
        ] {
            let said = names(text).unwrap_err();
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_stumble(text in "[{}.|\"` a-zA-Z/*-]{0,40}") {
            let _ = names(&text);
        }
    }
}
