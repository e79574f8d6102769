//! A box in memory and a bundle for it, small enough to be written a thousand times a second.

use roost_board::{Slot, autoboot};
use roost_bundle::{Builder, Hash, PublicKey, Release, SigningKey};
use roost_service::update::Version;
use roost_updater::facts::Facts;
use roost_updater::state::{Installed, State};
use std::io::Cursor;

pub const BLOCK: usize = 4096;

/// Slots of two versions, and the bundle of the second with deltas against the first.
pub struct Made {
    pub a: Vec<u8>,
    pub b: Vec<u8>,
    pub bundle: Vec<u8>,
    pub selector: Vec<u8>,
}

impl Made {
    pub fn new() -> Self {
        let (a, b) = (slot(0), slot(1));
        let release = Release {
            boards: ["virt".to_owned()].into(),
            version: 2,
            name: "2".into(),
            min_version: 1,
            created: 0,
            reversible: true,
            mail_store: 1,
            settings_format: 1,
            components: vec![],
            notes: String::new(),
        };
        let mut bundle = Vec::new();
        Builder::new(release, Hash([2; 32]), &SigningKey::from_seed(&[1; 32]))
            .level(1)
            .write(&mut Cursor::new(&b), &mut [Cursor::new(&a)], &mut bundle)
            .expect("a bundle");
        Self {
            a,
            b,
            bundle,
            selector: selector(),
        }
    }
}

pub fn signer() -> PublicKey {
    SigningKey::from_seed(&[1; 32]).public()
}

pub fn facts() -> Facts {
    Facts {
        board: "virt".into(),
        slot: Slot::A,
        running: installed(1),
        settings_format: 1,
    }
}

pub fn installed(number: u64) -> Installed {
    Installed {
        version: Version {
            number,
            name: number.to_string(),
        },
        root_hash: None,
        mail_store: 1,
    }
}

/// Slot A runs and is committed; slot B holds the same version.
pub fn state() -> State {
    let mut state = State::new(Slot::A);
    state.set_slot(Slot::A, Some(installed(1)));
    state.set_slot(Slot::B, Some(installed(1)));
    state
}

/// Five pieces of data with zeros between them, where chunks end. The first is
/// the same in every version, the second has a changed byte, the third is new,
/// the fourth has moved, the fifth hardly packs and has changed.
fn slot(version: u8) -> Vec<u8> {
    let data = |seed: u64, blocks: usize, bits: u64| {
        let mut x = seed | 1;
        let next = std::iter::repeat_with(move || {
            x = x.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (x >> 40 & bits) as u8 | 1
        });
        next.take(blocks * BLOCK).collect::<Vec<u8>>()
    };
    let zeros = vec![0; 5 * BLOCK];
    let mut changed = data(2, 2, 3);
    changed[5000] ^= version;
    let mut last = data(5, 1, 255);
    last[9] ^= version << 1;
    let (moved, new) = (data(3, 1, 15), data(4 + u64::from(version), 1, 7));
    let middle = match version {
        0 => [moved, zeros.clone(), new],
        _ => [new, zeros.clone(), moved],
    };
    let middle = middle.concat();
    [
        &data(1, 2, 1)[..],
        &zeros,
        &changed,
        &zeros,
        &middle,
        &zeros,
        &last,
    ]
    .concat()
}

/// A small FAT16 file system with nothing but `autoboot.txt`.
fn selector() -> Vec<u8> {
    const SECTORS: u16 = 4119;
    let mut image = vec![0; usize::from(SECTORS) * 512];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(11, &512_u16.to_le_bytes());
    // One sector a cluster, one reserved, one FAT of 17 sectors, 16 root entries.
    put(13, &[1, 1, 0, 1, 16, 0]);
    put(19, &SECTORS.to_le_bytes());
    put(22, &17_u16.to_le_bytes());
    put(510, &[0x55, 0xaa, 0xf8, 0xff, 0xff, 0xff, 0xff, 0xff]);
    put(18 * 512, b"AUTOBOOTTXT\x20");
    put(18 * 512 + 26, &[2, 0, 0, 2]);
    put(19 * 512, &autoboot::render(Slot::A));
    image
}
