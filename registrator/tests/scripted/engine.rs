//! A container engine that does what a test says: its API over a Unix socket or TCP, with containers and
//! events from a script. It shows what a real engine cannot be made to show on demand: cut
//! streams, swallowed events, an empty listing, a restart; and engines that are not on this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

struct World {
    containers: BTreeMap<String, Value>,
    /// What it says of its own version.
    character: Character,
    /// So many listings to come are empty.
    empty_listings: usize,
    /// Containers whose inspection fails.
    broken: Vec<String>,
    /// Containers whose inspection never ends.
    stuck: Vec<String>,
    /// What it says the time is.
    clock: &'static str,
    inspections: usize,
    listings: usize,
    connections: usize,
    /// Whether it closes each connection at the second question.
    hangs_up: bool,
    /// What lines of listings leave out.
    hidden: Vec<&'static str>,
    /// Every request line, as it came.
    asked: Vec<String>,
    /// What is answered on paths that have nothing to do with containers: status and body.
    further: BTreeMap<String, (&'static str, Value)>,
}

/// Which engine it plays.
#[derive(Clone, Copy)]
pub struct Character {
    /// The newest version it speaks.
    pub newest: &'static str,
    /// The oldest.
    pub oldest: &'static str,
    /// Whether it tells its version when pinged, as all do that nothing stands before.
    pub pongs: bool,
    /// Whether it takes a filter for events.
    pub filters: bool,
    /// Whether `/info` is answered.
    pub informs: bool,
}

/// Docker 20.10.
pub const DOCKER: Character = Character {
    newest: "1.41",
    oldest: "1.12",
    pongs: true,
    filters: true,
    informs: true,
};

/// The engine; its world survives `stop` and `start`.
pub struct Engine {
    pub socket: PathBuf,
    world: Arc<Mutex<World>>,
    events: broadcast::Sender<Option<String>>,
    server: Option<JoinSet<()>>,
    _directory: tempfile::TempDir,
}

impl Engine {
    /// An engine that is not running yet.
    pub fn new() -> Self {
        Self::playing(DOCKER)
    }

    pub fn playing(character: Character) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("engine.sock");
        let events = broadcast::Sender::new(1024);
        let world = World {
            containers: BTreeMap::new(),
            character,
            empty_listings: 0,
            broken: Vec::new(),
            stuck: Vec::new(),
            clock: "2026-01-01T00:00:00Z",
            inspections: 0,
            listings: 0,
            connections: 0,
            hangs_up: false,
            hidden: Vec::new(),
            asked: Vec::new(),
            further: BTreeMap::new(),
        };
        Self {
            socket,
            world: Arc::new(Mutex::new(world)),
            events,
            server: None,
            _directory: directory,
        }
    }

    pub fn start(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        let listener = UnixListener::bind(&self.socket).unwrap();
        let (world, events) = (self.world.clone(), self.events.clone());
        let mut server = JoinSet::new();
        server.spawn(async move {
            // Ends with the task: then every connection is cut.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, world.clone(), events.clone()));
            }
        });
        self.server = Some(server);
    }

    /// Starts it on a port of its own, which is returned; over TLS if there is an acceptor.
    pub async fn start_on_port(&mut self, tls: Option<TlsAcceptor>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (world, events) = (self.world.clone(), self.events.clone());
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, world, events) = (tls.clone(), world.clone(), events.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, world, events).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, world, events).await;
                            }
                        }
                    }
                });
            }
        });
        self.server = Some(server);
        port
    }

    /// Cuts every connection and accepts no more.
    pub async fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.shutdown().await;
        }
    }

    /// Ends the event streams; new ones may follow.
    pub fn cut(&self) {
        let _ = self.events.send(None);
    }

    /// Streams that are open now.
    pub fn listeners(&self) -> usize {
        self.events.receiver_count()
    }

    /// Changes a container without a word.
    pub fn put(&self, name: &str, running: bool, port: u16) {
        let ports = if running {
            json!({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": port.to_string()}]})
        } else {
            json!({})
        };
        self.put_answer(
            name,
            &json!({
                "Image": "sha256:0",
                "State": {"Status": if running { "running" } else { "exited" }, "Running": running,
                          "ExitCode": 0, "StartedAt": "2026-01-01T00:00:00Z"},
                "Config": {"Image": "web", "Env": [], "Labels": {}, "ExposedPorts": {"80/tcp": {}}},
                "HostConfig": {"NetworkMode": "default", "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": ""}]}},
                "NetworkSettings": {"Ports": ports, "Networks": {}},
            }),
        );
    }

    /// Changes a container to what an inspection is to answer, but for its id and name.
    pub fn put_answer(&self, name: &str, answer: &Value) {
        let mut answer = answer.clone();
        answer["Id"] = id(name).into();
        answer["Name"] = format!("/{name}").into();
        self.world.lock().unwrap().containers.insert(id(name), answer);
    }

    /// Changes one thing in what an inspection answers, named by a JSON pointer.
    pub fn change(&self, name: &str, pointer: &str, value: Value) {
        let mut world = self.world.lock().unwrap();
        let container = world.containers.get_mut(&id(name)).unwrap();
        *container.pointer_mut(pointer).unwrap() = value;
    }

    pub fn label(&self, name: &str, label: &str, value: &str) {
        let mut world = self.world.lock().unwrap();
        let container = world.containers.get_mut(&id(name)).unwrap();
        container["Config"]["Labels"][label] = value.into();
    }

    pub fn remove(&self, name: &str) {
        self.world.lock().unwrap().containers.remove(&id(name));
    }

    /// Says that something happened.
    pub fn tell(&self, name: &str, action: &str, attributes: &Value) {
        let event = json!({"Type": "container", "Action": action, "timeNano": 1,
                           "Actor": {"ID": id(name), "Attributes": attributes}});
        self.say(&event.to_string());
    }

    /// Says something on the event stream, a line of its own.
    pub fn say(&self, line: &str) {
        let _ = self.events.send(Some(format!("{line}\n")));
    }

    /// Says something that is no event.
    pub fn babble(&self) {
        self.say("{\"Type\": 7, \"Action\": [}");
    }

    pub fn empty_listings(&self, count: usize) {
        self.world.lock().unwrap().empty_listings = count;
    }

    pub fn break_inspection(&self, name: &str) {
        self.world.lock().unwrap().broken.push(id(name));
    }

    /// Questions about this container are not answered until it is mended.
    pub fn hold_inspection(&self, name: &str) {
        self.world.lock().unwrap().stuck.push(id(name));
    }

    pub fn mend(&self) {
        let mut world = self.world.lock().unwrap();
        world.broken.clear();
        world.stuck.clear();
    }

    /// Sets its clock, also back.
    pub fn set_clock(&self, now: &'static str) {
        self.world.lock().unwrap().clock = now;
    }

    /// Listings show no verdict of a HEALTHCHECK, as those of Podman 4.3.
    pub fn hide_health(&self) {
        self.world.lock().unwrap().hidden.push("Health");
    }

    /// Closes each connection at the second question, as if it had been closed just before.
    pub fn hang_up(&self) {
        self.world.lock().unwrap().hangs_up = true;
    }

    pub fn hide_labels(&self) {
        self.world.lock().unwrap().hidden.push("Labels");
    }

    /// Answers a path, written in small letters and without its query, so from now on.
    pub fn answer(&self, path: &str, status: &'static str, body: &Value) {
        let mut world = self.world.lock().unwrap();
        world.further.insert(path.to_owned(), (status, body.clone()));
    }

    pub fn inspections(&self) -> usize {
        self.world.lock().unwrap().inspections
    }

    pub fn listings(&self) -> usize {
        self.world.lock().unwrap().listings
    }

    /// Connections that were ever opened.
    pub fn connections(&self) -> usize {
        self.world.lock().unwrap().connections
    }

    /// Paths that were asked for, queries included.
    pub fn asked(&self) -> Vec<String> {
        self.world.lock().unwrap().asked.clone()
    }
}

pub fn id(name: &str) -> String {
    format!("{name:0>64}")
}

struct Request {
    path: String,
    body: Vec<u8>,
}

async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    Some(Request { path, body })
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    world: Arc<Mutex<World>>,
    events: broadcast::Sender<Option<String>>,
) {
    world.lock().unwrap().connections += 1;
    let mut used = false;
    while let Some(Request { path, body }) = request(&mut stream).await {
        if world.lock().unwrap().hangs_up && std::mem::replace(&mut used, true) {
            return;
        }
        world.lock().unwrap().asked.push(path.clone());
        let character = world.lock().unwrap().character;
        let (plain, query) = path.split_once('?').unwrap_or((&path, ""));
        let spoken = |rest: &str| rest.split('/').next().unwrap_or_default().to_owned();
        let version = plain
            .strip_prefix("/v")
            .filter(|rest| rest.starts_with('1'))
            .map(spoken);
        let plain = version
            .as_ref()
            .map_or(plain, |version| &plain[version.len() + 2..]);
        let newest_minor = |text: &str| text.split('.').nth(1).unwrap().parse::<u32>().unwrap();
        let known = |version: &String| {
            (newest_minor(character.oldest)..=newest_minor(character.newest)).contains(&newest_minor(version))
        };
        if version.is_some_and(|version| !known(&version)) {
            let refusal = json!({"message": "client version is too old or too new for this engine"});
            answer_with(&mut stream, "400 Bad Request", "", refusal.to_string().as_bytes()).await;
        } else if plain == "/events" && !character.filters && query.contains("filters") {
            let refusal = json!({"message": "invalid filter"});
            answer_with(
                &mut stream,
                "500 Internal Server Error",
                "",
                refusal.to_string().as_bytes(),
            )
            .await;
        } else if plain == "/events" {
            return tell_events(&mut stream, events.subscribe()).await;
        } else if plain == "/_ping" && character.pongs {
            let version = format!("Api-Version: {}\r\n", character.newest);
            answer_with(&mut stream, "200 OK", &version, b"OK").await;
        } else if plain.starts_with("/exec/") && plain.ends_with("/start") {
            return run(&mut stream, &world, plain).await;
        } else {
            if world.lock().unwrap().stuck.iter().any(|id| plain.contains(id)) {
                return std::future::pending().await;
            }
            let (status, answer) = answer(plain, &body, &world);
            answer_with(&mut stream, status, "", answer.to_string().as_bytes()).await;
        }
    }
}

async fn answer_with(stream: &mut (impl AsyncWrite + Unpin), status: &str, headers: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
}

async fn tell_events(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    mut events: broadcast::Receiver<Option<String>>,
) {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
    let _ = stream.write_all(head.as_bytes()).await;
    let mut nothing = [0];
    loop {
        tokio::select! {
            // Swallowed when the reader is slow, as a real engine does.
            event = events.recv() => match event {
                Ok(Some(event)) if stream.write_all(event.as_bytes()).await.is_ok() => {}
                _ => return,
            },
            // Nobody listens any more.
            _ = stream.read(&mut nothing) => return,
        }
    }
}

/// Programs are numbers and words: `exit 3`, `say …`, `hang`.
async fn run(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), world: &Mutex<World>, plain: &str) {
    let id = plain.trim_start_matches("/exec/").trim_end_matches("/start");
    let program: Value = serde_json::from_str(&hex_back(id)).unwrap();
    let words: Vec<&str> = program["Cmd"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w.as_str().unwrap())
        .collect();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n";
    let _ = stream.write_all(head.as_bytes()).await;
    assert!(world.lock().is_ok());
    match words[..] {
        ["hang"] => std::future::pending().await,
        ["say", ref rest @ ..] => {
            for word in rest {
                let length = u32::try_from(word.len()).unwrap().to_be_bytes();
                let piece = [&[1, 0, 0, 0], &length[..], word.as_bytes()].concat();
                let _ = stream.write_all(&piece).await;
            }
        }
        _ => {}
    }
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn hex_back(text: &str) -> String {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    String::from_utf8((0..text.len()).step_by(2).map(byte).collect()).unwrap()
}

fn answer(path: &str, body: &[u8], world: &Mutex<World>) -> (&'static str, Value) {
    let mut world = world.lock().unwrap();
    let character = world.character;
    match path {
        "/version" => {
            let version = json!({"ApiVersion": character.newest, "MinAPIVersion": character.oldest});
            return ("200 OK", version);
        }
        "/info" if character.informs => {
            return ("200 OK", json!({"ID": "E1", "SystemTime": world.clock}));
        }
        "/info" | "/_ping" => return ("403 Forbidden", json!({"message": "not for you"})),
        "/containers/json" => {
            world.listings += 1;
            if world.empty_listings > 0 {
                world.empty_listings -= 1;
                return ("200 OK", json!([]));
            }
            return (
                "200 OK",
                world
                    .containers
                    .values()
                    .map(|container| line(container, &world.hidden))
                    .collect(),
            );
        }
        _ => {}
    }
    if let Some((status, answer)) = world.further.get(path) {
        return (status, answer.clone());
    }
    if let Some(id) = path.strip_prefix("/exec/") {
        let program: Value = serde_json::from_str(&hex_back(id.trim_end_matches("/json"))).unwrap();
        let code = match (program["Cmd"][0].as_str(), program["Cmd"][1].as_str()) {
            (Some("exit"), Some(code)) => code.parse().unwrap(),
            _ => 0,
        };
        return ("200 OK", json!({"Running": false, "ExitCode": code}));
    }
    let id = path.trim_start_matches("/containers/");
    let known = world
        .containers
        .contains_key(id.split('/').next().unwrap_or_default());
    if let (true, Some(_)) = (known, id.strip_suffix("/exec")) {
        return ("201 Created", json!({"Id": hex(&String::from_utf8_lossy(body))}));
    }
    world.inspections += 1;
    let id = id.trim_end_matches("/json");
    if world.broken.iter().any(|broken| broken == id) {
        return ("500 Internal Server Error", json!({"message": "it is broken"}));
    }
    match world.containers.get(id) {
        Some(container) => ("200 OK", container.clone()),
        None => (
            "404 Not Found",
            json!({"message": format!("No such container: {id}")}),
        ),
    }
}

/// The line of a listing, made of an inspection as engines do.
fn line(container: &Value, hidden: &[&str]) -> Value {
    let state = &container["State"];
    let number = |text: &str| text.split('/').next().unwrap().parse::<u16>().unwrap();
    let ports = container["NetworkSettings"]["Ports"]
        .as_object()
        .into_iter()
        .flatten();
    let ports = ports.flat_map(|(port, bindings)| {
        let bindings = bindings.as_array().into_iter().flatten();
        bindings.map(move |binding| {
            json!({"PrivatePort": number(port), "Type": port.split('/').next_back(), "IP": binding["HostIp"],
                   "PublicPort": number(binding["HostPort"].as_str().unwrap())})
        })
    });
    let status = match state["Status"].as_str() {
        Some("running") => "Up 5 minutes".to_owned(),
        Some("exited") => format!("Exited ({}) 5 minutes ago", state["ExitCode"]),
        other => other.unwrap_or_default().to_owned(),
    };
    let health = state["Health"]["Status"]
        .as_str()
        .map(|health| format!(" ({health})"));
    let health = health.filter(|_| !hidden.contains(&"Health"));
    let labels = Some(&container["Config"]["Labels"]).filter(|_| !hidden.contains(&"Labels"));
    json!({
        "Id": container["Id"], "Names": [container["Name"]], "Image": container["Config"]["Image"],
        "ImageID": container["Image"], "Labels": labels, "Ports": ports.collect::<Vec<_>>(),
        "State": state["Status"], "Status": status + &health.unwrap_or_default(),
        "HostConfig": {"NetworkMode": container["HostConfig"]["NetworkMode"]},
        "NetworkSettings": {"Networks": container["NetworkSettings"]["Networks"]},
    })
}
