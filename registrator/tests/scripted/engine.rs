//! A container engine that does what a test says: its API over a Unix socket, with containers and
//! events from a script. It shows what a real engine cannot be made to show on demand: cut
//! streams, swallowed events, an empty listing, a restart.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

#[derive(Default)]
struct World {
    containers: BTreeMap<String, Value>,
    /// So many listings to come are empty.
    empty_listings: usize,
    /// Containers whose inspection fails.
    broken: Vec<String>,
    inspections: usize,
    listings: usize,
}

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
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("engine.sock");
        let events = broadcast::Sender::new(1024);
        Self {
            socket,
            world: Arc::default(),
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
                connections.spawn(serve(stream, world.clone(), events.subscribe()));
            }
        });
        self.server = Some(server);
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
        let container = json!({
            "Id": id(name),
            "Name": format!("/{name}"),
            "Image": "sha256:0",
            "State": {"Status": if running { "running" } else { "exited" }, "Running": running,
                      "ExitCode": 0, "StartedAt": "2026-01-01T00:00:00Z"},
            "Config": {"Image": "web", "Env": [], "Labels": {}, "ExposedPorts": {"80/tcp": {}}},
            "HostConfig": {"NetworkMode": "default", "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": ""}]}},
            "NetworkSettings": {"Ports": ports, "Networks": {}},
        });
        self.world.lock().unwrap().containers.insert(id(name), container);
    }

    pub fn remove(&self, name: &str) {
        self.world.lock().unwrap().containers.remove(&id(name));
    }

    /// Says that something happened.
    pub fn tell(&self, name: &str, action: &str, attributes: &Value) {
        let event = json!({"Type": "container", "Action": action, "timeNano": 1,
                           "Actor": {"ID": id(name), "Attributes": attributes}});
        let _ = self.events.send(Some(format!("{event}\n")));
    }

    /// Says something that is no event.
    pub fn babble(&self) {
        let _ = self
            .events
            .send(Some("{\"Type\": 7, \"Action\": [}\n".to_owned()));
    }

    pub fn empty_listings(&self, count: usize) {
        self.world.lock().unwrap().empty_listings = count;
    }

    pub fn break_inspection(&self, name: &str) {
        self.world.lock().unwrap().broken.push(id(name));
    }

    pub fn mend(&self) {
        self.world.lock().unwrap().broken.clear();
    }

    pub fn inspections(&self) -> usize {
        self.world.lock().unwrap().inspections
    }

    pub fn listings(&self) -> usize {
        self.world.lock().unwrap().listings
    }
}

fn id(name: &str) -> String {
    format!("{name:0>64}")
}

async fn serve(
    mut stream: UnixStream,
    world: Arc<Mutex<World>>,
    mut events: broadcast::Receiver<Option<String>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let path = path.strip_prefix("/v1.41").unwrap_or(path);
    if path == "/events" {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
        let _ = stream.write_all(head.as_bytes()).await;
        // Swallowed when the reader is slow, as a real engine does.
        while let Ok(Some(event)) = events.recv().await {
            if stream.write_all(event.as_bytes()).await.is_err() {
                return;
            }
        }
        return;
    }
    drop(events);
    let (status, body) = answer(path, &world);
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all((head + &body).as_bytes()).await;
}

fn answer(path: &str, world: &Mutex<World>) -> (&'static str, Value) {
    let mut world = world.lock().unwrap();
    if path.ends_with("/version") {
        return ("200 OK", json!({"ApiVersion": "1.41", "Version": "20.10.24"}));
    }
    if path == "/containers/json" {
        world.listings += 1;
        if world.empty_listings > 0 {
            world.empty_listings -= 1;
            return ("200 OK", json!([]));
        }
        let line = |c: &Value| json!({"Id": c["Id"], "Names": [c["Name"]], "State": c["State"]["Status"]});
        return ("200 OK", world.containers.values().map(line).collect());
    }
    world.inspections += 1;
    let id = path.trim_start_matches("/containers/").trim_end_matches("/json");
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
