//! Every key of `roost.toml`, each defined once.

use super::hash::PasswordHash;
use super::names::{AccountName, BoxName, Domain};
use super::schema::{Absent, Field, Section};
use super::values::{self, NetworkMode};
use roost_bundle::PublicKey;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// What happens to domain and account that are not given; all of them or none.
const IN_THE_BROWSER: &str = "whoever pairs with the box chooses domain and account in the browser";

/// All tables in the order of the reference page and of the file that `roost init` writes.
pub static SECTIONS: &[Section] = &[
    Section {
        name: "box",
        doc: "What the box is called.",
        members: &[],
        fields: &[&BOX_NAME, &BOX_DOMAIN],
    },
    Section {
        name: "account",
        doc: "The first mail account, made when the box starts for the first time. Domain and account are \
              given both or not at all.",
        members: &[],
        fields: &[&ACCOUNT_NAME, &ACCOUNT_DISPLAY_NAME, &ACCOUNT_PASSWORD_HASH],
    },
    Section {
        name: "network",
        doc: "How the box gets its address on the home network.",
        members: &[],
        fields: &[
            &NETWORK_MODE,
            &NETWORK_ADDRESS,
            &NETWORK_GATEWAY,
            &NETWORK_DNS,
            &NETWORK_ADDRESS6,
        ],
    },
    Section {
        name: "time",
        doc: "Where the box gets the time from. A Raspberry Pi has no clock of its own.",
        members: &[],
        fields: &[&TIME_SERVERS],
    },
    Section {
        name: "mail",
        doc: "Options of the mail service.",
        members: &[],
        fields: &[&MAIL_HOST, &MAIL_MAX_MESSAGE_SIZE, &MAIL_SPAM_FILTER],
    },
    Section {
        name: "update",
        doc: "Updates over the network. The private halves of the keys stay on your computer: \
              `roost init` makes them. Without this table the box takes no updates.",
        members: &[],
        fields: &[&UPDATE_KEYS, &UPDATE_URL, &UPDATE_WINDOW],
    },
    Section {
        name: "resolver",
        doc: "For networks with a root of the DNS of their own, which is rare: where the box's resolver begins \
              instead of at the internet's root servers. Both keys are given or none. Names that the internet \
              keeps for special use (`.test`, `.lan`) are then looked up like all others.",
        members: &[],
        fields: &[&RESOLVER_ROOT_SERVERS, &RESOLVER_TRUST_ANCHORS],
    },
    Section {
        name: "relay",
        doc: "The box's public end in your AWS account, for `roost relay`. Nothing of it reaches the image. \
              An empty table will do where AWS_REGION says which region.",
        members: &[],
        fields: &[
            &RELAY_REGION,
            &RELAY_NAME,
            &RELAY_INSTANCE_TYPE,
            &RELAY_AMI,
            &RELAY_ELASTIC_IP,
            &RELAY_REGISTERED_DOMAIN,
            &RELAY_SECOND_ELASTIC_IP,
            &RELAY_BUDGET_EMAIL,
            &RELAY_BUDGET_USD,
        ],
    },
    Section {
        name: "build",
        doc: "How `roost build` works on this machine. Nothing of it reaches the box.",
        members: &[],
        fields: &[&BUILD_MIRROR],
    },
    Section {
        name: "components",
        doc: "Programs built elsewhere that replace those of Roost, one table for each: \
              static programs for 64-bit ARM Linux.",
        members: &[
            "mail",
            "init",
            "stage1",
            "updater",
            "portal",
            "tunnel",
            "dns",
            "certificates",
            "resolver",
            "backup",
        ],
        fields: &[&COMPONENT_PATH, &COMPONENT_SHA256],
    },
];

/// `[box] name`
pub static BOX_NAME: Field<BoxName> = Field {
    key: "name",
    doc: "Name of the box on the home network: one word of letters from a to z, digits and hyphens.",
    kind: "text",
    absent: Absent::Default("\"roost\""),
    example: "\"roost\"",
    parse: values::box_name,
};

/// `[box] domain`
pub static BOX_DOMAIN: Field<Domain> = Field {
    key: "domain",
    doc: "Your mail domain: what stands after the @ of your addresses. International names may be \
          written as they are.",
    kind: "text",
    absent: Absent::Otherwise(IN_THE_BROWSER),
    example: "\"example.org\"",
    parse: values::domain,
};

/// `[account] name`
pub static ACCOUNT_NAME: Field<AccountName> = Field {
    key: "name",
    doc: "Log-in name and what stands before the @ of the address: letters from a to z, digits, `.`, `_` and `-`.",
    kind: "text",
    absent: Absent::Otherwise(IN_THE_BROWSER),
    example: "\"alice\"",
    parse: values::account_name,
};

/// `[account] display_name`
pub static ACCOUNT_DISPLAY_NAME: Field<String> = Field {
    key: "display_name",
    doc: "The person's name as others see it in mail.",
    kind: "text",
    absent: Absent::Otherwise("the account's name"),
    example: "\"Alice Example\"",
    parse: values::display_name,
};

/// `[account] password_hash`
pub static ACCOUNT_PASSWORD_HASH: Field<PasswordHash> = Field {
    key: "password_hash",
    doc: "Hash of the password; the password itself stands nowhere. `roost password` makes one (Argon2id). \
          bcrypt (`$2b$`), SHA-512 (`$6$`), SHA-256 (`$5$`), scrypt and PBKDF2 hashes of other programs work too.",
    kind: "text",
    absent: Absent::Otherwise(IN_THE_BROWSER),
    // Well-formed, but nobody knows a password that fits.
    example: "\"$argon2id$v=19$m=7168,t=5,p=1$sP0hhfCNbADYmlNNCISjqA$8AM/OVk0PYDzl3fwtCIYiNcCdZq0ye2N5v1uMHFlgfQ\"",
    parse: values::password_hash,
};

/// `[network] mode`
pub static NETWORK_MODE: Field<NetworkMode> = Field {
    key: "mode",
    doc: "`dhcp`: the router gives the address. `static`: the keys below do.",
    kind: "\"dhcp\" or \"static\"",
    absent: Absent::Default("\"dhcp\""),
    example: "\"static\"",
    parse: values::network_mode,
};

/// `[network] address`
pub static NETWORK_ADDRESS: Field<(Ipv4Addr, u8)> = Field {
    key: "address",
    doc: "With `static` only: the box's IPv4 address and the prefix length of the home network.",
    kind: "IPv4 address/prefix length",
    absent: Absent::Otherwise("an error with `static`"),
    example: "\"192.168.1.5/24\"",
    parse: values::address4,
};

/// `[network] gateway`
pub static NETWORK_GATEWAY: Field<Ipv4Addr> = Field {
    key: "gateway",
    doc: "With `static` only: the router's IPv4 address.",
    kind: "IPv4 address",
    absent: Absent::Otherwise("an error with `static`"),
    example: "\"192.168.1.1\"",
    parse: values::machine4,
};

/// `[network] dns`
pub static NETWORK_DNS: Field<Vec<IpAddr>> = Field {
    key: "dns",
    doc: "With `static` only: addresses of resolvers.",
    kind: "list of IP addresses",
    absent: Absent::Otherwise("the gateway"),
    example: "[\"192.168.1.1\"]",
    parse: values::resolvers,
};

/// `[network] address6`
pub static NETWORK_ADDRESS6: Field<(Ipv6Addr, u8)> = Field {
    key: "address6",
    doc: "With `static` only: an IPv6 address and its prefix length, besides those that the router's \
          advertisements give.",
    kind: "IPv6 address/prefix length",
    absent: Absent::Otherwise("only what the router advertises"),
    example: "\"2001:db8:1::5/64\"",
    parse: values::address6,
};

/// `[time] servers`
pub static TIME_SERVERS: Field<Vec<String>> = Field {
    key: "servers",
    doc: "Time servers (SNTP), by name or address. Several independent ones guard against one that is wrong.",
    kind: "list of names or IP addresses",
    // Run by different organisations for everyone's use; pool names are not for
    // a product's default without a zone of its own.
    absent: Absent::Default("[\"time.cloudflare.com\", \"ptbtime1.ptb.de\", \"time.nist.gov\"]"),
    example: "[\"192.168.1.1\", \"time.example.net\"]",
    parse: values::servers,
};

/// `[mail] host`
pub static MAIL_HOST: Field<Domain> = Field {
    key: "host",
    doc: "Full name of the mail server, as mail programs and other servers will call it.",
    kind: "text",
    absent: Absent::Otherwise("`mail.` and the domain"),
    example: "\"mail.example.org\"",
    parse: values::domain,
};

/// `[mail] max_message_size`
pub static MAIL_MAX_MESSAGE_SIZE: Field<u64> = Field {
    key: "max_message_size",
    doc: "Largest message that is accepted, attachments in their encoded form included: from 1 MiB to 128 MiB.",
    kind: "number with a unit (kB, MB, KiB, MiB, …)",
    absent: Absent::Default("\"50 MiB\""),
    example: "\"25 MB\"",
    parse: values::message_size,
};

/// `[mail] spam_filter`
pub static MAIL_SPAM_FILTER: Field<bool> = Field {
    key: "spam_filter",
    doc: "Whether incoming mail is rated, and spam put into its own folder.",
    kind: "true or false",
    absent: Absent::Default("true"),
    example: "false",
    parse: values::switch,
};

/// `[update] keys`
pub static UPDATE_KEYS: Field<Vec<PublicKey>> = Field {
    key: "keys",
    doc: "Public halves of the keys that sign your updates (Ed25519). The box installs nothing that none of \
          them has signed.",
    kind: "list of 64 hexadecimal digits each",
    absent: Absent::Otherwise("the box takes no updates"),
    example: "[\"2cbc975c77416f3831b2af4e6321a84a38b8595b1d47c88c0084f34749f3340d\"]",
    parse: values::public_keys,
};

/// `[update] url`
pub static UPDATE_URL: Field<String> = Field {
    key: "url",
    doc: "Where the box looks once a day for an update of its own accord: the address of a file that \
          `roost bundle` made.",
    kind: "http or https address",
    absent: Absent::Otherwise("it looks nowhere; you bring updates with `roost update`"),
    example: "\"https://example.org/roost.bundle\"",
    parse: values::bundle_url,
};

/// `[update] window`
pub static UPDATE_WINDOW: Field<(u8, u8)> = Field {
    key: "window",
    doc: "With `url` only: the hours of the day, in UTC, from and until which the box may install what it \
          found and restart. The span may go over midnight.",
    kind: "list of two hours from 0 to 23",
    absent: Absent::Otherwise("at any time"),
    example: "[2, 5]",
    parse: values::window,
};

/// `[resolver] root_servers`
pub static RESOLVER_ROOT_SERVERS: Field<Vec<IpAddr>> = Field {
    key: "root_servers",
    doc: "Addresses of the root's servers.",
    kind: "list of IP addresses",
    absent: Absent::Otherwise("the internet's root servers"),
    example: "[\"192.0.2.53\"]",
    parse: values::resolvers,
};

/// `[resolver] trust_anchors`
pub static RESOLVER_TRUST_ANCHORS: Field<Vec<String>> = Field {
    key: "trust_anchors",
    doc: "Keys of that root, as DS or DNSKEY records.",
    kind: "list of records",
    absent: Absent::Otherwise("the internet's keys"),
    example: "[\". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\"]",
    parse: super::resolver::trust_anchors,
};

/// `[relay] region`
pub static RELAY_REGION: Field<String> = Field {
    key: "region",
    doc: "AWS region in which the relay stands; one near your home.",
    kind: "text",
    absent: Absent::Otherwise("what AWS_REGION or your AWS profile says"),
    example: "\"eu-central-1\"",
    parse: values::region,
};

/// `[relay] name`
pub static RELAY_NAME: Field<String> = Field {
    key: "name",
    doc: "Begins the names of everything that is made, so that two relays can live in one account.",
    kind: "text",
    absent: Absent::Default("\"roost\""),
    example: "\"roost\"",
    parse: values::relay_name,
};

/// `[relay] instance_type`
pub static RELAY_INSTANCE_TYPE: Field<String> = Field {
    key: "instance_type",
    doc: "Size of the machine; one with an ARM processor. A t4g.nano is enough for a household.",
    kind: "text",
    absent: Absent::Default("\"t4g.nano\""),
    example: "\"t4g.nano\"",
    parse: values::instance_type,
};

/// `[relay] ami`
pub static RELAY_AMI: Field<String> = Field {
    key: "ami",
    doc: "Image of the machine: Debian 12 or 13 for ARM.",
    kind: "text",
    absent: Absent::Otherwise("Debian's newest of version 13"),
    example: "\"ami-0123456789abcdef0\"",
    parse: values::ami,
};

/// `[relay] elastic_ip`
pub static RELAY_ELASTIC_IP: Field<String> = Field {
    key: "elastic_ip",
    doc: "Allocation of an Elastic IP of your own, which outlives the relay with its reputation and with \
          AWS's approval of port 25.",
    kind: "text",
    absent: Absent::Otherwise("one is made, and released with the relay"),
    example: "\"eipalloc-0123456789abcdef0\"",
    parse: values::allocation,
};

/// `[relay] registered_domain`
pub static RELAY_REGISTERED_DOMAIN: Field<bool> = Field {
    key: "registered_domain",
    doc: "Whether your domain is registered with Route 53 in the same account. Then its name servers are set \
          to box and relay, and the relay keeps a copy of the zone; the box must answer for it.",
    kind: "true or false",
    absent: Absent::Default("false"),
    example: "true",
    parse: values::switch,
};

/// `[relay] second_elastic_ip`
pub static RELAY_SECOND_ELASTIC_IP: Field<bool> = Field {
    key: "second_elastic_ip",
    doc: "Whether the second name server gets an IPv4 address of its own, which some registries want. \
          It costs as much as the first.",
    kind: "true or false",
    absent: Absent::Default("false"),
    example: "true",
    parse: values::switch,
};

/// `[relay] budget_email`
pub static RELAY_BUDGET_EMAIL: Field<String> = Field {
    key: "budget_email",
    doc: "Address that hears from AWS when the account's month gets dearer than `budget_usd`. Not one on the box.",
    kind: "text",
    absent: Absent::Otherwise("nobody hears of it"),
    example: "\"you@example.com\"",
    parse: values::mail_address,
};

/// `[relay] budget_usd`
pub static RELAY_BUDGET_USD: Field<u32> = Field {
    key: "budget_usd",
    doc: "That budget, in US dollars a month, for the whole account.",
    kind: "whole number",
    absent: Absent::Default("15"),
    example: "15",
    parse: values::dollars,
};

/// `[build] mirror`
pub static BUILD_MIRROR: Field<String> = Field {
    key: "mirror",
    doc: "Debian mirror to fetch packages from. Which one does not matter for safety: every package is \
          checked against roost.lock.",
    kind: "http or https address",
    absent: Absent::Otherwise("the mirror that this machine's apt uses, else deb.debian.org"),
    example: "\"https://debian.example.net/debian\"",
    parse: values::mirror,
};

/// `[components.*] path`
pub static COMPONENT_PATH: Field<PathBuf> = Field {
    key: "path",
    doc: "The program's file, relative to the folder of roost.toml.",
    kind: "path",
    absent: Absent::Required("add a line like  path = \"parts/mail\""),
    example: "\"parts/mail\"",
    parse: values::file,
};

/// `[components.*] sha256`
pub static COMPONENT_SHA256: Field<String> = Field {
    key: "sha256",
    doc: "SHA-256 of that file, as `sha256sum` prints it; a file that differs is refused.",
    kind: "64 hexadecimal digits",
    absent: Absent::Required("`sha256sum FILE` prints it"),
    example: "\"0000000000000000000000000000000000000000000000000000000000000000\"",
    parse: values::sha256,
};
