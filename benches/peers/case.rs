//! What is measured: a row for each case.

use crate::load::Load;
use crate::proxy::{Front, Kind};
use crate::report::{Figure, Unit};

pub struct Case {
    /// As it is chosen on the command line.
    pub name: &'static str,
    /// What the table is called.
    pub title: &'static str,
    pub front: Front,
    pub load: Load,
    /// The first is compared with each of the others.
    pub contenders: &'static [Kind],
    pub unit: Unit,
    /// What ratios are made of.
    pub judged: &'static [Figure],
}

const ALL: &[Kind] = &[Kind::Lictor, Kind::Haproxy, Kind::Nginx];

const REQUESTS: Unit = Unit {
    rate: "req/s",
    cost: "CPU-s / 100k req",
    cost_of: 1e5,
};

pub const CASES: &[Case] = &[
    Case {
        name: "small",
        title: "128 B, connections kept",
        front: Front::Http,
        load: Load::Get("/"),
        contenders: ALL,
        unit: REQUESTS,
        judged: &[Figure::Cost, Figure::P99],
    },
    Case {
        name: "large",
        title: "64 KiB, connections kept",
        front: Front::Http,
        load: Load::Get("/64k"),
        contenders: ALL,
        unit: REQUESTS,
        judged: &[Figure::Cost, Figure::P99],
    },
    Case {
        name: "tls",
        title: "128 B over TLS, connections kept",
        front: Front::Https,
        load: Load::Get("/"),
        contenders: ALL,
        unit: REQUESTS,
        judged: &[Figure::Cost, Figure::P99],
    },
];
