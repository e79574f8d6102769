//! Log lines for the laptop: what fits into an answer.

use roost_service::stamp;
use roost_service::update::MAX_LINE;
use std::time::Duration;

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

/// The lines that were written in a span of time (seconds since 1970), at most `count`, the last
/// ones. What stands in front of a line without a known time is none.
pub fn of_span(lines: &[String], from: u64, to: u64, count: usize) -> Vec<String> {
    let [from, to] = [from, to].map(|time| stamp::utc(Duration::from_secs(time)));
    let second = |text: &str| text.get(..stamp::TO_SECONDS).map(str::to_owned);
    let (from, to) = (second(&from), second(&to));
    let mut lines: Vec<String> = lines
        .iter()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .filter(|line| {
            let time = second(line);
            time.is_some() && from <= time && time < to
        })
        .cloned()
        .collect();
    lines.drain(..lines.len().saturating_sub(count));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_a_span_of_time() {
        let line = |second: u64| stamp::utc(Duration::from_millis(second * 1000 + 5)) + " line";
        let mut lines: Vec<String> = [90, 100, 110, 120].map(line).to_vec();
        lines.insert(2, "[    3.123] before the clock was set".into());
        lines.insert(1, "-- the box was started --".into());
        assert_eq!(of_span(&lines, 100, 120, 9), [line(100), line(110)]);
        assert_eq!(of_span(&lines, 100, 120, 1), [line(110)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

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
