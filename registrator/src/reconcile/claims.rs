//! Whose an entry of a registry is. Pure; decides by marks, never by what an entry offers.

use catalog::Registration;
use catalog::service::{META_CONTAINER, META_OWNER};

use crate::config::Config;

/// Whose an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It has our mark.
    Ours,
    /// It has a mark that we used before, and that others may use today: a host name is soon given twice. Ours if
    /// its container is here, or where it names none, if one here would have it.
    Former,
    /// The original registrator left it, or is still at work: no mark, and an id that it would make on this host.
    Unmarked,
    /// Somebody else's.
    Theirs,
}

impl Claim {
    pub(super) fn of(entry: &Registration, config: &Config) -> Self {
        match entry.service.meta.get(META_OWNER) {
            Some(_) if is_marked(entry, config) => Self::Ours,
            Some(owner) if !config.former_owners.contains(owner) => Self::Theirs,
            // Told to clean up, we also answer for what nobody else accounts for.
            Some(_) if config.cleanup => Self::Ours,
            Some(_) => Self::Former,
            None if is_of_host(&entry.service.id, &config.hostname) => Self::Unmarked,
            None => Self::Theirs,
        }
    }
}

/// Whether an entry has the mark that we write now.
pub(super) fn is_marked(entry: &Registration, config: &Config) -> bool {
    entry.service.meta.get(META_OWNER) == Some(&config.owner)
}

/// The container that an entry stands for.
pub(super) fn container_of(entry: &Registration) -> Option<&str> {
    entry.service.meta.get(META_CONTAINER).map(String::as_str)
}

/// Whether the original registrator on this host would have made this id: `host:name:port[:udp]`.
fn is_of_host(id: &str, hostname: &str) -> bool {
    let Some(rest) = id.strip_prefix(hostname).and_then(|rest| rest.strip_prefix(':')) else {
        return false;
    };
    let rest = rest.strip_suffix(":udp").unwrap_or(rest);
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    rest.split_once(':').is_some_and(|(name, port)| {
        !name.is_empty() && name.chars().all(named) && port.parse::<u16>().is_ok()
    })
}
