//! What the home network and the kernel's routing socket say, in any order:
//! DHCP answers, messages about links and addresses, and time that passes.
//! Never a panic; after each step the next deadline lies ahead, so that PID 1
//! never turns in a circle; what is kept is bounded; the kernel gets whole
//! messages, and the resolver's file nothing but its own lines.
//!
//! The first byte chooses the settings. Then follow steps: what, how many
//! bytes, and these bytes. Answers get the id and the Ethernet address of the
//! last question, without which they are ignored.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_init::netlink::{self, Event, Link};
use roost_init::network::{Action, Network};
use roost_service::settings::Network as Settings;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Bytes before the options of a DHCP message, with the cookie.
const FIXED: usize = 240;

struct Home {
    network: Network,
    now: Duration,
    /// Id and Ethernet address of the last DHCP question.
    asked: Option<([u8; 4], [u8; 6])>,
}

impl Home {
    fn link(&mut self, carrier: bool) {
        let link = Link {
            index: 2,
            name: "eth0".into(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            up: true,
            carrier,
        };
        let now = self.now;
        let actions = self.network.handle(now, Event::Link(link), |_| true);
        self.check(actions);
    }

    /// An answer: the kind, four bytes of address, then options.
    fn dhcp(&mut self, bytes: &[u8]) {
        let (Some((id, mac)), Some((head, options))) = (self.asked, bytes.split_first_chunk::<5>())
        else {
            let actions = self.network.receive(self.now, bytes);
            return self.check(actions);
        };
        let [kind, address @ ..] = head;
        let mut answer = vec![0; FIXED];
        answer[0] = 2;
        answer[4..8].copy_from_slice(&id);
        answer[16..20].copy_from_slice(address);
        answer[28..34].copy_from_slice(&mac);
        answer[236..].copy_from_slice(&[99, 130, 83, 99]);
        answer.extend([53, 1, *kind]);
        answer.extend(options);
        let actions = self.network.receive(self.now, &answer);
        self.check(actions);
    }

    fn check(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Netlink(message) => {
                    let length = message.first_chunk().expect("it has a header");
                    assert_eq!(u32::from_ne_bytes(*length) as usize, message.len());
                }
                Action::Dhcp(_, message) => {
                    let id = message[4..8].try_into().expect("four bytes");
                    let mac = message[28..34].try_into().expect("six bytes");
                    self.asked = Some((id, mac));
                    assert!(message.len() <= 576, "what every relay passes on");
                }
                Action::Resolvers(text) => {
                    let words = ["nameserver ", "search ", "options "];
                    let known = |line: &str| words.iter().any(|word| line.starts_with(word));
                    assert!(text.ends_with('\n') && text.lines().all(known));
                    assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
                    assert!(text.len() < 1024);
                }
                _ => {}
            }
        }
        assert!(self.network.addresses().len() <= 16);
        // As PID 1 does it: what is due is done before it waits again.
        if self.network.deadline().is_some_and(|due| due <= self.now) {
            let actions = self.network.tick(self.now);
            self.check_due();
            self.check(actions);
        }
    }

    fn check_due(&self) {
        assert!(self.network.deadline().is_none_or(|due| due > self.now));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, mut rest)) = bytes.split_first() else {
        return;
    };
    let settings = match kind & 1 {
        0 => Settings::Dhcp,
        _ => Settings::Static {
            address: Ipv4Addr::new(192, 168, 1, 5),
            prefix: kind >> 1,
            gateway: Ipv4Addr::new(192, 168, 1, 1),
            dns: vec![IpAddr::V4(Ipv4Addr::new(192, 168, 1, 1))],
            address6: (kind & 2 != 0).then_some((Ipv6Addr::LOCALHOST, kind)),
        },
    };
    let mut home = Home {
        network: Network::new(7),
        now: Duration::from_secs(5),
        asked: None,
    };
    let actions = home.network.start();
    home.check(actions);
    // The settings may be known before the interface is, or after.
    if kind & 4 != 0 {
        home.link(true);
    }
    let now = home.now;
    let actions = home.network.configure(now, settings, "roost");
    home.check(actions);
    home.link(true);
    while let Some(([what, count], more)) = rest.split_first_chunk() {
        let (bytes, more) = more.split_at(more.len().min(usize::from(*count)));
        rest = more;
        match what % 6 {
            0 => home.now += Duration::from_secs(1 << (count % 24)),
            1 => home.link(count & 1 != 0),
            2 => {
                for event in netlink::read(bytes) {
                    let now = home.now;
                    let actions = home
                        .network
                        .handle(now, event, |name| name.starts_with('e'));
                    home.check(actions);
                }
            }
            3 => {
                let actions = home.network.receive(home.now, bytes);
                home.check(actions);
            }
            _ => home.dhcp(bytes),
        }
        home.check(Vec::new());
    }
});
