use super::*;

const LIST: List = List {
    name: "The list",
    zone: "list.example",
    policy: &[Ipv4Addr::new(127, 0, 0, 10), Ipv4Addr::new(127, 0, 0, 11)],
    removal: "https://list.example/",
};

/// Last three octets of codes in 127.0.0.0/8.
fn told(codes: &[[u8; 3]]) -> Told {
    Ok(codes
        .iter()
        .map(|&[b, c, d]| Ipv4Addr::new(127, b, c, d))
        .collect())
}

fn address(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

#[test]
fn what_a_list_says_and_what_that_means() {
    let late = || Err("no answer came in time".to_owned());
    let (yes, no) = (|| told(&[[0, 0, 2]]), || told(&[]));
    let elsewhere = || Ok(vec![address("203.0.113.80")]);
    let refuses = || told(&[[255, 255, 254]]);
    let mut table = String::new();
    for (what, about, always, never) in [
        ("nothing is there", no(), yes(), no()),
        ("listed", yes(), yes(), no()),
        (
            "for two reasons",
            told(&[[0, 0, 2], [0, 0, 4]]),
            yes(),
            no(),
        ),
        (
            "any code within the network",
            told(&[[9, 8, 7]]),
            yes(),
            no(),
        ),
        ("a range of end users", told(&[[0, 0, 11]]), yes(), no()),
        (
            "both codes of such ranges",
            told(&[[0, 0, 10], [0, 0, 11]]),
            yes(),
            no(),
        ),
        (
            "such a range, and more",
            told(&[[0, 0, 4], [0, 0, 11]]),
            yes(),
            no(),
        ),
        ("refuses", refuses(), refuses(), refuses()),
        ("asked too much", told(&[[255, 255, 255]]), yes(), no()),
        (
            "a reason and a refusal",
            told(&[[0, 0, 2], [255, 255, 255]]),
            yes(),
            no(),
        ),
        ("refuses only its test entry", no(), refuses(), no()),
        ("a parked domain", elsewhere(), elsewhere(), elsewhere()),
        (
            "a reason and an address elsewhere",
            Ok(vec![address("127.0.0.2"), address("203.0.113.80")]),
            yes(),
            no(),
        ),
        ("no answer", late(), yes(), no()),
        ("given up, says no to everything", no(), no(), no()),
        ("given up, says yes to everything", yes(), yes(), yes()),
        ("no answer about what it must have", yes(), late(), no()),
        (
            "no answer about what it must not have",
            yes(),
            yes(),
            late(),
        ),
    ] {
        let entry = decide(LIST, about, &always, &never);
        table += &format!(
            "{what}: {:?} {:?}\n    {}\n",
            entry.state, entry.codes, entry.why
        );
        assert_eq!(entry.state == ListState::Listed, !entry.codes.is_empty());
    }
    insta::assert_snapshot!(table);
}

#[test]
fn an_address_stands_in_a_list_in_reverse() {
    let place = place(address("192.0.2.99"), "bad.example.com");
    // The example of RFC 5782 §2.1.
    assert_eq!(place, "99.2.0.192.bad.example.com");
}

#[test]
fn only_public_addresses_are_asked_about() {
    for (text, what) in [
        ("0.0.0.0", Err("no address of a machine")),
        ("9.255.255.255", Ok(())),
        ("10.0.0.0", Err("a private address")),
        ("10.255.255.255", Err("a private address")),
        ("11.0.0.0", Ok(())),
        ("100.63.255.255", Ok(())),
        ("100.64.0.0", Err("an address within a provider's network")),
        (
            "100.127.255.255",
            Err("an address within a provider's network"),
        ),
        ("100.128.0.0", Ok(())),
        ("127.0.0.2", Err("every machine's own address")),
        ("169.254.169.254", Err("a link-local address")),
        ("172.15.255.255", Ok(())),
        ("172.31.255.255", Err("a private address")),
        ("172.32.0.0", Ok(())),
        ("192.0.0.255", Err("kept for protocols themselves")),
        ("192.0.2.1", Ok(())),
        ("192.168.1.1", Err("a private address")),
        ("198.17.255.255", Ok(())),
        ("198.19.255.255", Err("kept for measurements")),
        ("198.51.100.1", Ok(())),
        ("203.0.113.1", Ok(())),
        ("223.255.255.255", Ok(())),
        ("224.0.0.1", Err("a group of machines")),
        ("239.255.255.255", Err("a group of machines")),
        ("240.0.0.1", Err("kept for later")),
        ("255.255.255.255", Err("kept for later")),
    ] {
        let is = PublicAddress::new(address(text)).map(|_| ());
        assert_eq!(is, what, "{text}");
    }
}

#[test]
fn the_lists_of_the_box_are_names_that_can_be_asked() {
    let lists = crate::outside::Outside::STANDARD.lists;
    for list in lists {
        assert!(list.removal.starts_with("https://"), "{}", list.zone);
        let longest = place(Ipv4Addr::BROADCAST, list.zone);
        assert!(longest.parse::<domain::base::Name<Vec<u8>>>().is_ok());
        assert_eq!(lists.iter().filter(|l| l.zone == list.zone).count(), 1);
    }
}
