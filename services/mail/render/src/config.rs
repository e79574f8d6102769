//! The box's settings become one Stalwart configuration.
//!
//! All of it is rendered, nothing is kept in Stalwart's database: an update of
//! the image can change any of it, and what runs can be read in one file.
//! Secrets are referenced by file name (`%{file:…}%`), never written here.

mod delivery;

use crate::listeners;
use crate::setup::Setup;
use crate::{Error, certificate, keys, probe};
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

/// Threads that run sessions. A store operation blocks its thread until the
/// disk has the data, so there are more of them than a small board has cores.
pub const WORKER_THREADS: usize = 4;

/// One database connection per thread that can ask for one, and one to spare.
const STORE_CONNECTIONS: usize = WORKER_THREADS + 2;

/// Open connections per port. IMAP clients keep several open; a thousand
/// strangers must not fill the memory of a 1 GB board.
const MAX_CONNECTIONS: u32 = 256;

/// Messages within one connection; large senders reuse theirs.
const MESSAGES_PER_SESSION: u32 = 1000;

/// What one SMTP connection may send in all, in messages of the largest size
/// (and never less than Stalwart's own 250 MB).
const SESSION_MESSAGES_OF_FULL_SIZE: u64 = 10;
const SESSION_BYTES_AT_LEAST: u64 = 262_144_000;

/// Sizes of in-memory caches, in bytes: a tenth of what Stalwart takes by
/// default, which is meant for servers with hundreds of users.
const CACHES: [(&str, u32); 15] = [
    ("message", 16 << 20),
    ("access-token", 1 << 20),
    ("permission", 1 << 20),
    ("http-auth", 256 << 10),
    ("files", 2 << 20),
    ("events", 2 << 20),
    ("contacts", 2 << 20),
    ("scheduling", 256 << 10),
    ("dns.txt", 1 << 20),
    ("dns.mx", 512 << 10),
    ("dns.ptr", 256 << 10),
    ("dns.ipv4", 512 << 10),
    ("dns.ipv6", 512 << 10),
    ("dns.tlsa", 256 << 10),
    ("dns.rbl", 512 << 10),
];

/// Log lines that repeat what another line of the same message says. The log
/// is a small ring; without them it reaches back twice as far.
const QUIET_EVENTS: [&str; 8] = [
    "delivery.attempt-start",
    "delivery.attempt-end",
    "delivery.domain-delivery-start",
    "delivery.dsn-success",
    "smtp.ehlo",
    "smtp.spf-ehlo-fail",
    "smtp.arc-pass",
    "tls.handshake",
];

/// Networks that a ban never hits: a phone at home with an old password must
/// not lock out the household (RFC 1918, RFC 4193, RFC 4291).
const HOME_NETWORKS: [&str; 5] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    // The library takes no shorter IPv6 prefix; the other half of fc00::/7 is unused.
    "fd00::/8",
    "fe80::/10",
];

/// The box itself. What connects from there is a program of the box: a probe
/// of a broken service must not get the box banned from its own mail.
const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];

/// Where things are on the box.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// The service's data folder.
    pub data: &'a Path,
    /// Where DNS questions go, over TCP: an address that stays the same
    /// while the network's own name servers come and go.
    pub resolver: SocketAddr,
}

/// Renders the configuration; spam rules are added by [`with_spam_rules`].
pub fn render(setup: &Setup, places: Places<'_>) -> Result<String, Error> {
    check("name", &setup.name)?;
    check("domain", &setup.domain)?;
    check("mail.host", &setup.host)?;
    check("account.name", &setup.account.name)?;

    let mut out =
        String::from("# Rendered at every start of the mail service; changes are lost.\n");
    server(&mut out, setup);
    storage(&mut out, places.data);
    network(&mut out, places.resolver);
    session(&mut out, setup);
    signatures(&mut out, setup, places.data);
    delivery::queue(&mut out);
    clients(&mut out, setup);
    memory(&mut out);
    spam_filter(&mut out, setup);
    Ok(out)
}

/// Adds the rules of the spam filter, which are a file of the image.
///
/// The library would otherwise fetch them from the network, or import them
/// once into its database and keep them there when the image is updated.
pub fn with_spam_rules(config: &str, rules: &str) -> String {
    format!("{config}\n{rules}")
}

/// Refuses what could break out of a quoted value or name a file macro.
fn check(name: &'static str, value: &str) -> Result<(), Error> {
    let reason = if value.is_empty() {
        "is empty"
    } else if !value
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    {
        "may hold only letters, digits, dots, hyphens and underscores"
    } else {
        return Ok(());
    };
    Err(Error::Value {
        name,
        value: value.into(),
        reason,
    })
}

/// Writes a table heading. `fmt::Write` to a `String` cannot fail.
fn table(out: &mut String, name: &str) {
    let _ = write!(out, "\n[{name}]\n");
}

fn text(out: &mut String, key: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "{key} = \"{value}\"");
}

fn plain(out: &mut String, key: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "{key} = {value}");
}

fn file(out: &mut String, key: &str, path: &Path) {
    text(out, key, format_args!("%{{file:{}}}%", path.display()));
}

fn server(out: &mut String, setup: &Setup) {
    table(out, "server");
    text(out, "hostname", &setup.host);
    plain(out, "max-connections", MAX_CONNECTIONS);

    for listener in &listeners::ALL {
        table(out, &format!("server.listener.{}", listener.id));
        text(out, "bind", listener.bind());
        text(out, "protocol", listener.protocol.name());
        plain(out, "tls.implicit", listener.implicit_tls);
    }

    table(out, "server.allowed-ip");
    for network in HOME_NETWORKS.iter().chain(&LOOPBACK) {
        text(out, &format!("\"{network}\""), "");
    }

    table(out, "config");
    // Everything is local, so nothing in the database overrides it; only
    // banned addresses live there.
    plain(out, "local-keys", "[\"*\", \"!server.blocked-ip.*\"]");
}

fn storage(out: &mut String, data: &Path) {
    table(out, "store.main");
    text(out, "type", "sqlite");
    text(out, "path", data.join("mail.sqlite3").display());
    plain(out, "pool.max-connections", STORE_CONNECTIONS);
    plain(out, "pool.workers", WORKER_THREADS);
    text(out, "compression", "lz4");
    // Every hour at minute 40: on a full card who has deleted mail waits for the room.
    text(out, "purge.frequency", "40 * *");

    // Locks, counters and rate limits. In memory: they would wear the card,
    // and a lock that outlives a killed program delays its mail by minutes.
    table(out, "store.memory");
    text(out, "type", "sqlite");
    text(out, "path", "file:/roost-mail?vfs=memdb");
    plain(out, "pool.max-connections", STORE_CONNECTIONS);
    plain(out, "pool.workers", WORKER_THREADS);
    // Every hour at minute 10: the addresses of passing strangers expire.
    text(out, "purge.frequency", "10 * *");

    table(out, "storage");
    for (role, store) in [
        ("data", "main"),
        ("blob", "main"),
        ("fts", "main"),
        ("lookup", "memory"),
        ("directory", "internal"),
    ] {
        text(out, role, store);
    }

    table(out, "directory.internal");
    text(out, "type", "internal");
    text(out, "store", "main");
    // It would remember for hours which addresses exist, and for a day those that do not any
    // more, whatever the owner changes meanwhile. The store answers at once.
    plain(out, "cache.size", false);

    table(out, "certificate.own");
    file(out, "cert", &certificate::certificate_file(data));
    file(out, "private-key", &certificate::key_file(data));
    plain(out, "default", true);

    table(out, "oauth");
    file(out, "key", &keys::oauth_file(data));

    table(out, "tracer.console");
    text(out, "type", "console");
    text(out, "level", "info");
    plain(out, "ansi", false);
    plain(out, "multiline", false);
    plain(out, "buffered", false);
    let events: Vec<String> = QUIET_EVENTS
        .iter()
        .map(|event| format!("\"{event}\""))
        .collect();
    plain(
        out,
        "disabled-events",
        format_args!("[{}]", events.join(", ")),
    );

    // Otherwise a debug event: somebody trying passwords must show.
    table(out, "tracing.level");
    text(out, "\"auth.failed\"", "warn");
}

fn network(out: &mut String, resolver: SocketAddr) {
    table(out, "resolver");
    text(out, "type", "custom");
    text(out, "custom", format_args!("tcp://{resolver}"));
    // The forwarder behind that address knows when no name server answers and
    // says so at once; these only bound a slow answer.
    text(out, "timeout", "5s");
    plain(out, "attempts", 1);
}

/// Whether the client is the box itself. The kernel takes no packet with such
/// an address from a network (`Documentation/networking/ip-sysctl`, `route_localnet`).
fn from_loopback() -> String {
    LOOPBACK
        .map(|address| format!("remote_ip == '{address}'"))
        .join(" || ")
}

fn session(out: &mut String, setup: &Setup) {
    let size = setup.max_message_size;

    table(out, "session");
    text(out, "timeout", "5m");
    // Long enough for a large message over a slow line.
    text(out, "duration", "1h");
    plain(
        out,
        "transfer-limit",
        (size.saturating_mul(SESSION_MESSAGES_OF_FULL_SIZE)).max(SESSION_BYTES_AT_LEAST),
    );
    text(
        out,
        "connect.greeting",
        "config_get('server.hostname') + ' ESMTP'",
    );

    table(out, "session.auth");
    // Passwords only inside TLS (RFC 8314 §3.3).
    out.push_str(
        "mechanisms = [\n  \
           { if = \"local_port != 25 && is_tls\", then = \"[plain, login]\" },\n  \
           { else = false },\n]\n",
    );
    out.push_str(
        "require = [\n  \
           { if = \"local_port != 25\", then = true },\n  \
           { else = false },\n]\n",
    );
    plain(out, "must-match-sender", true);

    // Asked before a message is sent over the line; see `room`.
    table(out, "session.mail");
    out.push_str(
        "script = [\n  \
           { if = \"sql_query('memory', 'SELECT roost_refuses(?)', remote_ip) == 1\", \
              then = \"'card-full'\" },\n  \
           { else = false },\n]\n",
    );
    table(out, "sieve.trusted.scripts.card-full");
    // RFC 5321 section 4.2.3, RFC 3463 section 3.4: the other side tries again.
    out.push_str(
        "contents = 'reject \"452 4.3.1 The card of this box is full, try again later.\";'\n",
    );

    table(out, "session.rcpt");
    // Mail for other domains only from somebody who logged in.
    out.push_str(
        "relay = [\n  \
           { if = \"!is_empty(authenticated_as)\", then = true },\n  \
           { else = false },\n]\n",
    );
    // `RCPT TO:<postmaster>` without a domain (RFC 5321 §4.5.1) comes out of the
    // library's parser as an empty address, and as nothing else than that does
    // but `RCPT TO:<>`, which may reach the same person.
    //
    // The probe's mailbox is nobody else's business: for others its address,
    // with or without a +detail, becomes one that does not exist.
    let domain = &setup.domain;
    let (account, local) = (probe::ACCOUNT, from_loopback());
    let _ = writeln!(
        out,
        "rewrite = [\n  \
           {{ if = \"is_empty(rcpt)\", then = \"'postmaster@{domain}'\" }},\n  \
           {{ if = \"rcpt_domain == '{domain}' && !({local}) && \
              (starts_with(rcpt, '{account}@') || starts_with(rcpt, '{account}+'))\", \
              then = \"'{account}.has.no.visitors@{domain}'\" }},\n  \
           {{ else = false }},\n]"
    );

    // What the box tells its owner (see README.md) says that it is from this
    // very domain and is signed by nobody: the filter would take it for forged.
    table(out, "session.data");
    let _ = writeln!(
        out,
        "spam-filter = [\n  \
           {{ if = \"sender == 'postmaster@{domain}' && ({local})\", then = false }},\n  \
           {{ else = true }},\n]"
    );

    table(out, "session.data.limits");
    plain(out, "size", size);
    plain(out, "messages", MESSAGES_PER_SESSION);

    table(out, "session.data.add-headers");
    plain(out, "delivered-to", true);
}

/// Signatures of one more domain, as tables that stand for themselves. All domains are signed
/// with the same keys.
pub fn signatures_of(domain: &str, data: &Path) -> Result<String, Error> {
    check("domain", domain)?;
    let mut out = String::new();
    signature(&mut out, domain, data);
    Ok(out)
}

fn signature(out: &mut String, domain: &str, data: &Path) {
    for algorithm in keys::Algorithm::ALL {
        // The id is the one that the library's own signing rule looks for.
        table(out, &format!("signature.\"{}-{domain}\"", algorithm.name()));
        text(out, "algorithm", algorithm.tag());
        file(out, "private-key", &algorithm.file(data));
        text(out, "domain", domain);
        text(out, "selector", algorithm.selector());
        text(out, "canonicalization", "relaxed/relaxed");
        plain(
            out,
            "headers",
            "[\"From\", \"To\", \"Cc\", \"Date\", \"Subject\", \"Message-ID\", \
             \"Reply-To\", \"MIME-Version\", \"Content-Type\"]",
        );
        plain(out, "report", false);
    }
}

fn signatures(out: &mut String, setup: &Setup, data: &Path) {
    let domain = &setup.domain;
    signature(out, domain, data);
    table(out, "report");
    text(out, "domain", domain);
    // Reports on other domains' mail cost writes and outgoing mail, and a
    // household's share of them tells nobody anything.
    for kind in ["dmarc", "tls"] {
        table(out, &format!("report.{kind}.aggregate"));
        text(out, "send", "never");
    }
    for kind in ["dkim", "spf", "dmarc"] {
        table(out, &format!("report.{kind}"));
        plain(out, "send", false);
    }
}

fn clients(out: &mut String, setup: &Setup) {
    let size = setup.max_message_size;

    table(out, "imap");
    plain(out, "auth.allow-plain-text", false);
    // APPEND carries a whole message.
    plain(out, "request.max-size", size.saturating_add(1 << 20));

    table(out, "jmap");
    plain(out, "email.max-size", size);
    plain(out, "email.max-attachment-size", size);
    plain(out, "protocol.upload.max-size", size);
    plain(out, "protocol.upload.quota.size", size.saturating_mul(4));

    table(out, "calendar");
    // The page behind such links is not part of the box.
    plain(out, "scheduling.http-rsvp.enable", false);
}

fn memory(out: &mut String) {
    for (cache, bytes) in CACHES {
        table(out, &format!("cache.{cache}"));
        plain(out, "size", bytes);
    }
}

fn spam_filter(out: &mut String, setup: &Setup) {
    table(out, "spam-filter");
    plain(out, "enable", setup.spam_filter);
    plain(out, "auto-update", false);
    // Would send digests of mail to a stranger, and asks DNS at every start.
    plain(out, "pyzor.enable", false);
    // 2^18 features are 2 MB when trained and plenty for one household.
    plain(out, "classifier.parameters.features", 18);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use roost_service::settings::Account;

    pub(crate) fn setup() -> Setup {
        Setup {
            name: "roost".into(),
            domain: "example.org".into(),
            account: Account {
                name: "alice".into(),
                display_name: "Alice Example".into(),
                password_hash: "$6$salt$hash".into(),
            },
            host: "mail.example.org".into(),
            max_message_size: 26_214_400,
            spam_filter: true,
        }
    }

    pub(crate) fn rendered(setup: &Setup) -> Result<String, Error> {
        render(
            setup,
            Places {
                data: Path::new("/data/services/mail"),
                resolver: "127.0.0.1:5300".parse().unwrap(),
            },
        )
    }

    const RULES: &str = include_str!("../../share/spam-rules.toml");

    #[test]
    fn the_whole_configuration() {
        insta::assert_snapshot!(rendered(&setup()).unwrap());
    }

    #[test]
    fn is_toml_also_with_the_spam_rules() {
        let config = with_spam_rules(&rendered(&setup()).unwrap(), RULES);
        let parsed: toml::Table = config.parse().unwrap();
        assert_eq!(
            parsed["server"]["hostname"].as_str(),
            Some("mail.example.org")
        );
        assert!(parsed["version"]["spam-filter"].is_str());
    }

    #[test]
    fn no_secret_is_written_into_it() {
        let config = rendered(&setup()).unwrap();
        assert!(!config.contains("$6$salt$hash"));
        assert!(!config.contains("PRIVATE KEY-----"));
        assert!(!config.contains("fallback-admin"));
    }

    #[test]
    fn values_that_would_break_the_file_are_refused() {
        for value in ["", "a\"\nb", "%{file:/etc/shadow}%", "a b"] {
            let mut setup = setup();
            setup.host = value.into();
            let error = rendered(&setup).unwrap_err();
            assert!(
                error.to_string().starts_with("setting `mail.host`"),
                "{error}"
            );
        }
    }

    #[test]
    fn every_rule_that_sets_a_tag_has_a_score() {
        let rules: toml::Table = RULES.parse().unwrap();
        let scores = rules["spam-filter"]["list"]["scores"].as_table().unwrap();
        for (name, rule) in rules["spam-filter"]["rule"].as_table().unwrap() {
            for branch in rule["condition"].as_array().unwrap() {
                let Some(tag) = branch.get("then").and_then(toml::Value::as_str) else {
                    continue;
                };
                let tag = tag.trim_matches('\'');
                assert!(scores.contains_key(tag), "rule {name}: no score for {tag}");
            }
        }
    }

    #[test]
    fn every_score_is_a_number_in_a_sane_range() {
        let rules: toml::Table = RULES.parse().unwrap();
        for (tag, score) in rules["spam-filter"]["list"]["scores"].as_table().unwrap() {
            let score: f32 = score.as_str().unwrap().parse().unwrap();
            assert!(
                score.abs() <= 10.0 || tag == "GTUBE_TEST",
                "{tag} = {score}"
            );
        }
    }

    #[test]
    fn signatures_of_another_domain_are_the_same_but_for_its_name() {
        let data = Path::new("/data/services/mail");
        let other: toml::Table = signatures_of("example.net", data).unwrap().parse().unwrap();
        let own: toml::Table = rendered(&setup()).unwrap().parse().unwrap();
        for algorithm in ["rsa", "ed25519"] {
            let mut other = other["signature"][format!("{algorithm}-example.net")].clone();
            let own = &own["signature"][format!("{algorithm}-example.org")];
            assert_ne!(other, *own);
            other["domain"] = "example.org".into();
            assert_eq!(other, *own);
        }
        assert!(signatures_of("a\"]\n", data).is_err());
    }
}
