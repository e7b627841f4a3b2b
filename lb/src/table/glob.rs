//! Patterns as fabio has them: `*` and `**` any run, `?` one character, `[abc]` `[a-z]` `[!x]` one of
//! a class, `{a,b}` alternatives, `\x` the character itself. No character is special to `*`.
//!
//! Patterns come from strangers: matching takes at most length × length steps, never more, and the
//! number of alternatives is bounded.

/// Alternatives that one pattern may unfold to.
const MOST: usize = 64;

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Glob {
    alternatives: Vec<Vec<Token>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Run,
    One,
    Char(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGlob {
    /// A bracket or brace without its partner.
    #[error("a bracket is not closed")]
    Unclosed,
    /// Alternatives within alternatives that multiply without end.
    #[error("it has more than {MOST} alternatives")]
    TooMany,
    /// `\` at the end.
    #[error("it ends in a backslash")]
    Backslash,
}

impl Glob {
    /// Compiles a pattern.
    pub fn parse(pattern: &str) -> Result<Self, BadGlob> {
        let mut rest = pattern;
        let alternatives = sequence(&mut rest, 0)?;
        Ok(Self { alternatives })
    }

    /// Whether all of `text` fits.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.alternatives.iter().any(|tokens| fits(tokens, text))
    }
}

/// Reads until the end, or inside braces until `,` or `}`, which is left to the caller.
fn sequence(rest: &mut &str, depth: usize) -> Result<Vec<Vec<Token>>, BadGlob> {
    let mut unfolded = vec![Vec::new()];
    while let Some(char) = rest.chars().next() {
        if depth > 0 && matches!(char, ',' | '}') {
            return Ok(unfolded);
        }
        *rest = &rest[char.len_utf8()..];
        let token = match char {
            '{' => {
                unfolded = multiply(&unfolded, &braces(rest, depth + 1)?)?;
                continue;
            }
            '*' => Token::Run,
            '?' => Token::One,
            '[' => class(rest)?,
            '\\' => Token::Char(take(rest).ok_or(BadGlob::Backslash)?),
            plain => Token::Char(plain),
        };
        for tokens in &mut unfolded {
            if token != Token::Run || tokens.last() != Some(&Token::Run) {
                tokens.push(token.clone());
            }
        }
    }
    if depth > 0 {
        Err(BadGlob::Unclosed)
    } else {
        Ok(unfolded)
    }
}

/// The alternatives up to the closing brace.
fn braces(rest: &mut &str, depth: usize) -> Result<Vec<Vec<Token>>, BadGlob> {
    // Nested deeper than alternatives may multiply, they only cost stack.
    if depth > MOST {
        return Err(BadGlob::TooMany);
    }
    let mut all = Vec::new();
    loop {
        all.extend(sequence(rest, depth)?);
        if all.len() > MOST {
            return Err(BadGlob::TooMany);
        }
        if take(rest) == Some('}') {
            return Ok(all);
        }
    }
}

fn multiply(heads: &[Vec<Token>], tails: &[Vec<Token>]) -> Result<Vec<Vec<Token>>, BadGlob> {
    if heads.len() * tails.len() > MOST {
        return Err(BadGlob::TooMany);
    }
    Ok(heads
        .iter()
        .flat_map(|head| tails.iter().map(move |tail| [&head[..], tail].concat()))
        .collect())
}

/// The class up to the closing bracket.
fn class(rest: &mut &str) -> Result<Token, BadGlob> {
    let negated = rest.starts_with('!');
    if negated {
        *rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        let from = match take(rest).ok_or(BadGlob::Unclosed)? {
            ']' if !ranges.is_empty() => return Ok(Token::Class { negated, ranges }),
            '\\' => take(rest).ok_or(BadGlob::Unclosed)?,
            plain => plain,
        };
        let mut ahead = rest.chars();
        let to = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(to)) if to != ']' => {
                *rest = ahead.as_str();
                to
            }
            _ => from,
        };
        ranges.push((from, to));
    }
}

fn take(rest: &mut &str) -> Option<char> {
    let char = rest.chars().next()?;
    *rest = &rest[char.len_utf8()..];
    Some(char)
}

impl Token {
    fn takes(&self, char: char) -> bool {
        match self {
            Self::Run => false,
            Self::One => true,
            Self::Char(own) => *own == char,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&char)) != *negated
            }
        }
    }
}

/// Goes through both once; on a mismatch the last run takes one character more.
fn fits(tokens: &[Token], text: &str) -> bool {
    let (mut token, mut rest) = (0, text);
    let mut last_run: Option<(usize, &str)> = None;
    loop {
        if tokens.get(token) == Some(&Token::Run) {
            token += 1;
            last_run = Some((token, rest));
            continue;
        }
        let mut chars = rest.chars();
        match (tokens.get(token), chars.next()) {
            (None, None) => return true,
            (Some(own), Some(char)) if own.takes(char) => {
                token += 1;
                rest = chars.as_str();
            }
            _ => {
                let Some((after_run, taken)) = last_run else {
                    return false;
                };
                let mut longer = taken.chars();
                if longer.next().is_none() {
                    return false;
                }
                (token, rest) = (after_run, longer.as_str());
                last_run = Some((after_run, rest));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::proptest;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::parse(pattern).unwrap().matches(text)
    }

    #[test]
    fn every_part_of_the_language_means_what_fabio_means() {
        for (pattern, yes, no) in [
            ("*", "", "\n".repeat(0).as_str()),
            ("*.foo.*", "a.b.foo.com", "foo.com"),
            ("f?o", "fäo", "fo"),
            ("[abc]x", "bx", "dx"),
            ("[a-c]x", "bx", "dx"),
            ("[!a-c]x", "dx", "bx"),
            ("{a,b*}.com", "bcd.com", "c.com"),
            ("x{a,{b,c}y}", "xcy", "xc"),
            (r"\*\{", "*{", "a{"),
            ("/a/**/z", "/a/b/c/z", "/a/z"),
            ("[]]", "]", "["),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(no.is_empty() || !matches(pattern, no), "{pattern} {no}");
        }
    }

    #[test]
    fn what_cannot_be_a_pattern_is_refused() {
        assert_eq!(Glob::parse("[a"), Err(BadGlob::Unclosed));
        assert_eq!(Glob::parse("{a,b"), Err(BadGlob::Unclosed));
        assert_eq!(Glob::parse("a\\"), Err(BadGlob::Backslash));
        assert_eq!(Glob::parse(&"{a,b}".repeat(7)), Err(BadGlob::TooMany));
        assert_eq!(Glob::parse(&"{".repeat(5000)), Err(BadGlob::TooMany));
    }

    #[test]
    fn many_runs_do_not_blow_up() {
        assert!(!matches(&"*a".repeat(60), &"a".repeat(59)));
        assert!(!matches(&format!("{}b", "a*".repeat(40)), &"a".repeat(4000)));
    }

    proptest! {
        #[test]
        fn any_text_is_compiled_or_refused_without_a_panic(pattern in r"[a*?\[\]{},!\\-]{0,20}", text in "[a,-]{0,12}") {
            if let Ok(glob) = Glob::parse(&pattern) {
                let _ = glob.matches(&text);
            }
        }

        #[test]
        fn a_text_without_signs_matches_itself_alone(text in "[a-z/.]{0,12}", other in "[a-z/.]{0,12}") {
            assert_eq!(matches(&text, &other), text == other);
        }
    }
}
