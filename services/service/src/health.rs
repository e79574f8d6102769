//! How the box is, check by check: what the portal finds and `roost doctor` shows.
//!
//! The checks themselves, and when each is how bad, are the portal's (`services/portal/src/health`).

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Good to know; nothing has to be done.
    Note,
    /// It could not be checked; [`Checked::found`] says why. It says nothing, neither good nor bad.
    Unknown,
    /// Something will fail, or is worse than it could be.
    Warning,
    /// Something does not work.
    Failed,
}

impl Level {
    /// All, the worst last.
    pub const ALL: [Self; 5] = [
        Self::Ok,
        Self::Note,
        Self::Unknown,
        Self::Warning,
        Self::Failed,
    ];

    /// In a word or a few, for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Unknown => "not checked",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }

    /// Whether somebody has to do something about it.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Warning | Self::Failed)
    }
}

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Checked {
    /// Its name, which stays the same from version to version.
    #[cfg_attr(feature = "openapi", schema(example = "card-room"))]
    pub id: String,
    /// Heading under which it stands.
    #[cfg_attr(feature = "openapi", schema(example = "Card"))]
    pub group: String,
    /// What was checked, as it should be.
    #[cfg_attr(feature = "openapi", schema(example = "The card has room"))]
    pub what: String,
    /// How bad it is.
    pub level: Level,
    /// What was found, or why it could not be checked, in whole sentences.
    pub found: String,
    /// What to do about it, in whole sentences with commands between backticks; empty: nothing.
    pub to_do: String,
    /// Where the documentation tells more.
    #[cfg_attr(feature = "openapi", schema(example = "docs/doctor.md#card-room"))]
    pub docs: String,
}

/// What came of all checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    /// The box's name.
    pub name: String,
    /// When it was looked at, in seconds since 1970; none: the box had no clock.
    pub at: Option<u64>,
    /// Each check, the groups in their order.
    pub checks: Vec<Checked>,
}

impl Health {
    /// How many checks ended so.
    pub fn count(&self, level: Level) -> usize {
        let all = self.checks.iter();
        all.filter(|checked| checked.level == level).count()
    }

    /// All of it in one sentence.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        for (level, one, more) in [
            (Level::Failed, "failed", "failed"),
            (Level::Warning, "warning", "warnings"),
            (Level::Note, "note", "notes"),
            (
                Level::Unknown,
                "could not be checked",
                "could not be checked",
            ),
        ] {
            match self.count(level) {
                0 => {}
                1 => parts.push(format!("1 {one}")),
                count => parts.push(format!("{count} {more}")),
            }
        }
        let ok = self.count(Level::Ok);
        let all = self.checks.len();
        match parts.is_empty() {
            true => format!("All {all} checks are well."),
            false => format!("{ok} of {all} checks are well; {}.", parts.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts() {
        let checked = |level| Checked {
            id: "a".into(),
            group: "Box".into(),
            what: "A".into(),
            level,
            found: String::new(),
            to_do: String::new(),
            docs: String::new(),
        };
        let mut health = Health {
            name: "attic".into(),
            at: None,
            checks: vec![checked(Level::Ok)],
        };
        assert_eq!(health.summary(), "All 1 checks are well.");
        health.checks.extend(Level::ALL.map(checked));
        health.checks.push(checked(Level::Warning));
        assert_eq!(
            health.summary(),
            "2 of 7 checks are well; 1 failed, 2 warnings, 1 note, 1 could not be checked."
        );
    }
}
