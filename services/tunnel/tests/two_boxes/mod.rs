//! Two cards with the same keys at one relay, which remembers who may serve.

use crate::world::{
    BACK, BOX4, Call, HOME4, RELAY4, Second, WORLD4, World, call, inside, out, run, until, within,
};
use roost_service::tunnel::{Answer, Call as Asks, GENERATION, Generation, Guard, State, Status};
use std::fs;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

/// Longest until a box has noticed that it is not the holder: two turns in which nothing of its is heard, and a
/// question.
const NOTICED: Duration = Duration::from_secs(60);
/// Longest until the one after it serves.
const SERVES: Duration = Duration::from_secs(90);

fn generation(world: &World) -> Generation {
    let text = fs::read(world.folder.join("data").join(GENERATION)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Mail from the second home to the rest of the world: from which address it is seen to come.
fn out_of_second() -> io::Result<IpAddr> {
    let to = Call {
        from: "home2",
        bind: None,
        to: "relay",
        address: WORLD4,
        port: 25,
    };
    call(&to, 1000)
}

/// The relay answers a box as soon as that notices that the other was heard in its place.
fn serves(out: impl Fn() -> io::Result<IpAddr>) {
    let seen = until("mail leaves", 2 * BACK, || out().ok());
    assert_eq!(seen.to_string(), BOX4);
}

/// Looks at both until `done`; never do both serve.
fn watch(
    world: &mut World,
    second: &Second,
    limit: Duration,
    done: impl Fn(&Status, &Status) -> bool,
) {
    let began = Instant::now();
    loop {
        let both = (world.status(), second.status());
        if let (Some(first), Some(second)) = &both {
            let up = [first, second].map(|status| status.state == State::Up);
            assert_ne!(up, [true; 2], "both serve");
            if done(first, second) {
                return;
            }
        }
        assert!(began.elapsed() < limit, "not within {limit:?}: {both:?}");
        sleep(Duration::from_millis(100));
    }
}

fn is_down(status: &Status) -> bool {
    matches!(status.guard, Some(Guard::Replaced(_))) && status.state == State::Replaced
}

#[test]
fn the_old_card_stands_down_for_good_and_the_new_one_serves() {
    if !inside("two_boxes::the_old_card_stands_down_for_good_and_the_new_one_serves") {
        return;
    }
    let mut world = World::new("twins");
    world.remember();
    world.connect();
    assert_eq!(world.status().unwrap().guard, Some(Guard::Held));
    let old = generation(&world);
    assert!(old.number == 1 && old.relay.is_some(), "{old:?}");
    // A restart makes no other box of it, and waits for nobody.
    world.stop("TERM");
    world.connect();
    assert_eq!(world.status().unwrap().guard, Some(Guard::Held));

    let made = 1_777_777_777;
    let mut second = world.second(&Generation::restored(Some(&old), [7; 16], made));
    world.start_second(&mut second);
    let began = Instant::now();
    // The old one is busy, and the relay answers whoever spoke last.
    let busy = AtomicBool::new(true);
    scope(|scope| {
        scope.spawn(|| {
            within("home", || {
                let socket = UdpSocket::bind((BOX4, 0)).unwrap();
                while busy.load(Ordering::Relaxed) {
                    // It cannot once the box has stood down.
                    let _ = socket.send_to(&[0; 1000], (RELAY4, 9));
                    sleep(Duration::from_millis(5));
                }
            });
        });
        let noticed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            watch(&mut world, &second, NOTICED, |first, _| is_down(first));
        }));
        busy.store(false, Ordering::Relaxed);
        noticed.unwrap();
    });
    println!("noticed after {:?}", began.elapsed());
    let status = world.status().unwrap();
    assert!(
        status.summary.contains("made on 2026-05-03 03:09 UTC"),
        "{}",
        status.summary
    );
    assert!(!world.kernel().contains(BOX4), "{}", world.kernel());
    assert!(out(WORLD4, 25).is_err());
    assert_eq!(out(WORLD4, 26).unwrap().to_string(), HOME4);

    watch(&mut world, &second, SERVES, |_, second| {
        second.state == State::Up
    });
    println!("the new one serves after {:?}", began.elapsed());
    assert_eq!(second.status().unwrap().guard, Some(Guard::Held));
    serves(out_of_second);
    let to_box = Call {
        from: "relay",
        bind: Some(WORLD4),
        to: "home2",
        address: BOX4,
        port: 25,
    };
    assert_eq!(call(&to_box, 1 << 20).unwrap().to_string(), WORLD4);

    // The old one is started again, and nothing comes of it.
    let before = second.status().unwrap().connected;
    world.stop("KILL");
    world.start();
    assert!(is_down(&world.status().unwrap()));
    assert!(out(WORLD4, 25).is_err());
    sleep(Duration::from_secs(5));
    let after = second.status().unwrap();
    assert_eq!((after.state, after.connected), (State::Up, before));
    assert_eq!(out_of_second().unwrap().to_string(), BOX4);
}

#[test]
fn the_owner_may_have_the_old_card_serve_again() {
    if !inside("two_boxes::the_owner_may_have_the_old_card_serve_again") {
        return;
    }
    let mut world = World::new("again");
    world.remember();
    world.connect();
    let no = world.ask(&Asks::TakeOver);
    assert!(matches!(no, Some(Answer::Refused { .. })), "{no:?}");
    let old = generation(&world);
    let mut second = world.second(&Generation::restored(Some(&old), [7; 16], 0));
    world.start_second(&mut second);
    watch(&mut world, &second, NOTICED, |first, _| is_down(first));
    assert_eq!(world.ask(&Asks::TakeOver), Some(Answer::Done));
    // It was started a moment ago by the box's clock, which is later than any number.
    watch(&mut world, &second, SERVES, |first, second| {
        is_down(second) && first.state == State::Up
    });
    assert!(generation(&world).number > 1_700_000_000);
    serves(|| out(WORLD4, 25));
    assert!(out_of_second().is_err());
}

#[test]
fn a_copy_of_a_card_that_is_started_later_serves() {
    if !inside("two_boxes::a_copy_of_a_card_that_is_started_later_serves") {
        return;
    }
    let mut world = World::new("copy");
    world.remember();
    world.connect();
    let mut second = world.second(&generation(&world));
    world.start_second(&mut second);
    until("the first is down", NOTICED, || {
        is_down(&world.status()?).then_some(())
    });
    let said = world.status().unwrap().summary;
    assert!(
        said.starts_with("a copy of this card serves in place of this one"),
        "{said}"
    );
    watch(&mut world, &second, SERVES, |_, second| {
        second.state == State::Up
    });
    serves(out_of_second);
}

#[test]
fn a_box_that_hears_nothing_stops_before_another_could_begin() {
    if !inside("two_boxes::a_box_that_hears_nothing_stops_before_another_could_begin") {
        return;
    }
    let mut world = World::new("deaf");
    world.remember();
    world.connect();
    // The relay is there, and its memory is not.
    run("ip netns exec relay nft add table ip cut");
    run("ip netns exec relay nft add chain ip cut in { type filter hook input priority 0 ; }");
    run("ip netns exec relay nft add rule ip cut in tcp dport 8077 drop");
    let since = Instant::now();
    let limit = Duration::from_secs(75);
    let status = until("it stops", limit, || {
        world.status().filter(|s| s.state == State::Down)
    });
    assert!(
        since.elapsed() > Duration::from_secs(35),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(status.guard, Some(Guard::Asking));
    assert!(
        status.summary.contains("has not said yet"),
        "{}",
        status.summary
    );
    assert!(out(WORLD4, 25).is_err());
    run("ip netns exec relay nft delete table ip cut");
    world.up(Duration::from_secs(15));
    assert_eq!(out(WORLD4, 25).unwrap().to_string(), BOX4);
}
