//! Versions and ciphers, as asked and as they come out.

use rustls::crypto::aws_lc_rs;

use super::*;

fn made(min: Option<u16>, max: Option<u16>, ciphers: &[u16]) -> Result<Vec<u16>, String> {
    let tls = Tls {
        source: "mine".into(),
        min,
        max,
        ciphers: ciphers.to_vec(),
        ..Tls::default()
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    Policy::new(&tls, Alpn::Http, &provider)
        .map(|policy| {
            policy
                .versions
                .iter()
                .map(|version| version.version.into())
                .collect()
        })
        .map_err(|error| error.to_string())
}

#[test]
fn versions_are_what_is_between_the_limits_and_still_spoken() {
    assert_eq!(made(None, None, &[]), Ok(vec![0x0304, 0x0303]));
    assert_eq!(made(Some(0x0301), None, &[]), Ok(vec![0x0304, 0x0303]));
    assert_eq!(made(Some(0x0304), None, &[]), Ok(vec![0x0304]));
    assert_eq!(made(None, Some(0x0303), &[]), Ok(vec![0x0303]));
    assert_eq!(made(Some(0x0303), Some(0x0303), &[]), Ok(vec![0x0303]));
    assert!(
        made(None, Some(0x0302), &[])
            .unwrap_err()
            .starts_with("tlsmax is below TLS 1.2")
    );
    assert!(
        made(Some(0x0304), Some(0x0303), &[])
            .unwrap_err()
            .starts_with("tlsmin is above tlsmax")
    );
}

#[test]
fn ciphers_are_those_of_tls_1_2_and_need_not_all_be_known() {
    const SPOKEN: u16 = 0xc02f; // TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    const WEAK: u16 = 0x002f; // TLS_RSA_WITH_AES_128_CBC_SHA
    assert_eq!(made(None, None, &[SPOKEN]), Ok(vec![0x0304, 0x0303]));
    assert_eq!(made(None, None, &[WEAK, SPOKEN]), Ok(vec![0x0304, 0x0303]));
    assert_eq!(made(None, None, &[WEAK]), Ok(vec![0x0304]), "1.3 has its own");
    let refused = made(None, Some(0x0303), &[WEAK]).unwrap_err();
    assert!(
        refused.contains("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        "{refused}"
    );
}
