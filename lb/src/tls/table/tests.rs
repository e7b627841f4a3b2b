//! Names asked for, and what is shown.

use super::*;
use crate::tls::tests::authority::Authority;

fn table(pairs: &[(&str, &[&str])]) -> CertTable {
    let authority = Authority::new("ca");
    let pairs = pairs
        .iter()
        .map(|(label, names)| Arc::new(authority.issue(names).pair(label)));
    CertTable::new(pairs.collect())
}

fn shown<'a>(table: &'a CertTable, name: &str, strict: bool) -> &'a str {
    let name = (!name.is_empty()).then_some(name);
    table.choose(name, strict).map_or("-", |pair| &*pair.label)
}

#[test]
fn the_name_comes_before_its_domain_and_its_domain_before_the_first() {
    let table = table(&[
        ("d", &["a.b.example.com"]),
        ("c", &["*.b.example.com"]),
        ("b", &["*.*.example.com"]),
        ("a", &["first.net"]),
    ]);
    for (name, expected) in [
        ("a.b.example.com", "d"),
        ("A.B.Example.Com.", "d"),
        ("x.b.example.com", "c"),
        ("x.y.example.com", "b"),
        ("y.example.com", "-"),
        ("x.a.b.example.com", "-"),
        ("first.net", "a"),
        ("", "-"),
        (".", "-"),
        ("com", "-"),
    ] {
        assert_eq!(shown(&table, name, true), expected, "{name}");
        let lenient = if expected == "-" { "a" } else { expected };
        assert_eq!(shown(&table, name, false), lenient, "{name}, not strict");
    }
}

#[test]
fn a_star_for_every_label_fits_names_with_as_many() {
    let table = table(&[("a", &["x.org"]), ("b", &["*.*.*"])]);
    assert_eq!(shown(&table, "one.two.three", true), "b");
    assert_eq!(shown(&table, "two.three", true), "-");
}

#[test]
fn the_only_certificate_is_for_everybody_unless_strict() {
    let table = table(&[("a", &["x.org"])]);
    assert_eq!(shown(&table, "y.org", false), "a");
    assert_eq!(shown(&table, "", false), "a");
    assert_eq!(shown(&table, "y.org", true), "-");
    assert_eq!(shown(&table, "x.org", true), "a");
    assert_eq!(shown(&CertTable::default(), "x.org", false), "-");
}

#[test]
fn of_two_for_one_name_the_last_has_it_whatever_their_order() {
    let table = table(&[("2", &["x.org", "two.org"]), ("1", &["x.org", "one.org"])]);
    assert_eq!(shown(&table, "x.org", true), "2");
    assert_eq!(shown(&table, "one.org", true), "1");
    assert_eq!(shown(&table, "", false), "1");
}

#[test]
fn a_name_longer_than_any_is_nobodys() {
    let table = table(&[("a", &["x.org"])]);
    assert_eq!(shown(&table, &"a.".repeat(200), true), "-");
    assert_eq!(shown(&table, &"*.".repeat(100), true), "-");
}
