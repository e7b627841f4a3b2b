//! Lines as Apache's htpasswd writes them, and lines that nobody should.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::proptest;

use super::*;

/// A line of the real htpasswd for `kind` (`-B`, `-m`, …).
fn htpasswd(kind: &[&str], user: &str, password: &str) -> String {
    let mut child = Command::new("htpasswd")
        .args(["-n", "-i"])
        .args(kind)
        .arg(user)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("htpasswd is there: tests/tools.sh");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(password.as_bytes())
        .unwrap();
    let made = child.wait_with_output().unwrap();
    assert!(made.status.success(), "htpasswd {kind:?}");
    String::from_utf8(made.stdout).unwrap()
}

#[test]
fn every_kind_of_hash_that_htpasswd_makes_is_verified() {
    for password in [
        "secret",
        "p",
        "a password of more than sixteen bytes",
        "päss:wörd",
    ] {
        for kind in [
            &["-m"][..],
            &["-s"],
            &["-B", "-C", "4"],
            &["-2"],
            &["-5"],
            &["-5", "-r", "1500"],
            &["-p"],
        ] {
            let line = htpasswd(kind, "anna", password);
            let (users, bad) = Users::parse(line.as_bytes());
            assert_eq!(bad, [], "{kind:?} {line}");
            let stored = users.get(b"anna").unwrap();
            assert!(stored.matches(password.as_bytes()), "{kind:?} {line}");
            for wrong in [&password[..password.len() - 1], &format!("{password}x"), ""] {
                assert!(!stored.matches(wrong.as_bytes()), "{kind:?} {line} {wrong}");
            }
        }
    }
}

#[test]
fn known_hashes_of_other_makers_are_verified() {
    // {SSHA} by slappasswd's rule; $1$ by openssl passwd -1 -salt abcdefgh; $5$ by openssl passwd -5.
    for (stored, password) in [
        ("{SSHA}DkMTwBl+a/3DQTxCYEApdUtNXGgdUac3", None),
        ("$1$abcdefgh$G//4keteveJp0qb8z2DxG/", Some("password")),
        (
            "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            Some("Hello world!"),
        ),
    ] {
        let stored = Stored::parse(stored.as_bytes()).unwrap();
        assert!(!stored.matches(b"wrong"));
        if let Some(password) = password {
            assert!(stored.matches(password.as_bytes()), "{password}");
        }
    }
    let salted = Sha1::new().chain_update("secret").chain_update("salt").finalize();
    let line = format!("{{SSHA}}{}", STANDARD.encode([&salted[..], b"salt"].concat()));
    assert!(Stored::parse(line.as_bytes()).unwrap().matches(b"secret"));
}

#[test]
fn a_bad_line_harms_only_its_own_user() {
    let text = b"# comment\n\nanna:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\r\nnocolon\n:x\nbob:\ncarl:$9$what$x\n\
        dora:{SHA}short\nemil:$2y$05$short\nfrida:$apr1$x\ngustav:{X}y\nhans:$6$a$b\nanna2:open\n";
    let (users, bad) = Users::parse(text);
    let lines: Vec<usize> = bad.iter().map(|bad| bad.line).collect();
    assert_eq!(lines, [4, 5, 6, 7, 8, 9, 10, 11, 12]);
    assert!(!bad.iter().any(|bad| bad.to_string().contains("what")));
    assert_eq!(users.len(), 2);
    assert!(users.get(b"anna").unwrap().matches(b"secret"));
    assert_eq!(users.plain().collect::<Vec<_>>(), ["anna2"]);
}

#[test]
fn a_hash_of_an_unknown_kind_is_no_password() {
    assert!(Stored::parse(b"$y$j9T$salt$hash").is_err());
    assert!(Stored::parse(b"{CRYPT}x").is_err());
}

#[test]
fn the_costliest_kind_stands_in_for_users_that_there_are_not() {
    let (users, _) = Users::parse(
        b"a:open\nb:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nc:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n",
    );
    assert!(matches!(users.costliest(), Some(Stored::Bcrypt(_))));
    assert!(Users::default().costliest().is_none());
}

#[test]
fn what_is_stored_is_never_printed() {
    let (users, _) = Users::parse(b"a:open\n");
    assert!(!format!("{users:?}").contains("open"));
}

proptest! {
    #[test]
    fn any_file_is_read_without_a_panic(text in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let (users, _) = Users::parse(&text);
        if let Some(stored) = users.costliest().filter(|stored| !stored.is_slow()) {
            stored.matches(&text);
        }
    }

    #[test]
    fn any_hash_is_read_or_refused(kind in "\\$(apr1|1|2y|5|6)\\$|\\{S?SHA\\}", rest in "[$./0-9A-Za-z=]{0,90}") {
        let _ = Stored::parse(format!("{kind}{rest}").as_bytes());
    }
}
