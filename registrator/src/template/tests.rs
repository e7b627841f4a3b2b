//! What templates may not do. What they come to is `tests/golden/templates.txt`: the answers there are those of Go 1.19's
//! `text/template` over go-dockerclient's types, errors apart, which are in our own words.

use proptest::prelude::*;

use super::*;

fn answer(name: &str) -> serde_json::Value {
    let path = format!("{}/tests/recorded/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn run(text: &str, answer: &serde_json::Value) -> Result<String, Error> {
    Subject::new(Some(answer)).make(text)
}

/// What each line of `input` comes to for the container of `recording`.
pub(crate) fn lines(recording: &str, input: &str) -> String {
    let answer = answer(recording);
    let line = |line: &str| match run(line, &answer) {
        Ok(text) => format!("{text:?}\n"),
        Err(error) => format!("! {error}\n"),
    };
    input.lines().map(line).collect()
}

#[test]
fn what_newer_engines_say_is_there_by_their_own_name() {
    let answer = serde_json::json!({"Platform": "linux", "Config": {"New": {"Size": 3}}, "Name": null});
    let made = run("{{.Platform}} {{.Config.New.Size}} [{{.Name}}]", &answer);
    assert_eq!(made.as_deref(), Ok("linux 3 []"));
    assert!(Subject::new(None).make("{{.Name}}").is_err());
}

#[test]
fn a_template_is_not_let_do_more_than_a_label_needs() {
    let answer = answer("published-one");
    let doubled = "{{$x := \"0123456789\"}}".to_owned() + &"{{$x = print $x $x}}".repeat(30) + "{{$x}}";
    let nested = "{{range $x}}".repeat(6) + "x" + &"{{end}}".repeat(6);
    let looped = format!("{{{{$x := split \"\" \"{}\"}}}}{nested}", "a".repeat(50));
    let long = "{{$x := printf \"%1000d\" 1}}".to_owned() + &"{{$x = print $x $x}}".repeat(5);
    let busy =
        format!("{long}{{{{range split \"\" (printf \"%1000d\" 1)}}}}{{{{$y := toUpper $x}}}}{{{{end}}}}");
    for (text, why) in [
        (busy.as_str(), "steps"),
        (
            "{{define \"a\"}}{{template \"a\" .}}{{end}}{{template \"a\" .}}",
            "within each other",
        ),
        (&doubled, "bytes"),
        (&looped, "steps"),
        ("{{printf \"%100000d\" 1}}", "wider"),
        (
            "{{replace -1 \"\" (printf \"%1000d\" 1) (printf \"%1000d\" 1)}}",
            "bytes",
        ),
        (&("{{".to_owned() + &"(".repeat(100_000)), "longer"),
        (&format!("{{{{{}}}}}", "(".repeat(10_000)), "within each other"),
        (&"{{if .}}".repeat(5000), "within each other"),
        ("{{matchAllElements \"(a{100}){500}\" .Config.Env}}", "size limit"),
    ] {
        let error = run(text, &answer).unwrap_err().to_string();
        assert!(error.contains(why), "{text:.60}: {error}");
    }
}

/// What a step pays for is done in a step's time: none of these took less than seconds.
#[test]
fn no_work_is_had_for_nothing() {
    let labels = (0..1000).map(|n| (format!("label{n:04}"), "x".repeat(50).into()));
    let labels: serde_json::Map<String, serde_json::Value> = labels.collect();
    let answer = serde_json::json!({"Config": {"Labels": labels}});
    let list = |length: usize| format!("{{{{$l := split \"\" \"{}\"}}}}", "a".repeat(length));
    let looped = |of: String, body: &str| format!("{of}{{{{range $l}}}}{body}{{{{end}}}}");
    let search = r#"{{$x = print $x 1}}{{$m := matchAllElements (printf "(a|aa){0,200}b|%d" (len $x)) $y}}"#;
    let wide =
        |word: &str, count: usize, each: &str| format!("{{{{if {word}{}}}}}{{{{end}}}}", each.repeat(count));
    for text in [
        looped(list(30_000), "{{range $l}}{{break}}{{end}}"),
        looped(list(2000) + r#"{{$x := ""}}{{$y := split "," "a,b"}}"#, search),
        looped(list(10_000), &wide("or", 20_000, " 0")),
        looped(list(10_000), &wide("$.Config.Labels", 20_000, ".a")),
        looped(list(10_000) + &"{{$a := 1}}".repeat(4000), &wide("or", 20, " $l")),
        looped(list(10_000), "{{$x := print $.Config.Labels}}"),
    ] {
        let began = std::time::Instant::now();
        let error = run(&text, &answer).unwrap_err().to_string();
        assert!(error.contains("steps"), "{text:.60}: {error}");
        let took = began.elapsed();
        assert!(took < std::time::Duration::from_secs(3), "{text:.60}: {took:?}");
    }
}

proptest! {
    #[test]
    fn no_text_upsets_a_template(text in "(\\{\\{|\\}\\}|[ .$|()\"`'=:,-]|if |end|else|range |with |\\.Config|\\.Name|\\$x|:=|index |printf |\"%[0-9*.]{0,3}[a-z]\"|[0-9a-f]|\\PC){0,24}") {
        let _ = run(&text, &answer("published-one"));
    }

    #[test]
    fn no_pipeline_upsets_a_template(words in proptest::collection::vec("\\.|\\.Config\\.Env|\\.Config\\.Labels|\\.NetworkSettings\\.Ports|\\.State|-1|3|\"a/b\"|\"\"|1\\.5|true|nil|\\||index|slice|len|print|printf|split|join|strSlice|sIndex|mIndex|splitIndex|replace|eq|lt|and|not|jsonParse|matchAllElements|\\(|\\)", 1..8)) {
        let _ = run(&format!("{{{{{}}}}}", words.join(" ")), &answer("healthy"));
    }
}
