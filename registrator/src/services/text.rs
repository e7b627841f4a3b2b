//! What of the texts of containers is fit to be shown, compared and sent.

const LONGEST_VALUE: usize = 512;
/// Bytes of a name or an id: they stand in paths of requests, which servers cut off somewhere.
const LONGEST_NAME: usize = 255;
/// Characters of a text that logs quote.
const LONGEST_QUOTE: usize = 64;

/// Why a catalog would not take this value, if it would not.
pub(crate) fn unfit(value: &str) -> Option<String> {
    if let Some(problem) = unprintable(value) {
        return Some(problem.to_owned());
    }
    let length = value.len();
    (length > LONGEST_VALUE).then(|| format!("{length} bytes, and a catalog takes {LONGEST_VALUE}"))
}

/// What makes a text unfit to be shown and compared, if anything does.
pub(crate) fn unprintable(text: &str) -> Option<&'static str> {
    if text.chars().any(char::is_control) {
        Some("it contains control characters")
    } else if text.contains(char::REPLACEMENT_CHARACTER) {
        Some("it is not UTF-8")
    } else {
        None
    }
}

/// Why a text cannot be a name or an id, if it cannot.
pub(crate) fn unnameable(text: &str) -> Option<String> {
    if let Some(problem) = unprintable(text) {
        return Some(problem.to_owned());
    }
    let length = text.len();
    (length > LONGEST_NAME).then(|| format!("{length} bytes, and at most {LONGEST_NAME} are taken"))
}

/// A text as logs quote it: not a megabyte of it.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}
