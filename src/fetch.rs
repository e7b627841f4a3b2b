//! One GET over HTTP or HTTPS, bounded in time and size: how a configuration is fetched before anything runs.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{CONTENT_TYPE, LOCATION};
use hyper::{Response, StatusCode, Uri, body::Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

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
/// Why there is no answer, without the URL: it may hold a secret.
pub async fn get(url: &str) -> io::Result<Fetched> {
    let uri: Uri = url.parse().map_err(|_| io::Error::other("is no URL"))?;
    match tokio::time::timeout(PATIENCE, follow(uri)).await {
        Ok(answer) => answer,
        Err(_) => Err(io::Error::other(format!("no answer within {PATIENCE:?}"))),
    }
}

async fn follow(mut uri: Uri) -> io::Result<Fetched> {
    let client = client()?;
    for _ in 0..=MOST_REDIRECTS {
        let answer = client.get(uri.clone()).await.map_err(|error| broken(&error))?;
        match redirect(&uri, &answer) {
            Some(next) => uri = next?,
            None => return read(answer).await,
        }
    }
    Err(io::Error::other(format!("more than {MOST_REDIRECTS} redirects")))
}

fn client() -> io::Result<Client<HttpsConnector<HttpConnector>, Empty<Bytes>>> {
    let tls = api::tls::Tls::default().config().map_err(io::Error::other)?;
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls);
    let connector = connector.https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// Where an answer sends us; never from TLS to none.
fn redirect(from: &Uri, answer: &Response<Incoming>) -> Option<io::Result<Uri>> {
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
    let next = if location.starts_with('/') && !location.starts_with("//") {
        let (scheme, authority) = (from.scheme_str()?, from.authority()?);
        format!("{scheme}://{authority}{location}").parse()
    } else {
        location.parse::<Uri>()
    };
    let bad = |why: &str| io::Error::other(format!("its redirect {why}"));
    Some(match next {
        Ok(next) if from.scheme_str() == Some("https") && next.scheme_str() != Some("https") => {
            Err(bad("leads away from TLS"))
        }
        Ok(next) => Ok(next),
        Err(_) => Err(bad("is no URL")),
    })
}

async fn read(answer: Response<Incoming>) -> io::Result<Fetched> {
    let content_type = answer.headers().get(CONTENT_TYPE);
    let content_type = content_type
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    Ok(Fetched {
        status: answer.status().as_u16(),
        content_type: content_type.to_owned(),
        body: Limited::new(answer.into_body(), MOST_BODY)
            .collect()
            .await
            .map_err(io::Error::other)?
            .to_bytes()
            .to_vec(),
    })
}

/// The cause of a failure, which the client wraps twice.
fn broken(error: &hyper_util::client::legacy::Error) -> io::Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    io::Error::other(cause.to_string())
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::response::Redirect;
    use axum::routing::get;

    use super::*;

    async fn server() -> String {
        let app = Router::new()
            .route("/conf", get(|| async { "proxy.addr = :1" }))
            .route("/moved", get(|| async { Redirect::temporary("/conf") }))
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
