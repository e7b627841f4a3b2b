//! What templates compute with: Go's values, as far as an inspect answer and its functions have them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

use serde_json::Value as Json;

use super::Error;
use super::inspect::{Fields, Shape};

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A key that a map does not have.
    Missing,
    /// A pointer to nothing, and what JSON calls null.
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    /// As RFC 3339 writes it.
    Time(Rc<str>),
    /// Nanoseconds.
    Duration(i64),
    List(Rc<Vec<Value>>),
    Map(Rc<Map>),
    Struct(Rc<Struct>),
}

/// By key in order, as Go prints and walks them.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) entries: BTreeMap<Rc<str>, Value>,
    /// What a key that is not there stands for when it is looked up by `index`.
    pub(super) zero: Value,
}

/// A part of the inspect answer with a fixed set of fields.
#[derive(Debug)]
pub(super) struct Struct {
    pub(super) fields: &'static Fields,
    pub(super) values: Vec<Value>,
    /// What the engine says besides, by its own names.
    pub(super) others: BTreeMap<Rc<str>, Value>,
    /// Reached by a pointer: Go prints where it is.
    pub(super) is_pointer: bool,
}

impl Value {
    pub(super) fn text(text: impl Into<Rc<str>>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn list(values: Vec<Self>) -> Self {
        Self::List(Rc::new(values))
    }

    /// What `jsonParse` finds: numbers are floats, as Go reads them.
    pub(super) fn parsed(json: &Json) -> Self {
        match json {
            Json::Null => Self::Nil,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => Self::Float(number.as_f64().unwrap_or_default()),
            Json::String(text) => Self::text(text.as_str()),
            Json::Array(values) => Self::list(values.iter().map(Self::parsed).collect()),
            Json::Object(entries) => {
                let entries = entries
                    .iter()
                    .map(|(key, value)| (key.as_str().into(), Self::parsed(value)));
                Self::Map(Rc::new(Map {
                    entries: entries.collect(),
                    zero: Self::Nil,
                }))
            }
        }
    }

    /// Go's name for its kind, for those who are told that another was needed.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Missing | Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Struct(of) => of.fields.name,
        }
    }

    /// About how much work it is to look at all of it.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::List(values) => values.iter().map(Self::size).sum::<usize>() + values.len(),
            _ => 1,
        }
    }

    /// What `if` and `and` go by: anything but nothing, zero and empty.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Missing | Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) | Self::Duration(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(values) => !values.is_empty(),
            Self::Map(map) => !map.entries.is_empty(),
            Self::Time(_) | Self::Struct(_) => true,
        }
    }

    /// The field of that name.
    pub(super) fn field(&self, name: &str) -> Result<Self, Error> {
        match self {
            Self::Map(map) => Ok(map.entries.get(name).cloned().unwrap_or(Self::Missing)),
            Self::Struct(of) => of.field(name),
            // The two things that ports can be asked.
            Self::Text(text) if name == "Port" => Ok(Self::text(text.split('/').next().unwrap_or_default())),
            Self::Text(text) if name == "Proto" => Ok(Self::text(text.split('/').nth(1).unwrap_or("tcp"))),
            Self::Missing => Ok(Self::Missing),
            Self::Nil => Err(Error::new(format!("nothing is there to take .{name} of"))),
            other => Err(Error::new(format!("{} has no field {name}", other.kind()))),
        }
    }

    /// Appends the value as Go prints it with `%v`.
    pub(super) fn print(&self, text: &mut String) -> Result<(), Error> {
        match self {
            Self::Missing => text.push_str("<no value>"),
            Self::Nil => text.push_str("<nil>"),
            Self::Bool(value) => _ = write!(text, "{value}"),
            Self::Int(value) => _ = write!(text, "{value}"),
            Self::Float(value) => text.push_str(&float(*value)),
            Self::Text(value) => text.push_str(value),
            Self::Time(value) => text.push_str(&time(value)),
            Self::Duration(nanos) => text.push_str(&duration(*nanos)),
            Self::List(values) => {
                text.push('[');
                Self::print_all(values, text)?;
                text.push(']');
            }
            Self::Map(map) => {
                text.push_str("map[");
                for (index, (key, value)) in map.entries.iter().enumerate() {
                    let apart = if index == 0 { "" } else { " " };
                    _ = write!(text, "{apart}{key}:");
                    value.print(text)?;
                }
                text.push(']');
            }
            Self::Struct(of) if of.is_pointer => return Err(of.whole()),
            Self::Struct(of) => of.print(text)?,
        }
        super::within_limit(text)
    }

    fn print_all(values: &[Self], text: &mut String) -> Result<(), Error> {
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                text.push(' ');
            }
            value.print(text)?;
        }
        Ok(())
    }

    /// The same where it stands alone: there Go shows what a pointer leads to.
    pub(super) fn print_alone(&self, text: &mut String) -> Result<(), Error> {
        match self {
            Self::Struct(of) => of.print(text),
            value => value.print(text),
        }
    }

    pub(super) fn printed(&self) -> Result<String, Error> {
        let mut text = String::new();
        self.print(&mut text)?;
        Ok(text)
    }
}

impl Struct {
    fn print(&self, text: &mut String) -> Result<(), Error> {
        if self.fields.prints_itself {
            return Err(self.whole());
        }
        text.push('{');
        Value::print_all(&self.values, text)?;
        text.push('}');
        Ok(())
    }

    /// Go would show an address, or words about now.
    fn whole(&self) -> Error {
        let name = self.fields.name;
        Error::new(format!("{name} cannot be shown whole: name a field of it"))
    }

    fn field(&self, name: &str) -> Result<Value, Error> {
        let known = self.fields.fields.iter().position(|field| field.name == name);
        if let Some(value) = known.and_then(|at| self.values.get(at)) {
            return Ok(value.clone());
        }
        // Newer engines say more than the original knew of.
        if let Some(value) = self.others.get(name) {
            return Ok(value.clone());
        }
        let near = self
            .fields
            .fields
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name));
        let hint = near
            .map(|field| format!("; did you mean {}?", field.name))
            .unwrap_or_default();
        Err(Error::new(format!(
            "{} has no field {name}{hint}",
            self.fields.name
        )))
    }
}

/// A part of the inspect answer as Go reads it: what is absent is the zero of its type.
pub(super) fn read(json: &Json, shape: &'static Shape) -> Value {
    match (shape, json) {
        (Shape::Text, Json::Null) => Value::text(""),
        (Shape::Int, Json::Null) => Value::Int(0),
        (Shape::Int, Json::Number(number)) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        (Shape::Bool, Json::Null) => Value::Bool(false),
        (Shape::Time, Json::String(text)) => Value::Time(text.as_str().into()),
        (Shape::Time, _) => Value::Time("0001-01-01T00:00:00Z".into()),
        (Shape::Duration, json) => Value::Duration(json.as_i64().unwrap_or_default()),
        (Shape::List(_), Json::Null) => Value::list(Vec::new()),
        (Shape::List(element), Json::Array(values)) => {
            Value::list(values.iter().map(|value| read(value, element)).collect())
        }
        (Shape::Map(element), Json::Object(_) | Json::Null) => {
            let entries = json.as_object().into_iter().flatten();
            let entries = entries.map(|(key, value)| (key.as_str().into(), read(value, element)));
            Value::Map(Rc::new(Map {
                entries: entries.collect(),
                zero: read(&Json::Null, element),
            }))
        }
        (Shape::Pointer(_), Json::Null) => Value::Nil,
        (Shape::Struct(fields) | Shape::Pointer(fields), Json::Object(_) | Json::Null) => {
            let known = fields.fields.iter();
            let others = json.as_object().into_iter().flatten();
            let others = others.filter(|(key, _)| !known.clone().any(|field| field.json == key.as_str()));
            Value::Struct(Rc::new(Struct {
                fields,
                values: known
                    .clone()
                    .map(|field| read(&json[field.json], &field.shape))
                    .collect(),
                others: others
                    .map(|(key, value)| (key.as_str().into(), Value::parsed(value)))
                    .collect(),
                is_pointer: matches!(shape, Shape::Pointer(_)),
            }))
        }
        // Not what the original expected; it would have failed.
        (_, json) => Value::parsed(json),
    }
}

/// `%v` of a float: as short as it can be read back, with an exponent from 1e+06 on and below 1e-04.
fn float(value: f64) -> String {
    if !value.is_finite() {
        return match value {
            _ if value.is_nan() => "NaN",
            _ if value > 0.0 => "+Inf",
            _ => "-Inf",
        }
        .to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if value == 0.0 || (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Go's way to show a time: `2026-01-01 00:00:00 +0000 UTC`.
fn time(text: &str) -> String {
    let Some((date, rest)) = text.split_once('T') else {
        return text.to_owned();
    };
    let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone_at);
    let clock = match clock.split_once('.') {
        Some((whole, part)) if part.bytes().all(|b| b == b'0') => whole.to_owned(),
        Some((whole, part)) => format!("{whole}.{}", part.trim_end_matches('0')),
        None => clock.to_owned(),
    };
    let zone = match zone.replace(':', "") {
        zone if zone.eq_ignore_ascii_case("z") || zone == "+0000" => "+0000 UTC".to_owned(),
        zone => format!("{zone} {zone}"),
    };
    format!("{date} {clock} {zone}")
}

/// Go's way to show a duration: `1m30s`, `1.5ms`.
fn duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let part = |unit: u64| {
        let rest = format!("{:0width$}", nanos % unit, width = unit.ilog10() as usize);
        let rest = rest.trim_end_matches('0');
        if rest.is_empty() {
            String::new()
        } else {
            format!(".{rest}")
        }
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{nanos}ns"),
        1_000..1_000_000 => format!("{sign}{}{}µs", nanos / 1_000, part(1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}{}ms", nanos / 1_000_000, part(1_000_000)),
        _ => {
            let seconds = nanos / 1_000_000_000;
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let hours = if hours > 0 {
                format!("{hours}h")
            } else {
                String::new()
            };
            let minutes = if seconds >= 60 {
                format!("{minutes}m")
            } else {
                String::new()
            };
            format!("{sign}{hours}{minutes}{}{}s", seconds % 60, part(1_000_000_000))
        }
    }
}
