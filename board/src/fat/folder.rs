//! The entries of a folder, with long names.

/// Bytes of an entry.
pub const ENTRY: usize = 32;
/// UTF-16 units in one piece of a long name.
const PIECE: usize = 13;
/// Pieces that a long name of 255 units can have.
const MAX_PIECES: u8 = 20;

const ATTRIBUTE_VOLUME: u8 = 0x08;
const ATTRIBUTE_FOLDER: u8 = 0x10;
const ATTRIBUTES_LONG_NAME: u8 = 0x0f;
/// Marks the last piece of a long name, which comes first.
const LAST_PIECE: u8 = 0x40;

/// A file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    short_name: String,
    pub is_folder: bool,
    pub cluster: u32,
    pub size: u32,
    /// Date and time of the last change as they stand there.
    pub modified: u32,
}

impl Entry {
    /// Names are compared without regard to the case of ASCII letters; the
    /// short name is as good as the long one.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.short_name.eq_ignore_ascii_case(name)
    }
}

/// A long name that is being put together from its last piece to its first.
#[derive(Default)]
struct LongName {
    /// Number of the piece expected next; 0 when the name is complete.
    expected: u8,
    checksum: u8,
    units: Vec<u16>,
}

impl LongName {
    fn add(&mut self, entry: &[u8; ENTRY]) {
        let number = entry[0] & !LAST_PIECE;
        if entry[0] & LAST_PIECE != 0 && (1..=MAX_PIECES).contains(&number) {
            *self = Self {
                expected: number,
                checksum: entry[13],
                units: Vec::new(),
            };
        }
        if self.expected == 0 || number != self.expected || entry[13] != self.checksum {
            // An orphan: the file still has its short name.
            *self = Self::default();
            return;
        }
        self.expected -= 1;
        let places = (1..11)
            .step_by(2)
            .chain((14..26).step_by(2))
            .chain((28..32).step_by(2));
        let piece = places.map(|at| u16::from_le_bytes([entry[at], entry[at + 1]]));
        self.units.splice(0..0, piece.take(PIECE));
    }

    fn finish(&mut self, short: &[u8; 11]) -> Option<String> {
        let Self {
            expected,
            checksum,
            units,
        } = std::mem::take(self);
        if expected != 0 || units.is_empty() || checksum != checksum_of(short) {
            return None;
        }
        let end = units
            .iter()
            .position(|unit| *unit == 0)
            .unwrap_or(units.len());
        Some(String::from_utf16_lossy(&units[..end]))
    }
}

/// Ties the pieces of a long name to the short name that follows them.
fn checksum_of(short: &[u8; 11]) -> u8 {
    short
        .iter()
        .fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// The entries up to the end mark; deleted ones and labels are left out.
pub fn parse(bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut long = LongName::default();
    for entry in bytes.as_chunks::<ENTRY>().0 {
        let attributes = entry[11];
        match entry[0] {
            0 => break,
            0xe5 => long = LongName::default(),
            _ if attributes & 0x3f == ATTRIBUTES_LONG_NAME => long.add(entry),
            _ if attributes & ATTRIBUTE_VOLUME != 0 => long = LongName::default(),
            _ => {
                let short: [u8; 11] = std::array::from_fn(|i| entry[i]);
                let short_name = short_name(short, entry[12]);
                let high = u32::from(u16::from_le_bytes([entry[20], entry[21]]));
                let low = u32::from(u16::from_le_bytes([entry[26], entry[27]]));
                let is_folder = attributes & ATTRIBUTE_FOLDER != 0;
                let size = u32::from_le_bytes([entry[28], entry[29], entry[30], entry[31]]);
                entries.push(Entry {
                    name: long.finish(&short).unwrap_or_else(|| short_name.clone()),
                    short_name,
                    is_folder,
                    cluster: high << 16 | low,
                    size: if is_folder { 0 } else { size },
                    modified: u32::from_le_bytes([entry[22], entry[23], entry[24], entry[25]]),
                });
            }
        }
    }
    entries
}

/// `README  TXT` → `README.TXT`, in lower case where the two case bits say so
/// (a Windows NT habit that mtools and Linux share).
fn short_name(mut short: [u8; 11], case: u8) -> String {
    if short[0] == 0x05 {
        // 0xe5 itself marks deleted entries.
        short[0] = 0xe5;
    }
    let part = |bytes: &[u8], lower: bool| {
        // The code page is not known; bytes beyond ASCII are taken as Latin-1.
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        let text = text.trim_end_matches(' ');
        if lower {
            text.to_ascii_lowercase()
        } else {
            text.to_owned()
        }
    };
    let name = part(&short[..8], case & 0x08 != 0);
    let extension = part(&short[8..], case & 0x10 != 0);
    if extension.is_empty() {
        name
    } else {
        format!("{name}.{extension}")
    }
}
