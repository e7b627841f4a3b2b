//! One order at an authority (RFC 8555): challenge shown, order finalised, certificate fetched.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use instant_acme::{
    Account, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Error, HttpClient, Identifier,
    NewOrder, Order, OrderStatus, RetryPolicy,
};

use super::shelf::{Issued, Shown};
use crate::fetch::{Fetcher, Limits};

/// An authority may take its time for one answer.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(30),
    size: 1 << 20,
};
/// Time for a challenge to be seen, and for a certificate to be made.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(90));

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoCert {
    /// The authority says no, or nothing.
    #[error("{0}")]
    Authority(#[from] Error),
    /// It did not see what it wanted to see.
    #[error("the authority did not accept {kind}: {problem}")]
    Challenge {
        /// How it looked.
        kind: &'static str,
        /// What it says.
        problem: String,
    },
    /// It wants proof of a kind that we cannot give.
    #[error("the authority offers neither http-01 nor tls-alpn-01")]
    NoChallenge,
    /// What it is to see cannot be put where it would be seen.
    #[error("{0}")]
    Unshown(String),
    /// It took too long.
    #[error("not done within {0:?}")]
    Late(Duration),
}

impl NoCert {
    /// The kind of problem, as RFC 8555 (6.7) names it.
    fn problem(&self) -> &str {
        let Self::Authority(Error::Api(problem)) = self else {
            return "";
        };
        let name = problem.r#type.as_deref().unwrap_or_default();
        name.strip_prefix("urn:ietf:params:acme:error:")
            .unwrap_or_default()
    }

    /// Nothing should be asked for for a while.
    pub(super) fn is_rate_limit(&self) -> bool {
        self.problem() == "rateLimited"
    }

    /// The authority knows nothing of our account.
    pub(super) fn is_unknown_account(&self) -> bool {
        self.problem() == "accountDoesNotExist"
    }
}

/// How an authority looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    TlsAlpn,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http-01",
            Self::TlsAlpn => "tls-alpn-01",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Http => Self::TlsAlpn,
            Self::TlsAlpn => Self::Http,
        }
    }

    fn as_type(self) -> ChallengeType {
        match self {
            Self::Http => ChallengeType::Http01,
            Self::TlsAlpn => ChallengeType::TlsAlpn01,
        }
    }
}

/// Orders a certificate for one host. `show` puts what the authority wants to see where it is seen.
pub(super) async fn order<S, F>(account: &Account, host: &str, kind: Kind, show: S) -> Result<Issued, NoCert>
where
    S: Fn(Shown) -> F,
    F: Future<Output = Result<(), String>>,
{
    let names = [Identifier::Dns(host.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    if order.state().status == OrderStatus::Pending {
        let kind = prove(&mut order, kind, show).await?;
        let ready = order.poll_ready(&PATIENCE).await;
        if !matches!(ready, Ok(OrderStatus::Ready)) {
            return Err(refusal(&mut order, kind, ready.err()).await);
        }
    }
    let key = order.finalize().await?;
    let cert = order.poll_certificate(&PATIENCE).await?;
    Ok(Issued { cert, key })
}

/// Shows what is to be seen, and says that it can be seen.
async fn prove<S, F>(order: &mut Order, preferred: Kind, show: S) -> Result<Kind, NoCert>
where
    S: Fn(Shown) -> F,
    F: Future<Output = Result<(), String>>,
{
    let mut used = preferred;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        let offers = |kind: Kind| {
            authorization
                .challenges
                .iter()
                .any(|offered| offered.r#type == kind.as_type())
        };
        used = [preferred, preferred.other()]
            .into_iter()
            .find(|kind| offers(*kind))
            .ok_or(NoCert::NoChallenge)?;
        let mut challenge = authorization
            .challenge(used.as_type())
            .ok_or(NoCert::NoChallenge)?;
        let answer = challenge.key_authorization();
        let shown = Shown {
            token: challenge.token.clone(),
            text: answer.as_str().to_owned(),
            digest: answer.digest().as_ref().to_vec(),
            until: 0,
        };
        show(shown).await.map_err(NoCert::Unshown)?;
        challenge.set_ready().await?;
    }
    Ok(used)
}

/// What the authority did not like.
async fn refusal(order: &mut Order, kind: Kind, error: Option<Error>) -> NoCert {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else {
            continue;
        };
        if let Some(problem) = state
            .challenges
            .iter()
            .find_map(|challenge| challenge.error.as_ref())
        {
            let problem = problem.to_string();
            let kind = kind.name();
            return NoCert::Challenge { kind, problem };
        }
    }
    match error {
        Some(error) => error.into(),
        None => NoCert::Challenge {
            kind: kind.name(),
            problem: "it does not say why".to_owned(),
        },
    }
}

/// Our own requests for the library.
pub(super) struct Http(pub(super) Fetcher);

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let fetcher = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            // Its body is whole already.
            let body = body
                .collect()
                .await
                .map(|body| body.to_bytes())
                .unwrap_or_default();
            let request = Request::from_parts(head, Full::new(body));
            let answer = fetcher.send(request, LIMITS).await;
            let answer = answer.map_err(|error| Error::Other(Box::new(error)))?;
            Ok(answer.map(Full::new).into())
        })
    }
}
