//! Templates over a machine with a loopback, a cable, a container network and a tunnel.

use proptest::prelude::*;

use super::*;

fn machine() -> Vec<Interface> {
    let one = |name: &str, ip: &str, bits, up| Interface {
        name: name.to_owned(),
        ip: ip.parse().unwrap(),
        bits,
        up,
        point_to_point: name == "wg0",
        default: name == "eth0",
    };
    vec![
        one("lo", "127.0.0.1", 8, true),
        one("lo", "::1", 128, true),
        one("docker0", "172.17.0.1", 16, false),
        one("eth1", "10.1.0.7", 8, true),
        one("eth0", "192.168.1.20", 24, true),
        one("eth0", "198.41.0.4", 24, true),
        one("eth0", "fd00::20", 64, true),
        one("eth0", "fe80::1", 64, true),
        one("wg0", "10.99.0.1", 32, true),
    ]
}

fn found(text: &str) -> String {
    expand(text, &machine()).unwrap()
}

#[test]
fn helpers_find_the_address_of_the_default_route_first() {
    assert_eq!(found("{{ GetPrivateIP }}:9999"), "192.168.1.20:9999");
    assert_eq!(found("{{GetPublicIP}}"), "198.41.0.4");
    assert_eq!(
        found("{{- GetPrivateIPs -}}"),
        "192.168.1.20 fd00::20 10.1.0.7 10.99.0.1"
    );
    assert_eq!(found(r#"{{ GetInterfaceIP "eth1" }}:1"#), "10.1.0.7:1");
    assert_eq!(
        found("{{ GetInterfaceIPs `eth0` }}"),
        "192.168.1.20 198.41.0.4 fd00::20"
    );
    assert_eq!(found("no template"), "no template");
}

#[test]
fn pipelines_filter_sort_and_cut() {
    for (text, expected) in [
        (
            r#"{{ GetAllInterfaces | include "network" "10.0.0.0/8" | attr "address" }}"#,
            "10.1.0.7",
        ),
        (
            r#"{{ GetAllInterfaces | include "name" "^eth" | exclude "type" "ipv6" | sort "-address" | limit 1 | attr "address" }}"#,
            "198.41.0.4",
        ),
        (
            r#"{{ GetDefaultInterfaces | include "type" "IPv6" | include "flags" "forwardable|up" | attr "address" }}"#,
            "fd00::20",
        ),
        (
            r#"{{ GetPrivateInterfaces | include "rfc" "1918" | sort "size,address" | join "address" "," }}"#,
            "10.1.0.7,192.168.1.20,10.99.0.1",
        ),
        (
            r#"{{ . | include "flag" "loopback" | attr "string" }}"#,
            "127.0.0.1/8",
        ),
        (
            r#"{{ GetAllInterfaces | exclude "name" "lo" | sort "name" | unique "name" | join "name" " " }}"#,
            "docker0 eth0 eth1 wg0",
        ),
        (r#"{{ GetPrivateInterfaces | offset -1 | attr "name" }}"#, "wg0"),
        (
            r#"{{ GetAllInterfaces | include "size" "24" | attr "network" }}"#,
            "192.168.1.0/24",
        ),
    ] {
        assert_eq!(found(text), expected, "{text}");
    }
}

#[test]
fn nothing_found_is_a_fault_and_not_an_empty_text() {
    let refused = |text: &str| expand(text, &machine()).unwrap_err();
    assert!(refused(r#"{{ GetInterfaceIP "eth7" }}:80"#).contains("finds no address on this host"));
    assert!(
        refused(r#"{{ GetAllInterfaces | include "name" "x" | attr "address" }}"#)
            .contains("finds no address")
    );
    assert!(expand("{{ GetPrivateIP }}", &[]).is_err());
}

#[test]
fn what_is_wrong_is_told_with_what_exists() {
    let refused = |text: &str| expand(text, &machine()).unwrap_err();
    for (text, part) in [
        ("{{ GetPrivateIP", "without }}"),
        ("{{ }}", "empty step"),
        ("{{ GetIP }}", "there are GetPrivateIP,"),
        ("{{ GetAllInterfaces }}", "end with attr"),
        (
            r#"{{ GetAllInterfaces | math "address" "+1" }}"#,
            "there are include,",
        ),
        (
            r#"{{ GetAllInterfaces | include "colour" "red" }}"#,
            "selects nothing",
        ),
        (
            r#"{{ GetAllInterfaces | include "flags" "fast" }}"#,
            "flag \"fast\"",
        ),
        (
            r#"{{ GetAllInterfaces | include "name" "(" }}"#,
            "no regular expression",
        ),
        (r#"{{ GetAllInterfaces | include "rfc" "1" }}"#, "1918"),
        (r#"{{ GetAllInterfaces | sort "age" }}"#, "sort \"age\""),
        (r#"{{ GetAllInterfaces | attr "mac" }}"#, "attr \"mac\""),
        (
            r#"{{ GetPrivateIP | attr "address" }}"#,
            "nothing can follow a text",
        ),
        ("{{ GetInterfaceIP \"eth0 }}", "does not close"),
    ] {
        assert!(refused(text).contains(part), "{text}: {}", refused(text));
    }
}

proptest! {
    #[test]
    fn any_template_is_expanded_or_refused_without_a_panic(text in "\\{\\{ ?(GetAllInterfaces|[a-zA-Z.]*) ?[|\"` a-z0-9,.-]{0,40}\\}\\}") {
        let _ = expand(&text, &machine());
    }
}
