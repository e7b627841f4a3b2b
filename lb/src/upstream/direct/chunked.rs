//! The chunked coding of answers (RFC 9112, 7.1), read as it comes. Pure.

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::http::{HeaderMap, HeaderName, HeaderValue};

/// Longest line with the size of a chunk, its extensions included.
const LONGEST_LINE: usize = 16 * 1024;
/// Longest trailers, all together.
const LONGEST_TRAILERS: usize = 16 * 1024;
/// Most trailers.
const MOST_TRAILERS: usize = 100;

/// Where reading stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Chunked {
    #[default]
    Size,
    /// So many bytes of a chunk are left.
    Data(u64),
    /// The end of a chunk's line.
    DataEnd,
    Trailers,
}

/// What comes next of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Data(Bytes),
    /// The end, and what follows the body.
    End(HeaderMap),
    /// It has not come yet.
    More,
}

/// It is not the chunked coding, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad(pub &'static str);

impl Chunked {
    /// Takes from `bytes` what is there of the body.
    pub(super) fn next(&mut self, bytes: &mut BytesMut) -> Result<Next, Bad> {
        loop {
            match *self {
                Self::Size => match size(bytes)? {
                    None => return Ok(Next::More),
                    Some(0) => *self = Self::Trailers,
                    Some(size) => *self = Self::Data(size),
                },
                Self::Data(_) if bytes.is_empty() => return Ok(Next::More),
                Self::Data(left) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let left = left - taken as u64;
                    *self = if left == 0 {
                        Self::DataEnd
                    } else {
                        Self::Data(left)
                    };
                    return Ok(Next::Data(bytes.split_to(taken).freeze()));
                }
                Self::DataEnd if bytes.len() < 2 => return Ok(Next::More),
                Self::DataEnd if bytes.starts_with(b"\r\n") => {
                    bytes.advance(2);
                    *self = Self::Size;
                }
                Self::DataEnd => return Err(Bad("a chunk is longer than it says")),
                Self::Trailers => return trailers(bytes),
            }
        }
    }
}

/// Takes the line with the size of a chunk.
fn size(bytes: &mut BytesMut) -> Result<Option<u64>, Bad> {
    let bad = Bad("the size of a chunk is none");
    let Some(end) = bytes.iter().take(LONGEST_LINE).position(|byte| *byte == b'\n') else {
        return if bytes.len() < LONGEST_LINE {
            Ok(None)
        } else {
            Err(bad)
        };
    };
    let line = bytes.split_to(end + 1);
    let line = line.strip_suffix(b"\r\n").ok_or(bad)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let blanks = rest
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    let rest = &rest[blanks..];
    // Extensions may be anything but further lines; nobody needs them.
    if digits.is_empty() || !(rest.is_empty() || rest[0] == b';') || rest.contains(&b'\r') {
        return Err(Bad("the size of a chunk is none"));
    }
    let digits = std::str::from_utf8(digits).map_err(|_| Bad("the size of a chunk is none"))?;
    let size = u64::from_str_radix(digits, 16).map_err(|_| Bad("a chunk is too large"))?;
    Ok(Some(size))
}

fn trailers(bytes: &mut BytesMut) -> Result<Next, Bad> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_TRAILERS];
    let (length, trailers) = match httparse::parse_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete((length, fields))) => (length, map(fields)?),
        Ok(httparse::Status::Partial) if bytes.len() < LONGEST_TRAILERS => return Ok(Next::More),
        Ok(httparse::Status::Partial) => return Err(Bad("its trailers are too long")),
        Err(_) => return Err(Bad("its trailers are none")),
    };
    bytes.advance(length);
    Ok(Next::End(trailers))
}

fn map(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, Bad> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Bad("its trailers are none"));
        };
        map.append(name, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is read of `coded` when it comes in pieces of these lengths, round and round; and what is left over.
    fn read(coded: &[u8], pieces: &[usize]) -> Result<(Vec<u8>, Option<HeaderMap>, BytesMut), Bad> {
        let (mut chunked, mut bytes, mut data) = (Chunked::default(), BytesMut::new(), Vec::new());
        let (mut left, mut lengths) = (coded, pieces.iter().cycle());
        while !left.is_empty() {
            let (piece, rest) = left.split_at((*lengths.next().unwrap()).min(left.len()));
            bytes.extend_from_slice(piece);
            left = rest;
            loop {
                match chunked.next(&mut bytes)? {
                    Next::Data(some) => data.extend_from_slice(&some),
                    Next::More => break,
                    Next::End(trailers) => {
                        bytes.extend_from_slice(left);
                        return Ok((data, Some(trailers), bytes));
                    }
                }
            }
        }
        Ok((data, None, bytes))
    }

    proptest! {
        #[test]
        fn a_body_is_what_was_put_into_chunks_however_it_comes(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            pieces in prop::collection::vec(1usize..50, 1..6),
            trailers in prop::collection::vec("[a-z]{1,8}", 0..3),
        ) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                coded.extend_from_slice(format!("{:x};some=thing\r\n", chunk.len()).as_bytes());
                coded.extend_from_slice(chunk);
                coded.extend_from_slice(b"\r\n");
            }
            coded.extend_from_slice(b"0\r\n");
            for trailer in &trailers {
                coded.extend_from_slice(format!("{trailer}: x\r\n").as_bytes());
            }
            coded.extend_from_slice(b"\r\nHTTP/1.1 200 OK");
            let (data, end, left) = read(&coded, &pieces).unwrap();
            prop_assert_eq!(data, chunks.concat());
            prop_assert_eq!(end.unwrap().len(), trailers.len());
            prop_assert_eq!(&left[..], b"HTTP/1.1 200 OK");
        }

        #[test]
        fn whatever_comes_is_read_or_refused(coded in prop::collection::vec(any::<u8>(), 0..200), piece in 1usize..20) {
            let _ = read(&coded, &[piece]);
        }
    }

    #[test]
    fn what_never_ends_is_refused() {
        let endless = |begin: &str, with: &str| begin.to_owned() + &with.repeat(LONGEST_LINE);
        for (coded, why) in [
            (endless("1;", "x"), "the size of a chunk is none"),
            (endless("0\r\n", "a: b\r\n"), "its trailers are none"),
            (endless("0\r\na: ", "x"), "its trailers are too long"),
            ("5\r\r\n".to_owned(), "the size of a chunk is none"),
            ("1\r\nab\r\n".to_owned(), "a chunk is longer than it says"),
            ("11111111111111111\r\n".to_owned(), "a chunk is too large"),
        ] {
            assert_eq!(read(coded.as_bytes(), &[1000]).unwrap_err(), Bad(why));
        }
    }
}
