//! A Consul that holds, answers, fails and lies as it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What it says.
#[derive(Default)]
pub struct Catalog {
    /// Of the last change.
    pub index: u64,
    /// Accept requests and never answer.
    pub hang: bool,
    services: BTreeMap<String, (String, u16, u64)>,
    checks: BTreeMap<String, (String, u64)>,
    node: Option<(String, u64)>,
    services_index: u64,
    checks_index: u64,
    failing: BTreeSet<String>,
    silent: BTreeSet<String>,
    garbled: BTreeMap<String, String>,
    asked: Vec<String>,
}

impl Catalog {
    /// Registers an instance with a passing check, or its new port.
    pub fn service(&mut self, name: &str, id: &str, port: u16) {
        self.check(id, "passing");
        self.silently(id, port);
        self.services
            .insert(id.to_owned(), (name.to_owned(), port, self.index));
        self.services_index = self.index;
    }

    /// A new port of which no check tells.
    pub fn silently(&mut self, id: &str, port: u16) {
        if let Some(known) = self.services.get_mut(id) {
            (known.1, known.2) = (port, self.index);
            self.services_index = self.index;
        }
    }

    pub fn check(&mut self, id: &str, status: &str) {
        self.checks.insert(id.to_owned(), (status.to_owned(), self.index));
        self.checks_index = self.index;
    }

    pub fn node_check(&mut self, status: Option<&str>) {
        self.node = status.map(|status| (status.to_owned(), self.index));
        self.checks_index = self.index;
    }

    pub fn remove(&mut self, id: &str) {
        self.services.remove(id);
        self.checks.remove(id);
        (self.services_index, self.checks_index) = (self.index, self.index);
    }

    /// Paths that begin so answer 500.
    pub fn fail(&mut self, path: &str) {
        self.failing.insert(path.to_owned());
    }

    /// Paths that begin so do not answer, for as long as they may be held.
    pub fn silence(&mut self, path: &str) {
        self.silent.insert(path.to_owned());
    }

    /// Begins anew.
    pub fn forget(&mut self) {
        self.services.clear();
        self.checks.clear();
    }

    pub fn garble(&mut self, path: &str, body: &str) {
        self.garbled.insert(path.to_owned(), body.to_owned());
    }

    pub fn mend(&mut self) {
        self.failing.clear();
        self.silent.clear();
        self.garbled.clear();
    }

    fn row(&self, id: &str) -> Value {
        let (status, index) = &self.checks[id];
        json!({
            "Node": "n1", "CheckID": format!("service:{id}"), "Name": "check", "Status": status,
            "ServiceID": id, "ServiceName": self.services[id].0, "ModifyIndex": index, "CreateIndex": 1,
        })
    }

    fn node_row(&self) -> Option<Value> {
        let (status, index) = self.node.as_ref()?;
        Some(json!({
            "Node": "n1", "CheckID": "serfHealth", "Name": "Serf", "Status": status, "ModifyIndex": index,
        }))
    }

    fn entry(&self, id: &str) -> Value {
        let (name, port, index) = &self.services[id];
        json!({ "ID": id, "Service": name, "Port": port, "ModifyIndex": index, "CreateIndex": 1 })
    }

    /// Index and body of an answer.
    fn answer(&self, path: &str) -> (u64, Value) {
        let ids = || self.services.keys();
        match path {
            "/v1/health/state/any" => {
                let rows = ids().map(|id| self.row(id)).chain(self.node_row());
                (self.checks_index, rows.collect())
            }
            "/v1/catalog/services" => {
                let names = self
                    .services
                    .values()
                    .map(|(name, ..)| (name.clone(), json!(["tag"])));
                (self.services_index, Value::Object(names.collect()))
            }
            "/v1/catalog/nodes" => (
                1,
                json!([{ "Node": "n1", "Address": "10.0.0.1", "ModifyIndex": 1 }]),
            ),
            "/v1/catalog/node/n1" => {
                let services = ids().map(|id| (id.clone(), self.entry(id)));
                let services = Value::Object(services.collect());
                (
                    self.services_index,
                    json!({ "Node": { "Node": "n1" }, "Services": services }),
                )
            }
            _ => {
                let name = path.strip_prefix("/v1/health/service/").unwrap_or_default();
                let mine = self.services.iter().filter(|(_, (known, ..))| known == name);
                let rows = mine.map(|(id, _)| {
                    let checks: Vec<_> = self.node_row().into_iter().chain([self.row(id)]).collect();
                    let node = json!({ "Node": "n1", "Address": "10.0.0.1" });
                    json!({ "Node": node, "Service": self.entry(id), "Checks": checks })
                });
                (self.index, rows.collect())
            }
        }
    }
}

/// The server; ends with its test.
pub struct Consul {
    pub address: SocketAddr,
    catalog: Arc<Mutex<Catalog>>,
    changed: watch::Sender<()>,
}

impl Consul {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let consul = Self {
            address: listener.local_addr().unwrap(),
            catalog: Arc::default(),
            changed: watch::channel(()).0,
        };
        let (catalog, changed) = (consul.catalog.clone(), consul.changed.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, catalog.clone(), changed.subscribe()));
            }
        });
        consul
    }

    /// One change of everything, at one index.
    pub fn change(&self, change: impl FnOnce(&mut Catalog)) {
        let mut catalog = self.catalog.lock().unwrap();
        catalog.index += 1;
        change(&mut catalog);
        drop(catalog);
        self.changed.send_replace(());
    }

    /// Paths asked for since this was last asked.
    pub fn asked(&self) -> BTreeSet<String> {
        let asked = std::mem::take(&mut self.catalog.lock().unwrap().asked);
        asked
            .iter()
            .map(|target| target.split('?').next().unwrap().to_owned())
            .collect()
    }

    pub fn queries(&self) -> Vec<String> {
        self.catalog.lock().unwrap().asked.clone()
    }
}

async fn serve(mut stream: TcpStream, catalog: Arc<Mutex<Catalog>>, mut changed: watch::Receiver<()>) {
    let mut input = Vec::new();
    loop {
        while !input.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut input).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let head = String::from_utf8(std::mem::take(&mut input)).unwrap();
        let target = head.split(' ').nth(1).unwrap().to_owned();
        catalog.lock().unwrap().asked.push(target.clone());
        let answer = hold(&target, &catalog, &mut changed).await;
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn hold(target: &str, catalog: &Mutex<Catalog>, changed: &mut watch::Receiver<()>) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let number = |name: &str| {
        let found = query.split('&').find_map(|pair| pair.strip_prefix(name));
        found.and_then(|value| value.trim_end_matches("ms").parse::<u64>().ok())
    };
    let after = number("index=").unwrap_or(0);
    let wait = Duration::from_millis(number("wait=").unwrap_or(60_000));
    let until = tokio::time::Instant::now() + wait;
    loop {
        changed.mark_unchanged();
        {
            let catalog = catalog.lock().unwrap();
            let begins = |start: &String| path.starts_with(start.as_str());
            if !catalog.hang && !catalog.silent.iter().any(begins) {
                if catalog.failing.iter().any(begins) {
                    let text = "rpc error: No cluster leader";
                    let length = text.len();
                    return format!("HTTP/1.1 500 no\r\nContent-Length: {length}\r\n\r\n{text}");
                }
                let (index, body) = catalog.answer(path);
                if index != after || tokio::time::Instant::now() >= until {
                    let body = catalog
                        .garbled
                        .get(path)
                        .cloned()
                        .unwrap_or_else(|| body.to_string());
                    let length = body.len();
                    return format!(
                        "HTTP/1.1 200 OK\r\nX-Consul-Index: {index}\r\nContent-Length: {length}\r\n\r\n{body}"
                    );
                }
            }
        }
        let _ = tokio::time::timeout(Duration::from_millis(50), changed.changed()).await;
    }
}
