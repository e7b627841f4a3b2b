//! A configuration behind a URL: one GET, redirects followed, bounded in time and size. It is asked for before anything
//! runs, over the balancer's own client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, LOCATION};
use hyper::{Response, StatusCode, Uri};
use lb::fetch::{FetchError, Fetcher, Limits};

use crate::config::machine::Fetched;

/// For everything, redirects included.
const PATIENCE: Duration = Duration::from_secs(10);
/// No configuration is larger.
const MOST_BODY: usize = 1 << 20;
/// As Go's client.
const MOST_REDIRECTS: usize = 10;

/// What `url` answers, redirects followed.
///
/// # Errors
/// Why there is no answer. Of a URL it says neither user nor query, which may be secrets.
pub async fn get(url: &str) -> io::Result<Fetched> {
    match tokio::time::timeout(PATIENCE, follow(url.to_owned())).await {
        Ok(answer) => answer,
        Err(_) => Err(io::Error::other(format!("no answer within {PATIENCE:?}"))),
    }
}

async fn follow(mut url: String) -> io::Result<Fetched> {
    let tls = api::tls::Tls::default().config().map_err(io::Error::other)?;
    let fetcher = Fetcher::new(&Arc::new(tls));
    let limits = Limits {
        time: PATIENCE,
        size: MOST_BODY,
    };
    for _ in 0..=MOST_REDIRECTS {
        let answer = fetcher.ask(&url, &[], limits).await;
        let answer = answer.map_err(|error| match error {
            FetchError::Unreachable { problem, .. } => io::Error::other(problem),
            other => io::Error::other(other),
        })?;
        match redirect(&url, &answer) {
            Some(next) => url = next?,
            None => return Ok(fetched(answer)),
        }
    }
    Err(io::Error::other(format!("more than {MOST_REDIRECTS} redirects")))
}

/// Where an answer sends us; never from TLS to none.
fn redirect(from: &str, answer: &Response<Bytes>) -> Option<io::Result<String>> {
    use StatusCode as S;
    let moved = [
        S::MOVED_PERMANENTLY,
        S::FOUND,
        S::SEE_OTHER,
        S::TEMPORARY_REDIRECT,
        S::PERMANENT_REDIRECT,
    ];
    if !moved.contains(&answer.status()) {
        return None;
    }
    let location = answer.headers().get(LOCATION)?.to_str().ok()?;
    let from: Uri = from.parse().ok()?;
    let is_secure = |uri: &Uri| uri.scheme_str() == Some("https");
    let next = if location.starts_with('/') && !location.starts_with("//") {
        format!("{}://{}{location}", from.scheme_str()?, from.authority()?)
    } else {
        location.to_owned()
    };
    if is_secure(&from) && !next.parse().is_ok_and(|next| is_secure(&next)) {
        return Some(Err(io::Error::other("its redirect leads away from TLS")));
    }
    Some(Ok(next))
}

fn fetched(answer: Response<Bytes>) -> Fetched {
    let content_type = answer.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    Fetched {
        status: answer.status().as_u16(),
        content_type: content_type.unwrap_or_default().to_owned(),
        body: answer.into_body().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::HeaderMap;
    use axum::response::Redirect;
    use axum::routing::get;

    use super::*;

    async fn server() -> String {
        let app = Router::new()
            .route("/conf", get(|| async { "proxy.addr = :1" }))
            .route("/moved", get(|| async { Redirect::temporary("/conf") }))
            .route("/named", get(named))
            .route("/round", get(|| async { Redirect::temporary("/round") }))
            .route("/big", get(|| async { vec![b'#'; MOST_BODY + 1] }));
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(socket, app).await });
        format!("http://{addr}")
    }

    #[tokio::test]
    async fn an_answer_is_fetched_with_its_status_and_type_through_redirects() {
        let at = server().await;
        let fetched = super::get(&format!("{at}/moved")).await.unwrap();
        assert_eq!(
            (fetched.status, fetched.content_type.as_str()),
            (200, "text/plain; charset=utf-8")
        );
        assert_eq!(fetched.body, b"proxy.addr = :1");
        assert_eq!(super::get(&format!("{at}/none")).await.unwrap().status, 404);
    }

    async fn named(headers: HeaderMap) -> Result<&'static str, StatusCode> {
        let said = headers.get("authorization").and_then(|said| said.to_str().ok());
        match said {
            Some("Basic YW5uOnNlY3JldA==") => Ok("in"),
            _ => Err(StatusCode::UNAUTHORIZED),
        }
    }

    #[tokio::test]
    async fn user_and_password_of_the_url_are_said() {
        let at = server().await.replace("http://", "http://ann:secret@");
        let fetched = super::get(&format!("{at}/named")).await.unwrap();
        assert_eq!((fetched.status, &*fetched.body), (200, &b"in"[..]));
    }

    #[tokio::test]
    async fn what_does_not_end_is_cut_off() {
        let at = server().await;
        assert!(
            super::get(&format!("{at}/round"))
                .await
                .unwrap_err()
                .to_string()
                .contains("redirects")
        );
        assert!(super::get(&format!("{at}/big")).await.is_err());
        assert!(
            super::get("http://127.0.0.1:1/")
                .await
                .unwrap_err()
                .to_string()
                .contains("refused")
        );
        assert!(super::get("http://").await.is_err());
    }
}
