//! What a head has of the headers that somebody asks for in every message. Pure.
//!
//! Most messages have few of them, and one look at those that there are is less work than a search for each that there
//! could be.

use hyper::http::header::HeaderMap;

/// See the module. What it says there is may have been dropped since; what it says there is not, is not there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sight {
    /// `Connection`.
    pub(super) list: bool,
    /// Others that concern one connection.
    pub(super) others: bool,
    /// Names that somebody may read as another name.
    pub underscores: bool,
    /// `CDN-Loop`.
    pub hops: bool,
    /// `X-Forwarded-Prefix`.
    pub(super) prefix: bool,
    /// `Trailer`.
    pub trailer: bool,
}

impl Sight {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut sight = Self::default();
        for name in headers.keys() {
            sight.notice(name.as_str());
        }
        sight
    }

    /// The first letter tells most names from all that are looked for.
    fn notice(&mut self, name: &str) {
        match name.as_bytes() {
            [b'c', ..] => {
                self.list |= name == "connection";
                self.hops |= name == "cdn-loop";
            }
            [b'k', ..] => self.others |= name == "keep-alive",
            [b'p', ..] => {
                self.others |= matches!(
                    name,
                    "proxy" | "proxy-connection" | "proxy-authenticate" | "proxy-authorization"
                );
            }
            [b't', ..] => {
                self.others |= matches!(name, "te" | "transfer-encoding");
                self.trailer |= name == "trailer";
            }
            [b'u', ..] => self.others |= name == "upgrade",
            [b'x', ..] => self.prefix |= name == "x-forwarded-prefix",
            _ => {}
        }
        self.underscores |= has_underscore(name.as_bytes());
    }
}

/// Names are too short for a search to pay, so eight bytes are looked at together: those that are an underscore become
/// zero, and only from a zero the highest bit is borrowed.
fn has_underscore(name: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let (eights, rest) = name.as_chunks();
    let is_in = |eight: &[u8; 8]| {
        let zero = u64::from_ne_bytes(*eight) ^ (ONES * u64::from(b'_'));
        zero.wrapping_sub(ONES) & !zero & (ONES << 7) != 0
    };
    eights.iter().any(is_in) || rest.contains(&b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_underscore_is_seen_wherever_it_is(name in "[!-~]{0,20}|[_^`a\u{7f}]{1,20}") {
            prop_assert_eq!(has_underscore(name.as_bytes()), name.contains('_'));
        }
    }
}
