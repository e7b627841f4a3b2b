//! Words of TLS: versions and cipher suites, by name or by their number on the wire.

use super::{BadValue, words};

/// The oldest version that is spoken: 1.2.
const OLDEST: u16 = 0x0303;
/// The newest: 1.3.
const NEWEST: u16 = 0x0304;

/// Versions by fabio's names.
const VERSIONS: [(&str, u16); 4] = [
    ("tls10", 0x0301),
    ("tls11", 0x0302),
    ("tls12", OLDEST),
    ("tls13", NEWEST),
];

/// A cipher suite that Go knows by name.
struct Suite {
    name: &'static str,
    number: u16,
    /// Whether it is spoken here; the others protect nothing, or not well.
    spoken: bool,
}

const fn spoken(number: u16, name: &'static str) -> Suite {
    Suite {
        name,
        number,
        spoken: true,
    }
}

const fn weak(number: u16, name: &'static str) -> Suite {
    Suite {
        name,
        number,
        spoken: false,
    }
}

/// Cipher suites by the names of IANA and Go (`crypto/tls`).
const SUITES: &[Suite] = &[
    spoken(0x1301, "TLS_AES_128_GCM_SHA256"),
    spoken(0x1302, "TLS_AES_256_GCM_SHA384"),
    spoken(0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    spoken(0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    spoken(0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    spoken(0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    spoken(0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    spoken(0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    spoken(0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    // Go's older names of the same two.
    spoken(0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"),
    spoken(0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"),
    weak(0x0005, "TLS_RSA_WITH_RC4_128_SHA"),
    weak(0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
    weak(0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA"),
    weak(0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"),
    weak(0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256"),
    weak(0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256"),
    weak(0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    weak(0xc007, "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"),
    weak(0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    weak(0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    weak(0xc011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA"),
    weak(0xc012, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    weak(0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    weak(0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    weak(0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    weak(0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
];

/// `tlsmin`: any of fabio's versions. Below 1.2 nothing is spoken, so those mean 1.2.
pub(super) fn min_version(text: &str) -> Result<u16, BadValue> {
    version("tlsmin", text)
}

/// `tlsmax`: 1.2 or 1.3; with less nobody could connect.
pub(super) fn max_version(text: &str) -> Result<u16, BadValue> {
    match version("tlsmax", text)? {
        number if number < OLDEST => Err(BadValue::new(
            format!("proxy.addr: tlsmax={text} leaves no version"),
            "the oldest that is spoken is tls12",
        )),
        number => Ok(number),
    }
}

fn version(key: &str, text: &str) -> Result<u16, BadValue> {
    let named = VERSIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    named
        .map(|(_, number)| *number)
        .or_else(|| number(text).filter(|number| (0x0301..=NEWEST).contains(number)))
        .ok_or_else(|| {
            BadValue::new(
                format!("proxy.addr: {key}={text} is no version of TLS"),
                "it is tls10, tls11, tls12, tls13, or its number such as 0x0303",
            )
        })
}

/// `tlsciphers`: names or numbers, separated by commas. One at least must be spoken here; the
/// others are left out later, and that is said.
pub(super) fn ciphers(text: &str) -> Result<Vec<u16>, BadValue> {
    let mut numbers = Vec::new();
    let mut usable = false;
    for word in words(text) {
        let suite = SUITES.iter().find(|suite| suite.name.eq_ignore_ascii_case(word));
        let number = suite
            .map(|suite| suite.number)
            .or_else(|| number(word))
            .ok_or_else(|| {
                BadValue::new(
                    format!("proxy.addr: tlsciphers: unknown cipher suite {word}"),
                    "for example TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, or its number 0xc02f",
                )
            })?;
        usable |= SUITES.iter().any(|suite| suite.number == number && suite.spoken);
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    if !numbers.is_empty() && !usable {
        let strong: Vec<&str> = SUITES[3..9].iter().map(|suite| suite.name).collect();
        return Err(BadValue::new(
            format!("proxy.addr: tlsciphers={text} names no cipher suite that is spoken here"),
            format!("those of TLS 1.2 are {}", strong.join(", ")),
        ));
    }
    Ok(numbers)
}

/// Go's `strconv.ParseUint` with base 0: decimal, `0x`, `0o`, `0b`, or octal after a zero.
fn number(text: &str) -> Option<u16> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = if let Some(digits) = lower.strip_prefix("0x") {
        (digits, 16)
    } else if let Some(digits) = lower.strip_prefix("0b") {
        (digits, 2)
    } else if let Some(digits) = lower.strip_prefix("0o") {
        (digits, 8)
    } else {
        (lower.as_str(), 10)
    };
    let plain = digits.chars().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| u16::from_str_radix(digits, radix).ok()).flatten()
}
