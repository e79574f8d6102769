//! Folders that programs look for whatever they are called (RFC 6154), and where each folder of the old mailbox goes.

use crate::mail::imap::Listed;
use crate::mail::names;
use serde::Serialize;

/// What a folder is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// New mail.
    Inbox,
    /// Own mail.
    Sent,
    /// Unfinished.
    Drafts,
    /// Deleted.
    Trash,
    /// Unwanted.
    Junk,
    /// Done with.
    Archive,
    /// All that is anywhere else as well, as Google has it.
    All,
    /// What is marked anywhere else, e.g. with a star.
    View,
}

/// A role, its attribute, and names that programs and providers give to such folders. Their order
/// is that of servers which say nothing: the first one that is there has the role.
const KNOWN: [(Role, &str, &[&str]); 5] = [
    (
        Role::Sent,
        "\\sent",
        &[
            "sent",
            "sent items",
            "sent messages",
            "sent mail",
            "gesendet",
            "gesendete elemente",
            "gesendete objekte",
            "envoyés",
            "éléments envoyés",
            "enviados",
            "inviata",
            "verzonden items",
        ],
    ),
    (
        Role::Drafts,
        "\\drafts",
        &[
            "drafts",
            "draft",
            "entwürfe",
            "brouillons",
            "borradores",
            "bozze",
            "concepten",
        ],
    ),
    (
        Role::Trash,
        "\\trash",
        &[
            "trash",
            "deleted items",
            "deleted messages",
            "deleted",
            "bin",
            "papierkorb",
            "gelöschte elemente",
            "gelöschte objekte",
            "corbeille",
            "éléments supprimés",
            "papelera",
            "cestino",
            "prullenbak",
        ],
    ),
    (
        Role::Junk,
        "\\junk",
        &[
            "junk",
            "junk mail",
            "junk email",
            "junk e-mail",
            "spam",
            "bulk mail",
            "spamverdacht",
            "courrier indésirable",
            "correo no deseado",
            "posta indesiderata",
        ],
    ),
    (
        Role::Archive,
        "\\archive",
        &[
            "archive", "archives", "archiv", "archivo", "archivio", "archief",
        ],
    ),
];

impl Role {
    /// As an attribute of a server, in lower case, says it.
    pub fn of_attributes(listed: &Listed) -> Option<Self> {
        if listed.is("\\all") {
            return Some(Self::All);
        }
        if listed.is("\\flagged") || listed.is("\\important") {
            return Some(Self::View);
        }
        KNOWN
            .iter()
            .find(|(_, attribute, _)| listed.is(attribute))
            .map(|(role, ..)| *role)
    }

    /// As it is written down in an export.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Sent => "sent",
            Self::Drafts => "drafts",
            Self::Trash => "trash",
            Self::Junk => "junk",
            Self::Archive => "archive",
            Self::All => "all",
            Self::View => "view",
        }
    }

    /// The other way round.
    pub fn of_name(name: &str) -> Option<Self> {
        [
            Self::Inbox,
            Self::Sent,
            Self::Drafts,
            Self::Trash,
            Self::Junk,
            Self::Archive,
            Self::All,
            Self::View,
        ]
        .into_iter()
        .find(|role| role.name() == name)
    }

    /// What such a folder is called where there is none.
    fn usual(self) -> &'static str {
        match self {
            Self::Inbox => "INBOX",
            Self::Sent => "Sent",
            Self::Drafts => "Drafts",
            Self::Trash => "Trash",
            Self::Junk => "Junk",
            Self::Archive | Self::All | Self::View => "Archive",
        }
    }
}

/// Gives roles by name to folders of a mailbox that says nothing about some of them.
pub fn guess(folders: &mut [(Vec<String>, Option<Role>)]) {
    for (path, role) in folders.iter_mut() {
        if path.len() == 1 && path[0].eq_ignore_ascii_case("INBOX") {
            *role = Some(Role::Inbox);
        }
    }
    for (wanted, _, known) in KNOWN {
        if folders.iter().any(|(_, role)| *role == Some(wanted)) {
            continue;
        }
        let at = known.iter().find_map(|name| {
            folders.iter().position(|(path, role)| {
                role.is_none() && path.len() == 1 && path[0].to_lowercase() == *name
            })
        });
        if let Some(at) = at {
            folders[at].1 = Some(wanted);
        }
    }
}

/// The folders of the mailbox that mail goes into.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// Each with its spelling.
    folders: Vec<(Vec<String>, Option<Role>, Vec<u8>)>,
    /// What stands before the name of every folder but the inbox.
    prefix: Vec<u8>,
    separator: Option<char>,
}

/// Names from the outermost folder on, without what the server puts before all of them.
pub fn path_of(listed: &Listed, prefix: &[u8]) -> Vec<String> {
    let name = names::decode(
        listed
            .raw
            .strip_prefix(prefix)
            .filter(|rest| !rest.is_empty())
            .unwrap_or(&listed.raw),
    );
    match listed.separator {
        Some(separator) => name
            .split(separator)
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect(),
        None => vec![name],
    }
}

/// The longest prefix of the user's own folders that this name begins with.
pub fn prefix_of<'a>(prefixes: &'a [Vec<u8>], raw: &[u8]) -> &'a [u8] {
    let fitting = prefixes
        .iter()
        .filter(|prefix| raw.len() > prefix.len() && raw.starts_with(prefix));
    fitting
        .max_by_key(|prefix| prefix.len())
        .map_or(&[], Vec::as_slice)
}

impl Layout {
    /// Of what a server lists; `own` are the prefixes of the user's own folders.
    pub fn new(listed: &[Listed], own: &[Vec<u8>]) -> Self {
        let there = listed.iter().filter(|one| !one.is("\\nonexistent"));
        let all: Vec<&Listed> = there.collect();
        let mut roles: Vec<(Vec<String>, Option<Role>)> = (all.iter())
            .map(|one| {
                (
                    path_of(one, prefix_of(own, &one.raw)),
                    Role::of_attributes(one),
                )
            })
            .collect();
        guess(&mut roles);
        let separator = all.iter().find_map(|one| one.separator);
        let folders = roles
            .into_iter()
            .zip(&all)
            .filter(|(_, one)| !one.is("\\noselect"));
        Self {
            folders: folders
                .map(|((path, role), one)| (path, role, one.raw.clone()))
                .collect(),
            prefix: own.first().cloned().unwrap_or_default(),
            separator,
        }
    }

    /// Where the folder of a role is.
    fn of_role(&self, role: Role) -> Option<&[String]> {
        let found = self.folders.iter().find(|(_, own, _)| *own == Some(role));
        found.map(|(path, ..)| path.as_slice())
    }

    /// Where a folder of the old mailbox goes: to the folder with the same role, into it if it was in such a
    /// one, else to a folder of the same name. `roles` are those of the old mailbox.
    pub fn place(
        &self,
        path: &[String],
        roles: &[(Vec<String>, Option<Role>)],
        below: &[String],
    ) -> Vec<String> {
        if !below.is_empty() {
            return below
                .iter()
                .chain(path)
                .map(|part| self.clean(part))
                .collect();
        }
        let outer = roles
            .iter()
            .filter(|(of, role)| role.is_some() && path.starts_with(of))
            .max_by_key(|(of, _)| of.len());
        let (mut to, rest) = match outer {
            Some((of, Some(role))) => {
                let own = match role {
                    Role::All | Role::View => Role::Archive,
                    other => *other,
                };
                let to = self
                    .of_role(own)
                    .map_or_else(|| vec![own.usual().to_owned()], <[String]>::to_vec);
                (to, &path[of.len()..])
            }
            _ => (Vec::new(), path),
        };
        to.extend(rest.iter().map(|part| self.clean(part)));
        to
    }

    /// The spelling of a folder, and whether it is there.
    pub fn spelling(&self, path: &[String]) -> (Vec<u8>, bool) {
        let inbox = path.len() == 1 && path[0].eq_ignore_ascii_case("INBOX");
        let there = self.folders.iter().find(|(own, ..)| {
            own == path || inbox && own.len() == 1 && own[0].eq_ignore_ascii_case("INBOX")
        });
        if let Some((_, _, raw)) = there {
            return (raw.clone(), true);
        }
        if inbox {
            return (b"INBOX".to_vec(), true);
        }
        let separator = self
            .separator
            .map_or_else(|| " - ".to_owned(), String::from);
        let name = names::encode(&path.join(&separator));
        ([&self.prefix, name.as_bytes()].concat(), false)
    }

    /// A folder's name as the server can have it.
    fn clean(&self, part: &str) -> String {
        let odd = |c: char| {
            c.is_control() || Some(c) == self.separator || matches!(c, '*' | '%' | '\u{fffd}')
        };
        let text: String = part.chars().map(|c| if odd(c) { '_' } else { c }).collect();
        let text = text.trim();
        if text.is_empty() {
            "_".to_owned()
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn listed(raw: &str, separator: char, attributes: &[&str]) -> Listed {
        Listed {
            raw: raw.as_bytes().to_vec(),
            separator: Some(separator),
            attributes: attributes.iter().map(|a| (*a).to_owned()).collect(),
        }
    }

    fn the_box() -> Layout {
        Layout::new(
            &[
                listed("INBOX", '/', &[]),
                listed("Sent Items", '/', &["\\sent"]),
                listed("Deleted Items", '/', &["\\trash"]),
                listed("Junk Mail", '/', &["\\junk"]),
                listed("Drafts", '/', &["\\drafts"]),
            ],
            &[],
        )
    }

    #[test]
    fn folders_go_to_those_with_the_same_role() {
        let layout = the_box();
        let old = [
            listed("INBOX", '.', &[]),
            listed("INBOX.Gesendet", '.', &[]),
            listed("INBOX.Gesendet.2019", '.', &[]),
            listed("INBOX.Spam", '.', &[]),
            listed("INBOX.Junk", '.', &["\\junk"]),
            listed("INBOX.Archiv", '.', &[]),
            listed("INBOX.AC/DC", '.', &[]),
            listed("INBOX.Entw&APw-rfe", '.', &[]),
            listed("INBOX.Work.\"quoted\" *", '.', &[]),
            listed("INBOX.[Gmail].All", '.', &["\\all"]),
        ];
        let own = [b"INBOX.".to_vec()];
        let mut roles: Vec<_> = old
            .iter()
            .map(|one| {
                (
                    path_of(one, prefix_of(&own, &one.raw)),
                    Role::of_attributes(one),
                )
            })
            .collect();
        guess(&mut roles);
        let told: Vec<String> = roles
            .iter()
            .map(|(path, _)| {
                let to = layout.place(path, &roles, &[]);
                let (raw, there) = layout.spelling(&to);
                let below = layout.place(path, &roles, &["Old".to_owned(), "mail".to_owned()]);
                format!(
                    "{:<24} -> {:<24} {} {} | {}",
                    path.join(" > "),
                    to.join(" > "),
                    raw.escape_ascii(),
                    if there { "there" } else { "new" },
                    below.join(" > ")
                )
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    proptest! {
        /// Two folders of the old mailbox never make one that the server understands as something else.
        #[test]
        fn every_name_becomes_one_that_can_be_asked_for(path in prop::collection::vec("\\PC{0,10}|[/.*%&\"\\\\]{1,4}", 1..4)) {
            let layout = the_box();
            let to = layout.place(&path, &[], &[]);
            prop_assert_eq!(to.len(), path.len());
            let (raw, _) = layout.spelling(&to);
            let back = path_of(&Listed { raw, separator: Some('/'), attributes: Vec::new() }, &[]);
            prop_assert_eq!(back, to);
        }
    }
}
