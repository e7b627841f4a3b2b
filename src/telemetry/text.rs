//! Fields of a line of text, none of which can begin another line or speak to a terminal: containers and registries put
//! their own words into them.

use std::fmt::{self, Debug, Write as _};

use tracing::field::Field;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{self, Writer};

/// Fields as the library writes them, but for their control characters.
pub fn fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    format::debug_fn(|to, field, value| write_field(to, field, value)).delimited(" ")
}

fn write_field(to: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    match field.name() {
        "message" => {}
        name if to.has_ansi_escapes() => write!(to, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m")?,
        name => write!(to, "{name}=")?,
    }
    write!(Plain(to), "{value:?}")
}

/// Writes text in which control characters are spelled out.
struct Plain<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Plain<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(char::is_control) {
            let (plain, from) = rest.split_at(at);
            let mut chars = from.chars();
            self.0.write_str(plain)?;
            for char in chars.by_ref().take(1) {
                write!(self.0, "{}", char.escape_default())?;
            }
            rest = chars.as_str();
        }
        self.0.write_str(rest)
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
    fn nobody_can_forge_a_line_or_paint_one_with_what_he_has_logged() {
        let paper = Paper::default();
        let to = paper.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || to.clone());
        let layer = layer.with_ansi(false).with_target(false).without_time();
        let log = tracing_subscriber::registry().with(layer.fmt_fields(fields()));
        tracing::subscriber::with_default(log, || {
            let says = "unhealthy: \u{1b}[31mred\r\n2026 WARN forged \u{9b}2J";
            tracing::warn!(%says, id = "t1:web:80", port = 80, "{} left\nout", "setting");
        });
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            text,
            " WARN setting left\\nout says=unhealthy: \\u{1b}[31mred\\r\\n2026 WARN forged \\u{9b}2J id=\"t1:web:80\" port=80\n"
        );
    }
}
