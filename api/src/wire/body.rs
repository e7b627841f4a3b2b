//! Reads request bodies the way Consul does: keys match without regard to case, unknown keys are
//! an error, `null` is "not given", and the errors are Go's words, which clients match on. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use catalog::duration;
use serde_json::{Map, Value};

/// Why a request body was refused; the text is the whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not what the route reads: 400.
    #[error("Request decode failed: {0}")]
    Decode(String),
    /// Readable, but not allowed: 400.
    #[error("{0}")]
    Invalid(String),
    /// Readable, but this agent does not do it: 500 as Consul has it.
    #[error("{0}")]
    Refused(String),
}

type Result<T> = std::result::Result<T, BodyError>;

/// An object whose fields are taken one by one; what is left at the end is unknown.
#[derive(Debug)]
pub struct Fields {
    fields: Map<String, Value>,
}

impl Fields {
    /// Reads a body that has to be an object.
    ///
    /// # Errors
    /// When it is empty, no JSON, or something other than an object.
    pub fn parse(body: &[u8]) -> Result<Self> {
        if body.trim_ascii().is_empty() {
            return Err(BodyError::Decode("EOF".to_owned()));
        }
        let value = serde_json::from_slice(body).map_err(|error| match error.classify() {
            serde_json::error::Category::Eof => BodyError::Decode("unexpected EOF".to_owned()),
            _ => BodyError::Decode(format!("invalid JSON: {error}")),
        })?;
        match value {
            Value::Null => Ok(Self { fields: Map::new() }),
            other => Self::of("", other),
        }
    }

    fn of(name: &str, value: Value) -> Result<Self> {
        match value {
            Value::Object(fields) => Ok(Self { fields }),
            other => Err(mismatch(&other, name, "map[string]interface {}")),
        }
    }

    /// Takes a field by any of its names; `null` counts as absent.
    fn take(&mut self, names: &[&str]) -> Option<Value> {
        let mut found = None;
        for name in names {
            // A body may spell one field several ways; an exact match wins, as in Go.
            let exact = self.fields.remove(*name);
            let alike: Vec<String> = self
                .fields
                .keys()
                .filter(|key| key.eq_ignore_ascii_case(name))
                .cloned()
                .collect();
            let others = alike.iter().filter_map(|key| self.fields.remove(key)).last();
            found = found.or(exact).or(others);
        }
        found.filter(|value| !value.is_null())
    }

    /// A text; empty when not given.
    ///
    /// # Errors
    /// When it is something else.
    pub fn text(&mut self, names: &[&str]) -> Result<String> {
        match self.take(names) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(mismatch(&other, names[0], "string")),
        }
    }

    /// A yes or no; no when not given.
    ///
    /// # Errors
    /// When it is something else.
    pub fn flag(&mut self, names: &[&str]) -> Result<bool> {
        self.flag_or(names, false)
    }

    /// A switch that stands at `default` when not given.
    ///
    /// # Errors
    /// When it is something else.
    pub fn flag_or(&mut self, names: &[&str], default: bool) -> Result<bool> {
        match self.take(names) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(mismatch(&other, names[0], "bool")),
        }
    }

    /// A whole number; `None` when not given.
    ///
    /// # Errors
    /// When it is something else.
    pub fn integer(&mut self, names: &[&str]) -> Result<Option<i64>> {
        match self.take(names) {
            None => Ok(None),
            Some(value) => value
                .as_i64()
                .map(Some)
                .ok_or_else(|| mismatch(&value, names[0], "int")),
        }
    }

    /// A duration, as text with a unit or as nanoseconds; `None` when not given or empty.
    ///
    /// # Errors
    /// When it is something else.
    pub fn duration(&mut self, names: &[&str]) -> Result<Option<Duration>> {
        match self.take(names) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => duration::parse(&text)
                .map(Some)
                .map_err(|error| BodyError::Decode(error.to_string())),
            Some(value) => match value.as_f64() {
                Some(nanos) if nanos >= 0.0 && nanos <= i64::MAX as f64 => {
                    Ok(Some(Duration::from_nanos(nanos as u64)))
                }
                _ => Err(mismatch(&value, names[0], "time.Duration")),
            },
        }
    }

    /// A list of texts; empty when not given.
    ///
    /// # Errors
    /// When it is something else.
    pub fn texts(&mut self, names: &[&str]) -> Result<Vec<String>> {
        self.list(names)?
            .into_iter()
            .map(|value| expect_text(value, names[0]))
            .collect()
    }

    /// Texts by name; empty when not given.
    ///
    /// # Errors
    /// When it is something else.
    pub fn text_map(&mut self, names: &[&str]) -> Result<BTreeMap<String, String>> {
        self.map(names, |value| expect_text(value, names[0]))
    }

    /// Things by name; empty when not given.
    ///
    /// # Errors
    /// When it is something else, or `read` says so.
    pub fn map<T>(
        &mut self,
        names: &[&str],
        read: impl Fn(Value) -> Result<T>,
    ) -> Result<BTreeMap<String, T>> {
        match self.take(names) {
            None => Ok(BTreeMap::new()),
            Some(Value::Object(map)) => map
                .into_iter()
                .map(|(key, value)| Ok((key, read(value)?)))
                .collect(),
            Some(other) => Err(mismatch(&other, names[0], "map[string]string")),
        }
    }

    /// Lists of texts by name, as HTTP headers are; empty when not given.
    ///
    /// # Errors
    /// When it is something else.
    pub fn headers(&mut self, names: &[&str]) -> Result<BTreeMap<String, Vec<String>>> {
        self.map(names, |value| match value {
            Value::Array(list) => list
                .into_iter()
                .map(|value| expect_text(value, names[0]))
                .collect(),
            one => Ok(vec![expect_text(one, names[0])?]),
        })
    }

    /// An object within; `None` when not given.
    ///
    /// # Errors
    /// When it is something else.
    pub fn object(&mut self, names: &[&str]) -> Result<Option<Self>> {
        self.take(names)
            .map(|value| Self::of(names[0], value))
            .transpose()
    }

    /// A list of objects; empty when not given.
    ///
    /// # Errors
    /// When it is something else.
    pub fn objects(&mut self, names: &[&str]) -> Result<Vec<Self>> {
        self.list(names)?
            .into_iter()
            .map(|value| Self::of(names[0], value))
            .collect()
    }

    /// Accepts a field without acting on it.
    pub fn ignore(&mut self, names: &[&str]) {
        self.take(names);
    }

    /// Takes fields that this version does not act on; true when any of them asks for something.
    pub fn asks_for(&mut self, names: &[&str]) -> bool {
        self.take(names).is_some_and(|value| !is_blank(&value))
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// Naming the first field that nobody took.
    pub fn finish(self) -> Result<()> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(unknown) => Err(BodyError::Decode(format!("json: unknown field {unknown:?}"))),
        }
    }

    fn list(&mut self, names: &[&str]) -> Result<Vec<Value>> {
        match self.take(names) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list),
            Some(other) => Err(mismatch(&other, names[0], "[]string")),
        }
    }
}

impl TryFrom<Value> for Fields {
    type Error = BodyError;

    fn try_from(value: Value) -> Result<Self> {
        Self::of("", value)
    }
}

/// Says nothing: clients written in Go send every field they know, mostly empty.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.iter().all(is_blank),
        Value::Object(map) => map.values().all(is_blank),
    }
}

/// Nothing that paths name may have characters that no path may have: it could not be removed.
pub(super) fn check_id(what: &str, id: &str) -> Result<()> {
    if id.chars().any(char::is_control) {
        let text = format!("Invalid {what} ID {id:?}: no path can hold its unprintable characters");
        return Err(BodyError::Invalid(text));
    }
    Ok(())
}

fn expect_text(value: Value, name: &str) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        other => Err(mismatch(&other, name, "string")),
    }
}

fn mismatch(value: &Value, field: &str, wanted: &str) -> BodyError {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let place = if field.is_empty() {
        "value".to_owned()
    } else {
        format!("struct field .{field}")
    };
    BodyError::Decode(format!(
        "json: cannot unmarshal {found} into Go {place} of type {wanted}"
    ))
}
