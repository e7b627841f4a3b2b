//! The watch against a Consul that says exactly what it is told to, and fails when it is told to.

#![allow(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod memory;
mod scripted;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::client::{Client, Config, Consistency};
use api::watch::{self, Question, watch};
use catalog::Picture;
use tokio::sync::{mpsc, watch as latest};
use tokio::task::JoinHandle;

use scripted::Consul;

/// A passing test never waits for it.
const SOON: Duration = Duration::from_secs(20);

/// A watch under way.
struct Watching {
    pictures: latest::Receiver<Picture>,
    told: mpsc::UnboundedReceiver<(Question, Option<String>)>,
    task: JoinHandle<()>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watching {
    fn start(consul: &Consul, adjust: impl FnOnce(&mut watch::Config)) -> Self {
        Self::start_over(Picture::new(), consul, adjust)
    }

    /// With a picture from earlier in the place of the first one.
    fn start_over(earlier: Picture, consul: &Consul, adjust: impl FnOnce(&mut watch::Config)) -> Self {
        let mut client = Config::new(consul.address.to_string());
        client.timeout = Duration::from_millis(500);
        let mut config = watch::Config::new(Client::new(&client).unwrap());
        config.sweep_gap = Duration::from_millis(50);
        config.slow_sweep = Duration::from_secs(3600);
        adjust(&mut config);
        let (out, pictures) = latest::channel(earlier);
        let (tell, told) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let tell = move |question, trouble: Option<&api::ClientError>| {
                let _ = tell.send((question, trouble.map(ToString::to_string)));
            };
            watch(config, &out, tell).await;
        });
        Self { pictures, told, task }
    }

    /// Waits until the picture's ports are these, by id.
    async fn until(&mut self, wanted: &[(&str, u16)]) -> Picture {
        let show = |picture: &Picture| -> BTreeSet<(String, u16)> {
            let ids = picture.values();
            ids.map(|found| (found.service.spec.id.to_string(), found.service.spec.port))
                .collect()
        };
        let wanted: BTreeSet<_> = wanted
            .iter()
            .map(|(id, port)| ((*id).to_owned(), *port))
            .collect();
        let found = async {
            self.pictures
                .wait_for(|picture| show(picture) == wanted)
                .await
                .unwrap()
                .clone()
        };
        let found = tokio::time::timeout(SOON, found).await;
        found.unwrap_or_else(|_| panic!("wanted {wanted:?}, seen {:?}", show(&self.pictures.borrow())))
    }

    async fn trouble(&mut self) -> (Question, String) {
        let told = async {
            loop {
                if let (question, Some(error)) = self.told.recv().await.unwrap() {
                    return (question, error);
                }
            }
        };
        tokio::time::timeout(SOON, told).await.unwrap()
    }
}

#[tokio::test]
async fn a_service_that_cannot_be_read_keeps_what_was_known_of_it() {
    let consul = Consul::start().await;
    consul.change(|catalog| {
        catalog.service("web", "w1", 80);
        catalog.service("db", "d1", 90);
    });
    let mut watching = Watching::start(&consul, |_| {});
    watching.until(&[("w1", 80), ("d1", 90)]).await;
    consul.change(|catalog| {
        catalog.fail("/v1/health/service/web");
        catalog.service("web", "w1", 81);
        catalog.service("db", "d1", 91);
    });
    // The one that can be read is not held up, the other one is not dropped.
    watching.until(&[("w1", 80), ("d1", 91)]).await;
    let (question, error) = watching.trouble().await;
    assert!(question == Question::Service && error.contains("500"), "{error}");
    consul.change(scripted::Catalog::mend);
    watching.until(&[("w1", 81), ("d1", 91)]).await;
}

#[tokio::test]
async fn a_service_that_never_could_be_read_does_not_keep_the_others_from_being_served() {
    let consul = Consul::start().await;
    consul.change(|catalog| {
        catalog.service("web", "w1", 80);
        catalog.service("db", "d1", 90);
        catalog.service("odd", "o1", 1);
        catalog.fail("/v1/health/service/odd");
    });
    let mut watching = Watching::start(&consul, |_| {});
    watching.until(&[("w1", 80), ("d1", 90)]).await;
    consul.change(scripted::Catalog::mend);
    watching.until(&[("w1", 80), ("d1", 90), ("o1", 1)]).await;
}

#[tokio::test]
async fn a_catalog_that_fails_altogether_draws_nothing_and_changes_nothing() {
    let consul = Consul::start().await;
    consul.change(|catalog| {
        catalog.service("web", "w1", 80);
        catalog.service("db", "d1", 90);
        catalog.service("cache", "d2", 91);
        catalog.fail("/v1/health/service/");
    });
    let mut watching = Watching::start(&consul, |_| {});
    for _ in 0..4 {
        watching.trouble().await;
    }
    assert!(!watching.pictures.has_changed().unwrap());
    consul.change(scripted::Catalog::mend);
    watching.until(&[("w1", 80), ("d1", 90), ("d2", 91)]).await;
    consul.change(|catalog| catalog.fail("/v1/"));
    watching.trouble().await;
    watching.trouble().await;
    assert_eq!(watching.pictures.borrow().len(), 3);
    consul.change(|catalog| {
        catalog.mend();
        catalog.remove("w1");
    });
    watching.until(&[("d1", 90), ("d2", 91)]).await;
}

#[tokio::test]
async fn an_answer_that_is_no_list_is_asked_for_again_and_drops_nothing() {
    let consul = Consul::start().await;
    consul.change(|catalog| catalog.service("web", "w1", 80));
    let mut watching = Watching::start(&consul, |_| {});
    watching.until(&[("w1", 80)]).await;
    consul.change(|catalog| {
        catalog.garble("/v1/health/state/any", "<html>busy</html>");
        catalog.garble("/v1/catalog/services", "{\"web\": [");
        catalog.service("web", "w1", 81);
    });
    let (_, error) = watching.trouble().await;
    assert!(error.contains("cannot read the answer"), "{error}");
    assert_eq!(watching.pictures.borrow().len(), 1);
    consul.change(scripted::Catalog::mend);
    watching.until(&[("w1", 81)]).await;
}

#[tokio::test]
async fn an_index_that_goes_backwards_is_followed() {
    let consul = Consul::start().await;
    consul.change(|catalog| {
        catalog.index = 1000;
        catalog.service("web", "w1", 80);
    });
    let mut watching = Watching::start(&consul, |_| {});
    watching.until(&[("w1", 80)]).await;
    consul.change(|catalog| {
        catalog.index = 10;
        catalog.service("web", "w1", 85);
    });
    watching.until(&[("w1", 85)]).await;
    consul.change(|catalog| catalog.service("web", "w1", 86));
    watching.until(&[("w1", 86)]).await;
}

#[tokio::test]
async fn a_catalog_that_lost_its_memory_costs_no_route_until_it_had_time_to_be_told_again() {
    let consul = Consul::start().await;
    consul.change(|catalog| {
        catalog.index = 1000;
        catalog.service("web", "w1", 80);
        catalog.service("db", "d1", 90);
        catalog.service("old", "o1", 70);
    });
    let hold = Duration::from_millis(1500);
    let mut watching = Watching::start(&consul, |config| config.keep_over_restart = hold);
    watching.until(&[("w1", 80), ("d1", 90), ("o1", 70)]).await;
    let restarted = std::time::Instant::now();
    consul.change(|catalog| {
        catalog.index = 10;
        catalog.remove("w1");
        catalog.remove("d1");
        catalog.remove("o1");
    });
    consul.change(|catalog| catalog.service("web", "w1", 81));
    watching.until(&[("w1", 81), ("d1", 90), ("o1", 70)]).await;
    consul.change(|catalog| catalog.service("db", "d1", 90));
    watching.until(&[("w1", 81), ("d1", 90)]).await;
    assert!(restarted.elapsed() >= hold);
    // From then on gone is gone.
    consul.change(|catalog| catalog.remove("w1"));
    watching.until(&[("d1", 90)]).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_left_and_asked_anew() {
    let consul = Consul::start().await;
    consul.change(|catalog| catalog.service("web", "w1", 80));
    let mut watching = Watching::start(&consul, |config| {
        config.query.wait = Some(Duration::from_millis(300));
    });
    watching.until(&[("w1", 80)]).await;
    consul.change(|catalog| {
        catalog.hang = true;
        catalog.service("web", "w1", 82);
    });
    let (_, error) = watching.trouble().await;
    assert!(error.contains("no answer within"), "{error}");
    consul.change(|catalog| catalog.hang = false);
    watching.until(&[("w1", 82)]).await;
}

#[tokio::test]
async fn one_changed_check_costs_one_question() {
    let consul = Consul::start().await;
    consul.change(|catalog| {
        for n in 0..300_u16 {
            catalog.service(&format!("s{n}"), &format!("i{n}"), n + 1);
        }
    });
    let mut watching = Watching::start(&consul, |_| {});
    let all = |picture: &Picture| picture.len() == 300;
    tokio::time::timeout(SOON, watching.pictures.wait_for(all))
        .await
        .unwrap()
        .unwrap();
    consul.asked();
    consul.change(|catalog| catalog.check("i7", "critical"));
    let flipped = |picture: &Picture| {
        picture
            .values()
            .any(|found| found.status() == catalog::Status::Critical)
    };
    tokio::time::timeout(SOON, watching.pictures.wait_for(flipped))
        .await
        .unwrap()
        .unwrap();
    let asked = consul.asked();
    assert!(asked.contains("/v1/health/service/s7"), "{asked:?}");
    assert!(asked.len() <= 2, "{asked:?}");
    // A registration shows in both lists; it explains their index, so nothing else is looked for.
    consul.change(|catalog| {
        catalog.service("s8", "i8", 8000);
        catalog.check("i8", "passing");
    });
    let moved = |picture: &Picture| picture.values().any(|found| found.service.spec.port == 8000);
    tokio::time::timeout(SOON, watching.pictures.wait_for(moved))
        .await
        .unwrap()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    let asked = consul.asked();
    assert!(
        !asked.iter().any(|path| path.starts_with("/v1/catalog/node")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_change_that_shows_nowhere_is_found_by_its_version() {
    let consul = Consul::start().await;
    consul.change(|catalog| {
        catalog.service("web", "w1", 80);
        catalog.service("db", "d1", 90);
    });
    let mut watching = Watching::start(&consul, |_| {});
    watching.until(&[("w1", 80), ("d1", 90)]).await;
    consul.asked();
    consul.change(|catalog| catalog.silently("d1", 99));
    watching.until(&[("w1", 80), ("d1", 99)]).await;
    let asked = consul.asked();
    assert!(asked.contains("/v1/catalog/node/n1"), "{asked:?}");
    assert!(!asked.contains("/v1/health/service/web"), "{asked:?}");
}

#[tokio::test]
async fn a_change_that_shows_nowhere_is_found_though_one_that_shows_follows_at_once() {
    let consul = Consul::start().await;
    consul.change(|catalog| {
        catalog.service("web", "w1", 80);
        catalog.service("db", "d1", 90);
    });
    let mut watching = Watching::start(&consul, |_| {});
    watching.until(&[("w1", 80), ("d1", 90)]).await;
    let mut index = 1;
    // Told of one by one,
    consul.change(|catalog| {
        catalog.silently("d1", 91);
        index = catalog.index;
    });
    let heard = format!("/v1/catalog/services?index={index}");
    let asks_on = async {
        while !consul.queries().iter().any(|query| query.starts_with(&heard)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, asks_on).await.unwrap();
    consul.change(|catalog| catalog.service("web", "w1", 81));
    watching.until(&[("w1", 81), ("d1", 91)]).await;
    // and in one answer; also where what shows is that something left.
    consul.change(|catalog| catalog.silently("d1", 92));
    consul.change(|catalog| catalog.service("web", "w1", 82));
    watching.until(&[("w1", 82), ("d1", 92)]).await;
    consul.change(|catalog| catalog.silently("d1", 93));
    consul.change(|catalog| catalog.remove("w1"));
    watching.until(&[("d1", 93)]).await;
}

#[tokio::test]
async fn changes_that_do_not_end_put_off_no_comparison() {
    let consul = Consul::start().await;
    consul.change(|catalog| {
        catalog.service("web", "w1", 80);
        catalog.service("db", "d1", 90);
    });
    let mut watching = Watching::start(&consul, |_| {});
    watching.until(&[("w1", 80), ("d1", 90)]).await;
    consul.change(|catalog| catalog.silently("d1", 91));
    let busy = async {
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        for port in 1000.. {
            pace.tick().await;
            consul.change(|catalog| catalog.silently("w1", port));
        }
    };
    let moved = |picture: &Picture| picture.values().any(|found| found.service.spec.port == 91);
    tokio::select! {
        () = busy => {}
        found = tokio::time::timeout(SOON, watching.pictures.wait_for(moved)) => drop(found.unwrap().unwrap()),
    }
}

#[tokio::test]
async fn a_node_check_is_taken_over_without_a_question() {
    let consul = Consul::start().await;
    consul.change(|catalog| {
        catalog.service("web", "w1", 80);
        catalog.service("db", "d1", 90);
    });
    let mut watching = Watching::start(&consul, |_| {});
    let before = watching.until(&[("w1", 80), ("d1", 90)]).await;
    consul.asked();
    consul.change(|catalog| catalog.node_check(Some("critical")));
    let all = |status| move |picture: &Picture| picture.values().all(|found| found.status() == status);
    let down = watching.pictures.wait_for(all(catalog::Status::Critical));
    tokio::time::timeout(SOON, down).await.unwrap().unwrap();
    consul.change(|catalog| catalog.node_check(None));
    let up = watching.pictures.wait_for(all(catalog::Status::Passing));
    let after = tokio::time::timeout(SOON, up).await.unwrap().unwrap().clone();
    let asked = consul.asked();
    assert!(
        !asked.iter().any(|path| path.starts_with("/v1/health/service")),
        "{asked:?}"
    );
    assert!(
        before
            .iter()
            .zip(&after)
            .all(|(before, after)| before.1 == after.1)
    );
}

#[tokio::test]
async fn a_catalog_that_is_polled_is_followed_as_well() {
    let consul = Consul::start().await;
    consul.change(|catalog| catalog.service("web", "w1", 80));
    let mut watching = Watching::start(&consul, |config| {
        config.every = Some(Duration::from_millis(50));
        config.query.consistency = Consistency::Stale;
    });
    watching.until(&[("w1", 80)]).await;
    consul.change(|catalog| catalog.service("web", "w1", 81));
    watching.until(&[("w1", 81)]).await;
    assert!(consul.queries().iter().all(|query| !query.contains("index=")));
    consul.asked();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let asked = consul.asked();
    assert_eq!(
        asked,
        BTreeSet::from([
            "/v1/catalog/services".to_owned(),
            "/v1/health/state/any".to_owned()
        ]),
        "an idle catalog is not swept because it is polled"
    );
}

#[tokio::test]
async fn what_the_caller_does_not_want_is_not_in_the_picture() {
    let consul = Consul::start().await;
    consul.change(|catalog| {
        catalog.service("web", "w1", 80);
        catalog.service("db", "d1", 90);
    });
    let mut watching = Watching::start(&consul, |config| {
        config.keep = Arc::new(|instance| &*instance.service.spec.name == "web");
    });
    watching.until(&[("w1", 80)]).await;
    consul.change(|catalog| catalog.silently("w1", 81));
    watching.until(&[("w1", 81)]).await;
}

#[tokio::test]
async fn what_is_there_under_another_name_or_not_wanted_any_more_leaves_at_once() {
    let consul = Consul::start().await;
    consul.change(|catalog| {
        catalog.service("web", "w1", 80);
        catalog.service("db", "d1", 90);
    });
    let mut watching = Watching::start(&consul, |config| {
        config.keep = Arc::new(|instance| instance.service.spec.port < 100);
    });
    watching.until(&[("w1", 80), ("d1", 90)]).await;
    consul.change(|catalog| catalog.service("api", "w1", 81));
    watching.until(&[("w1", 81), ("d1", 90)]).await;
    consul.change(|catalog| catalog.silently("d1", 900));
    watching.until(&[("w1", 81)]).await;
}
