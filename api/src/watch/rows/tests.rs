//! Lists that change, compared with reading them whole.

use proptest::prelude::*;

use super::*;

fn texts(rows: &[Bytes]) -> Vec<&str> {
    rows.iter().map(|row| std::str::from_utf8(row).unwrap()).collect()
}

fn advance(rows: &mut Rows, text: &str) -> (Vec<String>, Vec<String>) {
    let change = rows.advance(Bytes::copy_from_slice(text.as_bytes())).unwrap();
    let owned = |rows: &[Bytes]| texts(rows).into_iter().map(str::to_owned).collect();
    (owned(&change.came), owned(&change.gone))
}

#[test]
fn a_changed_row_is_found_wherever_it_is() {
    let mut rows = Rows::default();
    let none: Vec<String> = Vec::new();
    assert_eq!(advance(&mut rows, r#"[{"a":1},{"b":2},{"c":3}]"#).0.len(), 3);
    assert_eq!(
        advance(&mut rows, r#"[{"a":1},{"b":2},{"c":3}]"#),
        (none.clone(), none.clone())
    );
    let (came, gone) = advance(&mut rows, r#"[{"a":1},{"b":22},{"c":3}]"#);
    assert_eq!(
        (came, gone),
        (vec![r#"{"b":22}"#.to_owned()], vec![r#"{"b":2}"#.to_owned()])
    );
    let (came, gone) = advance(&mut rows, r#"[{"b":22},{"c":3}]"#);
    assert_eq!((came, gone), (none.clone(), vec![r#"{"a":1}"#.to_owned()]));
    let (came, gone) = advance(&mut rows, r#"[{"b":22},{"c":3},{"d":"],}"}]"#);
    assert_eq!((came, gone), (vec![r#"{"d":"],}"}"#.to_owned()], none.clone()));
    assert_eq!(advance(&mut rows, "[]").1.len(), 3);
    assert_eq!(advance(&mut rows, "null"), (none.clone(), none));
}

#[test]
fn what_is_no_list_changes_nothing() {
    let mut rows = Rows::default();
    advance(&mut rows, r#"[{"a":1}]"#);
    for bad in [
        "",
        "<html>",
        "[1,,2]",
        "[",
        r#"["a]"#,
        "[}]",
        r#"[{"a":1},]"#,
        "[1]]",
        "7",
    ] {
        assert_eq!(
            rows.advance(Bytes::copy_from_slice(bad.as_bytes())),
            None,
            "{bad}"
        );
    }
    assert_eq!(advance(&mut rows, r#"[{"a":1}]"#), (Vec::new(), Vec::new()));
}

#[test]
fn rows_may_be_the_elements_of_a_member() {
    let mut rows = Rows::of_member("Services");
    let none: Vec<String> = Vec::new();
    assert_eq!(advance(&mut rows, "null"), (none.clone(), none.clone()));
    let node = |services: &str| format!(r#"{{"Node":{{"Services":1}}, "Services" : {services}}}"#);
    let (came, _) = advance(&mut rows, &node(r#"{"a":{"x":1},"b":{"x":2},"c":{"x":3}}"#));
    assert_eq!(came, [r#""a":{"x":1}"#, r#""b":{"x":2}"#, r#""c":{"x":3}"#]);
    let (came, gone) = advance(&mut rows, &node(r#"{"a":{"x":1},"b":{"x":22},"c":{"x":3}}"#));
    assert_eq!(
        (came, gone),
        (
            vec![r#""b":{"x":22}"#.to_owned()],
            vec![r#""b":{"x":2}"#.to_owned()]
        )
    );
    assert_eq!(advance(&mut rows, &node("null")).1.len(), 3);
    assert_eq!(advance(&mut rows, r#"{"Node":7}"#), (none.clone(), none));
}

/// A row in many spellings, all of them likely to be confused with their neighbours.
fn row() -> impl Strategy<Value = String> {
    let odd = r#"[,\[\]{}"\\ab]{0,4}"#;
    (0..4_u8, odd).prop_map(|(number, text)| {
        format!(
            "{{\"n\":{number},\"t\":{}}}",
            serde_json::to_string(&text).unwrap()
        )
    })
}

fn list() -> impl Strategy<Value = String> {
    (
        proptest::collection::vec(row(), 0..6),
        prop_oneof![Just(","), Just(" ,\n ")],
    )
        .prop_map(|(rows, comma)| format!("[{}]", rows.join(comma)))
}

proptest! {
    #[test]
    fn a_difference_is_what_reading_both_lists_whole_would_find(lists in proptest::collection::vec(list(), 1..6)) {
        let mut rows = Rows::default();
        let mut before: Vec<String> = Vec::new();
        for text in lists {
            let values: Vec<&serde_json::value::RawValue> = serde_json::from_str(&text).unwrap();
            let now: Vec<String> = values.iter().map(|value| value.get().to_owned()).collect();
            let (came, gone) = advance(&mut rows, &text);
            let (mut came, mut gone): (BTreeSet<_>, BTreeSet<_>) = (came.into_iter().collect(), gone.into_iter().collect());
            // A row that came back beside its twin is no news; which of them was kept is not told.
            came.retain(|row| !before.contains(row));
            gone.retain(|row| !now.contains(row));
            let wanted_came: BTreeSet<_> = now.iter().filter(|row| !before.contains(row)).cloned().collect();
            let wanted_gone: BTreeSet<_> = before.iter().filter(|row| !now.contains(row)).cloned().collect();
            prop_assert_eq!(came, wanted_came);
            prop_assert_eq!(gone, wanted_gone);
            let spans: Vec<_> = rows.spans.iter().map(|row| rows.body[row.clone()].to_vec()).collect();
            prop_assert_eq!(spans, now.iter().map(|row| row.clone().into_bytes()).collect::<Vec<_>>());
            before = now;
        }
    }

    #[test]
    fn no_bytes_panic(first in ".{0,40}", second in r#"[\[\]{},"\\ a0]{0,30}"#, third in r#"[\[\]{},"\\ a0]{0,30}"#) {
        let mut rows = Rows::default();
        for text in [first, second, third] {
            rows.advance(Bytes::from(text));
        }
    }
}
