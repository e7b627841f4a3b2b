//! Answers field for field, on the wire.

use api::Query;

use super::*;

#[tokio::test]
async fn a_container_as_registrator_registers_it_shows_in_the_founding_documents_shape() {
    let server = Server::start().await;
    let body = json!({
        "ID": "host1:redis1:6379", "Name": "redis", "Address": "192.168.1.102", "Port": 32768, "Tags": ["a", "b"],
    });
    assert_eq!(server.put("/v1/agent/service/register", &body).await.status, 200);
    let answer = server.get("/v1/catalog/service/redis").await.json();
    let index = answer[0]["CreateIndex"].as_u64().unwrap();
    let at = json!({ "Address": "192.168.1.102", "Port": 32768 });
    let node_at = "127.0.0.1";
    let expected = json!([{
        "ID": "11111111-2222-3333-4444-555555555555",
        "Node": "n1",
        "Address": node_at,
        "Datacenter": "dc1",
        "TaggedAddresses": { "lan": node_at, "lan_ipv4": node_at, "wan": node_at, "wan_ipv4": node_at },
        "NodeMeta": { "consul-network-segment": "" },
        "ServiceKind": "",
        "ServiceID": "host1:redis1:6379",
        "ServiceName": "redis",
        "ServiceTags": ["a", "b"],
        "ServiceAddress": "192.168.1.102",
        "ServiceTaggedAddresses": { "lan_ipv4": at, "wan_ipv4": at },
        "ServiceWeights": { "Passing": 1, "Warning": 1 },
        "ServiceMeta": null,
        "ServicePort": 32768,
        "ServiceSocketPath": "",
        "ServiceEnableTagOverride": false,
        "ServiceProxy": { "Mode": "", "MeshGateway": {}, "Expose": {} },
        "ServiceConnect": {},
        "CreateIndex": index,
        "ModifyIndex": index,
    }]);
    assert_eq!(answer, expected);
    assert_eq!(server.get("/v1/catalog/service/none").await.body, "[]");
}

#[tokio::test]
async fn health_filters_by_state_tag_and_node() {
    let server = Server::start().await;
    server.register("a1", "a", Status::Passing).await;
    server.register("a2", "a", Status::Warning).await;
    let tagged = json!({ "Name": "a", "ID": "a3", "Tags": ["Blue"] });
    server.put("/v1/agent/service/register", &tagged).await;
    let ids = |query: &'static str| {
        let server = &server;
        async move {
            let rows = server.get(&format!("/v1/health/service/a{query}")).await.json();
            let ids = rows
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["Service"]["ID"].as_str().unwrap().to_owned());
            ids.collect::<Vec<_>>().join(" ")
        }
    };
    assert_eq!(ids("").await, "a1 a2 a3");
    assert_eq!(ids("?passing").await, "a1 a3");
    assert_eq!(ids("?passing=false").await, "a1 a2 a3");
    assert_eq!(ids("?tag=blue").await, "a3");
    assert_eq!(ids("?tag=blue&tag=green").await, "");
    assert_eq!(ids("?node-meta=consul-network-segment:").await, "a1 a2 a3");
    assert_eq!(ids("?node-meta=rack:1").await, "");
    let answer = server.get("/v1/health/service/a?passing=bad").await;
    assert_eq!(answer.error(), (400, "Invalid value for ?passing"));
    let checks = server.get("/v1/health/state/warning").await.json();
    assert_eq!(checks[0]["CheckID"], "service:a2");
    assert_eq!(checks.as_array().unwrap().len(), 1);
    assert_eq!(server.get("/v1/health/state/bogus").await.body, "[]");
    assert_eq!(
        server.get("/v1/health/state/").await.error(),
        (400, "Missing check state")
    );
    let of_node = server.get("/v1/health/node/n1").await.json();
    assert_eq!(of_node[0]["CheckID"], "serfHealth");
    assert_eq!(server.get("/v1/health/node/n9").await.body, "[]");
    assert_eq!(
        server
            .get("/v1/health/checks/a")
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn what_the_catalog_is_told_directly_shows_and_goes() {
    let server = Server::start().await;
    let body = json!({
        "Node": "ext1", "Address": "10.0.0.7",
        "Service": { "Service": "db", "Port": 5432 },
        "Check": { "Name": "alive", "ServiceID": "db", "Status": "passing" },
    });
    assert_eq!(server.put("/v1/catalog/register", &body).await.body, "true");
    let node = server.get("/v1/catalog/node/ext1").await.json();
    assert_eq!(node["Node"]["TaggedAddresses"], Value::Null);
    assert_eq!(node["Services"]["db"]["Port"], 5432);
    assert_eq!(
        server.get("/v1/catalog/node-services/ext1").await.json()["Services"][0]["ID"],
        "db"
    );
    assert_eq!(
        server.get("/v1/catalog/services").await.json(),
        json!({ "consul": [], "db": [] })
    );
    let missing = server.get("/v1/catalog/node/none").await;
    assert_eq!(
        (missing.body.as_str(), missing.header("x-consul-index")),
        ("null", Some("2"))
    );
    let by_id = server.get("/v1/catalog/node/1111").await.json();
    assert_eq!(by_id["Node"]["Node"], "n1");
    let orphan =
        json!({ "Node": "ext1", "Check": { "Name": "x", "ServiceID": "gone" }, "SkipNodeUpdate": true });
    let text = "failed inserting check: Missing service registration on node \"ext1\"";
    assert_eq!(
        server.put("/v1/catalog/register", &orphan).await.error(),
        (500, text)
    );
    assert_eq!(
        server
            .put("/v1/catalog/deregister", &json!({ "Node": "ext1" }))
            .await
            .body,
        "true"
    );
    assert_eq!(server.get("/v1/catalog/service/db").await.body, "[]");
    assert_eq!(server.get("/v1/catalog/datacenters").await.body, "[\"dc1\"]");
}

#[tokio::test]
async fn the_agents_verdict_is_a_status_code() {
    let server = Server::start().await;
    server.register("web1", "web", Status::Passing).await;
    let verdict = |path: &'static str| server.get(path);
    let by_id = "/v1/agent/health/service/id/web1";
    assert_eq!(verdict(by_id).await.status, 200);
    server
        .client
        .update_check("service:web1", Status::Warning, "hm")
        .await
        .unwrap();
    let answer = verdict(by_id).await;
    assert_eq!(
        (answer.status, answer.json()["AggregatedStatus"].as_str()),
        (429, Some("warning"))
    );
    server.client.maintenance(Some("web1"), true, "").await.unwrap();
    let answer = verdict("/v1/agent/health/service/name/web?format=text").await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "maintenance"));
    server.client.maintenance(Some("web1"), false, "").await.unwrap();
    assert_eq!(verdict(by_id).await.status, 429);
    let answer = verdict("/v1/agent/health/service/id/none").await;
    let nothing = json!({ "AggregatedStatus": "critical", "Service": null, "Checks": null });
    assert_eq!((answer.status, answer.json()), (404, nothing));
    let answer = verdict("/v1/agent/health/service/name/none").await;
    assert_eq!((answer.status, answer.body.as_str()), (404, "[]"));
}

#[tokio::test]
async fn keys_are_written_listed_and_removed_as_asked() {
    let server = Server::start().await;
    let kv = &server.client;
    for key in ["app/a", "app/b/c", "app/b/d", "other"] {
        assert!(kv.kv_put(key, key, 7, None).await.unwrap());
    }
    let query = Query::default();
    let pair = kv.kv_get("app/a", &query).await.unwrap().rows.unwrap();
    assert_eq!(
        (&*pair.key, &*pair.value, pair.flags),
        ("app/a", "app/a".as_bytes(), 7)
    );
    assert_eq!(kv.kv_list("app/", &query).await.unwrap().rows.len(), 3);
    assert_eq!(
        kv.kv_keys("app/", "/", &query).await.unwrap().rows,
        ["app/a", "app/b/"]
    );
    assert!(!kv.kv_put("app/a", "x", 0, Some(0)).await.unwrap());
    assert!(kv.kv_put("app/a", "x", 0, Some(pair.modify_index)).await.unwrap());
    assert!(!kv.kv_delete("app/a", Some(pair.modify_index)).await.unwrap());
    assert!(kv.kv_delete("app/a", None).await.unwrap());
    assert!(kv.kv_delete_tree("app/").await.unwrap());
    assert_eq!(kv.kv_list("", &query).await.unwrap().rows.len(), 1);
    let missing = server.get("/v1/kv/app/a").await;
    assert_eq!((missing.status, missing.body.as_str()), (404, ""));
    assert!(missing.header("x-consul-index").is_some());
    server.ask("PUT", "/v1/kv/odd%2Fkey%20%3F", "v").await;
    assert_eq!(
        server.get("/v1/kv/odd/key%20%3F?keys").await.json(),
        json!(["odd/key ?"])
    );
    server.ask("PUT", "/v1/kv/empty", "").await;
    assert_eq!(server.get("/v1/kv/empty").await.json()[0]["Value"], Value::Null);
}

#[tokio::test]
async fn the_agent_says_who_it_is() {
    let server = Server::start().await;
    let own = server.client.agent_self().await.unwrap();
    assert_eq!(
        (own.config.datacenter.as_str(), own.config.node_name.as_str()),
        ("dc1", "n1")
    );
    assert_eq!(own.debug_config["SerfAdvertiseAddrLAN"], "tcp://127.0.0.1:8301");
    let members = server.client.members().await.unwrap();
    assert_eq!((members[0].name.as_str(), members[0].status), ("n1", 1));
    assert_eq!(server.client.leader().await.unwrap(), "127.0.0.1:8300");
    assert_eq!(server.get("/v1/status/peers").await.body, "[\"127.0.0.1:8300\"]");
    assert_eq!(server.get("/").await.body, "Consul Agent");
    let metrics = server.get("/v1/agent/metrics?format=prometheus").await;
    assert!(
        metrics.body.contains("lictor_http_waiting_requests 0"),
        "{metrics:?}"
    );
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4"));
}

#[tokio::test]
async fn checks_of_their_own_come_report_and_go() {
    let server = Server::start().await;
    server.register("web", "web", Status::Passing).await;
    let check = json!({ "ID": "extra", "Name": "Extra", "ServiceID": "web", "TTL": "30s", "Notes": "n" });
    assert_eq!(server.put("/v1/agent/check/register", &check).await.status, 200);
    let shown = &server.get("/v1/agent/checks").await.json()["extra"];
    let expected = json!({
        "Node": "n1", "CheckID": "extra", "Name": "Extra", "Status": "critical", "Notes": "n", "Output": "",
        "ServiceID": "web", "ServiceName": "web", "ServiceTags": [], "Type": "ttl", "Definition": {},
        "CreateIndex": 0, "ModifyIndex": 0, "Interval": "", "Timeout": "", "ExposedPort": 0,
    });
    assert_eq!(*shown, expected);
    assert_eq!(
        server
            .ask("PUT", "/v1/agent/check/pass/extra?note=all+well", "")
            .await
            .status,
        200
    );
    let passing = server.client.agent_checks().await.unwrap();
    assert_eq!(
        (
            passing["extra"].check.status,
            passing["extra"].check.output.as_str()
        ),
        (Status::Passing, "all well")
    );
    let wrong = server
        .put("/v1/agent/check/update/extra", &json!({ "Status": "foo" }))
        .await;
    assert_eq!(wrong.error(), (400, "Invalid check status: 'foo'"));
    server.client.deregister_check("extra").await.unwrap();
    server.client.deregister("web").await.unwrap();
    assert!(server.client.agent_checks().await.unwrap().is_empty());
    assert_eq!(server.client.agent_service("web").await.unwrap(), None);
}

#[tokio::test]
async fn of_the_words_of_a_report_the_first_are_kept() {
    let server = Server::start().await;
    server.register("web1", "web", Status::Passing).await;
    // The bound falls into the middle of a letter.
    let words = format!("x{}", "ü".repeat(5000));
    server
        .client
        .update_check("service:web1", Status::Passing, &words)
        .await
        .unwrap();
    let output = server.get("/v1/agent/checks").await.json()["service:web1"]["Output"].clone();
    let kept = format!("x{} ... (captured 4095 of 10001 bytes)", "ü".repeat(2047));
    assert_eq!(output, kept);
}
