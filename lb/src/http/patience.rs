//! How long a client's connection may take for what. Pure: it is shown the connection now and then, and says
//! whether that is still fine, so no request pays for a timer.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Listener;
use crate::http::framing::Reading;

/// A head must be complete this long after its first byte, unless the listener's `rt` says otherwise.
const HEAD: Duration = Duration::from_secs(10);
/// A connection without a request is closed after this long, unless the listener's `it` says otherwise.
const IDLE: Duration = Duration::from_secs(120);
/// How long a client that closed its half is believed to be there while nothing is written to it. Until then
/// nothing tells it from one that left, and the server works on.
const HALF_CLOSED: Duration = Duration::from_secs(60);

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// What its next bytes belong to.
    pub reading: Reading,
    /// Requests whose head was read.
    pub begun: u64,
    /// Requests whose answer has ended.
    pub answered: u64,
    /// The client will send no more.
    pub half_closed: bool,
    /// Bytes written to the client.
    pub written: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    /// Nothing has been asked for too long.
    Idle,
    /// A request takes too long to arrive, or an answer to leave.
    Late,
}

/// Limits of a connection, and since when it has been as it is.
#[derive(Debug)]
pub(crate) struct Patience {
    head: Duration,
    /// From the first byte of a request to its last.
    whole: Option<Duration>,
    /// From the last byte of a request to the last of its answer.
    answer: Option<Duration>,
    idle: Duration,
    state: State,
    since: Instant,
    /// When the client was last known to be there, and what it had been sent then.
    seen: (Instant, u64),
}

/// Time runs while this stays the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// By number of answers.
    Idle(u64),
    /// By number of requests before it.
    Arriving(u64),
    /// By number of answers before it.
    Answering(u64),
}

impl Patience {
    pub(crate) fn new(listener: &Listener, now: Instant) -> Self {
        Self {
            head: listener.read_timeout.unwrap_or(HEAD),
            whole: listener.read_timeout,
            answer: listener.write_timeout,
            idle: listener.idle_timeout.unwrap_or(IDLE),
            state: State::Idle(0),
            since: now,
            seen: (now, 0),
        }
    }

    /// How often to look.
    pub(crate) fn tick(&self) -> Duration {
        let limits = [Some(self.head), self.whole, self.answer, Some(self.idle)];
        let shortest = limits.into_iter().flatten().min().unwrap_or(self.head);
        (shortest / 2).max(Duration::from_millis(10))
    }

    pub(crate) fn look(&mut self, progress: Progress, now: Instant) -> Verdict {
        let state = match progress.reading {
            Reading::Head => State::Arriving(progress.begun),
            Reading::Body => State::Arriving(progress.begun.saturating_sub(1)),
            Reading::Nothing if progress.answered < progress.begun => State::Answering(progress.answered),
            Reading::Nothing => State::Idle(progress.answered),
        };
        if state != self.state {
            self.state = state;
            self.since = now;
        }
        if !progress.half_closed || self.seen.1 != progress.written {
            self.seen = (now, progress.written);
        }
        if now.saturating_duration_since(self.seen.0) >= HALF_CLOSED {
            return Verdict::Late;
        }
        let (limit, verdict) = match progress.reading {
            Reading::Head => (Some(self.head), Verdict::Late),
            Reading::Body => (self.whole, Verdict::Late),
            Reading::Nothing if progress.answered < progress.begun => (self.answer, Verdict::Late),
            Reading::Nothing => (Some(self.idle), Verdict::Idle),
        };
        match limit {
            Some(limit) if now.saturating_duration_since(self.since) >= limit => verdict,
            _ => Verdict::Fine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows a connection second by second and returns each verdict that is not fine, with its second.
    fn verdicts(listener: &Listener, states: &[(Reading, u64, u64)]) -> Vec<(usize, Verdict)> {
        let start = Instant::now();
        let mut patience = Patience::new(listener, start);
        let look = |(second, (reading, begun, answered)): (usize, &(Reading, u64, u64))| {
            let progress = Progress {
                reading: *reading,
                begun: *begun,
                answered: *answered,
                ..Progress::default()
            };
            (
                second,
                patience.look(progress, start + Duration::from_secs(second as u64)),
            )
        };
        let all = states.iter().enumerate().map(look);
        all.filter(|(_, verdict)| *verdict != Verdict::Fine).collect()
    }

    fn listener(rt: Option<u64>, wt: Option<u64>, it: Option<u64>) -> Listener {
        Listener {
            read_timeout: rt.map(Duration::from_secs),
            write_timeout: wt.map(Duration::from_secs),
            idle_timeout: it.map(Duration::from_secs),
            ..Listener::http("127.0.0.1:0".parse().unwrap())
        }
    }

    #[test]
    fn a_head_has_ten_seconds_and_a_body_all_the_time_it_needs() {
        let mut states = vec![(Reading::Head, 0, 0); 11];
        assert_eq!(
            verdicts(&listener(None, None, None), &states),
            [(10, Verdict::Late)]
        );
        states.truncate(9);
        states.extend([(Reading::Body, 1, 0); 100]);
        assert_eq!(verdicts(&listener(None, None, None), &states), []);
    }

    #[test]
    fn a_read_timeout_covers_the_whole_request() {
        let states = [
            (Reading::Head, 0, 0),
            (Reading::Head, 0, 0),
            (Reading::Body, 1, 0),
            (Reading::Body, 1, 0),
        ];
        assert_eq!(
            verdicts(&listener(Some(3), None, None), &states),
            [(3, Verdict::Late)]
        );
    }

    #[test]
    fn a_write_timeout_covers_the_answer_and_starts_anew_with_the_next() {
        let answering = |answered| (Reading::Nothing, answered + 1, answered);
        let states = [
            answering(0),
            answering(0),
            answering(1),
            answering(1),
            answering(1),
        ];
        assert_eq!(
            verdicts(&listener(None, Some(2), None), &states),
            [(4, Verdict::Late)]
        );
        assert_eq!(
            verdicts(&listener(None, None, Some(1)), &states),
            [],
            "that is not idling"
        );
    }

    #[test]
    fn a_half_closed_client_waits_a_minute_for_each_byte() {
        let start = Instant::now();
        let mut patience = Patience::new(&listener(None, None, None), start);
        let mut look = |second, half_closed, written| {
            let progress = Progress {
                begun: 1,
                half_closed,
                written,
                ..Progress::default()
            };
            patience.look(progress, start + Duration::from_secs(second))
        };
        assert_eq!(look(1000, false, 0), Verdict::Fine);
        assert_eq!(look(1059, true, 0), Verdict::Fine);
        assert_eq!(look(1118, true, 1), Verdict::Fine);
        assert_eq!(look(1177, true, 1), Verdict::Fine);
        assert_eq!(look(1178, true, 1), Verdict::Late);
    }

    #[test]
    fn idling_starts_anew_after_each_request() {
        let idle = |answered| (Reading::Nothing, answered, answered);
        let states = [idle(0), idle(0), idle(1), idle(1), idle(1), idle(1)];
        assert_eq!(
            verdicts(&listener(None, None, Some(3)), &states),
            [(5, Verdict::Idle)]
        );
    }
}
