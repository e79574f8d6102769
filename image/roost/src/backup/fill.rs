//! Puts files into the data file system of an image.
//!
//! By debugfs(8) and its kin, in the SDK root: no mount, so no root, and the box needs no right to take a
//! backup back. What was put there is taken out again and compared; debugfs itself ends well even when
//! a command of its failed.

use crate::error::Failure;
use crate::store::disk_failure;
use roost_backup_repository::contents::Contents;
use roost_backup_repository::repository::compare;
use roost_service::spec::ServiceSpec;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::Output;

/// The data file system in the working folder.
pub const IMAGE: &str = "data.img";
/// The folder in which files lie as on the data partition.
pub const FILES: &str = "data";
/// Where they are put when they are taken out again.
const BACK: &str = "back";
/// The commands of debugfs.
const COMMANDS: &str = "commands";
/// Room for the file system's own tables, and for the first minutes of the box, in bytes.
const ROOM: u64 = 64 << 20;
/// The data file system is as many of these long, as a partition is (`roost_board::mbr`).
const STEP: u64 = 4 << 20;
/// Bytes of a block.
const BLOCK: u64 = 4096;

/// Runs a program of e2fsprogs with the working folder at `/work`.
pub type Run<'a> = dyn Fn(&str, &[&str]) -> Result<Output, Failure> + 'a;

/// How long the file system must be for these files, in bytes.
pub fn needed(contents: &Contents, now: u64) -> u64 {
    let blocks: u64 = contents
        .files
        .iter()
        .map(|file| file.size.div_ceil(BLOCK) + 1)
        .sum();
    // A twentieth for tables and the blocks that say where a file's are.
    let wanted = now + blocks * BLOCK / 20 * 21 + ROOM;
    wanted.next_multiple_of(STEP)
}

/// Puts the files of `work/data`, which are those of `contents`, into `work/data.img`, with the owners that
/// services of `table` have.
///
/// # Errors
///
/// A [`Failure`] if that does not work, or what is there afterwards is something else.
pub fn fill(
    work: &Path,
    contents: &Contents,
    table: &[ServiceSpec],
    run: &Run<'_>,
) -> Result<(), Failure> {
    let image = work.join(IMAGE);
    let fail = |e| disk_failure("read", &image, e);
    let file = OpenOptions::new().write(true).open(&image).map_err(fail)?;
    let now = file.metadata().map_err(fail)?.len();
    let wanted = needed(contents, now);
    file.set_len(wanted)
        .map_err(|e| disk_failure("write", &image, e))?;
    drop(file);
    let inside = format!("/work/{IMAGE}");
    run("e2fsck", &["-f", "-p", &inside])?;
    run("resize2fs", &[&inside])?;
    // Counts would be wrong behind debugfs; they are made anew at the end.
    run("tune2fs", &["-O", "^quota", &inside])?;
    let put = commands(contents, table)?;
    let path = work.join(COMMANDS);
    std::fs::write(&path, put.text).map_err(|e| disk_failure("write", &path, e))?;
    let said = run("debugfs", &["-w", "-f", "/work/commands", &inside])?;
    run("tune2fs", &["-Q", "usrquota", &inside])?;
    run("e2fsck", &["-f", "-n", &inside])?;
    let wrong = |why: String| {
        Failure::new("the data file system just filled is not what it should be")
            .because(why)
            .because_of(&said)
    };
    // Owners and modes.
    let mut text = String::new();
    for (place, _) in &put.wanted {
        text += &format!("stat \"{place}\"\n");
    }
    std::fs::write(&path, text).map_err(|e| disk_failure("write", &path, e))?;
    let stats = run("debugfs", &["-f", "/work/commands", &inside])?;
    let stats = String::from_utf8_lossy(&stats.stdout).into_owned();
    let found = owners(&stats);
    if found.len() != put.wanted.len() {
        return Err(wrong(format!(
            "{} of {} files and folders are there",
            found.len(),
            put.wanted.len()
        )));
    }
    for ((place, wanted), found) in put.wanted.iter().zip(&found) {
        if wanted != found {
            return Err(wrong(format!("{place} has {found:?}, not {wanted:?}")));
        }
    }
    // And every byte.
    let back = work.join(BACK);
    std::fs::create_dir(&back).map_err(|e| disk_failure("make", &back, e))?;
    let tops: BTreeSet<&str> = contents
        .files
        .iter()
        .filter_map(|file| file.path.split('/').next())
        .collect();
    for top in tops {
        run(
            "debugfs",
            &["-R", &format!("rdump \"/{top}\" /work/{BACK}"), &inside],
        )?;
    }
    let same = compare(contents, &back).map_err(|why| wrong(why.to_string()));
    std::fs::remove_dir_all(&back).map_err(|e| disk_failure("remove", &back, e))?;
    same
}

/// Owner and permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    user: u32,
    mode: u32,
}

struct Put {
    text: String,
    /// What shall be there, in the order of the commands.
    wanted: Vec<(String, Owned)>,
}

/// The commands that put everything in its place.
fn commands(contents: &Contents, table: &[ServiceSpec]) -> Result<Put, Failure> {
    let mut put = Put {
        text: String::new(),
        wanted: Vec::new(),
    };
    let mut folders = BTreeSet::new();
    for file in &contents.files {
        // A quotation mark would end debugfs' word.
        if file.path.contains(['"', '\\']) {
            return Err(Failure::new(format!(
                "the file {:?} of the backup cannot be put onto a card",
                file.path
            )));
        }
        let user = match Contents::owner(&file.path) {
            None => 0,
            Some(owner) => table
                .iter()
                .find(|spec| spec.name == owner)
                .map(|spec| spec.user)
                .ok_or_else(|| {
                    Failure::new(format!("the image has no service {owner:?}"))
                        .because("the backup has files of it")
                        .hint("build the image from a newer version of Roost")
                })?,
        };
        let mut above = String::new();
        let parts: Vec<&str> = file.path.split('/').collect();
        for part in &parts[..parts.len() - 1] {
            above = format!("{above}/{part}");
            if folders.insert(above.clone()) {
                // What init makes at its start (services/init/src/data.rs), and a service's own.
                let (user, mode) = match above.as_str() {
                    "/services" => (0, 0o711),
                    "/settings" => (0, 0o755),
                    _ => (user, 0o700),
                };
                put.text += &format!("mkdir \"{above}\"\n");
                put.own(&above, Owned { user, mode }, 0o040_000);
            }
        }
        let place = format!("/{}", file.path);
        // It takes a name, not a path.
        let name = parts[parts.len() - 1];
        put.text += &format!("cd \"/{}\"\n", parts[..parts.len() - 1].join("/"));
        put.text += &format!("write \"/work/{FILES}/{}\" \"{name}\"\ncd /\n", file.path);
        let mode = file.mode;
        put.own(&place, Owned { user, mode }, 0o100_000);
    }
    Ok(put)
}

impl Put {
    fn own(&mut self, place: &str, owned: Owned, kind: u32) {
        let mode = kind | owned.mode;
        for (field, value) in [
            ("mode", format!("0{mode:o}")),
            ("uid", owned.user.to_string()),
            ("gid", owned.user.to_string()),
        ] {
            self.text += &format!("set_inode_field \"{place}\" {field} {value}\n");
        }
        self.wanted.push((place.to_owned(), owned));
    }
}

/// What debugfs' `stat` says, file by file.
fn owners(stats: &str) -> Vec<Owned> {
    let mut found = Vec::new();
    let (mut mode, mut user) = (None, None);
    let words: Vec<&str> = stats.split_whitespace().collect();
    for pair in words.windows(2) {
        match pair {
            ["Mode:", value] => mode = u32::from_str_radix(value, 8).ok(),
            ["User:", value] => user = value.parse().ok(),
            ["Group:", _] => {
                if let (Some(mode), Some(user)) = (mode.take(), user.take()) {
                    found.push(Owned {
                        user,
                        mode: mode & 0o777,
                    });
                }
            }
            _ => {}
        }
    }
    found
}

/// A program's own words behind what was seen.
trait Because {
    fn because_of(self, output: &Output) -> Self;
}

impl Because for Failure {
    fn because_of(self, output: &Output) -> Self {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match said.lines().count() {
            // Its own name and version alone.
            0 | 1 => self,
            _ => self.hint(format!("debugfs said: {said}")),
        }
    }
}

/// Writes a file system into an image at a byte, holes left out.
///
/// # Errors
///
/// Those of the file system.
pub fn copy_into(from: &Path, image: &File, at: u64) -> std::io::Result<()> {
    use std::io::Read;
    use std::os::unix::fs::FileExt;
    let (mut file, mut at) = (File::open(from)?, at);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        if buffer[..count].iter().any(|byte| *byte != 0) {
            image.write_all_at(&buffer[..count], at)?;
        }
        at += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk;
    use roost_backup_repository::contents::{FORMAT, FileOf};
    use sha2::{Digest, Sha256};
    use std::process::Command;

    /// The tools of this machine instead of those of the SDK root.
    fn here(work: &Path) -> impl Fn(&str, &[&str]) -> Result<Output, Failure> {
        let work = work.display().to_string();
        move |program, arguments| {
            let text = |text: &str| text.replace("/work", &work);
            if arguments.contains(&"/work/commands") {
                let path = format!("{work}/{COMMANDS}");
                let commands = std::fs::read_to_string(&path).unwrap();
                std::fs::write(&path, text(&commands)).unwrap();
            }
            let out = Command::new(program)
                .env("PATH", "/usr/sbin:/sbin")
                .args(arguments.iter().map(|argument| text(argument)))
                .output()
                .unwrap();
            match out.status.success() {
                true => Ok(out),
                false => Err(Failure::new(format!("{program} {arguments:?}: {out:?}"))),
            }
        }
    }

    fn table() -> Vec<ServiceSpec> {
        [("mail", 800), ("dns", 850)]
            .map(|(name, user)| ServiceSpec::plain(name, user))
            .into()
    }

    /// A working folder with these files, and what says which they are.
    fn work(files: &[(&str, u32, Vec<u8>)]) -> (tempfile::TempDir, Contents) {
        let dir = tempfile::Builder::new().prefix("fill-").tempdir().unwrap();
        disk::tests::make(dir.path()).unwrap();
        let mut contents = Contents {
            format: FORMAT,
            name: "attic".into(),
            version: "1".into(),
            made_s: 0,
            services: vec![],
            files: vec![],
        };
        for (path, mode, bytes) in files {
            let to = dir.path().join(FILES).join(path);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::write(to, bytes).unwrap();
            contents.files.push(FileOf {
                path: (*path).into(),
                mode: *mode,
                size: bytes.len() as u64,
                sha256: hex::encode(Sha256::digest(bytes)),
            });
        }
        (dir, contents)
    }

    #[test]
    fn files_get_their_places_and_owners_and_the_card_keeps_its_own() {
        if !Path::new("/sbin/debugfs").exists() {
            return eprintln!("skipped: no e2fsprogs");
        }
        // More than the image has room for as it is built.
        let large: Vec<u8> = (0..90_u32 << 20).map(|n| (n / 4096) as u8).collect();
        let (dir, contents) = work(&[
            ("services/dns/a zone.db", 0o600, b"zone".to_vec()),
            ("services/mail/keys/old/k", 0o640, vec![]),
            ("services/mail/mail.sqlite3", 0o600, large),
            ("settings/chosen.json", 0o644, b"{}".to_vec()),
        ]);
        let run = here(dir.path());
        fill(dir.path(), &contents, &table(), &run).unwrap();
        let image = dir.path().join(IMAGE);
        let length = image.metadata().unwrap().len();
        assert!(
            length.is_multiple_of(STEP) && length > 150 << 20,
            "{length}"
        );
        // `roost flash` finds its place as before.
        let finder = crate::flash::card::Finder::search(File::open(&image).unwrap()).unwrap();
        finder.only().unwrap();
        let out = run(
            "debugfs",
            &["-R", "stat /services/mail/keys", "/work/data.img"],
        )
        .unwrap();
        let owned = owners(&String::from_utf8_lossy(&out.stdout));
        assert_eq!(
            owned,
            [Owned {
                user: 800,
                mode: 0o700
            }]
        );
        // The kernel's own view of the quotas: nothing is to be repaired.
        run("e2fsck", &["-f", "-n", "/work/data.img"]).unwrap();
    }

    #[test]
    fn what_is_not_there_afterwards_is_noticed() {
        if !Path::new("/sbin/debugfs").exists() {
            return eprintln!("skipped: no e2fsprogs");
        }
        let (dir, contents) = work(&[("services/dns/zone", 0o600, b"zone".to_vec())]);
        // It was taken away, and debugfs ends well all the same.
        std::fs::remove_file(dir.path().join(FILES).join("services/dns/zone")).unwrap();
        let error = fill(dir.path(), &contents, &table(), &here(dir.path())).unwrap_err();
        assert!(
            error.in_a_line().contains("2 of 3 files"),
            "{}",
            error.in_a_line()
        );

        let (dir, contents) = work(&[("services/other/x", 0o600, b"x".to_vec())]);
        let error = fill(dir.path(), &contents, &table(), &here(dir.path())).unwrap_err();
        insta::assert_snapshot!(error.in_a_line(), @r#"the image has no service "other": the backup has files of it"#);
    }
}
