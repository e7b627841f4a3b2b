//! What readers and waiters of the store can rely on.

use std::time::Duration;

use catalog::command::{KvCommand, Record};
use catalog::node::NodeSpec;
use catalog::service::ServiceSpec;

use super::*;

fn put(key: &str, value: &str) -> Command {
    Command::Kv(KvCommand::Set {
        key: key.into(),
        value: value.as_bytes().into(),
        flags: 0,
    })
}

fn service(name: &str, port: u16) -> Command {
    let node = NodeSpec {
        name: "n1".into(),
        address: "127.0.0.1".into(),
        ..NodeSpec::default()
    };
    let service = ServiceSpec {
        id: name.into(),
        name: name.into(),
        port,
        ..ServiceSpec::default()
    };
    Command::Register(Box::new(Record {
        node,
        service: Some(service),
        ..Record::default()
    }))
}

fn within(after: Index, limit: Duration) -> Option<Wait> {
    Some(Wait {
        after,
        until: Instant::now() + limit,
    })
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_write_that_changes_nothing_moves_no_index_and_wakes_nobody() {
    let store = Store::new(CancellationToken::new());
    store.propose(&put("a", "1")).await.unwrap();
    let before = store.read().index();
    let mut states = store.subscribe();
    store.propose(&put("a", "1")).await.unwrap();
    assert_eq!(store.read().index(), before);
    assert!(!states.has_changed().unwrap());
    states.mark_unchanged();
}

#[tokio::test(start_paused = true)]
async fn a_reader_wakes_for_its_own_service_and_not_for_another() {
    let store = Store::new(CancellationToken::new());
    store.propose(&service("web", 80)).await.unwrap();
    let after = store.read().instances_of("web").index;
    let waiting = {
        let store = store.clone();
        tokio::spawn(async move {
            store
                .wait(Interest::service("WEB"), within(after, LONG), |state| {
                    state.instances_of("web")
                })
                .await
        })
    };
    tokio::task::yield_now().await;
    store.propose(&service("db", 5432)).await.unwrap();
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    store.propose(&service("web", 81)).await.unwrap();
    let answer = waiting.await.unwrap();
    assert_eq!(answer.rows[0].service.spec.port, 81);
    assert!(answer.index > after);
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_prefix_wakes_for_a_key_under_it_and_for_its_deletion() {
    let store = Store::new(CancellationToken::new());
    for command in [
        put("app/a", "1"),
        Command::Kv(KvCommand::DeleteTree { prefix: "ap".into() }),
    ] {
        let after = store.read().index();
        let question = |state: &State| state.kv_under("app/");
        let wait = store.wait(Interest::Prefix("app/".into()), within(after, LONG), question);
        let (answer, _) = tokio::join!(wait, store.propose(&command));
        assert!(answer.index > after);
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_answers_with_what_there_is() {
    let store = Store::new(CancellationToken::new());
    let answer = store
        .wait(Interest::Nodes, within(99, Duration::from_secs(1)), State::nodes)
        .await;
    assert!(answer.rows.is_empty());
}

#[tokio::test]
async fn stopping_answers_everyone_who_waits() {
    let stop = CancellationToken::new();
    let store = Store::new(stop.clone());
    let waiting = store.wait(Interest::Nodes, within(99, LONG), State::nodes);
    stop.cancel();
    assert!(waiting.await.rows.is_empty());
}

#[tokio::test]
async fn a_reader_that_hangs_up_frees_its_seat() {
    let store = Store::new(CancellationToken::new());
    {
        let mut waiting = Box::pin(store.wait(Interest::Nodes, within(9, LONG), State::nodes));
        assert!(futures_poll(waiting.as_mut()).await);
        assert_eq!(store.seats().len(), 1);
    }
    assert!(store.seats().is_empty());
}

/// Polls once; true when it is still pending.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
}
