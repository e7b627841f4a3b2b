//! Streams through real sockets: nothing is lost, added or put in another order, whoever is slow.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use super::*;

/// Ends of a connection: ours and somebody's.
fn pair() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    (TcpStream::from_std(ours).unwrap(), theirs)
}

#[derive(Default)]
struct Seen {
    read: Cell<u64>,
    wrote: Cell<u64>,
    stalled: Arc<AtomicBool>,
}

impl Progress for Seen {
    fn read(&self, bytes: usize) {
        self.read.set(self.read.get() + bytes as u64);
    }
    fn waits(&self) {}
    fn wrote(&self, bytes: usize) {
        self.wrote.set(self.wrote.get() + bytes as u64);
    }
    fn stalls(&self) {
        self.stalled.store(true, SeqCst);
    }
}

/// Bytes that are wrong at any other place.
fn numbers(length: usize) -> Vec<u8> {
    (0_u64..)
        .flat_map(|number| (number * 0x9e37_79b9).to_le_bytes())
        .take(length)
        .collect()
}

fn on_a_worker<T>(run: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run)
}

#[test]
fn a_long_stream_arrives_whole_at_a_slow_reader_and_was_spliced() {
    on_a_worker(async {
        let ((mut from, mut sender), (to, mut reader)) = (pair(), pair());
        let (spares, seen, length) = (Spares::default(), Seen::default(), 32 << 20);
        let sending = std::thread::spawn(move || {
            let bytes = numbers(length);
            for (turn, chunk) in bytes.chunks(100_003).enumerate() {
                sender.write_all(chunk).unwrap();
                if turn % 40 == 0 {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        let stalled = seen.stalled.clone();
        let reading = std::thread::spawn(move || {
            let (mut all, mut chunk) = (Vec::new(), vec![0; 77_777]);
            while !stalled.load(SeqCst) {
                std::thread::yield_now();
            }
            loop {
                match reader.read(&mut chunk).unwrap() {
                    0 => return all,
                    length => all.extend_from_slice(&chunk[..length]),
                }
            }
        });
        pump(from.split().0, &to, &spares, &seen).await.unwrap();
        sending.join().unwrap();
        assert!(
            reading.join().unwrap() == numbers(length),
            "the same bytes in the same order"
        );
        assert_eq!(
            (seen.read.get(), seen.wrote.get()),
            (length as u64, length as u64)
        );
        assert_eq!(spares.pipes.borrow().len(), 1, "the pipe was given back");
    });
}

#[test]
fn small_pieces_take_no_pipe_however_many_there_are() {
    on_a_worker(async {
        let ((mut from, mut sender), (to, mut reader)) = (pair(), pair());
        let (spares, seen) = (Spares::default(), Seen::default());
        let speaking = async {
            for _ in 0..100 {
                pass(&mut sender, &mut reader, BUFFER - 1).await;
            }
        };
        tokio::select! {
            _ = pump(from.split().0, &to, &spares, &seen) => panic!("it has not ended"),
            () = speaking => {}
        }
        assert!(spares.pipes.borrow().is_empty());
    });
}

#[test]
fn a_stream_that_rests_holds_no_pipe_and_one_that_becomes_slow_is_copied_again() {
    on_a_worker(async {
        let ((mut from, mut sender), (to, mut reader)) = (pair(), pair());
        let (spares, seen) = (Spares::default(), Seen::default());
        let resting = async {
            for length in [200_000, 300_000] {
                pass(&mut sender, &mut reader, length).await;
                assert_eq!(spares.pipes.borrow().len(), 1);
            }
            // The first of them is still moved.
            pass(&mut sender, &mut reader, 1).await;
            spares.pipes.borrow_mut().clear();
            pass(&mut sender, &mut reader, 1).await;
            assert!(spares.pipes.borrow().is_empty());
        };
        tokio::select! {
            _ = pump(from.split().0, &to, &spares, &seen) => panic!("it has not ended"),
            () = resting => {}
        }
    });
}

/// Sends so many bytes and sees them arrive, while others run.
async fn pass(sender: &mut std::net::TcpStream, reader: &mut std::net::TcpStream, length: usize) {
    let bytes = numbers(length);
    sender.write_all(&bytes).unwrap();
    reader.set_nonblocking(true).unwrap();
    let (mut arrived, mut chunk) = (Vec::new(), vec![0; length]);
    while arrived.len() < length {
        let came = reader.read(&mut chunk).unwrap_or(0);
        arrived.extend_from_slice(&chunk[..came]);
        tokio::task::yield_now().await;
    }
    assert!(arrived == bytes, "the same bytes in the same order");
}

#[test]
fn a_reset_in_the_middle_is_an_error_and_spoils_no_pipe() {
    on_a_worker(async {
        let ((mut from, mut sender), (to, reader)) = (pair(), pair());
        let (spares, seen) = (Spares::default(), Seen::default());
        let sending = std::thread::spawn(move || {
            let bytes = numbers(8 << 20);
            // It ends in an error once the other side is gone.
            sender.write_all(&bytes).is_err()
        });
        let resetting = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            SockRef::from(&reader).set_linger(Some(Duration::ZERO)).unwrap();
        });
        assert!(pump(from.split().0, &to, &spares, &seen).await.is_err());
        resetting.join().unwrap();
        drop(from);
        assert!(sending.join().unwrap());
        assert_eq!(
            spares.pipes.borrow().len(),
            0,
            "what is left in a pipe is nobody else's"
        );
    });
}
