//! What templates may call: Go's own functions, and the thirteen of the original but one.
//!
//! Not among them: `httpGet`, since a registration must not hang on what a stranger's label fetches, and `call`, for
//! which a container has nothing to call.

use std::cmp::Ordering;

use super::budget::{Budget, SEARCHED_A_STEP};
use super::value::{Map, Value};
use super::{Error, MOST_OUTPUT, format};

type Function = fn(&[Value]) -> Result<Value, Error>;

/// Name, fewest arguments, most (`None`: any number), what it does. `and` and `or` are `eval.rs`'s; what searches is
/// [`call`]'s, since it has to be paid for.
const FUNCTIONS: &[(&str, usize, Option<usize>, Function)] = &[
    ("and", 1, None, nothing),
    ("or", 1, None, nothing),
    ("not", 1, Some(1), |of| Ok(Value::Bool(!of[0].is_true()))),
    ("len", 1, Some(1), |of| length(&of[0])),
    ("index", 1, None, |of| {
        of[1..].iter().try_fold(of[0].clone(), |of, by| index(&of, by))
    }),
    ("slice", 1, Some(4), |of| slice(&of[0], &of[1..])),
    ("print", 0, None, |of| format::print(of).map(Value::text)),
    ("println", 0, None, |of| format::println(of).map(Value::text)),
    ("printf", 1, None, |of| {
        format::printf(text(&of[0])?, &of[1..]).map(Value::text)
    }),
    ("html", 0, None, |of| {
        format::print(of).map(|text| Value::text(html(&text)))
    }),
    ("js", 0, None, |of| {
        format::print(of).map(|text| Value::text(js(&text)))
    }),
    ("urlquery", 0, None, |of| {
        format::print(of).map(|text| Value::text(urlquery(&text)))
    }),
    ("eq", 2, None, |of| any_equal(&of[0], &of[1..])),
    ("ne", 2, Some(2), |of| {
        Ok(Value::Bool(!are_equal(&of[0], &of[1])?))
    }),
    ("lt", 2, Some(2), |of| {
        Ok(Value::Bool(order(of)? == Ordering::Less))
    }),
    ("le", 2, Some(2), |of| {
        Ok(Value::Bool(order(of)? != Ordering::Greater))
    }),
    ("gt", 2, Some(2), |of| {
        Ok(Value::Bool(order(of)? == Ordering::Greater))
    }),
    ("ge", 2, Some(2), |of| {
        Ok(Value::Bool(order(of)? != Ordering::Less))
    }),
    ("strSlice", 2, Some(3), |of| str_slice(text(&of[0])?, &of[1..])),
    ("sIndex", 2, Some(2), |of| {
        Ok(clamped(list(&of[1])?, int(&of[0])?))
    }),
    ("mIndex", 2, Some(2), |of| {
        Ok(map(&of[1])?
            .entries
            .get(text(&of[0])?)
            .cloned()
            .unwrap_or(Value::text("")))
    }),
    ("toUpper", 1, Some(1), |of| {
        Ok(Value::text(text(&of[0])?.to_uppercase()))
    }),
    ("toLower", 1, Some(1), |of| {
        Ok(Value::text(text(&of[0])?.to_lowercase()))
    }),
    ("replace", 4, Some(4), |of| {
        replace(int(&of[0])?, text(&of[1])?, text(&of[2])?, text(&of[3])?)
    }),
    ("join", 2, Some(2), |of| join(text(&of[0])?, list(&of[1])?)),
    ("split", 2, Some(2), |of| {
        Ok(Value::list(split(text(&of[0])?, text(&of[1])?)))
    }),
    ("splitIndex", 3, Some(3), |of| {
        Ok(clamped(&split(text(&of[1])?, text(&of[2])?), int(&of[0])?))
    }),
    ("matchFirstElement", 2, Some(2), nothing),
    ("matchAllElements", 2, Some(2), nothing),
    ("jsonParse", 2, Some(2), |of| {
        json_parse(text(&of[0])?, text(&of[1])?)
    }),
];

/// Whether there is a function of that name; the reason why not where users may look for one.
pub(super) fn known(name: &str) -> Result<(), Error> {
    match name {
        "httpGet" => Err(Error::new(
            "httpGet is refused: what is registered must not hang on what an address answers",
        )),
        "call" => Err(Error::new(
            "call is refused: a container has no functions to call",
        )),
        _ if FUNCTIONS.iter().any(|(known, ..)| *known == name) => Ok(()),
        _ => Err(Error::new(format!("function {name:?} is not defined"))),
    }
}

pub(super) fn call(name: &str, arguments: &[Value], budget: &mut Budget) -> Result<Value, Error> {
    known(name)?;
    let Some((_, fewest, most, function)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
        return Err(Error::new(format!("function {name:?} is not defined")));
    };
    let count = arguments.len();
    if count < *fewest || most.is_some_and(|most| count > most) {
        return Err(Error::new(format!(
            "{name} has {count} arguments, and wants another number of them"
        )));
    }
    let made = match name {
        "matchFirstElement" => {
            matching(arguments, budget).map(|found| found.into_iter().next().unwrap_or(Value::text("")))
        }
        "matchAllElements" => matching(arguments, budget).map(Value::list),
        _ => function(arguments),
    };
    made.map_err(|Error(reason)| Error(format!("{name}: {reason}")))
}

fn nothing(_: &[Value]) -> Result<Value, Error> {
    Err(Error::new("is evaluated elsewhere"))
}

fn wrong<T>(value: &Value, wanted: &str) -> Result<T, Error> {
    Err(Error::new(format!("expected {wanted}, found {}", value.kind())))
}

fn text(value: &Value) -> Result<&str, Error> {
    match value {
        Value::Text(text) => Ok(text),
        other => wrong(other, "string"),
    }
}

fn int(value: &Value) -> Result<i64, Error> {
    match value {
        Value::Int(number) => Ok(*number),
        other => wrong(other, "int"),
    }
}

fn list(value: &Value) -> Result<&[Value], Error> {
    match value {
        Value::List(values) => Ok(values),
        other => wrong(other, "list"),
    }
}

fn map(value: &Value) -> Result<&Map, Error> {
    match value {
        Value::Map(map) => Ok(map),
        other => wrong(other, "map"),
    }
}

fn length(value: &Value) -> Result<Value, Error> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(values) => values.len(),
        Value::Map(map) => map.entries.len(),
        other => return wrong(other, "string, list or map"),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(of: &Value, by: &Value) -> Result<Value, Error> {
    match of {
        Value::Map(map) => Ok(map.entries.get(text(by)?).unwrap_or(&map.zero).clone()),
        Value::List(values) => {
            let at = usize::try_from(int(by)?).ok();
            let found = at.and_then(|at| values.get(at)).cloned();
            found.ok_or_else(|| Error::new("index out of range"))
        }
        Value::Text(text) => {
            let at = usize::try_from(int(by)?).ok();
            let found = at.and_then(|at| text.as_bytes().get(at));
            found
                .map(|byte| Value::Int((*byte).into()))
                .ok_or_else(|| Error::new("index out of range"))
        }
        other => wrong(other, "string, list or map"),
    }
}

fn slice(of: &Value, bounds: &[Value]) -> Result<Value, Error> {
    let length = match of {
        Value::Text(text) => text.len(),
        Value::List(values) => values.len(),
        other => return wrong(other, "string or list"),
    };
    let mut at = [0, length, length];
    for (place, bound) in at.iter_mut().zip(bounds) {
        let number = usize::try_from(int(bound)?)
            .ok()
            .filter(|number| *number <= length);
        *place = number.ok_or_else(|| Error::new("index out of range"))?;
    }
    if at[0] > at[1] || at[1] > at[2] || (bounds.len() == 3 && matches!(of, Value::Text(_))) {
        return Err(Error::new("bounds are not in order"));
    }
    Ok(match of {
        Value::List(values) => Value::list(values[at[0]..at[1]].to_vec()),
        Value::Text(text) => Value::text(bytes(text, at[0], at[1])),
        other => other.clone(),
    })
}

/// Go counts bytes; half a character is none.
fn bytes(text: &str, from: usize, to: usize) -> String {
    String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned()
}

fn any_equal(first: &Value, others: &[Value]) -> Result<Value, Error> {
    for other in others {
        if are_equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn are_equal(one: &Value, other: &Value) -> Result<bool, Error> {
    Ok(match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Int(one) | Value::Duration(one), Value::Int(other) | Value::Duration(other)) => one == other,
        (Value::Float(one), Value::Float(other)) => one == other,
        (Value::Text(one), Value::Text(other)) | (Value::Time(one), Value::Time(other)) => one == other,
        (Value::Missing | Value::Nil, other) | (other, Value::Missing | Value::Nil) => {
            matches!(other, Value::Missing | Value::Nil)
        }
        (one, other) => {
            let (one, other) = (one.kind(), other.kind());
            return Err(Error::new(format!("{one} and {other} cannot be compared")));
        }
    })
}

fn order(of: &[Value]) -> Result<Ordering, Error> {
    let order = match (&of[0], &of[1]) {
        (Value::Int(one) | Value::Duration(one), Value::Int(other) | Value::Duration(other)) => {
            Some(one.cmp(other))
        }
        (Value::Float(one), Value::Float(other)) => one.partial_cmp(other),
        (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
        _ => None,
    };
    let (one, other) = (of[0].kind(), of[1].kind());
    order.ok_or_else(|| Error::new(format!("{one} and {other} have no order")))
}

/// The whole text where a bound is out of range; up to the end where the second is less than the first.
fn str_slice(text: &str, bounds: &[Value]) -> Result<Value, Error> {
    let from = int(&bounds[0])?;
    let to = bounds.get(1).map(int).transpose()?;
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let in_range = |at: i64| (0..=length).contains(&at);
    if !in_range(from) || to.is_some_and(|to| to > length) {
        return Ok(Value::text(text));
    }
    let to = to.filter(|to| *to >= from).unwrap_or(length);
    let place = |at: i64| usize::try_from(at).unwrap_or_default();
    Ok(Value::text(bytes(text, place(from), place(to))))
}

/// The element at that place, counted from the end where negative; the nearest where there is none.
fn clamped(values: &[Value], at: i64) -> Value {
    let count = i64::try_from(values.len()).unwrap_or(i64::MAX);
    let at = if at < 0 { at.saturating_add(count) } else { at };
    let place = usize::try_from(at.clamp(0, (count - 1).max(0))).unwrap_or_default();
    values.get(place).cloned().unwrap_or(Value::text(""))
}

fn replace(most: i64, old: &str, new: &str, of: &str) -> Result<Value, Error> {
    let count = usize::try_from(most).unwrap_or(usize::MAX);
    let found = of.matches(old).take(count).count();
    bounded(of.len().saturating_add(found.saturating_mul(new.len())))?;
    Ok(Value::text(of.replacen(old, new, count)))
}

fn join(separator: &str, values: &[Value]) -> Result<Value, Error> {
    let mut joined = String::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            joined.push_str(separator);
        }
        value.print(&mut joined)?;
    }
    Ok(Value::text(joined))
}

fn split(separator: &str, of: &str) -> Vec<Value> {
    if separator.is_empty() {
        return of.chars().map(|c| Value::text(c.to_string())).collect();
    }
    of.split(separator).map(Value::text).collect()
}

/// The elements that a regular expression finds something in.
fn matching(of: &[Value], budget: &mut Budget) -> Result<Vec<Value>, Error> {
    let expression = budget.expression(text(&of[0])?)?;
    budget.spend(of[1].size() / SEARCHED_A_STEP)?;
    let mut found = Vec::new();
    for value in list(&of[1])? {
        if expression.is_match(text(value)?) {
            found.push(value.clone());
        }
    }
    Ok(found)
}

/// The value at a path of keys and places, with `::` between them.
fn json_parse(json: &str, path: &str) -> Result<Value, Error> {
    let json: serde_json::Value =
        serde_json::from_str(json).map_err(|error| Error::new(error.to_string()))?;
    let mut at = &json;
    for part in path.split("::").filter(|part| !part.is_empty()) {
        let place = part.parse::<usize>().ok();
        let found = at.get(part).or_else(|| at.get(place?));
        at = found.ok_or_else(|| Error::new(format!("nothing at {part:?}")))?;
    }
    Ok(Value::parsed(at))
}

fn bounded(length: usize) -> Result<(), Error> {
    match length {
        ..=MOST_OUTPUT => Ok(()),
        _ => Err(Error::new(format!("makes more than {MOST_OUTPUT} bytes"))),
    }
}

fn html(text: &str) -> String {
    let escape = |c| match c {
        '\0' => "\u{fffd}".to_owned(),
        '"' => "&#34;".to_owned(),
        '\'' => "&#39;".to_owned(),
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

fn js(text: &str) -> String {
    let escape = |c: char| match c {
        '\\' | '\'' | '"' => format!("\\{c}"),
        '<' | '>' | '&' | '=' => format!("\\u{:04X}", u32::from(c)),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

fn urlquery(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
