use super::*;
use crate::fat::tests::one_file;
use proptest::prelude::*;
use std::io::Cursor;

const NAME: &[u8; 11] = b"AUTOBOOTTXT";

fn selector(bytes: &[u8]) -> Cursor<Vec<u8>> {
    Cursor::new(one_file(NAME, &[9, 20], bytes))
}

#[test]
fn a_commit_changes_one_sector_and_nothing_else() {
    let mut disk = selector(&autoboot::render(Slot::A));
    let before = disk.get_ref().clone();
    assert_eq!(selected(&mut disk).unwrap(), Slot::A);
    assert!(!commit(&mut disk, Slot::A).unwrap());
    assert_eq!(disk.get_ref(), &before);

    assert!(commit(&mut disk, Slot::B).unwrap());
    assert_eq!(selected(&mut disk).unwrap(), Slot::B);
    let changed: Vec<usize> = (0..before.len())
        .filter(|&i| before[i] != disk.get_ref()[i])
        .collect();
    assert_eq!(changed.len(), 2, "two digits");
    assert_eq!(changed[0] / 512, changed[1] / 512);

    assert!(commit(&mut disk, Slot::A).unwrap());
    assert_eq!(disk.get_ref(), &before);
}

#[test]
fn a_damaged_text_is_made_whole() {
    let mut disk = selector(&[0xff; 512]);
    assert_eq!(
        selected(&mut disk).unwrap_err().to_string(),
        "autoboot.txt cannot be understood"
    );
    assert!(commit(&mut disk, Slot::B).unwrap());
    assert_eq!(selected(&mut disk).unwrap(), Slot::B);
}

#[test]
fn what_cannot_be_changed_in_one_sector_is_left_alone() {
    let text = |mut disk: Cursor<Vec<u8>>| {
        let before = disk.get_ref().clone();
        let said = commit(&mut disk, Slot::B).unwrap_err().to_string();
        assert_eq!(disk.get_ref(), &before);
        said
    };
    let not_one = "autoboot.txt is not one sector of 512 bytes in one piece";
    assert_eq!(text(selector(b"[all]\nboot_partition=2\n")), not_one);
    assert_eq!(text(selector(&[b'\n'; 1000])), not_one);
    // Cluster 2 is the root folder's: the file's bytes are the folder's entries.
    let mut crossed = one_file(NAME, &[9], &[b'\n'; 512]);
    let entry = crossed.windows(11).position(|name| name == NAME).unwrap();
    crossed[entry + 26] = 2;
    assert_eq!(
        text(Cursor::new(crossed)),
        "autoboot.txt lies where the root folder lies"
    );
    let other = Cursor::new(one_file(b"CONFIG  TXT", &[9], b""));
    assert_eq!(text(other), "the selector cannot be read");
    assert_eq!(
        text(Cursor::new(vec![0; 4096])),
        "the selector cannot be read"
    );
    let mut selector = selector(
        &Autoboot {
            boot_partition: 4,
            ..Autoboot::for_slot(Slot::A)
        }
        .render(),
    );
    assert_eq!(
        selected(&mut selector).unwrap_err().to_string(),
        "autoboot.txt names no slot for ordinary boots with the other one for trials"
    );
}

/// A disk that gives back other bytes than it was given.
struct Failing(Cursor<Vec<u8>>);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_card_that_forgets_is_noticed() {
    let mut disk = Failing(selector(&autoboot::render(Slot::A)));
    let said = commit(&mut disk, Slot::B).unwrap_err().to_string();
    assert_eq!(
        said,
        "the sector of autoboot.txt was written and reads differently: the card is failing"
    );
}

proptest! {
    // Each case makes a file system of 33 MB.
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever part of the sector arrived, in whatever order: an ordinary boot takes a slot.
    #[test]
    fn a_torn_sector_boots_a_slot(from_a: bool, new in proptest::collection::vec(any::<bool>(), 512)) {
        let old = if from_a { Slot::A } else { Slot::B };
        let (before, after) = (autoboot::render(old), autoboot::render(old.other()));
        let torn: Vec<u8> = (0..512).map(|i| if new[i] { after[i] } else { before[i] }).collect();
        let boots = Autoboot::parse(&torn).unwrap().partition(false).unwrap();
        prop_assert!(Slot::from_partition(boots).is_some());
        let mut disk = selector(&torn);
        commit(&mut disk, old.other()).unwrap();
        let whole = selector(&after);
        prop_assert_eq!(disk.get_ref(), whole.get_ref());
    }

    #[test]
    fn any_selector_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let _ = selected(&mut Cursor::new(bytes));
    }
}
