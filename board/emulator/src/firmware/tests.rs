use super::*;
use crate::testing;
use roost_board::layout::Slot;
use std::error::Error as _;
use tempfile::TempDir;

struct Scene {
    dir: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        testing::disk(&scene.image());
        scene
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("disk.img")
    }

    fn write(&self, partition: u8, name: &str, bytes: &[u8]) {
        testing::write(&self.image(), partition, name, bytes);
    }

    fn load(&self, machine: Machine, tryboot: bool) -> Result<Loaded, Error> {
        load(&self.image(), machine, tryboot, self.dir.path())
    }

    /// The error and its cause, without the image's path.
    fn refusal(&self, machine: Machine, tryboot: bool) -> String {
        let error = self.load(machine, tryboot).unwrap_err();
        let cause = error
            .source()
            .map(|s| format!(" | {s}"))
            .unwrap_or_default();
        format!("{error}{cause}").replace(self.image().to_str().unwrap(), "IMAGE")
    }
}

#[test]
fn virt_boots_the_chosen_slot_with_its_own_device_tree() {
    let scene = Scene::new();
    let loaded = scene.load(Machine::Virt, false).unwrap();
    assert_eq!(
        loaded.boot,
        Boot {
            partition: 2,
            tryboot: false
        }
    );
    assert_eq!(std::fs::read(&loaded.kernel).unwrap(), b"kernel of A");
    assert_eq!(
        std::fs::read(loaded.initramfs.unwrap()).unwrap(),
        b"initramfs of A"
    );
    assert_eq!(loaded.device_tree, None);
    assert_eq!(
        loaded.command_line,
        "panic=10 roost.disk=00000007 roost.partition=2 roost.tryboot=0"
    );
}

#[test]
fn a_raspberry_pi_is_told_in_its_device_tree() {
    let scene = Scene::new();
    let loaded = scene.load(Machine::Raspi3b, false).unwrap();
    assert_eq!(
        loaded.command_line,
        "panic=10 roost.disk=00000007 roost.watchdog=off"
    );
    let tree = std::fs::read(loaded.device_tree.unwrap()).unwrap();
    let expected = device_tree::with_bootloader(&testing::device_tree(), loaded.boot).unwrap();
    assert_eq!(tree, expected);
}

#[test]
fn a_raspberry_pi_needs_its_firmware_and_virt_does_not() {
    let scene = Scene::new();
    testing::remove(&scene.image(), 2, "fixup.dat");
    assert_eq!(
        scene.refusal(Machine::Raspi3b, false),
        "cannot read partition 2 of IMAGE | fixup.dat does not exist"
    );
    scene.write(2, "fixup.dat", b"again");
    testing::remove(&scene.image(), 1, "bootcode.bin");
    assert_eq!(
        scene.refusal(Machine::Raspi3b, false),
        "cannot read partition 1 of IMAGE | bootcode.bin does not exist"
    );
    scene.load(Machine::Virt, false).unwrap();
}

#[test]
fn a_slot_change_is_one_sector() {
    let scene = Scene::new();
    for name in ["config.txt", "cmdline.txt", "Image.gz", "initrd.gz"] {
        scene.write(
            3,
            name,
            if name == "config.txt" {
                b"kernel=Image.gz\n"
            } else {
                b"of B"
            },
        );
    }
    scene.write(1, autoboot::FILE, &autoboot::render(Slot::B));
    let loaded = scene.load(Machine::Virt, false).unwrap();
    assert_eq!(loaded.boot.partition, 3);
    assert_eq!(std::fs::read(&loaded.kernel).unwrap(), b"of B");
    assert_eq!(loaded.initramfs, None, "B's config.txt names none");
    let trial = scene.load(Machine::Virt, true).unwrap();
    assert_eq!(
        trial.boot,
        Boot {
            partition: 2,
            tryboot: true
        }
    );
    assert!(
        trial
            .command_line
            .ends_with(" roost.partition=2 roost.tryboot=1")
    );
}

#[test]
fn without_a_b_a_trial_reads_another_configuration() {
    let scene = Scene::new();
    scene.write(1, autoboot::FILE, b"boot_partition=2\n");
    scene.write(2, "tryboot.txt", b"kernel=initrd.gz\n");
    let trial = scene.load(Machine::Virt, true).unwrap();
    assert_eq!(std::fs::read(trial.kernel).unwrap(), b"initramfs of A");
}

#[test]
fn what_cannot_boot_is_refused_with_the_partition_and_the_reason() {
    let scene = Scene::new();
    assert_eq!(
        scene.refusal(Machine::Virt, true),
        "cannot read partition 3 of IMAGE | config.txt does not exist"
    );
    testing::remove(&scene.image(), 2, "initrd.gz");
    assert_eq!(
        scene.refusal(Machine::Virt, false),
        "cannot read partition 2 of IMAGE | initrd.gz does not exist"
    );
    scene.write(2, "initrd.gz", b"again");
    scene.write(2, "bcm2837-rpi-3-b.dtb", b"junk");
    assert!(
        scene
            .refusal(Machine::Raspi3b, false)
            .starts_with("bcm2837-rpi-3-b.dtb in partition 2 is not a device tree: ")
    );
    scene.write(2, "config.txt", b"kernel Image.gz\n");
    assert_eq!(
        scene.refusal(Machine::Virt, false),
        "the firmware cannot boot partition 2 of IMAGE | config.txt line 1: \
         \"kernel Image.gz\" is not a section or key=value"
    );
    scene.write(1, autoboot::FILE, b"boot_partition=x\n");
    assert_eq!(
        scene.refusal(Machine::Virt, false),
        "the firmware cannot choose a slot of IMAGE | autoboot.txt line 1: \
         boot_partition=\"x\" is not a number"
    );
    scene.write(1, autoboot::FILE, b"\n");
    assert_eq!(
        scene.refusal(Machine::Virt, false),
        "autoboot.txt of IMAGE names no boot_partition"
    );
    scene.write(1, autoboot::FILE, b"boot_partition=9\n");
    assert_eq!(
        scene.refusal(Machine::Virt, false),
        "IMAGE has no partition 9"
    );
    scene.write(1, autoboot::FILE, b"boot_partition=4\n");
    assert_eq!(
        scene.refusal(Machine::Virt, false),
        "cannot read partition 4 of IMAGE | this is no FAT16 or FAT32 file system: \
         its first sector has no boot signature"
    );
    std::fs::write(scene.image(), [0; 1024]).unwrap();
    assert_eq!(
        scene.refusal(Machine::Virt, false),
        "IMAGE is not a disk image | sector 0 holds no partition table \
         (signature 00 00 instead of 55 aa)"
    );
}
