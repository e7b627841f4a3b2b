//! Who may do what on the admin server. Pure, but for the question whether a password is right, which is asked
//! before.
//!
//! A page in somebody's browser is a stranger with the user's reach: it could have its own name point at us (DNS
//! rebinding), or send a form here (CSRF). So names that cannot be ours are refused where no credential that a page
//! does not have was shown, and requests that change anything are refused where the browser says that another site
//! sends them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::{Method, StatusCode};

use super::View;
use super::paths::Needs;
use super::server::Peer;
use crate::authority;
use crate::config::{Access, Config, Secret};

const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// What the operator asks of visitors.
#[derive(Debug)]
pub(super) struct Door {
    access: Access,
    token: Option<Secret>,
    /// `ui.auth` names a scheme.
    pub basic: Option<String>,
    config: std::sync::Arc<Config>,
}

/// By what somebody was let in; said in the log with what they did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Nobody was asked for a credential: on loopback, or with `ui.access=rw`.
    Anybody,
    Token,
    User(String),
    /// A client certificate that the listener has verified.
    Certificate,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("anybody, without a credential"),
            Self::Token => f.write_str("holder of ui.token"),
            // It comes from outside, and goes into a line.
            Self::User(name) => write!(f, "user {name:?}"),
            Self::Certificate => f.write_str("holder of a client certificate"),
        }
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum No {
    /// The Host is no name of ours.
    Foreign,
    /// Nobody was named who may.
    Unknown,
    /// `ui.access=ro`.
    ReadOnly,
    /// Strangers off loopback only read.
    Stranger,
    /// Another site's page sends it.
    CrossSite,
    /// A form could send it.
    Form,
}

impl No {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Foreign => StatusCode::MISDIRECTED_REQUEST,
            Self::Unknown => StatusCode::UNAUTHORIZED,
            Self::ReadOnly | Self::Stranger | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::Form => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Foreign => "this is not a name of this server\n",
            Self::Unknown => "say who you are: by token or password\n",
            // fabio's.
            Self::ReadOnly => "Forbidden\n",
            Self::Stranger => {
                "Forbidden: from here, writing needs ui.token, ui.auth, client certificates or ui.access=rw\n"
            }
            Self::CrossSite => "Forbidden: another site sends this\n",
            Self::Form => "it takes Content-Type application/json or X-Requested-With\n",
        }
    }
}

/// What is asked for, as far as it matters here.
pub(super) struct Asked<'a> {
    pub method: &'a Method,
    pub needs: Needs,
    pub headers: &'a HeaderMap,
    pub query: &'a str,
    pub peer: &'a Peer,
    /// Whose password was verified.
    pub user: Option<String>,
}

impl Door {
    pub(super) fn of(view: &View) -> Self {
        let ui = view.ui();
        Self {
            access: ui.access,
            token: ui.token,
            basic: ui.auth,
            config: view.config(),
        }
    }

    /// Says what an operator may not be aware of, unless it was so before. Whether it is so.
    pub(super) fn announce(&self, at: SocketAddr, before: bool) -> bool {
        let open = self.access == Access::ReadWrite && self.token.is_none() && self.basic.is_none();
        let open = open && !at.ip().is_loopback();
        if open && !before {
            tracing::info!(%at, "ui.access=rw: whoever reaches the admin server may change routes");
        }
        open
    }

    /// Who it is, if they may.
    pub(super) fn admit(&self, asked: &Asked<'_>) -> Result<Who, No> {
        let who = self.who(asked);
        let is_ours = match asked.headers.get(HOST).map(HeaderValue::to_str) {
            // Browsers always say where they think they are.
            None => true,
            Some(host) => host.is_ok_and(|host| is_ours(&self.config, host)),
        };
        let changes = !matches!(*asked.method, Method::GET | Method::HEAD);
        let shown = matches!(who, Who::Token | Who::User(_));
        if !is_ours && (asked.peer.on_loopback || (changes && !shown)) {
            return Err(No::Foreign);
        }
        if asked.needs == Needs::Nothing {
            return Ok(who);
        }
        let closed = self.token.is_some() || self.basic.is_some();
        if closed && who == Who::Anybody {
            return Err(No::Unknown);
        }
        if asked.needs == Needs::Write {
            match self.access {
                Access::ReadOnly => return Err(No::ReadOnly),
                Access::Default if changes && who == Who::Anybody && !asked.peer.on_loopback => {
                    return Err(No::Stranger);
                }
                Access::Default | Access::ReadWrite => {}
            }
        }
        if changes && asked.needs == Needs::Write {
            same_site(asked)?;
        }
        Ok(who)
    }

    fn who(&self, asked: &Asked<'_>) -> Who {
        if let Some(token) = &self.token
            && said_tokens(asked).any(|said| same(said.as_bytes(), token.reveal().as_bytes()))
        {
            return Who::Token;
        }
        if let Some(user) = &asked.user {
            return Who::User(user.clone());
        }
        match &asked.peer.tls {
            Some(facts) if facts.client_cert.is_some() => Who::Certificate,
            _ => Who::Anybody,
        }
    }
}

/// Browsers say from which site a page sends something; and what no form can send, no page of another site can send
/// unasked (the Fetch standard's preflight, which nobody answers here).
fn same_site(asked: &Asked<'_>) -> Result<(), No> {
    let header = |name: &HeaderName| asked.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = header(&FETCH_SITE)
        && !matches!(site, "same-origin" | "none")
    {
        return Err(No::CrossSite);
    }
    if let Some(origin) = header(&ORIGIN) {
        let from = origin
            .split_once("://")
            .map_or(origin, |(_, authority)| authority);
        if header(&HOST).is_none_or(|host| !host.eq_ignore_ascii_case(from)) {
            return Err(No::CrossSite);
        }
    }
    let kind = header(&CONTENT_TYPE).unwrap_or_default();
    let json = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case("application/json");
    let custom =
        header(&REQUESTED_WITH).is_some() || header(&TOKEN).is_some() || header(&AUTHORIZATION).is_some();
    // A form knows GET and POST; everything else is asked for first.
    if *asked.method == Method::POST && !json && !custom {
        return Err(No::Form);
    }
    Ok(())
}

/// Tokens that a request says, in any of three ways.
fn said_tokens<'a>(asked: &'a Asked<'_>) -> impl Iterator<Item = std::borrow::Cow<'a, str>> {
    let text = |name: HeaderName| asked.headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let headers = bearer
        .into_iter()
        .chain(text(TOKEN))
        .map(std::borrow::Cow::Borrowed);
    let query = asked
        .query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("token="));
    let query = query.filter_map(|token| percent_encoding::percent_decode_str(token).decode_utf8().ok());
    headers.chain(query)
}

/// Takes as long for a wrong text of the same length as for the right one.
fn same(said: &[u8], right: &[u8]) -> bool {
    let differing = said.iter().zip(right).fold(0, |bits, (a, b)| bits | (a ^ b));
    said.len() == right.len() && differing == 0 && !right.is_empty()
}

/// Whether a Host names us: an address, `localhost`, our node or domains, or a name without dots, which
/// no foreign DNS zone can hand out.
fn is_ours(config: &Config, host: &str) -> bool {
    let bare = authority::name(host);
    let name = bare.trim_end_matches('.').to_ascii_lowercase();
    let below = |domain: &str| {
        let domain = domain.trim_matches('.').to_ascii_lowercase();
        !domain.is_empty()
            && name
                .strip_suffix(&*domain)
                .is_some_and(|left| left.is_empty() || left.ends_with('.'))
    };
    bare.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || below("localhost")
        || below(&config.node)
        || config.domains.iter().any(|domain| below(domain))
}

#[cfg(test)]
mod tests;
