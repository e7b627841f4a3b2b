//! The name in a TLS ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3), read without answering it.
//!
//! Pure, and asked again with more bytes until it knows. A ClientHello may be spread over as many records as its
//! sender likes; nothing is kept between two looks, so nothing can be got wrong between them.

use std::borrow::Cow;

/// Most bytes that a name is looked for in. Real ClientHellos stay below 4 KiB, with keys that no quantum computer
/// breaks in them, too.
pub(crate) const MOST: usize = 32 << 10;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// Content type, version, length.
const RECORD_HEAD: usize = 5;
/// Most that one record may carry.
const RECORD: usize = 1 << 14;
/// Type, length.
const MESSAGE_HEAD: usize = 4;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
/// Longest name that DNS knows.
const NAME: usize = 253;

/// What the first bytes of a connection say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hello {
    /// Not yet all.
    More,
    /// A ClientHello for this name: lower case, no dot at its end.
    For(Box<str>),
    /// A ClientHello that names nobody.
    Nameless,
    /// No ClientHello, and why.
    Not(&'static str),
}

/// Looks at the first bytes of a connection.
pub(crate) fn look(bytes: &[u8]) -> Hello {
    let message = match message(bytes) {
        Ok(Some(message)) => message,
        Ok(None) if bytes.len() >= MOST => return Hello::Not("it is too long"),
        Ok(None) => return Hello::More,
        Err(why) => return Hello::Not(why),
    };
    match name(&message) {
        None => Hello::Not("it is malformed"),
        Some(None) => Hello::Nameless,
        Some(Some(name)) => match spelled(name) {
            Some(name) => Hello::For(name),
            None => Hello::Not("its name is none"),
        },
    }
}

/// The body of the ClientHello, once it is all there.
fn message(bytes: &[u8]) -> Result<Option<Cow<'_, [u8]>>, &'static str> {
    let mut fragments: Vec<&[u8]> = Vec::new();
    let mut have = 0;
    let mut rest = bytes;
    loop {
        let Some((fragment, after)) = fragment(rest)? else {
            return Ok(None);
        };
        fragments.push(fragment);
        have += fragment.len();
        rest = after;
        let mut head = fragments.iter().copied().flatten().take(MESSAGE_HEAD);
        if head.next().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err("it is another message");
        }
        let length = head.fold(0, |length, byte| length << 8 | usize::from(*byte));
        if have >= MESSAGE_HEAD && MESSAGE_HEAD + length > MOST {
            return Err("it is too long");
        }
        if have >= MESSAGE_HEAD && have >= MESSAGE_HEAD + length {
            let whole = match fragments[..] {
                [one] => Cow::Borrowed(one),
                _ => Cow::Owned(fragments.concat()),
            };
            return Ok(Some(match whole {
                Cow::Borrowed(whole) => Cow::Borrowed(&whole[MESSAGE_HEAD..MESSAGE_HEAD + length]),
                Cow::Owned(whole) => Cow::Owned(whole[MESSAGE_HEAD..MESSAGE_HEAD + length].to_vec()),
            }));
        }
        // A record that is not whole yet: what there is of it was looked at, in case it can be refused.
        if rest.is_empty() {
            return Ok(None);
        }
    }
}

/// Two parts of the same bytes.
type Split<'a> = (&'a [u8], &'a [u8]);

/// What there is of the first record, and what follows it. `None`: not even its head.
fn fragment(bytes: &[u8]) -> Result<Option<Split<'_>>, &'static str> {
    if bytes.first().is_some_and(|kind| *kind != HANDSHAKE) || bytes.get(1).is_some_and(|major| *major != 3) {
        return Err("it is not TLS");
    }
    let Some((head, rest)) = bytes.split_at_checked(RECORD_HEAD) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
    if length == 0 || length > RECORD {
        return Err("it is not TLS");
    }
    Ok(Some(rest.split_at(length.min(rest.len()))))
}

/// The name in the body of a ClientHello. `None`: it is malformed.
fn name(body: &[u8]) -> Option<Option<&[u8]>> {
    let mut hello = Reader(body);
    // Version and random.
    hello.take(2 + 32)?;
    let session = hello.vector::<1>()?;
    let suites = hello.vector::<2>()?;
    let compressions = hello.vector::<1>()?;
    if session.len() > 32 || suites.is_empty() || suites.len() % 2 != 0 || compressions.is_empty() {
        return None;
    }
    if hello.0.is_empty() {
        return Some(None);
    }
    let mut extensions = Reader(hello.vector::<2>()?);
    if !hello.0.is_empty() {
        return None;
    }
    let mut found = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number::<2>()?;
        let extension = extensions.vector::<2>()?;
        if kind != usize::from(SERVER_NAME) {
            continue;
        }
        // Which of two would the server take?
        if found.is_some() {
            return None;
        }
        found = Some(host_name(extension)?);
    }
    Some(found)
}

fn host_name(extension: &[u8]) -> Option<&[u8]> {
    let mut extension = Reader(extension);
    let mut names = Reader(extension.vector::<2>()?);
    if !extension.0.is_empty() {
        return None;
    }
    let kind = names.number::<1>()?;
    let name = names.vector::<2>()?;
    (kind == usize::from(HOST_NAME) && names.0.is_empty()).then_some(name)
}

/// A name as it is looked up.
fn spelled(name: &[u8]) -> Option<Box<str>> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let outlandish = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b'/' | b':' | b'*' | b'"');
    if name.is_empty() || name.len() > NAME || name.iter().any(outlandish) {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?;
    Some(name.to_ascii_lowercase().into())
}

/// Reads from the front; `None` once there is less than was asked for.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number<const BYTES: usize>(&mut self) -> Option<usize> {
        let bytes = self.take(BYTES)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | usize::from(*byte)),
        )
    }

    /// Bytes behind their length, which takes `BYTES`.
    fn vector<const BYTES: usize>(&mut self) -> Option<&'a [u8]> {
        let length = self.number::<BYTES>()?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests;
