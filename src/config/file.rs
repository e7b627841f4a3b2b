//! Configuration files: JSON, HCL and Java properties in, a flat list of keys and texts out.
//!
//! Sections are flattened with dots, a list of sections counts as each of its members in turn (HCL
//! repeats blocks, Consul's JSON wraps them in lists). What a key means is not known here.

use std::io;

use super::fault::Fault;
use super::properties;
use super::raw::Environment;

/// The door to the file system.
pub trait Files {
    /// A whole file, as text.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, path: &str) -> io::Result<String>;

    /// The names in a directory, in any order, without the directory.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;
}

/// The real one.
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(directory)?;
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }
}

/// A key, with its text or the members of its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Sections joined by dots.
    pub key: String,
    /// One text, or the members of a list.
    pub items: Vec<String>,
}

/// What an `.hcl` or `.json` file says.
///
/// # Errors
/// A fault that names the file.
pub fn read(path: &str, files: &dyn Files) -> Result<Vec<Setting>, Fault> {
    let fault = |why: String| Fault::File {
        path: path.to_owned(),
        why,
    };
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    if !matches!(extension, "hcl" | "json") {
        return Err(fault(
            "unknown kind of configuration; expected a name ending in .json or .hcl".to_owned(),
        ));
    }
    let text = files
        .read(path)
        .map_err(|error| fault(format!("cannot be read: {error}")))?;
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
pub fn in_directory(directory: &str, files: &dyn Files) -> Result<Vec<String>, Fault> {
    let mut names = files.list(directory).map_err(|error| Fault::File {
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

/// What fabio's properties file says; `${HOME}` in the path is expanded as fabio does.
///
/// # Errors
/// A fault that names the file.
pub fn read_properties(path: &str, env: &Environment, files: &dyn Files) -> Result<Vec<Setting>, Fault> {
    let fault = |why: String| Fault::File {
        path: path.to_owned(),
        why,
    };
    let place = path.trim_matches(|quote| matches!(quote, '\'' | '"'));
    if place.starts_with("http://") || place.starts_with("https://") {
        return Err(fault(
            "reading the configuration from a URL is not supported by this version of lictor".to_owned(),
        ));
    }
    let place =
        properties::expand(place, &|name| env.get(name).cloned().unwrap_or_default()).map_err(fault)?;
    if place.is_empty() {
        return Err(Fault::Syntax(
            "invalid or missing path to config file: -cfg needs one".to_owned(),
        ));
    }
    let text = files
        .read(&place)
        .map_err(|error| fault(format!("cannot be read: {error}")))?;
    let pairs = properties::parse(&text, env).map_err(fault)?;
    Ok(pairs
        .into_iter()
        .map(|(key, value)| Setting {
            key,
            items: vec![value],
        })
        .collect())
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
            });
        }
        scalar => settings.push(Setting {
            key: key.to_owned(),
            items: vec![text(scalar)],
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
            .map(|Setting { key, items }| (key, items))
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
