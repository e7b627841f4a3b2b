//! Headers in, headers out: transcripts in `tests/headers`.

use std::fmt::Write;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use hyper::http::Version;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::arrival::{Arrival, TlsFacts};
use crate::config::{Headers, Sts};
use crate::policy::origin::Origin;

fn map(lines: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines.lines().filter_map(|line| line.split_once(": ")) {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

fn shown(headers: &HeaderMap) -> String {
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines.concat()
}

/// What a request or answer meets on its way.
#[derive(Default)]
struct Scene {
    peer: Option<IpAddr>,
    trusted: String,
    /// Bytes of a client certificate; before `tls`.
    cert: Option<Box<[u8]>>,
    tls: Option<Arc<TlsFacts>>,
    version: Option<Version>,
    headers: Headers,
}

impl Scene {
    fn read(&mut self, key: &str, value: &str) {
        let word = || Some(value.to_owned());
        match key {
            "peer" => self.peer = Some(value.parse().unwrap()),
            "trusted" => value.clone_into(&mut self.trusted),
            "version" => {
                self.version = Some(match value {
                    "1.0" => Version::HTTP_10,
                    "2" => Version::HTTP_2,
                    _ => Version::HTTP_11,
                });
            }
            "tls" => {
                let (version, cipher) = value.split_once('/').unwrap();
                self.tls = Some(Arc::new(TlsFacts {
                    version: u16::from_str_radix(version, 16).unwrap(),
                    cipher: u16::from_str_radix(cipher, 16).unwrap(),
                    h2: self.version == Some(Version::HTTP_2),
                    client_cert: self.cert.clone(),
                }));
            }
            "clientip" => self.headers.client_ip = word(),
            "tlsheader" => {
                self.headers.tls = value.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned()));
            }
            "cert" => self.cert = Some(value.as_bytes().into()),
            "clientcert" => self.headers.client_cert = word(),
            "requestid" => self.headers.request_id = word(),
            "localip" => self.headers.local_ip = Some(value.parse().unwrap()),
            "sts" => {
                self.headers.sts = Some(Sts {
                    max_age: value.parse().unwrap(),
                    subdomains: true,
                    preload: false,
                });
            }
            other => panic!("unknown setting {other}"),
        }
    }

    fn stamp(&self) -> Stamp {
        Stamp::new(&self.headers).unwrap()
    }

    fn request(&self, lines: &str) -> String {
        let (stamp, mut headers) = (self.stamp(), map(lines));
        let arrival = Arrival {
            client: (self.peer.unwrap(), 4711).into(),
            peer: (self.peer.unwrap(), 4711).into(),
            local: "10.0.0.9:9999".parse().unwrap(),
            tls: self.tls.clone(),
            stop: CancellationToken::new(),
            seat: Rc::default(),
        };
        let trusted = crate::config::parse_networks(&self.trusted).unwrap();
        let is_trusted = trusted
            .iter()
            .any(|network| network.contains(arrival.client.ip()));
        let peer = Peer::new(&arrival, is_trusted, &stamp);
        let sight = Sight::of(&headers);
        let upgrade = drop_hop_by_hop(&mut headers, sight, stamp.names());
        drop_lookalikes(&mut headers, stamp.names());
        let client = Origin::of(arrival.client.ip(), &trusted, &headers).or(peer.addr.ip());
        let hop = Hop {
            peer: &peer,
            version: self.version.unwrap_or(Version::HTTP_11),
            websocket: is_websocket(upgrade.as_ref()),
            client,
            sight,
        };
        let host = headers
            .get("host")
            .map_or("", |host| host.to_str().unwrap())
            .to_owned();
        forward(&mut headers, hop, &host);
        stamp.request(&mut headers, client, &peer, uuid::Uuid::nil);
        if let Some(protocol) = upgrade {
            set_upgrade(&mut headers, protocol);
        }
        shown(&headers)
    }

    fn answer(&self, lines: &str) -> String {
        let mut headers = map(lines);
        let sight = Sight::of(&headers);
        drop_hop_by_hop(&mut headers, sight, &[]);
        self.stamp().answer(&mut headers, self.tls.is_some());
        shown(&headers)
    }
}

#[test]
fn requests_and_answers_are_as_the_transcripts_say() {
    datadriven::walk("tests/headers", |file| {
        file.run(|case| {
            let mut scene = Scene::default();
            let settings = case.input.lines().filter_map(|line| line.strip_prefix("- "));
            for (key, value) in settings.filter_map(|setting| setting.split_once(' ')) {
                scene.read(key, value);
            }
            match &*case.directive {
                "request" => scene.request(&case.input),
                "answer" => scene.answer(&case.input),
                other => panic!("unknown directive {other}"),
            }
        });
    });
}

#[test]
fn a_header_that_cannot_be_is_named() {
    let bad = |headers: Headers| Stamp::new(&headers).unwrap_err().to_string();
    let mut why = String::new();
    for headers in [
        Headers {
            client_ip: Some("a b".into()),
            ..Headers::default()
        },
        Headers {
            tls: Some(("X-Tls".into(), "a\nb".into())),
            ..Headers::default()
        },
    ] {
        writeln!(why, "{}", bad(headers)).unwrap();
    }
    assert_eq!(
        why,
        "proxy.header.clientip: 'a b' is no name of a header\nproxy.header.tls.value: 'a\\nb' is no value of a header\n"
    );
}
