//! What one worker asks of a request that a route wants, in fabio's order: access rules, limits, who lets it in, room.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::http::header::{self, HeaderMap, HeaderValue};
use hyper::http::{Method, Response, StatusCode};

use super::auth::external::Word;
use super::auth::{Asker, Asking, Scheme, Verdict, challenge};
use super::limit::{InFlight, Spent, retry_after};
use super::origin::Origin;
use super::{Policy, access, now};
use crate::metrics::Counters;
use crate::table::{Options, Route};

/// Seconds for clients that come at a bad moment.
const SOON: u64 = 1;

/// The gate of one worker.
pub(crate) struct Gate {
    pub policy: Arc<Policy>,
    asking: Option<Asking>,
}

/// A request at the gate.
pub(crate) struct Applicant<'a> {
    pub route: &'a Route,
    pub options: &'a Options,
    pub origin: Origin,
    /// The client's end of the connection: stands for an origin that cannot be told.
    pub peer: IpAddr,
    pub method: &'a Method,
    /// Path as it was compared with routes, and query.
    pub target: (&'a str, Option<&'a str>),
    /// As a target would see them.
    pub headers: &'a mut HeaderMap,
    /// `proxy.limit.body`.
    pub body: Option<u64>,
}

/// What comes with being let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Held while the request is under way.
    pub in_flight: Option<InFlight>,
    /// Bytes that its body may have.
    pub body: Option<u64>,
}

/// Why a request is not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denial {
    /// `allow=`, `deny=`.
    #[error("access denied")]
    Access,
    /// `auth=`, and two who say who they are: one would be verified, and a target might believe the other.
    #[error("more than one Authorization header")]
    Ambiguous,
    /// `auth=`, and nobody there or a wrong password; with what is asked for.
    #[error("authorization failed")]
    Unauthorized(HeaderValue),
    /// `auth=`, and another server's answer instead of ours.
    #[error("the authorization server says no")]
    Said(Box<Response<Bytes>>),
    /// `auth=`, and that server says nothing.
    #[error("authorization server gave no answer")]
    NoWord,
    /// Wrong passwords, too many.
    #[error("too many attempts")]
    Guessing(Duration),
    /// More passwords to verify than can be.
    #[error("too many logins at once")]
    Busy,
    /// `ratelimit=`.
    #[error("too many requests")]
    Rate(Duration),
    /// `maxinflight=`.
    #[error("too many requests at once")]
    InFlight,
    /// `maxbody=`, `proxy.limit.body`.
    #[error("request body is too large")]
    Body,
}

impl Gate {
    /// Inside the runtime of its worker, whose connections to other servers it owns.
    pub(crate) fn new(policy: Arc<Policy>) -> Self {
        Self {
            asking: policy.schemes.asking(),
            policy,
        }
    }

    /// Lets a request in, having made its headers what they are for a target behind the gate.
    pub(crate) async fn admit(&self, mut applicant: Applicant<'_>) -> Result<Admitted, Denial> {
        let options = applicant.options;
        if !access::admits_origin(&options.access, applicant.origin) {
            return Err(Denial::Access);
        }
        let client = applicant.origin.or(applicant.peer);
        // A route that has options with limits has this, too.
        let limits = applicant.route.limits();
        if let Some((rate, limits)) = options.limits.rate.as_ref().zip(limits) {
            limits.take(rate, client, now()).map_err(Denial::Rate)?;
        }
        // Before a password is verified for a request that is refused anyway.
        let body = options.limits.body.or(applicant.body);
        if body.is_some_and(|most| announced(applicant.headers).is_some_and(|length| length > most)) {
            return Err(Denial::Body);
        }
        if let Some(name) = options.auth.as_deref() {
            // Apart, so that requests without it do not carry its weight.
            Box::pin(self.authorize(name, client, &mut applicant)).await?;
        }
        let room = |(most, limits): (u32, &Arc<Spent>)| limits.enter(most).ok_or(Denial::InFlight);
        Ok(Admitted {
            in_flight: options.limits.in_flight.zip(limits).map(room).transpose()?,
            body,
        })
    }

    async fn authorize(
        &self,
        name: &str,
        client: IpAddr,
        applicant: &mut Applicant<'_>,
    ) -> Result<(), Denial> {
        let said = applicant.headers.get_all(header::AUTHORIZATION);
        if said.iter().nth(1).is_some() {
            return Err(Denial::Ambiguous);
        }
        match self.policy.schemes.get(name) {
            None => Err(Denial::Unauthorized(challenge(name))),
            Some(Scheme::Basic(basic)) => {
                let now = now();
                let said = applicant.headers.get(header::AUTHORIZATION);
                match basic.check(said, Asker { client, now }).await {
                    Verdict::In => {
                        if !basic.forward {
                            applicant.headers.remove(header::AUTHORIZATION);
                        }
                        Ok(())
                    }
                    Verdict::Unauthorized(challenge) => Err(Denial::Unauthorized(challenge)),
                    Verdict::Guessing(wait) => Err(Denial::Guessing(wait)),
                    Verdict::Busy => Err(Denial::Busy),
                }
            }
            Some(Scheme::External(external)) => {
                let asking = self.asking.as_ref().ok_or(Denial::NoWord)?;
                match external
                    .ask(asking, applicant.method, applicant.target, applicant.headers)
                    .await
                {
                    Word::In(said) => {
                        external.mark(applicant.headers, &said);
                        Ok(())
                    }
                    Word::Out(answer) => Err(Denial::Said(answer)),
                    Word::None => Err(Denial::NoWord),
                }
            }
        }
    }
}

/// Length that the head of a request announces.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether a request that was let in for `one` may go to a target with the options of `other` instead: all that was
/// asked of it is the same. Instances of a service that is being changed may differ.
pub(crate) fn same_gate(one: &Options, other: &Options) -> bool {
    one.access == other.access && one.auth == other.auth && one.limits == other.limits
}

impl Denial {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Access => StatusCode::FORBIDDEN,
            Self::Ambiguous => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Said(answer) => answer.status(),
            Self::NoWord => StatusCode::BAD_GATEWAY,
            Self::Guessing(_) | Self::Rate(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::InFlight => StatusCode::SERVICE_UNAVAILABLE,
            Self::Body => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    /// What the client reads. The first two are fabio's words.
    pub(crate) fn text(&self) -> Bytes {
        match self {
            Self::Access => Bytes::from_static(b"access denied"),
            Self::Unauthorized(_) => Bytes::from_static(b"authorization failed"),
            Self::Said(answer) => answer.body().clone(),
            denial => Bytes::from(format!("{denial}\n")),
        }
    }

    /// Puts what the client should know into the head of its answer.
    pub(crate) fn head(&self, headers: &mut HeaderMap) {
        let mut again = |seconds: u64| headers.insert(header::RETRY_AFTER, seconds.into());
        match self {
            Self::Rate(wait) | Self::Guessing(wait) => {
                again(retry_after(*wait));
            }
            Self::Busy | Self::InFlight => {
                again(SOON);
            }
            Self::Unauthorized(challenge) => {
                headers.insert(header::WWW_AUTHENTICATE, challenge.clone());
            }
            Self::Said(answer) => {
                headers.remove(header::CONTENT_TYPE);
                for name in answer.headers().keys() {
                    headers.remove(name);
                }
                headers.extend(answer.headers().clone());
            }
            Self::Access | Self::Ambiguous | Self::NoWord | Self::Body => {}
        }
    }

    pub(crate) fn count(&self, counters: &Counters) {
        let denied = &counters.denied;
        let counter = match self {
            Self::Access => &denied.access,
            Self::Ambiguous | Self::Unauthorized(_) | Self::Said(_) | Self::NoWord => &denied.auth,
            Self::Guessing(_) | Self::Busy => &denied.guessing,
            Self::Rate(_) => &denied.rate,
            Self::InFlight => &denied.in_flight,
            Self::Body => &denied.body,
        };
        counter.add(1);
        if matches!(self, Self::NoWord) {
            counters.auth_failures.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::options::{Access, Limits};

    #[test]
    fn a_request_goes_on_only_to_where_no_more_is_asked_of_it() {
        let plain = Options::default();
        assert!(same_gate(&plain, &Options::default()));
        for other in [
            Options {
                auth: Some("sso".into()),
                ..Options::default()
            },
            Options {
                access: Access::Closed("x".into()),
                ..Options::default()
            },
            Options {
                limits: Limits {
                    body: Some(1),
                    ..Limits::default()
                },
                ..Options::default()
            },
            Options {
                limits: Limits {
                    in_flight: Some(1),
                    ..Limits::default()
                },
                ..Options::default()
            },
        ] {
            assert!(!same_gate(&plain, &other), "{other:?}");
        }
    }

    #[test]
    fn the_answer_of_another_server_is_its_own() {
        let mut answer = Response::new(Bytes::from_static(b"<p>log in</p>"));
        *answer.status_mut() = StatusCode::FOUND;
        answer
            .headers_mut()
            .insert(header::LOCATION, HeaderValue::from_static("/login"));
        for cookie in ["a=1", "b=2"] {
            answer
                .headers_mut()
                .append(header::SET_COOKIE, HeaderValue::from_static(cookie));
        }
        let denial = Denial::Said(Box::new(answer));
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(header::CONTENT_LENGTH, 13.into());
        denial.head(&mut headers);
        assert_eq!(headers.get_all(header::SET_COOKIE).iter().count(), 2);
        assert!(headers.contains_key(header::LOCATION) && !headers.contains_key(header::CONTENT_TYPE));
        assert_eq!((denial.status(), headers.len()), (StatusCode::FOUND, 4));
    }
}
