//! Workers of a swarm, which answer for no service. What they say is recorded from Docker 20.10; managers are real in
//! `tests/swarm.rs`.

use super::*;

/// What a worker answers whoever asks for the service of a task.
const SERVICE: &str = "/services/ivt0v6viilifdvkj145pmjrzh";
const INGRESS: &str = "/networks/ingress";
const REFUSED: &str = "503 Service Unavailable";
const ENTRY: &str = "t1:shop_web:8000";

fn recorded(name: &str) -> serde_json::Value {
    let path = format!("{}/tests/recorded/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A worker with these tasks of one service.
fn worker(names: &[&str]) -> Engine {
    let mut engine = Engine::new();
    for name in names {
        engine.put_answer(name, &recorded("swarm-task"));
    }
    let refusal = json!({"message": "This node is not a swarm manager."});
    engine.answer(SERVICE, REFUSED, &refusal);
    engine.answer(INGRESS, "200 OK", &recorded("engines/swarm-ingress"));
    engine.start();
    engine
}

fn is_published(services: &Services) -> bool {
    services.len() == 1
        && services[ENTRY].service.port == 8080
        && services[ENTRY].service.address == "10.0.0.1"
}

fn times_asked(engine: &Engine, path: &str) -> usize {
    let asked = engine.asked();
    asked.iter().filter(|asked| asked.contains(path)).count()
}

#[tokio::test]
async fn a_worker_tells_what_its_ingress_network_brings_and_is_asked_for_a_service_once() {
    let engine = worker(&["one", "two"]);
    let mut running = Running::start(&engine, Duration::from_millis(50));
    running.until("one entry for both tasks", is_published).await;
    eventually("both were looked at", || times_asked(&engine, INGRESS) >= 2).await;
    engine.put_answer("three", &recorded("swarm-task"));
    engine.tell("three", "start", &json!({}));
    eventually("the third, too", || times_asked(&engine, INGRESS) >= 3).await;
    assert!(
        times_asked(&engine, SERVICE) <= 2,
        "those that were asked about side by side"
    );
    assert_eq!(
        times_asked(&engine, "/networks/ingress?verbose=true"),
        times_asked(&engine, INGRESS),
        "only the whole answer has services"
    );
    assert!(is_published(&running.services.borrow()));
}

#[tokio::test]
async fn a_task_that_its_worker_lets_in_a_moment_after_its_start_needs_no_event_to_be_found() {
    let engine = worker(&[]);
    engine.answer(INGRESS, "200 OK", &json!({"Services": {}}));
    let mut running = Running::start(&engine, NEVER);
    eventually("the stream is open", || engine.listeners() == 1).await;
    engine.put_answer("one", &recorded("swarm-task"));
    engine.tell("one", "start", &json!({}));
    eventually("it was not there at first", || times_asked(&engine, INGRESS) >= 2).await;
    assert!(running.services.borrow().is_empty());
    engine.answer(INGRESS, "200 OK", &recorded("engines/swarm-ingress"));
    running.until("the entry", is_published).await;
}

#[tokio::test]
async fn where_nobody_may_ask_the_task_is_left_out_with_a_complaint_and_others_are_not() {
    let engine = worker(&["one"]);
    engine.answer(INGRESS, "403 Forbidden", &json!({"message": "not for you"}));
    engine.put("a", true, 20_000);
    let mut running = Running::start(&engine, NEVER);
    running.holds(&["a"]).await;
    let complaints = || {
        let families = running.metrics.gather();
        let family = families
            .iter()
            .find(|family| family.name() == "lictor_registrator_bad_metadata_total");
        family.map(|family| family.get_metric()[0].get_counter().get_value())
    };
    eventually("a complaint", || complaints() == Some(1.0)).await;
    assert_eq!(running.failures(), 0.0);
}
