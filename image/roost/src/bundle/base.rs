//! The slots that a bundle has deltas against.

use super::part::Part;
use crate::disk;
use crate::error::Failure;
use crate::release::Release;
use crate::store::{Store, disk_failure, sha256_file};
use crate::ui::Ui;
use roost_bundle::limits::MAGIC;
use roost_bundle::{PayloadsAt, apply, plan};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

/// Earlier releases that a bundle has deltas against by itself.
const RECENT: usize = 3;

/// A slot that a box may run.
pub struct Base {
    /// What people know it as.
    pub name: String,
    /// Hash or key that stands for its bytes.
    pub mark: String,
    /// Its bytes.
    pub slot: Part,
}

/// The slots of the last releases before the present one, and of those in `wanted`,
/// as far as the step store still has them.
pub fn recent(
    release: &Release,
    wanted: &[u64],
    store: &Store,
    ui: &Ui,
) -> Result<Vec<Base>, Failure> {
    let present = release.slots.iter().find(|b| b.number == release.number);
    let mut found: Vec<Base> = Vec::new();
    let mut recent = 0;
    let mut missing = wanted.to_vec();
    for built in release.slots.iter().rev() {
        let asked = wanted.contains(&built.number);
        let same = |slot: &str| present.is_some_and(|p| p.slot == slot);
        if same(&built.slot) || (recent == RECENT && !asked) {
            missing.retain(|n| *n != built.number);
            continue;
        }
        let Some(dir) = store.find("slot", &built.slot) else {
            continue;
        };
        missing.retain(|n| *n != built.number);
        if found.iter().any(|base| base.mark == built.slot) {
            continue;
        }
        recent += 1;
        let path = dir.join(disk::SLOT_IMAGE);
        let slot = File::open(&path)
            .and_then(Part::whole)
            .map_err(|e| disk_failure("read", &path, e))?;
        found.push(Base {
            name: format!("release {}", built.number),
            mark: built.slot.clone(),
            slot,
        });
    }
    for number in missing {
        ui.warn(format!(
            "the slot of release {number} is not here any more: a box that runs it fetches more"
        ));
    }
    Ok(found)
}

/// The slot in `path`: an image of one, or a bundle.
pub fn given(path: &Path, scratch: &Path) -> Result<Base, Failure> {
    let fail = |e| disk_failure("read", path, e);
    let mut file = File::open(path).map_err(fail)?;
    let mut magic = [0; MAGIC.len()];
    let is_bundle = file.read_exact(&mut magic).is_ok() && magic == MAGIC;
    file.rewind().map_err(fail)?;
    let slot = if is_bundle {
        unpack(path, scratch)?
    } else {
        file
    };
    Ok(Base {
        name: path.display().to_string(),
        mark: sha256_file(path)?,
        slot: Part::whole(slot).map_err(fail)?,
    })
}

/// The slot of a bundle, as a file without a name. Who signed it does not
/// matter: a base decides only what a delta can be unpacked with.
fn unpack(path: &Path, scratch: &Path) -> Result<File, Failure> {
    let opened = super::open(path, None)?;
    let fail = |e| disk_failure("write to", scratch, e);
    let mut slot = tempfile::tempfile_in(scratch).map_err(fail)?;
    let mut payloads = PayloadsAt::new(opened.from, opened.verified.payload_start());
    let mut nothing = std::io::Cursor::new([]);
    for action in plan(&opened.tables, &mut ()).actions {
        apply(
            &action,
            &opened.tables,
            &mut nothing,
            &mut payloads,
            &mut slot,
        )
        .map_err(|e| super::refused(path, e))?;
    }
    Ok(slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::record;
    use crate::ui::Mode;

    /// Releases 1 to 6; that of 4 differs in nothing from 3, and the cache has lost 5.
    #[test]
    fn the_last_three_slots_that_are_left_are_taken_and_those_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut release = None;
        for (number, slot) in [
            (1, "a"),
            (2, "b"),
            (3, "c"),
            (4, "c"),
            (5, "gone"),
            (6, "d"),
        ] {
            release = Some(record(release, number, "key", 1, slot));
            if slot != "gone" {
                let output = dir.path().join("steps/slot").join(slot);
                std::fs::create_dir_all(&output).unwrap();
                std::fs::write(output.join(disk::SLOT_IMAGE), slot).unwrap();
            }
        }
        let mut release = release.unwrap();
        let store = Store::new(dir.path());
        let ui = Ui::new(Mode::Quiet);
        let names = |release: &Release, wanted: &[u64]| -> Vec<String> {
            let found = recent(release, wanted, &store, &ui).unwrap();
            found.into_iter().map(|base| base.name).collect()
        };
        assert_eq!(
            names(&release, &[]),
            ["release 4", "release 2", "release 1"]
        );
        for (number, slot) in [(7, "a"), (8, "d"), (9, "b"), (10, "e")] {
            release = record(Some(release), number, "key", 1, slot);
        }
        let recent = ["release 9", "release 8", "release 7"];
        assert_eq!(names(&release, &[]), recent);
        // Release 3 is further back; 2 is what 9 is; nobody knows 99.
        let asked = [&recent[..], &["release 3"]].concat();
        assert_eq!(names(&release, &[3, 2, 99]), asked);
        // What is built now is no base of itself, whatever its number was before.
        release = record(Some(release), 11, "key", 1, "b");
        assert_eq!(
            names(&release, &[]),
            ["release 8", "release 7", "release 4"]
        );
    }
}
