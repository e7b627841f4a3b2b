//! How a request chooses among the targets of its route. Pure: dice come from the caller.

use std::net::IpAddr;

use hyper::http::{HeaderMap, header};

use crate::config::Strategy;

/// Who asks, as far as a strategy may want to know.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// Number of the worker.
    pub worker: usize,
    /// The client.
    pub client: IpAddr,
    /// Headers of the request; `None`: it is no HTTP.
    pub headers: Option<&'a HeaderMap>,
    /// Uniformly random bits; asked only where they are used.
    pub random: &'a dyn Fn() -> u64,
}

/// A number that selects a target; equal numbers select equal targets, as long as those and their load are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// By weight; uniformly random bits.
    Random(u64),
    /// By weight; the how-manieth request of this worker on this route.
    Turn(u64),
    /// The less loaded of two; uniformly random bits.
    LeastOfTwo(u64),
    /// The least loaded; uniformly random bits, for where several are.
    Least(u64),
    /// The same for the same number.
    Same(u64),
}

impl Choice {
    /// What it is made of, whatever it means.
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Random(number)
            | Self::Turn(number)
            | Self::LeastOfTwo(number)
            | Self::Least(number)
            | Self::Same(number) => number,
        }
    }
}

impl Asker<'_> {
    /// How this request chooses; `turn` is asked only where it is used. Who lacks what would make it stick to a target
    /// gets any.
    pub(super) fn choice(&self, strategy: &Strategy, turn: impl FnOnce() -> u64) -> Choice {
        let random = || (self.random)();
        let sticky = match strategy {
            Strategy::Rnd => return Choice::Random(random()),
            Strategy::Rr => return Choice::Turn(turn()),
            Strategy::P2c => return Choice::LeastOfTwo(random()),
            Strategy::Least => return Choice::Least(random()),
            Strategy::Ip => Some(match self.client.to_canonical() {
                IpAddr::V4(ip) => hash(&ip.octets()),
                IpAddr::V6(ip) => hash(&ip.octets()),
            }),
            Strategy::Cookie(name) => self.cookie(name).map(hash),
            Strategy::Header(name) => self.header(name).map(hash),
        };
        sticky.map_or_else(|| Choice::Random(random()), Choice::Same)
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        let value = self.headers?.get(name)?.as_bytes();
        (!value.is_empty()).then_some(value)
    }

    /// A cookie of the application's. HTTP/2 may bring cookies in several headers (RFC 9113, 8.2.3).
    fn cookie(&self, name: &str) -> Option<&[u8]> {
        let headers = self.headers?.get_all(header::COOKIE).into_iter();
        let mut pairs = headers.flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
        pairs.find_map(|pair| {
            let value = pair.trim_ascii_start().strip_prefix(name.as_bytes())?;
            let value = value.strip_prefix(b"=")?.trim_ascii_end();
            (!value.is_empty()).then_some(value)
        })
    }
}

/// The same on every machine and in every release, so that several balancers send a client to the same place
/// (FNV-1a, mixed). It keeps no secret: clients may choose their target, as they may by asking again.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    });
    mix(fnv)
}

/// Each bit of the result depends on every bit of `bits` (the last steps of SplitMix64).
pub(super) fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(strategy: &Strategy, client: &str, headers: &[(&'static str, &str)]) -> Choice {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let asker = Asker {
            worker: 0,
            client: client.parse().unwrap(),
            headers: Some(&map),
            random: &|| 7,
        };
        asker.choice(strategy, || 3)
    }

    #[test]
    fn a_client_is_known_by_its_address_however_it_is_written() {
        let by = |client| choice(&Strategy::Ip, client, &[]);
        assert_eq!(by("10.0.0.1"), by("::ffff:10.0.0.1"));
        assert_ne!(by("10.0.0.1"), by("10.0.0.2"));
    }

    #[test]
    fn a_cookie_is_found_among_others_and_in_several_headers() {
        let sid = Strategy::Cookie("sid".into());
        let by = |cookies: &[&str]| {
            let headers: Vec<_> = cookies.iter().map(|cookie| ("cookie", *cookie)).collect();
            choice(&sid, "10.0.0.1", &headers)
        };
        let same = by(&["sid=abc"]);
        assert_eq!(same, Choice::Same(hash(b"abc")));
        assert_eq!(by(&["a=b; sid=abc ;c=d"]), same);
        assert_eq!(by(&["a=b", "sid=abc"]), same);
        for without in [&["xsid=abc"][..], &["sid="], &["sidx=abc"], &["a=sid=abc"], &[]] {
            assert_eq!(by(without), Choice::Random(7), "{without:?}");
        }
    }

    #[test]
    fn a_strategy_takes_only_what_it_needs() {
        let of = |strategy| choice(&strategy, "10.0.0.1", &[("x-user", "joe")]);
        assert_eq!(of(Strategy::Rnd), Choice::Random(7));
        assert_eq!(of(Strategy::Rr), Choice::Turn(3));
        assert_eq!(of(Strategy::P2c), Choice::LeastOfTwo(7));
        assert_eq!(of(Strategy::Least), Choice::Least(7));
        assert_eq!(of(Strategy::Header("x-user".into())), Choice::Same(hash(b"joe")));
        assert_eq!(of(Strategy::Header("x-none".into())), Choice::Random(7));
    }
}
