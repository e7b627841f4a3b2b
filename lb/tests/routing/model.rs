//! Lookups against the rules written down naively: look at every route, keep the best.

use lb::Config;
use lb::config::Matcher;
use lb::table::{Ledger, Route, Table};
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::{collection, prop_assert_eq, proptest};

use crate::picture::picture;

fn host() -> impl Strategy<Value = String> {
    let label = || prop_oneof![Just("a"), Just("b"), Just("ab")];
    let name = collection::vec(label(), 1..4).prop_map(|labels| labels.join("."));
    let wild = name.clone().prop_map(|name| format!("*.{name}"));
    prop_oneof![4 => name, 2 => wild, 1 => Just(String::new()), 1 => Just("*".to_owned())]
}

fn path() -> impl Strategy<Value = String> {
    "/[abA/]{0,4}"
}

/// How exactly a route's host names the request's; greater is better, `None`: not at all.
fn exactness(own: &str, asked: &str) -> Option<usize> {
    match own {
        "" => Some(0),
        "*" => Some(1),
        _ if own == asked => Some(usize::MAX),
        _ => own
            .strip_prefix('*')
            .filter(|domain| asked.ends_with(domain))
            .map(|domain| domain.len() + 1),
    }
}

fn naive<'a>(routes: impl Iterator<Item = &'a Route>, fold: bool, host: &str, path: &str) -> Option<String> {
    let fold = |text: &str| {
        if fold {
            text.to_ascii_lowercase()
        } else {
            text.to_owned()
        }
    };
    routes
        .filter(|route| fold(path).starts_with(&fold(&route.path)))
        .filter_map(|route| Some((exactness(&route.host, host)?, route.path.len(), route)))
        .max_by_key(|(exactness, length, _)| (*exactness, *length))
        .map(|(_, _, route)| format!("{}{}", route.host, route.path))
}

proptest! {
    #[test]
    fn a_lookup_finds_what_a_naive_search_finds(
        sources in collection::vec((host(), path()), 0..24),
        requests in collection::vec((host(), path()), 1..24),
        fold in proptest::bool::ANY,
    ) {
        let tags: String = sources.iter().map(|(host, path)| format!("\n  urlprefix-{host}{path}")).collect();
        let matcher = if fold { Matcher::IPrefix } else { Matcher::Prefix };
        let config = Config { matcher, ..Config::default() };
        let table = Table::of(&config, &picture(&format!("web 10.0.0.1:80{tags}")), &mut Ledger::new(1));
        for (host, path) in requests {
            let host = host.replace('*', "x");
            let found = table.http(&host, &path).map(|route| format!("{}{}", route.host, route.path));
            let expected = naive(table.routes().map(|route| &**route), fold, &host, &path);
            prop_assert_eq!(found, expected, "{} {}", host, path);
        }
    }
}
