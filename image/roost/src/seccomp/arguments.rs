//! System calls that are allowed with some arguments only, and the words for these.
//!
//! A filter sees numbers, not what pointers lead to: so there are flags, families and requests
//! here, and no paths. Values are those of `linux/sched.h`, `linux/prctl.h`, `linux/socket.h`,
//! `linux/if_tun.h`, `linux/fs.h`, `asm-generic/ioctls.h` and `asm-generic/mman-common.h`, the
//! same on ARM64 and x86-64.

use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition};

/// A word for an argument.
#[derive(Debug)]
struct Word {
    call: &'static str,
    word: &'static str,
    /// Which argument, from 0.
    argument: u8,
    how: SeccompCmpOp,
    value: u64,
}

const fn equal(call: &'static str, argument: u8, word: &'static str, value: u64) -> Word {
    Word {
        call,
        word,
        argument,
        how: Eq,
        value,
    }
}

const fn masked(
    call: &'static str,
    argument: u8,
    word: &'static str,
    mask: u64,
    value: u64,
) -> Word {
    Word {
        call,
        word,
        argument,
        how: MaskedEq(mask),
        value,
    }
}

/// Every `CLONE_NEW…` of clone(2): cgroup, UTS, IPC, user, PID, network and mount namespaces.
const NAMESPACES: u64 = 0x7e02_0000;
/// The new task is a thread of the caller's process.
const CLONE_THREAD: u64 = 0x0001_0000;
/// Memory whose contents can be run.
const PROT_EXEC: u64 = 4;

const WORDS: &[Word] = &[
    masked(
        "clone",
        0,
        "thread",
        NAMESPACES | CLONE_THREAD,
        CLONE_THREAD,
    ),
    masked("clone", 0, "process", NAMESPACES | CLONE_THREAD, 0),
    // Programs are static and make no code: memory that was written is never run.
    masked("mmap", 2, "data", PROT_EXEC, 0),
    masked("mprotect", 2, "data", PROT_EXEC, 0),
    equal("socket", 0, "unix", 1),
    equal("socket", 0, "inet", 2),
    equal("socket", 0, "inet6", 10),
    equal("socket", 0, "netlink", 16),
    equal("socketpair", 0, "unix", 1),
    equal("prctl", 0, "get_name", 16),
    equal("prctl", 0, "set_name", 15),
    // Names of memory areas, for whoever looks for a leak.
    equal("prctl", 0, "set_vma", 0x5356_4d41),
    equal("prctl", 0, "set_pdeathsig", 1),
    equal("prctl", 0, "set_thp_disable", 41),
    equal("prctl", 0, "get_thp_disable", 42),
    equal("ioctl", 1, "fionbio", 0x5421),
    equal("ioctl", 1, "fionread", 0x541b),
    equal("ioctl", 1, "fioclex", 0x5451),
    // Whether a descriptor is a terminal (isatty), and how wide.
    equal("ioctl", 1, "tcgets", 0x5401),
    equal("ioctl", 1, "tiocgwinsz", 0x5413),
    equal("ioctl", 1, "blkgetsize64", 0x8008_1272),
    equal("ioctl", 1, "tunsetiff", 0x4004_54ca),
    equal("ioctl", 1, "tungetiff", 0x8004_54d2),
    equal("ioctl", 1, "tunsetoffload", 0x4004_54d0),
    equal("ioctl", 1, "tunsetvnethdrsz", 0x4004_54d8),
    equal("ioctl", 1, "siocgifindex", 0x8933),
    equal("ioctl", 1, "siocgifname", 0x8910),
    equal("ioctl", 1, "siocgifflags", 0x8913),
    equal("ioctl", 1, "siocsifflags", 0x8914),
    equal("ioctl", 1, "siocgifmtu", 0x8921),
    equal("ioctl", 1, "siocsifmtu", 0x8922),
];

/// What a call may be limited to; nothing for one whose arguments are not looked at.
pub fn words(call: &str) -> impl Iterator<Item = &'static str> + Clone {
    WORDS
        .iter()
        .filter(move |word| word.call == call)
        .map(|word| word.word)
}

/// The condition behind one of [`words`].
pub fn condition(call: &str, word: &str) -> Result<SeccompCondition, BackendError> {
    let found = WORDS
        .iter()
        .find(|known| (known.call, known.word) == (call, word))
        .expect("a list has only words that there are");
    // The kernel looks at the lower half of each of these.
    let length = SeccompCmpArgLen::Dword;
    SeccompCondition::new(found.argument, length, found.how.clone(), found.value)
}
