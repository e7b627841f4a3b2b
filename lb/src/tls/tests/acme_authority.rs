//! A small ACME authority (RFC 8555): nonces, accounts, orders; it really looks at challenges, over HTTP and TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::tls13::OkmBlock;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedCipherSuite};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::authority::Authority;
use super::web::{Answer, Asked, Web, answer};

/// What goes wrong, for a host or with everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Orders for the host get a 500 without a problem document.
    Broken,
    /// Orders for the host are refused for their number.
    RateLimited,
    /// Its requests for certificates are refused.
    BadCsr,
    /// Its challenges are never seen.
    Unseen,
}

/// Where the authority finds a host, by kind of challenge.
pub(crate) type Places = Arc<Mutex<BTreeMap<&'static str, SocketAddr>>>;

/// What it knows.
pub(crate) struct State {
    issuer: Authority,
    nonces: BTreeSet<String>,
    /// The next so many nonces are called bad.
    pub(crate) bad_nonces: usize,
    counter: usize,
    /// Thumbprints of account keys.
    pub(crate) accounts: Vec<String>,
    pub(crate) orders: Vec<Order>,
    pub(crate) faults: BTreeMap<String, Fault>,
    pub(crate) places: Places,
    /// Only this customer may have an account: key id, key.
    pub(crate) customer: Option<(String, Vec<u8>)>,
}

pub(crate) struct Order {
    pub(crate) host: String,
    pub(crate) status: &'static str,
    /// The kind of challenge that was tried.
    pub(crate) tried: Option<&'static str>,
    problem: Option<Value>,
    cert: String,
}

/// A running authority.
pub(crate) struct Acme {
    pub(crate) web: Web,
    pub(crate) state: Arc<Mutex<State>>,
}

impl Acme {
    pub(crate) async fn start() -> Self {
        let state = State {
            issuer: Authority::new("acme"),
            nonces: BTreeSet::new(),
            bad_nonces: 0,
            counter: 0,
            accounts: Vec::new(),
            orders: Vec::new(),
            faults: BTreeMap::new(),
            places: Places::default(),
            customer: None,
        };
        let state = Arc::new(Mutex::new(state));
        let said = state.clone();
        let web = Web::start(move |asked| {
            let state = said.clone();
            async move { say(&state, &asked).await }
        })
        .await;
        Self { web, state }
    }

    pub(crate) fn directory(&self) -> String {
        format!("{}/directory", self.web.url)
    }

    /// Where it finds hosts for a kind of challenge.
    pub(crate) fn place(&self, kind: &'static str, at: SocketAddr) {
        self.state.lock().unwrap().places.lock().unwrap().insert(kind, at);
    }

    /// Hosts that were ordered for, in their order.
    pub(crate) fn ordered(&self) -> Vec<String> {
        self.state
            .lock()
            .unwrap()
            .orders
            .iter()
            .map(|order| order.host.clone())
            .collect()
    }
}

fn sha256(data: &[u8]) -> Vec<u8> {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let SupportedCipherSuite::Tls13(suite) = suite else {
        unreachable!()
    };
    suite.common.hash_provider.hash(data).as_ref().to_vec()
}

fn problem(status: u16, kind: &str, detail: &str) -> Answer {
    let body =
        json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail, "status": status });
    answer(status, body.to_string())
}

fn said(status: u16, body: &Value, location: Option<String>) -> Answer {
    let mut answer = Response::builder().status(status);
    if let Some(location) = location {
        answer = answer.header("location", location);
    }
    answer.body(Full::new(Bytes::from(body.to_string()))).unwrap()
}

async fn say(state: &Arc<Mutex<State>>, asked: &Asked) -> Answer {
    let base = format!("http://{}", asked.header("host"));
    let mut answer = match asked.method.as_str() {
        "POST" => post(state, &base, asked).await,
        _ if asked.path == "/directory" => said(
            200,
            &json!({
                "newNonce": format!("{base}/nonce"), "newAccount": format!("{base}/account"),
                "newOrder": format!("{base}/order"), "revokeCert": format!("{base}/revoke"),
                "keyChange": format!("{base}/key") }),
            None,
        ),
        _ => answer(200, ""),
    };
    let mut state = state.lock().unwrap();
    state.counter += 1;
    let nonce = format!("nonce{}", state.counter);
    state.nonces.insert(nonce.clone());
    answer
        .headers_mut()
        .insert("replay-nonce", nonce.parse().unwrap());
    answer
}

async fn post(state: &Arc<Mutex<State>>, base: &str, asked: &Asked) -> Answer {
    let body: Value = serde_json::from_slice(&asked.body).unwrap();
    let part = |name: &str| BASE64.decode(body[name].as_str().unwrap()).unwrap();
    let protected: Value = serde_json::from_slice(&part("protected")).unwrap();
    let payload: Value = serde_json::from_slice(&part("payload")).unwrap_or_default();
    assert_eq!(protected["url"], format!("{base}{}", asked.path));
    {
        let mut state = state.lock().unwrap();
        let nonce = protected["nonce"].as_str().unwrap();
        if !state.nonces.remove(nonce) || state.bad_nonces > 0 {
            state.bad_nonces = state.bad_nonces.saturating_sub(1);
            return problem(400, "badNonce", "JWS has an invalid anti-replay nonce");
        }
    }
    let mut parts = asked.path.trim_start_matches('/').split('/');
    let (what, number) = (parts.next().unwrap(), parts.next());
    let number: usize = number.map_or(0, |number| number.parse().unwrap());
    match what {
        "account" => account(state, base, &protected, &payload),
        "order" if asked.path == "/order" => new_order(state, base, &payload),
        "order" => shown_order(state, base, number),
        "authz" => authorization(state, base, number),
        "chall" => {
            let kind = if parts.next() == Some("http-01") {
                "http-01"
            } else {
                "tls-alpn-01"
            };
            challenge(state, base, number, kind, &protected).await
        }
        "finalize" => finalize(state, base, number, &payload),
        "cert" => answer(200, state.lock().unwrap().orders[number].cert.clone()),
        _ => problem(404, "malformed", "no such thing"),
    }
}

/// What RFC 8555 (7.3.4) asks of a binding: our key, signed by the customer's.
fn binds(binding: &Value, jwk: &Value, url: &str, (kid, key): &(String, Vec<u8>)) -> bool {
    let Some([protected, payload, signature]) = ["protected", "payload", "signature"]
        .map(|part| binding[part].as_str())
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .and_then(|parts| <[&str; 3]>::try_from(parts).ok())
    else {
        return false;
    };
    let json = |part: &str| serde_json::from_slice::<Value>(&BASE64.decode(part).unwrap()).unwrap();
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let SupportedCipherSuite::Tls13(suite) = suite else {
        unreachable!()
    };
    let key = OkmBlock::new(key);
    let signed = format!("{protected}.{payload}");
    let right = suite.hkdf_provider.hmac_sign(&key, signed.as_bytes());
    json(protected) == json!({ "alg": "HS256", "kid": kid, "url": url })
        && json(payload) == *jwk
        && BASE64.decode(signature).unwrap() == right.as_ref()
}

fn account(state: &Mutex<State>, base: &str, protected: &Value, payload: &Value) -> Answer {
    let jwk = &protected["jwk"];
    if let Some(customer) = &state.lock().unwrap().customer {
        let binding = &payload["externalAccountBinding"];
        if !binds(binding, jwk, &format!("{base}/account"), customer) {
            return problem(
                401,
                "externalAccountRequired",
                "an external account binding is required",
            );
        }
    }
    let text = |name: &str| jwk[name].as_str().unwrap();
    let canonical = format!(
        r#"{{"crv":"{}","kty":"{}","x":"{}","y":"{}"}}"#,
        text("crv"),
        text("kty"),
        text("x"),
        text("y")
    );
    let mut state = state.lock().unwrap();
    state.accounts.push(BASE64.encode(sha256(canonical.as_bytes())));
    let location = format!("{base}/account/{}", state.accounts.len() - 1);
    said(201, &json!({ "status": "valid" }), Some(location))
}

fn new_order(state: &Mutex<State>, base: &str, payload: &Value) -> Answer {
    let host = payload["identifiers"][0]["value"].as_str().unwrap().to_owned();
    let number = {
        let mut state = state.lock().unwrap();
        let fault = state.faults.get(&host).copied();
        state.orders.push(Order {
            host,
            status: "pending",
            tried: None,
            problem: None,
            cert: String::new(),
        });
        match fault {
            Some(Fault::Broken) => return answer(500, "<h1>oops</h1>"),
            Some(Fault::RateLimited) => {
                return problem(429, "rateLimited", "too many certificates already issued");
            }
            _ => {}
        }
        state.orders.len() - 1
    };
    let mut answer = shown_order(state, base, number);
    *answer.status_mut() = hyper::StatusCode::CREATED;
    answer
        .headers_mut()
        .insert("location", format!("{base}/order/{number}").parse().unwrap());
    answer
}

fn shown_order(state: &Mutex<State>, base: &str, number: usize) -> Answer {
    let state = state.lock().unwrap();
    let order = &state.orders[number];
    let mut body = json!({
        "status": order.status,
        "identifiers": [{ "type": "dns", "value": order.host }],
        "authorizations": [format!("{base}/authz/{number}")],
        "finalize": format!("{base}/finalize/{number}") });
    if order.status == "valid" {
        body["certificate"] = format!("{base}/cert/{number}").into();
    }
    said(200, &body, None)
}

fn authorization(state: &Mutex<State>, base: &str, number: usize) -> Answer {
    let state = state.lock().unwrap();
    let order = &state.orders[number];
    let status = match order.status {
        "ready" | "valid" => "valid",
        other => other,
    };
    let challenge = |kind: &str| {
        let mut challenge = json!({
            "type": kind, "url": format!("{base}/chall/{number}/{kind}"), "token": format!("token-{number}"),
            "status": if order.tried == Some(kind) { status } else { "pending" } });
        if let (Some(problem), true) = (&order.problem, order.tried == Some(kind)) {
            challenge["error"] = problem.clone();
        }
        challenge
    };
    let body = json!({
        "status": status, "identifier": { "type": "dns", "value": order.host },
        "challenges": [json!({ "type": "dns-01", "url": "x", "token": "t", "status": "pending" }),
            challenge("http-01"), challenge("tls-alpn-01")] });
    said(200, &body, None)
}

async fn challenge(
    state: &Mutex<State>,
    base: &str,
    number: usize,
    kind: &'static str,
    protected: &Value,
) -> Answer {
    let (host, place, text) = {
        let state = state.lock().unwrap();
        let account: usize = protected["kid"]
            .as_str()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let text = format!("token-{number}.{}", state.accounts[account]);
        let host = state.orders[number].host.clone();
        let unseen = state.faults.get(&host) == Some(&Fault::Unseen);
        let place = state
            .places
            .lock()
            .unwrap()
            .get(kind)
            .copied()
            .filter(|_| !unseen);
        (host, place, text)
    };
    let seen = match (place, kind) {
        (None, _) => Err("connection refused".to_owned()),
        (Some(place), "http-01") => see_http(place, &host, &format!("token-{number}"), &text).await,
        (Some(place), _) => see_tls(place, &host, &sha256(text.as_bytes())).await,
    };
    {
        let mut state = state.lock().unwrap();
        let order = &mut state.orders[number];
        order.tried = Some(kind);
        order.status = if seen.is_ok() { "ready" } else { "invalid" };
        order.problem = seen.err().map(|detail| {
            json!({ "type": "urn:ietf:params:acme:error:connection", "detail": detail, "status": 400 })
        });
    }
    let body = json!({
        "type": kind, "url": format!("{base}/chall/{number}/{kind}"), "token": format!("token-{number}"), "status": "processing" });
    said(200, &body, None)
}

async fn see_http(place: SocketAddr, host: &str, token: &str, text: &str) -> Result<(), String> {
    let mut stream = TcpStream::connect(place)
        .await
        .map_err(|error| error.to_string())?;
    let request = format!(
        "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let is_right = answer.starts_with("HTTP/1.1 200") && answer.ends_with(text);
    is_right
        .then_some(())
        .ok_or(format!("saw {answer:?}, not {text}"))
}

/// Sees any certificate, also one with the critical extension, which the library does not read.
#[derive(Debug)]
struct Blind;

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// As RFC 8737 (3) says what to look at.
async fn see_tls(place: SocketAddr, host: &str, digest: &[u8]) -> Result<(), String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config: ClientConfig = crate::tls::upstream::client(&provider, Arc::new(Blind), None).unwrap();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let stream = TcpStream::connect(place)
        .await
        .map_err(|error| error.to_string())?;
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())?;
    let connection = stream.get_ref().1;
    if connection.alpn_protocol() != Some(b"acme-tls/1") {
        return Err("acme-tls/1 was not agreed on".to_owned());
    }
    let (_, leaf) = X509Certificate::from_der(&connection.peer_certificates().unwrap()[0]).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    if names.value.general_names != [GeneralName::DNSName(host)] {
        return Err("the certificate is for other names".to_owned());
    }
    let found = leaf
        .extensions()
        .iter()
        .find(|found| found.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
    let found = found.ok_or("no acmeIdentifier")?;
    let is_right = found.critical && found.value[..2] == [4, 32] && found.value[2..] == *digest;
    is_right.then_some(()).ok_or("another acmeIdentifier".to_owned())
}

fn finalize(state: &Mutex<State>, base: &str, number: usize, payload: &Value) -> Answer {
    {
        let mut state = state.lock().unwrap();
        let host = state.orders[number].host.clone();
        if state.orders[number].status != "ready" {
            return problem(403, "orderNotReady", "it is not");
        }
        let csr = BASE64.decode(payload["csr"].as_str().unwrap()).unwrap();
        let cert = match state.issuer.sign(&csr) {
            Ok(cert) if state.faults.get(&host) != Some(&Fault::BadCsr) => cert,
            _ => return problem(400, "badCSR", "the key is weak"),
        };
        state.orders[number].status = "valid";
        state.orders[number].cert = cert;
    }
    shown_order(state, base, number)
}
