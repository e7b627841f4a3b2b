//! Certificates in, headers out.

use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use super::*;

fn cert(subject: &[(DnType, &str)], names: Vec<SanType>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    params.subject_alt_names = names;
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

fn text(der: &[u8]) -> String {
    header(der).to_str().unwrap().to_owned()
}

fn ia5(text: &str) -> Ia5String {
    text.try_into().unwrap()
}

#[test]
fn names_are_told_as_envoy_tells_them() {
    let der = cert(
        &[
            (DnType::CountryName, "CH"),
            (DnType::OrganizationName, "Works Ltd"),
            (DnType::CommonName, "ci"),
        ],
        vec![
            SanType::URI(ia5("spiffe://works/ci")),
            SanType::DnsName(ia5("ci.works")),
            SanType::IpAddress([10, 0, 0, 9].into()),
        ],
    );
    let text = text(&der);
    let (hash, names) = text.split_once(';').unwrap();
    assert_eq!(
        names,
        "Subject=\"CN=ci,O=Works Ltd,C=CH\";URI=spiffe://works/ci;DNS=ci.works;IP=10.0.0.9"
    );
    let hash = hash.strip_prefix("Hash=").unwrap();
    assert!(
        hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{hash}"
    );
}

#[test]
fn a_name_cannot_pretend_to_be_more_than_one() {
    let der = cert(
        &[(DnType::CommonName, " a\",O=root;URI=x\\\r\nX-Admin: jürgen")],
        vec![
            SanType::URI(ia5("a;DNS=root,Hash=\"0\" ")),
            SanType::DnsName(ia5("b\\\r\nX: y")),
        ],
    );
    let text = text(&der);
    assert!(
        text.ends_with(
            ";Subject=\"CN=\\20a\\22\\2CO\\3Droot\\3BURI\\3Dx\\5C\\0D\\0AX-Admin: j\\C3\\BCrgen\";\
             URI=a%3BDNS=root%2CHash=%220%22%20;DNS=b%5C%0D%0AX:%20y"
        ),
        "{text}"
    );
}

#[test]
fn a_certificate_with_thousands_of_names_makes_no_endless_header() {
    let names = (0..5000)
        .map(|n| SanType::DnsName(ia5(&format!("n{n}.works"))))
        .collect();
    let text = text(&cert(&[(DnType::CommonName, "many")], names));
    assert!(
        text.len() <= LONGEST && text.contains(";DNS=n0.works"),
        "{}",
        text.len()
    );
    assert!(
        text.rsplit(';').next().unwrap().ends_with(".works"),
        "the last is whole"
    );
}
