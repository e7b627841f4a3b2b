//! A long JSON list, asked for again and again: which rows are new in the next answer, and which are gone.
//!
//! An answer of megabytes in which one row differs costs two comparisons of memory and the reading of that row. Pure;
//! knows nothing of what the rows mean. Rows that are repeated word for word count as one.

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;

/// The last answer and where its rows are.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The rows are the elements of this member of the answer, an object; `None`: of the answer itself.
    member: Option<&'static str>,
    body: Bytes,
    /// In order, without the commas between them.
    spans: Vec<Range<usize>>,
}

/// What differs between two answers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// Rows of the new answer that the old one did not have.
    pub(super) came: Vec<Bytes>,
    /// Rows of the old answer that the new one does not have.
    pub(super) gone: Vec<Bytes>,
}

/// Compared at a time: memory is compared much faster than bytes.
const BLOCK: usize = 4096;

impl Rows {
    /// Rows that are the elements of a member of each answer.
    pub(super) fn of_member(member: &'static str) -> Self {
        Self {
            member: Some(member),
            ..Self::default()
        }
    }

    /// How many rows the last answer had.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Takes over the next answer, a JSON array or object; `null` is an empty one. `None`: it is neither, and the old one
    /// stays.
    pub(super) fn advance(&mut self, body: Bytes) -> Option<Change> {
        let (spans, front, back) = match self.shared(&body) {
            Some(found) => found,
            None => (self.split(&body)?, 0, 0),
        };
        let fresh = &spans[front..spans.len() - back];
        let stale = &self.spans[front..self.spans.len() - back];
        let change = Change {
            came: only(&body, fresh, &self.body, stale),
            gone: only(&self.body, stale, &body, fresh),
        };
        (self.body, self.spans) = (body, spans);
        Some(change)
    }

    fn split(&self, body: &[u8]) -> Option<Vec<Range<usize>>> {
        let Some(member) = self.member else {
            return split(body, 0..body.len());
        };
        if body.trim_ascii() == b"null" {
            return Some(Vec::new());
        }
        let value = split(body, 0..body.len())?.into_iter().find_map(|row| {
            let rest = body[row.clone()]
                .strip_prefix(b"\"")?
                .strip_prefix(member.as_bytes())?;
            let rest = rest.strip_prefix(b"\"")?.trim_ascii_start().strip_prefix(b":")?;
            Some(row.end - rest.len()..row.end)
        });
        value.map_or_else(|| Some(Vec::new()), |value| split(body, value))
    }

    /// The rows of `body`, where some at its start and end are the old ones; how many those are, front and back.
    fn shared(&self, body: &Bytes) -> Option<(Vec<Range<usize>>, usize, usize)> {
        let (old, new) = (&self.body[..], &body[..]);
        let shortest = old.len().min(new.len());
        let prefix = common_prefix(old, new);
        let suffix = common_suffix(old, new).min(shortest - prefix);
        // The byte behind a kept row, or before it, has to be the old one as well: there it ended, or began.
        let front = self.spans.partition_point(|row| row.end < prefix);
        let kept_from = old.len() - suffix;
        let back = self.spans.len() - self.spans.partition_point(|row| row.start <= kept_from);
        let back = back.min(self.spans.len() - front);
        if front == 0 || back == 0 {
            return None;
        }
        let moved = |at: usize| at + new.len() - old.len();
        let start = self.spans[front - 1].end;
        let end = moved(self.spans[self.spans.len() - back].start);
        let middle = between(&new[start..end])?;
        let mut spans = self.spans[..front].to_vec();
        spans.extend(middle.into_iter().map(|row| start + row.start..start + row.end));
        let rest = &self.spans[self.spans.len() - back..];
        spans.extend(rest.iter().map(|row| moved(row.start)..moved(row.end)));
        Some((spans, front, back))
    }
}

/// Rows of `spans` whose text is none of `other_spans`.
fn only(body: &Bytes, spans: &[Range<usize>], other: &[u8], other_spans: &[Range<usize>]) -> Vec<Bytes> {
    let known: BTreeSet<&[u8]> = other_spans.iter().map(|row| &other[row.clone()]).collect();
    let unknown = spans.iter().filter(|row| !known.contains(&body[(*row).clone()]));
    // A copy, so that a row does not hold on to an answer of megabytes.
    unknown
        .map(|row| Bytes::copy_from_slice(&body[row.clone()]))
        .collect()
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let blocks = a.chunks(BLOCK).zip(b.chunks(BLOCK));
    let whole = blocks.take_while(|(a, b)| a == b && a.len() == BLOCK).count() * BLOCK;
    let rest = a[whole..].iter().zip(&b[whole..]);
    whole + rest.take_while(|(a, b)| a == b).count()
}

fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    let blocks = a.rchunks(BLOCK).zip(b.rchunks(BLOCK));
    let whole = blocks.take_while(|(a, b)| a == b && a.len() == BLOCK).count() * BLOCK;
    let rest = a[..a.len() - whole]
        .iter()
        .rev()
        .zip(b[..b.len() - whole].iter().rev());
    whole + rest.take_while(|(a, b)| a == b).count()
}

/// The rows of the list that is at `place`.
fn split(body: &[u8], place: Range<usize>) -> Option<Vec<Range<usize>>> {
    let list = trimmed(body, place);
    let text = &body[list.clone()];
    if text == b"null" {
        return Some(Vec::new());
    }
    let closing = match text.first()? {
        b'[' => b']',
        b'{' => b'}',
        _ => return None,
    };
    if text.len() < 2 || text.last() != Some(&closing) {
        return None;
    }
    Some(moved_by(elements(&text[1..text.len() - 1])?, list.start + 1))
}

/// The rows of what is between two rows that were kept.
fn between(part: &[u8]) -> Option<Vec<Range<usize>>> {
    let inner = trimmed(part, 0..part.len());
    match &part[inner.clone()] {
        b"," => Some(Vec::new()),
        [b',', .., b','] => {
            let rows = inner.start + 1..inner.end - 1;
            Some(moved_by(elements(&part[rows.clone()])?, rows.start))
        }
        _ => None,
    }
}

fn moved_by(rows: Vec<Range<usize>>, by: usize) -> Vec<Range<usize>> {
    rows.into_iter().map(|row| row.start + by..row.end + by).collect()
}

/// The texts between the commas of the outermost level. `None` where brackets or quotes do not match up, or nothing is
/// between two commas. What is inside a row is not judged: whoever reads it will.
fn elements(text: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut rows = Vec::new();
    let (mut depth, mut start, mut at) = (0_usize, 0, 0);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = end_of_string(text, at)?,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                rows.push(trimmed(text, start..at));
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    if depth > 0 {
        return None;
    }
    let last = trimmed(text, start..text.len());
    if !last.is_empty() || !rows.is_empty() {
        rows.push(last);
    }
    rows.iter().all(|row| !row.is_empty()).then_some(rows)
}

/// Where the closing quote is of the string that opens at `open`.
fn end_of_string(text: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += text
            .get(at..)?
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\'))?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

fn trimmed(text: &[u8], row: Range<usize>) -> Range<usize> {
    let inner = &text[row.clone()];
    let start = row.start + (inner.len() - inner.trim_ascii_start().len());
    start..start + inner.trim_ascii().len()
}

#[cfg(test)]
mod tests;
