//! Much at once, in the wrong order, too late or not at all: what an engine does on a bad day.

use std::time::Instant;

use catalog::service::{META_CONTAINER, META_OWNER};

use super::engine::{Character, DOCKER, id};
use super::*;

fn names(prefix: &str, count: u16) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

async fn listened_to(engine: &Engine) {
    eventually("the stream is open", || engine.listeners() == 1).await;
}

/// L9, R1: nothing is counted on but that somebody says where to look.
#[tokio::test]
async fn five_hundred_that_start_at_once_and_go_at_once_cost_a_write_each_way() {
    let engine = with(&[]);
    let mut running = Running::start(&engine, Duration::from_secs(1));
    running.connection(|now| *now == Connection::Connected).await;
    listened_to(&engine).await;
    let names = names("n", 500);
    let names = texts(&names);
    for (name, port) in names.iter().zip(20_000..) {
        engine.put(name, true, port);
        engine.tell(name, "start", &json!({}));
    }
    running.holds(&names).await;
    for name in &names {
        engine.remove(name);
        engine.tell(name, "destroy", &json!({}));
    }
    running.holds(&[]).await;
    let operations = ["\"register\"", "\"refresh\"", "\"deregister\""];
    let writes = operations.map(|word| running.counted(&["lictor_registrator_writes_total", word]));
    assert_eq!(writes, [500, 0, 500]);
}

/// L10, L11, R2: an engine that takes no filter tells of everything, also while all is looked at.
#[tokio::test]
async fn a_flood_of_events_that_do_not_count_costs_no_look_and_hides_none_that_does() {
    let mut engine = Engine::playing(Character {
        filters: false,
        ..DOCKER
    });
    engine.put("a", true, 20_000);
    engine.start();
    let mut running = Running::start(&engine, Duration::from_millis(50));
    running.holds(&["a"]).await;
    listened_to(&engine).await;
    let (before, names) = (engine.inspections(), names("n", 50));
    for (name, port) in names.iter().zip(20_001..) {
        for _ in 0..25 {
            engine.tell("a", "exec_start: /bin/true", &json!({}));
            engine.tell("a", "exec_die", &json!({}));
        }
        engine.put(name, true, port);
        engine.tell(name, "start", &json!({}));
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    let mut all = texts(&names);
    all.push("a");
    running.holds(&all).await;
    let listings = engine.listings();
    eventually("another look at everything", || engine.listings() > listings + 1).await;
    // Each by its event, by the listing that shows it first, and every tenth listing asks for all.
    let asked = engine.inspections() - before;
    let thorough = (engine.listings() / 10 + 1) * all.len();
    assert!(
        asked <= 2 * names.len() + thorough,
        "{asked}, {thorough} of them due"
    );
    assert_eq!(
        running.counted(&["lictor_registrator_writes_total", "\"register\""]),
        51
    );
    assert_eq!(running.counted(&["lictor_registrator_events_total"]), 50);
}

/// L7: twenty begin and twenty end while nobody hears it.
#[tokio::test]
async fn what_happened_while_the_engine_was_not_heard_is_right_a_second_after_it_is() {
    let (old, new) = (names("old", 20), names("new", 20));
    let mut engine = with(&texts(&old));
    let mut running = Running::start(&engine, NEVER);
    running.holds(&texts(&old)).await;
    engine.stop().await;
    running
        .connection(|now| matches!(now, Connection::Waiting { .. }))
        .await;
    for (name, port) in new.iter().zip(21_000..) {
        engine.put(name, true, port);
    }
    old.iter().for_each(|name| engine.put(name, false, 0));
    assert_eq!(running.services.borrow().len(), 20, "nothing is proved yet");
    engine.start();
    running.connection(|now| *now == Connection::Connected).await;
    let heard = Instant::now();
    running.holds(&texts(&new)).await;
    assert!(heard.elapsed() < Duration::from_secs(1), "{:?}", heard.elapsed());
}

/// L32, R4: events say where to look, whatever they say and in whatever order.
#[tokio::test]
async fn an_end_that_is_told_before_its_beginning_leaves_no_ghost() {
    let engine = with(&["b"]);
    let mut running = Running::start(&engine, NEVER);
    running.holds(&["b"]).await;
    listened_to(&engine).await;
    for word in ["die", "start"] {
        // In the network of its host, the ports that it declares would be its.
        engine.put("a", false, 0);
        engine.change("a", "/HostConfig/NetworkMode", json!("host"));
        engine.tell("a", word, &json!({}));
    }
    // One that runs, of which both were told the wrong way round.
    engine.put("c", true, 20_001);
    engine.tell("c", "start", &json!({}));
    engine.tell("c", "die", &json!({"exitCode": "1"}));
    running.holds(&["b", "c"]).await;
    let passes = |services: &Services| services["t1:c:80"].checks[0].initial == Some(Health::Passing);
    running.until("c passes", passes).await;
}

/// L33.
#[tokio::test]
async fn a_container_that_is_gone_before_it_can_be_looked_at_is_no_failure() {
    let engine = with(&["a"]);
    let mut running = Running::start(&engine, NEVER);
    running.holds(&["a"]).await;
    listened_to(&engine).await;
    let before = engine.inspections();
    engine.tell("short", "start", &json!({}));
    engine.put("b", true, 20_001);
    engine.tell("b", "start", &json!({}));
    running.holds(&["a", "b"]).await;
    eventually("both were looked at", || engine.inspections() >= before + 2).await;
    assert!(running.failures() < 0.5);
}

/// L34, R16, R24: ten seconds, which is what one question may take.
#[tokio::test]
async fn a_container_of_which_nothing_can_be_learned_is_asked_for_again_and_holds_up_nobody() {
    let engine = with(&["a"]);
    engine.hold_inspection("stuck");
    engine.put("stuck", true, 20_001);
    let mut running = Running::start(&engine, NEVER);
    running.holds(&["a"]).await;
    listened_to(&engine).await;
    engine.put("b", true, 20_002);
    engine.tell("b", "start", &json!({}));
    running.holds(&["a", "b"]).await;
    assert!(running.failures() < 0.5, "nobody waited for it");
    engine.mend();
    running.holds(&["a", "b", "stuck"]).await;
    assert!(running.failures() > 0.5);
}

/// L41: the moment from which events are asked for is the engine's own, and follows its clock back.
#[tokio::test]
async fn an_engine_whose_clock_jumps_is_asked_from_its_own_present_on() {
    let since = |engine: &Engine| {
        let asked = engine.asked();
        let asked = asked.iter().rfind(|path| path.contains("/events?")).unwrap();
        let since = asked.split("since=").nth(1).unwrap();
        since.split(['.', '&']).next().unwrap().parse::<u64>().unwrap()
    };
    let noon = 1_767_268_800;
    let engine = with(&["a"]);
    engine.set_clock("2026-01-01T12:00:00Z");
    let mut running = Running::start(&engine, NEVER);
    running.holds(&["a"]).await;
    listened_to(&engine).await;
    assert_eq!(since(&engine), noon);
    for (now, hour, port) in [
        ("2026-01-01T11:00:00Z", 11, 20_001),
        ("2026-01-01T13:00:00Z", 11, 20_002),
        ("2026-01-01T10:00:00Z", 10, 20_003),
    ] {
        engine.set_clock(now);
        engine.put("a", true, port);
        engine.cut();
        let moved = move |services: &Services| services["t1:a:80"].service.port == port;
        running.until("the new port", moved).await;
        listened_to(&engine).await;
        assert_eq!(since(&engine), noon - 12 * 3600 + hour * 3600, "{now}");
    }
}

/// L50: ninety-nine of a hundred entries stand for containers that are long gone.
#[tokio::test]
async fn ten_thousand_entries_that_nobody_accounts_for_are_gone_in_seconds() {
    let names = names("n", 100);
    let engine = with(&texts(&names));
    let (memory, mut left) = watch::channel(Services::new());
    memory.send_modify(|services| {
        for number in 0..9_900 {
            let mut dead = Registration::default();
            dead.service.id = format!("t1:dead{number}:80").into();
            let marks = [
                (META_OWNER, "me".to_owned()),
                (META_CONTAINER, id(&number.to_string())),
            ];
            let meta = &mut dead.service.meta;
            meta.extend(marks.map(|(key, value)| (key.to_owned(), value)));
            services.insert(dead.service.id.to_string(), dead);
        }
    });
    let began = Instant::now();
    let running = Running::beside(vec![Arc::new(Memory(memory))], &engine, NEVER);
    let right = left.wait_for(|services| services.len() == 100 && services.contains_key("t1:n7:80"));
    tokio::time::timeout(Duration::from_secs(60), right)
        .await
        .unwrap()
        .unwrap();
    println!("right after {:?}", began.elapsed());
    running.stop().await;
}
