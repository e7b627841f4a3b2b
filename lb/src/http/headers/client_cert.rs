//! What a client certificate says, in one header: Envoy's `X-Forwarded-Client-Cert`, one element. Pure.
//!
//! Servers that read a name from it trust it blindly, so every byte that came from a certificate is either harmless in
//! all the grammars around it or written as a number.

use std::fmt::Write;
use std::net::IpAddr;

use hyper::http::header::HeaderValue;
use sha2::{Digest, Sha256};
use x509_parser::asn1_rs::Oid;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

/// Longest value: names beyond it are left out, whole ones at a time.
const LONGEST: usize = 4096;

/// Names of attributes in RFC 4514 section 3, and the two that certificates carry beside them.
const ATTRIBUTES: [(&str, &str); 11] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("2.5.4.5", "serialNumber"),
];

/// `Hash=<SHA-256 of the certificate, hex>;Subject="<RFC 4514>";URI=…;DNS=…;IP=…` of a certificate that was verified.
pub(super) fn header(der: &[u8]) -> HeaderValue {
    let mut text = String::from("Hash=");
    for byte in Sha256::digest(der) {
        let _ = write!(text, "{byte:02x}");
    }
    if let Ok((_, certificate)) = X509Certificate::from_der(der) {
        add(
            &mut text,
            "Subject",
            &format!("\"{}\"", subject(certificate.subject())),
        );
        let names = certificate.subject_alternative_name().ok().flatten();
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::URI(uri) => add(&mut text, "URI", &plain(uri)),
                GeneralName::DNSName(name) => add(&mut text, "DNS", &plain(name)),
                GeneralName::RFC822Name(name) => add(&mut text, "Email", &plain(name)),
                GeneralName::IPAddress(bytes) => {
                    if let Some(address) = address(bytes) {
                        add(&mut text, "IP", &address.to_string());
                    }
                }
                _ => {}
            }
        }
    }
    HeaderValue::try_from(text).expect("all that is not visible ASCII was written as numbers")
}

fn add(text: &mut String, key: &str, value: &str) {
    if text.len() + key.len() + value.len() + 2 <= LONGEST {
        let _ = write!(text, ";{key}={value}");
    }
}

/// The last part first, as RFC 4514 section 2.1 has it.
fn subject(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|part| {
            let pairs: Vec<String> = part
                .iter()
                .map(|pair| {
                    let value = pair.attr_value().data;
                    format!("{}={}", attribute(pair.attr_type()), escaped(value))
                })
                .collect();
            pairs.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(oid: &Oid<'_>) -> String {
    let number = oid.to_id_string();
    let known = ATTRIBUTES.iter().find(|(known, _)| *known == number);
    known.map_or(number, |(_, name)| (*name).to_owned())
}

/// Letters, digits and what means nothing to anybody stay; all else becomes `\xx`, which RFC 4514 allows for any byte.
fn escaped(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.iter().enumerate() {
        let inner_blank = *byte == b' ' && at != 0 && at != last;
        if byte.is_ascii_alphanumeric() || b"-._@:/'()*!?$&|~^".contains(byte) || inner_blank {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "\\{byte:02X}");
        }
    }
    text
}

/// What would end a value or break a line becomes `%xx`.
fn plain(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && !b",;\"\\".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests;
