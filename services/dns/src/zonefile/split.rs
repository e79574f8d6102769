//! Cuts a zone file into entries and these into words, without reading what they say.

/// One entry, which can span lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    /// The line it begins on, from 1.
    pub(crate) line: usize,
    /// It begins with space: the owner is the one of the entry before.
    pub(crate) indented: bool,
    /// Its words as written, escapes and quotes included.
    pub(crate) words: Vec<String>,
    /// The comment on its last line.
    pub(crate) comment: Option<String>,
}

/// An entry that cannot be cut into words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// The line it begins on, from 1.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) reason: &'static str,
}

/// Cuts `text` into entries; empty ones are left out.
pub(crate) fn split(text: &str) -> Vec<Result<Words, Unreadable>> {
    let mut entries = Vec::new();
    let mut open: Option<(Words, usize)> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        let (mut entry, depth) = open.take().unwrap_or_else(|| {
            let entry = Words {
                line: index + 1,
                indented: line.starts_with([' ', '\t']),
                words: Vec::new(),
                comment: None,
            };
            (entry, 0)
        });
        match cut(line, depth, &mut entry) {
            Ok(0) if entry.words.is_empty() => {}
            Ok(0) => entries.push(Ok(entry)),
            Ok(depth) => open = Some((entry, depth)),
            Err(reason) => entries.push(Err(Unreadable {
                line: entry.line,
                reason,
            })),
        }
    }
    if let Some((entry, _)) = open {
        entries.push(Err(Unreadable {
            line: entry.line,
            reason: "a parenthesis is opened and never closed",
        }));
    }
    entries
}

/// Adds a line's words to an entry. `depth` counts open parentheses, the answer those open at its end.
fn cut(line: &str, mut depth: usize, entry: &mut Words) -> Result<usize, &'static str> {
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut letters = line.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => {
                let word = word.get_or_insert_default();
                let (_, next) = letters.next().ok_or("a backslash ends the line")?;
                word.extend(['\\', next]);
            }
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default().push('"');
            }
            _ if quoted => word.get_or_insert_default().push(letter),
            ' ' | '\t' => entry.words.extend(word.take()),
            ';' => {
                let comment = line[at + 1..].trim();
                entry.comment = Some(comment.to_owned()).filter(|comment| !comment.is_empty());
                break;
            }
            '(' => {
                entry.words.extend(word.take());
                depth += 1;
            }
            ')' => {
                entry.words.extend(word.take());
                depth = depth
                    .checked_sub(1)
                    .ok_or("a parenthesis is closed and was never opened")?;
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    if quoted {
        return Err("a quotation mark is missing");
    }
    entry.words.extend(word);
    Ok(depth)
}
