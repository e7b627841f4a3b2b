//! Go's flags: one dash or two, `-name value` or `-name=value`, booleans alone or with `=`, an end
//! at the first word that is no flag or at `--`. What a name means is the caller's business.

/// What the caller knows about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Stands alone; a value needs `=`.
    Bool,
    /// Needs a value.
    Valued,
    /// No such flag.
    Unknown,
}

/// A flag as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Without dashes.
    pub name: String,
    /// `true` for a boolean standing alone.
    pub value: String,
}

/// What is wrong with a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Go's words for it.
    Syntax(String),
    /// No such flag.
    Unknown(String),
}

/// A command line taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// In the order typed.
    pub flags: Vec<Flag>,
    /// From the first word that is no flag on.
    pub rest: Vec<String>,
    /// In the order typed.
    pub bad: Vec<Bad>,
    /// Whether `-h` or `-help` is there.
    pub help: bool,
}

/// Takes a command line apart. Goes on after a fault, to find them all.
pub fn scan(words: &[String], shape: &dyn Fn(&str) -> Shape) -> Scan {
    let mut scan = Scan::default();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next_if(|word| word.len() > 1 && word.starts_with('-')) {
        if word == "--" {
            break;
        }
        let body = word
            .strip_prefix("--")
            .or_else(|| word.strip_prefix('-'))
            .unwrap_or(word);
        if body.starts_with(['-', '=']) {
            scan.bad.push(Bad::Syntax(format!("bad flag syntax: {word}")));
            continue;
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let value = match (shape(name), value) {
            (Shape::Unknown, None) if matches!(name, "h" | "help") => {
                scan.help = true;
                continue;
            }
            (Shape::Unknown, value) => {
                scan.bad.push(Bad::Unknown(name.to_owned()));
                // Probably its value: taken for a positional, it would hide all that follows.
                if value.is_none() {
                    words.next_if(|next| !next.starts_with('-') && !next.contains("://"));
                }
                continue;
            }
            (_, Some(value)) => value,
            (Shape::Bool, None) => "true".to_owned(),
            (Shape::Valued, None) => match words.next() {
                Some(value) => value.clone(),
                None => {
                    scan.bad
                        .push(Bad::Syntax(format!("flag needs an argument: -{name}")));
                    continue;
                }
            },
        };
        scan.flags.push(Flag {
            name: name.to_owned(),
            value,
        });
    }
    scan.rest = words.cloned().collect();
    scan
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scanned(line: &str) -> Scan {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        scan(&words, &|name| match name {
            "b" => Shape::Bool,
            "v" | "proxy.addr" => Shape::Valued,
            _ => Shape::Unknown,
        })
    }

    fn flags(line: &str) -> Vec<(String, String)> {
        scanned(line)
            .flags
            .into_iter()
            .map(|flag| (flag.name, flag.value))
            .collect()
    }

    #[test]
    fn one_dash_or_two_and_equals_or_blank_mean_the_same() {
        for line in ["-v x", "--v x", "-v=x", "--v=x"] {
            assert_eq!(flags(line), [("v".to_owned(), "x".to_owned())], "{line}");
        }
        assert_eq!(flags("-proxy.addr :1;a=b -v=")[1].1, "");
        assert_eq!(flags("-v -b"), [("v".to_owned(), "-b".to_owned())]);
    }

    #[test]
    fn a_boolean_alone_is_true_and_takes_no_value_from_the_next_word() {
        let scan = scanned("-b false -v x");
        assert_eq!(
            scan.flags,
            [Flag {
                name: "b".to_owned(),
                value: "true".to_owned()
            }]
        );
        assert_eq!(scan.rest, ["false", "-v", "x"]);
    }

    #[test]
    fn two_dashes_alone_and_one_dash_alone_end_the_flags() {
        assert_eq!(scanned("-b -- -v").rest, ["-v"]);
        assert_eq!(scanned("-b - -v").rest, ["-", "-v"]);
    }

    #[test]
    fn every_fault_is_found_in_gos_words() {
        let scan = scanned("---x -=y -nope 3 -zip=4 -v");
        let expected = [
            Bad::Syntax("bad flag syntax: ---x".to_owned()),
            Bad::Syntax("bad flag syntax: -=y".to_owned()),
            Bad::Unknown("nope".to_owned()),
            Bad::Unknown("zip".to_owned()),
            Bad::Syntax("flag needs an argument: -v".to_owned()),
        ];
        assert_eq!(scan.bad, expected);
    }

    proptest! {
        #[test]
        fn no_command_line_panics_and_nothing_is_invented(line in "[-=a-z0-9 .\u{e9}]{0,40}") {
            let scan = scanned(&line);
            prop_assert!(scan.flags.len() + scan.rest.len() + scan.bad.len() <= line.split(' ').count());
        }
    }
}
