//! One request of HTTP/1.1 and its answer, as little as a client can do.

use std::io::{Read, Write};

use crate::machine::Outcome;

/// The longest answer that is read; metrics are the longest.
const LONGEST: usize = 64 << 20;

/// One request of HTTP/1.1 and its whole answer, head included, which must be 200 and say how long it is.
pub fn ask(stream: &mut (impl Read + Write), request: &[u8]) -> Outcome<String> {
    stream.write_all(request).map_err(|e| format!("not sent: {e}"))?;
    let mut answer = Vec::new();
    let mut piece = [0; 16 << 10];
    while answer.len() < LONGEST {
        let read = stream.read(&mut piece).map_err(|e| format!("no answer: {e}"))?;
        answer.extend_from_slice(&piece[..read]);
        match missing(&answer) {
            Some(0) => break,
            _ if read > 0 => {}
            _ => return Err("the connection ended in the middle of an answer".to_owned()),
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if answer.starts_with("HTTP/1.1 200") {
        return Ok(answer);
    }
    Err(format!("another answer than 200: {answer}"))
}

/// How many bytes an answer still lacks; not known before the end of its head.
pub fn missing(answer: &[u8]) -> Option<usize> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(Some(0), |length| length.trim().parse().ok())?;
    Some((end + length).saturating_sub(answer.len()))
}
