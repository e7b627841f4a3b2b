//! An engine of many containers that does nothing: its answers are the machine's own, with other ids, names and ports.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::Container;

/// What the machine's engine says of one container.
struct Answers {
    id: String,
    name: String,
    port: String,
    inspection: String,
    line: String,
}

pub(crate) struct Engine {
    directory: tempfile::TempDir,
    /// Inspections asked for so far.
    pub(crate) inspections: Arc<AtomicUsize>,
    /// Bytes of one inspection.
    pub(crate) size: usize,
}

impl Engine {
    /// Starts one with so many containers like `model`.
    pub(crate) fn start(model: &Container, containers: usize) -> Self {
        let directory = tempfile::tempdir().expect("a folder for the socket");
        let listener = UnixListener::bind(directory.path().join("engine.sock")).expect("a socket");
        let answers = Arc::new(Answers::of(model));
        let (inspections, size) = (Arc::new(AtomicUsize::new(0)), answers.inspection.len());
        let counter = inspections.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answers, counter) = (answers.clone(), counter.clone());
                std::thread::spawn(move || answers.serve(&stream, containers, &counter));
            }
        });
        Self {
            directory,
            inspections,
            size,
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("engine.sock")
    }
}

impl Answers {
    fn of(model: &Container) -> Self {
        let inspection = ask(&format!("/v1.41/containers/{}/json", model.name()));
        let read: serde_json::Value = serde_json::from_str(&inspection).expect("JSON");
        let id = read["Id"].as_str().expect("an id").to_owned();
        let filter = format!("%7B%22id%22%3A%5B%22{id}%22%5D%7D");
        let listing = ask(&format!("/v1.41/containers/json?filters={filter}"));
        let line = listing.trim().trim_start_matches('[').trim_end_matches(']');
        Self {
            name: model.name().to_owned(),
            port: model.published(8000).to_string(),
            line: line.to_owned(),
            inspection,
            id,
        }
    }

    fn serve(&self, stream: &UnixStream, containers: usize, inspections: &AtomicUsize) {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        while let Some(request) = lines.next() {
            if lines.by_ref().take_while(|line| !line.is_empty()).count() == 0 {
                return;
            }
            let path = request.split(' ').nth(1).unwrap_or_default();
            let path = path.split('?').next().unwrap_or_default();
            let mut parts = path
                .trim_start_matches('/')
                .split('/')
                .skip_while(|part| part.starts_with("v1."));
            let body = match (parts.next(), parts.next()) {
                (Some("events"), _) => {
                    let head =
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
                    let _ = (&*stream).write_all(head.as_bytes());
                    // Nothing happens here, until whoever listens has gone.
                    let _ = (&*stream).read(&mut [0]);
                    return;
                }
                (Some("containers"), Some("json")) => {
                    let lines = (0..containers).map(|number| self.like(&self.line, number));
                    format!("[{}]", lines.collect::<Vec<_>>().join(","))
                }
                (Some("containers"), Some(id)) => {
                    inspections.fetch_add(1, Ordering::Relaxed);
                    let digits = id
                        .get(..8)
                        .and_then(|digits| usize::from_str_radix(digits, 16).ok());
                    self.like(&self.inspection, digits.unwrap_or_default())
                }
                (Some("version"), _) => r#"{"ApiVersion": "1.41", "MinAPIVersion": "1.12"}"#.to_owned(),
                (Some("info"), _) => r#"{"ID": "bench", "SystemTime": "2026-01-01T00:00:00Z"}"#.to_owned(),
                _ => "OK".to_owned(),
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            if (&*stream).write_all(&[head, body].concat().into_bytes()).is_err() {
                return;
            }
        }
    }

    /// The same answer of another container.
    fn like(&self, answer: &str, number: usize) -> String {
        let id = format!("{number:08x}{}", &self.id[8..]);
        let port = (20_000 + number).to_string();
        answer
            .replace(&self.id, &id)
            .replace(&self.name, &format!("bench-{number}"))
            .replace(&self.port, &port)
    }
}

/// What the machine's engine answers.
fn ask(path: &str) -> String {
    let mut stream = UnixStream::connect("/var/run/docker.sock").expect("the machine's engine");
    let request = format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the engine listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the engine answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains(" 200 "), "{path}: {head}");
    body.trim().to_owned()
}
