//! Which words a server understands, by what it answers to `/version`. Pure.

use serde_json::Value;

/// A way to speak to etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `/v2/keys`.
    V2 {
        /// Whether a lifetime can be renewed without waking who watches; an older server would take it for an
        /// empty value.
        refreshes: bool,
    },
    /// The JSON gateway, below this prefix.
    V3 { prefix: &'static str },
}

/// `major.minor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32, u32);

impl Version {
    /// Reads what a server says of itself: JSON since 2.0, words before; `None` if it is neither.
    ///
    /// The number is read as such. The original looked for "0.4" anywhere, and took 2.0.4 and 3.0.4 for that.
    pub(super) fn read(answer: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(answer).ok()?;
        let json: Option<Value> = serde_json::from_str(text).ok();
        let field = |name| json.as_ref()?.get(name)?.as_str();
        let number = field("etcdserver")
            .or_else(|| field("releaseVersion"))
            .or_else(|| text.trim().strip_prefix("etcd "))?;
        let mut parts = number.split(['.', '-', '+']);
        let mut part = || parts.next()?.parse().ok();
        Some(Self(part()?, part()?))
    }

    /// What v3 is to be spoken with; `None` where the server has none.
    pub(super) fn v3(self) -> Option<Dialect> {
        let prefix = match self {
            Self(3, 4..) | Self(4.., _) => "/v3",
            Self(3, 3) => "/v3beta",
            Self(3, 1..) => "/v3alpha",
            _ => return None,
        };
        Some(Dialect::V3 { prefix })
    }

    pub(super) fn v2(self) -> Dialect {
        Dialect::V2 {
            refreshes: self >= Self(2, 3),
        }
    }

    /// Whether it speaks v2 without being asked to at its start.
    pub(super) fn is_of_v2(self) -> bool {
        self < Self(3, 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(answer: &str) -> Option<Version> {
        Version::read(answer.as_bytes())
    }

    #[test]
    fn versions_are_read_as_numbers_and_not_searched_for_text() {
        for (answer, version) in [
            (r#"{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}"#, (3, 4)),
            (r#"{"etcdserver":"3.0.4","etcdcluster":"3.0.0"}"#, (3, 0)),
            (
                r#"{"etcdserver":"3.6.0-rc.1","etcdcluster":"not_decided"}"#,
                (3, 6),
            ),
            (r#"{"releaseVersion":"2.0.4","internalVersion":"2"}"#, (2, 0)),
            ("etcd 0.4.6", (0, 4)),
        ] {
            assert_eq!(
                Version::read(answer.as_bytes()),
                Some(Version(version.0, version.1)),
                "{answer}"
            );
        }
        for answer in ["", "404 page not found", "{}", r#"{"etcdserver":3}"#, "etcd x.y"] {
            assert_eq!(version(answer), None, "{answer}");
        }
    }

    #[test]
    fn each_release_is_met_with_the_words_that_it_knows() {
        let v3 = |major, minor| Version(major, minor).v3();
        assert_eq!(v3(3, 6), Some(Dialect::V3 { prefix: "/v3" }));
        assert_eq!(v3(3, 4), Some(Dialect::V3 { prefix: "/v3" }));
        assert_eq!(v3(3, 3), Some(Dialect::V3 { prefix: "/v3beta" }));
        assert_eq!(v3(3, 2), Some(Dialect::V3 { prefix: "/v3alpha" }));
        assert_eq!(v3(2, 3), None);
        assert_eq!(Version(2, 2).v2(), Dialect::V2 { refreshes: false });
        assert_eq!(Version(3, 3).v2(), Dialect::V2 { refreshes: true });
        assert!(Version(3, 3).is_of_v2() && !Version(3, 4).is_of_v2());
    }
}
