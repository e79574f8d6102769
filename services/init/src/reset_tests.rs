//! The power is cut before, in and behind every write of a reset, and again while it is taken up.

use super::*;
use proptest::prelude::*;
use roost_service::card::{Computer, Identity};
use std::collections::{BTreeMap, BTreeSet};

/// What was done to the medium.
#[derive(Debug, Clone)]
enum Op {
    Write(String, Vec<u8>),
    Rename(String, String),
    Sync,
    Remove(String),
    SyncAll,
}

/// What is there, and how it came to be.
#[derive(Debug, Clone, Default)]
struct Recorder {
    files: BTreeMap<String, Vec<u8>>,
    others: BTreeSet<String>,
    log: Vec<Op>,
    /// A medium on which syncing does nothing.
    lazy: bool,
}

impl Recorder {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Write(name, bytes) => {
                self.files.insert(name.clone(), bytes.clone());
            }
            Op::Rename(from, to) => {
                if let Some(bytes) = self.files.remove(from) {
                    self.files.insert(to.clone(), bytes);
                }
            }
            Op::Remove(name) => {
                self.others.remove(name);
            }
            Op::Sync | Op::SyncAll => {}
        }
    }

    fn act(&mut self, op: Op) -> io::Result<()> {
        self.apply(&op);
        self.log.push(op);
        Ok(())
    }
}

impl Medium for Recorder {
    fn read(&mut self, name: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        let bytes = self.files.get(name).cloned();
        Ok(bytes.map(|mut bytes| {
            bytes.truncate(limit + 1);
            bytes
        }))
    }

    fn write_synced(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.act(Op::Write(name.into(), bytes.into()))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.act(Op::Rename(from.into(), to.into()))
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.lazy {
            true => Ok(()),
            false => self.act(Op::Sync),
        }
    }

    fn others(&mut self) -> io::Result<Vec<String>> {
        Ok(self.others.iter().cloned().collect())
    }

    fn remove_other(&mut self, name: &str) -> io::Result<()> {
        self.act(Op::Remove(name.into()))
    }

    fn sync_all(&mut self) -> io::Result<()> {
        match self.lazy {
            true => Ok(()),
            false => self.act(Op::SyncAll),
        }
    }
}

/// Every state that a cut may leave: behind each number of operations, of what was not synced any
/// part, and of the operation in flight a piece.
fn cuts(before: &Recorder, log: &[Op], each: &mut impl FnMut(Recorder)) {
    let start = Recorder {
        log: Vec::new(),
        ..before.clone()
    };
    for done in 0..=log.len() {
        // The last sync covers all before it. A sync of names covers removals too: they are names.
        let safe = log[..done]
            .iter()
            .rposition(|op| matches!(op, Op::Sync | Op::SyncAll))
            .map_or(0, |at| at + 1);
        let open = &log[safe..done];
        assert!(open.len() < 12, "too many ways to lose {open:?}");
        for kept in 0..1_u32 << open.len() {
            let mut left = start.clone();
            log[..safe].iter().for_each(|op| left.apply(op));
            for (at, op) in open.iter().enumerate() {
                if kept >> at & 1 == 1 {
                    left.apply(op);
                }
            }
            each(left.clone());
            if let Some(Op::Write(name, bytes)) = log.get(done) {
                left.apply(&Op::Write(name.clone(), bytes[..bytes.len() / 2].to_vec()));
                each(left);
            }
        }
    }
}

fn old_card() -> Card {
    Card {
        format: card::FORMAT,
        name: Some("attic".into()),
        network: None,
        pairing: Some(Pairing {
            code: "00000000".into(),
        }),
        identity: Some(Identity {
            key_pem: "-----BEGIN PRIVATE KEY-----\n…".into(),
            certificate_pem: "-----BEGIN CERTIFICATE-----\n…".into(),
        }),
        computer: Some(Computer {
            name: "desk".into(),
            key: "0f".repeat(32),
        }),
    }
}

fn used_box() -> Recorder {
    let mut medium = Recorder::default();
    let card = card::render(&old_card()).unwrap().to_vec();
    medium.files.insert(CARD.into(), card);
    medium.others = ["services", "settings", "log", "init"]
        .map(str::to_owned)
        .into();
    medium
}

fn card_of(medium: &Recorder) -> Card {
    card::parse(&medium.files[CARD]).unwrap().unwrap()
}

fn code_of(medium: &Recorder) -> String {
    card_of(medium).pairing.unwrap().code
}

fn wish(modified: u32, content: &str) -> Option<Wish> {
    Some(Wish {
        modified,
        content: content.into(),
    })
}

/// What must hold of a box that has come up, whatever it went through.
fn check(medium: &Recorder, asked: &BTreeSet<&str>, must: bool) -> Result<(), String> {
    let wiped = medium.others.is_empty();
    let code = code_of(medium);
    let whole = medium.others.len() == 4;
    match () {
        () if !wiped && !whole => Err(format!("half is gone: {:?}", medium.others)),
        () if must && !wiped => Err("the owner's data is still there".into()),
        () if wiped && !asked.contains(code.as_str()) => Err(format!("the code is {code}")),
        () if !wiped && code != "00000000" => Err("the old owner's code is gone".into()),
        () if card_of(medium).name.as_deref() != Some("attic") => Err("the name is gone".into()),
        () if card_of(medium).identity != old_card().identity => Err("another identity".into()),
        () if wiped && card_of(medium).computer.is_some() => {
            Err("the computer that wrote the card is still let in".into())
        }
        () if !wiped && card_of(medium) != old_card() => Err("another card".into()),
        () => Ok(()),
    }
}

/// Starts the box again and again, each time with a cut, and at last without one.
fn come_up(
    left: &Recorder,
    asked_by: &Option<Wish>,
    asked: &BTreeSet<&str>,
    must: bool,
) -> Result<usize, String> {
    let start = |mut medium: Recorder| {
        take_up(&mut medium, asked_by.clone(), || "MADE0000".into()).map_err(|e| e.to_string())?;
        Ok::<_, String>(medium)
    };
    let first = start(Recorder {
        log: Vec::new(),
        ..left.clone()
    })?;
    check(&first, asked, must)?;
    let mut tried = 1;
    let mut result = Ok(());
    cuts(left, &first.log, &mut |again| {
        tried += 1;
        let up = start(again).and_then(|medium| {
            check(&medium, asked, must)?;
            // Obeyed once: what the new owner keeps stays.
            let mut later = medium;
            later.others.insert("services".into());
            let done = take_up(&mut later, asked_by.clone(), || unreachable!());
            match done.map_err(|e| e.to_string())? {
                Done::Nothing => Ok(()),
                other => Err(format!("obeyed again: {other:?}")),
            }
        });
        // A start that found nothing to do is no reset.
        if let Err(why) = up
            && !(asked_by.is_none() && !must && why.starts_with("obeyed"))
        {
            result = Err(why);
        }
    });
    result.map(|()| tried)
}

fn asked_of_init(lazy: bool) -> Result<usize, String> {
    let mut medium = Recorder { lazy, ..used_box() };
    let before = medium.clone();
    bind(&mut medium, "7QXM4KPB").unwrap();
    let asked = BTreeSet::from(["7QXM4KPB"]);
    let mut tried = 0;
    let mut result = Ok(());
    cuts(
        &before,
        &medium.log,
        &mut |left| match come_up(&left, &None, &asked, false) {
            Ok(count) => tried += count,
            Err(why) => result = Err(why),
        },
    );
    result?;
    // Acknowledged: what was not synced may still be lost.
    let all = medium.log.len();
    let mut acknowledged = Vec::new();
    cuts(&before, &medium.log, &mut |left| acknowledged.push(left));
    let last = acknowledged.split_off(acknowledged.len() - (1 << unsynced(&medium.log, all)));
    for left in last {
        tried += come_up(&left, &None, &asked, true)?;
    }
    Ok(tried)
}

fn unsynced(log: &[Op], done: usize) -> usize {
    log[..done]
        .iter()
        .rev()
        .take_while(|op| !matches!(op, Op::Sync | Op::SyncAll))
        .count()
}

#[test]
fn a_reset_that_was_acknowledged_is_done_wherever_the_power_is_cut() {
    let tried = asked_of_init(false).unwrap();
    println!("{tried} power cuts");
    assert!(tried > 100, "{tried}");
}

#[test]
fn a_medium_that_syncs_nothing_is_noticed() {
    // The check can fail: without syncs an acknowledged reset is lost.
    assert!(asked_of_init(true).is_err());
}

#[test]
fn a_file_on_the_card_is_obeyed_once_wherever_the_power_is_cut() {
    for (content, codes) in [
        ("7qxm-4kpb\n", BTreeSet::from(["7QXM4KPB"])),
        ("", BTreeSet::from(["MADE0000"])),
        ("please", BTreeSet::from(["MADE0000"])),
    ] {
        let tried = come_up(&used_box(), &wish(7, content), &codes, true).unwrap();
        assert!(tried > 30, "{tried}");
    }
}

#[test]
fn another_file_is_another_wish() {
    let mut medium = used_box();
    let mut taken = |wish, code: &str| {
        medium.others.insert("services".into());
        let done = take_up(&mut medium, wish, || code.into()).unwrap();
        (done, code_of(&medium))
    };
    let made = |code: &str| (Done::Wiped, code.to_owned());
    assert_eq!(taken(None, "MADE0000"), (Done::Nothing, "00000000".into()));
    assert_eq!(taken(wish(1, ""), "MADE0001"), made("MADE0001"));
    assert_eq!(
        taken(wish(1, ""), "MADE0002"),
        (Done::Nothing, "MADE0001".into())
    );
    // Taken away and put there again.
    assert_eq!(taken(None, "MADE0003"), (Done::Nothing, "MADE0001".into()));
    assert_eq!(taken(wish(2, ""), "MADE0004"), made("MADE0004"));
    assert_eq!(taken(wish(2, "7QXM4KPB"), "MADE0005"), made("7QXM4KPB"));
}

#[test]
fn a_reset_that_was_asked_of_the_box_does_not_forget_the_file() {
    let mut medium = used_box();
    take_up(&mut medium, wish(1, ""), || "MADE0000".into()).unwrap();
    medium.others.insert("services".into());
    bind(&mut medium, "7QXM4KPB").unwrap();
    let done = take_up(&mut medium, wish(1, ""), || unreachable!()).unwrap();
    assert_eq!((done, code_of(&medium)), (Done::Wiped, "7QXM4KPB".into()));
    let done = take_up(&mut medium, wish(1, ""), || unreachable!()).unwrap();
    assert_eq!(done, Done::Nothing);
}

#[test]
fn a_damaged_record_wipes_nothing() {
    let mut medium = used_box();
    medium.files.insert(RECORD.into(), b"{\"pend".to_vec());
    let done = take_up(&mut medium, wish(1, ""), || unreachable!()).unwrap();
    assert_eq!((done, medium.others.len()), (Done::Unsure, 4));
    // But the owner may ask again.
    bind(&mut medium, "7QXM4KPB").unwrap();
    let done = take_up(&mut medium, None, || unreachable!()).unwrap();
    assert_eq!((done, medium.others.len()), (Done::Wiped, 0));
}

#[test]
fn a_card_that_cannot_be_read_is_made_anew() {
    for file in [
        None,
        Some(b"junk".to_vec()),
        Some(card::placeholder().to_vec()),
    ] {
        let mut medium = used_box();
        medium.files.remove(CARD);
        medium
            .files
            .extend(file.map(|bytes| (CARD.to_owned(), bytes)));
        bind(&mut medium, "7QXM4KPB").unwrap();
        take_up(&mut medium, None, || unreachable!()).unwrap();
        assert_eq!(code_of(&medium), "7QXM4KPB");
    }
}

#[test]
fn only_a_code_binds() {
    for code in ["", "7qxm-4kpb", "7QXM4KP", "7QXM4KPB\n"] {
        let mut medium = used_box();
        assert!(bind(&mut medium, code).is_err());
        assert!(medium.log.is_empty());
    }
}

#[test]
fn on_a_real_file_system() {
    let root = std::env::temp_dir().join(format!("roost-reset-{}", std::process::id()));
    fs::create_dir_all(root.join("services/mail")).unwrap();
    fs::create_dir_all(root.join("lost+found")).unwrap();
    fs::create_dir_all(root.join(FOLDER)).unwrap();
    fs::write(root.join("services/mail/store"), b"letters").unwrap();
    fs::write(root.join("stray"), b"").unwrap();
    std::os::unix::fs::symlink("/nowhere", root.join("link")).unwrap();
    fs::write(
        root.join(FOLDER).join(CARD),
        card::render(&old_card()).unwrap(),
    )
    .unwrap();
    let mut medium = Disk::new(&root);
    assert_eq!(
        take_up(&mut medium, None, || unreachable!()).unwrap(),
        Done::Nothing
    );
    assert!(root.join("services/mail/store").exists());
    bind(&mut medium, "7QXM4KPB").unwrap();
    assert_eq!(
        take_up(&mut medium, None, || unreachable!()).unwrap(),
        Done::Wiped
    );
    let mut left: Vec<String> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, [FOLDER, "lost+found"]);
    let card = card::parse(&fs::read(root.join(FOLDER).join(CARD)).unwrap());
    let card = card.unwrap().unwrap();
    assert_eq!(card.name.as_deref(), Some("attic"));
    assert_eq!(card.pairing.unwrap().code, "7QXM4KPB");
    fs::remove_dir_all(&root).unwrap();
}

proptest! {
    #[test]
    fn any_record_and_any_file_leave_a_whole_box(
        record in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
        modified in any::<u32>(),
        content in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
    ) {
        let mut medium = used_box();
        medium.files.extend(record.map(|bytes| (RECORD.to_owned(), bytes)));
        let wish = content.map(|content| Wish { modified, content });
        let done = take_up(&mut medium, wish, || "MADE0000".into()).unwrap();
        prop_assert_eq!(medium.others.len(), if done == Done::Wiped { 0 } else { 4 });
        prop_assert!(card::normalise_code(&code_of(&medium)).is_some());
    }
}
