//! `roost restore`: a card from a backup.
//!
//! The box takes no part in it, so it needs no right to put data back, and nothing on it can be asked to.
//! A restored card is an image whose data file system is larger and has files in it; from then on it is
//! written and read back as by `roost flash`.

use super::fill::{self, FILES, IMAGE};
use super::{open, scratch, short, time, told};
use crate::cli::RestoreArgs;
use crate::device::words::plain;
use crate::error::Failure;
use crate::flash::card::Personal;
use crate::flash::image::{CHUNK, Image, is_zero};
use crate::flash::{image_path, onto};
use crate::lock::Lock;
use crate::store::disk_failure;
use crate::ui::{Ui, size};
use crate::workspace::Workspace;
use crate::{sdk, services};
use roost_backup_repository::contents::{Contents, FileOf};
use roost_backup_repository::place::Opener;
use roost_backup_repository::repository::Backup;
use roost_board::layout::SECTOR;
use roost_board::mbr::Mbr;
use roost_service::backup::{Kept, TARGET_FILE};
use roost_service::card::{self, Card};
use roost_service::snapshot::CARD;
use roost_service::spec::ServiceSpec;
use roost_service::tunnel::{self, Generation};
use roost_service::update::PORTAL;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The image in the working folder.
const RESTORED: &str = "restored.img";
/// Where the box keeps its recovery code (services/backup/src/code.rs).
const CODE: &str = "services/backup/recovery-code";
/// Which of the box's cards this is.
const GENERATION: &str = "services/tunnel/generation.json";
/// The service that does.
const BACKUP: &str = roost_service::backup::SERVICE;

/// What was made.
#[derive(Serialize)]
struct Restored<'a> {
    card: &'a str,
    name: &'a str,
    fingerprint: String,
    backup: &'a Backup,
    files: usize,
    bytes: u64,
}

/// `roost restore`.
pub fn run(args: &RestoreArgs, ui: &Ui) -> Result<(), Failure> {
    // Whatever may be missing is found before the long part.
    let path = image_path(args.image.as_deref());
    let image = Image::open(&path)?;
    let workspace = Workspace::find()?;
    let lock = Lock::load(&workspace.lock())?;
    let table = services::specs(&workspace)?;
    let (repository, code, access) = open(&args.folder, &args.access, &args.code, ui)?;
    let sdk = sdk::ensure(&lock, &workspace, crate::debian::host_mirror, false, ui)?;

    let beside = path.parent().filter(|parent| *parent != Path::new(""));
    let beside = beside.unwrap_or(Path::new("."));
    let work = scratch(args.scratch.as_deref().unwrap_or(beside))?;
    let work = work.path();
    let step = ui.step("get the backup back");
    let (backup, mut contents) = repository
        .restore(args.backup.as_deref(), work, |at, of| {
            step.total_bytes(of);
            step.position(at);
        })
        .map_err(told(&args.folder))?;
    let (files, bytes) = (contents.files.len(), contents.bytes());
    step.done(format!("{files} files, {}, compared", size(bytes)));
    fits(&contents, &table)?;
    let card = take_card(work, &mut contents)?;
    if table.iter().any(|spec| spec.name == BACKUP) {
        add(work, &mut contents, CODE, code.as_str().as_bytes())?;
    }
    let mut goes_on = "";
    if let Some((target, opener)) = access
        && table.iter().any(|spec| spec.name == BACKUP)
    {
        let secret = match opener {
            Opener::Secret(secret) => Some(secret),
            // That one is its owner's. The box makes one of its own.
            Opener::Key(_) => None,
        };
        goes_on = match secret {
            Some(_) => " It backs up to the same\nplace again by itself.",
            None => {
                " It backs up to the same\nplace again as soon as its new key is in authorized_keys there: roost backup target key."
            }
        };
        // Whether the key may remove files is found out when the box first tries.
        let kept = Kept {
            target,
            secret,
            removes: true,
        };
        let kept = serde_json::to_vec(&kept).expect("a target is plain data");
        let name = format!("services/{BACKUP}/{TARGET_FILE}");
        add(work, &mut contents, &name, &kept)?;
    }

    if table.iter().any(|spec| spec.name == tunnel::SERVICE) {
        let bytes = generation(work, &contents)?;
        add(work, &mut contents, GENERATION, &bytes)?;
    }

    let step = ui.step("put it into the image");
    copy(&image, work)?;
    fill::fill(work, &contents, &table, &|program, arguments| {
        sdk.sandbox().write(work, "/work").run(program, arguments)
    })?;
    join(&image, work)?;
    step.done(size(bytes));

    // All that the box keeps, in clear: it loses its name, so that it goes with this program however
    // that ends.
    let restored = work.join(RESTORED);
    let open = File::open(&restored).map_err(|e| disk_failure("read", &restored, e))?;
    std::fs::remove_file(&restored).map_err(|e| disk_failure("remove", &restored, e))?;
    let restored = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
    // Without a computer it is in the format that every box reads.
    let personal = |_| Personal::again(&contents.name, &card);
    let written = onto(&restored, args.device.as_deref(), args.yes, personal, ui)?;
    let name = written.name();
    let text = format!(
        "{name} is {} again, as it was on {} (backup {}): {files} files, {}.\n\n\
         Put it into a Pi and switch that on. Name, certificate, paired computers, accounts and\n\
         passwords are those of before.{goes_on}\n\n\
         THE OLD CARD MUST NOT RUN AGAIN. Both are the same box, and mail would arrive now here,\n\
         now there. A relay sees to it: once this card has reached it, the old one stands down and\n\
         says so. Without a relay nobody does.",
        plain(&written.personal.name),
        time(&backup),
        short(&backup.id),
        size(bytes),
    );
    let done = Restored {
        card: &name,
        name: &written.personal.name,
        fingerprint: written.personal.fingerprint.hex(),
        backup: &backup,
        files,
        bytes,
    };
    ui.result(text, &done);
    Ok(())
}

/// Whether an image of this checkout can use what is in the backup.
fn fits(contents: &Contents, table: &[ServiceSpec]) -> Result<(), Failure> {
    for service in &contents.services {
        let ours = table.iter().find(|spec| spec.name == service.name);
        let ours = ours.map_or(0, |spec| spec.data_format);
        if ours < service.data_format {
            return Err(Failure::new("this image is older than the backup")
                .because(format!(
                    "{} has data of format {} in it, and the image knows formats up to {ours}",
                    service.name, service.data_format
                ))
                .hint(format!(
                    "build the image from the version that the box had, {}, or a newer one",
                    contents.version
                )));
        }
    }
    Ok(())
}

/// What the old card was told; it goes to its own place on the new one.
fn take_card(work: &Path, contents: &mut Contents) -> Result<Card, Failure> {
    let name = format!("services/{PORTAL}/{CARD}");
    let before = contents.files.len();
    contents.files.retain(|file| file.path != name);
    if contents.files.len() == before {
        // It was never flashed by `roost flash`: the portal's folder has its identity.
        return Ok(Card {
            format: card::FORMAT_ALONE,
            name: Some(contents.name.clone()),
            network: None,
            pairing: None,
            identity: None,
            computer: None,
        });
    }
    let path = work.join(FILES).join(&name);
    let bytes = std::fs::read(&path).map_err(|e| disk_failure("read", &path, e))?;
    std::fs::remove_file(&path).map_err(|e| disk_failure("remove", &path, e))?;
    // Which computers it lets in the box knows by itself since it has an owner, and whom that owner has
    // thrown out is not let in again.
    serde_json::from_slice(&bytes)
        .map(Card::alone)
        .map_err(|_| Failure::new("what the old card was told cannot be understood"))
}

/// One more file for the card.
fn add(work: &Path, contents: &mut Contents, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let path = work.join(FILES).join(name);
    let folder = path.parent().unwrap_or(work);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, bytes))
        .map_err(|e| disk_failure("write", &path, e))?;
    contents.files.retain(|file| file.path != name);
    contents.files.push(FileOf {
        path: name.to_owned(),
        mode: 0o600,
        size: bytes.len() as u64,
        sha256: hex::encode(Sha256::digest(bytes)),
    });
    Ok(())
}

/// A file by which the relay lets this card serve in place of the one that the backup is from. What the
/// backup has of it may be damaged, as the box's own may be: the time alone is enough then.
fn generation(work: &Path, contents: &Contents) -> Result<Vec<u8>, Failure> {
    let mut before = None;
    if contents.files.iter().any(|file| file.path == GENERATION) {
        let path = work.join(FILES).join(GENERATION);
        let bytes = std::fs::read(&path).map_err(|e| disk_failure("read", &path, e))?;
        before = serde_json::from_slice::<Generation>(&bytes).ok();
    }
    let mut instance = [0; tunnel::INSTANCE];
    getrandom::fill(&mut instance).map_err(|e| Failure::new("no random numbers").because(e))?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = since.unwrap_or_default().as_secs();
    let made = Generation::restored(before.as_ref(), instance, now_s);
    serde_json::to_vec(&made)
        .map_err(|e| Failure::new("cannot write which card this is").because(e))
}

/// The image and its data file system, each in a file of the working folder.
fn copy(image: &Image, work: &Path) -> Result<(), Failure> {
    let (whole, data) = (work.join(RESTORED), work.join(IMAGE));
    let make = |path: &Path, length: u64| {
        File::create_new(path)
            .and_then(|file| file.set_len(length).map(|()| file))
            .map_err(|e| disk_failure("make", path, e))
    };
    let (start, end) = image.data();
    let whole_file = make(&whole, image.bytes())?;
    let data_file = make(&data, end - start)?;
    let mut buffer = vec![0; CHUNK];
    image.read(&mut buffer, |at, piece| {
        if is_zero(piece) {
            return Ok(());
        }
        whole_file
            .write_all_at(piece, at)
            .map_err(|e| disk_failure("write", &whole, e))?;
        let inside = |place: u64| place.clamp(at, at + piece.len() as u64);
        let (from, to) = (inside(start), inside(end));
        data_file
            .write_all_at(
                &piece[(from - at) as usize..(to - at) as usize],
                from.saturating_sub(start),
            )
            .map_err(|e| disk_failure("write", &data, e))
    })
}

/// Puts the filled data file system in the place of the empty one, and the table right.
fn join(image: &Image, work: &Path) -> Result<(), Failure> {
    let (whole, data) = (work.join(RESTORED), work.join(IMAGE));
    let fail = |e| disk_failure("write", &whole, e);
    let file = File::options()
        .read(true)
        .write(true)
        .open(&whole)
        .map_err(fail)?;
    let length = data.metadata().map_err(fail)?.len();
    let (start, _) = image.data();
    file.set_len(start + length).map_err(fail)?;
    fill::copy_into(&data, &file, start).map_err(fail)?;
    let mut sector = [0; SECTOR as usize];
    file.read_exact_at(&mut sector, 0).map_err(fail)?;
    let unusable =
        |why: String| Failure::new("the image's partition table is of no use").because(why);
    let table = Mbr::from_bytes(&sector).map_err(|e| unusable(e.to_string()))?;
    let grown = table
        .grow_last((start + length) / SECTOR)
        .ok_or_else(|| unusable("the data partition is not the last".to_owned()))?;
    file.write_all_at(&grown.to_bytes(), 0).map_err(fail)?;
    // What is no longer needed makes room for the card, if that is a file beside it.
    std::fs::remove_file(&data).map_err(|e| disk_failure("remove", &data, e))?;
    let files = work.join(FILES);
    std::fs::remove_dir_all(&files).map_err(|e| disk_failure("remove", &files, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_backup_repository::contents::FORMAT;

    fn made(before: Option<&[u8]>) -> Generation {
        let work = tempfile::tempdir().unwrap();
        let mut contents = Contents {
            format: FORMAT,
            name: "attic".into(),
            version: "1".into(),
            made_s: 0,
            services: vec![],
            files: vec![],
        };
        if let Some(bytes) = before {
            add(work.path(), &mut contents, GENERATION, bytes).unwrap();
        }
        let bytes = generation(work.path(), &contents).unwrap();
        add(work.path(), &mut contents, GENERATION, &bytes).unwrap();
        assert_eq!(contents.files.len(), 1);
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn a_new_card_comes_after_the_one_of_the_backup() {
        // From before there were generations, or damaged.
        let (none, damaged) = (made(None), made(Some(b"{")));
        assert!(none.number > 1_700_000_000 && damaged.number >= none.number);
        assert_ne!(none.instance, damaged.instance);
        let far = br#"{"number": 5000000000, "instance": "ab", "relay": "k", "replaced": {"by": 9, "at_s": 1}}"#;
        let far = made(Some(far));
        assert_eq!((far.number, far.replaced), (5_000_000_001, None));
        assert_eq!((far.instance.len(), far.relay.as_deref()), (32, Some("k")));
        assert_eq!(
            GENERATION,
            format!("services/{}/{}", tunnel::SERVICE, tunnel::GENERATION)
        );
    }
}
