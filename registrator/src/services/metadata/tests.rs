//! Which setting counts for a port, and what it is read as.

use proptest::prelude::*;

use super::*;

#[test]
fn tags_are_split_at_commas_that_are_not_escaped() {
    for (text, tags) in [
        ("", vec![]),
        ("foobar", vec!["foobar"]),
        ("foo,bar", vec!["foo", "bar"]),
        (r"foo\,bar", vec!["foo,bar"]),
        (r"foo,bar\,baz", vec!["foo", "bar,baz"]),
        (r"\,foobar\,", vec![",foobar,"]),
        (",,,,foo,,,bar,,,", vec!["foo", "bar"]),
        (",,,,", vec![]),
        (r",,\,,", vec![","]),
        (r"a\\,b", vec![r"a\,b"]),
    ] {
        assert_eq!(split_tags(text), tags, "{text}");
    }
}

fn container(env: &[&str], labels: &[(&str, &str)]) -> Container {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Container {
        env: env.iter().map(|&entry| entry.to_owned()).collect(),
        labels: labels.iter().map(owned).collect(),
        ..Container::default()
    }
}

fn as_written(_: &str, _: &str, value: &str) -> Option<String> {
    Some(value.to_owned())
}

proptest! {
    #[test]
    fn tags_joined_with_escaped_commas_split_into_themselves(tags in proptest::collection::vec("[a-z ,=/:]{1,8}", 0..6)) {
        let joined: Vec<_> = tags.iter().map(|tag| tag.replace(',', r"\,")).collect();
        prop_assert_eq!(split_tags(&joined.join(",")), tags);
    }

    /// A `lictor.` label is the `SERVICE_` label of the same words, whatever scope it names.
    #[test]
    fn both_families_of_labels_say_the_same(
        scope in "|80\\.|80\\.udp\\.|70-90\\.|70-90\\.tcp\\.|080\\.|90-70\\.|99999\\.",
        key in "name|tags|check\\.http|weight\\.warning|ignore|owner|port",
        udp in any::<bool>(),
    ) {
        let new = format!("lictor.{scope}{key}");
        let old = format!("SERVICE_{}", format!("{scope}{key}").to_uppercase().replace('.', "_"));
        let port: Port = if udp { "80/udp" } else { "80" }.parse().unwrap();
        let key = key.replace('.', "_");
        let said = |label: &str| {
            let metadata = Metadata::read(&container(&[], &[(label, "x")]), as_written);
            let settings = metadata.for_port(port);
            (settings.get(&key).map(str::to_owned), settings.is_own(&key), settings.attributes())
        };
        prop_assert_eq!(said(&new), said(&old));
    }

    /// Many scopes at once: the narrowest that holds the port wins, and of two as narrow the one with a protocol.
    #[test]
    fn the_narrowest_scope_wins(scopes in proptest::collection::btree_set((1_u16..40, 0_u16..20, any::<bool>()), 0..12), number in 1_u16..60) {
        let spelled = |(first, width, udp): &(u16, u16, bool)| {
            let numbers = if *width == 0 { first.to_string() } else { format!("{first}-{}", first + width) };
            let protocol = if *udp { "UDP_" } else { "" };
            (format!("SERVICE_{numbers}_{protocol}X"), format!("{width} {}", !udp))
        };
        let labels: Vec<_> = scopes.iter().map(spelled).collect();
        let labels: Vec<_> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let container = container(&["SERVICE_X=all"], &labels);
        let metadata = Metadata::read(&container, as_written);
        let holding = scopes.iter().filter(|(first, width, _)| (*first..=first + width).contains(&number));
        let narrowest = holding.map(|(_, width, udp)| (*width, !udp)).min();
        let wanted = narrowest.map_or("all".to_owned(), |(width, any)| format!("{width} {any}"));
        let port = Port { number, protocol: Protocol::Udp };
        let settings = metadata.for_port(port);
        prop_assert_eq!(settings.get("x"), Some(wanted.as_str()));
    }
}

#[test]
fn the_closest_scope_wins_then_a_label_of_ours_then_any_label_then_a_variable() {
    let container = container(
        &[
            "SERVICE_A=env",
            "SERVICE_80_B=env port",
            "SERVICE_C=env",
            "SERVICE_080_A=nobody's",
            "SERVICE_D=env",
            "SERVICE_70-90_E=env range",
        ],
        &[
            ("SERVICE_B", "label"),
            ("SERVICE_C", "label"),
            ("SERVICE_80_TCP_C", "exact"),
            ("SERVICE_D", "label"),
            ("lictor.d", "ours"),
            ("lictor.e", "ours, for all"),
        ],
    );
    let metadata = Metadata::read(&container, as_written);
    let settings = metadata.for_port("80".parse().unwrap());
    let seen = ["a", "b", "c", "d", "e"].map(|key| settings.get(key).unwrap());
    assert_eq!(seen, ["env", "env port", "exact", "ours", "env range"]);
    assert_eq!(settings.spelling("d"), Some("lictor.d"));
}
