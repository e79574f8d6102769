use super::*;
use crate::testing;
use rustix::net::socket;
use std::io::BufRead;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use tempfile::TempDir;

/// Stands in for QEMU: these tests start their own program again, which runs
/// this test alone, with QEMU's arguments behind `--`. `FAKE_QEMU` lists what
/// each boot ends with.
#[test]
fn fake_qemu() {
    let Ok(script) = std::env::var("FAKE_QEMU") else {
        return;
    };
    let args: Vec<String> = std::env::args().collect();
    let after = |option: &str, nth: usize| {
        let mut all = args.windows(2).filter(|pair| pair[0] == option);
        all.nth(nth).unwrap()[1].clone()
    };
    let socket = after("-chardev", 0);
    let stream = UnixStream::connect(socket.strip_prefix("socket,id=qmp,path=").unwrap()).unwrap();
    // The nth boot finds the n-1 names left by those before it.
    let kernel = PathBuf::from(after("-kernel", 0));
    let diary = kernel.with_file_name("diary");
    let nth = std::fs::read_to_string(&diary)
        .unwrap_or_default()
        .lines()
        .count();
    std::fs::write(&diary, "boot\n".repeat(nth + 1)).unwrap();
    println!(
        "console of boot {nth}: {}",
        std::fs::read_to_string(kernel).unwrap()
    );

    let mut lines = io::BufReader::new(stream.try_clone().unwrap()).lines();
    let say = |text: &str| writeln!(&stream, "{text}").unwrap();
    say("{\"QMP\": {}}");
    for command in ["qmp_capabilities", "cont"] {
        assert!(lines.next().unwrap().unwrap().contains(command));
        say("{\"return\": {}}");
    }
    let mut ending = script.split(' ').nth(nth).unwrap();
    if let Some(rest) = ending.strip_prefix("tryboot+") {
        // As QEMU 10 notes it.
        if args.iter().any(|arg| arg == "-D") {
            let line = "bcm2835_mbox_property mbox property tag:0x00038064 in_sz:4 out_sz:0";
            std::fs::write(after("-D", 0), format!("{line}\n")).unwrap();
        } else {
            let file = after("-chardev", 2);
            let file = file.strip_prefix("file,id=firmware,path=").unwrap();
            std::fs::write(file, "tryboot\n").unwrap();
        }
        ending = rest;
    }
    match ending {
        "hang" => drop(lines.next()),
        "crash" => std::process::abort(),
        reason => say(&format!(
            "{{\"event\": \"SHUTDOWN\", \"data\": {{\"reason\": \"{reason}\"}}}}"
        )),
    }
}

fn options(dir: &TempDir, script: &str) -> Options {
    let image = dir.path().join("disk.img");
    testing::disk(&image);
    let mut options = Options::new(Machine::Virt, image, dir.path().join("work"));
    options.console = dir.path().join("console");
    let this = std::env::current_exe().unwrap();
    options.qemu = crate::CommandPrefix(vec![
        "env".into(),
        format!("FAKE_QEMU={script}").into(),
        this.into(),
        "--exact".into(),
        "running::tests::fake_qemu".into(),
        "--nocapture".into(),
        "--".into(),
    ]);
    options
}

#[test]
fn a_reset_goes_through_the_firmware_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(&dir, "guest-reset guest-reset guest-shutdown");
    options.forwards = vec![Forward::tcp(25), Forward::tcp(993)];
    let running = Emulator::start(options).unwrap();
    let (smtp, imap) = (
        running.tcp_port(25).unwrap(),
        running.tcp_port(993).unwrap(),
    );
    assert_ne!(smtp, imap);
    assert_eq!(running.tcp_port(80), None);
    let switch = running.power_switch();
    assert_eq!(running.wait().unwrap(), Exit::PowerOff);
    switch.cut();
    let console = std::fs::read_to_string(dir.path().join("console")).unwrap();
    for boot in 0..3 {
        assert!(
            console.contains(&format!("console of boot {boot}: kernel of A")),
            "{console}"
        );
    }
}

/// Runs until power-off; partition and trial of each boot.
fn boots(options: Options) -> Vec<(u8, bool)> {
    let running = Emulator::start(options).unwrap();
    let shared = Arc::clone(&running.shared);
    assert_eq!(running.wait().unwrap(), Exit::PowerOff);
    let boots = &lock(&shared).boots;
    boots.iter().map(|b| (b.partition, b.tryboot)).collect()
}

#[test]
fn a_trial_holds_for_one_reset() {
    for machine in [Machine::Virt, Machine::Raspi3b] {
        let dir = tempfile::tempdir().unwrap();
        let script = "tryboot+guest-reset guest-reset tryboot+guest-shutdown";
        let mut options = options(&dir, script);
        options.machine = machine;
        testing::slot_b(&options.image);
        let expected = [(2, false), (3, true), (2, false)];
        assert_eq!(boots(options), expected, "{machine}");
    }
}

#[test]
fn a_power_cut_loses_the_request_for_a_trial() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(&dir, "guest-reset guest-shutdown");
    testing::slot_b(&options.image);
    // The guest had asked with its last breath.
    std::fs::create_dir_all(&options.workdir).unwrap();
    std::fs::write(options.workdir.join(trial::FILE), "tryboot\n").unwrap();
    assert_eq!(boots(options), [(2, false), (2, false)]);
}

#[test]
fn a_trial_that_cannot_be_started_falls_back() {
    let dir = tempfile::tempdir().unwrap();
    // Slot B is empty.
    let options = options(&dir, "tryboot+guest-reset guest-shutdown");
    assert_eq!(boots(options), [(2, false), (2, false)]);
    let console = std::fs::read_to_string(dir.path().join("console")).unwrap();
    assert!(
        console.contains("firmware: the trial cannot be started: "),
        "{console}"
    );
}

#[test]
fn a_reset_can_be_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(&dir, "guest-reset");
    options.restart = false;
    let running = Emulator::start(options).unwrap();
    assert_eq!(
        running.boots(),
        [Boot {
            partition: 2,
            tryboot: false
        }]
    );
    assert_eq!(running.wait().unwrap(), Exit::Reset);
}

#[test]
fn the_power_can_be_cut() {
    let dir = tempfile::tempdir().unwrap();
    let running = Emulator::start(options(&dir, "hang")).unwrap();
    let running = match running.wait_for(Duration::from_millis(1)).unwrap() {
        Waited::StillRunning(running) => running,
        Waited::Ended(exit) => panic!("{exit:?}"),
    };
    running.kill();
    assert_eq!(running.wait().unwrap(), Exit::Killed);
}

#[test]
fn dropping_the_handle_leaves_nothing_running() {
    let dir = tempfile::tempdir().unwrap();
    let running = Emulator::start(options(&dir, "hang")).unwrap();
    let qemu = lock(&running.shared).qemu.unwrap();
    drop(running);
    assert!(rustix::process::test_kill_process(qemu).is_err());
}

#[test]
fn the_second_boot_fails_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(&dir, "guest-reset crash");
    let running = Emulator::start(options).unwrap();
    let error = running.wait().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("QEMU failed (signal: 6 (SIGABRT)"),
        "{error}"
    );
}

#[test]
fn what_hinders_the_start_is_said_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let start = |program: &[&str], script: &str| {
        let mut options = options(&dir, script);
        options.qemu.0 = program.iter().map(Into::into).collect();
        Emulator::start(options).unwrap_err()
    };
    let error = start(&["no-such-qemu"], "");
    assert_eq!(error.to_string(), "cannot start no-such-qemu");
    assert_eq!(
        error.hint().unwrap(),
        "install QEMU for ARM (Debian: qemu-system-arm)"
    );
    let error = start(&["sh", "-c", "echo 'a reason' >&2; exit 1"], "");
    assert_eq!(error.to_string(), "QEMU failed (exit status: 1): a reason");
}

#[test]
fn a_disk_serves_one_machine_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(&dir, "hang hang");
    let first = Emulator::start(options.clone()).unwrap();
    let error = Emulator::start(options.clone()).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("disk.img is in use by another machine")
    );
    assert_eq!(
        error.hint().unwrap(),
        "stop it, or run from a copy of the image"
    );
    first.kill();
    assert_eq!(first.wait().unwrap(), Exit::Killed);
    Emulator::start(options).unwrap();
}

#[test]
fn options_that_a_machine_cannot_have_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(Machine::Raspi3b, dir.path().join("card"), "w");
    std::fs::File::create(&options.image)
        .unwrap()
        .set_len(3 << 20)
        .unwrap();
    let error = Emulator::start(options.clone()).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("has 3145728 bytes; raspi3b needs a power of two")
    );
    assert!(
        error
            .hint()
            .unwrap()
            .starts_with("run from a copy of 4 MiB")
    );
    std::fs::File::create(&options.image)
        .unwrap()
        .set_len(2 << 20)
        .unwrap();
    options.control_socket = Some("c".into());
    let error = Emulator::start(options.clone()).unwrap_err();
    assert_eq!(error.to_string(), "raspi3b has no control port");
    options.control_socket = None;
    options.workdir = "w".repeat(200).into();
    let error = Emulator::start(options).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("is too long for a socket: 204 bytes of at most 107")
    );
}

#[test]
fn ports_are_chosen_once_each() {
    let udp = Forward {
        protocol: Protocol::Udp,
        ..Forward::tcp(53)
    };
    let fixed = Forward {
        host_port: 1,
        ..Forward::tcp(1)
    };
    let ports = choose_ports(&[Forward::tcp(25), Forward::tcp(25), udp, fixed]).unwrap();
    let chosen = &ports.forwards;
    assert!(chosen.iter().all(|f| f.host_port != 0));
    assert_ne!(chosen[0].host_port, chosen[1].host_port);
    assert_eq!(chosen[3], fixed);
}

#[test]
fn a_chosen_port_stays_ours_while_nobody_listens() {
    let ports = choose_ports(&[Forward::tcp(25)]).unwrap();
    let address = (Ipv4Addr::LOCALHOST, ports.forwards[0].host_port);
    // QEMU, in two boots of one machine.
    for _ in 0..2 {
        let qemu = TcpListener::bind(address).unwrap();
        TcpStream::connect(address).unwrap();
        drop(qemu);
        assert!(TcpStream::connect(address).is_err());
    }
    // Another program, whose socket shares with nobody.
    let other = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let address = SocketAddrV4::new(address.0, address.1);
    assert!(bind(&other, &address).is_err());
    drop(ports);
    bind(&other, &address).unwrap();
}

#[test]
fn only_the_last_words_are_kept() {
    let text = "x".repeat(5000) + "the end\n";
    let kept = last_words(text.as_bytes());
    assert!(kept.len() <= KEPT_OUTPUT && kept.ends_with("the end"));
}
