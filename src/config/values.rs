//! Single values: text in, meaning out, or what was expected. Pure; names and places are the
//! reader's business.

use std::net::IpAddr;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

/// A meaning, or what is wrong in words that may follow "invalid value "x" for y: ".
pub type Value<T> = Result<T, String>;

/// Go's booleans.
pub fn boolean(text: &str) -> Value<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// Go's durations.
pub fn duration(text: &str) -> Value<Duration> {
    let positive = text.strip_prefix('-').unwrap_or(text);
    match catalog::duration::parse(text) {
        Ok(time) => Ok(time),
        Err(_) if catalog::duration::parse(positive).is_ok() => Err("expected no time below 0".to_owned()),
        Err(_) => Err("expected a number with its unit, for example 250ms, 1.5s or 1m30s".to_owned()),
    }
}

/// A duration of which zero means "as long as it takes".
pub fn patience(text: &str) -> Value<Option<Duration>> {
    duration(text).map(|time| (!time.is_zero()).then_some(time))
}

/// A duration between two attempts: with none there would be no end of them.
pub fn pause(text: &str) -> Value<Duration> {
    match duration(text)? {
        Duration::ZERO => Err("expected more than 0".to_owned()),
        time => Ok(time),
    }
}

/// A port, 0 for any that is free, or -1 for none.
pub fn port(text: &str) -> Value<Option<u16>> {
    match text.parse::<i32>() {
        Ok(-1) => Ok(None),
        Ok(port @ 0..=65535) => Ok(u16::try_from(port).ok()),
        _ => Err("expected a port from 1 to 65535, 0 for any that is free, or -1 for none".to_owned()),
    }
}

/// A whole number from `least` up.
pub fn number_from(least: i64) -> impl Fn(&str) -> Value<i64> {
    move |text| match text.parse() {
        Ok(number) if number >= least => Ok(number),
        _ if least == i64::MIN => Err("expected a whole number".to_owned()),
        _ => Err(format!("expected a whole number, {least} or more")),
    }
}

/// A whole number from 0 to `most`.
pub fn number_to(most: i64) -> impl Fn(&str) -> Value<i64> {
    move |text| match text.parse() {
        Ok(number) if (0..=most).contains(&number) => Ok(number),
        _ => Err(format!("expected a whole number from 0 to {most}")),
    }
}

/// How many, 0 or more.
pub fn count(text: &str) -> Value<usize> {
    number_from(0)(text).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
}

/// How many times a request may be sent.
pub fn attempts(text: &str) -> Value<u8> {
    match text.parse() {
        Ok(count @ 1..=10) => Ok(count),
        _ => Err("expected a whole number from 1 to 10".to_owned()),
    }
}

/// How many HTTP/2 streams.
pub fn streams(text: &str) -> Value<u32> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a whole number, 1 or more".to_owned()),
    }
}

/// Bytes a second, 0 for any.
pub fn rate(text: &str) -> Value<u32> {
    text.parse()
        .map_err(|_| "expected a whole number, 0 or more".to_owned())
}

/// A share of a whole.
pub fn share(text: &str) -> Value<f64> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

/// The scheme of a link.
pub fn scheme(text: &str) -> Value<String> {
    match text {
        "http" | "https" => Ok(text.to_owned()),
        _ => Err("expected http or https".to_owned()),
    }
}

/// As many seconds as the text says.
pub fn seconds(text: &str) -> Value<Duration> {
    number_from(0)(text).map(|count| Duration::from_secs(count.unsigned_abs()))
}

/// An IP address.
pub fn ip(text: &str) -> Value<IpAddr> {
    if text.contains("{{") {
        return Err(
            "address templates are not supported by this version of lictor; expected the IP address \
             itself"
                .to_owned(),
        );
    }
    text.trim()
        .parse()
        .map_err(|_| "expected an IP address, for example 127.0.0.1 or ::1".to_owned())
}

/// One or more IP addresses.
pub fn ips(text: &str) -> Value<Vec<IpAddr>> {
    if text.contains("{{") {
        return ip(text).map(|ip| vec![ip]);
    }
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let mut addresses = Vec::new();
    for word in words {
        let address = ip(word)?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        Err("expected IP addresses, separated by blanks".to_owned())
    } else {
        Ok(addresses)
    }
}

/// Text that may hold anything but nothing.
pub fn filled(text: &str) -> Value<String> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("expected a name without blanks".to_owned());
    }
    Ok(text.to_owned())
}

/// Any text.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it stands where parsers stand that can fail"
)]
pub fn text(text: &str) -> Value<String> {
    Ok(text.to_owned())
}

/// Parts between commas, blanks trimmed, empty ones dropped.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it stands where parsers stand that can fail"
)]
pub fn list(text: &str) -> Value<Vec<String>> {
    Ok(text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect())
}

/// Consul's rule for datacenters, after its lower-casing.
pub fn datacenter(text: &str) -> Value<String> {
    let name = text.to_ascii_lowercase();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.is_empty() || !name.chars().all(fits) {
        return Err("expected letters, digits, - and _ only".to_owned());
    }
    Ok(name)
}

/// A DNS domain, without the dots at its ends, in lower case.
pub fn domain(text: &str) -> Value<String> {
    let name = text.trim().trim_matches('.').to_ascii_lowercase();
    let fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    if name.len() > 200 || !name.split('.').all(fits) {
        return Err("expected a DNS domain, for example consul or service.example.com".to_owned());
    }
    Ok(name)
}

/// DNS domains between commas.
pub fn domains(text: &str) -> Value<Vec<String>> {
    list(text)?.iter().map(|name| domain(name)).collect()
}

/// A UUID.
pub fn uuid(text: &str) -> Value<uuid::Uuid> {
    text.parse()
        .map_err(|_| "expected a UUID of 36 characters".to_owned())
}

/// How much to log, in Consul's or fabio's words.
pub fn level(text: &str) -> Value<LevelFilter> {
    match text.to_ascii_lowercase().as_str() {
        "trace" => Ok(LevelFilter::TRACE),
        "debug" => Ok(LevelFilter::DEBUG),
        "info" => Ok(LevelFilter::INFO),
        "warn" => Ok(LevelFilter::WARN),
        "err" | "error" | "fatal" => Ok(LevelFilter::ERROR),
        _ => Err("expected trace, debug, info, warn, error or fatal".to_owned()),
    }
}
