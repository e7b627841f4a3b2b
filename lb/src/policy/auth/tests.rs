//! Schemes with real files.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn bcrypt(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

fn scheme(file: &std::path::Path) -> AuthScheme {
    AuthScheme {
        name: "mine".into(),
        kind: AuthKind::Basic {
            file: file.display().to_string(),
            realm: "a \"b\"".to_owned(),
            refresh: Some(Duration::from_secs(1)),
            forward: false,
        },
    }
}

fn basic(file: &std::path::Path) -> Basic {
    Basic::new(&scheme(file), basic::Slots::new()).unwrap()
}

fn header(user_and_password: &str) -> HeaderValue {
    HeaderValue::try_from(format!("Basic {}", STANDARD.encode(user_and_password))).unwrap()
}

fn asker(client: &str, seconds: u64) -> Asker {
    Asker {
        client: client.parse().unwrap(),
        now: Now(Duration::from_secs(seconds)),
    }
}

#[tokio::test]
async fn right_passwords_come_in_and_all_others_are_asked_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    std::fs::write(
        &file,
        format!("anna:{}\nbob:open:with:colons\n", bcrypt("secret")),
    )
    .unwrap();
    let basic = basic(&file);
    let again = Verdict::Unauthorized(HeaderValue::from_static("Basic realm=\"a \\\"b\\\"\""));
    for (said, verdict) in [
        (Some(header("anna:secret")), Verdict::In),
        (Some(header("anna:secret")), Verdict::In),
        (Some(header("bob:open:with:colons")), Verdict::In),
        (Some(header("anna:wrong")), again.clone()),
        (Some(header("nobody:secret")), again.clone()),
        (Some(header("anna")), again.clone()),
        (Some(HeaderValue::from_static("Basic ???")), again.clone()),
        (Some(HeaderValue::from_static("Bearer x")), again.clone()),
        (
            Some(HeaderValue::from_static("bAsIc  YW5uYTpzZWNyZXQ")),
            Verdict::In,
        ),
        (None, again),
    ] {
        assert_eq!(
            basic.check(said.as_ref(), asker("10.0.0.1", 0)).await,
            verdict,
            "{said:?}"
        );
    }
}

#[tokio::test]
async fn who_guesses_too_often_waits_while_others_and_known_passwords_come_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    std::fs::write(&file, format!("anna:{}\n", bcrypt("secret"))).unwrap();
    let basic = basic(&file);
    let right = header("anna:secret");
    assert_eq!(basic.check(Some(&right), asker("10.0.0.1", 0)).await, Verdict::In);
    for _ in 0..20 {
        let verdict = basic.check(Some(&header("anna:x")), asker("10.0.0.1", 0)).await;
        assert!(matches!(verdict, Verdict::Unauthorized(_)), "{verdict:?}");
    }
    let guess = basic.check(Some(&header("anna:y")), asker("10.0.0.1", 0)).await;
    assert!(matches!(guess, Verdict::Guessing(_)), "{guess:?}");
    assert_eq!(
        basic.check(Some(&right), asker("10.0.0.1", 0)).await,
        Verdict::In,
        "known"
    );
    assert_eq!(basic.check(Some(&right), asker("10.0.0.2", 0)).await, Verdict::In);
    let later = basic.check(Some(&header("anna:y")), asker("10.0.0.1", 3)).await;
    assert!(matches!(later, Verdict::Unauthorized(_)), "{later:?}");
    for _ in 0..100 {
        // Right ones do not use guesses up.
        assert_eq!(
            basic.check(Some(&right), asker("10.0.0.3", 3600)).await,
            Verdict::In
        );
    }
}

#[tokio::test]
async fn a_changed_file_counts_and_one_that_is_gone_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    let write = |text: &str, seconds: u64| {
        std::fs::write(&file, text).unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
        std::fs::File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(time)
            .unwrap();
    };
    write(&format!("anna:{}\n", bcrypt("old")), 100);
    let basic = basic(&file);
    let (old, new) = (header("anna:old"), header("anna:new"));
    let is_in = async |said: &HeaderValue| basic.check(Some(said), asker("10.0.0.1", 0)).await == Verdict::In;
    assert!(is_in(&old).await);

    write("anna:new\n", 99);
    basic.look().await;
    assert!(
        is_in(&new).await && !is_in(&old).await,
        "an older file is a change, too, and the old password is not known any more"
    );
    assert_eq!(basic.faults(), 1, "its password is not hashed");

    std::fs::remove_file(&file).unwrap();
    basic.look().await;
    basic.look().await;
    assert!(!is_in(&new).await);
    assert_eq!(basic.faults(), 1, "said once");

    write("anna:new\n", 98);
    basic.look().await;
    assert!(is_in(&new).await);

    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    basic.look().await;
    assert_eq!(basic.faults(), 2, "the password before, and the folder now");
    assert!(
        is_in(&new).await,
        "a fault that is not the operator's wish changes nothing"
    );
}

#[tokio::test]
async fn a_file_is_looked_at_when_that_is_due_and_at_most_once_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    std::fs::write(&file, "anna:old\n").unwrap();
    let schemes = Schemes::new(&[scheme(&file)]).unwrap();
    assert_eq!((schemes.faults(), schemes.faults()), (1, 0));
    let at = |millis| Now(Duration::from_millis(millis));
    schemes.look(at(0)).await;
    std::fs::remove_file(&file).unwrap();
    schemes.look(at(999)).await;
    assert_eq!(schemes.faults(), 0);
    schemes.look(at(1000)).await;
    assert_eq!(schemes.faults(), 1);
    assert!(schemes.get("nobody").is_none() && schemes.get("nobody").is_none());
    assert_eq!(schemes.faults(), 1, "an unknown name is said once");
}

#[test]
fn a_file_that_is_not_there_at_the_start_is_a_fault() {
    let error = Schemes::new(&[scheme("/nowhere/users".as_ref())]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("proxy.auth: mine: cannot read /nowhere/users: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_password_without_end_is_nobody_s() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    let (fits, long) = ("x".repeat(1024), "x".repeat(1025));
    std::fs::write(&file, format!("anna:{fits}\nbob:{long}\n")).unwrap();
    let basic = basic(&file);
    let verdict = async |said: String| basic.check(Some(&header(&said)), asker("10.0.0.1", 0)).await;
    assert_eq!(verdict(format!("anna:{fits}")).await, Verdict::In);
    assert_ne!(verdict(format!("bob:{long}")).await, Verdict::In);
}

#[tokio::test]
async fn slow_hashes_are_computed_a_few_at_a_time_and_the_rest_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users");
    std::fs::write(&file, format!("anna:{}\n", bcrypt::hash("secret", 8).unwrap())).unwrap();
    let basic = Arc::new(basic(&file));
    let mut checks = tokio::task::JoinSet::new();
    for number in 0..600_u32 {
        let basic = basic.clone();
        checks.spawn(async move {
            let client = IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + number));
            let now = Now(Duration::ZERO);
            basic
                .check(Some(&header("anna:wrong")), Asker { client, now })
                .await
        });
    }
    let verdicts = checks.join_all().await;
    let busy = verdicts
        .iter()
        .filter(|verdict| **verdict == Verdict::Busy)
        .count();
    assert!((1..600).contains(&busy), "{busy}");
}

#[test]
fn a_user_is_known_by_name_however_the_header_is_padded() {
    for text in [
        "Basic YW5uOnNlY3JldA==",
        "basic YW5uOnNlY3JldA",
        "Basic  YW5uOg==",
    ] {
        let header = HeaderValue::from_static(text);
        assert_eq!(user_of(&header).as_deref(), Some("ann"), "{text}");
    }
    for text in ["Bearer YW5uOnNlY3JldA==", "Basic ?", "Basic"] {
        assert_eq!(user_of(&HeaderValue::from_static(text)), None, "{text}");
    }
}
