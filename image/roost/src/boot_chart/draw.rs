//! The picture: one bar a step, one line a mark, time from left to right.

use roost_service::boot_times::{BootStep, BootTimes, Stage};
use std::fmt::Write as _;

/// Room for names at the left, for the drawing, and around it, in pixels.
const NAMES: f64 = 132.0;
const DRAWING: f64 = 760.0;
const MARGIN: f64 = 24.0;
/// Room behind the drawing for the length of a step that ends last.
const BEHIND: f64 = 64.0;
/// Height of a step's row and of its bar.
const ROW: f64 = 22.0;
const BAR: f64 = 14.0;
/// Room for the title and for the names of the marks, each on a line of its own.
const TITLE: f64 = 52.0;
const MARK: f64 = 17.0;
/// About as wide as a letter is at the size of the marks' names.
const LETTER: f64 = 6.2;
/// Most lines of the scale: more of them hide the bars.
const MOST_TICKS: f64 = 10.0;

/// Colours tell whose a step is; they are those of a palette for people who see fewer (Okabe, Ito).
const STAGES: [(Stage, &str, &str); 4] = [
    (Stage::Kernel, "kernel", "#8a8f98"),
    (Stage::Stage1, "stage1", "#e69f00"),
    (Stage::Init, "init", "#0072b2"),
    (Stage::Service, "services, until ready", "#009e73"),
];

/// The chart as an SVG document. Steps that have not ended reach to the right edge and fade.
pub fn svg(times: &BootTimes) -> String {
    let last = last_us(times);
    let (step, ticks) = scale(last);
    let end = step * ticks;
    let x = |us: u64| NAMES + MARGIN + us as f64 / end as f64 * DRAWING;
    let top = TITLE + MARK * times.marks.len() as f64 + 8.0;
    let bottom = top + ROW * times.steps.len() as f64;
    let (width, height) = (NAMES + DRAWING + 2.0 * MARGIN + BEHIND, bottom + 66.0);

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" \
         font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"12\">\n\
         <title>Start of a Roost box</title>\n\
         <defs><linearGradient id=\"fade\"><stop offset=\"0\" stop-color=\"#fff\"/>\
         <stop offset=\"1\" stop-color=\"#000\"/></linearGradient>\
         <mask id=\"open\" maskContentUnits=\"objectBoundingBox\">\
         <rect width=\"1\" height=\"1\" fill=\"url(#fade)\"/></mask></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut line = |text: String| {
        out += &text;
        out.push('\n');
    };
    line(format!(
        "<text x=\"{MARGIN}\" y=\"30\" font-size=\"17\" font-weight=\"600\" fill=\"#1c2024\">\
         From the kernel's start to ready</text>"
    ));
    line(format!(
        "<text x=\"{:.1}\" y=\"30\" text-anchor=\"end\" fill=\"#60646c\">{}</text>",
        NAMES + MARGIN + DRAWING,
        escaped(&times.version)
    ));
    for tick in 0..=ticks {
        let at = x(tick * step);
        line(format!(
            "<path d=\"M{at:.1} {top:.1}V{bottom:.1}\" stroke=\"#e4e6ea\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#60646c\">{}</text>",
            bottom + 18.0,
            seconds(tick * step, step)
        ));
    }
    for (n, mark) in times.marks.iter().enumerate() {
        let (at, y) = (x(mark.at_us), TITLE + MARK * n as f64);
        let name = format!("{} {:.2} s", mark.name, mark.at_us as f64 / 1e6);
        // At the side where there is room.
        let fits =
            at + 6.0 + LETTER * name.chars().count() as f64 <= NAMES + MARGIN + DRAWING + BEHIND;
        let (anchor, beside) = if fits {
            ("start", at + 6.0)
        } else {
            ("end", at - 6.0)
        };
        line(format!(
            "<path d=\"M{at:.1} {y:.1}V{bottom:.1}\" stroke=\"#d5223a\" stroke-dasharray=\"3 3\"/>\
             <circle cx=\"{at:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#d5223a\"/>\
             <text x=\"{beside:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"#b3152b\" \
             stroke=\"#fff\" stroke-width=\"3\" paint-order=\"stroke\">{}</text>",
            y + 4.0,
            escaped(&name)
        ));
    }
    // Above the lines, so that these do not strike out a length.
    for (n, step) in times.steps.iter().enumerate() {
        line(row(step, top + ROW * n as f64, &x, end));
    }
    let mut at = NAMES + MARGIN;
    for (_, name, colour) in STAGES {
        let y = bottom + 36.0;
        line(format!(
            "<rect x=\"{at:.1}\" y=\"{y:.1}\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#1c2024\">{name}</text>",
            at + 18.0,
            y + 10.5
        ));
        at += 48.0 + LETTER * name.len() as f64;
    }
    out += "</svg>\n";
    out
}

fn row(step: &BootStep, y: f64, x: &impl Fn(u64) -> f64, end: u64) -> String {
    let colour = STAGES
        .iter()
        .find(|(stage, ..)| *stage == step.stage)
        .map_or("#000", |(.., colour)| colour);
    let (from, to) = (x(step.start_us), x(step.end_us.unwrap_or(end)));
    let text = y + ROW / 2.0 + 4.0;
    let mut out = format!(
        "<text x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"end\" fill=\"#1c2024\">{}</text>",
        NAMES + MARGIN - 10.0,
        escaped(&step.name)
    );
    let open = if step.end_us.is_none() {
        " mask=\"url(#open)\""
    } else {
        ""
    };
    // Something that took no time is there all the same.
    let _ = write!(
        out,
        "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{colour}\"{open}/>",
        y + (ROW - BAR) / 2.0,
        (to - from).max(2.0)
    );
    let length = match step.end_us {
        Some(end) => lasted(end.saturating_sub(step.start_us)),
        None => "not ended".to_owned(),
    };
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{text:.1}\" font-size=\"11\" fill=\"#60646c\" stroke=\"#fff\" \
         stroke-width=\"3\" paint-order=\"stroke\">{length}</text>",
        to.max(from + 2.0) + 6.0
    );
    out
}

/// The end of what is known, in microseconds.
fn last_us(times: &BootTimes) -> u64 {
    let steps = times.steps.iter();
    steps
        .flat_map(|step| [Some(step.start_us), step.end_us])
        .flatten()
        .chain(times.marks.iter().map(|mark| mark.at_us))
        .max()
        .unwrap_or(0)
}

/// Distance between the lines of the scale (1, 2 or 5 times a power of ten, in microseconds), and
/// how many there are.
fn scale(last: u64) -> (u64, u64) {
    let mut step = 10_000;
    while last as f64 / step as f64 > MOST_TICKS {
        // 1 → 2 → 5 → 10.
        step = if step.to_string().starts_with('2') {
            step / 2 * 5
        } else {
            step * 2
        };
    }
    (step, last.div_ceil(step).max(1))
}

/// A point of the scale, with as many digits as its distances need.
fn seconds(us: u64, step: u64) -> String {
    let digits = match step {
        1_000_000.. => 0,
        100_000.. => 1,
        _ => 2,
    };
    format!("{:.digits$} s", us as f64 / 1e6)
}

/// How long something took.
fn lasted(us: u64) -> String {
    if us < 999_500 {
        format!("{:.0} ms", us as f64 / 1e3)
    } else {
        format!("{:.2} s", us as f64 / 1e6)
    }
}

/// As text of XML. What XML cannot hold at all is left out.
fn escaped(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .fold(String::new(), |mut out, c| {
            match c {
                '<' => out += "&lt;",
                '>' => out += "&gt;",
                '&' => out += "&amp;",
                other => out.push(other),
            }
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_service::boot_times::BootMark;

    fn times() -> BootTimes {
        let step = |stage, name: &str, start_us, end_us| BootStep {
            stage,
            name: name.into(),
            start_us,
            end_us,
        };
        let mark = |name: &str, at_us| BootMark {
            name: name.into(),
            at_us,
        };
        BootTimes {
            version: "1 (a <test>)".into(),
            steps: vec![
                step(Stage::Kernel, "kernel", 0, Some(1_450_000)),
                step(Stage::Stage1, "modules", 1_450_000, Some(2_050_000)),
                step(Stage::Init, "data", 2_200_000, Some(2_400_000)),
                step(Stage::Init, "clock", 2_500_000, None),
                step(Stage::Service, "mail", 2_410_000, Some(4_300_000)),
                step(Stage::Service, "tunnel", 2_420_000, Some(2_420_100)),
            ],
            marks: vec![
                mark("network address", 2_600_000),
                mark("services ready", 4_300_000),
            ],
        }
    }

    #[test]
    fn a_boot() {
        insta::assert_snapshot!(svg(&times()));
    }

    #[test]
    fn a_boot_of_which_nothing_is_known() {
        let empty = svg(&BootTimes::default());
        assert!(empty.starts_with("<svg") && empty.ends_with("</svg>\n"));
        assert!(!empty.contains("NaN"), "{empty}");
    }

    #[test]
    fn the_scale_has_few_round_steps() {
        for (last, found) in [
            (0, (10_000, 1)),
            (95_000, (10_000, 10)),
            (101_000, (20_000, 6)),
            (4_300_000, (500_000, 9)),
            (7_500_000, (1_000_000, 8)),
            (61_000_000, (10_000_000, 7)),
        ] {
            assert_eq!(scale(last), found, "{last}");
        }
    }

    #[test]
    fn lengths_are_told_in_the_unit_that_fits() {
        assert_eq!(lasted(400), "0 ms");
        assert_eq!(lasted(999_499), "999 ms");
        assert_eq!(lasted(999_500), "1.00 s");
    }

    #[test]
    fn names_cannot_leave_their_text() {
        assert_eq!(escaped("a<b>&\u{7}\"c"), "a&lt;b&gt;&amp;\"c");
    }
}
