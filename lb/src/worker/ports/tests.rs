//! Ports that cannot be opened, on workers that run.

use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;

use super::*;
use crate::worker::tests::shared;

const DEADLINE: Duration = Duration::from_secs(10);
/// Linux's `O_NONBLOCK`.
const NONBLOCKING: i32 = 0o4000;

/// What nobody can listen on.
fn no_socket() -> Socket {
    let file = std::fs::File::options()
        .read(true)
        .custom_flags(NONBLOCKING)
        .open("/dev/null");
    Socket::from(OwnedFd::from(file.unwrap()))
}

fn ports(stop: &CancellationToken) -> (Ports, super::super::crew::Ends) {
    let config = Config {
        workers: 2,
        ..Config::default()
    };
    let current = Current::new(Arc::new(config)).unwrap();
    let shared = shared(&current);
    let (crew, ends) = Crew::start(&shared, &watch::channel(()).1, stop).unwrap();
    let current = watch::Sender::new(Arc::new(current));
    (
        Ports::new(shared, crew, (Vec::new(), current), stop.clone()),
        ends,
    )
}

fn claimed() -> Claimed {
    let listener = Listener::http("127.0.0.1:0".parse().unwrap());
    let offer = Offer {
        listener,
        acceptor: None,
    };
    Claimed::new(&offer, 2, false).unwrap()
}

async fn ended(mut ports: Ports, mut ends: super::super::crew::Ends, stop: CancellationToken) {
    stop.cancel();
    ports.crew.dismiss();
    while let Some(end) = ends.next().await {
        end.unwrap();
    }
}

#[tokio::test]
async fn a_socket_that_a_worker_cannot_take_over_costs_its_listener_on_all_workers_and_nothing_else() {
    let stop = CancellationToken::new();
    let (mut ports, ends) = ports(&stop);
    let mut good = claimed();
    let addr = good.offer.listener.addr;
    let port = ports.open(claimed()).await.unwrap();
    let other = port.offer.listener.addr;
    ports.fixed.push(port);

    // The second worker gets the first one.
    for socket in &good.sockets {
        listen::listen(socket).unwrap();
    }
    good.sockets[0] = no_socket();
    ports.hand_over(good).await.map(drop).unwrap_err();
    let began = Instant::now();
    while std::net::TcpStream::connect(addr).is_ok() {
        assert!(began.elapsed() < DEADLINE);
        tokio::task::yield_now().await;
    }
    std::net::TcpStream::connect(other).unwrap();
    ended(ports, ends, stop).await;
}

#[tokio::test]
async fn a_new_listener_that_cannot_be_opened_is_named_and_counted_and_opened_as_soon_as_it_can_be() {
    let stop = CancellationToken::new();
    let (mut ports, ends) = ports(&stop);
    let mut claimed = claimed();
    claimed.asked = claimed.offer.listener.addr;
    claimed.sockets[1] = no_socket();
    let addr = claimed.asked;
    let line = ports.open_new(claimed).await;
    let start = format!("cannot listen on {addr} (http), trying again: ");
    assert!(line.starts_with(&start), "{line}");
    let failures = |ports: &Ports| ports.shared.metrics.ports.reload_failures.get();
    assert_eq!((ports.fixed.len(), failures(&ports)), (0, 1));

    // No listener follows the table, and no table changes: it is due by itself.
    let (_swap, mut swapped) = watch::channel(());
    let taken = std::net::TcpListener::bind(addr).unwrap();
    ports.looked = Instant::now().checked_sub(AGAIN);
    ports.due(&mut swapped).await;
    ports.look().await;
    assert_eq!((ports.fixed.len(), failures(&ports)), (0, 2));
    drop(taken);
    ports.look().await;
    assert_eq!((ports.fixed.len(), failures(&ports)), (1, 2));
    std::net::TcpStream::connect(addr).unwrap();
    ended(ports, ends, stop).await;
}

#[tokio::test]
async fn at_the_start_a_listener_that_cannot_be_opened_is_an_error_that_names_it() {
    let stop = CancellationToken::new();
    let (mut ports, ends) = ports(&stop);
    let mut claimed = claimed();
    claimed.sockets[1] = no_socket();
    let said = ports.open_all(vec![claimed]).await.unwrap_err().to_string();
    let start = "proxy.addr: cannot listen on 127.0.0.1:0 (http): ";
    assert!(said.starts_with(start), "{said}");
    ended(ports, ends, stop).await;
}
