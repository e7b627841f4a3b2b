//! Configuration files: JSON, HCL and Java properties, in files or behind URLs, in; a flat list of keys and texts out.
//!
//! Sections are flattened with dots, a list of sections counts as each of its members in turn (HCL
//! repeats blocks, Consul's JSON wraps them in lists). What a key means is not known here.

use std::string::FromUtf8Error;

use lb::config::masked;

use super::fault::Fault;
use super::machine::{Fetched, Machine};
use super::properties;
use super::raw::Environment;

/// A key, with its text or the members of its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Sections joined by dots.
    pub key: String,
    /// One text, or the members of a list.
    pub items: Vec<String>,
    /// It may be there only for others to refer to.
    pub helper: bool,
    /// What stands there cannot be read, which is told as a fault of the file.
    pub broken: bool,
}

/// What an `.hcl` or `.json` file says.
///
/// # Errors
/// A fault that names the file.
pub fn read(path: &str, machine: &dyn Machine) -> Result<Vec<Setting>, Fault> {
    let fault = |why: String| Fault::File {
        path: shown(path),
        why,
    };
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    if !matches!(extension, "hcl" | "json") {
        return Err(fault(
            "unknown kind of configuration; expected a name ending in .json or .hcl".to_owned(),
        ));
    }
    let bytes = machine
        .read(path)
        .map_err(|error| fault(format!("cannot be read: {error}")))?;
    let text = utf8(bytes).map_err(|_| fault("is not UTF-8".to_owned()))?;
    let value: serde_json::Value = if extension == "json" {
        serde_json::from_str(&text).map_err(|error| fault(format!("is not JSON: {error}")))?
    } else {
        // HCL's own errors are a page with a drawing: shown whole, under the name of the file.
        hcl::from_str(&text).map_err(|error| {
            fault(format!(
                "is not HCL: {}",
                error.to_string().trim_start_matches([' ', '-', '>']).trim_end()
            ))
        })?
    };
    let serde_json::Value::Object(sections) = value else {
        return Err(fault("must be an object of keys and values".to_owned()));
    };
    let mut settings = Vec::new();
    for (key, value) in &sections {
        flatten(key, value, &mut settings);
    }
    Ok(settings)
}

/// The configuration files of a directory, in order of name; others are not ours.
///
/// # Errors
/// A fault that names the directory.
pub fn in_directory(directory: &str, machine: &dyn Machine) -> Result<Vec<String>, Fault> {
    let mut names = machine.list(directory).map_err(|error| Fault::File {
        path: directory.to_owned(),
        why: format!("cannot be read: {error}"),
    })?;
    names.retain(|name| name.ends_with(".json") || name.ends_with(".hcl"));
    names.sort();
    Ok(names
        .iter()
        .map(|name| format!("{}/{name}", directory.trim_end_matches('/')))
        .collect())
}

/// What fabio's properties file or URL says, and what is wrong within; `${HOME}` in the path is expanded as fabio does.
///
/// # Errors
/// A fault that names the file.
pub fn read_properties(
    path: &str,
    env: &Environment,
    machine: &dyn Machine,
) -> Result<(Vec<Setting>, Vec<Fault>), Fault> {
    let place = path.trim_matches(|quote| matches!(quote, '\'' | '"'));
    let fault = |why: String| Fault::File {
        path: shown(path),
        why,
    };
    let place =
        properties::expand(place, &|name| env.get(name).cloned().unwrap_or_default()).map_err(fault)?;
    if place.is_empty() {
        return Err(no_path());
    }
    let text = if place.starts_with("http://") || place.starts_with("https://") {
        let fetched = machine.fetch(&place);
        let fetched = fetched.map_err(|error| fault(format!("cannot be fetched: {error}")))?;
        text_of(fetched).map_err(fault)?
    } else {
        let read = machine.read(&place);
        utf8_or_latin(read.map_err(|error| fault(format!("cannot be read: {error}")))?)
    };
    let (pairs, faults) = properties::parse(&text, env);
    let settings = pairs.into_iter().map(|pair| Setting {
        key: pair.key,
        broken: pair.value.is_none(),
        items: pair.value.into_iter().collect(),
        helper: pair.referred,
    });
    Ok((settings.collect(), faults.into_iter().map(fault).collect()))
}

/// A path or URL as it may be shown, in every text that names it.
pub fn shown(path: &str) -> String {
    masked(path.trim_matches(|quote| matches!(quote, '\'' | '"')))
}

/// `-cfg` that leads nowhere.
pub fn no_path() -> Fault {
    Fault::Conflict("invalid or missing path to config file: -cfg needs one".to_owned())
}

/// fabio's rules: 200, and plain text, which is Latin-1 unless it says UTF-8.
fn text_of(fetched: Fetched) -> Result<String, String> {
    if fetched.status != 200 {
        return Err(format!(
            "cannot be fetched: the server answered {}",
            fetched.status
        ));
    }
    let kind: String = fetched
        .content_type
        .to_ascii_lowercase()
        .split_whitespace()
        .collect();
    match kind.as_str() {
        // Go's own reading of no type at all is Latin-1, too; what is UTF-8 all the same is read as that.
        "" | "text/plain" | "text/plain;charset=iso-8859-1" => Ok(utf8_or_latin(fetched.body)),
        "text/plain;charset=utf-8" => {
            utf8(fetched.body).map_err(|_| "is not the UTF-8 that its server says it is".to_owned())
        }
        _ => Err(format!(
            "invalid content type {}; expected text/plain",
            fetched.content_type
        )),
    }
}

/// Without the mark that some editors begin it with, which would be part of the first key.
fn utf8(bytes: Vec<u8>) -> Result<String, FromUtf8Error> {
    let text = String::from_utf8(bytes)?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Java's properties are Latin-1, and fabio's are UTF-8: what cannot be the one is the other.
fn utf8_or_latin(bytes: Vec<u8>) -> String {
    utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

fn flatten(key: &str, value: &serde_json::Value, settings: &mut Vec<Setting>) {
    use serde_json::Value::{Array, Null, Object};
    match value {
        Null => {}
        Object(section) => section
            .iter()
            .for_each(|(inner, value)| flatten(&format!("{key}.{inner}"), value, settings)),
        Array(members) if members.iter().any(serde_json::Value::is_object) => {
            members.iter().for_each(|member| flatten(key, member, settings));
        }
        Array(members) => {
            settings.push(Setting {
                key: key.to_owned(),
                items: members.iter().map(text).collect(),
                helper: false,
                broken: false,
            });
        }
        scalar => settings.push(Setting {
            key: key.to_owned(),
            items: vec![text(scalar)],
            helper: false,
            broken: false,
        }),
    }
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(json: &str) -> Vec<(String, Vec<String>)> {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        let mut settings = Vec::new();
        value
            .as_object()
            .unwrap()
            .iter()
            .for_each(|(key, value)| flatten(key, value, &mut settings));
        settings
            .into_iter()
            .map(|setting| (setting.key, setting.items))
            .collect()
    }

    #[test]
    fn sections_become_dots_and_lists_of_sections_each_of_their_members() {
        let expected = vec![
            ("a.b".to_owned(), vec!["1".to_owned()]),
            ("a.c".to_owned(), vec!["true".to_owned()]),
            ("l".to_owned(), vec!["x".to_owned(), "y".to_owned()]),
        ];
        assert_eq!(
            flat(r#"{"a":[{"b":1},{"c":true}],"l":["x","y"],"n":null}"#),
            expected
        );
    }
}
