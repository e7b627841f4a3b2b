//! What a custom source answers: JSON entries → commands of the route language. Pure.
//!
//! What would need an escape is left out, with the reason, and harms no other; but a service may be called by several
//! words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

/// An answer as commands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// One command a line, in the order given.
    pub(super) text: String,
    /// What is wrong with each entry that makes none.
    pub(super) skipped: Vec<String>,
}

/// One entry, spelt as fabio's.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    cmd: String,
    service: String,
    src: String,
    dst: String,
    weight: f64,
    tags: Option<Vec<String>>,
    opts: Option<BTreeMap<String, String>>,
}

/// Reads an answer; `null` is an empty list.
///
/// # Errors
/// When it is no JSON array.
pub(super) fn read(body: &[u8]) -> Result<Read, serde_json::Error> {
    let entries: Option<Vec<Value>> = serde_json::from_slice(body)?;
    let mut read = Read {
        text: String::new(),
        skipped: Vec::new(),
    };
    for (number, value) in (1..).zip(entries.unwrap_or_default()) {
        let command = Entry::deserialize(value).map_err(|error| error.to_string());
        match command.and_then(|entry| entry.command()) {
            Ok(line) => {
                read.text.push_str(&line);
                read.text.push('\n');
            }
            Err(why) => read.skipped.push(format!("entry {number}: {why}")),
        }
    }
    Ok(read)
}

impl Entry {
    fn command(&self) -> Result<String, String> {
        let mut line = match self.cmd.as_str() {
            "route add" => self.add()?,
            "route del" => self.del()?,
            "route weight" => self.weight()?,
            other => {
                let right = "expected route add, route del or route weight";
                return Err(format!("cmd {other:?}: {right}"));
            }
        };
        if let Some(tags) = self.tags.as_deref().filter(|tags| !tags.is_empty()) {
            let list = tags.iter().map(|tag| listed("tags", tag, false));
            let _ = write!(
                line,
                " tags \"{}\"",
                list.collect::<Result<Vec<_>, _>>()?.join(",")
            );
        }
        let opts = self.opts.iter().flatten().filter(|_| self.cmd == "route add");
        let opts = opts.map(|(name, value)| {
            Ok(format!(
                "{}={}",
                listed("opts", name, true)?,
                listed("opts", value, true)?
            ))
        });
        let opts = opts.collect::<Result<Vec<_>, String>>()?;
        if !opts.is_empty() {
            let _ = write!(line, " opts \"{}\"", opts.join(" "));
        }
        Ok(line)
    }

    fn add(&self) -> Result<String, String> {
        let mut line = format!(
            "route add {} {} {}",
            service(&self.service)?,
            word("src", &self.src)?,
            word("dst", &self.dst)?
        );
        if self.share()? > 0.0 {
            let _ = write!(line, " weight {}", self.weight);
        }
        Ok(line)
    }

    /// As far as it is told: a service, a route of it, a target of that; or by tags alone.
    fn del(&self) -> Result<String, String> {
        let mut line = "route del".to_owned();
        let tagged = self.tags.as_ref().is_some_and(|tags| !tags.is_empty());
        let parts = [("service", &self.service), ("src", &self.src), ("dst", &self.dst)];
        let told = parts.iter().rposition(|(_, text)| !text.is_empty());
        if told.is_none() && !tagged {
            return Err("route del: expected a service or tags".to_owned());
        }
        if tagged && told > Some(0) {
            return Err("route del: expected either tags or src and dst".to_owned());
        }
        for (name, text) in &parts[..told.map_or(0, |last| last + 1)] {
            let part = match *name {
                "service" => service(text)?,
                name => word(name, text)?.to_owned(),
            };
            let _ = write!(line, " {part}");
        }
        Ok(line)
    }

    fn weight(&self) -> Result<String, String> {
        let mut line = "route weight".to_owned();
        if !self.service.is_empty() {
            let _ = write!(line, " {}", service(&self.service)?);
        } else if self.tags.as_ref().is_none_or(Vec::is_empty) {
            return Err("route weight: expected a service or tags".to_owned());
        }
        let _ = write!(line, " {} weight {}", word("src", &self.src)?, self.share()?);
        Ok(line)
    }

    fn share(&self) -> Result<f64, String> {
        if self.weight.is_finite() && self.weight >= 0.0 {
            Ok(self.weight)
        } else {
            Err(format!("weight {}: expected 0 or more", self.weight))
        }
    }
}

/// A name, in quotes where it is of several words.
fn service(text: &str) -> Result<String, String> {
    let spoilt = |c: char| c.is_control() || matches!(c, '"' | '\\');
    match text.contains(' ') && !text.trim().is_empty() {
        false => word("service", text).map(str::to_owned),
        true if text.contains(spoilt) => Err(format!("service {text:?}: expected no quotes")),
        true => Ok(format!("\"{text}\"")),
    }
}

/// A word of a command.
fn word<'a>(name: &str, text: &'a str) -> Result<&'a str, String> {
    let spoilt = |c: char| c.is_whitespace() || c.is_control() || c == '"';
    match text {
        "" => Err(format!("{name} is missing")),
        text if text.contains(spoilt) => Err(format!("{name} {text:?}: expected no blanks and no quotes")),
        text => Ok(text),
    }
}

/// A member of a quoted list. Tags may hold blanks and no commas, options it is the other way round.
fn listed<'a>(name: &str, text: &'a str, is_option: bool) -> Result<&'a str, String> {
    let spoilt = |c: char| c.is_control() || c == '"' || if is_option { c.is_whitespace() } else { c == ',' };
    let right = if is_option { "blanks" } else { "commas" };
    if text.contains(spoilt) {
        return Err(format!("{name} {text:?}: expected no {right} and no quotes"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_become_commands_in_their_order() {
        let body = r#"[
            {"cmd":"route add","service":"web","src":"www.a.com/","dst":"http://10.0.0.1:80/","weight":0.25,
             "tags":["a b","c"],"opts":{"strip":"/x","proto":"https"}},
            {"cmd":"route add","service":"db","src":":5432","dst":"tcp://10.0.0.2:5432","weight":0,"tags":null,"opts":null},
            {"cmd":"route del","service":"my web","src":"www.a.com/old"},
            {"cmd":"route del","tags":["c"]},
            {"cmd":"route weight","service":"web","src":"www.a.com/","weight":0.5},
            {"cmd":"route weight","src":"www.a.com/","weight":1,"tags":["canary"]}
        ]"#;
        let wanted = "route add web www.a.com/ http://10.0.0.1:80/ weight 0.25 tags \"a b,c\" opts \"proto=https strip=/x\"\n\
                      route add db :5432 tcp://10.0.0.2:5432\n\
                      route del \"my web\" www.a.com/old\n\
                      route del tags \"c\"\n\
                      route weight web www.a.com/ weight 0.5\n\
                      route weight www.a.com/ weight 1 tags \"canary\"\n";
        let read = read(body.as_bytes()).unwrap();
        assert_eq!((read.text.as_str(), read.skipped.len()), (wanted, 0));
    }

    #[test]
    fn a_bad_entry_harms_only_itself() {
        let body = r#"[
            {"cmd":"route add","service":"we\"b","src":"/","dst":"http://a/"},
            {"cmd":"route add","service":"a","src":"/","dst":""},
            {"cmd":"route add","service":"a","src":"/","dst":"http://a/","tags":["\"\nroute del a"]},
            {"cmd":"route add","service":"a","src":"/","dst":"http://a/","opts":{"host":"a b"}},
            {"cmd":"route add","service":"a","src":"/","dst":"http://a/","weight":-1},
            {"cmd":"route add","service":7},
            {"cmd":"drop table"},
            {"cmd":"route del"},
            {"cmd":"route weight","src":"/","weight":1},
            "nonsense",
            {"cmd":"route add","service":"a","src":"/","dst":"http://a/","unknown":true}
        ]"#;
        let read = read(body.as_bytes()).unwrap();
        assert_eq!(read.text, "route add a / http://a/\n");
        let whys: Vec<_> = read
            .skipped
            .iter()
            .map(|why| why.split(": ").nth(1).unwrap())
            .collect();
        assert_eq!(
            whys,
            [
                "service \"we\\\"b\"",
                "dst is missing",
                "tags \"\\\"\\nroute del a\"",
                "opts \"a b\"",
                "weight -1",
                "invalid type",
                "cmd \"drop table\"",
                "route del",
                "route weight",
                "invalid type",
            ]
        );
        assert!(super::read(b"{}").is_err() && super::read(b"").is_err());
        assert_eq!(super::read(b"null").unwrap().text, "");
    }

    proptest! {
        #[test]
        fn whatever_an_entry_holds_it_makes_one_line_or_none(
            service in any::<String>(), tag in any::<String>(), opt in any::<String>(), cmd in 0..3_usize,
        ) {
            let cmd = ["route add", "route del", "route weight"][cmd];
            let entry = serde_json::json!([{
                "cmd": cmd, "service": service, "src": "/", "dst": "http://a/", "tags": [tag], "opts": { "o": opt },
            }]);
            let read = read(entry.to_string().as_bytes()).unwrap();
            prop_assert_eq!(read.text.lines().count() + read.skipped.len(), 1);
            prop_assert!(read.text.is_empty() || read.text.starts_with(cmd));
            prop_assert!(read.text.matches('"').count().is_multiple_of(2));
        }
    }
}
