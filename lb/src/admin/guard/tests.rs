//! Who is let in for what: every access with every kind of visitor.

use super::*;
use crate::config::Ui;

fn door(access: Access, token: Option<&str>, basic: Option<&str>) -> Door {
    let ui = Ui {
        access,
        token: token.map(Secret::new),
        auth: basic.map(str::to_owned),
        ..Ui::default()
    };
    Door {
        access: ui.access,
        token: ui.token.clone(),
        basic: ui.auth.clone(),
        config: std::sync::Arc::new(Config {
            node: "box".into(),
            ui: Some(ui),
            ..Config::default()
        }),
    }
}

struct Visitor<'a> {
    method: &'a str,
    needs: Needs,
    headers: &'a [(&'static str, &'a str)],
    query: &'a str,
    on_loopback: bool,
    user: Option<&'a str>,
    certificate: bool,
}

const STRANGER: Visitor<'_> = Visitor {
    method: "PUT",
    needs: Needs::Write,
    headers: &[("host", "10.0.0.1:9998")],
    query: "",
    on_loopback: false,
    user: None,
    certificate: false,
};

fn admitted(door: &Door, visitor: &Visitor<'_>) -> Result<Who, No> {
    let method: Method = visitor.method.parse().unwrap();
    let headers = visitor.headers.iter().map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_str(value).unwrap(),
        )
    });
    let facts = crate::arrival::TlsFacts {
        client_cert: Some(Box::from(&b"der"[..])),
        ..Default::default()
    };
    let peer = Peer {
        addr: "10.0.0.9:1".parse().unwrap(),
        on_loopback: visitor.on_loopback,
        tls: visitor.certificate.then(|| std::sync::Arc::new(facts)),
    };
    door.admit(&Asked {
        method: &method,
        needs: visitor.needs,
        headers: &headers.collect(),
        query: visitor.query,
        peer: &peer,
        user: visitor.user.map(str::to_owned),
    })
}

#[test]
fn strangers_read_and_write_only_where_the_operator_said_so() {
    let get = Visitor {
        method: "GET",
        ..STRANGER
    };
    let read = Visitor {
        needs: Needs::Read,
        ..get
    };
    let local = Visitor {
        on_loopback: true,
        ..STRANGER
    };
    for (access, reads, looks, writes, writes_here) in [
        (
            Access::ReadOnly,
            Ok(Who::Anybody),
            Err(No::ReadOnly),
            Err(No::ReadOnly),
            Err(No::ReadOnly),
        ),
        (
            Access::Default,
            Ok(Who::Anybody),
            Ok(Who::Anybody),
            Err(No::Stranger),
            Ok(Who::Anybody),
        ),
        (
            Access::ReadWrite,
            Ok(Who::Anybody),
            Ok(Who::Anybody),
            Ok(Who::Anybody),
            Ok(Who::Anybody),
        ),
    ] {
        let door = door(access, None, None);
        let read = Visitor {
            method: "GET",
            needs: Needs::Read,
            ..read
        };
        let get = Visitor {
            method: "GET",
            needs: Needs::Write,
            ..get
        };
        assert_eq!(admitted(&door, &read), reads, "{access:?}");
        assert_eq!(admitted(&door, &get), looks, "{access:?}");
        assert_eq!(admitted(&door, &STRANGER), writes, "{access:?}");
        assert_eq!(admitted(&door, &local), writes_here, "{access:?}");
    }
}

#[test]
fn a_credential_opens_and_without_one_only_probes_are_answered() {
    let door = door(Access::Default, Some("s3cret"), Some("staff"));
    let token = [("host", "lb.example.com"), ("x-consul-token", "s3cret")];
    let bearer = [("host", "lb.example.com"), ("authorization", "bearer s3cret")];
    let wrong = [("host", "10.0.0.1"), ("authorization", "Bearer s3cre_")];
    let with = |headers| admitted(&door, &Visitor { headers, ..STRANGER });
    assert_eq!(with(&token), Ok(Who::Token));
    assert_eq!(with(&bearer), Ok(Who::Token));
    assert_eq!(with(&wrong), Err(No::Unknown));
    let query = Visitor {
        query: "pretty&token=s3c%72et",
        ..STRANGER
    };
    assert_eq!(admitted(&door, &query), Ok(Who::Token));
    let user = Visitor {
        user: Some("ann"),
        ..STRANGER
    };
    assert_eq!(admitted(&door, &user), Ok(Who::User("ann".into())));
    let certificate = Visitor {
        certificate: true,
        ..STRANGER
    };
    assert_eq!(admitted(&door, &certificate), Ok(Who::Certificate));
    for on_loopback in [true, false] {
        let read = Visitor {
            method: "GET",
            needs: Needs::Read,
            on_loopback,
            ..STRANGER
        };
        assert_eq!(admitted(&door, &read), Err(No::Unknown));
        let probe = Visitor {
            method: "GET",
            needs: Needs::Nothing,
            on_loopback,
            ..STRANGER
        };
        assert_eq!(admitted(&door, &probe), Ok(Who::Anybody));
    }
}

#[test]
fn an_empty_token_is_no_credential() {
    let door = door(Access::Default, Some(""), None);
    assert_eq!(
        admitted(
            &door,
            &Visitor {
                query: "token=",
                ..STRANGER
            }
        ),
        Err(No::Unknown)
    );
}

#[test]
fn other_sites_cannot_write_with_a_visitors_reach() {
    let door = door(Access::ReadWrite, None, None);
    let with = |headers: &[(&'static str, &str)]| admitted(&door, &Visitor { headers, ..STRANGER });
    assert_eq!(
        with(&[("host", "10.0.0.1"), ("sec-fetch-site", "cross-site")]),
        Err(No::CrossSite)
    );
    assert_eq!(
        with(&[("host", "10.0.0.1"), ("sec-fetch-site", "same-site")]),
        Err(No::CrossSite)
    );
    assert_eq!(
        with(&[("host", "10.0.0.1"), ("origin", "http://evil.com")]),
        Err(No::CrossSite)
    );
    assert_eq!(
        with(&[("host", "10.0.0.1"), ("origin", "null")]),
        Err(No::CrossSite)
    );
    let same = [
        ("host", "10.0.0.1:9998"),
        ("origin", "http://10.0.0.1:9998"),
        ("sec-fetch-site", "same-origin"),
    ];
    assert_eq!(with(&same), Ok(Who::Anybody));
    // DNS rebinding: the page's own name leads here.
    let rebound = [
        ("host", "evil.com:9998"),
        ("origin", "http://evil.com:9998"),
        ("sec-fetch-site", "same-origin"),
    ];
    assert_eq!(with(&rebound), Err(No::Foreign));
    let local = Visitor {
        method: "GET",
        needs: Needs::Read,
        on_loopback: true,
        headers: &rebound,
        ..STRANGER
    };
    assert_eq!(admitted(&door, &local), Err(No::Foreign));
    // Reads of a name of the operator's choice are fine from elsewhere.
    let read = Visitor {
        method: "GET",
        needs: Needs::Read,
        headers: &[("host", "lb.example.com")],
        ..STRANGER
    };
    assert_eq!(admitted(&door, &read), Ok(Who::Anybody));
}

#[test]
fn what_a_form_can_send_changes_nothing() {
    let door = door(Access::ReadWrite, None, None);
    let with = |headers: &[(&'static str, &str)]| {
        admitted(
            &door,
            &Visitor {
                method: "POST",
                headers,
                ..STRANGER
            },
        )
    };
    let form = ("content-type", "application/x-www-form-urlencoded");
    assert_eq!(with(&[("host", "10.0.0.1"), form]), Err(No::Form));
    assert_eq!(
        with(&[
            ("host", "10.0.0.1"),
            ("content-type", "text/plain;application/json")
        ]),
        Err(No::Form)
    );
    assert_eq!(with(&[("host", "10.0.0.1")]), Err(No::Form));
    assert_eq!(
        with(&[
            ("host", "10.0.0.1"),
            ("content-type", "application/json; charset=x")
        ]),
        Ok(Who::Anybody)
    );
    assert_eq!(
        with(&[("host", "10.0.0.1"), ("x-requested-with", "curl")]),
        Ok(Who::Anybody)
    );
}

#[test]
fn the_log_says_by_what_somebody_was_let_in_and_no_name_forges_a_line() {
    let user = Who::User("ann\n override".to_owned());
    let said = [Who::Anybody, Who::Token, user].map(|who| who.to_string());
    let expected = [
        "anybody, without a credential",
        "holder of ui.token",
        r#"user "ann\n override""#,
    ];
    assert_eq!(said, expected);
}
