//! Text to tokens, by the rules of Go's `text/template`: delimiters, trim markers, comments, constants.

use super::Error;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// What stands outside of actions.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// Blanks between operands: `.A .B` are two, `.A.B` is one.
    Space,
    /// A function or a keyword.
    Word(String),
    /// `.Name`
    Field(String),
    /// `$name`, without the sign; empty for `$` alone.
    Variable(String),
    /// `.`
    Dot,
    /// A constant.
    Quoted(String),
    /// A constant.
    Int(i64),
    /// A constant.
    Float(f64),
    /// `|`
    Pipe,
    /// `,`
    Comma,
    /// `(`
    Left,
    /// `)`
    Right,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

const OPEN: &str = "{{";
const CLOSE: &str = "}}";
/// What Go takes for a blank.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// The tokens of `text`.
///
/// # Errors
/// An action that does not end, or a character that none begins with.
pub(super) fn lex(text: &str) -> Result<Vec<Token>, Error> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut trims = false;
    while let Some(at) = rest.find(OPEN) {
        let (before, behind) = rest.split_at(at);
        let behind = &behind[OPEN.len()..];
        let before = if trims {
            before.trim_start_matches(BLANKS)
        } else {
            before
        };
        let trimmed = behind.strip_prefix('-').filter(|rest| rest.starts_with(BLANKS));
        let (before, behind) = match trimmed {
            Some(behind) => (before.trim_end_matches(BLANKS), behind),
            None => (before, behind),
        };
        if !before.is_empty() {
            tokens.push(Token::Text(before.to_owned()));
        }
        let mut action = Action { rest: behind };
        trims = match action.comment()? {
            Some(trims) => trims,
            None => {
                tokens.push(Token::Open);
                let trims = action.tokens(&mut tokens)?;
                tokens.push(Token::Close);
                trims
            }
        };
        rest = action.rest;
    }
    let rest = if trims {
        rest.trim_start_matches(BLANKS)
    } else {
        rest
    };
    if !rest.is_empty() {
        tokens.push(Token::Text(rest.to_owned()));
    }
    Ok(tokens)
}

/// What is left of a template from within an action.
struct Action<'a> {
    rest: &'a str,
}

impl Action<'_> {
    /// Skips a comment, if this is one: whether it trims what follows.
    fn comment(&mut self) -> Result<Option<bool>, Error> {
        let Some(inner) = self.rest.trim_start_matches(BLANKS).strip_prefix("/*") else {
            return Ok(None);
        };
        let Some((_, behind)) = inner.split_once("*/") else {
            return Err(Error::new("a comment has no end"));
        };
        self.rest = behind;
        match self.end() {
            Some(trims) => Ok(Some(trims)),
            None => Err(Error::new("a comment must fill its braces")),
        }
    }

    /// Leaves the action, if it ends here: whether it trims what follows.
    fn end(&mut self) -> Option<bool> {
        if let Some(behind) = self.rest.strip_prefix(CLOSE) {
            self.rest = behind;
            return Some(false);
        }
        let blanks = self.rest.trim_start_matches(BLANKS);
        let behind = blanks.strip_prefix('-')?.strip_prefix(CLOSE)?;
        if blanks.len() == self.rest.len() {
            return None;
        }
        self.rest = behind;
        Some(true)
    }

    /// The tokens up to the end of the action: whether that trims what follows.
    fn tokens(&mut self, tokens: &mut Vec<Token>) -> Result<bool, Error> {
        loop {
            if let Some(trims) = self.end() {
                return Ok(trims);
            }
            let Some(c) = self.rest.chars().next() else {
                return Err(Error::new("an action has no end: }} is missing"));
            };
            let simple = match c {
                '|' => Some(Token::Pipe),
                ',' => Some(Token::Comma),
                '(' => Some(Token::Left),
                ')' => Some(Token::Right),
                '=' => Some(Token::Assign),
                _ => None,
            };
            let token = match (simple, c) {
                (Some(token), _) => {
                    self.rest = &self.rest[1..];
                    token
                }
                (None, c) if BLANKS.contains(&c) => {
                    self.rest = self.rest.trim_start_matches(BLANKS);
                    Token::Space
                }
                (None, ':') => {
                    let Some(behind) = self.rest.strip_prefix(":=") else {
                        return Err(Error::new("expected := behind a variable"));
                    };
                    self.rest = behind;
                    Token::Declare
                }
                (None, '"') => self.quoted()?,
                (None, '`') => self.raw()?,
                (None, '\'') => self.character()?,
                (None, '$') => {
                    self.rest = &self.rest[1..];
                    Token::Variable(self.word()?)
                }
                (None, '.') if !self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                    self.rest = &self.rest[1..];
                    match self.word()? {
                        name if name.is_empty() => Token::Dot,
                        name => Token::Field(name),
                    }
                }
                (None, '+' | '-' | '.' | '0'..='9') => self.number()?,
                (None, c) if is_letter(c) => Token::Word(self.word()?),
                (None, c) => return Err(Error::new(format!("unexpected {c:?} in an action"))),
            };
            tokens.push(token);
        }
    }

    /// Letters and digits, with an end that may be one.
    fn word(&mut self) -> Result<String, Error> {
        let end = self.rest.find(|c| !is_letter(c)).unwrap_or(self.rest.len());
        let (word, behind) = self.rest.split_at(end);
        self.rest = behind;
        let ends = behind.is_empty()
            || behind.starts_with(CLOSE)
            || behind.starts_with(|c| BLANKS.contains(&c) || ".,|:)(".contains(c));
        match (ends, behind.chars().next()) {
            (false, Some(c)) => Err(Error::new(format!("unexpected {c:?} behind {word:?}"))),
            _ => Ok(word.to_owned()),
        }
    }

    fn quoted(&mut self) -> Result<Token, Error> {
        let mut text = Vec::new();
        let mut rest = self.rest[1..].chars();
        loop {
            match rest.next() {
                None | Some('\n') => return Err(Error::new("a quoted text has no end")),
                Some('"') => break,
                Some('\\') => escaped(&mut rest, '"', &mut text)?,
                Some(c) => text.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        self.rest = rest.as_str();
        Ok(Token::Quoted(String::from_utf8_lossy(&text).into_owned()))
    }

    fn raw(&mut self) -> Result<Token, Error> {
        let Some((text, behind)) = self.rest[1..].split_once('`') else {
            return Err(Error::new("a raw text has no end"));
        };
        self.rest = behind;
        Ok(Token::Quoted(text.replace('\r', "")))
    }

    fn character(&mut self) -> Result<Token, Error> {
        let wrong = || Error::new("a character constant holds one character, as 'a'");
        let mut rest = self.rest[1..].chars();
        let code = match rest.next().ok_or_else(wrong)? {
            '\'' | '\n' => return Err(wrong()),
            '\\' => {
                let mut text = Vec::new();
                escaped(&mut rest, '\'', &mut text)?;
                match std::str::from_utf8(&text)
                    .ok()
                    .and_then(|text| text.chars().next())
                {
                    Some(c) => u32::from(c),
                    None => u32::from(*text.first().ok_or_else(wrong)?),
                }
            }
            c => u32::from(c),
        };
        if rest.next() != Some('\'') {
            return Err(wrong());
        }
        self.rest = rest.as_str();
        Ok(Token::Int(i64::from(code)))
    }

    fn number(&mut self) -> Result<Token, Error> {
        let mut previous = ' ';
        let end = self.rest.find(|c: char| {
            // A sign stands in front, or behind the exponent of a decimal.
            let sign = matches!(c, '+' | '-') && matches!(previous, ' ' | 'e' | 'E' | 'p' | 'P');
            previous = c;
            !(sign || c == '.' || is_letter(c))
        });
        let (text, behind) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = behind;
        number(text).ok_or_else(|| Error::new(format!("{text:?} is no number")))
    }
}

fn is_letter(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// A number as Go writes constants; imaginary ones apart, which nobody needs here.
fn number(text: &str) -> Option<Token> {
    let (negative, bare) = match text.strip_prefix('-') {
        Some(bare) => (true, bare),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = bare.replace('_', "").to_ascii_lowercase();
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) => {
            (8, &digits[1..])
        }
        _ => (10, digits.as_str()),
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.') {
        return None;
    }
    if let Ok(value) = i128::from_str_radix(digits, radix) {
        let value = if negative { -value } else { value };
        return i64::try_from(value).ok().map(Token::Int);
    }
    let is_decimal = radix == 10 && digits.bytes().all(|b| b.is_ascii_digit() || b".e+-".contains(&b));
    let value: f64 = digits.parse().ok().filter(|_| is_decimal)?;
    Some(Token::Float(if negative { -value } else { value }))
}

/// What stands behind a backslash, as bytes: `\xff` is one that no text may hold.
fn escaped(rest: &mut std::str::Chars<'_>, quote: char, text: &mut Vec<u8>) -> Result<(), Error> {
    let wrong = || Error::new("a quoted text has an escape that Go does not know");
    let c = rest.next().ok_or_else(wrong)?;
    let mut code = |first: Option<char>, count: usize, radix: u32| {
        let digits: String = first.into_iter().chain(rest.take(count)).collect();
        let whole = digits.chars().all(|c| c.is_digit(radix))
            && digits.chars().count() == count + usize::from(first.is_some());
        u32::from_str_radix(&digits, radix).ok().filter(|_| whole)
    };
    let simple = match c {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        c if c == quote => quote as u8,
        'x' => u8::try_from(code(None, 2, 16).ok_or_else(wrong)?).map_err(|_| wrong())?,
        '0'..='7' => u8::try_from(code(Some(c), 2, 8).ok_or_else(wrong)?).map_err(|_| wrong())?,
        'u' | 'U' => {
            let count = if c == 'u' { 4 } else { 8 };
            let c = code(None, count, 16).and_then(char::from_u32).ok_or_else(wrong)?;
            text.extend(c.encode_utf8(&mut [0; 4]).bytes());
            return Ok(());
        }
        _ => return Err(wrong()),
    };
    text.push(simple);
    Ok(())
}
