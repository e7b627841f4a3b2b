//! A `urlprefix-` tag becomes a [`Definition`]: a source (host and path, or port) and options.
//!
//! Whoever may register a service writes these tags, so nothing here trusts them: a tag that
//! cannot be meant is refused with a reason and harms only itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::glob::{BadGlob, Glob};
use super::matching::{MAX_HOST, is_pattern};
use super::options::read::{self as options, BadOption};
use super::options::{Options, Scheme};
use crate::authority;
use crate::config::{Config, Matcher};

/// Longest tag worth reading; far above any real one.
const MAX_TAG: usize = 8 << 10;
/// What one tag asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// What requests it wants.
    pub source: Source,
    /// What to do with them.
    pub options: Arc<Options>,
}

/// What requests a route wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// HTTP requests.
    Http {
        /// Lower case, as written otherwise; empty for every host.
        host: Arc<str>,
        /// Starts with `/`, or is a pattern.
        path: Arc<str>,
    },
    /// TLS connections that ask for this name, passed through unread (`proto=tcp` with a host).
    Sni(Arc<str>),
    /// Connections to this port of ours, or of this address of ours.
    Tcp(Option<IpAddr>, u16),
}

/// Why a tag makes no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTag {
    /// Nothing after the prefix.
    #[error("it names neither host nor path")]
    NoSource,
    /// Far too long.
    #[error("it is longer than {MAX_TAG} bytes")]
    TooLong,
    /// A control character, written out.
    #[error("it contains the control character {0}")]
    Control(String),
    /// A host longer than DNS allows.
    #[error("its host is longer than {MAX_HOST} bytes")]
    LongHost,
    /// A host that no request can name.
    #[error("'{0}' is no host name")]
    Host(String),
    /// A host or path that is no pattern.
    #[error("'{1}': {0}")]
    Pattern(BadGlob, String),
    /// A port that is none.
    #[error("'{0}' is no port")]
    Port(String),
    /// A path where there is none.
    #[error("proto=tcp needs a source ':port', 'ip:port' or 'host', not '{0}'")]
    TcpSource(String),
    /// An option that cannot be meant.
    #[error(transparent)]
    Option(#[from] BadOption),
    /// A redirect for raw connections.
    #[error("a TCP route cannot redirect")]
    TcpRedirect,
}

/// Reads one tag: what it asks for, and what of it has no effect. `None`: it does not start with our prefix, so it is
/// none of ours. `others`: the further tags of the service.
#[must_use]
pub fn parse(
    config: &Config,
    tag: &str,
    others: &[&str],
) -> Option<Result<(Definition, Vec<String>), BadTag>> {
    let rest = tag.trim().strip_prefix(&*config.tag_prefix)?;
    Some(definition(config, rest, others))
}

fn definition(config: &Config, rest: &str, others: &[&str]) -> Result<(Definition, Vec<String>), BadTag> {
    if rest.len() > MAX_TAG {
        return Err(BadTag::TooLong);
    }
    // A tab parts words as a blank does; any other control character has no business here.
    if let Some(control) = rest.chars().find(|c| c.is_control() && *c != '\t') {
        return Err(BadTag::Control(control.escape_default().to_string()));
    }
    let mut words = rest.split_whitespace();
    let source = words.next().ok_or(BadTag::NoSource)?;
    let read = options::read(&options::pairs(words), None)?;
    let scheme = read.proto.unwrap_or_default();
    let (host, path) = expanded(config, source);
    let source = self::source(config, &host, path.as_deref(), scheme == Scheme::Tcp)?;
    let is_http = matches!(source, Source::Http { .. });
    if !is_http && read.options.redirect.is_some() {
        return Err(BadTag::TcpRedirect);
    }
    let options = Options {
        scheme: if is_http { scheme } else { Scheme::Tcp },
        tags: others.iter().map(|tag| Box::from(*tag)).collect(),
        ..read.options
    };
    let definition = Definition {
        source,
        options: Arc::new(options),
    };
    Ok((definition, read.notes))
}

/// Host and path of a source, where they are parted by a slash; variables are understood only there, as in fabio.
fn expanded(config: &Config, text: &str) -> (String, Option<String>) {
    match text.find('/') {
        Some(slash) => (
            expand(&text[..slash], &config.datacenter),
            Some(expand(&text[slash..], &config.datacenter)),
        ),
        None => (text.to_owned(), None),
    }
}

/// What requests `host` and `path` ask for, written in any way; `None`: there was no slash. `tcp`: connections are.
pub(super) fn source(config: &Config, host: &str, path: Option<&str>, tcp: bool) -> Result<Source, BadTag> {
    if let Some(port) = host.strip_prefix(':')
        && path.is_none()
    {
        return match port.parse() {
            Ok(0) | Err(_) => Err(BadTag::Port(shorten(port))),
            Ok(port) => Ok(Source::Tcp(None, port)),
        };
    }
    let path = path.unwrap_or("/");
    let not_tcp = || BadTag::TcpSource(shorten(&format!("{host}{path}")));
    if tcp && path != "/" {
        return Err(not_tcp());
    }
    if tcp && let Ok(local) = host.parse::<SocketAddr>() {
        return match local.port() {
            0 => Err(BadTag::Port("0".to_owned())),
            port => Ok(Source::Tcp(Some(local.ip().to_canonical()), port)),
        };
    }
    let host = host.to_lowercase();
    check_host(&host, config.glob_disabled)?;
    // One spelling of each host: no dot at the end, no port that means any.
    let host = match authority::split(&host) {
        (name, None | Some("*")) => name.trim_end_matches('.').to_owned(),
        (name, Some(port)) => format!("{}:{port}", name.trim_end_matches('.')),
    };
    if tcp {
        return match &*host {
            "" => Err(not_tcp()),
            host => Ok(Source::Sni(host.into())),
        };
    }
    let path: Arc<str> = match config.matcher {
        Matcher::Prefix => path.into(),
        // Sources that the matcher cannot tell apart are one route.
        Matcher::IPrefix => path.to_ascii_lowercase().into(),
        Matcher::Glob => {
            check_pattern(path)?;
            path.into()
        }
    };
    let host = host.into();
    Ok(Source::Http { host, path })
}

/// A host may be empty (every host), a name, an address or a pattern, with or without a port.
fn check_host(host: &str, literal: bool) -> Result<(), BadTag> {
    if host.len() > MAX_HOST {
        return Err(BadTag::LongHost);
    }
    let (name, port) = authority::split(host);
    if let Some(port) = port
        && port != "*"
        && port.parse::<u16>().map_or(true, |port| port == 0)
    {
        return Err(BadTag::Port(port.to_owned()));
    }
    let outlandish =
        |c: char| c.is_whitespace() || matches!(c, '@' | '#' | '"' | '<' | '>' | '%' | '|' | '=');
    if host.contains(outlandish) || (name.trim_end_matches('.').is_empty() && !host.is_empty()) {
        return Err(BadTag::Host(shorten(host)));
    }
    if is_pattern(name) && !literal {
        check_pattern(name)
    } else {
        Ok(())
    }
}

fn check_pattern(text: &str) -> Result<(), BadTag> {
    Glob::parse(text)
        .map(|_| ())
        .map_err(|bad| BadTag::Pattern(bad, shorten(text)))
}

/// `$DC` and `${DC}` become the datacenter; other names become empty, as in fabio. A `$` before
/// anything else is itself.
fn expand(text: &str, datacenter: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, left) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(braced) => braced,
            None => after.split_at(
                after
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                    .unwrap_or(after.len()),
            ),
        };
        if name == "DC" {
            out.push_str(datacenter);
        } else if name.is_empty() {
            out.push('$');
        }
        rest = left;
    }
    out + rest
}

/// Text of a stranger, fit for a log line: control characters escaped, cut where it is long.
pub(super) fn shorten(text: &str) -> String {
    const MOST: usize = 120;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}… ({} bytes)", escape(&text[..end]), text.len()),
        None => escape(text),
    }
}

/// Text of a stranger inside a line of ours: nothing in it may end the line.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            out.extend(char.escape_default());
        } else {
            out.push(char);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_oneof};
    use proptest::{collection, proptest};

    use super::*;
    use crate::table::options::OPTIONS;

    fn read(tag: &str) -> Result<Definition, BadTag> {
        parse(&Config::default(), tag, &[])
            .unwrap()
            .map(|(definition, _)| definition)
    }

    #[test]
    fn variables_become_the_datacenter_or_nothing() {
        let expanded = |text| expand(text, "east");
        assert_eq!(expanded("$DC.foo.com"), "east.foo.com");
        assert_eq!(expanded("a-${DC}-b/$NO/x$"), "a-east-b//x$");
        assert_eq!(expanded("${DC"), "${DC");
    }

    #[test]
    fn blanks_around_a_tag_do_not_matter_and_foreign_tags_are_left_alone() {
        assert_eq!(
            read("  urlprefix- foo.com/x ").unwrap(),
            read("urlprefix-foo.com/x").unwrap()
        );
        assert!(parse(&Config::default(), "production", &[]).is_none());
        assert!(parse(&Config::default(), "xurlprefix-/", &[]).is_none());
    }

    #[test]
    fn a_long_tag_is_cut_where_it_is_shown() {
        assert!(shorten(&"x".repeat(10_000)).len() < 200);
        assert_eq!(shorten("a\u{1b}[31m\n"), "a\\u{1b}[31m\\n");
    }

    /// Texts made of the pieces the grammar is made of: they reach further than pure noise.
    fn tags() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("foo.com".to_owned()),
            Just("*.".to_owned()),
            Just(":".to_owned()),
            Just("/".to_owned()),
            Just(" ".to_owned()),
            Just("$DC".to_owned()),
            Just("${".to_owned()),
            Just("[::1]".to_owned()),
            Just(" weight=".to_owned()),
            Just(" redirect=301,".to_owned()),
            Just(" proto=tcp".to_owned()),
            Just(" strip=/".to_owned()),
            proptest::sample::select(OPTIONS.to_vec()).prop_map(|option| format!(" {}=", option.name)),
            Just("%20".to_owned()),
            Just(",".to_owned()),
            "[0-9]{1,6}",
            any::<String>(),
        ];
        collection::vec(piece, 0..8).prop_map(|pieces| format!("urlprefix-{}", pieces.concat()))
    }

    proptest! {
        #[test]
        fn any_tag_is_read_or_refused_without_a_panic(tag in tags()) {
            if let Some(Err(bad)) = parse(&Config::default(), &tag, &[]) {
                let reason = bad.to_string();
                assert!(!reason.contains(char::is_control), "{reason:?}");
            }
        }
    }
}
