//! `allow=` and `deny=`: which clients may come in. Pure.
//!
//! The rules look at the client itself, see [`Origin`]. fabio also asks every address that the client claims to have
//! been forwarded for, which lets a rule refuse more but never makes it safer: who wants in leaves the header out.

use std::net::IpAddr;

use super::origin::Origin;
use crate::table::options::Access;

/// Whether connections from `client` may come in. For TCP, where nobody is forwarded for.
pub(crate) fn admits(access: &Access, client: IpAddr) -> bool {
    let listed = |networks: &[crate::config::IpNet]| networks.iter().any(|network| network.contains(client));
    match access {
        Access::Open => true,
        Access::Allow(networks) => listed(networks),
        Access::Deny(networks) => !listed(networks),
        Access::AllowExcept { allow, deny } => listed(allow) && !listed(deny),
        Access::Closed(_) => false,
    }
}

/// Whether requests from `origin` may come in. One that cannot be told may only where everyone may.
pub(crate) fn admits_origin(access: &Access, origin: Origin) -> bool {
    match origin {
        Origin::Known(client) => admits(access, client),
        Origin::Unknown => matches!(access, Access::Open),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &str) -> Box<[crate::config::IpNet]> {
        crate::config::parse_networks(list).unwrap().into()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn rules_let_in_whom_they_should() {
        let allow = Access::Allow(networks("10.0.0.0/8,fe80::1"));
        let deny = Access::Deny(networks("10.0.0.0/8"));
        let both = Access::AllowExcept {
            allow: networks("10.0.0.0/8"),
            deny: networks("10.1.0.0/16"),
        };
        assert!(
            admits(&both, ip("10.2.0.1")) && !admits(&both, ip("10.1.0.1")) && !admits(&both, ip("11.0.0.1"))
        );
        for (client, allowed, not_denied) in [
            ("10.1.2.3", true, false),
            ("::ffff:10.1.2.3", true, false),
            ("11.0.0.1", false, true),
            ("fe80::1", true, true),
            ("fe80::2", false, true),
        ] {
            assert_eq!(admits(&allow, ip(client)), allowed, "{client}");
            assert_eq!(admits(&deny, ip(client)), not_denied, "{client}");
            assert!(admits(&Access::Open, ip(client)));
            assert!(!admits(
                &Access::Closed("allow=x is no address".into()),
                ip(client)
            ));
        }
        assert!(
            !admits(&Access::Allow(networks("")), ip("::1")),
            "nobody is named"
        );
    }

    #[test]
    fn who_cannot_be_told_is_let_in_only_where_everyone_is() {
        assert!(admits_origin(&Access::Open, Origin::Unknown));
        assert!(!admits_origin(
            &Access::Allow(networks("0.0.0.0/0,::/0")),
            Origin::Unknown
        ));
        assert!(!admits_origin(
            &Access::Deny(networks("10.0.0.1")),
            Origin::Unknown
        ));
    }
}
