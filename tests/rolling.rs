//! All instances of a service are replaced, ten times over, under steady load of every kind.

use serde_json::{Value, json};

use crate::harness::mixed::{Load, Server};
use crate::harness::{Agent, agent, http, unique, wait_for};

const INSTANCES: usize = 3;
const REPLACEMENTS: usize = 10;

/// One instance: a server, and the id it is registered under.
struct Instance {
    id: String,
    server: Server,
}

async fn start(agent: &Agent, service: &str, host: &str) -> Instance {
    let server = Server::start().await;
    let id = unique(service);
    let tags = [
        format!("urlprefix-{host}/"),
        format!("urlprefix-{host}/echo.Echo/ proto=grpc"),
    ];
    let port = server.addr.port();
    let body = json!({ "ID": id, "Name": service, "Address": "127.0.0.1", "Port": port, "Tags": tags });
    agent
        .tell("/v1/agent/service/register", &body)
        .expect("a service can be registered");
    Instance { id, server }
}

fn in_table(agent: &Agent, instance: &Instance) -> Result<bool, String> {
    let table = http::get(agent.ui(), "/api/routes").ok()?;
    Ok(table.contains(&format!(":{}/", instance.server.addr.port())))
}

fn await_table(agent: &Agent, instance: &Instance, wanted: bool) {
    wait_for("the table to follow the catalog", || {
        let there = in_table(agent, instance)?;
        if there == wanted {
            Ok(())
        } else {
            Err(format!("{} in table: {there}", instance.id))
        }
    });
}

#[test]
fn ten_rolling_replacements_under_http_websocket_and_grpc_fail_nothing() {
    let agent = agent().start();
    let (service, host) = (unique("rolling"), format!("{}.example", unique("rolling")));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be had");
    runtime.block_on(async {
        let mut instances = Vec::new();
        for _ in 0..INSTANCES {
            instances.push(start(&agent, &service, &host).await);
        }
        tokio::task::block_in_place(|| instances.iter().for_each(|each| await_table(&agent, each, true)));
        let load = Load::start(agent.proxy(), &host, 4);
        load.flow(20).await;
        for _ in 0..REPLACEMENTS {
            for place in &mut instances {
                let old = std::mem::replace(place, start(&agent, &service, &host).await);
                tokio::task::block_in_place(|| {
                    await_table(&agent, place, true);
                    agent
                        .tell(&format!("/v1/agent/service/deregister/{}", old.id), &Value::Null)
                        .expect("a service can be deregistered");
                    await_table(&agent, &old, false);
                });
                // What was on its way to it when it left has arrived: a server that hangs up on a request that comes
                // at that moment cannot have served it.
                load.flow(2).await;
                old.server.stop().await;
                load.flow(3).await;
            }
        }
        let (answers, failures) = load.stop().await;
        assert!(
            failures.is_empty(),
            "{} failed, at least {answers} of each client did not: {failures:#?}",
            failures.len(),
        );
        for instance in instances {
            instance.server.stop().await;
        }
    });
}
