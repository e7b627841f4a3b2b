//! Lookups against the rules written down naively, and tables made step by step against tables made at once.

use std::fmt::Write as _;
use std::sync::Arc;

use lb::Config;
use lb::config::Matcher;
use lb::router::Router;
use lb::table::{Ask, Builder, Route, Table, Weights};
use prometheus::Registry;
use proptest::prelude::{Strategy, prop_oneof};
use proptest::{collection, prop_assert_eq, proptest};
use tokio::sync::watch;

use crate::naive::{
    Command, Filter, Found, Naive, Service, Source, Target, addr, commands_text, picture_text,
};
use crate::picture::picture;

const HOSTS: [&str; 16] = [
    "", "*", "a", "b.a", "A", "*.a", "*.b.a", "?.a", "{b,c}.a", "[bc].a", "*b.a", "a.*", "a:80", "*.a:443",
    "*:81", "b.a:81",
];
const PATHS: [&str; 8] = ["/", "/a", "/A", "/a/b", "/ab", "/*", "/a*", "/{a,b}"];

fn source() -> impl Strategy<Value = Source> {
    let pick = |from: &[&'static str]| proptest::sample::select(from.to_vec());
    let http = (pick(&HOSTS), pick(&PATHS)).prop_map(|(host, path)| Source {
        host,
        path,
        tcp: false,
    });
    let sni = pick(&HOSTS[1..]).prop_map(|host| Source {
        host,
        path: "/",
        tcp: true,
    });
    let tcp = pick(&[":80", ":81"]).prop_map(|host| Source {
        host,
        path: "",
        tcp: true,
    });
    // Often the same, so that services and commands meet.
    let usual = pick(&["a", "*.a", ""]).prop_map(|host| Source {
        host,
        path: "/",
        tcp: false,
    });
    prop_oneof![8 => usual, 8 => http, 2 => sni, 1 => tcp]
}

fn name() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&["web", "api"][..])
}

fn tags() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(&["v1", "v2"][..], 0..=2)
}

fn weight() -> impl Strategy<Value = f64> {
    proptest::sample::select(&[0.0, 0.1, 0.5, 2.0][..])
}

/// Each instance once, so that the order in the picture is that of the list.
fn services() -> impl Strategy<Value = Vec<Service>> {
    let weight = proptest::option::of(weight());
    let routes = collection::vec((source(), weight), 0..5);
    let one = (tags(), proptest::bool::weighted(0.8), routes);
    collection::vec(one, 0..5).prop_map(|services| {
        let service = |(number, (tags, fit, routes)): (usize, (Vec<&'static str>, bool, Vec<_>))| Service {
            name: if number < 3 { "api" } else { "web" },
            number: number as u8 + 1,
            fit,
            tags,
            routes,
        };
        services.into_iter().enumerate().map(service).collect()
    })
}

fn command() -> impl Strategy<Value = Command> {
    let target =
        (source(), name(), 1..6_u8, weight(), tags()).prop_map(|(source, service, number, weight, tags)| {
            Target {
                source,
                service,
                addr: addr(number),
                weight,
                tags,
                fit: true,
            }
        });
    let by_source =
        (name(), source(), proptest::option::of(1..6_u8)).prop_map(|(service, source, number)| Filter {
            service: Some(service),
            source: Some(source),
            addr: number.map(addr),
            tags: Vec::new(),
        });
    let by_tags = (proptest::option::of(name()), tags()).prop_map(|(service, tags)| Filter {
        service: service.or(tags.is_empty().then_some("web")),
        tags,
        ..Filter::default()
    });
    let weighed =
        (proptest::option::of(name()), source(), tags()).prop_map(|(service, source, tags)| Filter {
            service: service.or(tags.is_empty().then_some("api")),
            source: Some(source),
            addr: None,
            tags,
        });
    let nonsense = ["", "# x", "route", "route add web", "route weight web / weight x"];
    prop_oneof![
        4 => target.prop_map(Command::Add),
        1 => by_source.prop_map(Command::Del),
        1 => by_tags.prop_map(Command::Del),
        2 => (weighed, weight()).prop_map(|(filter, weight)| Command::Weight(filter, weight)),
        1 => proptest::sample::select(nonsense.to_vec()).prop_map(Command::Nonsense),
    ]
}

fn found(route: Option<&Arc<Route>>) -> Found {
    let route = route?;
    let share =
        |target: &Arc<lb::table::Target>| (target.addr.to_string(), (target.share * 1000.0).round() as u64);
    let mut shares: Vec<_> = route.targets.iter().map(share).collect();
    shares.sort();
    Some((route.source(), shares))
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
        "b.com register=b",
    ];
    let tags = collection::vec(proptest::sample::select(tags.to_vec()), 0..3);
    (name, 1..4_u8, base, rest, tags).prop_map(|(name, host, base, rest, tags)| {
        let mut text = format!("{name} 10.0.0.{host}:80{base}{rest}\n");
        tags.iter()
            .for_each(|tag| writeln!(text, "  urlprefix-{tag}").unwrap());
        text
    })
}

/// Commands that touch what those instances ask for.
fn line() -> impl Strategy<Value = String> {
    let lines = [
        "route add a a.com/ http://10.0.0.9:80/",
        "route add A /x http://10.0.0.1:80/ weight 0.2 tags \"t\"",
        "route add b-c :53 tcp://10.0.0.9:53",
        "route add n new.com/ http://10.0.0.9:80/ opts \"register=n\"",
        "route add n / http://10.0.0.9/ opts \"nonsense\"",
        "route del a",
        "route del A a.com/",
        "route del b.c :53",
        "route del n",
        "route del tags \"t\"",
        "route weight a a.com/ weight 0.5",
        "route weight / weight 0.1 tags \"t\"",
        "route nonsense",
    ];
    proptest::sample::select(lines.to_vec()).prop_map(|line| format!("{line}\n"))
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
    for complaint in table.notes() {
        writeln!(seen, "{complaint:?}").unwrap();
    }
    let tcp = table.tcp(53).map(|route| route.targets.len());
    writeln!(seen, "{tcp:?} {:?} {:?}", table.tcp_ports(), table.aliases()).unwrap();
    for addr in ["10.0.0.1:80", "10.0.0.3:80", "10.0.0.9:80", "10.0.0.9:53"] {
        writeln!(seen, "{addr} {}", table.leads_to(addr)).unwrap();
    }
    seen
}

proptest! {
    #[test]
    fn a_table_made_step_by_step_is_the_table_made_at_once(
        steps in collection::vec((collection::vec(instance(), 0..6), collection::vec(line(), 0..4)), 1..6),
        matcher in proptest::sample::select(&[Matcher::Prefix, Matcher::IPrefix, Matcher::Glob][..]),
    ) {
        let config = Config { matcher, ..Config::default() };
        let ready = watch::Sender::new(false);
        let mut router = Router::new(Arc::new(config.clone()), ready, &Registry::new()).unwrap();
        for (instances, commands) in steps {
            let (picture, commands) = (picture(&instances.concat()), commands.concat());
            router.update(picture.clone());
            router.command(commands.clone().into());
            let at_once = Builder::table_of(config.clone(), &picture, &commands);
            prop_assert_eq!(seen(&router.live().load()), seen(&at_once));
        }
    }

    #[test]
    fn a_lookup_finds_what_a_naive_search_finds(
        services in services(),
        commands in collection::vec(command(), 0..8),
        matcher in proptest::sample::select(&[Matcher::Prefix, Matcher::IPrefix, Matcher::Glob][..]),
        globs in proptest::bool::weighted(0.8),
    ) {
        let config = Config { matcher, glob_disabled: !globs, ..Config::default() };
        let (text, lines) = (picture_text(&services), commands_text(&commands));
        let table = Builder::table_of(config, &picture(&text), &lines);
        let naive = Naive::new(matcher, globs, &services, &commands);
        let about = || format!("{text}override\n{lines}");
        for name in ["", "a", "b.a", "c.a", "x.a", "x.b.a", "a.b", "bb.a", "z"] {
            for (suffix, tls, port) in [("", false, 80), ("", true, 443), (":80", true, 80), (":81", false, 81)] {
                let host = format!("{name}{suffix}");
                for path in ["/", "/a", "/A/b", "/ab", "/b"] {
                    let expected = naive.http(name, port, path);
                    let method = "GET";
                    let explained = table.explain(Ask { host: &host, path, method, tls }).route;
                    prop_assert_eq!(
                        explained.map(|route| route.source),
                        expected.as_ref().map(|(source, _)| source.clone()),
                        "explain {}{} {}\n{}", host, path, tls, about()
                    );
                    prop_assert_eq!(found(table.http(&host, path, tls)), expected, "{}{} {}\n{}", host, path, tls, about());
                }
            }
            for port in [80, 443] {
                prop_assert_eq!(found(table.sni(name, port)), naive.sni(name, port), "sni {} {}\n{}", name, port, about());
                let expected = naive.pass_through(name, port);
                prop_assert_eq!(found(table.pass_through(name, port)), expected, "pass {} {}\n{}", name, port, about());
            }
        }
        for port in [80, 81, 82] {
            prop_assert_eq!(found(table.tcp(port)), naive.tcp(port), "{}\n{}", port, about());
        }
        prop_assert_eq!(table.tcp_ports(), naive.ports());
    }
}
