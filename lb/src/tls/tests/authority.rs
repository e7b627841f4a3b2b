//! An authority of the tests, and what it issues.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::tls::pair::Pair;

/// Signs.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate, PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// For these names, for servers and clients, valid from 1975 on; the first is the common name too.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_until(names, 4096)
    }

    /// As `issue`, until the first day of `year`.
    pub(crate) fn issue_until(&self, names: &[&str], year: i32) -> Issued {
        let mut params = params(names);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Issued {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Signs a request for a certificate, DER; PEM comes back, with the authority's own after it.
    pub(crate) fn sign(&self, request: &[u8]) -> Result<String, rcgen::Error> {
        let der = request.to_vec().into();
        let request = rcgen::CertificateSigningRequestParams::from_der(&der)?;
        Ok(request.signed_by(&self.0)?.pem() + &self.pem())
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).unwrap();
    if let Some(first) = names.first() {
        params.distinguished_name.push(DnType::CommonName, first);
    }
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

impl Issued {
    /// As a pair under a label.
    pub(crate) fn pair(&self, label: &str) -> Pair {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Pair::from_pem(label, self.cert.as_bytes(), self.key.as_bytes(), &provider).unwrap()
    }

    /// The certificate, DER.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }

    /// The key, DER.
    pub(crate) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}
