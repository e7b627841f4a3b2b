//! What comes back from disk.

use std::os::unix::fs::PermissionsExt as _;

use catalog::check::CheckSpec;
use catalog::node::NodeSpec;
use catalog::{Check, Node, Service, ServiceSpec, Status};

use super::*;

fn instance(id: &str) -> Arc<Instance> {
    let node = Node {
        spec: NodeSpec {
            name: "n1".into(),
            address: "10.0.0.1".to_owned(),
            ..NodeSpec::default()
        },
        created: 1,
        modified: 2,
    };
    let service = Service {
        spec: ServiceSpec {
            id: id.into(),
            name: "web".into(),
            tags: vec!["urlprefix-/".to_owned()],
            port: 80,
            ..ServiceSpec::default()
        },
        created: 3,
        modified: 4,
    };
    let check = Check {
        node: "n1".into(),
        spec: CheckSpec {
            id: "service:web".into(),
            name: "answers".to_owned(),
            status: Status::Warning,
            notes: String::new(),
            output: "slow".to_owned(),
            service_id: Some(id.into()),
            kind: "http".to_owned(),
        },
        service_name: "web".into(),
        service_tags: service.spec.tags.clone(),
        created: 5,
        modified: 6,
    };
    Arc::new(Instance {
        node: Arc::new(node),
        service: Arc::new(service),
        checks: vec![Arc::new(check)],
    })
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_is_shown_again_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("routes.json");
    let snapshot = Snapshot::at(&path.to_string_lossy());
    assert!(snapshot.read().is_none());
    let (outs, _inputs) = Outs::new();
    let picture: Picture = ["a", "b"]
        .map(instance)
        .into_iter()
        .map(|found| (found.key(), found))
        .collect();
    outs.instances.send_replace(picture.clone());
    outs.overrides.send_replace("route del web".into());
    outs.no_route.send_replace("<p>".into());
    let metrics = Metrics::new();
    let written = async {
        while !path.exists() {
            tokio::task::yield_now().await;
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    outs.known.send_replace(true);
    tokio::select! {
        () = snapshot.keep(&outs, "dc7", &metrics) => {}
        () = written => {}
    }
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let restored = snapshot.read().unwrap();
    assert_eq!(restored.datacenter, "dc7");
    assert!(picture.iter().zip(&restored.instances).all(|(a, b)| a == b));
    assert_eq!(restored.instances.len(), 2);
    assert_eq!(
        (&*restored.overrides, &*restored.no_route),
        ("route del web", "<p>")
    );
}

#[test]
fn a_snapshot_that_cannot_be_read_is_as_good_as_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("routes.json");
    for text in [
        "",
        "{",
        "{\"version\":2,\"datacenter\":\"\",\"instances\":[],\"overrides\":\"\",\"no_route\":\"\"}",
    ] {
        std::fs::write(&path, text).unwrap();
        assert!(Snapshot::at(&path.to_string_lossy()).read().is_none(), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_writing_that_fails_is_counted() {
    let snapshot = Snapshot::at("/nowhere/at/all/routes.json");
    let (outs, _inputs) = Outs::new();
    let metrics = Metrics::new();
    outs.known.send_replace(true);
    let changes = async {
        for times in 1..=3 {
            outs.overrides
                .send_replace(format!("route del web{times}").into());
            while metrics.counted("snapshot_failures_total") < times {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    };
    tokio::select! {
        () = snapshot.keep(&outs, "dc7", &metrics) => {}
        within = tokio::time::timeout(Duration::from_secs(600), changes) => within.unwrap(),
    }
}
