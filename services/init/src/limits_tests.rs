use super::*;
use proptest::prelude::*;
use std::path::PathBuf;

fn spec() -> ServiceSpec {
    ServiceSpec::plain("mail", 800)
}

/// A folder with a service's group in it, as plain files.
fn parent(test: &str) -> PathBuf {
    let parent = std::env::temp_dir().join(format!("roost-limits-{test}-{}", std::process::id()));
    fs::create_dir_all(parent.join("mail")).unwrap();
    parent
}

#[test]
fn every_limit_of_a_spec_is_written() {
    let limits = Limits {
        memory_max_mib: 4096,
        tasks: 5,
        cpu_weight: 200,
        io_weight: 300,
        ..Limits::default()
    };
    let files: Vec<String> = files(&limits)
        .into_iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    assert_eq!(
        files,
        [
            "memory.max 4294967296",
            "memory.swap.max 0",
            "memory.oom.group 1",
            "pids.max 5",
            "cpu.weight 200",
            "io.bfq.weight 300",
        ]
    );
}

#[test]
fn a_limit_whose_controller_is_missing_is_left_out_and_a_group_must_take_processes() {
    let parent = parent("group");
    fs::write(parent.join("mail/pids.max"), "max").unwrap();
    assert_eq!(
        group(&parent, &spec()).unwrap_err(),
        "its control group: cgroup.procs: No such file or directory (os error 2)"
    );
    fs::write(parent.join("mail/cgroup.procs"), "").unwrap();
    group(&parent, &spec()).unwrap();
    let written = fs::read_to_string(parent.join("mail/pids.max")).unwrap();
    assert_eq!(written, spec().limits.tasks.to_string());
    assert!(!parent.join("mail/memory.max").exists());
    fs::remove_dir_all(parent).unwrap();
}

#[test]
fn an_end_for_want_of_memory_is_told_once_and_by_its_reason() {
    let parent = parent("watch");
    let mut watch = Watch::default();
    let mut end = |oom: u64, oom_kill: u64, exit| {
        let text =
            format!("low 0\nhigh 7\nmax 9\noom {oom}\noom_kill {oom_kill}\noom_group_kill 1\n");
        fs::write(parent.join("mail/memory.events.local"), text).unwrap();
        watch.exit_in(&parent, &spec(), exit).to_string()
    };
    let killed = Exit::Signal(9);
    assert_eq!(end(0, 0, killed), "was ended by signal 9");
    assert_eq!(
        end(1, 3, killed),
        "was ended: it used more than 64 MiB of memory"
    );
    assert_eq!(end(1, 3, killed), "was ended by signal 9");
    assert_eq!(end(1, 4, killed), "was ended: the box had no memory left");
    assert_eq!(end(1, 4, Exit::Code(2)), "exited with status 2");
    fs::remove_dir_all(parent).unwrap();
}

#[test]
fn counts_that_cannot_be_read_are_no_news() {
    let parent = parent("unread");
    let mut watch = Watch::default();
    let file = parent.join("mail/memory.events.local");
    let (ended, counts) = (Exit::Code(2), "oom 1\noom_kill 3\n");
    fs::write(&file, counts).unwrap();
    watch.exit_in(&parent, &spec(), ended);
    fs::remove_file(&file).unwrap();
    assert_eq!(watch.exit_in(&parent, &spec(), ended), ended);
    fs::write(&file, counts).unwrap();
    assert_eq!(watch.exit_in(&parent, &spec(), ended), ended);
    fs::remove_dir_all(parent).unwrap();
}

#[test]
fn refused_tasks_are_told_once_whatever_ends_in_between() {
    let parent = parent("tasks");
    let mut watch = Watch::default();
    assert_eq!(watch.refused_in(&parent, &spec()), None);
    fs::write(parent.join("mail/pids.events"), "max 3\n").unwrap();
    watch.exit_in(&parent, &spec(), Exit::Code(0));
    assert_eq!(
        watch.refused_in(&parent, &spec()).as_deref(),
        Some("mail wanted more than 64 processes and threads, 3 times in vain")
    );
    assert_eq!(watch.refused_in(&parent, &spec()), None);
    fs::remove_dir_all(parent).unwrap();
}

proptest! {
    #[test]
    fn junk_is_no_number(text in "[a-z0-9 \n]{0,80}") {
        let _ = field(&text, "oom");
    }
}
