//! A log for programs: each line is one object with `timestamp`, `level`, `message` and the event's fields beside them.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes events so. Ours have no spans around them.
pub struct Objects;

impl<S, N> FormatEvent<S, N> for Objects
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        writeln!(to, "{}", object(fields.0, *event.metadata().level()))
    }
}

/// Lines that are no events, as if they were.
pub fn lines(level: Level, text: &str) -> String {
    let said = text.lines().filter(|line| !line.trim().is_empty());
    said.fold(String::new(), |all, line| {
        let message = line.strip_prefix("==> ").unwrap_or(line);
        let fields = Map::from_iter([("message".to_owned(), message.into())]);
        format!("{all}{}\n", object(fields, level))
    })
}

fn object(mut fields: Map<String, Value>, level: Level) -> Value {
    let mut time = String::new();
    // A string takes everything.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    fields.insert("timestamp".to_owned(), time.into());
    fields.insert("level".to_owned(), level.as_str().into());
    fields.into()
}

struct Fields(Map<String, Value>);

impl Fields {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_event_is_one_line_and_one_object_whatever_is_in_its_fields() {
        let paper = Paper::default();
        let to = paper.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || to.clone());
        let log = tracing_subscriber::registry().with(layer.event_format(Objects));
        tracing::subscriber::with_default(log, || {
            let reason = "two\nlines \"quoted\" \u{1b}[2J";
            tracing::warn!(id = %"t1:web:80", port = 80, ok = true, reason, "{} left out", "setting");
            tracing::info!("plain");
        });
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        let objects: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(objects.len(), 2, "{text}");
        assert_eq!(objects[0]["message"], "setting left out");
        assert_eq!(objects[0]["level"], "WARN");
        assert_eq!(objects[0]["id"], "t1:web:80");
        assert_eq!(objects[0]["port"], 80);
        assert_eq!(objects[0]["reason"], "two\nlines \"quoted\" \u{1b}[2J");
        assert!(objects[1]["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn what_is_no_event_is_an_object_a_line_too() {
        let text = lines(Level::INFO, "==> Lictor 1\n\n==> http: 127.0.0.1:1\n");
        let said: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(said.len(), 2);
        assert_eq!(said[1]["message"], "http: 127.0.0.1:1");
    }
}
