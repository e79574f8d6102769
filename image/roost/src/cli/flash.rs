//! `roost flash`.

use clap::Args;
use std::path::PathBuf;

/// Options of `roost flash`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost flash                                     list the cards, choose one, write it; makes the image if there is none
  roost flash /dev/sdb                            write this one, after asking
  roost flash --list                              only show which cards there are
  roost flash /dev/sdb --name attic --static 192.168.1.5/24 --gateway 192.168.1.1
  roost flash card.img --yes --json               into a file, for scripts

What is refused, and what helps:
  the disk that this machine runs from            nothing
  a disk that is too small                        another card
  a disk built in, or one that is mounted         typing its name when you are asked
  the card of a box that has run, with its mail   the same

Ctrl-C is safe at any time: a card that is not complete does not boot.")]
pub struct FlashArgs {
    /// The card, e.g. /dev/sdb; or a file, which is made [default: chosen from a list]
    #[arg(value_name = "DEVICE", value_hint = clap::ValueHint::AnyPath)]
    pub device: Option<PathBuf>,
    /// The image, packed by zstd or not [default: build/roost.img, else build/roost.img.zst, else one that is made now]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub image: Option<PathBuf>,
    /// The box's configuration: its name, without --name; all of it, if there is no image yet
    #[arg(long, value_name = "FILE", default_value = "roost.toml", value_hint = clap::ValueHint::FilePath)]
    pub config: PathBuf,
    /// Use no network if the image has to be made; fail with exit code 3 if something is not there yet
    #[arg(long)]
    pub offline: bool,
    /// Only list cards and sticks, with what is on them and whether they can be used
    #[arg(long, conflicts_with_all = ["device", "yes"])]
    pub list: bool,
    /// Do not ask; only for a card or stick that nothing uses, or a file
    #[arg(long, short)]
    pub yes: bool,
    /// Name of this box on the home network [default: the one in roost.toml]
    #[arg(long, help_heading = "This card alone")]
    pub name: Option<String>,
    /// What the box shall call this computer, which it lets in once it has an owner [default: its host name]
    #[arg(long, value_name = "NAME", help_heading = "This card alone")]
    pub laptop: Option<String>,
    /// Do not have the box let this computer in, e.g. for a card that somebody else gets
    #[arg(long, conflicts_with = "laptop", help_heading = "This card alone")]
    pub no_laptop: bool,
    /// A fixed IPv4 address and the prefix length of the home network, e.g. 192.168.1.5/24
    #[arg(
        long = "static",
        value_name = "ADDRESS/PREFIX",
        requires = "gateway",
        help_heading = "This card alone"
    )]
    pub fixed: Option<String>,
    /// The router's address, with --static
    #[arg(
        long,
        value_name = "ADDRESS",
        requires = "fixed",
        help_heading = "This card alone"
    )]
    pub gateway: Option<String>,
    /// Addresses of resolvers, with --static [default: the gateway]
    #[arg(
        long,
        value_name = "ADDRESS",
        requires = "fixed",
        value_delimiter = ',',
        help_heading = "This card alone"
    )]
    pub dns: Vec<String>,
}
