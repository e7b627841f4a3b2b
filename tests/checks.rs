//! Checks of every kind against what they are made for: programs inside containers, a gRPC server of other people's,
//! heartbeats that end with whoever sends them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Agent, Container, Engine, agent, machine, same, unique, wait_for};

/// A container with a shell, the host's, and a folder `/state` of its own; its images have neither.
fn with_shell<'a>(docker: &'a Engine, labels: &[(&str, &str)]) -> Container<'a> {
    let folders = ["/usr", "/bin", "/lib", "/lib64"];
    let setup = docker.container("lictor-whoami").option("--tmpfs=/state");
    let setup = folders.iter().fold(setup, |setup, folder| {
        setup.option(&format!("--volume={folder}:{folder}:ro"))
    });
    let setup = labels
        .iter()
        .fold(setup, |setup, (key, value)| setup.label(key, value));
    setup.start()
}

/// The check of a service whose id ends so, but for that of its container.
fn check(agent: &Agent, service: &str, end: &str) -> Result<Value, String> {
    let checks = agent.ask(&format!("/v1/health/checks/{service}"))?;
    let asked = |check: &&Value| {
        let id = check["CheckID"].as_str().unwrap_or_default();
        id.ends_with(end) && !id.starts_with("container:")
    };
    let found = checks.as_array().and_then(|checks| checks.iter().find(asked));
    found
        .cloned()
        .ok_or_else(|| format!("no check …{end} in {checks}"))
}

fn awaits(agent: &Agent, service: &str, end: &str, status: &str, says: &str) {
    wait_for(&format!("{service}…{end} to be {status}: {says}"), || {
        let check = check(agent, service, end)?;
        let output = check["Output"].as_str().unwrap_or_default();
        if check["Status"] == status && output.contains(says) {
            Ok(())
        } else {
            Err(check.to_string())
        }
    });
}

fn inside(docker: &Engine, container: &Container<'_>, script: &str) -> String {
    let printed = docker.docker(&["exec", container.name(), "/bin/sh", "-c", script]);
    printed.unwrap_or_else(|reason| panic!("{reason}"))
}

#[test]
fn programs_that_a_container_asks_for_run_inside_it_and_decide_over_its_traffic() {
    let docker = machine();
    let agent = agent().start();
    let service = unique("scripted");
    let container = with_shell(
        docker,
        &[
            ("SERVICE_NAME", &service),
            ("SERVICE_CHECK_INTERVAL", "1s"),
            ("SERVICE_CHECK_DOCKER", "cat /state/word || exit 2"),
            (
                "SERVICE_CHECK_2_SCRIPT",
                "echo at $SERVICE_IP:$SERVICE_PORT; test ! -e /state/warn",
            ),
        ],
    );

    let at = format!("at 127.0.0.1:{}", container.published(8000));
    awaits(&agent, &service, ":8000:2", "passing", &at);
    awaits(&agent, &service, ":8000", "critical", "No such file");
    assert_eq!(agent.passing(&service), Ok(Vec::new()));
    assert_eq!(check(&agent, &service, ":8000:2").unwrap()["Type"], "script");

    inside(docker, &container, "echo ready > /state/word");
    let row = agent.await_passing(&service, 1).remove(0);
    assert!(row.to_string().contains("ready"), "{row}");

    inside(docker, &container, "touch /state/warn");
    awaits(&agent, &service, ":8000:2", "warning", "at ");
}

#[test]
fn a_program_that_never_ends_is_critical_and_no_second_one_joins_it() {
    let docker = machine();
    // Agents of other tests run the program too; ours is told by its address.
    let agent = agent().flag("-registrator.ip=127.0.0.77").start();
    let service = unique("hanging");
    let container = with_shell(
        docker,
        &[
            ("SERVICE_NAME", &service),
            ("SERVICE_CHECK_INTERVAL", "1s"),
            ("SERVICE_CHECK_TIMEOUT", "500ms"),
            (
                "SERVICE_CHECK_DOCKER",
                "echo from $SERVICE_IP >> /state/runs; exec sleep 1000",
            ),
        ],
    );

    awaits(&agent, &service, ":8000", "critical", "Timed out (500ms)");
    // Words alone travel late in the catalog; the agent itself knows them at once.
    wait_for("a run that finds the first one still there", || {
        let checks = agent.ask("/v1/agent/checks")?.to_string();
        if checks.contains("the program of an earlier run has not ended") {
            Ok(())
        } else {
            Err(checks)
        }
    });
    let runs = inside(docker, &container, "cat /state/runs");
    assert_eq!(runs.matches("from 127.0.0.77").count(), 1, "{runs}");
}

/// A health service by the people who make gRPC; ends with the test.
struct Grpcio {
    child: Child,
    address: String,
}

impl Grpcio {
    fn start() -> Self {
        const SERVER: &str = r#"
import concurrent.futures, grpc
def check(request, context):
    name = request[2:].decode()
    if name == "stranger":
        context.abort(grpc.StatusCode.NOT_FOUND, "who is that?")
    return b"\x08\x02" if name == "down" else b"\x08\x01"
methods = {"Check": grpc.unary_unary_rpc_method_handler(check)}
server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"#;
        // Debian's own, for which the package is made.
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", SERVER])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let mut port = String::new();
        let out = child.stdout.take().expect("standard output is piped");
        BufReader::new(out).read_line(&mut port).expect("it prints text");
        assert!(
            !port.is_empty(),
            "no grpcio; install it with: apt-get install python3-grpcio"
        );
        Self {
            child,
            address: format!("127.0.0.1:{}", port.trim()),
        }
    }
}

impl Drop for Grpcio {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_of_grpcs_own_makers_is_checked_by_call_and_by_ping() {
    let agent = agent().flag("-registrator=false").start();
    let server = Grpcio::start();
    let service = unique("grpc");
    let named = |end: &str, target: &str| {
        let target = format!("{}{target}", server.address);
        json!({"CheckID": format!("{service}-{end}"), "GRPC": target, "Interval": "1s"})
    };
    let ping = json!({"CheckID": format!("{service}-ping"), "H2PING": server.address, "H2PingUseTLS": false,
        "Interval": "1s"});
    let checks = [
        named("whole", ""),
        named("up", "/up"),
        named("down", "/down"),
        named("stranger", "/stranger"),
        ping,
    ];
    let body = json!({"Name": service, "Checks": checks});
    agent.tell("/v1/agent/service/register", &body).unwrap();

    awaits(&agent, &service, "-whole", "passing", "success");
    awaits(&agent, &service, "-up", "passing", "/up: success");
    awaits(&agent, &service, "-down", "critical", "NOT_SERVING");
    awaits(&agent, &service, "-stranger", "critical", "who is that?");
    awaits(&agent, &service, "-ping", "passing", "success");

    drop(server);

    awaits(&agent, &service, "-whole", "critical", "connection refused");
    awaits(&agent, &service, "-ping", "critical", "connection refused");
}

/// L2.
#[test]
fn a_ttl_check_passes_while_its_container_runs_and_expires_with_the_registrator() {
    let docker = machine();
    let (own, consul) = (agent().start(), agent().flag("-registrator=false").start());
    let uri = format!("consul://{}", consul.http());
    let registrator = agent()
        .command(&["registrator", "-ip=127.0.0.1", &uri])
        .start_parts(&[]);
    let service = unique("beating");
    let container = docker
        .container("lictor-whoami")
        .label("SERVICE_NAME", &service)
        .label("SERVICE_CHECK_TTL", "2s")
        .start();

    for agent in [&own, &consul] {
        agent.await_passing(&service, 1);
        awaits(agent, &service, ":8000", "passing", "the container runs");
    }
    docker.docker(&["pause", container.name()]).unwrap();
    for agent in [&own, &consul] {
        awaits(agent, &service, ":8000", "critical", "TTL expired");
    }
    docker.docker(&["unpause", container.name()]).unwrap();
    for agent in [&own, &consul] {
        agent.await_passing(&service, 1);
    }

    registrator.kill();

    awaits(&consul, &service, ":8000", "critical", "TTL expired");
    assert_eq!(consul.instances(&service).map(|rows| rows.len()), Ok(1));
    same(own.passing(&service).unwrap().len(), 1).unwrap();
}
