//! Which version of the API is spoken: the newest that both sides know.
//!
//! A path without a version means the newest that the engine knows, whose answers we may not. So every path has one, but
//! for the two that ask for it.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::client::Client;
use super::{Error, read};

/// Of Docker 20.10 and Podman 4.2.
const OLDEST: Version = Version(1, 41);
/// Of Docker 29.
const NEWEST: Version = Version(1, 53);

/// A version of the API, `1.41`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u16, u16);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let numbers = text
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let (major, minor) = numbers
            .ok_or_else(|| Error::Unreadable(format!("{text:?} is no version of the API, like 1.41")))?;
        Ok(Self(major, minor))
    }
}

/// Asks the engine and chooses.
pub(super) async fn negotiate(client: &Client) -> Result<Version, Error> {
    let ping = client.get("/_ping").await?;
    let header = ping
        .headers
        .get("api-version")
        .and_then(|value| value.to_str().ok());
    // A header tells of the upper end only, and proxies may let nobody ping.
    if let Some(text) = header.filter(|_| ping.status.is_success()) {
        let newest: Version = text.parse()?;
        if newest <= NEWEST {
            return choose(newest, None);
        }
    }
    let versions: Value = read(&client.get("/version").await?.checked()?)?;
    let newest = versions["ApiVersion"].as_str().unwrap_or_default().parse()?;
    let oldest = versions["MinAPIVersion"].as_str().map(str::parse).transpose()?;
    choose(newest, oldest)
}

/// The newest of `oldest..=newest` that we know.
fn choose(newest: Version, oldest: Option<Version>) -> Result<Version, Error> {
    if newest < OLDEST {
        let reason = "Docker 20.10 and Podman 4.2 are the oldest that will do";
        return Err(Error::Version(format!(
            "the engine is too old: it speaks API {newest}, {OLDEST} is needed; {reason}"
        )));
    }
    if let Some(oldest) = oldest.filter(|oldest| *oldest > NEWEST) {
        return Err(Error::Version(format!(
            "the engine is too new: it speaks no API below {oldest}, this version of Lictor knows up to {NEWEST}"
        )));
    }
    Ok(newest.min(NEWEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(newest: &str, oldest: Option<&str>) -> String {
        let version = |text: &str| text.parse().unwrap();
        match choose(version(newest), oldest.map(version)) {
            Ok(version) => version.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_newest_version_that_both_know_is_spoken() {
        for (newest, oldest, spoken) in [
            ("1.41", None, "1.41"),
            ("1.41", Some("1.12"), "1.41"),
            ("1.44", Some("1.24"), "1.44"),
            ("1.52", Some("1.44"), "1.52"),
            ("1.99", Some("1.44"), "1.53"),
            ("2.0", Some("1.53"), "1.53"),
        ] {
            assert_eq!(chosen(newest, oldest), spoken);
        }
    }

    #[test]
    fn an_engine_that_cannot_be_understood_is_told_why() {
        assert!(
            chosen("1.40", Some("1.12"))
                .starts_with("the engine is too old: it speaks API 1.40, 1.41 is needed")
        );
        let new = chosen("1.70", Some("1.60"));
        assert!(
            new.contains("too new: it speaks no API below 1.60, this version of Lictor knows up to 1.53"),
            "{new}"
        );
        for odd in ["", "1", "1.", "v1.41", "1.41.2", "latest", "-1.4"] {
            assert!(odd.parse::<Version>().is_err(), "{odd}");
        }
    }
}
