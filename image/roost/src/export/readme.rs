//! README.txt of an export: what is what, and how to move it elsewhere, for a person who may never have run a server.

use super::Summary;
use crate::cli::Format;
use crate::device::words::plain;
use crate::ui::size;
use std::fmt::Write as _;

/// What else is known of the mailbox that is left.
#[derive(Debug, Clone, Default)]
pub struct Leaving {
    /// The box's own domain; `None`: it was no box.
    pub domain: Option<String>,
    /// Name of its mail server.
    pub host: String,
    /// Log-in names and addresses.
    pub addresses: Vec<(String, Vec<String>)>,
}

const MAILDIR: &str = "\
mail/NAME is a maildir (Maildir++): a file for each message in `cur`, a directory .Folder for
each folder. The end of a file's name says how it is marked (S: seen, R: answered, F: flagged,
D: draft, T: deleted; small letters: see `dovecot-keywords` beside it), the file's time is when
the message arrived. Names of folders are in modified UTF-7; a dot in a name has become `_`,
and `roost-folders.json` says what it was.

  Dovecot       copy the contents of mail/NAME into the user's ~/Maildir (rsync -a, so that
                times stay), give it to that user (chown -R), and set in dovecot.conf:
                mail_location = maildir:~/Maildir
                A server with other settings: doveadm import -u USER maildir:mail/NAME \"\" all
                (INBOX instead of \"\" where all folders are below INBOX)
  Courier       copy it as well, without the setting
  any server    roost import mail/NAME --to imaps://you@mail.new.example
                (or imapsync, mbsync, or a mail program that opens maildirs)
  another box   roost import mail/NAME --account NAME
  mutt          mutt -f mail/NAME
";

const MBOX: &str = "\
mail/NAME has a file for each folder, in mbox format (mboxrd): what begins with \"From \" in a
message has got a `>` before it. Status, X-Status and X-Keywords in a message's header say how
it is marked.

  Thunderbird   the add-on ImportExportTools NG, \"import mbox file\"
  Apple's Mail  File, Import Mailboxes, Files in mbox format
  any server    roost import mail/NAME --to imaps://you@mail.new.example
  another box   roost import mail/NAME --account NAME
  mutt          mutt -f mail/NAME/FOLDER.mbox
";

const DAV: &str = "\
CONTACTS AND CALENDARS
----------------------
contacts/NAME/*.vcf are address books (vCard), calendars/NAME/*.ics calendars (iCalendar), a
file each. Phones, Nextcloud, Google, Apple and Thunderbird import such files (\"import\", not
\"subscribe\").
";

const KEYS: &str = "\
PRIVATE KEYS
------------
keys/ is what the box signs with, out of a backup. Whoever has it can sign in your name: remove
it here once it is where it shall be. With it nothing changes for others when you move.

  dkim-*.pem    of all your domains, selectors roost-rsa and roost-ed25519. OpenDKIM (KeyFile),
                Rspamd and Stalwart read them. Leave the _domainkey records in the zone then
  dnssec/       the keys of each zone, as BIND has them (key-directory; dnssec-signzone -S -K)
                Knot          keymgr ZONE import-bind keys/dnssec/KZONE.+013+TAG.key
                PowerDNS      pdnsutil import-zone-key ZONE FILE.private ksk (or zsk)
                The DS record at your registrar stays then, as long as the new name servers
                sign with the key of the file that says 257
";

/// The text.
pub fn text(summary: &Summary, format: Format, leaving: &Leaving) -> String {
    let mut out = String::new();
    let title = match &leaving.domain {
        Some(domain) => format!("Everything of {domain}, packed by `roost export`"),
        None => "A mailbox, packed by `roost export`".to_owned(),
    };
    let _ = writeln!(out, "{title}\n{}\n", "=".repeat(title.chars().count()));
    let _ = writeln!(
        out,
        "Whoever has these files can read the mail. `sha256sum -c SHA256SUMS` tells whether they are whole.\n"
    );
    let _ = writeln!(out, "WHAT IS IN IT\n-------------");
    for packed in &summary.accounts {
        let _ = write!(
            out,
            "{}: {} messages in {} folders ({})",
            packed.account,
            packed.messages,
            packed.folders,
            size(packed.message_bytes)
        );
        if leaving.domain.is_some() {
            let _ = write!(
                out,
                ", {} contacts, {} appointments and tasks",
                packed.contacts, packed.appointments
            );
        }
        out.push('\n');
        let own = leaving
            .addresses
            .iter()
            .find(|(name, _)| *name == packed.account);
        if let Some((_, addresses)) = own.filter(|(_, addresses)| !addresses.is_empty()) {
            let _ = writeln!(out, "  addresses: {}", addresses.join(", "));
        }
        if packed.lost_marks > 0 {
            let _ = writeln!(
                out,
                "  {} marks are missing: a folder of a maildir can have 26 kinds of its own. The format mbox has all",
                packed.lost_marks
            );
        }
    }
    if !summary.unreadable.is_empty() {
        let _ = writeln!(out, "\nThese messages could not be read, and are missing:");
        for which in &summary.unreadable {
            let _ = writeln!(out, "  {}", plain(which));
        }
    }
    let mail = match format {
        Format::Maildir => MAILDIR,
        Format::Mbox => MBOX,
    };
    let _ = write!(out, "\nMAIL\n----\n{mail}");
    let Some(domain) = &leaving.domain else {
        return out;
    };
    let _ = write!(out, "\n{DAV}");
    if summary.zones.is_empty() {
        let _ = writeln!(
            out,
            "\nTHE DOMAIN\n----------\nThe box answers for no domain, so there is no zone file."
        );
    } else {
        let _ = write!(out, "\n{}", zone(summary, leaving, domain));
    }
    let _ = write!(out, "\n{}", relay(summary));
    if !summary.keys.is_empty() {
        let _ = write!(out, "\n{KEYS}");
    }
    let _ = write!(out, "\n{}", order(summary, domain));
    let _ = write!(out, "\n{}", missing(summary, domain));
    out
}

fn zone(summary: &Summary, leaving: &Leaving, domain: &str) -> String {
    let files: Vec<String> = summary
        .zones
        .iter()
        .map(|zone| format!("dns/{zone}.zone"))
        .collect();
    let host = &leaving.host;
    format!(
        "\
THE DOMAIN
----------
{}: what the box's name server answers, as a zone file
(RFC 1035), without signatures.

  BIND          zone \"{domain}\" {{ type primary; file \"{domain}.zone\"; }};
                named-checkzone {domain} {domain}.zone   looks for mistakes
  Knot, NSD     the same file
  a provider    most have \"import zone file\" on their pages

Change in it before you use it:
  SOA and NS    the names of your new name servers
  A, AAAA, MX   of {host}: the new mail server's address
  TLSA          leave out, unless your new server uses DANE: they are for the box's certificate
  CAA           your new server's authority, if it names one
  _mta-sts      leave out, or say `mode: none` there first: others remember the policy for weeks
  _domainkey    the new server has keys of its own, under names (selectors) of their own: add
                those. Leave the old ones for a month: mail that the box has sent is checked
                against them
",
        files.join(", ")
    )
}

fn relay(summary: &Summary) -> String {
    let mut text = "THE RELAY\n---------\n".to_owned();
    if summary.relay_files == 0 {
        text += "\
No Terraform project was found beside roost.toml. If you have a relay at AWS, it costs money
until it is removed: roost relay destroy, in the folder with your roost.toml.
";
        return text;
    }
    text += "\
relay/ is the Terraform project of the machine at AWS, with its state. It needs nothing of Roost:

  cd relay && terraform init && terraform plan      what is there
  cd relay && terraform destroy                     removes it, the public address too

The key of its tunnel is not in it. Terraform asks for relay_private_key; for `destroy` any key
of WireGuard will do (wg genkey). Remove it last, when no mail has come by it for some days.
";
    text
}

fn order(summary: &Summary, domain: &str) -> String {
    let mut steps = vec![
        "Set up the new server with the same addresses (above), and send yourself a test message there.".to_owned(),
        "Move mail, contacts and calendars into it.".to_owned(),
    ];
    if !summary.zones.is_empty() {
        steps.push(format!(
            "DNSSEC first: if your registrar has a DS record for {domain}, have it removed, and\n   \
             wait two days. Otherwise the domain vanishes for everybody who checks signatures, as soon\n   \
             as another server answers for it. (Do the new name servers sign? Give the registrar\n   \
             their DS record afterwards.{})",
            match summary.keys.is_empty() {
                true => "",
                false => " With the keys above none of this is needed.",
            }
        ));
        steps.push(
            "Load the changed zone into the new name servers, then have the registrar name them."
                .to_owned(),
        );
    } else {
        steps.push("Let the MX record of your domain name the new server.".to_owned());
    }
    steps.push("Leave the box on for a week: some servers know the old address for that long. Then move what\n   has come meanwhile: export and import once more, only what is new is taken.".to_owned());
    steps.push(
        "Only then: `roost relay destroy`, and `roost reset` before you give the box away."
            .to_owned(),
    );
    let mut text = "IN WHICH ORDER\n--------------\n".to_owned();
    for (number, step) in (1..).zip(steps) {
        let _ = writeln!(text, "{number}. {step}");
    }
    text
}

fn missing(summary: &Summary, domain: &str) -> String {
    let keys = match summary.keys.is_empty() {
        true => {
            "\
Private keys for DKIM and DNSSEC: the box hands them out to nobody, so whoever gets hold of this
  file or of your laptop cannot sign in your name. A new server makes its own, and both can be in
  the zone at the same time. If you want them all the same: roost export --keys-from BACKUPS.
"
        }
        false => "",
    };
    format!(
        "\
WHAT IS NOT IN IT, AND WHY
--------------------------
{keys}Certificates and their keys: the new server gets its own, at no cost.
Passwords: the box has only hashes, which are of no use elsewhere.
Filters (Sieve) and files (WebDAV): programs with ManageSieve and WebDAV copy them.
Mail that waits to be sent: look at the portal's page about the queue before you switch off.
~/.config/roost/{domain} on your computer: keys for updates of the box and for the
  relay's tunnel. Nothing but Roost has a use for them.
"
    )
}

#[cfg(test)]
mod tests {
    use super::super::Packed;
    use super::*;

    fn summary() -> Summary {
        Summary {
            accounts: vec![
                Packed {
                    account: "alice".into(),
                    folders: 6,
                    messages: 12_345,
                    message_bytes: 2_300_000_000,
                    contacts: 80,
                    appointments: 412,
                    lost_marks: 3,
                },
                Packed {
                    account: "bob".into(),
                    folders: 5,
                    ..Packed::default()
                },
            ],
            zones: vec!["example.org".into()],
            relay_files: 12,
            ..Summary::default()
        }
    }

    #[test]
    fn a_person_who_leaves_reads_this() {
        let leaving = Leaving {
            domain: Some("example.org".into()),
            host: "mail.example.org".into(),
            addresses: vec![(
                "alice".into(),
                vec!["alice@example.org".into(), "postmaster@example.org".into()],
            )],
        };
        insta::assert_snapshot!("maildir", text(&summary(), Format::Maildir, &leaving));
        let bare = Summary {
            zones: Vec::new(),
            relay_files: 0,
            unreadable: vec!["INBOX, UID 7 (1.2 kB): gone".into()],
            ..summary()
        };
        let keys = Summary {
            keys: vec!["keys/dkim-rsa.pem".into()],
            ..summary()
        };
        let with_keys = text(&keys, Format::Maildir, &leaving);
        assert!(with_keys.contains("With the keys above none of this is needed."));
        let (_, with_keys) = with_keys.split_once("THE RELAY\n").unwrap();
        insta::assert_snapshot!("with_keys", with_keys);
        insta::assert_snapshot!("mbox_without_domain", text(&bare, Format::Mbox, &leaving));
        insta::assert_snapshot!(
            "of_another_server",
            text(
                &Summary {
                    accounts: summary().accounts,
                    ..Summary::default()
                },
                Format::Maildir,
                &Leaving::default()
            )
        );
    }
}
