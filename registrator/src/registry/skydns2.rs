//! What SkyDNS and CoreDNS make names of: where they look, and the records they read. Pure; `etcd.rs` keeps them.

use serde_json::Value;

/// A label of a name.
const LONGEST_LABEL: usize = 63;

/// The key below which the names of `domain` are kept: `/skydns/local/cluster` for `cluster.local`.
///
/// # Errors
/// It is no domain.
pub(crate) fn root(domain: &str) -> Result<String, String> {
    let domain = domain.trim_matches('/').trim_end_matches('.');
    if domain.is_empty() {
        return Err(
            "the domain is missing, expected for example skydns2://127.0.0.1:2379/skydns.local".to_owned(),
        );
    }
    let labels: Vec<&str> = domain.rsplit('.').collect();
    if let Some(odd) = labels.iter().find(|label| !is_label(label)) {
        return Err(format!("{domain:?} is no domain: {odd:?} is no label of one"));
    }
    Ok(format!("/skydns/{}", labels.join("/")))
}

/// Why nobody could ask for this service, with the setting that helps. The usual ids have colons.
pub(crate) fn refuses(name: &str, id: &str) -> Option<(&'static str, String)> {
    let (odd, setting) = match (is_label(name), is_label(id)) {
        (true, true) => return None,
        (false, _) => (name, "SERVICE_NAME"),
        (true, false) => (id, "SERVICE_ID"),
    };
    let why = format!(
        "{odd:?} is no label of a DNS name: letters, digits, '-' and '_' inside, at most {LONGEST_LABEL}"
    );
    Some((setting, why))
}

fn is_label(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=LONGEST_LABEL).contains(&text.len())
        && text.chars().all(inside)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A record as the original writes it, byte for byte.
pub(crate) fn record(address: &str, port: u16) -> String {
    format!(r#"{{"host":"{address}","port":{port}}}"#)
}

/// Address and port of a record.
pub(crate) fn read(record: &str) -> Option<(String, u16)> {
    let record: Value = serde_json::from_str(record).ok()?;
    let port = record.get("port")?.as_u64()?;
    Some((record.get("host")?.as_str()?.to_owned(), port.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_turned_around() {
        for (domain, key) in [
            ("cluster.local", "/skydns/local/cluster"),
            ("/skydns.local", "/skydns/local/skydns"),
            ("local.", "/skydns/local"),
        ] {
            assert_eq!(root(domain).as_deref(), Ok(key), "{domain}");
        }
        for domain in ["", "/", "a..b", "-a.b", "a b"] {
            assert!(root(domain).is_err(), "{domain:?}");
        }
    }

    #[test]
    fn ids_that_are_no_labels_are_refused_with_the_setting_that_helps() {
        assert_eq!(refuses("redis", "redis-1"), None);
        assert_eq!(refuses("My_API", "1"), None);
        assert!(refuses("redis", "t1:redis:6379").is_some_and(|(setting, _)| setting == "SERVICE_ID"));
        assert!(refuses("a.b", "1").is_some_and(|(setting, _)| setting == "SERVICE_NAME"));
        assert!(refuses("redis", &"x".repeat(64)).is_some());
        assert!(refuses("redis", &"x".repeat(63)).is_none());
    }
}
