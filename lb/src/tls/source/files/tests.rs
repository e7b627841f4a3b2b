//! Names of files, and what belongs together.

use super::*;
use crate::tls::tests::authority::Authority;

#[test]
fn certificates_find_their_keys_and_what_is_half_is_left_out() {
    let authority = Authority::new("ca");
    let (one, two, three) = (
        authority.issue(&["one"]),
        authority.issue(&["two"]),
        authority.issue(&["three"]),
    );
    let text = |text: &str| Ok(text.as_bytes().to_vec());
    let files = Files::from([
        ("a-cert.pem".to_owned(), text(&one.cert)),
        ("a-key.pem".to_owned(), text(&one.key)),
        ("b.pem".to_owned(), text(&(two.key.clone() + &two.cert))),
        ("c-cert.pem".to_owned(), text(&three.cert)),
        ("d-key.pem".to_owned(), text(&three.key)),
        ("e-cert.pem".to_owned(), text(&one.cert)),
        ("e-key.pem".to_owned(), text(&two.key)),
        ("f.pem".to_owned(), Err("gone".to_owned())),
        (
            "g.pem".to_owned(),
            text("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
        ),
        ("README".to_owned(), text("nothing of ours")),
    ]);
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let shown: Vec<String> = entries(&files, &provider)
        .into_iter()
        .map(|(label, pair)| match pair {
            Ok(pair) => format!("{label} = {}", pair.names[0]),
            Err(fault) => format!("{label}: {fault}"),
        })
        .collect();
    assert_eq!(
        shown[..6],
        [
            "a-cert.pem = one",
            "b.pem = two",
            "c-cert.pem: there is no c-key.pem beside it",
            "d-cert.pem: there is no d-cert.pem beside it",
            "e-cert.pem: private key is not the one of the certificate",
            "f.pem: gone",
        ]
    );
    assert!(shown[6].starts_with("g.pem: not PEM"), "{}", shown[6]);
    assert_eq!(shown.len(), 7);
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_pair_or_none_without_a_panic(text in "(-----BEGIN (CERTIFICATE|PRIVATE KEY)-----\n)?[A-Za-z0-9+/=\n]{0,200}(-----END (CERTIFICATE|PRIVATE KEY)-----\n)?") {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let files = Files::from([("a.pem".to_owned(), Ok(text.clone().into_bytes()))]);
        proptest::prop_assert!(entries(&files, &provider)[0].1.is_err());
        let _ = Authorities::from_pem([text.as_bytes()], None);
    }
}
