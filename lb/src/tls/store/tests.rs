//! Good, bad and empty answers of a source.

use super::*;
use crate::tls::tests::authority::Authority;

fn store() -> Store {
    Store::new("mine".into(), false, Arc::new(aws_lc_rs::default_provider())).unwrap()
}

fn good(authority: &Authority, label: &str, name: &str) -> Entry {
    (label.into(), Ok(authority.issue(&[name]).pair(label)))
}

fn bad(label: &str) -> Entry {
    (label.into(), Err(BadPair::Mismatch))
}

fn held(store: &Store) -> Vec<String> {
    let certs = store.certs();
    let pairs = certs.pairs().iter();
    pairs
        .map(|pair| format!("{} {}", pair.label, pair.names[0]))
        .collect()
}

#[test]
fn a_bad_pair_is_left_out_and_named_while_the_rest_is_used() {
    let (store, authority) = (store(), Authority::new("ca"));
    store.offer(vec![bad("a"), good(&authority, "b", "b.org"), bad("c")]);
    assert_eq!(held(&store), ["b b.org"]);
    let (faults, failing) = store.faults();
    let named: Vec<_> = faults.keys().map(|(_, label)| label.as_str()).collect();
    assert_eq!(named, ["a", "c"]);
    assert_eq!(failing, None);
    assert_eq!(store.counts(), (2, 1));
}

#[test]
fn what_was_good_stays_under_its_label_until_it_is_good_again_or_gone() {
    let (store, authority) = (store(), Authority::new("ca"));
    store.offer(vec![
        good(&authority, "a", "old.org"),
        good(&authority, "b", "b.org"),
    ]);
    store.offer(vec![bad("a"), good(&authority, "b", "b.org")]);
    assert_eq!(held(&store), ["a old.org", "b b.org"]);
    store.offer(vec![good(&authority, "a", "new.org"), bad("b")]);
    assert_eq!(held(&store), ["a new.org", "b b.org"]);
    store.offer(vec![good(&authority, "a", "new.org")]);
    assert_eq!(held(&store), ["a new.org"]);
    assert!(store.faults().0.is_empty());
}

#[test]
fn an_empty_or_broken_answer_never_empties_a_store() {
    let (store, authority) = (store(), Authority::new("ca"));
    store.offer(Vec::new());
    assert_eq!(store.faults().1, None, "there was nothing to lose");
    store.offer(vec![good(&authority, "a", "a.org")]);
    store.offer(Vec::new());
    assert_eq!(held(&store), ["a a.org"]);
    assert!(store.faults().1.is_some());
    store.offer(vec![bad("x"), bad("y")]);
    assert_eq!(held(&store), ["a a.org"]);
    store.fail("no answer");
    assert_eq!(held(&store), ["a a.org"]);
    assert_eq!(store.faults().1.unwrap().as_str(), "no answer");
    store.offer(vec![good(&authority, "b", "b.org")]);
    assert_eq!(held(&store), ["b b.org"]);
    assert_eq!(store.faults(), (Faults::new(), None));
}

#[test]
fn the_same_answer_again_changes_nothing() {
    let (store, authority) = (store(), Authority::new("ca"));
    let issued = authority.issue(&["a.org"]);
    store.offer(vec![("a".into(), Ok(issued.pair("a")))]);
    let before = store.certs();
    store.offer(vec![("a".into(), Ok(issued.pair("a")))]);
    assert!(Arc::ptr_eq(&before, &store.certs()));
    assert_eq!(store.counts(), (0, 1));
}

#[test]
fn a_certificate_that_has_expired_is_shown_and_told_of_once() {
    let (store, authority) = (store(), Authority::new("ca"));
    let issued = authority.issue_until(&["a.org"], 2001);
    store.offer(vec![("a".into(), Ok(issued.pair("a")))]);
    let end = store.certs().pairs()[0].not_after;
    store.warn_of_expired(end - 1);
    assert_eq!(store.counts().0, 0);
    store.warn_of_expired(end);
    store.warn_of_expired(end + 1);
    assert_eq!(store.counts().0, 1);
    assert_eq!(held(&store), ["a a.org"]);
}

#[test]
fn authorities_stay_until_there_are_others_and_tickets_last_as_long() {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let store = Store::new("mine".into(), true, provider).unwrap();
    assert!(matches!(store.clients().asked, Asked::NobodyVouches));
    let (first, second) = (Authority::new("one").pem(), Authority::new("two").pem());
    let offer = |texts: &[&str]| {
        let texts = texts.iter().map(|text| text.as_bytes());
        store.offer_authorities(Authorities::from_pem(texts, None));
    };
    offer(&["no certificate"]);
    assert!(matches!(store.clients().asked, Asked::NobodyVouches));
    offer(&[&first, "no certificate"]);
    let one = store.clients();
    assert_eq!(store.authorities().unwrap().count(), 1);
    assert_eq!(store.faults().0.len(), 1);
    offer(&[&first]);
    offer(&[]);
    assert!(Arc::ptr_eq(&one, &store.clients()));
    offer(&[&second, &first]);
    let two = store.clients();
    assert_eq!(store.authorities().unwrap().count(), 2);
    assert!(!Arc::ptr_eq(&one.ticketer, &two.ticketer));
    offer(&[&first, &second, &first]);
    assert!(
        Arc::ptr_eq(&two, &store.clients()),
        "order and repetition mean nothing"
    );
}
