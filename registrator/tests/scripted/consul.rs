//! The Consul registries against an agent that writes down what it is told and says what a test lets it say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::client::Config;
use catalog::check::{Definition, Probe};
use catalog::service::META_OWNER;
use catalog::{Registration, ServiceSpec, Status};
use registrator::registry::consul::Consul;
use registrator::registry::consul::kv::Keys;
use registrator::registry::{Error, Offer, Registry, Terms};
use registrator::{Port, Protocol};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Long enough for an answer on this machine; a passing test never waits for it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Nothing is to happen within this time.
const QUIET: Duration = Duration::from_millis(300);

/// A registry that was told whose its entries are.
pub(super) fn begun<R: Registry>(registry: R) -> R {
    registry.begin(&Terms {
        owner: "us".to_owned(),
        former_owners: Vec::new(),
        looks_only: false,
    });
    registry
}

/// An agent, what it was told (method, path and body), and what it answers.
#[derive(Clone)]
pub(super) struct Agent {
    pub(super) address: SocketAddr,
    told: Arc<Mutex<Vec<String>>>,
    /// Status and body by the beginning of what it is told; else 200 and `{}`.
    answers: watch::Sender<BTreeMap<String, (u16, String)>>,
}

impl Agent {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let agent = Self {
            address: listener.local_addr().unwrap(),
            told: Arc::default(),
            answers: watch::Sender::default(),
        };
        let serving = agent.clone();
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, serving.clone()));
            }
        });
        agent
    }

    pub(super) fn answers(&self, to: &str, status: u16, body: &str) {
        self.answers
            .send_modify(|answers| _ = answers.insert(to.to_owned(), (status, body.to_owned())));
    }

    /// The longest beginning counts. Status 0: there is no answer until there is another.
    fn answer(&self, line: &str) -> (u16, String) {
        let answers = self.answers.borrow();
        let fitting = answers.iter().filter(|(to, _)| line.starts_with(to.as_str()));
        let longest = fitting.max_by_key(|(to, _)| to.len());
        longest.map_or((200, "{}".to_owned()), |(_, answer)| answer.clone())
    }

    pub(super) fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    /// Waits until it was told something that begins so.
    pub(super) async fn await_told(&self, start: &str) {
        let heard = async {
            while !self
                .told
                .lock()
                .unwrap()
                .iter()
                .any(|line| line.starts_with(start))
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let heard = tokio::time::timeout(PATIENCE, heard).await;
        assert!(heard.is_ok(), "{start:?} is not in {:?}", self.told());
    }

    fn config(&self) -> Config {
        Config::new(self.address.to_string())
    }

    fn services(&self) -> Consul {
        begun(Consul::new(&self.config()).unwrap())
    }

    fn keys(&self) -> Keys {
        begun(Keys::new(&self.config(), "a b/services").unwrap())
    }
}

async fn serve(mut stream: TcpStream, agent: Agent) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ").map(|n| n.parse().unwrap()));
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.unwrap();
    let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1");
    let line = format!("{line} {}", String::from_utf8(body).unwrap());
    let line = line.trim_end().to_owned();
    agent.told.lock().unwrap().push(line.clone());
    let mut changes = agent.answers.subscribe();
    let (status, body) = loop {
        changes.mark_unchanged();
        match agent.answer(&line) {
            (0, _) => changes.changed().await.unwrap(),
            answer => break answer,
        }
    };
    // 999: it goes away without a word.
    if status == 999 {
        return;
    }
    let answer = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nX-Consul-Index: 7\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
}

fn wanted(status: Status, output: &str) -> Offer {
    let check = Definition {
        id: "container:t1:r:6379".into(),
        name: "Service 'redis' container".to_owned(),
        notes: String::new(),
        initial: Some(status),
        output: output.to_owned(),
        probe: Probe::Container,
        success_before_passing: 0,
        failures_before_critical: 0,
        deregister_critical_after: None,
    };
    let service = ServiceSpec {
        id: "t1:r:6379".into(),
        name: "redis".into(),
        port: 10_000,
        address: "10.0.0.1".to_owned(),
        ..ServiceSpec::default()
    };
    Offer {
        registration: Arc::new(Registration {
            service,
            checks: vec![check],
        }),
        port: Port {
            number: 6379,
            protocol: Protocol::Tcp,
        },
        container: "c0".into(),
        tasks_of: None,
        told_id: false,
        inside_name: String::new(),
        attributes: Arc::default(),
        fit: status,
        why: Vec::new(),
    }
}

const UPDATE: &str = "PUT /v1/agent/check/update/container%3At1%3Ar%3A6379";

#[tokio::test]
async fn a_containers_state_is_told_to_an_agent_that_cannot_see_it() {
    let agent = Agent::start().await;
    let registry = agent.services();
    registry
        .register(&wanted(Status::Passing, "running"))
        .await
        .unwrap();
    registry
        .refresh(&wanted(Status::Critical, "stopping (SIGTERM)"))
        .await
        .unwrap();
    registry.deregister("t1:r:6379").await.unwrap();
    let told = agent.told();
    assert!(
        told[0].starts_with("PUT /v1/agent/service/register {"),
        "{}",
        told[0]
    );
    assert!(
        told[0].contains(r#""TTL":"87600h0m0s""#) && told[0].contains(r#""Status":"passing""#),
        "{}",
        told[0]
    );
    assert_eq!(
        told[1..],
        [
            format!(r#"{UPDATE} {{"Output":"running","Status":"passing"}}"#),
            format!(r#"{UPDATE} {{"Output":"stopping (SIGTERM)","Status":"critical"}}"#),
            "PUT /v1/agent/service/deregister/t1%3Ar%3A6379".to_owned(),
        ]
    );
}

#[tokio::test]
async fn an_unfit_container_never_passes_between_its_registration_and_its_state() {
    let agent = Agent::start().await;
    // As Consul says of a check that it does not know.
    agent.answers(UPDATE, 404, "Unknown check ID \"container:t1:r:6379\"");
    let starting = wanted(Status::Critical, "starting");
    // First told of a check that may still be there from before, with its status of then.
    assert!(agent.services().register(&starting).await.is_err());
    let state = format!(r#"{UPDATE} {{"Output":"starting","Status":"critical"}}"#);
    let told = agent.told();
    assert_eq!((&told[0], told.len()), (&state, 3));
    assert!(
        told[1].starts_with("PUT /v1/agent/service/register {"),
        "{}",
        told[1]
    );
    assert_eq!(told[2], state);
}

#[tokio::test]
async fn a_listing_says_what_the_container_said_and_whose_the_service_is() {
    let agent = Agent::start().await;
    agent.answers(
        "GET /v1/agent/services",
        200,
        r#"{"t1:r:6379":{"ID":"t1:r:6379","Service":"redis","Port":10000,"Address":"10.0.0.1",
            "Tags":["a"],"Meta":{"lictor-owner":"us"},"Weights":{"Passing":1,"Warning":1}}}"#,
    );
    agent.answers(
        "GET /v1/agent/checks",
        200,
        r#"{"container:t1:r:6379":{"Node":"n","CheckID":"container:t1:r:6379","Name":"n","Status":"warning",
            "Output":"healthy","ServiceID":"t1:r:6379","ServiceName":"redis","Type":"ttl"},
            "service:t1:r:6379":{"Node":"n","CheckID":"service:t1:r:6379","Status":"passing",
            "ServiceID":"t1:r:6379","Type":"http","Interval":"10s"},
            "serfHealth":{"Node":"n","CheckID":"serfHealth","Status":"passing"}}"#,
    );
    let listed = agent.services().services().await.unwrap().unwrap();
    let [Registration { service, checks }] = &listed[..] else {
        panic!("{listed:?}")
    };
    assert_eq!(
        (&*service.id, &*service.name, service.port),
        ("t1:r:6379", "redis", 10000)
    );
    let [check] = &checks[..] else {
        panic!("{checks:?}")
    };
    assert_eq!(
        (&*check.id, check.initial, check.output.as_str(), &check.probe),
        (
            "container:t1:r:6379",
            Some(Status::Warning),
            "healthy",
            &Probe::Container
        )
    );
}

#[tokio::test]
async fn checks_that_a_registration_no_longer_brings_go_and_those_of_others_stay() {
    let gone = |id: &str| format!("PUT /v1/agent/check/deregister/{id}");
    let numbered = [
        gone("service%3At1%3Ar%3A6379"),
        gone("service%3At1%3Ar%3A6379%3A2"),
    ];
    assert_eq!(checks_taken_from("").await, numbered);
    // Whose service it is may have called its checks by name.
    let marked = r#""t1:r:6379":{"ID":"t1:r:6379","Service":"redis","Meta":{"lictor-owner":"us"}}"#;
    let named = [&numbered[..], &[gone("service%3At1%3Ar%3A6379%3Ax")]].concat();
    assert_eq!(checks_taken_from(marked).await, named);
}

/// Which checks are deregistered where `services` are there, by two registrations.
async fn checks_taken_from(services: &str) -> Vec<String> {
    let agent = Agent::start().await;
    let check = |id: &str| {
        format!(r#""{id}":{{"Node":"n","CheckID":"{id}","ServiceID":"t1:r:6379","Status":"passing"}}"#)
    };
    let checks = [
        "container:t1:r:6379",
        "service:t1:r:6379",
        "service:t1:r:6379:2",
        "service:t1:r:6379:x",
        "disk",
    ];
    let checks: Vec<String> = checks.iter().map(|id| check(id)).collect();
    agent.answers("GET /v1/agent/checks", 200, &format!("{{{}}}", checks.join(",")));
    agent.answers("GET /v1/agent/services", 200, &format!("{{{services}}}"));
    let registry = agent.services();
    registry.services().await.unwrap();
    for _ in 0..2 {
        registry
            .register(&wanted(Status::Passing, "running"))
            .await
            .unwrap();
    }
    let mut told = agent.told();
    told.retain(|line| line.contains("/check/deregister"));
    told
}

#[tokio::test]
async fn a_refusal_names_the_right_that_is_missing() {
    let agent = Agent::start().await;
    let offer = wanted(Status::Passing, "running");
    let with_token = Config {
        token: Some("t".to_owned()),
        ..agent.config()
    };
    let refusal = async |config: &Config, status, words: &str| {
        agent.answers("PUT", status, words);
        let registry = begun(Consul::new(config).unwrap());
        match registry.register(&offer).await.unwrap_err() {
            Error::Refused(text) => text,
            error => panic!("{error}"),
        }
    };
    let text = refusal(&with_token, 403, "Permission denied").await;
    assert_eq!(
        text,
        "Unexpected response code: 403 (Permission denied); the token of CONSUL_HTTP_TOKEN lacks service:write on \"redis\""
    );
    let text = refusal(&with_token, 403, "ACL not found").await;
    assert!(
        text.ends_with("it does not know the token that CONSUL_HTTP_TOKEN names"),
        "{text}"
    );
    let text = refusal(&agent.config(), 403, "Permission denied").await;
    assert!(
        text.ends_with(
            "no token is sent, and it takes one with service:write on \"redis\": set CONSUL_HTTP_TOKEN"
        ),
        "{text}"
    );
    let text = refusal(&agent.config(), 401, "").await;
    assert!(text.ends_with("set CONSUL_HTTP_AUTH to user:password"), "{text}");
    let text = refusal(&agent.config(), 400, "Invalid port").await;
    assert_eq!(text, "Unexpected response code: 400 (Invalid port)");
    agent.answers(KEY, 404, "");
    let text = agent.keys().register(&offer).await.unwrap_err().to_string();
    assert_eq!(
        text,
        "the registry refused: Unexpected response code: 400 (Invalid port)"
    );
    agent.answers("PUT", 403, "Permission denied");
    let text = agent.keys().register(&offer).await.unwrap_err().to_string();
    assert!(
        text.contains(r#"key:write on "a b/services/redis/t1:r:6379""#),
        "{text}"
    );
    agent.answers(KEY, 403, "Permission denied");
    let text = agent.keys().register(&offer).await.unwrap_err().to_string();
    assert!(
        text.contains(r#"key:read on "a b/services/redis/t1:r:6379""#),
        "{text}"
    );
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_told_from_one_that_refuses() {
    let agent = Agent::start().await;
    for (status, words) in [(503, "no server"), (500, "No cluster leader"), (999, "")] {
        agent.answers("PUT", status, words);
        let outcome = agent.services().register(&wanted(Status::Passing, "")).await;
        assert!(matches!(outcome, Err(Error::Unreachable(_))), "{outcome:?}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config::new(nobody.local_addr().unwrap().to_string());
    drop(nobody);
    let registry = begun(Consul::new(&config).unwrap());
    let answer = tokio::time::timeout(PATIENCE, registry.ping()).await;
    assert!(matches!(answer.unwrap(), Err(Error::Unreachable(_))));
}

/// Whether a registry says within [`QUIET`] that it faltered.
async fn falters(registry: &dyn Registry) -> bool {
    tokio::time::timeout(QUIET, registry.faltered()).await.is_ok()
}

/// A question about a key of ours.
const KEY: &str = "GET /v1/kv/a%20b/services/redis/t1%3Ar%3A6379";
/// FNV-1a of "us".
const FLAGS: u64 = 631_696_951_056_195_225;

/// A key as a Consul shows it, which leads to 10.0.0.1:10000.
fn pair(id: &str, flags: u64) -> String {
    format!(
        r#"{{"Key":"a b/services/redis/{id}","Flags":{flags},"Value":"MTAuMC4wLjE6MTAwMDA=","ModifyIndex":7}}"#
    )
}

/// The first question about a service, and the one that is held.
const SERVICE: &str = "GET /v1/agent/service/t1%3Ar%3A6379";
const HELD: &str = "GET /v1/agent/service/t1%3Ar%3A6379?hash=";

/// An agent that holds its answers, with one service of ours.
async fn listened_to() -> (Agent, Arc<Consul>) {
    let agent = Agent::start().await;
    agent.answers(SERVICE, 200, r#"{"ID":"t1:r:6379","ContentHash":"1"}"#);
    agent.answers(HELD, 0, "");
    let registry = Arc::new(agent.services());
    registry
        .register(&wanted(Status::Passing, "running"))
        .await
        .unwrap();
    (agent, registry)
}

#[tokio::test]
async fn an_agent_falters_when_it_forgets_an_entry_or_tells_another_one() {
    let lost = (404, "unknown service ID: t1:r:6379");
    for (status, words) in [lost, (200, r#"{"ID":"t1:r:6379","ContentHash":"2"}"#)] {
        let (agent, registry) = listened_to().await;
        let listener = tokio::spawn(async move { registry.faltered().await });
        agent.await_told(&format!("{HELD}1&wait=60000ms")).await;
        assert!(!listener.is_finished(), "nothing has happened yet");
        agent.answers(HELD, status, words);
        tokio::time::timeout(PATIENCE, listener)
            .await
            .expect(words)
            .unwrap();
    }
}

#[tokio::test]
async fn an_entry_that_went_missing_is_followed_by_a_second_look_and_no_third() {
    let (agent, registry) = listened_to().await;
    agent.answers(SERVICE, 404, "unknown service ID: t1:r:6379");
    let started = tokio::time::Instant::now();
    for _ in 0..2 {
        let falters = tokio::time::timeout(PATIENCE, registry.faltered()).await;
        falters.expect("who removes one removes more");
    }
    // Each is answered with a question about everything.
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert!(!falters(&*registry).await);
}

#[tokio::test]
async fn an_agent_that_was_away_falters_once_it_is_back() {
    let (agent, registry) = listened_to().await;
    let listener = tokio::spawn(async move { registry.faltered().await });
    agent.await_told(HELD).await;
    agent.answers("GET /v1/status/leader", 999, "");
    agent.answers(SERVICE, 999, "");
    agent.answers(HELD, 999, "");
    agent.await_told("GET /v1/status/leader").await;
    tokio::time::sleep(QUIET).await;
    assert!(!listener.is_finished(), "it is still away");
    agent.answers("GET /v1/status/leader", 200, "\"\"");
    tokio::time::timeout(PATIENCE, listener).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_write_that_was_not_answered_makes_an_agent_without_entries_falter_too() {
    let agent = Agent::start().await;
    agent.answers("GET /v1/status/leader", 200, "\"\"");
    agent.answers("PUT", 999, "");
    let registry = agent.services();
    assert!(!falters(&registry).await, "there is nothing to lose");
    assert!(registry.register(&wanted(Status::Passing, "")).await.is_err());
    assert!(falters(&registry).await);
    // Not again, though there was time enough for it, as long as nothing is missed anew.
    let again = tokio::time::timeout(Duration::from_millis(1500), registry.faltered()).await;
    assert!(again.is_err());
}

#[tokio::test]
async fn an_agent_that_cannot_be_listened_to_is_left_in_peace() {
    for (status, words) in [(404, "404 page not found"), (403, "Permission denied")] {
        let agent = Agent::start().await;
        agent.answers(SERVICE, status, words);
        let registry = agent.services();
        registry
            .register(&wanted(Status::Passing, "running"))
            .await
            .unwrap();
        agent.told();
        assert!(!falters(&registry).await);
        assert_eq!(agent.told(), [SERVICE]);
    }
}

#[tokio::test]
async fn what_we_remove_ourselves_is_no_loss() {
    let (agent, registry) = listened_to().await;
    let listener = tokio::spawn({
        let registry = registry.clone();
        async move { registry.faltered().await }
    });
    agent.await_told(HELD).await;
    registry.deregister("t1:r:6379").await.unwrap();
    agent.answers(HELD, 404, "unknown service ID: t1:r:6379");
    tokio::time::sleep(QUIET).await;
    assert!(!listener.is_finished());
}

#[tokio::test]
async fn a_key_and_its_value_are_those_of_the_original_and_flags_say_whose_they_are() {
    let agent = Agent::start().await;
    agent.answers("PUT", 200, "true");
    agent.answers("DELETE", 200, "true");
    let keys = agent.keys();
    assert!(!keys.abilities().tells_health);
    agent.answers(KEY, 404, "");
    keys.register(&wanted(Status::Passing, "running")).await.unwrap();
    agent.answers(KEY, 200, &format!("[{}]", pair("t1:r:6379", FLAGS)));
    keys.deregister("redis/t1:r:6379").await.unwrap();
    let mut changes = agent.told();
    changes.retain(|line| !line.starts_with("GET"));
    assert_eq!(
        changes,
        [
            format!("PUT /v1/kv/a%20b/services/redis/t1%3Ar%3A6379?flags={FLAGS}&cas=0 10.0.0.1:10000"),
            "DELETE /v1/kv/a%20b/services/redis/t1%3Ar%3A6379?cas=7".to_owned(),
        ]
    );
    let pairs = [
        pair("t1:r:6379", FLAGS),
        pair("t2:r:6379", 0),
        pair("t3:r:6379", 1),
    ];
    agent.answers(
        "GET /v1/kv/a%20b/services/?recurse",
        200,
        &format!("[{}]", pairs.join(",")),
    );
    let listed = keys.services().await.unwrap().unwrap();
    let shown = |entry: &Registration| {
        let ServiceSpec {
            id,
            name,
            address,
            port,
            meta,
            ..
        } = &entry.service;
        assert_eq!((&**name, address.as_str(), *port), ("redis", "10.0.0.1", 10000));
        (id.to_string(), meta.get(META_OWNER).cloned().unwrap_or_default())
    };
    let shown: Vec<_> = listed.iter().map(shown).collect();
    let expected = [("t1:r:6379", "us"), ("t2:r:6379", ""), ("t3:r:6379", "flags 1")];
    assert_eq!(
        shown,
        expected.map(|(id, owner)| (id.to_owned(), owner.to_owned()))
    );
}

#[tokio::test]
async fn a_key_that_others_hold_or_write_meanwhile_is_neither_written_nor_removed() {
    let offer = wanted(Status::Passing, "running");
    // Of the original on this host; marked by us, but for another address; right already.
    let may_go = [
        pair("t1:r:6379", 0),
        pair("t1:r:6379", FLAGS).replace("MTA", "MTI"),
        pair("t1:r:6379", FLAGS),
    ];
    // Whose, and whether it is written.
    let cases = [(pair("t1:r:6379", 1), false), (pair("by-hand", 0), false)];
    let cases = cases
        .into_iter()
        .chain(may_go.into_iter().map(|pair| (pair, true)));
    for (held, ours) in cases {
        let agent = Agent::start().await;
        for verb in ["PUT", "DELETE"] {
            agent.answers(verb, 200, "false");
        }
        agent.answers(KEY, 200, &format!("[{held}]"));
        let keys = agent.keys();
        let right = held.contains("MTAu") && held.contains(&FLAGS.to_string());
        let written = keys.register(&offer).await;
        let removed = keys.deregister("redis/t1:r:6379").await;
        let changes: Vec<String> = agent.told();
        let changes: Vec<_> = changes.iter().filter(|line| !line.starts_with("GET")).collect();
        assert_eq!(
            changes.len(),
            if right { 1 } else { 2 * usize::from(ours) },
            "{held}: {changes:?}"
        );
        assert!(changes.iter().all(|line| line.contains("cas=7")), "{changes:?}");
        assert_eq!((written.is_ok(), removed.is_ok()), (right, !ours), "{held}");
    }
}

#[tokio::test]
async fn a_key_that_somebody_removes_or_overwrites_makes_the_store_falter() {
    let pair = r#"[{"Key":"a b/services/redis/t1:r:6379","Flags":1,"Value":"eA==","ModifyIndex":7}]"#;
    for (status, body) in [(404, String::new()), (200, pair.replace(":7}", ":8}"))] {
        let agent = Agent::start().await;
        agent.answers("PUT", 200, "true");
        agent.answers(KEY, 404, "");
        agent.answers(&format!("{KEY}?index="), 0, "");
        let keys = Arc::new(agent.keys());
        keys.register(&wanted(Status::Passing, "running")).await.unwrap();
        agent.answers(KEY, 200, pair);
        let listener = tokio::spawn(async move { keys.faltered().await });
        agent.await_told(&format!("{KEY}?index=7&wait=60000ms")).await;
        assert!(!listener.is_finished());
        agent.answers(&format!("{KEY}?index="), status, &body);
        tokio::time::timeout(PATIENCE, listener).await.unwrap().unwrap();
    }
}
