//! `print`, `println` and `printf`, as Go's `fmt` does them.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use super::value::Value;
use super::{Error, within_limit};

/// Wider than any tag.
const WIDEST: usize = 1000;

/// Blanks stand between two values of which neither is a text.
pub(super) fn print(values: &[Value]) -> Result<String, Error> {
    let mut text = String::new();
    let mut after_text = true;
    for value in values {
        let is_text = matches!(value, Value::Text(_));
        if !is_text && !after_text {
            text.push(' ');
        }
        shown(value, &mut text)?;
        after_text = is_text;
    }
    Ok(text)
}

pub(super) fn println(values: &[Value]) -> Result<String, Error> {
    let mut text = String::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        shown(value, &mut text)?;
    }
    text.push('\n');
    Ok(text)
}

/// As an argument, what is not there is nil.
fn shown(value: &Value, text: &mut String) -> Result<(), Error> {
    match value {
        Value::Missing => Value::Nil.print(text),
        value => value.print(text),
    }
}

/// How one value is to be shown.
#[derive(Clone, Copy, Debug, Default)]
struct Verb {
    /// `None` where the pattern ends.
    letter: Option<char>,
    minus: bool,
    plus: bool,
    zero: bool,
    sharp: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

pub(super) fn printf(pattern: &str, values: &[Value]) -> Result<String, Error> {
    let mut text = String::new();
    let mut given = values.iter();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let verb = Verb::read(&mut rest, &mut given)?;
        match verb.letter {
            None => text.push_str("%!(NOVERB)"),
            Some('%') => text.push('%'),
            Some(letter) => match given.next() {
                Some(value) => verb.write(letter, value, &mut text)?,
                None => _ = write!(text, "%!{letter}(MISSING)"),
            },
        }
        within_limit(&text)?;
    }
    let extra: Vec<&Value> = given.collect();
    if !extra.is_empty() {
        text.push_str("%!(EXTRA ");
        for (index, value) in extra.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { ", " });
            typed(value, &mut text)?;
        }
        text.push(')');
    }
    within_limit(&text)?;
    Ok(text)
}

/// A value and its type, where it does not fit.
fn typed(value: &Value, text: &mut String) -> Result<(), Error> {
    if !matches!(value, Value::Missing | Value::Nil) {
        _ = write!(text, "{}=", value.kind());
    }
    shown(value, text)
}

impl Verb {
    /// Reads what stands behind a `%`.
    fn read<'a>(
        rest: &mut Peekable<Chars<'_>>,
        given: &mut impl Iterator<Item = &'a Value>,
    ) -> Result<Self, Error> {
        let mut verb = Self::default();
        while let Some(flag) = rest.next_if(|c| "-+#0 ".contains(*c)) {
            match flag {
                '-' => verb.minus = true,
                '+' => verb.plus = true,
                '#' => verb.sharp = true,
                '0' => verb.zero = true,
                _ => verb.space = true,
            }
        }
        verb.width = number(rest, given)?;
        if rest.next_if_eq(&'.').is_some() {
            // A point alone is one before a zero.
            verb.precision = Some(number(rest, given)?.unwrap_or(0));
        }
        verb.letter = rest.next();
        Ok(verb)
    }

    fn write(&self, letter: char, value: &Value, text: &mut String) -> Result<(), Error> {
        // A verb of a list is that of its elements.
        if let Value::List(values) = value
            && letter != 'v'
        {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { " " });
                self.write(letter, value, text)?;
                within_limit(text)?;
            }
            text.push(']');
            return Ok(());
        }
        let body = match (letter, value) {
            ('T', value) => value.kind().to_owned(),
            ('v', Value::Int(number)) => self.signed(number.to_string()),
            ('v', Value::Text(value)) => self.cut(value),
            ('v', value) => {
                let mut body = String::new();
                shown(value, &mut body)?;
                body
            }
            ('s', Value::Text(value)) => self.cut(value),
            ('s', Value::Time(_) | Value::Duration(_) | Value::Map(_) | Value::Struct(_)) => {
                value.printed()?
            }
            ('q', Value::Text(value)) => quoted(&self.cut(value)),
            ('q', Value::Int(number)) => match u32::try_from(*number).ok().and_then(char::from_u32) {
                Some(c) => format!("'{c}'"),
                None => "'\u{fffd}'".to_owned(),
            },
            ('x' | 'X', Value::Text(value)) => {
                let bytes = value.bytes().take(self.precision.unwrap_or(usize::MAX));
                let hex: String = bytes.map(|byte| format!("{byte:02x}")).collect();
                if letter == 'X' { hex.to_uppercase() } else { hex }
            }
            ('t', Value::Bool(value)) => value.to_string(),
            ('d' | 'b' | 'o' | 'x' | 'X' | 'c', Value::Int(number) | Value::Duration(number)) => {
                self.int(letter, *number)
            }
            ('f' | 'F' | 'e' | 'E' | 'g' | 'G', Value::Float(number)) => self.float(letter, *number),
            (letter, value) => {
                _ = write!(text, "%!{letter}(");
                typed(value, text)?;
                text.push(')');
                return Ok(());
            }
        };
        self.pad(&body, matches!(value, Value::Int(_) | Value::Float(_)), text);
        Ok(())
    }

    fn int(&self, letter: char, number: i64) -> String {
        let size = number.unsigned_abs();
        let (prefix, digits) = match letter {
            'b' => ("0b", format!("{size:b}")),
            'o' => ("0", format!("{size:o}")),
            'x' => ("0x", format!("{size:x}")),
            'X' => ("0X", format!("{size:X}")),
            'c' => {
                let c = u32::try_from(number).ok().and_then(char::from_u32);
                return c.unwrap_or(char::REPLACEMENT_CHARACTER).to_string();
            }
            _ => ("", size.to_string()),
        };
        let zeros = "0".repeat(self.precision.unwrap_or(0).saturating_sub(digits.len()));
        let prefix = if self.sharp { prefix } else { "" };
        let minus = if number < 0 { "-" } else { "" };
        self.signed(format!("{minus}{prefix}{zeros}{digits}"))
    }

    fn float(&self, letter: char, number: f64) -> String {
        let exponent = |text: String| match text.split_once('e') {
            Some((digits, power)) => {
                let (sign, power) = match power.strip_prefix('-') {
                    Some(power) => ('-', power),
                    None => ('+', power),
                };
                format!("{digits}e{sign}{power:0>2}")
            }
            None => text,
        };
        let places = self.precision.unwrap_or(6);
        let body = match letter {
            'f' | 'F' => format!("{number:.places$}"),
            'e' => exponent(format!("{number:.places$e}")),
            'E' => exponent(format!("{number:.places$e}")).to_uppercase(),
            'G' => Value::Float(number).printed().unwrap_or_default().to_uppercase(),
            _ => Value::Float(number).printed().unwrap_or_default(),
        };
        self.signed(body)
    }

    fn signed(&self, body: String) -> String {
        match (self.plus, self.space) {
            _ if body.starts_with('-') => body,
            (true, _) => format!("+{body}"),
            (false, true) => format!(" {body}"),
            _ => body,
        }
    }

    fn cut(&self, value: &str) -> String {
        value.chars().take(self.precision.unwrap_or(usize::MAX)).collect()
    }

    /// Up to the width: zeros go behind a sign, and stand before texts too.
    fn pad(&self, body: &str, is_number: bool, text: &mut String) {
        let missing = self.width.unwrap_or(0).saturating_sub(body.chars().count());
        if self.minus {
            _ = write!(text, "{body}{}", " ".repeat(missing));
        } else if self.zero && !(is_number && self.precision.is_some() && self.letter != Some('f')) {
            let sign = body.starts_with(['-', '+', ' ']) && is_number;
            let (sign, digits) = body.split_at(usize::from(sign));
            _ = write!(text, "{sign}{}{digits}", "0".repeat(missing));
        } else {
            _ = write!(text, "{}{body}", " ".repeat(missing));
        }
    }
}

/// A width or precision: digits, or `*` for one that is given.
fn number<'a>(
    rest: &mut Peekable<Chars<'_>>,
    given: &mut impl Iterator<Item = &'a Value>,
) -> Result<Option<usize>, Error> {
    let number = if rest.next_if_eq(&'*').is_some() {
        match given.next() {
            Some(Value::Int(number)) => usize::try_from(*number).unwrap_or(usize::MAX),
            _ => return Err(Error::new("* wants an int")),
        }
    } else {
        let mut digits = String::new();
        while let Some(digit) = rest.next_if(char::is_ascii_digit) {
            digits.push(digit);
        }
        match digits.as_str() {
            "" => return Ok(None),
            digits => digits.parse().unwrap_or(usize::MAX),
        }
    };
    match number {
        ..=WIDEST => Ok(Some(number)),
        _ => Err(Error::new(format!("wider than {WIDEST}"))),
    }
}

/// A text in quotes, as Go would write it in a program.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if u32::from(c) < 0x80 && c.is_control() => _ = write!(quoted, "\\x{:02x}", u32::from(c)),
            c if c.is_control() => _ = write!(quoted, "\\u{:04x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
