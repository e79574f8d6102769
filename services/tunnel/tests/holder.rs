//! Several boxes with the same keys and the relay's own script, by a clock of the test's: whatever is lost,
//! restarted, taken over or set up anew, no two serve at once.

use proptest::prelude::*;
use roost_service::tunnel::{Generation, Guard};
use roost_tunnel::holder::{Holder, LEASE, Outcome, RENEW, Said, Stand};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const KEY: &str = "0123456789abcdef";

/// The script, in a folder of its own, with a `date` that says what it is told.
struct Relay {
    folder: tempfile::TempDir,
    script: PathBuf,
}

impl Relay {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let date = folder.path().join("date");
        std::fs::write(&date, "#!/bin/sh\necho \"$NOW\"\n").unwrap();
        std::fs::set_permissions(&date, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::write(folder.path().join("env"), "RELAY4=127.0.0.1\nZONES=''\n").unwrap();
        Self {
            folder,
            script: root.join("terraform/relay/modules/userdata/files/health"),
        }
    }

    /// What it answers `now` seconds after the start.
    fn answer(&self, path: &str, now: u64) -> String {
        let here = self.folder.path();
        let mut child = Command::new("sh")
            .arg(&self.script)
            .env("PATH", format!("{}:/usr/bin:/bin", here.display()))
            .env("NOW", (1_800_000_000 + now).to_string())
            .env("ROOST_ENV", here.join("env"))
            .env("STATE_DIRECTORY", here)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n");
        child
            .stdin
            .take()
            .unwrap()
            .write_all(request.as_bytes())
            .unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success());
        let text = String::from_utf8(out.stdout).unwrap();
        text.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn said(&self, path: &str, now: u64) -> Said {
        let answer: serde_json::Value = serde_json::from_str(&self.answer(path, now)).unwrap();
        match answer.get("holder") {
            Some(holder) => Said::Holder(serde_json::from_value::<Holder>(holder.clone()).unwrap()),
            None => Said::Else,
        }
    }

    fn forget(&self) {
        let _ = std::fs::remove_file(self.folder.path().join("holder"));
    }
}

/// A card, and the program on it if it runs.
struct Card {
    generation: Generation,
    stand: Option<Stand>,
}

struct World {
    relay: Relay,
    start: Instant,
    now: u64,
    runs: u64,
    cards: Vec<Card>,
}

impl World {
    /// Cards of one box: the first, and those that were restored from its backups, each a second later.
    fn new(cards: u64) -> Self {
        let first = Generation {
            relay: Some(KEY.into()),
            ..Generation::first([0; 16])
        };
        let restored = |n| Generation::restored(Some(&first), [n as u8; 16], 1_777_000_000 + n);
        let all = std::iter::once(first.clone()).chain((1..cards).map(restored));
        let cards = all.map(|generation| Card {
            generation,
            stand: None,
        });
        Self {
            relay: Relay::new(),
            start: Instant::now(),
            now: 0,
            runs: 0,
            cards: cards.collect(),
        }
    }

    fn at(&self, now: u64) -> Instant {
        self.start + Duration::from_secs(now)
    }

    fn begin(&mut self, n: usize) {
        self.runs += 1;
        let (run, now) = (format!("{:032x}", self.runs), self.at(self.now));
        let card = &mut self.cards[n];
        let down = card.generation.replaced.is_some();
        card.stand = (!down).then(|| Stand::new(&card.generation, KEY, run, now));
    }

    /// The box asks; `heard`: whether the relay hears it, and it the relay, after so many seconds.
    fn ask(&mut self, n: usize, heard: (bool, bool), after: u64) {
        let asked = self.now;
        let Some(question) = self.cards[n]
            .stand
            .as_ref()
            .map(|stand| stand.question(KEY))
        else {
            return;
        };
        let mut said = Said::Nothing;
        if heard.0 {
            said = self.relay.said(&question, asked);
        }
        if !heard.1 {
            said = Said::Nothing;
        }
        self.pass(after);
        let (asked, now) = (self.at(asked), self.at(self.now));
        let card = &mut self.cards[n];
        let Some(stand) = &mut card.stand else { return };
        if let Outcome::Replaced(by) = stand.hear(asked, now, &said) {
            let at_s = self.now;
            card.generation.replaced = Some(roost_service::tunnel::Replaced { by, at_s });
            card.stand = None;
        }
    }

    fn serving(&self) -> Vec<usize> {
        let serves = |card: &Card| {
            (card.stand.as_ref()).is_some_and(|stand| stand.serves(self.at(self.now)))
        };
        (0..self.cards.len())
            .filter(|n| serves(&self.cards[*n]))
            .collect()
    }

    /// Time passes, and all the while no two serve.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1;
            let serving = self.serving();
            assert!(serving.len() < 2, "{serving:?} serve at {}", self.now);
        }
    }

    /// Nothing is lost for so long.
    fn rest(&mut self, seconds: u64) {
        let end = self.now + seconds;
        while self.now < end {
            for n in 0..self.cards.len() {
                let now = self.at(self.now);
                if self.cards[n]
                    .stand
                    .as_ref()
                    .is_some_and(|stand| stand.next() <= now)
                {
                    self.ask(n, (true, true), 0);
                }
            }
            self.pass(1);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Ask {
        card: usize,
        heard: (bool, bool),
        after: u64,
    },
    Pass(u64),
    Begin(usize),
    End(usize),
    TakeOver(usize),
    /// The relay is made anew, which takes longer than a lease.
    Anew,
}

fn step() -> impl Strategy<Value = Step> {
    let card = 0..3usize;
    prop_oneof![
        8 => (card.clone(), any::<(bool, bool)>(), 0..6u64)
            .prop_map(|(card, heard, after)| Step::Ask { card, heard, after }),
        6 => card.clone().prop_map(|card| Step::Ask { card, heard: (true, true), after: 0 }),
        4 => (1..40u64).prop_map(Step::Pass),
        4 => card.clone().prop_map(Step::Begin),
        1 => card.clone().prop_map(Step::End),
        1 => card.prop_map(Step::TakeOver),
        1 => Just(Step::Anew),
    ]
}

proptest! {
    // Each question is a run of the script. More cases: PROPTEST_CASES.
    #![proptest_config(match std::env::var_os("PROPTEST_CASES") {
        None => ProptestConfig::with_cases(10),
        Some(_) => ProptestConfig::default(),
    })]

    #[test]
    fn no_two_serve_at_once_and_in_the_end_the_last_does(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new(3);
        for step in steps {
            match step {
                Step::Ask { card, heard, after } => world.ask(card, heard, after),
                Step::Pass(seconds) => world.pass(seconds),
                Step::Begin(card) => world.begin(card),
                Step::End(card) => world.cards[card].stand = None,
                Step::TakeOver(card) => {
                    let now = 1_777_000_010 + world.now;
                    world.cards[card].generation = world.cards[card].generation.taken_over(now);
                    world.begin(card);
                }
                Step::Anew => {
                    world.pass(LEASE.as_secs());
                    world.relay.forget();
                }
            }
        }
        // Whatever was: with a relay that answers, the highest that runs serves, and no other.
        let running = |world: &World| {
            let all = world.cards.iter().enumerate().filter(|(_, card)| card.stand.is_some());
            all.max_by_key(|(_, card)| card.generation.number).map(|(n, _)| n)
        };
        world.rest(75);
        let highest = running(&world);
        world.rest(75);
        prop_assert_eq!(running(&world), highest);
        prop_assert_eq!(world.serving(), highest.into_iter().collect::<Vec<_>>());
        prop_assert!(world.cards.iter().filter(|card| card.stand.is_some()).count() <= 1);
    }
}

#[test]
fn an_old_card_stands_down_before_the_new_one_serves() {
    let mut world = World::new(2);
    world.begin(0);
    world.rest(1);
    assert_eq!(world.serving(), [0], "a box without a past does not wait");
    world.rest(100);
    world.begin(1);
    world.ask(1, (true, true), 0);
    let stand = world.cards[1].stand.as_ref().unwrap();
    assert_eq!(stand.guard(world.at(world.now)), Guard::Waiting);
    world.rest(RENEW.as_secs() + 1);
    assert!(world.cards[0].generation.replaced.is_some());
    assert!(world.serving().is_empty());
    world.rest(50);
    assert_eq!(world.serving(), [1]);
    // A relay that was made anew: the old card is down, whoever is first.
    world.relay.forget();
    world.begin(0);
    world.ask(0, (true, true), 0);
    world.rest(100);
    assert_eq!(world.serving(), [1]);
    // A restart does not wait.
    world.begin(1);
    world.ask(1, (true, true), 0);
    assert_eq!(world.serving(), [1]);
    // The owner wants the old one again.
    let now = 1_777_000_900;
    world.cards[0].generation = world.cards[0].generation.taken_over(now);
    world.begin(0);
    world.rest(75);
    assert_eq!(world.serving(), [0]);
    assert!(world.cards[1].generation.replaced.is_some());
}

#[test]
fn of_copies_of_a_card_the_one_started_last_serves() {
    let mut world = World::new(1);
    let copy = world.cards[0].generation.clone();
    world.begin(0);
    world.rest(30);
    world.cards.push(Card {
        generation: copy,
        stand: None,
    });
    world.begin(1);
    world.ask(1, (true, true), 0);
    // Both, until the first asks again.
    assert_eq!(world.serving(), [0, 1]);
    let asks = world.cards[0].stand.as_ref().unwrap().next();
    world.now = (asks - world.start).as_secs();
    world.ask(0, (true, true), 0);
    world.rest(100);
    assert_eq!(world.serving(), [1]);
    assert!(world.cards[0].generation.replaced.is_some());
}

#[test]
fn what_is_no_question_gets_the_usual_answer_and_is_not_remembered() {
    let relay = Relay::new();
    for path in [
        "/",
        "",
        "/holder",
        "/holder/",
        "/holder/k/1/i/r",
        "/holder/k/1/i/r/new/more",
        "/holder/k/x/i/r/new",
        "/holder/k/-1/i/r/new",
        "/holder/k/1/i\"/r/new",
        "/holder/k/1/$(id)/r/new",
        "/holder/k/1/*/r/new",
        "/holder/K/1/i/r/new",
        "/holder//1/i/r/new/",
        "/other/k/1/i/r/new",
    ] {
        let answer = relay.answer(path, 0);
        assert!(answer.starts_with("{\"uptime\":"), "{path}: {answer}");
    }
    // What a power cut may leave of the file.
    let question = "/holder/k/1/i/r/again";
    for left in ["", "k", "k 1 i", "k 99 i r 12", "\n"] {
        std::fs::write(relay.folder.path().join("holder"), left).unwrap();
        assert!(
            matches!(relay.said(question, 0), Said::Holder(it) if it.generation == 1),
            "{left:?}"
        );
    }
    // Another box of the same owner has nothing to do with the one before.
    assert!(
        matches!(relay.said("/holder/other/1/j/s/new", 0), Said::Holder(it) if it.instance == "j" && it.quiet > 1000)
    );
}
