use super::*;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Longer than loopback takes on a machine that is busy; waited for in full.
const SHORT: Duration = Duration::from_secs(2);
/// Longer than anything on loopback takes.
const LONG: Duration = Duration::from_secs(30);

#[test]
fn what_happens_at_the_port_and_what_that_means() {
    let mut table = String::new();
    for reply in [
        "220 mx.example.org ESMTP ready\r\n",
        "220\r\n",
        "220",
        "220-mx.example.org ESMTP\r\n220-No spam\r\n220 ready\r\n",
        "220 \u{1b}[2Jmx\u{7}\tcaf\u{e9}\r\n",
        "554 no mail from you\r\n",
        "421-busy\r\n421 later\r\n",
        "22",
        "2200 mx\r\n",
        "220mx\r\n",
        "250 mx\r\n",
        "HTTP/1.1 400 Bad Request\r\n",
        "SSH-2.0-OpenSSH_10.0\r\n",
        "\r\n",
        "5",
    ] {
        let (state, why) = greeting(reply.as_bytes()).told("mx.example.org");
        table += &format!("{reply:?}: {state:?}. {why}\n");
    }
    for outcome in [
        Outcome::Silent,
        Outcome::HungUp,
        Outcome::Unreachable(io::ErrorKind::TimedOut),
        Outcome::Unreachable(io::ErrorKind::ConnectionRefused),
        Outcome::Unreachable(io::ErrorKind::NetworkUnreachable),
        Outcome::Unreachable(io::ErrorKind::PermissionDenied),
    ] {
        let (state, why) = outcome.told("mx.example.org");
        table += &format!("{outcome:?}: {state:?}. {why}\n");
    }
    let long = format!("220 {}", "x".repeat(400));
    let Outcome::Greeted(words) = greeting(long.as_bytes()) else {
        panic!("a greeting")
    };
    assert_eq!(words.len(), SHOWN);
    insta::assert_snapshot!(table);
}

#[test]
fn all_receivers_together() {
    use PortState::{Closed, Open, Unknown};
    let tried = |state| Tried {
        domain: "example.org",
        host: None,
        address: None,
        state,
        why: String::new(),
    };
    for (states, sum) in [
        ([Open, Open, Open], Open),
        ([Closed, Unknown, Open], Open),
        ([Closed, Closed, Closed], Closed),
        ([Unknown, Closed, Unknown], Closed),
        ([Unknown, Unknown, Unknown], Unknown),
    ] {
        assert_eq!(sum_up(&states.map(tried)).0, sum, "{states:?}");
    }
    assert_eq!(sum_up(&[]).0, Unknown);
}

/// One connection to a server that says these pieces, each some time after the one before, and then
/// tells what it heard before and after the last of them.
async fn server(pieces: &'static [&'static str]) -> (u16, JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for piece in pieces {
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.write_all(piece.as_bytes()).await.unwrap();
        }
        let (mut early, mut late) = ([0; 100], String::new());
        let early_length = stream.try_read(&mut early).unwrap_or(0);
        let mut byte = [0];
        while !late.ends_with('\n') && stream.read(&mut byte).await.unwrap_or(0) == 1 {
            late.push(char::from(byte[0]));
        }
        let _ = stream.write_all(b"221 bye\r\n").await;
        let early = String::from_utf8_lossy(&early[..early_length]).into_owned();
        (early, late)
    });
    (port, heard)
}

async fn reach_within(port: u16, patience: Duration) -> Outcome {
    reach(Ipv4Addr::LOCALHOST, port, Instant::now() + patience).await
}

#[tokio::test]
async fn a_greeting_is_awaited_to_its_end_and_then_nothing_is_sent_but_quit() {
    for pieces in [
        &["220 mx ready\r\n"][..],
        &["22", "0 mx ", "ready\r\n"],
        &["220-mx\r\n", "220-hello\r\n", "220 ready\r\n"],
    ] {
        let (port, heard) = server(pieces).await;
        let outcome = reach_within(port, LONG).await;
        assert!(matches!(outcome, Outcome::Greeted(_)), "{outcome:?}");
        let (early, late) = heard.await.unwrap();
        // What came right behind the last piece may have been read with the first look.
        assert_eq!(early + &late, "QUIT\r\n");
    }
}

#[tokio::test]
async fn nothing_is_said_before_the_end_of_a_greeting() {
    let (port, heard) = server(&["220-mx\r\n220-wait"]).await;
    let outcome = reach_within(port, SHORT).await;
    assert_eq!(outcome, Outcome::Greeted("220-mx".into()));
    assert_eq!(heard.await.unwrap(), (String::new(), String::new()));
}

#[tokio::test]
async fn who_refuses_is_told_goodbye_and_who_is_strange_is_not() {
    let (port, heard) = server(&["554 no\r\n"]).await;
    let outcome = reach_within(port, LONG).await;
    assert_eq!(outcome, Outcome::Refused("554 no".into()));
    let (early, late) = heard.await.unwrap();
    assert_eq!(early + &late, "QUIT\r\n");
    // The hyphen does not say that more will come.
    let (port, heard) = server(&["SSH-2.0-x\r\n"]).await;
    let began = Instant::now();
    assert_eq!(reach_within(port, LONG).await, Outcome::Strange);
    assert!(began.elapsed() < LONG / 2);
    assert_eq!(heard.await.unwrap(), (String::new(), String::new()));
}

#[tokio::test]
async fn without_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        while stream.write_all(b"220-more\r\n").await.is_ok() {}
    });
    let outcome = reach_within(port, LONG).await;
    assert_eq!(outcome, Outcome::Greeted("220-more".into()));
}

#[tokio::test]
async fn no_greeting() {
    let (port, silent) = server(&[]).await;
    let outcome = reach_within(port, SHORT).await;
    assert_eq!(outcome, Outcome::Silent);
    silent.await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hangs_up = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        drop(stream);
    });
    assert_eq!(reach_within(port, LONG).await, Outcome::HungUp);
    hangs_up.await.unwrap();
    // Nobody listens there any more.
    let refused = Outcome::Unreachable(io::ErrorKind::ConnectionRefused);
    assert_eq!(reach_within(port, LONG).await, refused);
}
