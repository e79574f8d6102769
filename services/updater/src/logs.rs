//! Log lines for the laptop: what fits into an answer, and what is new.

use roost_service::update::MAX_LINE;

/// Bytes of an answer around its lines, generously.
const AROUND: usize = 128;

/// The last of these lines that fit into one answer, oldest first.
pub fn fitting(lines: &[String]) -> &[String] {
    let mut room = MAX_LINE - AROUND;
    let mut from = lines.len();
    for line in lines.iter().rev() {
        let Some(left) = room.checked_sub(cost(line)) else {
            break;
        };
        room = left;
        from -= 1;
    }
    &lines[from..]
}

/// All of these lines, in as many answers as they need.
pub fn answers(lines: &[String]) -> Vec<Vec<String>> {
    let mut answers: Vec<Vec<String>> = Vec::new();
    let mut room = 0;
    for line in lines {
        let cost = cost(line);
        match answers.last_mut() {
            Some(last) if cost <= room => last.push(line.clone()),
            _ => {
                answers.push(vec![line.clone()]);
                room = MAX_LINE - AROUND;
            }
        }
        room = room.saturating_sub(cost);
    }
    answers
}

/// Bytes of a line in JSON, with its comma. Init's lines have at most 2 KiB.
fn cost(line: &str) -> usize {
    serde_json::to_string(line).map_or(0, |json| json.len()) + 1
}

/// What of `now` is new, if `before` was there a moment ago: both are the last
/// lines of one log. If they have nothing in common, all is new. Of lines that
/// repeat, as few as possible are taken for new.
pub fn new_lines<'a>(before: &[String], now: &'a [String]) -> &'a [String] {
    let most = before.len().min(now.len());
    let common = (0..=most)
        .rev()
        .find(|count| before[before.len() - count..] == now[..*count]);
    &now[common.unwrap_or(0)..]
}

/// The lines of a log file (`seconds since 1970`, a space, text) that were
/// written in a span of time, at most `count`, the last ones.
pub fn of_span(file: &str, from: u64, to: u64, count: usize) -> Vec<String> {
    let mut lines: Vec<String> = file
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(time, _)| {
            time.parse()
                .is_ok_and(|time: u64| (from..to).contains(&time))
        })
        .map(|(_, text)| text.to_owned())
        .collect();
    lines.drain(..lines.len().saturating_sub(count));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn lines_of_a_span_of_time() {
        let file = "torn\n90 before\n100 one\n110 two three\n120 after\nx y\n";
        assert_eq!(of_span(file, 100, 120, 9), ["one", "two three"]);
        assert_eq!(of_span(file, 100, 120, 1), ["two three"]);
    }

    #[test]
    fn what_is_new() {
        let new = |before: &str, now: &str| new_lines(&lines(before), &lines(now)).join(" ");
        assert_eq!(new("a b c", "a b c d"), "d");
        assert_eq!(new("a b c", "b c d e"), "d e");
        assert_eq!(new("a b c", "a b c"), "");
        assert_eq!(new("a b c", "x y"), "x y");
        assert_eq!(new("", "x y"), "x y");
        assert_eq!(new("a a", "a a a"), "a");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_follower_misses_nothing(log in prop::collection::vec("[a-d]", 0..60), steps in prop::collection::vec(0usize..5, 1..30)) {
            // A window of the last 8 lines is looked at; up to 4 come in between.
            let window = |end: usize| &log[end.saturating_sub(8)..end];
            let mut seen = 0;
            let mut end = 0;
            for step in steps {
                let next = (end + step).min(log.len());
                seen += new_lines(window(end), window(next)).len();
                end = next;
            }
            // Repeats may hide lines that are the same as those before, no others.
            prop_assert!(seen <= end);
            let mut distinct: Vec<String> = (0..end).map(|i| i.to_string()).collect();
            let all = std::mem::take(&mut distinct);
            let window = |end: usize| &all[end.saturating_sub(8)..end];
            let mut got = Vec::new();
            for at in (0..=end).step_by(4) {
                got.extend_from_slice(new_lines(window(at.saturating_sub(4)), window(at)));
            }
            prop_assert_eq!(&got[..], &all[..end - end % 4]);
        }

        #[test]
        fn no_answer_is_too_long(lengths in prop::collection::vec((0usize..2048, 0usize..3), 0..120)) {
            let line = |(length, kind): (usize, usize)| ["a", "ä", "\u{1}"][kind].repeat(length);
            let lines: Vec<String> = lengths.into_iter().map(line).collect();
            let length = |lines: &[String]| {
                let answer = roost_service::update::Answer::Logs { lines: lines.to_vec() };
                serde_json::to_string(&answer).unwrap().len() + 1
            };
            prop_assert!(length(fitting(&lines)) <= MAX_LINE);
            let answers = answers(&lines);
            prop_assert!(answers.iter().all(|lines| length(lines) <= MAX_LINE));
            prop_assert_eq!(answers.concat(), lines);
        }
    }
}
