//! What a task's inspection does not show: where its swarm publishes the service it belongs to.
//!
//! Only managers answer for services. A worker knows what it needs to pass traffic on, and shows it where its ingress
//! network is asked for in full; without protocols, and only once a task of the service is in. The ports of a task never
//! change, as a swarm replaces tasks whose service is published otherwise: so asking with each inspection is enough.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::Value;

use super::client::{Answer, refusal};
use super::shape::entries;
use super::{Docker, Error, read};
use crate::container::{Binding, Container, Health, Mesh, Port, Protocol};

/// The network by which a swarm brings to tasks what comes in at any node.
const INGRESS: &str = "ingress";
const SERVICE_NAME: &str = "com.docker.swarm.service.name";

/// A worker lets a task in some moments after it has told of its start, and of that it tells nobody.
const MOMENTS: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1600),
];

/// Where the swarm answers for this container; nowhere if it is no task, or does not run.
pub(super) async fn of(docker: &Docker, container: &Container) -> Result<Mesh, Error> {
    // Everybody may write labels, and an address must not be made of anything.
    let is_id = |id: &&str| id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let Some(service) = container.swarm_service().filter(is_id) else {
        return Ok(Mesh::default());
    };
    if !container.runs() {
        return Ok(Mesh::default());
    }
    let manages = &docker.inner.manages;
    if manages.load(Ordering::Relaxed) {
        let answer = docker.ask(&format!("/services/{service}")).await?;
        match answer.status {
            StatusCode::NOT_FOUND => return Ok(Mesh::default()),
            status if status.is_success() => return Ok(Mesh::Ports(of_service(&read(&answer)?))),
            // Not asked again over this connection: workers complain of each such question in their log.
            _ => manages.store(false, Ordering::Relaxed),
        }
    }
    if !container.addresses.contains_key(INGRESS) {
        return Ok(Mesh::default());
    }
    of_worker(docker, container).await
}

/// What a worker says, who is asked again for some moments where the task is about to be let in.
async fn of_worker(docker: &Docker, container: &Container) -> Result<Mesh, Error> {
    let is_expected = matches!(container.state.health, None | Some(Health::Healthy));
    let mut moments = MOMENTS.iter().filter(|_| is_expected);
    loop {
        let answer = docker.ask("/networks/ingress?verbose=true").await?;
        if !answer.status.is_success() {
            return Ok(Mesh::Untold(refused(&answer)));
        }
        let ports = of_network(&read(&answer)?, container);
        if !ports.is_empty() {
            return Ok(Mesh::Ports(ports));
        }
        match moments.next() {
            Some(moment) => tokio::time::sleep(*moment).await,
            None => return Ok(Mesh::Pending),
        }
    }
}

fn refused(answer: &Answer) -> String {
    refusal(answer.status, &answer.body).to_string()
}

/// The ports of a service that every node answers on, as a manager tells of them.
fn of_service(service: &Value) -> BTreeMap<Port, Vec<Binding>> {
    let ports = service["Endpoint"]["Ports"].as_array();
    let read = |port: &Value| {
        let number = |key: &str| {
            let number = u16::try_from(port[key].as_u64()?).ok()?;
            Some(number).filter(|number| *number > 0)
        };
        let word = port["Protocol"].as_str().unwrap_or("tcp");
        let protocol = Protocol::ALL.into_iter().find(|known| known.as_str() == word)?;
        // What is published on the task's own host is a binding of its container.
        let by_mesh = port["PublishMode"].as_str() != Some("host");
        let inside = Port {
            number: number("TargetPort")?,
            protocol,
        };
        Some((inside, number("PublishedPort")?)).filter(|_| by_mesh)
    };
    by_port(ports.into_iter().flatten().filter_map(read))
}

/// The same as a worker tells of it, `Target: 53, Publish: 5353`. It does not say the protocol: told twice, TCP and UDP;
/// else what the image declares that port for; else TCP.
fn of_network(network: &Value, container: &Container) -> BTreeMap<Port, Vec<Binding>> {
    let name = container.label(SERVICE_NAME);
    let service = entries(&network["Services"]).find(|(known, _)| Some(known.as_str()) == name);
    let told = service.and_then(|(_, service)| service["Ports"].as_array());
    let mut pairs = BTreeMap::<(u16, u16), usize>::new();
    for pair in told.into_iter().flatten().filter_map(|text| pair(text.as_str()?)) {
        *pairs.entry(pair).or_default() += 1;
    }
    let protocols = |number: u16, times: usize| {
        let declared = |protocol: &Protocol| {
            let port = Port {
                number,
                protocol: *protocol,
            };
            container.exposed.contains(&port)
        };
        let mut protocols = Protocol::ALL;
        protocols.sort_by_key(|protocol| times == 1 && !declared(protocol));
        protocols.into_iter().take(times)
    };
    let ports = pairs.iter().flat_map(|(&(number, published), &times)| {
        protocols(number, times).map(move |protocol| (Port { number, protocol }, published))
    });
    by_port(ports)
}

fn pair(text: &str) -> Option<(u16, u16)> {
    let (target, publish) = text.split_once(", ")?;
    let number = |text: &str, word: &str| text.strip_prefix(word)?.parse().ok().filter(|number| *number > 0);
    Some((number(target, "Target: ")?, number(publish, "Publish: ")?))
}

/// A mesh answers at all addresses of a node, on IPv4.
fn by_port(ports: impl Iterator<Item = (Port, u16)>) -> BTreeMap<Port, Vec<Binding>> {
    let mut bindings = BTreeMap::<Port, Vec<Binding>>::new();
    for (inside, port) in ports {
        let address = Ipv4Addr::UNSPECIFIED.into();
        bindings
            .entry(inside)
            .or_default()
            .push(Binding { address, port });
    }
    bindings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(ports: BTreeMap<Port, Vec<Binding>>) -> String {
        let one = |(inside, bindings): (Port, Vec<Binding>)| {
            let numbers: Vec<String> = bindings.iter().map(|at| at.port.to_string()).collect();
            format!("{inside} at {}", numbers.join(","))
        };
        ports.into_iter().map(one).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn of_a_service_only_what_the_mesh_publishes_counts() {
        let ports = json!([
            {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "ingress"},
            {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8081, "PublishMode": "ingress"},
            {"Protocol": "udp", "TargetPort": 53, "PublishedPort": 5353},
            {"Protocol": "tcp", "TargetPort": 9000, "PublishedPort": 9000, "PublishMode": "host"},
            {"Protocol": "quic", "TargetPort": 1, "PublishedPort": 1},
            {"Protocol": "tcp", "TargetPort": 70000, "PublishedPort": 1},
            7,
        ]);
        let service = json!({"Endpoint": {"Ports": ports}});
        assert_eq!(shown(of_service(&service)), "53/udp at 5353; 80/tcp at 8080,8081");
        assert_eq!(shown(of_service(&json!({"Endpoint": {"Spec": {}}}))), "");
    }

    /// The texts are those of Docker 20.10.
    #[test]
    fn a_worker_names_no_protocol_and_the_image_or_the_pair_told_twice_says_it() {
        let mut task = Container::default();
        let name = (SERVICE_NAME.to_owned(), "shop_dns".to_owned());
        task.labels.extend([name]);
        let of = |task: &Container, ports: Value| {
            let other = json!({"Ports": ["Target: 1, Publish: 1"]});
            let network = json!({"Services": {"": {"Ports": []}, "shop_dns": {"Ports": ports}, "x": other}});
            shown(of_network(&network, task))
        };
        let once = json!(["Target: 53, Publish: 5353"]);
        assert_eq!(of(&task, once.clone()), "53/tcp at 5353");
        task.exposed.insert("53/udp".parse().unwrap());
        assert_eq!(of(&task, once), "53/udp at 5353");
        let twice = json!(["Target: 53, Publish: 5353", "Target: 53, Publish: 5353"]);
        assert_eq!(of(&task, twice), "53/tcp at 5353; 53/udp at 5353");
        assert_eq!(
            of(
                &task,
                json!(["Target: 80", "of tomorrow", "Target: 0, Publish: 1", 7])
            ),
            ""
        );
    }
}
