use super::schema::Absent;
use super::*;
use crate::config::fields::SECTIONS;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

const GOOD: &str = r#"[box]
domain = "example.org"

[account]
name = "alice"
password_hash = "$6$salt$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6WouIL9AjRbLCelDCy.g."
"#;

/// A public key of which nobody knows the other half.
const KEY: &str = "2cbc975c77416f3831b2af4e6321a84a38b8595b1d47c88c0084f34749f3340d";

fn parse(text: &str) -> Result<Config, Vec<Problem>> {
    Config::parse("roost.toml", text.as_bytes(), Path::new("home"))
}

/// What the user sees of the faults of `bytes`.
fn faults(bytes: &[u8]) -> String {
    let problems = Config::parse("roost.toml", bytes, Path::new("home")).expect_err("it is faulty");
    let error = ConfigError::Faulty {
        path: "roost.toml".into(),
        problems,
    };
    anstream::adapter::strip_str(&Failure::from(error).render()).to_string()
}

/// One snapshot for each kind of fault.
macro_rules! refused {
    ($($name:ident: $text:expr;)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(faults($text.as_ref()));
        })*
    };
}

fn with(more: &str) -> String {
    format!("{GOOD}\n{more}")
}

fn instead(line: &str, new: &str) -> String {
    assert!(GOOD.contains(line));
    GOOD.replacen(line, new, 1)
}

refused! {
    refused_domain_alone: "[box]\ndomain = \"example.org\"\n";
    refused_account_without_domain: GOOD.replace("domain = \"example.org\"", "");
    refused_no_toml: instead("name = \"alice\"", "name = alice\npassword_hash = $6$secret");
    refused_unfinished_string: instead("\"alice\"", "\"alice");
    refused_duplicate_key: instead("name = \"alice\"", "name = \"alice\"\nname = \"bob\"");
    refused_not_utf8: b"[box]\nname = \"\xff\xfe\"\n";
    refused_unknown_key: instead("domain =", "domian =");
    refused_unknown_key_far: with("[mail]\ncolour = \"blue\"");
    refused_key_of_another_table: with("[mail]\ndomain = \"example.org\"");
    refused_key_without_table: format!("domain = \"example.org\"\n{GOOD}");
    refused_unknown_table: with("[netwrok]\nmode = \"dhcp\"");
    refused_unknown_table_far: with("[colours]");
    refused_table_that_is_a_value: format!("mail = true\n{GOOD}");
    refused_table_array: with("[[mail]]\nspam_filter = true");
    refused_clear_password: instead("password_hash", "password = \"hunter2 hunter2\" #");
    refused_clear_password_inline: "account = { password = \"hunter2\", nmae = \"alice\" }\nbox.domain = \"example.org\"";
    refused_password_as_hash: instead("\"$6$salt$", "\"hunter2 ");
    refused_password_hash_cut_off: instead("CelDCy.g.\"", "\"");
    refused_password_hash_weak: with("").replace("$6$salt$", "$1$salt$");
    refused_password_hash_heavy: format!(
        "{}\"$argon2id$v=19$m=1048576,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g\"",
        GOOD.split_once("\"$6$").expect("the good one has a hash").0
    );
    refused_domain_single_word: instead("example.org", "example");
    refused_domain_address: instead("example.org", "alice@example.org");
    refused_domain_underscore: instead("example.org", "my_domain.org");
    refused_domain_special: instead("example.org", "roost.local");
    refused_domain_number: instead("\"example.org\"", "42");
    refused_box_name: instead("[box]", "[box]\nname = \"My Box\"");
    refused_account_address: instead("\"alice\"", "\"alice@example.org\"");
    refused_account_reserved: instead("\"alice\"", "\"postmaster\"");
    refused_account_plus: instead("\"alice\"", "\"alice+news\"");
    refused_display_name: instead("\"alice\"", "\"alice\"\ndisplay_name = \"A\\nB\"");
    refused_network_mode: with("[network]\nmode = \"statik\"");
    refused_network_static_incomplete: with("[network]\nmode = \"static\"");
    refused_network_dhcp_with_address: with("[network]\naddress = \"192.168.1.5/24\"");
    refused_network_gateway_outside: with(
        "[network]\nmode = \"static\"\naddress = \"192.168.1.5/24\"\ngateway = \"192.168.2.1\"");
    refused_network_gateway_is_box: with(
        "[network]\nmode = \"static\"\naddress = \"192.168.1.5/24\"\ngateway = \"192.168.1.5\"");
    refused_network_address: with(
        "[network]\nmode = \"static\"\naddress = \"192.168.1.0/24\"\ngateway = \"192.168.1\"\n\
         dns = [\"router\", 1, \"127.0.0.1\"]\naddress6 = \"fe80::1/64\"");
    refused_network_no_prefix: with(
        "[network]\nmode = \"static\"\naddress = \"192.168.1.5\"\ngateway = \"192.168.1.1\"\naddress6 = \"2001:db8::5/200\"");
    refused_time_servers: with("[time]\nservers = []");
    refused_size_unit: with("[mail]\nmax_message_size = \"50 mib\"");
    refused_size_no_unit: with("[mail]\nmax_message_size = \"50\"");
    refused_size_number: with("[mail]\nmax_message_size = 50");
    refused_size_range: with("[mail]\nmax_message_size = \"2 GiB\"");
    refused_switch: with("[mail]\nspam_filter = \"yes\"");
    refused_mirror: with("[build]\nmirror = \"debian.example.net\"");
    refused_mirror_blank: with("[build]\nmirror = \"https://debian.example.net/ [trusted=yes]\"");
    refused_component_unknown: with("[components.mial]\npath = \"x\"");
    refused_component_other: with("[components.kernel]\npath = \"x\"");
    refused_component_incomplete: with("[components.mail]\npath = \"~/mail\"");
    refused_component_no_table: with("[components]\nmail = \"parts/mail\"");
    refused_component_sha256: with("[components.mail]\npath = \"mail\"\nsha256 = \"abc\"");
    refused_update_keys: with(&format!(
        "[update]\nkeys = [\"{KEY}\", \"abc\", \"{}\", \"{}\"]",
        KEY.replace("0d", "0e"),
        KEY.to_uppercase(),
    ));
    refused_update_weak_key: with(&format!("[update]\nkeys = [\"01{}\"]", "0".repeat(62)));
    refused_update_alone: with("[update]\nurl = \"https://example.org/roost.bundle\"\nwindow = [2, 5]");
    refused_update_window_alone: with(&format!("[update]\nkeys = [\"{KEY}\"]\nwindow = [2, 5]"));
    refused_update_url: with(&format!("[update]\nkeys = [\"{KEY}\"]\nurl = \"https://example.org/\""));
    refused_update_url_scheme: with(&format!("[update]\nkeys = [\"{KEY}\"]\nurl = \"file:///roost.bundle\""));
    refused_update_window: with(&format!(
        "[update]\nkeys = [\"{KEY}\"]\nurl = \"http://a.example/b\"\nwindow = [22, 24]"));
    refused_update_window_empty: with(&format!(
        "[update]\nkeys = [\"{KEY}\"]\nurl = \"http://a.example/b\"\nwindow = [5, 5]"));
    refused_relay: with(
        "[relay]\nregion = \"eu-central-1a\"\nname = \"My Relay\"\ninstance_type = \"t3.nano\"\nami = \"debian\"\n\
         elastic_ip = \"203.0.113.7\"\nsecond_elastic_ip = true\nbudget_email = \"me\"\nbudget_usd = 0");
    refused_resolver: with("[resolver]\nroot_servers = [\"a.example\"]\ntrust_anchors = [\". IN DS 1 13 2 AB\"]");
    refused_resolver_half: with("[resolver]\nroot_servers = [\"192.0.2.53\"]");
    refused_relay_kinds: with("[relay]\ninstance_type = \"nano\"\nbudget_usd = \"15\"");
    refused_many_at_once: "[box]\nname = \"Box!\"\ndomain = \"org\"\nsize = 1\n\n[account]\nname = \"root\"\n\n\
         [mail]\nmax_message_size = \"1 B\"\nspam_filter = 1\n";
}

#[test]
fn the_smallest_file_has_all_defaults() {
    let config = parse(GOOD).expect("it is good");
    let settings = serde_json::to_string_pretty(&config.settings()).unwrap();
    insta::assert_snapshot!(settings);
    assert_eq!(config.mirror, None);
    assert!(config.overrides.is_empty());
}

#[test]
fn a_full_file_reaches_the_settings() {
    let sha = "AB".repeat(32);
    let text = format!(
        r#"[box]
name = "nest"
domain = "Bücher.example.NET"
[account]
name = "alice"
display_name = "Älice Example"
password_hash = "$2b$12$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe"
[network]
mode = "static"
address = "10.1.2.3/16"
gateway = "10.1.0.1"
dns = ["10.1.0.2", "2001:db8::53"]
address6 = "fd00:1::3/64"
[time]
servers = ["10.1.0.1", "Time.example.net"]
[mail]
host = "mx.example.net"
max_message_size = "25 MB"
spam_filter = false
[update]
keys = ["{}"]
url = "https://example.org/~alice/roost.bundle?for=nest"
window = [22, 5]
[build]
mirror = "https://debian.example.net/debian/"
[components.mail]
path = "parts/mail"
sha256 = "{sha}"
[components.init]
path = "/srv/init"
sha256 = "{sha}"
"#,
        KEY.to_uppercase()
    );
    let config = parse(&text).expect("it is good");
    insta::assert_snapshot!(serde_json::to_string_pretty(&config.settings()).unwrap());
    assert_eq!(
        config.mirror.as_deref(),
        Some("https://debian.example.net/debian")
    );
    let mail = config.component("mail").expect("it is given");
    assert_eq!(
        (mail.path.as_path(), mail.sha256.as_str()),
        (Path::new("home/parts/mail"), &*sha.to_lowercase())
    );
    assert_eq!(
        config.component("init").expect("it is given").path,
        Path::new("/srv/init")
    );
}

#[test]
fn resolvers_default_to_the_gateway() {
    let text = with(
        "[network]\nmode = \"static\"\naddress = \"192.168.1.5/24\"\ngateway = \"192.168.1.1\"",
    );
    let Network::Static { dns, .. } = parse(&text).expect("it is good").network else {
        panic!("it is static")
    };
    assert_eq!(dns, [IpAddr::V4(Ipv4Addr::new(192, 168, 1, 1))]);
}

#[test]
fn a_file_that_is_not_there_is_a_usage_error() {
    let failure = Failure::from(Config::load(Path::new("no/such/roost.toml")).unwrap_err());
    assert_eq!(failure.exit(), crate::error::Exit::Usage);
    insta::assert_snapshot!(anstream::adapter::strip_str(&failure.render()).to_string());
}

#[test]
fn dotted_and_inline_tables_are_the_same_as_headed_ones() {
    let hash = GOOD.split_once("password_hash = ").expect("it has one").1;
    let text = format!(
        "box.domain = \"example.org\"\naccount = {{ name = \"alice\", password_hash = {} }}\n",
        hash.trim()
    );
    assert_eq!(parse(&text), parse(GOOD));
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_do_no_harm() {
    assert_eq!(
        parse(&format!("\u{feff}{}", GOOD.replace('\n', "\r\n"))),
        parse(GOOD)
    );
}

#[test]
fn places_are_counted_in_letters_not_bytes() {
    let problems = parse("[box]\n\tdomain = \"é.example.org\" \n\t\"ключ\" = 1\n").unwrap_err();
    assert_eq!((problems[0].line, problems[0].column), (3, 2));
    assert_eq!(problems[0].mark, (1, 6));
}

#[test]
fn an_empty_file_leaves_domain_and_account_to_the_browser() {
    for text in ["", "[account]\n[box]\nname = \"attic\"\n"] {
        let config = parse(text).unwrap();
        assert_eq!(config.mailbox, None);
        let settings = config.settings();
        assert_eq!(
            (settings.mailbox.as_ref(), settings.mail_host()),
            (None, None)
        );
        assert_eq!(config.owner(), format!("{}.local", config.name.as_str()));
    }
    assert_eq!(parse(GOOD).unwrap().owner(), "example.org");
}

/// Every example and default of the definitions is valid, all keys together.
#[test]
fn examples_and_defaults_of_all_keys_are_valid() {
    let mut text = String::new();
    for section in SECTIONS {
        let names: Vec<String> = match section.members {
            [] => vec![section.name.to_owned()],
            members => members
                .iter()
                .map(|m| format!("{}.{m}", section.name))
                .collect(),
        };
        for name in names {
            text += &format!("[{name}]\n");
            for field in section.fields {
                text += &format!("{} = {}\n", field.key(), field.example());
            }
        }
    }
    let config = parse(&text).unwrap_or_else(|p| panic!("{text}\n{p:#?}"));
    assert_eq!(config.overrides.len(), 10);

    let mut text = GOOD.to_owned();
    for section in SECTIONS {
        for field in section.fields {
            if let Absent::Default(value) = field.absent() {
                text += &format!("{}.{} = {value}\n", section.name, field.key());
            }
        }
    }
    // Dotted keys have to come before the first table.
    let (tables, dotted) = text.split_at(GOOD.len());
    let dotted: String = dotted
        .lines()
        .filter(|l| !l.starts_with("box."))
        .map(|l| format!("{l}\n"))
        .collect();
    assert_eq!(parse(&format!("{dotted}{tables}")), parse(GOOD));
}

#[test]
fn the_commented_file_is_valid_as_written_and_with_every_comment_removed() {
    let answers = [
        ("box", "domain", page::quoted("example.org")),
        ("account", "name", page::quoted("alice")),
        (
            "account",
            "password_hash",
            page::quoted(fields::ACCOUNT_PASSWORD_HASH.example.trim_matches('"')),
        ),
    ];
    let text = page::template(&answers);
    insta::assert_snapshot!(text);
    parse(&text).unwrap_or_else(|p| panic!("{p:#?}"));
    let all: String = text
        .lines()
        .map(|l| match l.strip_prefix('#') {
            Some(line) if !line.starts_with(' ') => format!("{line}\n"),
            _ => format!("{l}\n"),
        })
        .collect();
    let all = all.replace("mode = \"dhcp\"", "mode = \"static\"");
    parse(&all).unwrap_or_else(|p| panic!("{all}\n{p:#?}"));
}

/// `UPDATE_DOCS=1` writes the page instead of comparing it.
#[test]
fn reference_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/roost-toml.md");
    let page = page::reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/roost-toml.md is stale: run `UPDATE_DOCS=1 cargo test -p roost reference_page`"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Config::parse("roost.toml", &bytes, Path::new("")).map_err(|p| render_all(&p));
    }

    /// Text made of the words that the reader knows gets deeper than noise does.
    #[test]
    fn arbitrary_words_never_panic(words in proptest::collection::vec(word(), 0..40)) {
        let _ = parse(&words.concat()).map_err(|p| render_all(&p));
    }

    /// A good file with one piece overwritten.
    #[test]
    fn damaged_files_never_panic(at in 0..400_usize, length in 0..40_usize, noise in "\\PC{0,20}") {
        let template = page::template(&[("box", "domain", page::quoted("example.org"))]);
        let template = format!("{GOOD}\n{template}");
        let start = template.floor_char_boundary(at * template.len() / 400);
        let end = template.ceil_char_boundary((start + length).min(template.len()));
        let damaged = format!("{}{noise}{}", &template[..start], &template[end..]);
        let _ = parse(&damaged).map_err(|p| render_all(&p));
    }

    /// A password is repeated neither in an error's text nor in its JSON.
    #[test]
    fn passwords_are_never_repeated(key in "pass[a-z_]{0,8}", tail in ".{0,6}") {
        let text = instead("password_hash", &format!("{key} = \"hunter2{tail}\" #"));
        if let Err(problems) = parse(&text) {
            let failure = Failure::from(ConfigError::Faulty { path: "roost.toml".into(), problems });
            prop_assert!(!failure.render().contains("hunter2"));
            prop_assert!(!failure.to_json().to_string().contains("hunter2"));
        }
    }
}

fn render_all(problems: &[Problem]) {
    assert!(!problems.is_empty());
    for problem in problems {
        assert!(problem.line >= 1 && problem.column >= 1);
        assert!(!problem.render().is_empty());
    }
}

fn word() -> impl Strategy<Value = String> {
    let mut words: Vec<String> = [
        "\n",
        "\n",
        "\n",
        "=",
        " = ",
        "\"",
        "'",
        "[",
        "]",
        "{",
        "}",
        ",",
        ".",
        "#",
        "\\",
        "\u{0}",
        "é",
        "\t",
        "\r\n",
        "1",
        "true",
        "[[",
        "]]",
        "\"\"\"",
        "\"192.168.1.5/24\"",
        "\"static\"",
        "\"10.0.0.1/31\"",
        "\"50 MiB\"",
        "\"::/0\"",
        "[]",
        "\"$6$\"",
        "\"$2b$12$\"",
        "\"xn--\"",
        "\"a.b\"",
        "\"99999999999999999999 GiB\"",
    ]
    .map(str::to_owned)
    .to_vec();
    for section in SECTIONS {
        words.push(format!("\n[{}]\n", section.name));
        words.extend(
            section
                .members
                .iter()
                .map(|m| format!("\n[{}.{m}]\n", section.name)),
        );
        words.extend(
            section
                .fields
                .iter()
                .flat_map(|f| [f.key().to_owned(), f.example().to_owned()]),
        );
    }
    proptest::sample::select(words)
}
