//! What is measured: a row for each case.

use crate::load::Load;
use crate::proxy::{Front, Kind, Routes};
use crate::report::{Figure, Unit};
use crate::verdict::apart;

pub struct Case {
    /// As it is chosen on the command line.
    pub name: &'static str,
    /// What the table is called.
    pub title: &'static str,
    pub front: Front,
    pub load: Load,
    /// The first is compared with each of the others.
    pub contenders: &'static [Contender],
    pub unit: Unit,
    /// What ratios are made of.
    pub judged: &'static [Figure],
}

#[derive(Clone, Copy, Debug)]
pub struct Contender {
    pub kind: Kind,
    pub routes: Routes,
    /// Changes of its table a second, meanwhile.
    pub changes: u32,
}

impl Contender {
    const fn with(kind: Kind, routes: Routes) -> Self {
        Self {
            kind,
            routes,
            changes: 0,
        }
    }

    pub fn name(&self) -> String {
        let routes = match self.routes {
            Routes::One => String::new(),
            Routes::Hosts(count) => format!(", {} hosts", apart(&count.to_string())),
            Routes::Paths(count) => format!(", {} paths", apart(&count.to_string())),
        };
        let changes = match self.changes {
            0 => String::new(),
            changes => format!(", {changes} changes/s"),
        };
        format!("{}{routes}{changes}", self.kind.name())
    }
}

const LICTOR: Contender = Contender::with(Kind::Lictor, Routes::One);
const HAPROXY: Contender = Contender::with(Kind::Haproxy, Routes::One);
const NGINX: Contender = Contender::with(Kind::Nginx, Routes::One);
const ALL: &[Contender] = &[LICTOR, HAPROXY, NGINX];
/// nginx needs a module for bytes that the package does not bring.
const BYTES: &[Contender] = &[LICTOR, HAPROXY];
const HOSTS: &[Contender] = &[
    Contender::with(Kind::Lictor, Routes::Hosts(100_000)),
    Contender::with(Kind::Lictor, Routes::Hosts(10_000)),
    Contender::with(Kind::Lictor, Routes::Hosts(1_000)),
    Contender::with(Kind::Lictor, Routes::Hosts(10)),
    Contender::with(Kind::Haproxy, Routes::Hosts(100_000)),
];
const PATHS: &[Contender] = &[
    Contender::with(Kind::Lictor, Routes::Paths(100_000)),
    Contender::with(Kind::Lictor, Routes::Paths(10_000)),
    Contender::with(Kind::Lictor, Routes::Paths(1_000)),
    Contender::with(Kind::Lictor, Routes::Paths(10)),
    Contender::with(Kind::Haproxy, Routes::Paths(100_000)),
];
const CHANGING: &[Contender] = &[
    Contender {
        changes: 100,
        ..QUIET
    },
    QUIET,
];
const MOVING: &[Contender] = &[
    Contender::with(Kind::Agent, Routes::Paths(100_000)),
    Contender::with(Kind::Agent, Routes::Paths(10)),
];
const QUIET: Contender = Contender::with(Kind::Agent, Routes::Paths(10_000));

const REQUESTS: Unit = Unit {
    rate: "req/s",
    cost: "CPU-s / 100k req",
    cost_of: 1e5,
};
const HANDSHAKES: Unit = Unit {
    rate: "handshakes/s",
    cost: "CPU-s / 100k handshakes",
    cost_of: 1e5,
};
const MESSAGES: Unit = Unit {
    rate: "messages/s",
    cost: "CPU-s / 100k messages",
    cost_of: 1e5,
};
const VOLUME: Unit = Unit {
    rate: "MiB/s",
    cost: "CPU-s / GiB",
    cost_of: 1024.0,
};
const CONNECTIONS: Unit = Unit {
    rate: "connections/s",
    cost: "CPU-s / 100k connections",
    cost_of: 1e5,
};
const CHANGES: Unit = Unit {
    rate: "changes/s",
    cost: "CPU-ms / change",
    cost_of: 1e3,
};

const COST: &[Figure] = &[Figure::Cost];
const COST_AND_P99: &[Figure] = &[Figure::Cost, Figure::P99];

/// Most cases are this one but for what they name.
const SMALL: Case = Case {
    name: "small",
    title: "128 B, connections kept",
    front: Front::Http,
    load: Load::Get("/"),
    contenders: ALL,
    unit: REQUESTS,
    judged: COST_AND_P99,
};

pub const CASES: &[Case] = &[
    SMALL,
    Case {
        name: "large",
        title: "64 KiB, connections kept",
        load: Load::Get("/64k"),
        ..SMALL
    },
    Case {
        name: "tls",
        title: "128 B over TLS, connections kept",
        front: Front::Https,
        ..SMALL
    },
    Case {
        name: "full",
        title: "TLS handshakes, full, each with one request",
        front: Front::Https,
        load: Load::Handshakes { resumed: false },
        unit: HANDSHAKES,
        ..SMALL
    },
    Case {
        name: "resumed",
        title: "TLS handshakes, resumed, each with one request",
        front: Front::Https,
        load: Load::Handshakes { resumed: true },
        unit: HANDSHAKES,
        ..SMALL
    },
    Case {
        name: "h2",
        title: "128 B over HTTP/2 and TLS, 8 connections of 8 streams",
        front: Front::Https,
        load: Load::Streams,
        ..SMALL
    },
    Case {
        name: "post",
        title: "POST of 16 KiB, connections kept",
        load: Load::Post(16 << 10),
        ..SMALL
    },
    Case {
        name: "websocket",
        title: "Websockets, 64 connections, echo of 128 B",
        load: Load::Echo,
        unit: MESSAGES,
        ..SMALL
    },
    Case {
        name: "tcp-small",
        title: "TCP, 128 B of HTTP, connections kept",
        front: Front::Tcp,
        contenders: BYTES,
        ..SMALL
    },
    Case {
        name: "tcp-stream",
        title: "TCP, 1 GiB on one connection",
        front: Front::Tcp,
        load: Load::Download("/1g", 1 << 30),
        contenders: BYTES,
        unit: VOLUME,
        judged: COST,
    },
    Case {
        name: "hosts",
        title: "128 B, routes by host, each asked as often as the others",
        load: Load::Spread,
        contenders: HOSTS,
        ..SMALL
    },
    Case {
        name: "paths",
        title: "128 B, routes by path, each asked as often as the others",
        load: Load::Spread,
        contenders: PATHS,
        ..SMALL
    },
    Case {
        name: "idle",
        title: "10 000 connections, answered once, then idle",
        load: Load::Idle(10_000),
        unit: CONNECTIONS,
        judged: &[Figure::Resident, Figure::Cost],
        ..SMALL
    },
    Case {
        name: "changes",
        title: "128 B at half of the rate that can be reached, while a table of 10 000 routes changes",
        load: Load::Half,
        contenders: CHANGING,
        judged: &[Figure::P99, Figure::Cost],
        ..SMALL
    },
    Case {
        name: "move",
        title: "One change of a route, until a request finds it",
        load: Load::Move,
        contenders: MOVING,
        unit: CHANGES,
        judged: &[Figure::Cost, Figure::P50],
        ..SMALL
    },
    Case {
        name: "half",
        title: "128 B at half of the rate that the slowest reaches",
        load: Load::Half,
        ..SMALL
    },
];
