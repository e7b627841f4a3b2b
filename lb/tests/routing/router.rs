//! The router: what swaps a table, what does not, and what survives.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use lb::config::Strategy;
use lb::router::Router;
use lb::table::{Asker, Choice, Served, UnderWay};
use lb::{Bounds, Config};
use prometheus::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::picture::picture;

fn router(registry: &Registry) -> Router {
    Router::new(Arc::new(Config::default()), watch::Sender::new(false), registry).unwrap()
}

fn value(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let metric = &family.get_metric()[0];
    metric.get_gauge().get_value() + metric.get_counter().get_value()
}

#[test]
fn a_picture_that_changes_no_route_swaps_no_table() {
    let mut router = router(&Registry::new());
    assert!(router.update(picture("web 10.0.0.1:80 check=passing\n  urlprefix-/")));
    let before = router.live().load_full();
    assert!(!router.update(picture("web 10.0.0.1:80 check=passing\n  urlprefix-/")));
    // Another check, the same verdict; another service, nothing to route, on a node known already.
    assert!(!router.update(picture(
        "web 10.0.0.1:80 check=passing check=warning\n  urlprefix-/\ndb 10.0.0.2:5"
    )));
    assert!(Arc::ptr_eq(&before, &router.live().load_full()));
    assert!(router.update(picture("web 10.0.0.1:80 check=critical\n  urlprefix-/")));
    assert!(
        router
            .live()
            .load()
            .http("any", "/", false)
            .unwrap()
            .targets
            .is_empty()
    );
    assert!(router.update(picture("")));
    assert!(router.live().load().http("any", "/", false).is_none());
}

#[test]
fn the_name_of_a_node_is_ours_while_an_instance_is_on_it() {
    let mut router = router(&Registry::new());
    let web = "web 10.0.0.1:80 node=n1 base=web cport=80";
    let answers = |router: &Router| router.live().load().http("web.n2", "/", false).is_some();
    router.update(picture(web));
    assert!(!answers(&router));
    let db = |id: &str| format!("\ndb 10.0.0.2:5 node=n2 id={id}");
    assert!(router.update(picture(&format!("{web}{}", db("one")))));
    assert!(answers(&router));
    assert!(!router.update(picture(&format!("{web}{}{}", db("one"), db("two")))));
    assert!(!router.update(picture(&format!("{web}{}", db("two")))));
    assert!(answers(&router));
    assert!(router.update(picture(web)));
    assert!(!answers(&router));
}

#[test]
fn counters_and_turns_outlive_tables_and_go_with_their_target() {
    let mut router = router(&Registry::new());
    let both = "web 10.0.0.1:80\n  urlprefix-/\nweb 10.0.0.2:80\n  urlprefix-/";
    router.update(picture(both));
    let first = router.live().load_full();
    let route = first.http("", "/", false).unwrap();
    let served = Served {
        status: Some(200),
        took: Duration::from_millis(20),
        rx: 10,
        tx: 20,
    };
    route.targets[0].stats.record(0, served, &Bounds::default());
    let asker = Asker {
        worker: 0,
        client: Ipv4Addr::LOCALHOST.into(),
        headers: None,
        random: &|| 0,
    };
    assert_eq!(route.choice(&Strategy::Rr, &asker), Choice::Turn(0));
    let under_way = UnderWay::at(route.targets[0].clone(), 0);

    router.update(picture("web 10.0.0.1:80\n  urlprefix-/"));
    let second = router.live().load_full();
    let route = second.http("", "/", false).unwrap();
    let snapshot = route.targets[0].stats.snapshot(&Bounds::default());
    assert_eq!(
        (snapshot.requests(), snapshot.classes[2], snapshot.rx, snapshot.tx),
        (1, 1, 10, 20)
    );
    assert_eq!(snapshot.times.at_most(&[0.01, 0.025]), [0, 1]);
    assert_eq!(route.choice(&Strategy::Rr, &asker), Choice::Turn(1));
    assert_eq!(route.targets[0].stats.under_way(), 1);
    drop(under_way);
    assert_eq!(route.targets[0].stats.under_way(), 0);

    let target = Arc::downgrade(&first.http("", "/", false).unwrap().targets[1]);
    drop((first, second));
    router.update(picture(""));
    assert!(target.upgrade().is_none());
}

#[test]
fn bad_tags_are_counted_once_per_change() {
    let registry = Registry::new();
    let mut router = router(&registry);
    router.update(picture("web 10.0.0.1:80\n  urlprefix-/ weight=x\n  urlprefix-/"));
    router.update(picture("web 10.0.0.1:80\n  urlprefix-/ weight=x\n  urlprefix-/b"));
    assert_eq!(value(&registry, "lictor_lb_skipped_tags"), 1.0);
    assert_eq!(value(&registry, "lictor_lb_skipped_tags_total"), 1.0);
    assert_eq!(value(&registry, "lictor_lb_routes"), 1.0);
    router.update(picture("web 10.0.0.1:80\n  urlprefix-/b"));
    assert_eq!(value(&registry, "lictor_lb_skipped_tags"), 0.0);
}

#[test]
fn commands_are_followed_and_what_is_wrong_with_them_is_counted_once() {
    let registry = Registry::new();
    let mut router = router(&registry);
    router.update(picture(
        "web 10.0.0.1:80\n  urlprefix-/\nweb 10.0.0.2:80\n  urlprefix-/b",
    ));
    let untouched = router.live().load().http("", "/b", false).unwrap().clone();
    assert!(router.command("route add web /a http://10.0.0.9:80/\nrubbish".into()));
    assert_eq!(value(&registry, "lictor_lb_skipped_commands"), 1.0);
    assert!(
        router
            .live()
            .load()
            .http("", "/a", false)
            .is_some_and(|route| &*route.path == "/a")
    );
    // The same text is no news; the same complaint in another text is none either.
    assert!(!router.command("route add web /a http://10.0.0.9:80/\nrubbish".into()));
    assert!(router.command("route weight web / weight 0.5\nrubbish".into()));
    assert_eq!(value(&registry, "lictor_lb_skipped_commands_total"), 1.0);
    assert_eq!(value(&registry, "lictor_lb_noted_tags_total"), 0.0);
    assert_eq!(value(&registry, "lictor_lb_skipped_tags"), 0.0);
    assert!(router.command("route weight web /nowhere weight 0.5".into()));
    assert_eq!(value(&registry, "lictor_lb_noted_tags_total"), 1.0);
    assert_eq!(value(&registry, "lictor_lb_skipped_commands"), 0.0);
    let route = router.live().load().http("", "/b", false).unwrap().clone();
    assert!(Arc::ptr_eq(&route, &untouched), "no command was about it");
}

#[tokio::test]
async fn it_is_ready_with_the_first_table_follows_pictures_and_ends_when_told() {
    let (pictures, instances) = watch::channel(picture("web 10.0.0.1:80\n  urlprefix-/"));
    let (commander, commands) = watch::channel(Arc::from("route add x /added http://10.0.0.9:80/"));
    let ready = watch::Sender::new(false);
    let mut is_ready = ready.subscribe();
    let registry = Registry::new();
    let router = Router::new(Arc::new(Config::default()), ready.clone(), &registry).unwrap();
    let live = router.live();
    let stop = CancellationToken::new();
    let running = tokio::spawn(router.run(instances, commands, stop.clone()));
    let within = Duration::from_secs(10);
    tokio::time::timeout(within, is_ready.wait_for(|ready| *ready))
        .await
        .unwrap()
        .unwrap();
    assert!(live.load().http("", "/", false).is_some());

    // Readiness withdrawn stays withdrawn, whatever pictures come.
    ready.send_replace(false);
    pictures
        .send(picture("web 10.0.0.1:80\n  urlprefix-/other"))
        .unwrap();
    let swapped = async {
        while live.load().http("", "/", false).is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(within, swapped).await.unwrap();
    assert!(live.load().http("", "/other", false).is_some());
    assert!(!*ready.borrow());

    assert!(live.load().http("", "/added", false).is_some());
    commander.send("".into()).unwrap();
    let swapped = async {
        while live.load().http("", "/added", false).is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(within, swapped).await.unwrap();

    // Nobody left to send commands, or pictures: the table stays, and that is counted.
    drop(commander);
    drop(pictures);
    let ended = async {
        while value(&registry, "lictor_lb_source_ended_total") < 1.0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(within, ended).await.unwrap();
    stop.cancel();
    tokio::time::timeout(within, running).await.unwrap().unwrap();
    assert!(live.load().http("", "/other", false).is_some());
}
