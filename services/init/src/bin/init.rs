//! init: PID 1 of the box, and short helpers of its own that may block.

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let status = match args.first().map(String::as_str) {
        Some("--data") => roost_init::data::main(),
        Some("--disk-holds") => roost_init::disks::holds_main(),
        Some("--disks") => roost_init::disks::list_main(),
        Some("--keep") => roost_init::keep::main(args.get(1).map(String::as_str)),
        Some("--lend-disk") => roost_init::disks::lend_main(),
        Some("--recall") => roost_init::spill::recall_main(),
        Some("--spill") => roost_init::spill::main(),
        Some("--take-disk-back") => roost_init::disks::take_back_main(),
        Some("--wish") => roost_init::wish::main(),
        Some("--sntp") => roost_init::sntp::main(&args[1..]),
        _ if std::process::id() == 1 => roost_init::pid1::main(),
        _ => {
            eprintln!("init: this is PID 1 of a Roost box; there is nothing to run by hand");
            2
        }
    };
    std::process::exit(status);
}
