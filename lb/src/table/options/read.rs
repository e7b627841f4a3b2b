//! Options as written become options as meant. Pure.
//!
//! Whoever may register a service writes them, so nothing here trusts them. What fabio keeps without effect is kept
//! and noted; a value that cannot be meant refuses the whole tag or command, so that no route is without a limit or a
//! header that somebody relies on; broken access rules let nobody in.

use std::time::Duration;

use hyper::http::uri::PathAndQuery;
use hyper::http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::{
    Access, HeaderRule, HostHeader, OPTIONS, Options, Probe, ProxyHeader, Rate, Rewrite, Scheme, Timeouts,
};
use crate::config::{IpNet, parse_bytes, parse_strategy};
use crate::http::headers::is_untouchable;
use crate::table::redirect::{BadRedirect, Redirect};
use crate::table::tag::shorten;

/// Memory that a pattern of `rewrite=` may take when compiled; it comes from strangers.
const MAX_PATTERN: usize = 256 << 10;
/// Most that `retries=` is taken for: beyond it a request would only knock on every door of a service that is down.
const MOST_RETRIES: u8 = 10;
/// Remarks on one tag or command, which strangers write: so many are made, and the rest is counted.
const MOST_NOTES: usize = 8;
/// `probeinterval=` where it is not said.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// Who probes more often does harm.
const SHORTEST_PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// An option whose value cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOption {
    /// A weight that is no number.
    #[error("weight={0} is no number of 0 or more")]
    Weight(String),
    /// A redirect that is none.
    #[error("redirect={1}: {0}")]
    Redirect(BadRedirect, String),
    /// Any other: the option as written, and what would be right.
    #[error("{0}: {1}")]
    Value(String, String),
}

/// What was read, and what is worth a word to whoever wrote it.
#[derive(Debug, Default)]
pub(in crate::table) struct Read {
    pub options: Options,
    /// `proto=` was given; without, whoever reads decides.
    pub proto: Option<Scheme>,
    pub notes: Vec<String>,
    /// `probeinterval=`.
    probe_interval: Option<Duration>,
}

/// Reads `key`, `value` pairs in the order of writing. `url`: where a redirect leads, when that is said elsewhere.
pub(in crate::table) fn read(words: &[(&str, &str)], url: Option<&str>) -> Result<Read, BadOption> {
    let mut read = Read::default();
    for (key, value) in words {
        read.note(key, value);
        if is_header_rule(key) {
            read.header_rule(key, value)?;
        }
    }
    for (key, value) in last_of_each(words) {
        let known = read.of_fabio(key, value, url)? || read.of_ours(key, value)?;
        debug_assert!(
            known || OPTIONS.iter().all(|option| option.name != key),
            "{key} is a known option that nobody reads"
        );
    }
    let last = |name: &str| {
        words
            .iter()
            .rev()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    };
    read.options.access = access(last("allow"), last("deny"));
    if let Access::Closed(why) = &read.options.access {
        read.notes.insert(0, format!("nobody is let in: {why}"));
    }
    if let Some(more) = read.notes.len().checked_sub(MOST_NOTES).filter(|more| *more > 0) {
        read.notes.truncate(MOST_NOTES);
        read.notes.push(format!("and {more} more like these"));
    }
    if let (Some(by), Some(rate)) = (last("ratelimit.by"), &mut read.options.limits.rate) {
        rate.by_client = by == "ip";
    }
    match (read.probe_interval, &mut read.options.probe) {
        (Some(interval), Some(probe)) => probe.interval = interval,
        (Some(_), None) => read
            .notes
            .push("probeinterval= has no effect without probe=".to_owned()),
        (None, _) => {}
    }
    if read.options.redirect.is_some() && read.options.probe.is_some() {
        read.notes
            .push("probe= has no effect on a redirect, which asks no target".to_owned());
    }
    let order = |rule: &HeaderRule| match rule {
        HeaderRule::Set(..) => 0,
        HeaderRule::Add(..) => 1,
        HeaderRule::Delete(_) => 2,
    };
    read.options.request_headers.sort_by_key(order);
    read.options.response_headers.sort_by_key(order);
    read.options.shown = shown(words, url.is_some());
    Ok(read)
}

fn is_header_rule(key: &str) -> bool {
    matches!(
        key,
        "setreqhdr" | "addreqhdr" | "delreqhdr" | "setresphdr" | "addresphdr" | "delresphdr"
    )
}

/// The last of several wins, but for those that add up.
fn last_of_each<'a>(words: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let is_last = |at: usize| words[at + 1..].iter().all(|(key, _)| *key != words[at].0);
    let last = (0..words.len()).filter(|at| is_last(*at) && !is_header_rule(words[*at].0));
    last.map(|at| words[at]).collect()
}

/// As they are listed: by name, each once, without what the destination says, unless that was written by hand.
fn shown(words: &[(&str, &str)], by_hand: bool) -> Box<[(Box<str>, Box<str>)]> {
    let known = |proto: &str| !by_hand && scheme(proto).is_some_and(|(_, consumed)| consumed);
    let rules = words.iter().copied().filter(|(key, _)| is_header_rule(key));
    let mut shown: Vec<(&str, &str)> = last_of_each(words)
        .into_iter()
        .chain(rules)
        .filter(|(key, value)| *key != "weight" && !(*key == "proto" && known(value)))
        .map(|(key, value)| match key {
            "redirect" => (key, value.split(',').next().unwrap_or(value)),
            _ => (key, value),
        })
        .collect();
    shown.sort_by_key(|(key, _)| *key);
    shown
        .into_iter()
        .map(|(key, value)| (key.into(), value.into()))
        .collect()
}

impl Read {
    /// What fabio would keep without a word, and what cannot be meant so.
    fn note(&mut self, key: &str, value: &str) {
        let note = match key {
            "proto" if scheme(value).is_none() => {
                format!("proto={} is not known, http is spoken", shorten(value))
            }
            "tlsskipverify" if !matches!(value, "true" | "false") => {
                format!(
                    "tlsskipverify={} is not true, certificates are verified",
                    shorten(value)
                )
            }
            "retries"
                if value
                    .parse()
                    .is_ok_and(|number: u64| number > MOST_RETRIES.into()) =>
            {
                format!("retries={} is too many, {MOST_RETRIES} are made", shorten(value))
            }
            "pxyproto" if !matches!(value, "true" | "v1" | "v2" | "false") => {
                format!(
                    "pxyproto={} is none of true, v1, v2; no header is sent",
                    shorten(value)
                )
            }
            _ if OPTIONS.iter().any(|option| option.name == key) => return,
            _ => match OPTIONS
                .iter()
                .map(|option| option.name)
                .find(|name| is_near(name, key))
            {
                Some(near) => format!("unknown option '{}', did you mean '{near}'?", shorten(key)),
                None => format!("unknown option '{}' has no effect", shorten(key)),
            },
        };
        self.notes.push(note);
    }

    /// One of fabio's options; false: it is not.
    fn of_fabio(&mut self, key: &str, value: &str, url: Option<&str>) -> Result<bool, BadOption> {
        let options = &mut self.options;
        match key {
            "strip" => options.strip = non_empty(value),
            "prepend" => options.prepend = non_empty(value),
            "proto" => self.proto = scheme(value).map(|(scheme, _)| scheme),
            "host" => {
                options.host = match value {
                    "" => HostHeader::Client,
                    "dst" => HostHeader::Target,
                    name => HostHeader::Name(name.into()),
                }
            }
            "tlsskipverify" => options.tls.skip_verify = value == "true",
            "grpcservername" => options.tls.server_name = non_empty(value).map(Into::into),
            "pxyproto" => {
                options.send_proxy = match value {
                    "true" | "v1" => Some(ProxyHeader::V1),
                    "v2" => Some(ProxyHeader::V2),
                    _ => None,
                }
            }
            "weight" => options.weight = weight(value)?,
            "redirect" => {
                let redirect = match url {
                    Some(url) => Redirect::to(value, url),
                    None => Redirect::parse(value),
                };
                options.redirect = Some(redirect.map_err(|bad| BadOption::Redirect(bad, shorten(value)))?);
            }
            "register" => options.register = non_empty(value),
            // An empty name is none of a scheme, so it lets nobody in, as an unknown one.
            "auth" => options.auth = Some(value.into()),
            "allow" | "deny" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// One of the options that fabio does not have; false: it is not.
    fn of_ours(&mut self, key: &str, value: &str) -> Result<bool, BadOption> {
        let options = &mut self.options;
        let bad = |right: &str| BadOption::Value(shorten(&format!("{key}={value}")), right.to_owned());
        match key {
            "tlsservername" => options.tls.server_name = non_empty(value).map(Into::into),
            "tlsca" => options.tls.ca = non_empty(value).map(Into::into),
            "tlscert" => options.tls.cert = non_empty(value).map(Into::into),
            "strategy" => {
                let right = "it is rnd, rr, p2c, least, ip, cookie:<name> or header:<name>";
                options.strategy = Some(parse_strategy(value).map_err(|_| bad(right))?);
            }
            "rewrite" => options.rewrite = Some(rewrite(value).map_err(|right| bad(&right))?),
            "dialtimeout" | "responseheadertimeout" | "timeout" => {
                let right = "it is a time above 0, such as 500ms or 1m30s";
                let limit = catalog::duration::parse(value)
                    .ok()
                    .filter(|limit| !limit.is_zero());
                options.timeouts.set(key, limit.ok_or_else(|| bad(right))?);
            }
            "ratelimit" => {
                let right = "it is <number>[/s|/m|/h][,<burst>], both above 0";
                options.limits.rate = Some(rate(value).ok_or_else(|| bad(right))?);
            }
            "ratelimit.by" if matches!(value, "ip" | "all") => {}
            "ratelimit.by" => return Err(bad("it is ip or all")),
            "maxinflight" => {
                let number = value.parse().ok().filter(|number| *number > 0);
                options.limits.in_flight = Some(number.ok_or_else(|| bad("it is a number above 0"))?);
            }
            "maxbody" => {
                let right = "it is a number of bytes, with k, m or g for more";
                options.limits.body = Some(parse_bytes(value).map_err(|_| bad(right))?);
            }
            "retries" => {
                let number: u64 = value.parse().map_err(|_| bad("it is a number from 0 to 10"))?;
                options.retries = Some(u8::try_from(number).unwrap_or(u8::MAX).min(MOST_RETRIES));
            }
            "shutdownsessions" => {
                let right = "it is a time, such as 0s or 30s";
                let time = catalog::duration::parse(value).map_err(|_| bad(right))?;
                options.shutdown_sessions = Some(time);
            }
            "probe" => {
                let path = match value {
                    "tcp" => None,
                    path if path.starts_with('/') && path.parse::<PathAndQuery>().is_ok() => {
                        Some(path.into())
                    }
                    _ => return Err(bad("it is a path, or tcp")),
                };
                let interval = PROBE_INTERVAL;
                options.probe = Some(Probe { path, interval });
            }
            "probeinterval" => {
                let interval = catalog::duration::parse(value).ok();
                let interval = interval.filter(|interval| *interval >= SHORTEST_PROBE_INTERVAL);
                let right = "it is a time of 100ms or more";
                self.probe_interval = Some(interval.ok_or_else(|| bad(right))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn header_rule(&mut self, key: &str, value: &str) -> Result<(), BadOption> {
        let bad = |right: &str| BadOption::Value(shorten(&format!("{key}={value}")), right.to_owned());
        let (name, text) = match value.split_once(':') {
            Some(both) if !key.starts_with("del") => both,
            None if key.starts_with("del") => (value, ""),
            Some(_) => return Err(bad("it is the name of a header")),
            None => return Err(bad("it is Name:value, with %20 for a blank")),
        };
        let name = HeaderName::try_from(name).map_err(|_| bad("that is no name of a header"))?;
        if is_untouchable(&name) {
            return Err(bad("this header is not for routes to change"));
        }
        let text = percent_decode_str(text).decode_utf8().ok();
        let value = text.and_then(|text| HeaderValue::from_str(text.trim()).ok());
        let value = value.ok_or_else(|| bad("that is no value of a header"))?;
        let rule = match &key[..3] {
            "set" => HeaderRule::Set(name, value),
            "add" => HeaderRule::Add(name, value),
            _ => HeaderRule::Delete(name),
        };
        let rules = if key.ends_with("reqhdr") {
            &mut self.options.request_headers
        } else {
            &mut self.options.response_headers
        };
        let mut longer = std::mem::take(rules).into_vec();
        longer.push(rule);
        *rules = longer.into();
        Ok(())
    }
}

impl Timeouts {
    fn set(&mut self, key: &str, limit: Duration) {
        match key {
            "dialtimeout" => self.dial = Some(limit),
            "responseheadertimeout" => self.header = Some(limit),
            _ => self.total = Some(limit),
        }
    }
}

/// What a `proto=` asks for, and whether the scheme of the destination says it. fabio knows tcp, https, grpc
/// and grpcs.
fn scheme(proto: &str) -> Option<(Scheme, bool)> {
    match proto {
        "tcp" => Some((Scheme::Tcp, true)),
        "https" => Some((Scheme::Https, true)),
        "grpc" | "h2c" => Some((Scheme::H2c, true)),
        "grpcs" | "h2" => Some((Scheme::H2, true)),
        "http" => Some((Scheme::Http, false)),
        // Words for listeners, which mean the same here.
        "tcp+sni" | "tcp-dynamic" => Some((Scheme::Tcp, true)),
        _ => None,
    }
}

fn non_empty(value: &str) -> Option<Box<str>> {
    (!value.is_empty()).then(|| value.into())
}

/// A share asked for, as fabio takes it: negative is none, and the least is one of its 10000 slots.
pub(in crate::table) fn weight(text: &str) -> Result<f64, BadOption> {
    match text.parse::<f64>() {
        Ok(weight) if weight.is_finite() && weight > 0.0 => Ok(weight.clamp(1e-4, 1e6)),
        Ok(weight) if weight.is_finite() => Ok(0.0),
        _ => Err(BadOption::Weight(shorten(text))),
    }
}

/// Rules of `allow=` and `deny=`. fabio leaves a route open to all where it does not understand them, or where both
/// are given; here broken rules let nobody in, and both mean both. Each is `ip:<address or network>`; the `ip:` may be
/// left out, as fabio's own example does.
fn access(allow: Option<&str>, deny: Option<&str>) -> Access {
    let networks = |key: &str, text: &str| -> Result<Box<[IpNet]>, Box<str>> {
        let network = |rule: &str| {
            let rule = rule.strip_prefix("ip:").unwrap_or(rule);
            let wrong = |_| {
                format!(
                    "{key}={}: '{}' is no ip:<address or network>",
                    shorten(text),
                    shorten(rule)
                )
            };
            rule.parse().map_err(|bad| wrong(bad).into())
        };
        text.split(',').map(network).collect()
    };
    let read = || {
        Ok(match (allow, deny) {
            (None, None) => Access::Open,
            (Some(allow), None) => Access::Allow(networks("allow", allow)?),
            (None, Some(deny)) => Access::Deny(networks("deny", deny)?),
            (Some(allow), Some(deny)) => Access::AllowExcept {
                allow: networks("allow", allow)?,
                deny: networks("deny", deny)?,
            },
        })
    };
    read().unwrap_or_else(Access::Closed)
}

/// `<regex>,<replacement>`; the last comma parts them, since patterns may have some.
fn rewrite(text: &str) -> Result<Rewrite, String> {
    let (pattern, with) = text.rsplit_once(',').ok_or("it is <regex>,<replacement>")?;
    let mut builder = regex::RegexBuilder::new(pattern);
    let pattern = builder
        .size_limit(MAX_PATTERN)
        .dfa_size_limit(MAX_PATTERN)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the pattern is too big".to_owned(),
            // Its own words draw a picture over several lines.
            other => other
                .to_string()
                .lines()
                .last()
                .unwrap_or_default()
                .trim()
                .to_owned(),
        })?;
    Ok(Rewrite {
        pattern,
        with: with.into(),
    })
}

/// `<number>[/s|/m|/h][,<burst>]`. Without a burst, what comes in a second may come at once, and one always may.
fn rate(text: &str) -> Option<Rate> {
    let above_0 = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
    let (rate, burst) = match text.split_once(',') {
        Some((rate, burst)) => (rate, Some(above_0(burst)?)),
        None => (text, None),
    };
    let (number, seconds) = match rate.split_once('/') {
        None | Some((_, "s")) => (rate.split('/').next()?, 1.0),
        Some((number, "m")) => (number, 60.0),
        Some((number, "h")) => (number, 3600.0),
        Some(_) => return None,
    };
    let per_second = above_0(number)? / seconds;
    Some(Rate {
        per_second,
        burst: burst.unwrap_or(per_second).max(1.0),
        by_client: false,
    })
}

/// The words of a tag or of `opts` as options: one without `=` has no value.
pub(in crate::table) fn pairs<'a>(words: impl Iterator<Item = &'a str>) -> Vec<(&'a str, &'a str)> {
    words
        .map(|word| word.split_once('=').unwrap_or((word, "")))
        .collect()
}

/// Whether one may have been meant by the other.
fn is_near(name: &str, written: &str) -> bool {
    let written = written.to_ascii_lowercase();
    name == written || (written.len() > 3 && strsim::damerau_levenshtein(name, &written) <= 2)
}

#[cfg(test)]
mod tests;
