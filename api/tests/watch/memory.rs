//! A catalog that loses its memory, in every order in which that can show.

use std::time::Duration;

use super::{Consul, SOON, Watching};
use crate::scripted::Catalog;

const CHECKS: &str = "/v1/health/state/any";
const NAMES: &str = "/v1/catalog/services";
/// Of the last change before.
const BEFORE: u64 = 1000;

/// What a list does that is not to answer yet.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    Refuses,
    Garbles,
    Waits,
}

/// Where the indexes stand when the first answer comes.
#[derive(Clone, Copy, Debug)]
enum Index {
    Lower,
    Equal,
    /// Passed, but what was registered first has a version from before.
    Higher,
    /// All that is there is newer than what was known.
    FarHigher,
}

impl Index {
    /// A balancer has registered again, and something else came, before anybody asked.
    fn fill(self, catalog: &mut Catalog) {
        let (first, last) = match self {
            Self::Lower => (8, 10),
            Self::Equal => (8, BEFORE),
            Self::Higher => (8, BEFORE + 5),
            Self::FarHigher => (BEFORE + 3, BEFORE + 5),
        };
        catalog.forget();
        catalog.index = first;
        catalog.service("lb", "lb1", 2);
        catalog.index = last;
        catalog.service("late", "l1", 3);
    }
}

fn fill_before(catalog: &mut Catalog) {
    catalog.index = BEFORE;
    catalog.service("web", "w1", 80);
    catalog.service("db", "d1", 90);
    catalog.service("old", "o1", 70);
    catalog.service("lb", "lb1", 1);
}

/// Waits until a path that begins so has been asked for.
async fn asked(consul: &Consul, start: &str) {
    let seen = async {
        while !consul.asked().iter().any(|path| path.starts_with(start)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, seen).await.unwrap();
}

async fn lose(meanwhile: Meanwhile, first: &str, index: Index) {
    let second = if first == CHECKS { NAMES } else { CHECKS };
    let consul = Consul::start().await;
    consul.change(fill_before);
    let mut watching = Watching::start(&consul, |_| {});
    watching
        .until(&[("w1", 80), ("d1", 90), ("o1", 70), ("lb1", 1)])
        .await;
    let stall = |catalog: &mut Catalog, path: &str| match meanwhile {
        Meanwhile::Refuses => catalog.fail(path),
        Meanwhile::Garbles => catalog.garble(path, "<html>"),
        Meanwhile::Waits => catalog.silence(path),
    };
    if matches!(meanwhile, Meanwhile::Waits) {
        consul.change(|catalog| stall(catalog, second));
    } else {
        // A held question is only refused when it wakes.
        consul.change(|catalog| {
            stall(catalog, CHECKS);
            stall(catalog, NAMES);
            catalog.check("w1", "passing");
            catalog.silently("w1", 80);
            catalog.index = BEFORE;
        });
        let mut failed = std::collections::BTreeSet::new();
        while failed.len() < 2 {
            failed.insert(watching.trouble().await.0);
        }
    }
    consul.asked();
    consul.change(|catalog| {
        catalog.mend();
        stall(catalog, second);
        index.fill(catalog);
    });
    asked(&consul, "/v1/health/service/db").await;
    consul.change(Catalog::mend);
    watching
        .until(&[("w1", 80), ("d1", 90), ("o1", 70), ("lb1", 2), ("l1", 3)])
        .await;
    // Each counts again as soon as it has registered; what has not stays.
    consul.change(|catalog| catalog.service("web", "w1", 81));
    watching
        .until(&[("w1", 81), ("d1", 90), ("o1", 70), ("lb1", 2), ("l1", 3)])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_that_lost_its_memory_is_noticed_whatever_comes_first() {
    let mut cases = tokio::task::JoinSet::new();
    for first in [CHECKS, NAMES] {
        for index in [Index::Lower, Index::Equal, Index::Higher, Index::FarHigher] {
            for meanwhile in [Meanwhile::Refuses, Meanwhile::Garbles] {
                cases.spawn(async move {
                    let case = tokio::spawn(lose(meanwhile, first, index));
                    (format!("{meanwhile:?}, {first} first, {index:?}"), case.await)
                });
            }
        }
        // Where nothing failed, a question after the very index is simply held.
        for index in [Index::Lower, Index::Higher] {
            cases.spawn(async move {
                let case = tokio::spawn(lose(Meanwhile::Waits, first, index));
                (format!("waits, {first} first, {index:?}"), case.await)
            });
        }
    }
    let mut wrong = Vec::new();
    while let Some(ended) = cases.join_next().await {
        let (case, outcome) = ended.unwrap();
        wrong.extend(outcome.is_err().then_some(case));
    }
    assert!(wrong.is_empty(), "{} cases: {wrong:#?}", wrong.len());
}

#[tokio::test]
async fn what_was_known_earlier_outlives_a_catalog_that_lost_its_memory_before_the_first_picture() {
    let consul = Consul::start().await;
    consul.change(fill_before);
    let mut watching = Watching::start(&consul, |_| {});
    let earlier = watching
        .until(&[("w1", 80), ("d1", 90), ("o1", 70), ("lb1", 1)])
        .await;
    drop(watching);
    consul.change(|catalog| Index::Lower.fill(catalog));
    let mut watching = Watching::start_over(earlier, &consul, |_| {});
    watching
        .until(&[("w1", 80), ("d1", 90), ("o1", 70), ("lb1", 2), ("l1", 3)])
        .await;
}

#[tokio::test]
async fn what_left_while_nobody_watched_is_not_kept() {
    let consul = Consul::start().await;
    consul.change(fill_before);
    let mut watching = Watching::start(&consul, |_| {});
    let earlier = watching
        .until(&[("w1", 80), ("d1", 90), ("o1", 70), ("lb1", 1)])
        .await;
    drop(watching);
    consul.change(|catalog| catalog.remove("o1"));
    let mut watching = Watching::start_over(earlier, &consul, |_| {});
    watching.until(&[("w1", 80), ("d1", 90), ("lb1", 1)]).await;
}
