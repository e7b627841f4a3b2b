//! What an engine says in JSON → what we keep of it. Pure.
//!
//! Read by key, one by one: whatever is missing, null, of another type or a word that we do not know is as if it were
//! not there. An engine of tomorrow, or one that only says it is Docker, must not hide all containers behind one odd field.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::container::{self, Binding, Container, Health, Mesh, Network, Port, State};

use super::Listed;

/// Nobody waits longer for a process to stop; engines take any number.
const LONGEST_STOP: Duration = Duration::from_hours(24);

/// The facts in an inspect answer.
pub(crate) fn facts(answer: &Value) -> Container {
    let (config, host) = (&answer["Config"], &answer["HostConfig"]);
    let settings = &answer["NetworkSettings"];
    Container {
        id: answer["Id"].as_str().unwrap_or_default().into(),
        name: text(&answer["Name"]).trim_start_matches('/').to_owned(),
        hostname: text(&config["Hostname"]),
        image: text(&config["Image"]),
        image_id: text(&answer["Image"]),
        image_tag: None,
        env: texts(&config["Env"]),
        labels: entries(&config["Labels"])
            .filter_map(|(name, label)| Some((name.clone(), label.as_str()?.to_owned())))
            .collect(),
        exposed: entries(&config["ExposedPorts"])
            .filter_map(|(port, _)| port.parse().ok())
            .collect(),
        bindings: bindings(&settings["Ports"], false),
        asked: bindings(&host["PortBindings"], true),
        mesh: Mesh::default(),
        publish_all: host["PublishAllPorts"].as_bool().unwrap_or_default(),
        auto_remove: host["AutoRemove"].as_bool().unwrap_or_default(),
        network: Network::from(host["NetworkMode"].as_str().unwrap_or_default()),
        addresses: entries(&settings["Networks"])
            .map(|(name, endpoint)| (name.clone(), addresses(endpoint)))
            .collect(),
        state: state(&answer["State"]),
        stop_signal: config["StopSignal"]
            .as_str()
            .and_then(container::signal)
            .unwrap_or(container::SIGTERM),
        stop_timeout: config["StopTimeout"]
            .as_u64()
            .map(|seconds| Duration::from_secs(seconds).min(LONGEST_STOP)),
        raw: None,
    }
}

/// What an image is called: of several names the first in their order, as engines list them in any.
pub(super) fn tag(image: &Value) -> Option<String> {
    let tags = texts(&image["RepoTags"]).into_iter();
    tags.filter(|tag| !tag.starts_with("<none>")).min()
}

/// One line of a listing; `None` if it does not say whose.
pub(super) fn line(summary: &Value) -> Option<Listed> {
    let status = summary["Status"].as_str().unwrap_or_default();
    let health = &summary["Health"]["Status"];
    let up = match summary["State"].as_str() {
        Some(state) => is_up(state),
        None => status.starts_with("Up"),
    };
    Some(Listed {
        id: summary["Id"].as_str().filter(|id| !id.is_empty())?.into(),
        up,
        tells_health: health.is_string() || status.contains("health"),
        shows: shown(summary, status),
    })
}

/// A number that is another one whenever the line shows a change that matters. An elapsed time does not, nor does the
/// order of ports, which engines shuffle.
fn shown(summary: &Value, status: &str) -> u64 {
    const COUNTS: [&str; 7] = [
        "Names",
        "State",
        "Ports",
        "Labels",
        "HostConfig",
        "NetworkSettings",
        "Health",
    ];
    let mut hasher = DefaultHasher::new();
    for key in COUNTS {
        unordered(&summary[key]).hash(&mut hasher);
    }
    timeless(status).for_each(|word| word.hash(&mut hasher));
    hasher.finish()
}

/// Of `Up 3 hours (healthy)` or `Exited (0) 5 minutes ago` the parts that stay: the first word and what is in brackets.
fn timeless(status: &str) -> impl Iterator<Item = &str> {
    let bracketed = status.split('(').skip(1);
    let bracketed = bracketed.map(|rest| rest.split(')').next().unwrap_or_default());
    status.split(' ').take(1).chain(bracketed)
}

/// A hash of a value that is the same for every order of the members of its lists.
fn unordered(value: &Value) -> u64 {
    let hash = |part: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        part(&mut hasher);
        hasher.finish()
    };
    match value {
        Value::Array(members) => members.iter().map(unordered).fold(1, u64::wrapping_add),
        Value::Object(fields) => {
            let field =
                |(name, value): (&String, &Value)| hash(&|hasher| (name, unordered(value)).hash(hasher));
            fields.iter().map(field).fold(2, u64::wrapping_add)
        }
        plain => hash(&|hasher| plain.hash(hasher)),
    }
}

fn state(state: &Value) -> State {
    let flag = |name: &str| state[name].as_bool();
    let status = state["Status"].as_str().unwrap_or_default();
    let started = state["StartedAt"].as_str().unwrap_or_default();
    let paused = flag("Paused").unwrap_or(status == "paused");
    State {
        // What is paused has a process, whatever an engine calls it.
        running: paused || flag("Running").unwrap_or(is_up(status)),
        paused,
        restarting: flag("Restarting").unwrap_or(status == "restarting"),
        dead: flag("Dead").unwrap_or(status == "dead"),
        started: !started.is_empty() && !started.starts_with("0001-"),
        exit_code: state["ExitCode"].as_i64().unwrap_or_default(),
        oom_killed: flag("OOMKilled").unwrap_or_default(),
        health: health(&state["Health"]),
    }
}

/// Words of engines for containers that have a process, or will soon have one again.
fn is_up(status: &str) -> bool {
    matches!(status, "running" | "paused" | "restarting" | "stopping")
}

fn health(health: &Value) -> Option<Health> {
    match health["Status"].as_str()? {
        "starting" => Some(Health::Starting),
        "healthy" => Some(Health::Healthy),
        "unhealthy" => {
            let last = health["Log"].as_array().and_then(|log| log.last());
            Some(Health::Unhealthy(
                last.map(|probe| text(&probe["Output"])).unwrap_or_default(),
            ))
        }
        _ => None,
    }
}

/// Addresses in one network, IPv4 before IPv6.
fn addresses(endpoint: &Value) -> Vec<IpAddr> {
    let texts = [&endpoint["IPAddress"], &endpoint["GlobalIPv6Address"]];
    texts
        .into_iter()
        .filter_map(|text| text.as_str()?.parse().ok())
        .collect()
}

/// Bindings by port. One without a number yet is kept only where the engine is still to choose it.
fn bindings(ports: &Value, to_be_chosen: bool) -> BTreeMap<Port, Vec<Binding>> {
    let read = |binding: &Value| {
        let address = match binding["HostIp"].as_str() {
            None | Some("") => Ipv4Addr::UNSPECIFIED.into(),
            Some(text) => text.parse().ok()?,
        };
        let port = binding["HostPort"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        (to_be_chosen || port > 0).then_some(Binding { address, port })
    };
    let all = |list: &Value| list.as_array().into_iter().flatten().filter_map(read).collect();
    let port = |(port, list): (&String, &Value)| Some((port.parse().ok()?, all(list)));
    entries(ports).filter_map(port).collect()
}

pub(super) fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    let members = value.as_array().into_iter().flatten();
    members
        .filter_map(|member| member.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn listed() -> Value {
        json!({"Id": "c1", "Names": ["/web"], "State": "running", "Status": "Up 3 minutes (healthy)", "Created": 1,
               "Ports": [{"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp", "IP": "0.0.0.0"},
                         {"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp", "IP": "::"}],
               "Labels": {"a": "b"}, "HostConfig": {"NetworkMode": "default"},
               "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2", "EndpointID": "e1"}}}})
    }

    fn with(path: &str, value: Value) -> Value {
        let mut line = listed();
        *line.pointer_mut(path).unwrap() = value;
        line
    }

    #[test]
    fn time_that_passes_and_ports_in_another_order_are_no_change() {
        let shows = |value: Value| line(&value).unwrap().shows;
        let before = shows(listed());
        for status in [
            "Up 4 minutes (healthy)",
            "Up About an hour (healthy)",
            "Up Less than a second (healthy)",
        ] {
            assert_eq!(shows(with("/Status", json!(status))), before, "{status}");
        }
        let mut ports = listed()["Ports"].as_array().unwrap().clone();
        ports.reverse();
        assert_eq!(shows(with("/Ports", Value::Array(ports))), before);
        assert_eq!(shows(with("/Created", json!(7))), before);
    }

    #[test]
    fn whatever_may_change_a_registration_is_a_change() {
        let before = line(&listed()).unwrap().shows;
        for (path, value) in [
            ("/Status", json!("Up 3 minutes (unhealthy)")),
            ("/Status", json!("Up 3 minutes (healthy) (Paused)")),
            ("/Status", json!("Exited (0) 3 minutes ago")),
            ("/State", json!("exited")),
            ("/Names", json!(["/other"])),
            ("/Names", json!(["/web", "/linking/web"])),
            ("/Ports/0/PublicPort", json!(8081)),
            ("/Ports/0/IP", json!("127.0.0.1")),
            ("/Ports", json!([])),
            ("/NetworkSettings/Networks/bridge/IPAddress", json!("172.17.0.3")),
            ("/NetworkSettings/Networks/bridge/EndpointID", json!("e2")),
            ("/NetworkSettings/Networks", json!({})),
            ("/Labels/a", json!("c")),
        ] {
            assert_ne!(
                line(&with(path, value.clone())).unwrap().shows,
                before,
                "{path} {value}"
            );
        }
        let exited = |code: u8| {
            line(&with("/Status", json!(format!("Exited ({code}) 1 second ago"))))
                .unwrap()
                .shows
        };
        assert_ne!(exited(0), exited(1));
        let mut newer = listed();
        newer["Health"] = json!({"Status": "unhealthy", "FailingStreak": 3});
        assert_ne!(line(&newer).unwrap().shows, before);
    }

    #[test]
    fn a_line_says_whether_there_is_a_process_in_every_engines_words() {
        let up = |state: Value, status: &str| {
            let mut changed = with("/State", state);
            changed["Status"] = json!(status);
            line(&changed).unwrap().up
        };
        for state in ["running", "paused", "restarting", "stopping"] {
            assert!(up(json!(state), ""), "{state}");
        }
        for state in [
            "created",
            "exited",
            "dead",
            "removing",
            "stopped",
            "initialized",
            "of tomorrow",
            "",
        ] {
            assert!(!up(json!(state), ""), "{state}");
        }
        assert!(up(Value::Null, "Up 2 hours"));
        assert!(!up(Value::Null, "Exited (0) 2 hours ago"));
        assert_eq!(line(&json!({"Names": ["/nameless"]})), None);
    }

    #[test]
    fn a_line_tells_of_health_in_words_or_in_a_field_or_not_at_all() {
        assert!(line(&listed()).unwrap().tells_health);
        assert!(
            line(&with("/Status", json!("Up 1 second (health: starting)")))
                .unwrap()
                .tells_health
        );
        let mut newest = with("/Status", json!("Up 1 second"));
        assert!(!line(&newest).unwrap().tells_health, "as Podman 4.3 lists them");
        newest["Health"] = json!({"Status": "starting"});
        assert!(line(&newest).unwrap().tells_health, "as of API 1.52");
    }

    #[test]
    fn a_process_that_may_take_for_ever_to_stop_may_take_a_day() {
        let read = facts(&json!({"Config": {"StopTimeout": i64::MAX}}));
        assert_eq!(read.stop_timeout, Some(Duration::from_secs(86_400)));
    }

    #[test]
    fn words_we_do_not_know_cost_nothing_but_themselves() {
        let read = facts(&json!({
            "Id": "c1", "Name": "/web", "Image": 7,
            "State": {"Status": "stopped", "Running": false, "ExitCode": "0", "Health": {"Status": "mostly fine"}},
            "Config": {"Env": null, "Labels": {"a": "b", "odd": 1}, "ExposedPorts": {"80/tcp": {}, "80/quic": {}},
                       "StopSignal": "SIGNONSENSE", "StopTimeout": -1},
            "HostConfig": null,
            "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "here", "HostPort": "1"}, {"HostPort": "8080"}], "81/tcp": null},
                                "Networks": {"front": null}},
        }));
        assert_eq!(
            (&*read.id, read.name.as_str(), read.image_id.as_str()),
            ("c1", "web", "")
        );
        assert_eq!(
            (
                read.runs(),
                read.state.health,
                read.stop_signal,
                read.stop_timeout
            ),
            (false, None, 15, None)
        );
        assert_eq!((read.labels.len(), read.exposed.len()), (1, 1));
        let bindings: Vec<_> = read.bindings.into_iter().collect();
        assert_eq!(
            (bindings.len(), bindings[0].1.len(), bindings[0].1[0].port),
            (2, 1, 8080)
        );
        assert_eq!(
            facts(&Value::Null),
            Container {
                stop_signal: 15,
                ..Container::default()
            }
        );
    }

    #[test]
    fn a_paused_container_has_a_process_whatever_its_engine_calls_it() {
        let runs = |state: Value| facts(&json!({"State": state})).runs();
        assert!(runs(
            json!({"Status": "paused", "Running": false, "Paused": true})
        ));
        assert!(runs(json!({"Status": "running"})));
        assert!(!runs(json!({"Status": "restarting"})));
        assert!(!runs(json!({"Status": "stopping", "Running": false})));
    }

    proptest! {
        #[test]
        fn no_json_is_too_odd_to_be_read(value in anything()) {
            let inspect = json!({"State": value, "Config": value, "HostConfig": value, "NetworkSettings": value});
            let _ = (facts(&inspect), facts(&value), line(&value));
        }
    }

    fn anything() -> impl Strategy<Value = Value> {
        let word = "Id|Names|Status|Ports|Networks|Labels|80/tcp|Health|Log|Running|running|HostPort|-?[0-9]{1,20}|[a-z]{0,3}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            word.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((word, inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }
}
