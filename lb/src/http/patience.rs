//! How long a client's connection may take for what. Pure: it is shown the connection now and then, and says
//! whether that is still fine, so no request pays for a timer.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::{Edge, Listener};
use crate::http::body::Clock;
use crate::http::framing::Reading;
use crate::pace::Pace;

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
    /// Something waits for the client to take it. Over HTTP/2: in front of the socket, whatever streams wait for.
    pub waiting: bool,
    /// Some of an answer is still here, be it for the socket or, over HTTP/2, for its stream to let it in.
    pub unsent: bool,
    /// Bytes of answers that the client has let in.
    pub taken: u64,
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
    /// From the first byte of a head to its last.
    head: Option<Duration>,
    /// From the first byte of a request to its last.
    whole: Option<Duration>,
    /// From the last byte of a request to the last of its answer.
    answer: Option<Duration>,
    idle: Duration,
    half_closed: Duration,
    /// Of the client, in taking what waits for it.
    pace: Pace,
    state: State,
    since: Instant,
    /// When the client was last known to be there, and what it had been sent then.
    seen: (Instant, u64),
    /// What it had let in of its answers at the last look.
    taken: u64,
    /// It was found idle, and is asked to go.
    leaving: bool,
}

/// Limits of one request that shares its connection with others.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Each {
    /// From its head to the last byte of its body.
    whole: Option<Duration>,
    /// From its head to the last byte of its answer.
    pub answer: Option<Duration>,
}

impl Each {
    /// For its body, which begins now.
    pub(crate) fn clock(&self, edge: &Edge, now: Instant) -> Option<Clock> {
        let pace = (edge.rate > 0).then(|| Pace::new(edge.stall, edge.rate));
        let until = self.whole.map(|whole| now + whole);
        (pace.is_some() || until.is_some()).then(|| Clock::new(pace, until))
    }
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
    pub(crate) fn new(listener: &Listener, edge: &Edge, now: Instant) -> Self {
        let stall = listener.write_timeout.unwrap_or(edge.stall);
        Self {
            head: listener.read_timeout.or(edge.header_timeout),
            whole: listener.read_timeout,
            answer: listener.write_timeout,
            idle: listener.idle_timeout.unwrap_or(IDLE),
            half_closed: HALF_CLOSED.min(edge.stall),
            pace: Pace::new(stall, edge.rate),
            state: State::Idle(0),
            since: now,
            seen: (now, 0),
            taken: 0,
            leaving: false,
        }
    }

    /// For each request of a connection that many share: one that takes long may not end it for the others.
    pub(crate) fn each(&self, is_h2: bool) -> Each {
        if !is_h2 {
            return Each::default();
        }
        Each {
            whole: self.whole,
            answer: self.answer,
        }
    }

    /// See [`Patience::each`].
    pub(crate) fn with_streams(self, edge: &Edge) -> Self {
        Self {
            whole: None,
            answer: None,
            pace: Pace::new(edge.stall, edge.rate),
            ..self
        }
    }

    /// For the first byte of a connection, for the rest of what tells its version.
    pub(crate) fn beginning(&self) -> (Duration, Duration) {
        (self.idle, self.head.unwrap_or(self.idle))
    }

    /// How often to look.
    pub(crate) fn tick(&self) -> Duration {
        let (half_closed, stall) = (Some(self.half_closed), Some(self.pace.left()));
        let limits = [self.head, self.whole, self.answer, half_closed, stall];
        let shortest = limits.into_iter().flatten().fold(self.idle, Duration::min);
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
            self.leaving = false;
        }
        let is_idle = matches!(state, State::Idle(_));
        if is_idle && progress.unsent && self.taken != progress.taken {
            self.since = now;
        }
        self.taken = progress.taken;
        if !progress.half_closed || self.seen.1 != progress.written {
            self.seen = (now, progress.written);
        }
        if now.saturating_duration_since(self.seen.0) >= self.half_closed {
            return Verdict::Late;
        }
        if !progress.waiting {
            self.pace.rest(progress.written);
        } else if self.pace.is_too_slow(true, progress.written, now) {
            return Verdict::Late;
        }
        // hyper is done with an answer long before a slow client is, which idles only once it has all.
        let idle = if progress.unsent {
            self.idle.max(self.pace.stall())
        } else {
            self.idle
        };
        let (limit, verdict) = match progress.reading {
            Reading::Head => (self.head, Verdict::Late),
            Reading::Body => (self.whole, Verdict::Late),
            Reading::Nothing if progress.answered < progress.begun => (self.answer, Verdict::Late),
            // One that does not even take the last bytes of its last answer cannot be closed politely.
            Reading::Nothing if self.leaving => (Some(idle), Verdict::Late),
            Reading::Nothing => (Some(idle), Verdict::Idle),
        };
        if limit.is_none_or(|limit| now.saturating_duration_since(self.since) < limit) {
            return Verdict::Fine;
        }
        if verdict == Verdict::Idle {
            self.leaving = true;
            self.since = now;
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows a connection second by second and returns each verdict that is not fine, with its second.
    fn verdicts(listener: &Listener, states: &[(Reading, u64, u64)]) -> Vec<(usize, Verdict)> {
        let start = Instant::now();
        let mut patience = Patience::new(listener, &Edge::default(), start);
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
        let mut patience = Patience::new(&listener(None, None, None), &Edge::default(), start);
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
    fn a_client_that_takes_too_little_of_what_waits_for_it_is_given_up() {
        let start = Instant::now();
        let mut patience = Patience::new(&listener(None, None, None), &Edge::default(), start)
            .with_streams(&Edge::default());
        let mut look = |second, waiting, written| {
            let progress = Progress {
                begun: 2,
                waiting,
                written,
                ..Progress::default()
            };
            patience.look(progress, start + Duration::from_secs(second))
        };
        assert_eq!(look(1000, false, 0), Verdict::Fine, "the server is slow");
        assert_eq!(look(1119, true, 0), Verdict::Fine, "the client is slow");
        assert_eq!(look(1238, true, 0), Verdict::Fine);
        assert_eq!(look(1239, true, 30_000), Verdict::Fine, "but not too slow");
        assert_eq!(look(1300, true, 30_001), Verdict::Fine);
        assert_eq!(look(1310, false, 30_002), Verdict::Fine, "it has taken all");
        assert_eq!(look(1320, true, 30_002), Verdict::Fine);
        assert_eq!(look(1439, true, 40_000), Verdict::Fine);
        assert_eq!(look(1440, true, 50_000), Verdict::Late);
    }

    #[test]
    fn an_idle_connection_that_does_not_close_is_cut() {
        let states = vec![(Reading::Nothing, 0, 0); 7];
        assert_eq!(
            verdicts(&listener(None, None, Some(3)), &states),
            [(3, Verdict::Idle), (6, Verdict::Late)]
        );
    }

    #[test]
    fn what_is_left_of_an_answer_has_the_time_of_a_slow_client() {
        let start = Instant::now();
        let mut patience = Patience::new(&listener(None, None, Some(3)), &Edge::default(), start);
        let mut look = |second, unsent, taken| {
            let progress = Progress {
                begun: 1,
                answered: 1,
                unsent,
                taken,
                ..Progress::default()
            };
            patience.look(progress, start + Duration::from_secs(second))
        };
        assert_eq!(look(1000, true, 1), Verdict::Fine);
        assert_eq!(look(1119, true, 1), Verdict::Fine);
        assert_eq!(look(1120, true, 1), Verdict::Idle);
        assert_eq!(look(1200, true, 2), Verdict::Fine, "it takes some");
        assert_eq!(look(1319, true, 2), Verdict::Fine);
        assert_eq!(look(1320, true, 2), Verdict::Late);
        assert_eq!(look(1321, true, 3), Verdict::Fine);
        assert_eq!(look(1323, false, 3), Verdict::Fine);
        assert_eq!(look(1324, false, 3), Verdict::Late, "it has all, and does not go");
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
