//! The expression that says which containers are registered: `label=team=web && !(name=*-test || network=host)`.
//!
//! Terms are those of `docker ps --filter`, joined as Traefik's constraints are. Parsed once, when the
//! configuration is read; pure.

use std::fmt;
use std::str::FromStr;

use super::stack;
use crate::container::{Container, Network};

/// Brackets and negations within each other, at most.
const DEEPEST: usize = 32;

/// Which containers are registered; by default all.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Filter {
    text: String,
    expression: Option<Expression>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expression {
    Any(Vec<Expression>),
    All(Vec<Expression>),
    Not(Box<Expression>),
    Term(Field, String),
    /// A label, and what its value is to be; `None`: it is there.
    Label(String, Option<String>),
}

/// What a term looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Image,
    Network,
    Project,
    Service,
}

const FIELDS: &[(&str, Field)] = &[
    ("name", Field::Name),
    ("image", Field::Image),
    ("network", Field::Network),
    ("project", Field::Project),
    ("service", Field::Service),
];

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at {at}")]
pub struct FilterError {
    expected: &'static str,
    /// What stands there instead.
    at: String,
}

const A_TERM: &str = "label=, name=, image=, network=, project= or service=, with a value behind it,";

impl Filter {
    pub(crate) fn holds(&self, container: &Container) -> bool {
        let expression = self.expression.as_ref();
        expression.is_none_or(|expression| expression.holds(container))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    /// Reads an expression; nothing at all means every container.
    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut parser = Parser { rest: text.trim() };
        let expression = match parser.rest {
            "" => None,
            _ => Some(parser.any(0)?),
        };
        if parser.rest.is_empty() {
            let text = text.trim().to_owned();
            return Ok(Self { text, expression });
        }
        Err(parser.expected("&&, || or the end"))
    }
}

impl Expression {
    fn holds(&self, container: &Container) -> bool {
        match self {
            Self::Any(of) => of.iter().any(|one| one.holds(container)),
            Self::All(of) => of.iter().all(|one| one.holds(container)),
            Self::Not(other) => !other.holds(container),
            Self::Label(key, wanted) => container.labels.get(key).is_some_and(|value| {
                let wanted = wanted.as_deref();
                wanted.is_none_or(|wanted| is_like(value, wanted))
            }),
            Self::Term(field, wanted) => field.values(container).any(|value| is_like(value, wanted)),
        }
    }
}

impl Field {
    /// All that this may mean of a container.
    fn values(self, container: &Container) -> impl Iterator<Item = &str> {
        let image = container.image.as_str();
        let mode = match &container.network {
            Network::Bridge => Some("bridge"),
            Network::Host => Some("host"),
            Network::None => Some("none"),
            Network::Container(_) => Some("container"),
            Network::Named(name) => Some(name.as_str()),
        };
        let (single, networks) = match self {
            Self::Name => ([Some(container.name.as_str()), None, None], None),
            // As written, without its version, and the last part of that.
            Self::Image => {
                let bare = stack::unversioned(image);
                let last = bare.rsplit('/').next();
                ([Some(image), Some(bare), last], None)
            }
            Self::Network => ([mode, None, None], Some(container.addresses.keys())),
            Self::Project => ([stack::project(container), None, None], None),
            Self::Service => ([stack::service(container), None, None], None),
        };
        let networks = networks.into_iter().flatten().map(String::as_str);
        single.into_iter().flatten().chain(networks)
    }
}

/// Whether `text` is `pattern`, where `*` stands for any characters and `?` for one.
fn is_like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut wanted) = (0, 0);
    // Where the last `*` stands, and how far it reached: only that one is ever tried again.
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match (pattern.get(wanted), star) {
            (Some('*'), _) => {
                star = Some((wanted, at));
                wanted += 1;
            }
            (Some(&c), _) if c == '?' || c == text[at] => (at, wanted) = (at + 1, wanted + 1),
            (_, Some((place, reached))) => {
                star = Some((place, reached + 1));
                (at, wanted) = (reached + 1, place + 1);
            }
            _ => return false,
        }
    }
    pattern[wanted..].iter().all(|c| *c == '*')
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn any(&mut self, depth: usize) -> Result<Expression, FilterError> {
        let mut of = vec![self.all(depth)?];
        while self.takes("||") {
            of.push(self.all(depth)?);
        }
        Ok(one_or(of, Expression::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Expression, FilterError> {
        let mut of = vec![self.one(depth)?];
        while self.takes("&&") {
            of.push(self.one(depth)?);
        }
        Ok(one_or(of, Expression::All))
    }

    fn one(&mut self, depth: usize) -> Result<Expression, FilterError> {
        if depth == DEEPEST {
            return Err(self.expected("fewer brackets"));
        }
        if self.takes("!") {
            return Ok(Expression::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.takes("(") {
            let inner = self.any(depth + 1)?;
            return match self.takes(")") {
                true => Ok(inner),
                false => Err(self.expected("a closing bracket")),
            };
        }
        self.term()
    }

    fn term(&mut self) -> Result<Expression, FilterError> {
        let before = self.rest;
        let end = before.find(|c: char| !c.is_ascii_alphabetic());
        let (name, behind) = before.split_at(end.unwrap_or(before.len()));
        let (negated, behind) = match behind.strip_prefix("!=") {
            Some(behind) => (true, Some(behind)),
            None => (false, behind.strip_prefix('=')),
        };
        let field = FIELDS.iter().find(|(known, _)| *known == name);
        let Some(behind) = behind.filter(|_| field.is_some() || name == "label") else {
            return Err(self.expected(A_TERM));
        };
        self.rest = behind;
        let term = match field {
            Some((_, field)) => Expression::Term(*field, self.word("")?),
            None => {
                let key = self.word("=")?;
                let value = self.rest.strip_prefix('=');
                let value = value.map(|behind| {
                    self.rest = behind;
                    self.value()
                });
                Expression::Label(key, value.transpose()?)
            }
        };
        self.rest = self.rest.trim_start();
        Ok(match negated {
            true => Expression::Not(Box::new(term)),
            false => term,
        })
    }

    /// A value that may be empty: a label can be.
    fn value(&mut self) -> Result<String, FilterError> {
        match self.rest.chars().next() {
            Some(c) if !ends_word(c) => self.word(""),
            _ => Ok(String::new()),
        }
    }

    /// Up to a blank, a bracket, `&`, `|` or one of `ends`; or what stands between quotes.
    fn word(&mut self, ends: &str) -> Result<String, FilterError> {
        let quote = self.rest.chars().next().filter(|c| ['"', '\'', '`'].contains(c));
        if let Some(quote) = quote {
            let Some((word, behind)) = self.rest[1..].split_once(quote) else {
                return Err(self.expected("a closing quote"));
            };
            self.rest = behind;
            return Ok(word.to_owned());
        }
        let end = self.rest.find(|c| ends_word(c) || ends.contains(c));
        let (word, behind) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if word.is_empty() {
            return Err(self.expected("a value"));
        }
        self.rest = behind;
        Ok(word.to_owned())
    }

    fn takes(&mut self, token: &str) -> bool {
        let Some(behind) = self.rest.strip_prefix(token) else {
            return false;
        };
        self.rest = behind.trim_start();
        true
    }

    fn expected(&self, expected: &'static str) -> FilterError {
        let at = match self.rest {
            "" => "the end".to_owned(),
            rest => format!("'{rest}'"),
        };
        FilterError { expected, at }
    }
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || "()&|".contains(c)
}

fn one_or(mut of: Vec<Expression>, all: fn(Vec<Expression>) -> Expression) -> Expression {
    match of.len() {
        1 => of.remove(0),
        _ => all(of),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shop() -> Container {
        let label = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        Container {
            name: "shop-web-1".to_owned(),
            image: "reg:5000/team/api:1.2".to_owned(),
            network: Network::Named("front".to_owned()),
            addresses: [("back".to_owned(), Vec::new())].into(),
            labels: [
                ("team", "web shop"),
                ("empty", ""),
                ("com.docker.compose.project", "shop"),
            ]
            .map(label)
            .into(),
            ..Container::default()
        }
    }

    #[test]
    fn a_container_is_met_by_what_it_is() {
        for (text, met) in [
            ("", true),
            ("label=team", true),
            ("label=team=\"web shop\"", true),
            ("label=team=web", false),
            ("label=team=web*", true),
            ("label!=team", false),
            ("label=empty= && label=empty", true),
            ("label=absent", false),
            ("!label=absent", true),
            ("name=shop-*", true),
            ("name=shop", false),
            ("name=shop-web-?", true),
            ("image=api", true),
            ("image=reg:5000/team/api", true),
            ("image=*/team/*", true),
            ("image=team/api", false),
            ("network=front && network=back", true),
            ("network=host", false),
            ("project=shop", true),
            ("service=*", false),
            ("name=x || name=y || image=api", true),
            ("name=x && name=y || image=api", true),
            ("name=x && (name=y || image=api)", false),
            ("!(name=x||name='y')&&!!project=`shop`", true),
        ] {
            let filter: Filter = text.parse().unwrap();
            assert_eq!(filter.holds(&shop()), met, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, why) in [
            ("team", "at 'team'"),
            ("label", "at 'label'"),
            ("label=", "expected a value at the end"),
            ("label=a label=b", "expected &&, || or the end at 'label=b'"),
            ("(label=a", "expected a closing bracket at the end"),
            ("label=a)", "expected &&, || or the end at ')'"),
            ("label=\"a", "expected a closing quote at '\"a'"),
            ("label=a &&", "at the end"),
            ("colour=red", "at 'colour=red'"),
            (&"(".repeat(5000), "expected fewer brackets"),
        ] {
            let error = text.parse::<Filter>().unwrap_err().to_string();
            assert!(error.contains(why), "{text:.40}: {error:.200}");
        }
    }

    proptest! {
        #[test]
        fn no_text_upsets_the_reader(text in "[ ()&|!='\"*a-c]{0,24}|\\PC{0,24}|((label|name|image)!?=[a*=]{0,3}( && | \\|\\| |!|\\(|\\))?){0,6}") {
            if let Ok(filter) = text.parse::<Filter>() {
                let again: Filter = filter.to_string().parse().unwrap();
                prop_assert_eq!(again.holds(&shop()), filter.holds(&shop()));
            }
        }

        #[test]
        fn a_pattern_of_stars_is_met_by_what_it_leaves_out(parts in proptest::collection::vec("[ab]{0,3}", 1..6), between in "[abc]{0,4}") {
            let pattern = parts.join("*");
            prop_assert!(is_like(&parts.join(&between), &pattern) || (parts.len() == 1));
            let absent = format!("{pattern}*c*");
            prop_assert!(!is_like(&parts.concat(), &absent));
        }
    }
}
