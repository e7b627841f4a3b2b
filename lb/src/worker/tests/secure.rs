//! TLS in these tests: one authority, certificates for some names, clients that trust it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::harness::{Server, dial};
use crate::config::{Config, Proto, Tls};
use crate::tls::tests::authority::{Authority, Issued};
use crate::tls::tests::harness::{Files, file_source};

/// See the module.
pub(super) struct Secured {
    files: Files,
    authority: Authority,
    issued: Issued,
}

impl Secured {
    pub fn new(names: &[&str]) -> Self {
        let authority = Authority::new("authority");
        Self {
            files: Files::new(),
            issued: authority.issue(names),
            authority,
        }
    }

    /// Puts TLS on every listener that may have it.
    pub fn on(&self, config: &mut Config) {
        let path = self.files.put_pair("pair.pem", &self.issued);
        config.certs = vec![file_source("mine", &path)];
        for listener in &mut config.listeners {
            if listener.proto != Proto::TcpSni && listener.proto != Proto::Http {
                listener.tls = Some(Tls {
                    source: "mine".into(),
                    ..Tls::default()
                });
            }
        }
    }

    /// The certificate with its key, and the authority's, as files for other programs.
    pub fn paths(&self) -> (String, String) {
        let pair = self.files.put_pair("pair.pem", &self.issued);
        (pair, self.files.put("authority.pem", &self.authority.pem()))
    }

    fn config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let pem = self.authority.pem();
        roots
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    fn connection(&self, name: &str) -> ClientConnection {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        ClientConnection::new(self.config(), name).unwrap()
    }

    /// A client that asks for `name` and wants a certificate for it.
    pub fn client(&self, addr: SocketAddr, name: &str) -> StreamOwned<ClientConnection, TcpStream> {
        self.over(dial(addr), name)
    }

    pub fn over(&self, stream: TcpStream, name: &str) -> StreamOwned<ClientConnection, TcpStream> {
        StreamOwned::new(self.connection(name), stream)
    }

    /// What such a client begins with.
    pub fn hello(&self, name: &str) -> Vec<u8> {
        let (mut connection, mut bytes) = (self.connection(name), Vec::new());
        while connection.wants_write() {
            connection.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// A server with the certificate that says what it is told.
    pub fn server(&self) -> Server {
        let chain = vec![self.issued.der()];
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, self.issued.key_der())
            .unwrap();
        let config = Arc::new(config);
        Server::speaking(move |stream, _| {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut bytes) {
                if stream.write_all(&bytes[..length]).is_err() {
                    break;
                }
            }
        })
    }
}
