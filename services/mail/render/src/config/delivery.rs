//! How mail leaves: the queue, its routes and how they are encrypted.

use super::{plain, table, text};
use crate::forwarder::dane;
use std::fmt::Write;

/// Deliveries that run at once, by queue. The store has one writer, so more
/// would only wait.
const LOCAL_DELIVERIES: u32 = 4;
const REMOTE_DELIVERIES: u32 = 8;

/// Messages that one address may begin to deliver in a minute. A mailing list
/// or a provider's outgoing server stays far below it.
const MESSAGES_PER_MINUTE: u32 = 1200;

pub(super) fn queue(out: &mut String) {
    for (name, threads) in [
        ("local", LOCAL_DELIVERIES),
        ("remote", REMOTE_DELIVERIES),
        ("dsn", 2),
        ("report", 1),
    ] {
        table(out, &format!("queue.virtual.{name}"));
        plain(out, "threads-per-node", threads);
    }

    // RFC 5321 §4.5.4.1 asks for four to five days of attempts; the sender
    // hears of a delay after a few hours.
    for (name, retry, expire) in [
        (
            "local",
            "[\"1m\", \"2m\", \"5m\", \"15m\", \"1h\"]",
            "expire = \"5d\"",
        ),
        (
            "remote",
            "[\"2m\", \"5m\", \"15m\", \"30m\", \"1h\", \"2h\", \"4h\"]",
            "expire = \"5d\"",
        ),
        (
            "dsn",
            "[\"15m\", \"30m\", \"1h\", \"2h\"]",
            "max-attempts = 12",
        ),
        ("report", "[\"30m\", \"1h\", \"2h\"]", "max-attempts = 8"),
    ] {
        table(out, &format!("queue.schedule.{name}"));
        text(out, "queue-name", name);
        plain(out, "retry", retry);
        if matches!(name, "local" | "remote") {
            plain(out, "notify", "[\"4h\", \"1d\", \"3d\"]");
        }
        let _ = writeln!(out, "{expire}");
    }

    table(out, "queue.route.local");
    text(out, "type", "local");
    table(out, "queue.route.mx");
    text(out, "type", "mx");
    // Receivers ask for a reverse name, which the relay's IPv6 address has not.
    text(out, "ip-lookup", "ipv4_only");
    plain(out, "limits.multihomed", 2);
    plain(out, "limits.mx", 5);

    tls_of_receivers(out);
    table(out, "queue.connection.default");
    text(out, "timeout.connect", "2m");

    table(out, "queue.limiter.inbound.address");
    plain(out, "key", "[\"remote_ip\"]");
    text(out, "rate", format_args!("{MESSAGES_PER_MINUTE}/1m"));
    plain(out, "enable", true);

    // A full queue must not fill the card.
    table(out, "queue.quota.size");
    plain(out, "messages", 20_000);
    plain(out, "size", 2_u64 << 30);
    plain(out, "enable", true);
}

/// How deliveries are encrypted: TLS if the receiver offers it, its certificate checked on the first
/// attempt. One with a broken certificate still gets its mail, over TLS, on the second (RFC 7435).
///
/// That is not for receivers who say how to know them. With TLSA records (RFC 7672) that are proven, or of
/// which nobody can say whether there are any, the library has to know the keys ([`dane`]). With MTA-STS
/// (RFC 8461 §5) it leaves that to the strategy, and what it does by itself would give in to any certificate.
fn tls_of_receivers(out: &mut String) {
    let (suffix, none) = (dane::SUFFIX, dane::NONE);
    table(out, "queue.strategy");
    // The first is for what is decided before a server is chosen: whether to look for a policy.
    let _ = writeln!(
        out,
        "tls = [\n  \
           {{ if = \"mx == ''\", then = \"'verified'\" }},\n  \
           {{ if = \"dns_query(mx + '.{suffix}.', 'txt') != '{none}'\", then = \"'dane'\" }},\n  \
           {{ if = \"retry_num == 0 || last_error != 'tls'\", then = \"'verified'\" }},\n  \
           {{ if = \"contains(dns_query('_mta-sts.' + rcpt_domain + '.', 'txt'), 'v=STSv1')\", \
              then = \"'verified'\" }},\n  \
           {{ else = \"'default'\" }},\n]"
    );
    // `default` has a meaning to the library: it is taken when a rule comes to no result, and
    // the last does not when there is no such record. The library need not look for keys where
    // there are none; where it must have them and has none, it tries again later.
    for (name, dane, invalid) in [
        ("dane", "require", false),
        ("verified", "disable", false),
        ("default", "disable", true),
    ] {
        table(out, &format!("queue.tls.{name}"));
        text(out, "dane", dane);
        text(out, "mta-sts", "optional");
        text(out, "starttls", "optional");
        plain(out, "allow-invalid-certs", invalid);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{rendered, setup};

    #[test]
    fn no_strategy_gives_up_mta_sts_and_only_the_last_takes_any_certificate() {
        let config: toml::Table = rendered(&setup()).unwrap().parse().unwrap();
        let strategies = config["queue"]["tls"].as_table().unwrap();
        let rules = config["queue"]["strategy"]["tls"].as_array().unwrap();
        let names = rules.iter().map(|rule| {
            let then = rule.get("then").or(rule.get("else")).unwrap();
            then.as_str().unwrap().trim_matches('\'')
        });
        let mut chosen = Vec::new();
        for name in names {
            let strategy = &strategies[name];
            assert_eq!(strategy["mta-sts"].as_str(), Some("optional"), "{name}");
            chosen.push((
                name,
                strategy["dane"].as_str().unwrap(),
                strategy["allow-invalid-certs"].as_bool().unwrap(),
            ));
        }
        assert_eq!(
            chosen,
            [
                ("verified", "disable", false),
                ("dane", "require", false),
                ("verified", "disable", false),
                ("verified", "disable", false),
                ("default", "disable", true),
            ]
        );
    }
}
