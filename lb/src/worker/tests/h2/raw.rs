//! A client that writes frames by hand, right or wrong.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::worker::tests::harness::{Balancer, DEADLINE};

pub(in crate::worker::tests) const DATA: u8 = 0;
pub(in crate::worker::tests) const HEADERS: u8 = 1;
pub(in crate::worker::tests) const RESET: u8 = 3;
pub(in crate::worker::tests) const SETTINGS: u8 = 4;
pub(in crate::worker::tests) const PING: u8 = 6;
pub(in crate::worker::tests) const GOAWAY: u8 = 7;
pub(in crate::worker::tests) const WINDOW_UPDATE: u8 = 8;
pub(in crate::worker::tests) const CONTINUATION: u8 = 9;
pub(in crate::worker::tests) const END_STREAM: u8 = 1;
pub(in crate::worker::tests) const END_HEADERS: u8 = 4;

pub(in crate::worker::tests) struct Raw(TcpStream);

#[derive(Debug)]
pub(in crate::worker::tests) struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A header block without compression, so that it says exactly this.
pub(in crate::worker::tests) fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        // Literal, without indexing, with a new name (RFC 7541, 6.2.2).
        block.push(0);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// With a prefix of seven bits (RFC 7541, 5.1).
fn integer(block: &mut Vec<u8>, mut number: usize) {
    if number < 127 {
        block.push(u8::try_from(number).unwrap());
        return;
    }
    block.push(127);
    number -= 127;
    while number >= 128 {
        block.push(u8::try_from(number % 128 + 128).unwrap());
        number /= 128;
    }
    block.push(u8::try_from(number).unwrap());
}

pub(in crate::worker::tests) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

impl Raw {
    pub fn connect(balancer: &Balancer) -> Self {
        // Waits until it listens.
        drop(balancer.connect());
        let mut raw = Self(TcpStream::connect(balancer.addr).unwrap());
        raw.0.set_read_timeout(Some(DEADLINE)).unwrap();
        raw.0.set_write_timeout(Some(DEADLINE)).unwrap();
        raw.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        raw.write(SETTINGS, 0, 0, &[]);
        raw
    }

    /// False once the other side has closed.
    pub fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.0.write_all(&frame(kind, flags, stream, payload)).is_ok()
    }

    pub fn write_all(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// `None`: closed.
    pub fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let [high, middle, low, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes(stream),
            payload,
        })
    }

    /// What became of a stream: the first bytes of its header block, the reason of its reset, or `None` where the
    /// connection has ended.
    pub fn outcome(&mut self, stream: u32) -> Option<Result<Vec<u8>, u32>> {
        loop {
            let frame = self.read()?;
            match frame.kind {
                HEADERS if frame.stream == stream => return Some(Ok(frame.payload)),
                RESET if frame.stream == stream => {
                    let reason = frame.payload.try_into().unwrap();
                    return Some(Err(u32::from_be_bytes(reason)));
                }
                SETTINGS if frame.flags & 1 == 0 => {
                    self.write(SETTINGS, 1, 0, &[]);
                }
                _ => {}
            }
        }
    }
}
