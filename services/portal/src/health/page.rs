//! `docs/doctor.md`, made from the table.

use super::table::GROUPS;
use std::fmt::Write as _;

/// What stands before the checks.
const BEGINNING: &str = "\
# How the box is: every check

<!-- Made from services/portal/src/health by UPDATE_DOCS=1 cargo test -p roost-portal doctor_page -->

`roost doctor` and the page Health of the box's portal show the same: what was checked, what was found, and what to do. \
The box looks when it is asked, and by itself once a day.

| Shown | Means |
|---|---|
| ok | as it should be |
| note | good to know; nothing has to be done |
| warning | something will fail, or is worse than it could be |
| failed | something does not work |
| not checked | it could not be found out; the reason stands there. It counts neither for nor against the box |

**Exit codes** of `roost doctor`: 0 if nothing has failed, 1 if something has, 2 if the box could not be reached. \
Warnings alone are 0; `roost doctor --json` has every level for scripts.

**Messages.** Once a day the box compares what it finds with what it has told you, and writes to its first account only when \
a check has become worse or better: to or from a warning, to or from a failure. It looks a second time a quarter of an hour \
later, so that what only flickers is not told. Notes, and what could not be checked, are never mailed. While the mail \
service itself does not work, the message waits.

**From outside.** What others see of the box is asked from where they are, as far as the box can get there: by its home line \
to the public address and back in, through the tunnel and back, and by the DNS from the root on. Where there is no such way, \
a check says so and is not guessed.

**Blocklists** are asked once for each look, through the box's own resolver. That asks the lists' own name servers, as their \
owners want it of small users; where the home network lets it ask only its own resolver, some lists refuse to answer. \
Spamhaus says so with 127.255.255.x: that counts as not answered, never as listed.

";

/// The page.
pub fn page() -> String {
    let mut page = BEGINNING.to_owned();
    for group in GROUPS {
        let _ = writeln!(page, "## {}\n", group.name);
        for check in group.checks {
            let _ = writeln!(
                page,
                "### {}\n\n**{}.** {}\n\n**What to do.** {}\n",
                check.id, check.what, check.how, check.to_do
            );
        }
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

#[cfg(test)]
mod tests {
    /// `UPDATE_DOCS=1` writes the page instead of comparing it.
    #[test]
    fn doctor_page_is_that_of_the_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/doctor.md");
        let page = super::page();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        assert!(
            std::fs::read_to_string(&path).unwrap_or_default() == page,
            "docs/doctor.md is stale: run `UPDATE_DOCS=1 cargo test -p roost-portal doctor_page`"
        );
    }
}
