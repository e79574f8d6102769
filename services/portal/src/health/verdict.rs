//! What a check says, and how several of its kind become one.

use roost_service::health::Level;

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How bad it is.
    pub level: Level,
    /// What was found, in whole sentences.
    pub found: String,
    /// What to do, if it is something else than the check's own advice.
    pub to_do: Option<String>,
    /// A note is worth the check's own advice, too.
    pub advised: bool,
}

impl Verdict {
    /// The same with this advice.
    #[must_use]
    pub fn to_do(mut self, to_do: impl Into<String>) -> Self {
        self.to_do = Some(to_do.into());
        self
    }

    /// The same with the check's own advice, which warnings have anyway.
    #[must_use]
    pub fn advised(mut self) -> Self {
        self.advised = true;
        self
    }
}

fn verdict(level: Level, found: impl Into<String>) -> Verdict {
    Verdict {
        level,
        found: found.into(),
        to_do: None,
        advised: false,
    }
}

/// All is well.
pub fn ok(found: impl Into<String>) -> Verdict {
    verdict(Level::Ok, found)
}

/// Good to know.
pub fn note(found: impl Into<String>) -> Verdict {
    verdict(Level::Note, found)
}

/// It will fail, or is worse than it could be.
pub fn warning(found: impl Into<String>) -> Verdict {
    verdict(Level::Warning, found)
}

/// It does not work.
pub fn failed(found: impl Into<String>) -> Verdict {
    verdict(Level::Failed, found)
}

/// It could not be checked, and why.
pub fn unknown(why: impl std::fmt::Display) -> Verdict {
    let why = why.to_string();
    let why = why.trim_end_matches('.');
    // A name stays as it is.
    let first = why.split([' ', ':']).next().unwrap_or_default();
    if first.contains('.') {
        return verdict(Level::Unknown, format!("{why}."));
    }
    let mut letters = why.chars();
    let first = letters.next().map(char::to_uppercase);
    let found: String = (first.into_iter().flatten()).chain(letters).collect();
    verdict(Level::Unknown, format!("{found}."))
}

/// How bad a level is beside others.
fn badness(level: Level) -> usize {
    let mut all = Level::ALL.iter();
    all.position(|of| *of == level).unwrap_or_default()
}

/// One verdict of several: the worst of them, with what all that are as bad say; `well` if all are.
pub fn together(all: impl IntoIterator<Item = Verdict>, well: impl Into<String>) -> Verdict {
    let mut sum = ok("");
    for one in all {
        match badness(one.level).cmp(&badness(sum.level)) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Greater => sum = one,
            std::cmp::Ordering::Equal if one.level == Level::Ok => {}
            std::cmp::Ordering::Equal => {
                if !sum.found.contains(&one.found) {
                    sum.found = format!("{} {}", sum.found, one.found);
                }
                if let Some(more) = one.to_do {
                    let before = sum.to_do.get_or_insert_default();
                    if !before.contains(&more) {
                        *before = format!("{before} {more}").trim().to_owned();
                    }
                }
            }
        }
    }
    if sum.level == Level::Ok {
        sum.found = well.into();
    }
    sum
}

/// A few of many, and how many more there are.
pub fn some(names: &[String]) -> String {
    const SHOWN: usize = 4;
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => {
            let shown = names.get(..SHOWN).unwrap_or_default().join(", ");
            format!("{shown} and {more} more")
        }
    }
}

/// `1 message`, `3 messages`.
pub fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{number} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_several_is_told_and_all_that_are_as_bad() {
        let all = [
            ok("a"),
            warning("B.").to_do("b"),
            unknown("c"),
            warning("D.").to_do("d"),
            note("e"),
        ];
        let sum = together(all, "well");
        assert_eq!((sum.level, sum.found.as_str()), (Level::Warning, "B. D."));
        assert_eq!(sum.to_do.as_deref(), Some("b d"));
        assert_eq!(together([ok("a"), ok("b")], "All well."), ok("All well."));
        assert_eq!(unknown("it is late").found, "It is late.");
        assert_eq!(unknown("example.org: no").found, "example.org: no.");
    }
}
