//! fabio's "KV list": `item[,item…]`, an item being `k=v[;k=v…]` whose first pair may be a bare
//! value. A value that starts with `"` is quoted: `,` `;` `=` are plain in it.

/// One item: its pairs in the order given; a bare first value has the empty key.
pub type Item = Vec<(String, String)>;

/// Text that is no KV list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKvList {
    /// A `"` that opens and never closes, or is followed by more text.
    #[error("unbalanced quotes")]
    UnbalancedQuotes,
}

/// Reads a KV list. Keys are trimmed, values are too (fabio keeps blanks before a comma, which
/// nobody can want); empty items and pairs are skipped.
pub fn kv_list(text: &str) -> Result<Vec<Item>, BadKvList> {
    let mut items = Vec::new();
    let mut item = Item::new();
    let mut rest = text;
    loop {
        let (pair, after) = cut_pair(rest)?;
        let (key, value) = pair;
        if !(key.is_empty() && value.is_empty()) {
            item.push((key, value));
        }
        let Some(separator) = after.chars().next() else {
            break;
        };
        if separator == ',' {
            items.push(std::mem::take(&mut item));
        }
        rest = &after[1..];
    }
    items.push(item);
    items.retain(|item| !item.is_empty());
    Ok(items)
}

/// The pair at the start of `text`, and the rest beginning with its separator.
fn cut_pair(text: &str) -> Result<((String, String), &str), BadKvList> {
    let end = text.find([',', ';']).unwrap_or(text.len());
    let (key, value) = match text[..end].split_once('=') {
        Some((key, _)) if !key.trim_start().starts_with('"') => {
            (key.trim(), text[key.len() + 1..].trim_start())
        }
        _ => ("", text.trim_start()),
    };
    if let Some(quoted) = value.strip_prefix('"') {
        let (value, after) = unquote(quoted).ok_or(BadKvList::UnbalancedQuotes)?;
        let after = after.trim_start();
        if !(after.is_empty() || after.starts_with([',', ';'])) {
            return Err(BadKvList::UnbalancedQuotes);
        }
        return Ok(((key.to_owned(), value), after));
    }
    let value_end = value.find([',', ';']).unwrap_or(value.len());
    Ok((
        (key.to_owned(), value[..value_end].trim_end().to_owned()),
        &value[value_end..],
    ))
}

/// The text up to the closing quote, with `\"` and `\\` resolved, and what follows the quote.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            plain => value.push(plain),
        }
    }
    None
}
