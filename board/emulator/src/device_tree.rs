//! What the firmware adds to a device tree for the kernel.

use crate::firmware::Boot;
use dtoolkit::Node;
use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

/// The tree with `/chosen/bootloader/{partition,tryboot}`, 32-bit numbers in
/// big-endian order. Memory, command line and initramfs are QEMU's to add.
pub fn with_bootloader(blob: &[u8], boot: Boot) -> Result<Vec<u8>, String> {
    let fdt = Fdt::new(blob).map_err(|e| e.to_string())?;
    let mut tree = DeviceTree::from_fdt(&fdt);
    if tree.root.child("chosen").is_none() {
        tree.root
            .add_child(DeviceTreeNode::new("chosen").map_err(|e| e.to_string())?);
    }
    let number =
        |name: &str, value: u32| DeviceTreeProperty::new(name, value).map_err(|e| e.to_string());
    let bootloader = DeviceTreeNode::builder("bootloader")
        .map_err(|e| e.to_string())?
        .property(number("partition", u32::from(boot.partition))?)
        .property(number("tryboot", u32::from(boot.tryboot))?)
        .build();
    let chosen = tree
        .root
        .child_mut("chosen")
        .ok_or("it has no room for /chosen")?;
    chosen.remove_child("bootloader");
    chosen.add_child(bootloader);
    Ok(tree.to_dtb())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dtoolkit::Property;

    #[test]
    fn the_kernel_finds_how_it_was_started() {
        let mut tree = DeviceTree::new();
        let memory = DeviceTreeNode::builder("memory@0").unwrap();
        let memory = memory
            .property(DeviceTreeProperty::new("reg", 7u32).unwrap())
            .build();
        tree.root.add_child(memory);
        let first = with_bootloader(
            &tree.to_dtb(),
            Boot {
                partition: 2,
                tryboot: false,
            },
        )
        .unwrap();
        let second = with_bootloader(
            &first,
            Boot {
                partition: 3,
                tryboot: true,
            },
        )
        .unwrap();
        for (blob, partition, tryboot) in [(&first, 2u8, 0u8), (&second, 3, 1)] {
            let fdt = Fdt::new(blob).unwrap();
            let node = fdt.find_node("/chosen/bootloader").unwrap();
            assert_eq!(
                node.property("partition").unwrap().value(),
                [0, 0, 0, partition]
            );
            assert_eq!(
                node.property("tryboot").unwrap().value(),
                [0, 0, 0, tryboot]
            );
            assert!(fdt.find_node("/memory@0").is_some(), "the rest stays");
        }
    }

    #[test]
    fn junk_is_refused() {
        assert!(
            with_bootloader(
                b"junk",
                Boot {
                    partition: 2,
                    tryboot: false
                }
            )
            .is_err()
        );
    }
}
