//! The boards that the one image boots on.

use std::fmt;

/// A board, as far as drivers and firmware differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Board {
    /// QEMU's `virt` machine.
    Virt,
    /// Raspberry Pi 3, 3+, CM3, Zero 2 W (BCM2837); also QEMU's `raspi3b`.
    Rpi3,
    /// Raspberry Pi 4, 400, CM4 (BCM2711).
    Rpi4,
    /// Raspberry Pi 5, 500, CM5 (BCM2712).
    Rpi5,
}

impl Board {
    /// Every board.
    pub const ALL: [Self; 4] = [Self::Virt, Self::Rpi3, Self::Rpi4, Self::Rpi5];

    /// Short name, as in `modules.toml` and in the names of module lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Virt => "virt",
            Self::Rpi3 => "rpi3",
            Self::Rpi4 => "rpi4",
            Self::Rpi5 => "rpi5",
        }
    }

    /// The device tree's `compatible` string of the board's processor or machine.
    pub const fn compatible(self) -> &'static str {
        match self {
            Self::Virt => "linux,dummy-virt",
            Self::Rpi3 => "brcm,bcm2837",
            Self::Rpi4 => "brcm,bcm2711",
            Self::Rpi5 => "brcm,bcm2712",
        }
    }

    /// File in the initramfs' `/modules` with the modules of this board, one
    /// file name a line, in load order.
    pub const fn module_list(self) -> &'static str {
        match self {
            Self::Virt => "virt.list",
            Self::Rpi3 => "rpi3.list",
            Self::Rpi4 => "rpi4.list",
            Self::Rpi5 => "rpi5.list",
        }
    }

    /// The board with this short name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|board| board.name() == name)
    }

    /// The board whose device tree says this: the bytes of
    /// `/sys/firmware/devicetree/base/compatible`, strings that each end in a zero byte.
    pub fn from_compatible(property: &[u8]) -> Option<Self> {
        property.split(|byte| *byte == 0).find_map(|one| {
            Self::ALL
                .into_iter()
                .find(|b| b.compatible().as_bytes() == one)
        })
    }
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_are_told_apart_by_their_device_trees() {
        let from = Board::from_compatible;
        assert_eq!(from(b"linux,dummy-virt\0"), Some(Board::Virt));
        assert_eq!(
            from(b"raspberrypi,3-model-b-plus\0brcm,bcm2837\0"),
            Some(Board::Rpi3)
        );
        assert_eq!(
            from(b"raspberrypi,4-model-b\0brcm,bcm2711\0"),
            Some(Board::Rpi4)
        );
        assert_eq!(
            from(b"raspberrypi,5-model-b\0brcm,bcm2712\0"),
            Some(Board::Rpi5)
        );
        assert_eq!(from(b"raspberrypi,model-b\0brcm,bcm2835\0"), None);
        assert_eq!(from(b"brcm,bcm27"), None);
        assert_eq!(from(b""), None);
    }

    #[test]
    fn names_are_consistent() {
        for board in Board::ALL {
            assert_eq!(Board::from_name(board.name()), Some(board));
            assert_eq!(board.module_list(), format!("{board}.list"));
        }
    }
}
