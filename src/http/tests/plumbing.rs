//! What every route shares.

use super::*;

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_405_with_the_ones_it_has() {
    let server = Server::start().await;
    let answer = server.ask("POST", "/v1/agent/self", "").await;
    assert_eq!(answer.error(), (405, "method POST not allowed"));
    assert_eq!(answer.header("allow"), Some("OPTIONS,GET"));
    let answer = server.ask("OPTIONS", "/v1/kv/a", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.header("allow"), Some("OPTIONS,GET,PUT,DELETE"));
    let answer = server.ask("HEAD", "/v1/agent/self", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}

#[tokio::test]
async fn paths_are_exact_and_what_is_missing_says_its_name() {
    let server = Server::start().await;
    assert_eq!(server.get("/v1/agent/self/").await.status, 404);
    assert_eq!(server.get("/v2/agent/self").await.status, 404);
    let answer = server.get("/v1/session/info/abc").await;
    let text = "GET /v1/session/info/ is not implemented by this version of Lictor";
    assert_eq!(answer.error(), (501, text));
    let answer = server.ask("PUT", "/v1/kv/k?acquire=x", "v").await;
    assert_eq!(answer.error().0, 501);
    let answer = server.get("//v1//agent/self?pretty").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (301, Some("/v1/agent/self?pretty"))
    );
    assert_eq!(server.get("/v1/kv/%00").await.error().0, 400);
}

#[tokio::test]
async fn parameters_are_judged_in_consuls_words() {
    let server = Server::start().await;
    for (query, status, text) in [
        ("index=x", 400, "Invalid index"),
        ("index=1&wait=soon", 400, "Invalid wait time"),
        (
            "stale&consistent",
            400,
            "Cannot specify ?stale with ?consistent, conflicting semantics.",
        ),
        (
            "cached&consistent",
            400,
            "Cannot specify ?cached with ?consistent, conflicting semantics.",
        ),
        ("max_stale=q", 400, "Invalid max_stale value \"q\""),
        ("dc=mars", 500, "No path to datacenter"),
        ("filter=Node==a", 400, "filter is not supported yet"),
    ] {
        let answer = server.get(&format!("/v1/catalog/nodes?{query}")).await;
        assert_eq!(answer.error(), (status, text), "{query}");
    }
    assert_eq!(server.get("/v1/catalog/nodes?dc=dc1&ns=x").await.status, 200);
}

#[tokio::test]
async fn answers_say_their_index_and_how_fresh_they_are() {
    let server = Server::start().await;
    let answer = server.get("/v1/catalog/nodes?consistent").await;
    let index: u64 = answer.header("x-consul-index").unwrap().parse().unwrap();
    assert_eq!(answer.json()[0]["ModifyIndex"], index);
    assert_eq!(answer.header("x-consul-knownleader"), Some("true"));
    assert_eq!(answer.header("x-consul-lastcontact"), Some("0"));
    assert_eq!(
        answer.header("x-consul-effective-consistency"),
        Some("consistent")
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(!answer.body.ends_with('\n'));
    let pretty = server.get("/v1/catalog/nodes?pretty=false").await;
    assert!(pretty.body.starts_with("[\n    {\n        \"ID\"") && pretty.body.ends_with("]\n"));
}

#[tokio::test]
async fn bodies_are_counted_told_or_not() {
    let server = Server::start().await;
    let exact = "x".repeat(512 << 10);
    assert_eq!(server.ask("PUT", "/v1/kv/big", &exact).await.body, "true");
    let text = "Request body(524289 bytes) too large, max size: 524288 bytes.";
    // Refused by its length alone: no byte of it is waited for.
    let told = "PUT /v1/kv/big HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 524289\r\n\r\n";
    assert_eq!(server.send(told).await.error(), (413, text));
    let chunked =
        "PUT /v1/kv/big HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = server
        .send(&format!("{chunked}80001\r\n{exact}y\r\n0\r\n\r\n"))
        .await;
    assert_eq!(answer.error(), (413, text));
}

#[tokio::test]
async fn a_body_that_does_not_arrive_gives_its_connection_back() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "PUT /v1/kv/slow HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut go_on).await.unwrap();
    // The body is waited for, and from here on time flies.
    tokio::time::pause();
    stream.write_all(b"some").await.unwrap();
    let mut answer = String::new();
    // Without a limit of its own: flown time would reach it before the system has handed the answer over.
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(
        answer.ends_with("Request body did not arrive within 60s"),
        "{answer}"
    );
}

#[tokio::test]
async fn pages_of_other_sites_reach_nothing() {
    let server = Server::start().await;
    let get =
        |host: &str| format!("GET /v1/agent/self HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    for host in [
        "127.0.0.1",
        "localhost:8500",
        "n1",
        "n1.node.consul",
        "[::1]:8500",
        "consul:8500",
    ] {
        assert_eq!(server.send(&get(host)).await.status, 200, "{host}");
    }
    assert_eq!(
        server.send(&get("rebound.evil.example:8500")).await.error().0,
        421
    );
    let two = server.send(&get("127.0.0.1\r\nHost: evil.example")).await;
    assert_eq!(two.error(), (400, "A request goes to one Host, not to several"));
    let foreign = "POST /v1/agent/service/register HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n\
                   Connection: close\r\nContent-Length: 14\r\n\r\n{\"Name\":\"web\"}";
    assert_eq!(server.send(foreign).await.error(), (403, "Access is restricted"));
    assert!(server.client.agent_services().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_stored_is_never_run_by_a_browser() {
    let server = Server::start().await;
    server.client.kv_put("page", "<script>", 0, None).await.unwrap();
    let raw = server.get("/v1/kv/page?raw").await;
    assert_eq!(raw.error(), (200, "<script>"));
    assert_eq!(raw.header("content-security-policy"), Some("sandbox"));
    server.register("<b>", "web", Status::Passing).await;
    assert!(
        server
            .get("/v1/agent/services")
            .await
            .body
            .contains("\"ID\":\"\\u003cb\\u003e\"")
    );
}

/// Path, body, status and text of refused changes.
const REFUSED: &[(&str, &str, u16, &str)] = &[
    ("agent/service/register", "", 400, "Request decode failed: EOF"),
    (
        "agent/service/register",
        "{\"Foo\":1}",
        400,
        "Request decode failed: json: unknown field \"Foo\"",
    ),
    (
        "agent/service/register",
        "{\"Name\":\"a\",\"Port\":\"80\"}",
        400,
        "Request decode failed: json: cannot unmarshal string into Go struct field .Port of type int",
    ),
    (
        "agent/service/register",
        "{\"Port\":80}",
        400,
        "Missing service name",
    ),
    (
        "agent/service/register",
        "{\"Name\":\"a\",\"ID\":\"a\\u0000\"}",
        400,
        "Invalid service ID \"a\\0\": no path can hold its unprintable characters",
    ),
    (
        "agent/check/register",
        "{\"Name\":\"a\\nb\",\"TTL\":\"1s\"}",
        400,
        "Invalid check ID \"a\\nb\": no path can hold its unprintable characters",
    ),
    (
        "agent/check/register",
        "{\"TTL\":\"1s\"}",
        400,
        "Missing check name",
    ),
    (
        "agent/check/register",
        "{\"Name\":\"c\",\"TTL\":\"1s\",\"ServiceID\":\"zz\"}",
        500,
        "ServiceID \"zz\" does not exist",
    ),
    (
        "catalog/register",
        "{\"Address\":\"10.0.0.1\"}",
        500,
        "Must provide node",
    ),
    (
        "agent/service/maintenance/zz?enable=true",
        "",
        404,
        "No service registered with ID \"zz\"",
    ),
    (
        "agent/service/maintenance/zz",
        "",
        400,
        "Missing value for enable",
    ),
    (
        "agent/maintenance?enable=maybe",
        "",
        400,
        "Invalid value for enable: \"maybe\"",
    ),
    ("agent/service/deregister/", "", 500, "ServiceID missing"),
    ("kv/", "", 400, "Missing key name"),
    (
        "kv/k?cas=bad",
        "",
        500,
        "strconv.ParseUint: parsing \"bad\": invalid syntax",
    ),
    (
        "kv/k?acquire=s&cas=0",
        "",
        400,
        "Conflicting flags: acquire=s&cas=0",
    ),
];

#[tokio::test]
async fn refusals_reach_the_client_in_consuls_words() {
    let server = Server::start().await;
    let error = server
        .client
        .update_check("nope", Status::Passing, "")
        .await
        .unwrap_err();
    let text = "Unexpected response code: 500 (CheckID \"nope\" does not have associated TTL)";
    assert_eq!(error.to_string(), text);
    for (path, body, status, text) in REFUSED {
        let answer = server.ask("PUT", &format!("/v1/{path}"), body).await;
        assert_eq!(answer.error(), (*status, *text), "{path} {body}");
    }
}
