use super::*;
use proptest::prelude::*;

/// A card in memory whose power is cut before its `left`th change takes effect, or half way through
/// it if that is an append.
#[derive(Debug, Default, Clone)]
struct Card {
    files: BTreeMap<String, Vec<u8>>,
    left: Option<usize>,
    half: bool,
}

impl Card {
    /// Whether the next change happens; an error from then on.
    fn power(&mut self) -> io::Result<()> {
        match &mut self.left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power is cut")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl Medium for Card {
    fn length(&mut self, name: &str) -> io::Result<u64> {
        Ok(self.files.get(name).map_or(0, Vec::len) as u64)
    }
    fn read(&mut self, name: &str, from: u64) -> io::Result<Vec<u8>> {
        let bytes = self.files.get(name).map(Vec::as_slice).unwrap_or_default();
        Ok(bytes[from as usize..].to_vec())
    }
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let power = self.power();
        let there = match &power {
            Ok(()) => bytes.len(),
            Err(_) if self.half => bytes.len() / 2,
            Err(_) => 0,
        };
        self.half = false;
        let file = self.files.entry(name.into()).or_default();
        file.extend_from_slice(&bytes[..there]);
        power
    }
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.power()?;
        if let Some(file) = self.files.get_mut(name) {
            file.truncate(length as usize);
        }
        Ok(())
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.power()?;
        let file = self.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.files.insert(to.into(), file);
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        self.power()
    }
}

fn boot(number: u64) -> Boot {
    Boot {
        id: format!("b{number:031}"),
        began_ms: 1_793_836_800_000 + number * 1000,
        set: true,
    }
}

fn batch(boot: Boot, name: &str, numbers: std::ops::Range<u64>, length: usize) -> Batch {
    let record = |number| Record {
        number,
        at_ms: number * 10,
        text: format!("{name} {number} {}.", "x".repeat(length)),
    };
    let logs = [(name.to_owned(), numbers.map(record).collect())].into();
    Batch { boot, logs }
}

fn wanted(name: &str, running: u64, boot_ago: Option<u32>, lines: usize) -> Wanted {
    Wanted {
        name: name.into(),
        running: boot(running),
        boot: boot_ago,
        lines,
    }
}

fn bounded(card: &Card) -> bool {
    card.files.iter().all(|(name, bytes)| {
        let limit = if name.starts_with(BOOTS) {
            BOOTS_LIMIT
        } else {
            FILE_LIMIT
        };
        bytes.len() as u64 <= limit
    })
}

#[test]
fn lines_of_earlier_boots_stand_behind_the_time_they_were_written() {
    let mut card = Card::default();
    let early = Boot {
        set: false,
        began_ms: 5,
        ..boot(1)
    };
    write(&mut card, &batch(early.clone(), "mail", 0..1, 0)).unwrap();
    let told = recall(&mut card, &wanted("mail", 9, Some(1), 10)).unwrap();
    assert_eq!(told, ["[    0.000] mail 0 ."]);
    // The clock is set: what is on the card already gets its right time.
    write(&mut card, &batch(boot(1), "mail", 1..2, 0)).unwrap();
    write(&mut card, &batch(boot(2), "mail", 0..1, 0)).unwrap();
    let all = recall(&mut card, &wanted("mail", 9, None, 10)).unwrap();
    assert_eq!(
        all,
        [
            "-- the box was started, 2026-11-05T00:00:01.000Z --",
            "2026-11-05T00:00:01.000Z mail 0 .",
            "2026-11-05T00:00:01.010Z mail 1 .",
            "-- the box was started, 2026-11-05T00:00:02.000Z --",
            "2026-11-05T00:00:02.000Z mail 0 .",
        ]
    );
    assert_eq!(
        recall(&mut card, &wanted("mail", 9, None, 2)).unwrap(),
        all[3..]
    );
    assert_eq!(
        recall(&mut card, &wanted("mail", 9, Some(2), 10)).unwrap(),
        all[1..3]
    );
    assert_eq!(
        recall(&mut card, &wanted("mail", 9, Some(3), 10)).unwrap(),
        [""; 0]
    );
    assert_eq!(
        recall(&mut card, &wanted("mail", 2, None, 10)).unwrap(),
        all[..3]
    );
    assert_eq!(
        recall(&mut card, &wanted("dns", 9, None, 10)).unwrap(),
        [""; 0]
    );
}

/// At each change of a spill that turns over both kinds of file, before it and half way through.
#[test]
fn a_power_cut_tears_no_line_and_loses_none_that_was_written() {
    let mut full = Card::default();
    // As many as the list of boots has room for.
    for number in 0..334 {
        write(&mut full, &batch(boot(number), "dns", 0..1, 0)).unwrap();
    }
    // Ever fuller, until the next one turns over.
    let mut next = 0;
    while full.length("mail.log").unwrap() + 40_000 < FILE_LIMIT {
        write(&mut full, &batch(boot(333), "mail", next..next + 20, 1500)).unwrap();
        next += 20;
    }
    let mut changes = 0;
    loop {
        let mut done = true;
        for half in [false, true] {
            let mut card = Card {
                left: Some(changes),
                half,
                ..full.clone()
            };
            let mut cut = false;
            for at in 0..3 {
                let one = batch(boot(334), "mail", 20 * at..20 * at + 20, 1500);
                cut |= write(&mut card, &one).is_err();
            }
            assert!(bounded(&card));
            done &= !cut;
            // The next boot goes on with what is there.
            card.left = None;
            write(&mut card, &batch(boot(335), "mail", 0..20, 1500)).unwrap();
            assert!(bounded(&card));
            let told = recall(&mut card, &wanted("mail", 999, None, 100_000)).unwrap();
            assert!(
                told.iter()
                    .all(|line| line.ends_with("x.") || line.starts_with("-- ")),
                "a torn line, {changes} {half}"
            );
            let old = recall(&mut card, &wanted("mail", 999, Some(1), 100)).unwrap();
            assert_eq!(old.len(), 20, "{changes} {half}");
            let boots = boots(&read_text(&mut card, BOOTS).unwrap());
            assert_eq!(boots.last().unwrap().id, boot(335).id);
            let known = boots.iter().any(|known| known.id == boot(333).id);
            assert!(known, "{changes} {half}");
            let texts = |id: &str| {
                let text = read_text(&mut card.clone(), "mail.log.1").unwrap()
                    + &read_text(&mut card.clone(), "mail.log").unwrap();
                lines(&text).iter().filter(|line| line.0 == id).count() as u64
            };
            assert_eq!(
                texts(&boot(333).id),
                next,
                "what was synced stays, {changes} {half}"
            );
        }
        if done {
            break;
        }
        changes += 1;
    }
    assert!(changes > 8, "{changes} changes");
}

#[test]
fn a_full_card_ends_in_nothing_twice() {
    let mut card = Card {
        left: Some(1),
        half: true,
        ..Card::default()
    };
    let one = batch(boot(1), "mail", 0..10, 10);
    assert!(write(&mut card, &one).is_err());
    // Room again.
    card.left = None;
    write(&mut card, &one).unwrap();
    // And as if the first try had only failed to sync.
    write(&mut card, &one).unwrap();
    let told = recall(&mut card, &wanted("mail", 2, Some(1), 100)).unwrap();
    assert_eq!(told.len(), 10);
}

proptest! {
    #[test]
    fn junk_never_panics(log in ".{0,300}", list in "[a-z0-9 =\n]{0,200}") {
        let mut card = Card::default();
        card.files.insert("mail.log".into(), log.into_bytes());
        card.files.insert(BOOTS.into(), list.into_bytes());
        let _ = recall(&mut card, &wanted("mail", 1, None, 100)).unwrap();
        write(&mut card, &batch(boot(1), "mail", 0..3, 5)).unwrap();
        prop_assert_eq!(recall(&mut card, &wanted("mail", 2, Some(1), 100)).unwrap().len(), 3);
    }

    #[test]
    fn files_stay_below_their_caps(sizes in proptest::collection::vec((1u64..12, 0usize..2000), 1..60)) {
        let mut card = Card::default();
        for (turn, (count, length)) in sizes.into_iter().enumerate() {
            for (name, length) in [("mail", length), ("dns", 10)] {
                write(&mut card, &batch(boot(turn as u64), name, 0..count, length)).unwrap();
                prop_assert!(bounded(&card));
            }
        }
    }
}
