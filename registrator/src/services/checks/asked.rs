//! One check as a container asks for it: which settings are its own, and what all kinds have in common.
//!
//! `SERVICE_CHECK_X` is the first; `SERVICE_CHECK_2_X` one more, which takes what it does not say itself from the first.

use std::collections::BTreeSet;
use std::time::Duration;

use catalog::Status;
use catalog::check::{Definition, UnknownStatus};

use super::super::Fault;
use super::super::metadata::Settings;
use super::super::text::{quoted, unfit};
use super::Checked;
use super::probe;

/// Nobody needs more for one service.
const MOST_CHECKS: usize = 16;

/// What tells one check of a service from another: a numbered one does not take these from the first.
const OWN: &[&str] = &["check_id", "check_name", "check_notes"];

/// All that may be said of a check, whatever its kind.
const COMMON: &[&str] = &[
    "check_interval",
    "check_timeout",
    "check_initial_status",
    "check_deregister_after",
    "check_success_before_passing",
    "check_failures_before_critical",
    "check_port",
];

/// What holds for all checks of the service, and so has no number.
const FOR_ALL: &[&str] = &["check_heartbeat"];

/// One check, as it is asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) of: Checked<'a>,
    /// `None` for the one without a number.
    number: Option<u16>,
}

impl<'a> Asked<'a> {
    /// The check without a number, whether or not anything is said of it.
    pub(super) fn plain(of: Checked<'a>) -> Self {
        Self { of, number: None }
    }

    /// Every check that is asked for, the one without a number first. Names settings that mean nothing.
    pub(super) fn all(of: Checked<'a>, faults: &mut Vec<Fault>) -> Vec<Self> {
        let known = [OWN, COMMON, probe::KINDS, probe::WORDS].concat();
        let mut numbers = BTreeSet::new();
        for key in of.settings.about_checks() {
            let Some(rest) = key.strip_prefix("check_") else {
                continue;
            };
            let (number, word) = match rest.split_once('_').map(|(text, word)| (number(text), word)) {
                Some((Some(number), word)) => (Some(number), word),
                _ => (None, rest),
            };
            let word = format!("check_{word}");
            if !known.contains(&word.as_str()) && !FOR_ALL.contains(&key) {
                faults.push(fault(
                    of.settings,
                    key,
                    "no setting of checks is called so; left out",
                ));
            } else if let Some(number) = number {
                numbers.insert(number);
            }
        }
        let mut all = vec![Self::plain(of)];
        all.extend(numbers.into_iter().map(|number| Self {
            of,
            number: Some(number),
        }));
        if all.len() > MOST_CHECKS {
            let left_out = all.len() - MOST_CHECKS;
            all.truncate(MOST_CHECKS);
            let reason = format!("{left_out} checks left out: a service has at most {MOST_CHECKS}");
            faults.push(fault(of.settings, "check_*", reason));
        }
        all
    }

    /// What is said of it, unless empty.
    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.of.settings.get(&self.spelling(key))
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, key: &str) -> bool {
        self.of.settings.is_on(&self.spelling(key))
    }

    /// The key under which this check finds a setting.
    fn spelling(&self, key: &str) -> String {
        let Some((number, word)) = self.number.zip(key.strip_prefix("check_")) else {
            return key.to_owned();
        };
        let own = format!("check_{number}_{word}");
        let alone = OWN.contains(&key) || probe::KINDS.contains(&key);
        if alone || self.of.settings.get(&own).is_some() {
            own
        } else {
            key.to_owned()
        }
    }

    /// A setting of this check that is of no use.
    pub(super) fn fault(&self, key: &str, reason: impl Into<String>) -> Fault {
        fault(self.of.settings, &self.spelling(key), reason)
    }

    /// The check, if it is one that can be run.
    pub(super) fn definition(&self, faults: &mut Vec<Fault>) -> Option<Definition> {
        let probe = probe::read(self, faults)?;
        let service = self.of.service;
        let number = self.number.map(|number| number.to_string());
        // Ids of checks are shared by a whole node: the service keeps those of two containers apart.
        let last = self.words("check_id", faults).or(number.as_deref());
        let id = match last {
            Some(last) => format!("service:{}:{last}", service.id),
            None => format!("service:{}", service.id),
        };
        let name = self.words("check_name", faults).map(str::to_owned);
        Some(Definition {
            id: id.into(),
            name: name.unwrap_or_else(|| format!("Service '{}' check", service.name)),
            notes: self.words("check_notes", faults).unwrap_or_default().to_owned(),
            initial: self.status(faults),
            output: String::new(),
            probe,
            success_before_passing: self.count("check_success_before_passing", faults),
            failures_before_critical: self.count("check_failures_before_critical", faults),
            deregister_critical_after: self.forgotten_after(faults),
        })
    }

    /// A text for people, or the end of an id.
    fn words(&self, key: &str, faults: &mut Vec<Fault>) -> Option<&'a str> {
        let text = self.get(key)?;
        let Some(problem) = unfit(text) else {
            return Some(text);
        };
        faults.push(self.fault(key, format!("left out: {problem}")));
        None
    }

    /// The status it wants to begin with.
    pub(super) fn status(&self, faults: &mut Vec<Fault>) -> Option<Status> {
        let key = "check_initial_status";
        let status: Result<Status, UnknownStatus> = self.get(key)?.parse();
        status
            .map_err(|problem| faults.push(self.fault(key, problem.to_string())))
            .ok()
    }

    /// After how long in critical state the service wants to be forgotten.
    fn forgotten_after(&self, faults: &mut Vec<Fault>) -> Option<Duration> {
        let key = "check_deregister_after";
        let time = time_of(self.get(key)?);
        time.map_err(|problem| faults.push(self.fault(key, problem))).ok()
    }

    /// How many in a row; 0 where nothing is said.
    fn count(&self, key: &str, faults: &mut Vec<Fault>) -> u32 {
        let Some(text) = self.get(key) else { return 0 };
        text.trim().parse().unwrap_or_else(|_| {
            let reason = format!("{} is no number from 0 to {}; left out", quoted(text), u32::MAX);
            faults.push(self.fault(key, reason));
            0
        })
    }

    /// How long something takes, where it cannot be nothing.
    pub(super) fn time(&self, key: &str, default: Duration, faults: &mut Vec<Fault>) -> Duration {
        let problem = match self.get(key).map(time_of) {
            None => return default,
            Some(Ok(time)) if !time.is_zero() => return time,
            Some(Ok(_)) => "zero is no time".to_owned(),
            Some(Err(problem)) => problem,
        };
        faults.push(self.fault(key, format!("{problem}; {default:?} is used")));
        default
    }
}

/// A number as people write it: `2`, not `02`.
fn number(text: &str) -> Option<u16> {
    let number: u16 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A time as Go writes it, which is how users of the original write theirs.
pub(super) fn time_of(text: &str) -> Result<Duration, String> {
    catalog::duration::parse(text)
        .map_err(|_| format!("{text:?} is no time; it is written like 10s or 1m30s"))
}

/// Named as its user spelled it; what nobody said, as the setting that says it.
fn fault(settings: &Settings<'_>, key: &str, reason: impl Into<String>) -> Fault {
    match settings.spelling(key) {
        Some(by) => Fault::new(by, reason),
        None => Fault::new(format!("SERVICE_{}", key.to_uppercase()), reason),
    }
}
