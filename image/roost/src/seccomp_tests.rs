use super::*;
use proptest::prelude::*;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;

fn error(text: &str) -> String {
    List::parse(text).unwrap_err().to_string()
}

#[test]
fn errors_name_the_line_and_what_may_be_meant() {
    let errors = [
        "",
        "# nothing\n\n",
        "read\nwrit\n",
        "frobnicate",
        "read\n# again\nwrite\nread # twice",
        "socket",
        "read:",
        "socket: inet inet4",
        "read: inet",
    ]
    .map(error)
    .join("\n");
    insta::assert_snapshot!(errors);
}

#[test]
fn lists_are_put_together() {
    let mut list = List::parse("read\nsocket: unix # ours\n").unwrap();
    list.add(&List::parse("socket: inet\nwrite").unwrap());
    assert_eq!(list, List::parse("write\nsocket: unix inet\nread").unwrap());
}

fn lists(allowed: &str, absent: &str, hostile: &str, own: &str) -> Lists {
    let list = |text: &str| List::parse(text).unwrap();
    Lists {
        allowed: list(allowed),
        absent: list(absent),
        hostile: list(hostile),
        services: [("a".to_owned(), list(own))].into(),
    }
}

#[test]
fn a_call_is_on_one_list_only() {
    let check = |allowed, absent, hostile, own| lists(allowed, absent, hostile, own).check();
    assert_eq!(check("read", "clone3", "mount", "write"), Ok(()));
    assert_eq!(
        check("socket: unix", "clone3", "mount", "socket: inet"),
        Ok(())
    );
    for (allowed, absent, hostile, own) in [
        ("mount", "clone3", "mount", "write"),
        ("clone3", "clone3", "mount", "write"),
        ("read", "mount", "mount", "write"),
        ("read", "clone3", "mount", "mount"),
        ("read", "clone3", "mount", "clone3"),
        ("read", "clone3", "mount", "read"),
        ("socket: unix inet", "clone3", "mount", "socket: inet"),
    ] {
        assert!(
            check(allowed, absent, hostile, own).is_err(),
            "{allowed}, {absent}, {hostile}, {own}"
        );
    }
}

#[test]
fn the_image_has_a_program_for_every_service_and_two_for_all() {
    let workspace = Workspace::find().unwrap();
    let specs = crate::services::specs(&workspace).unwrap();
    let lists = Lists::load(&workspace, &specs).unwrap();
    let enforced = lists.programs(Mode::Enforce).unwrap();
    let mut wanted: Vec<String> = specs
        .iter()
        .map(|spec| format!("{FOLDER}/services/{}", spec.name))
        .chain(["absent", "hostile"].map(|name| format!("{FOLDER}/{name}")))
        .collect();
    wanted.sort();
    assert_eq!(enforced.keys().cloned().collect::<Vec<_>>(), wanted);
    // The kernel takes 4,096 instructions of eight bytes.
    assert!(
        enforced
            .values()
            .all(|p| !p.is_empty() && p.len() <= 4096 * 8)
    );
    let recorded = lists.programs(Mode::Record).unwrap();
    assert_eq!(recorded.len(), enforced.len() + 1);
    let service = format!("{FOLDER}/services/{}", specs[0].name);
    assert_ne!(recorded[&service], enforced[&service]);
}

/// What a child says that has made its call without an error.
const DONE: i32 = 4000;

/// The error number of `call` in a child under these lists, compiled for this machine and put
/// together as init does it; the signal that ended the child, below zero.
fn answer(lists: &Lists, call: fn() -> std::io::Result<()>) -> i32 {
    let arch = TargetArch::x86_64;
    let mut own = lists.of("a");
    own.add(&lists.absent);
    own.add(&lists.hostile);
    let allow = SeccompAction::Allow;
    let absent = SeccompAction::Errno(ENOSYS);
    let programs = [
        compile(&lists.absent, absent, allow.clone(), arch),
        compile(
            &lists.hostile,
            SeccompAction::KillProcess,
            allow.clone(),
            arch,
        ),
        compile(&own, allow, SeccompAction::Errno(EPERM), arch),
    ]
    .map(Result::unwrap);
    let mut command = Command::new("/never/run");
    #[expect(unsafe_code, reason = "a filter is loaded between fork and exec")]
    // SAFETY: neither loading a filter nor the calls below allocate or take a lock.
    unsafe {
        command.pre_exec(move || {
            for program in &programs {
                // Sets no_new_privs too.
                seccompiler::apply_filter(program)
                    .map_err(|_| std::io::Error::from_raw_os_error(DONE + 1))?;
            }
            call()?;
            Err(std::io::Error::from_raw_os_error(DONE))
        });
    }
    match command.spawn() {
        Err(error) => error.raw_os_error().unwrap(),
        // It could not say anything any more.
        Ok(mut child) => -child.wait().unwrap().signal().unwrap(),
    }
}

/// A call that is allowed works, one that is on no list is refused, a hostile one is the end.
#[test]
#[cfg(target_arch = "x86_64")]
fn the_kernel_does_what_the_lists_say() {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
    use rustix::net::{AddressFamily, SocketType};

    let workspace = Workspace::find().unwrap();
    let lists = |own| {
        let mut lists = Lists::load(&workspace, &[]).unwrap();
        lists.services = [("a".to_owned(), List::parse(own).unwrap())].into();
        lists
    };
    fn socket(family: AddressFamily) -> std::io::Result<()> {
        Ok(rustix::net::socket(family, SocketType::DGRAM, None).map(drop)?)
    }
    let unix = || socket(AddressFamily::UNIX);
    let inet = || socket(AddressFamily::INET);
    let nice = || Ok(rustix::process::setpriority_process(None, 19)?);
    let name = || Ok(rustix::system::sethostname(b"x")?);
    let open = || {
        let how = ResolveFlags::empty();
        let opened = rustix::fs::openat2(CWD, c"/", OFlags::RDONLY, Mode::empty(), how);
        Ok(opened.map(drop)?)
    };
    let few = lists("wait4");
    assert_eq!(answer(&few, unix), DONE);
    assert_eq!(answer(&few, inet), 1, "EPERM: another family");
    assert_eq!(answer(&few, nice), 1, "EPERM: on no list");
    assert_eq!(answer(&few, open), 38, "ENOSYS: as if it were not there");
    assert_eq!(answer(&few, name), -31, "SIGSYS: hostile");
    let more = lists("setpriority\nsocket: inet");
    assert_eq!(answer(&more, nice), DONE);
    assert_eq!(answer(&more, inet), DONE);
    assert_eq!(answer(&more, unix), DONE);
}

proptest! {
    #[test]
    fn junk_is_an_error_or_a_list(text in "[a-z0-9_:# \n]{0,80}") {
        if let Ok(list) = List::parse(&text) {
            prop_assert!(list.names().count() > 0);
        }
    }

    /// Whatever is on it: what was written down is what is compiled.
    #[test]
    fn every_list_of_known_calls_compiles(picked in proptest::collection::btree_set(0usize..200, 1..60)) {
        let calls: Vec<_> = Sysno::iter().collect();
        let text: String = picked
            .iter()
            .map(|place| calls[place % calls.len()].name())
            .filter(|name| arguments::words(name).next().is_none())
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .map(|name| format!("{name}\n"))
            .collect();
        prop_assume!(!text.is_empty());
        let list = List::parse(&text).unwrap();
        prop_assert_eq!(list.names().count(), text.lines().count());
        let refuse = SeccompAction::Errno(EPERM);
        prop_assert!(compile(&list, SeccompAction::Allow, refuse, TargetArch::aarch64).is_ok());
    }
}
