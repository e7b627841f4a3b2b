//! Lookups against the rules written down naively: look at every route, keep the best. And tables made step by
//! step against tables made at once.

use std::fmt::Write as _;
use std::sync::Arc;

use lb::Config;
use lb::config::Matcher;
use lb::router::Router;
use lb::table::{Builder, Route, Table, Weights};
use prometheus::Registry;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::{collection, prop_assert_eq, proptest};
use tokio::sync::watch;

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

/// Instances that share names, ports, hosts, paths and nodes in every way.
fn instance() -> impl Strategy<Value = String> {
    let names = ["a", "a-80", "A", "b.c", "b-c", "b.c-80"];
    let name = proptest::sample::select(names.to_vec());
    let base =
        proptest::sample::select(&["", " base=a cport=80", " base=a cport=81", " base=b.c cport=80"][..]);
    let rest = proptest::sample::select(&["", " node=n2", " node=n3 check=critical"][..]);
    let tags = [
        "a.com/",
        "a.com/x",
        "/x",
        "/X",
        "*.com/",
        "x*.com/",
        "a.com:80/ weight=0.3",
        ":53",
        "*",
        "/ weight=?",
    ];
    let tags = collection::vec(proptest::sample::select(tags.to_vec()), 0..3);
    (name, 1..4_u8, base, rest, tags).prop_map(|(name, host, base, rest, tags)| {
        let mut text = format!("{name} 10.0.0.{host}:80{base}{rest}\n");
        tags.iter()
            .for_each(|tag| writeln!(text, "  urlprefix-{tag}").unwrap());
        text
    })
}

/// All that can be seen of a table from outside.
fn seen(table: &Table) -> String {
    let mut seen = table.text(Weights::Effective);
    for skipped in table.skipped() {
        writeln!(seen, "{skipped:?}").unwrap();
    }
    for host in [
        "a.com",
        "xa.com",
        "a.com:8",
        "z",
        "a.n1",
        "a-80.n2",
        "a-81.n3",
        "b-c.n1",
        "b-c-80.n1",
        "b.c.n2",
    ] {
        for path in ["/", "/x", "/X"] {
            let route = table
                .http(host, path, false)
                .map(|route| (&route.host, &route.path, route.targets.len()));
            writeln!(seen, "{host}{path} {route:?}").unwrap();
        }
    }
    let tcp = table.tcp(53).map(|route| route.targets.len());
    writeln!(seen, "{tcp:?}").unwrap();
    seen
}

proptest! {
    #[test]
    fn a_table_made_step_by_step_is_the_table_made_at_once(
        pictures in collection::vec(collection::vec(instance(), 0..6), 1..6),
        matcher in proptest::sample::select(&[Matcher::Prefix, Matcher::IPrefix, Matcher::Glob][..]),
    ) {
        let config = Config { matcher, ..Config::default() };
        let ready = watch::Sender::new(false);
        let mut router = Router::new(Arc::new(config.clone()), ready, &Registry::new()).unwrap();
        for instances in pictures {
            let picture = picture(&instances.concat());
            router.update(picture.clone());
            prop_assert_eq!(seen(&router.live().load()), seen(&Builder::table_of(config.clone(), &picture)));
        }
    }

    #[test]
    fn a_lookup_finds_what_a_naive_search_finds(
        sources in collection::vec((host(), path()), 0..24),
        requests in collection::vec((host(), path()), 1..24),
        fold in proptest::bool::ANY,
    ) {
        let tags: String = sources.iter().map(|(host, path)| format!("\n  urlprefix-{host}{path}")).collect();
        let matcher = if fold { Matcher::IPrefix } else { Matcher::Prefix };
        let config = Config { matcher, ..Config::default() };
        let table = Builder::table_of(config, &picture(&format!("web 10.0.0.1:80{tags}")));
        for (host, path) in requests {
            let host = host.replace('*', "x");
            let found = table.http(&host, &path, false).map(|route| format!("{}{}", route.host, route.path));
            let expected = naive(table.routes().map(|route| &**route), fold, &host, &path);
            prop_assert_eq!(found, expected, "{} {}", host, path);
        }
    }
}
