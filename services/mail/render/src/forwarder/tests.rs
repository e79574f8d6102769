use super::*;
use tempfile::TempDir;
use tokio::sync::oneshot;

const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const REFUSED: u8 = 5;
/// QR, RD; what a question and an answer have beside their code.
const ANSWER: u8 = 0x80;
const TRUNCATED: u8 = 0x02;
/// AD, beside the response code (RFC 4035 §3.2.3).
const AUTHENTIC: u8 = 0x20;
/// An OPT record of 1232 bytes with DO (RFC 6891, RFC 4035 §3.2.1).
const OPT_DO: &[u8] = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0";

fn question(id: u16, name: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend(b"\x01\0\0\x01\0\0\0\0\0\x01");
    message.push(u8::try_from(name.len()).unwrap());
    message.extend(name.as_bytes());
    message.extend(b"\0\0\x01\0\x01");
    message.extend(OPT_DO);
    message
}

/// The question with these two bytes of flags, and something after it.
fn answer(question: &[u8], flags: u8, code: u8) -> Vec<u8> {
    let mut message = question.to_vec();
    message[2] |= ANSWER | flags;
    message[3] |= code;
    message.extend(b"records");
    message
}

/// A name server on a loopback address, over UDP and TCP.
struct Upstream {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Upstream {
    /// At a free port, if `port` is 0.
    async fn bind(address: &str, port: u16) -> Self {
        loop {
            let udp = UdpSocket::bind((address, port)).await.unwrap();
            let taken = udp.local_addr().unwrap();
            match TcpListener::bind(taken).await {
                Ok(tcp) => return Upstream { udp, tcp },
                // Somebody else has it over TCP.
                Err(_) if port == 0 => {}
                Err(error) => panic!("{taken}: {error}"),
            }
        }
    }

    fn port(&self) -> u16 {
        self.udp.local_addr().unwrap().port()
    }

    async fn asked(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; UDP_BYTES];
        let (length, from) = self.udp.recv_from(&mut buffer).await.unwrap();
        buffer.truncate(length);
        (buffer, from)
    }

    async fn answer(&self, to: SocketAddr, message: &[u8]) {
        self.udp.send_to(message, to).await.unwrap();
    }
}

fn name_servers(folder: &TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("resolv.conf");
    std::fs::write(&path, text).unwrap();
    path
}

async fn ask(stream: &mut TcpStream, question: &[u8]) -> io::Result<Vec<u8>> {
    write_framed(stream, question).await?;
    read_framed(stream).await
}

#[tokio::test]
async fn a_question_and_its_answer_are_handed_on_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::bind("127.0.0.1", 0).await;
    let path = name_servers(&folder, "nameserver 127.0.0.1\n");
    let forwarder = spawn(path, upstream.port()).await.unwrap();
    let mut stream = TcpStream::connect(forwarder.address).await.unwrap();

    let asked = question(1, "signed");
    write_framed(&mut stream, &asked).await.unwrap();
    let (arrived, from) = upstream.asked().await;
    assert_eq!(arrived, asked);
    let secure = answer(&asked, 0, NOERROR | AUTHENTIC);
    upstream.answer(from, &secure).await;
    assert_eq!(read_framed(&mut stream).await.unwrap(), secure);

    // Too large for UDP: asked again over TCP, and the cut answer is not handed on.
    let asked = question(2, "large");
    write_framed(&mut stream, &asked).await.unwrap();
    let (_, from) = upstream.asked().await;
    let cut = answer(&asked, TRUNCATED, NOERROR);
    upstream.answer(from, &cut).await;
    let (mut tcp, _) = upstream.tcp.accept().await.unwrap();
    assert_eq!(read_framed(&mut tcp).await.unwrap(), asked);
    let mut large = answer(&asked, 0, NOERROR | AUTHENTIC);
    large.extend(vec![7; 60_000]);
    write_framed(&mut tcp, &large).await.unwrap();
    assert_eq!(read_framed(&mut stream).await.unwrap(), large);
}

#[tokio::test]
async fn a_failure_ends_the_connection_once_no_other_question_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::bind("127.0.0.1", 0).await;
    let path = name_servers(&folder, "nameserver 127.0.0.1\n");
    let forwarder = spawn(path, upstream.port()).await.unwrap();
    let mut stream = TcpStream::connect(forwarder.address).await.unwrap();

    let [slow, forged, last] =
        [(1, "slow"), (2, "forged"), (3, "last")].map(|(id, name)| question(id, name));
    write_framed(&mut stream, &slow).await.unwrap();
    let (_, slow_from) = upstream.asked().await;
    write_framed(&mut stream, &forged).await.unwrap();
    let (_, from) = upstream.asked().await;
    upstream.answer(from, &answer(&forged, 0, SERVFAIL)).await;
    // A third is still asked and answered.
    write_framed(&mut stream, &last).await.unwrap();
    let (_, from) = upstream.asked().await;
    let last = answer(&last, 0, NOERROR);
    upstream.answer(from, &last).await;
    assert_eq!(read_framed(&mut stream).await.unwrap(), last);
    let slow = answer(&slow, 0, NOERROR);
    upstream.answer(slow_from, &slow).await;
    assert_eq!(read_framed(&mut stream).await.unwrap(), slow);

    let end = read_framed(&mut stream).await.unwrap_err();
    assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);

    // Only that question failed: the server is asked the next one.
    let mut stream = TcpStream::connect(forwarder.address).await.unwrap();
    let asked = question(4, "next");
    write_framed(&mut stream, &asked).await.unwrap();
    let (_, from) = upstream.asked().await;
    let next = answer(&asked, 0, NOERROR);
    upstream.answer(from, &next).await;
    assert_eq!(read_framed(&mut stream).await.unwrap(), next);
}

#[tokio::test]
async fn another_server_is_asked_when_one_refuses_but_not_when_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let first = Upstream::bind("127.0.0.1", 0).await;
    let second = Upstream::bind("127.0.0.2", first.port()).await;
    let path = name_servers(&folder, "nameserver 127.0.0.1\nnameserver 127.0.0.2\n");
    let forwarder = spawn(path, first.port()).await.unwrap();

    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        for code in [REFUSED, SERVFAIL] {
            let (asked, from) = first.asked().await;
            first.answer(from, &answer(&asked, 0, code)).await;
        }
        let (asked, from) = first.asked().await;
        tell.send(()).unwrap();
        first.answer(from, &answer(&asked, 0, NOERROR)).await;
    });
    let mut stream = TcpStream::connect(forwarder.address).await.unwrap();
    let asked = question(1, "refused");
    let good = answer(&asked, 0, NOERROR);
    let (got, ()) = tokio::join!(ask(&mut stream, &asked), async {
        let (_, from) = second.asked().await;
        second.answer(from, &good).await;
    });
    assert_eq!(got.unwrap(), good);

    assert!(ask(&mut stream, &question(2, "failed")).await.is_err());
    let mut stream = TcpStream::connect(forwarder.address).await.unwrap();
    assert!(ask(&mut stream, &question(3, "fine")).await.is_ok());
    told.await.unwrap();
    let mut buffer = [0; 1];
    let unasked = second.udp.try_recv(&mut buffer).unwrap_err();
    assert_eq!(unasked.kind(), io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn without_a_server_the_connection_ends_until_the_file_names_one() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::bind("127.0.0.1", 0).await;
    let path = folder.path().join("resolv.conf");
    let forwarder = spawn(path, upstream.port()).await.unwrap();
    let mut stream = TcpStream::connect(forwarder.address).await.unwrap();
    assert!(ask(&mut stream, &question(1, "early")).await.is_err());

    name_servers(&folder, "nameserver 127.0.0.1\n");
    let mut stream = TcpStream::connect(forwarder.address).await.unwrap();
    let asked = question(2, "late");
    let good = answer(&asked, 0, NOERROR);
    let (got, ()) = tokio::join!(ask(&mut stream, &asked), async {
        let (_, from) = upstream.asked().await;
        upstream.answer(from, &good).await;
    });
    assert_eq!(got.unwrap(), good);
}

#[tokio::test]
async fn after_nobody_was_there_questions_fail_unasked_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let path = name_servers(&folder, "nameserver 127.0.0.1\n");
    // Closed again.
    let port = Upstream::bind("127.0.0.1", 0).await.port();
    let forwarder = spawn(path, port).await.unwrap();
    let mut stream = TcpStream::connect(forwarder.address).await.unwrap();
    assert!(ask(&mut stream, &question(1, "nobody")).await.is_err());

    let upstream = Upstream::bind("127.0.0.1", port).await;
    let mut stream = TcpStream::connect(forwarder.address).await.unwrap();
    assert!(ask(&mut stream, &question(2, "rests")).await.is_err());
    let mut buffer = [0; 1];
    assert!(upstream.udp.try_recv(&mut buffer).is_err());
}

#[tokio::test]
async fn the_self_test_is_noticed_whatever_its_case() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resolv.conf");
    let forwarder = spawn(path, PORT).await.unwrap();
    assert!(!forwarder.was_probed());
    let mut asked = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    asked.extend(b"\x09Self-TEST\x05roost\x08internal\x00\0\x0f\0\x01");
    let mut stream = TcpStream::connect(forwarder.address).await.unwrap();
    assert!(ask(&mut stream, &asked).await.is_err());
    assert!(forwarder.was_probed());
}

/// A question for TXT of what the rules of delivery ask.
fn pinned_question(id: u16, server: &str) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend(b"\x01\0\0\x01\0\0\0\0\0\x01");
    for label in [server, "dane", "roost", "internal"] {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.as_bytes());
    }
    message.extend(b"\0\0\x10\0\x01");
    message.extend(OPT_DO);
    message
}

#[tokio::test]
async fn keys_are_pinned_by_the_word_of_the_boxs_own_resolver() {
    const TLSA: &[u8] = b"\0\x34\0\x01";
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::bind("127.0.0.1", 0).await;
    let path = name_servers(&folder, "nameserver 127.0.0.1\n");
    let forwarder = spawn(path, upstream.port()).await.unwrap();
    let (tell, mut told) = mpsc::channel(1);
    forwarder.tell_pins(move |server, pins| tell.try_send((server, pins)).unwrap());
    tokio::spawn(async move {
        loop {
            let (asked, from) = upstream.asked().await;
            let name = String::from_utf8_lossy(&asked).into_owned();
            let for_keys = asked.ends_with(TLSA);
            let code = match () {
                () if name.contains("unsigned") => {
                    assert!(!for_keys, "a zone without signatures is asked for TLSA");
                    NOERROR
                }
                () if name.contains("forged") && for_keys => SERVFAIL,
                () if name.contains("lost") => SERVFAIL,
                () => NOERROR | AUTHENTIC,
            };
            let mut said = asked.clone();
            said[2] |= ANSWER;
            said[3] = code;
            if for_keys && name.contains("pinned") {
                said[7] = 1;
                said.extend(b"\xc0\x0c\0\x34\0\x01\0\0\0\x05\0\x23\x03\x01\x01");
                said.extend([7; 32]);
            }
            upstream.answer(from, &said).await;
        }
    });
    let mut stream = TcpStream::connect(forwarder.address).await.unwrap();
    for (server, expected) in [
        ("unsigned", dane::NONE),
        ("without", dane::NONE),
        ("forged", dane::UNKNOWN),
        ("lost", dane::UNKNOWN),
        ("pinned", dane::PINNED),
    ] {
        let said = ask(&mut stream, &pinned_question(7, server)).await.unwrap();
        assert!(said.ends_with(expected.as_bytes()), "{server}: {said:?}");
        assert_eq!(told.try_recv().is_ok(), expected == dane::PINNED);
    }

    // The library is never told: it would check them against another root.
    let mut asked = pinned_question(8, "pinned");
    let kind = asked.len() - OPT_DO.len() - 3;
    asked[kind] = 52;
    assert!(ask(&mut stream, &asked).await.is_err());
}

#[tokio::test]
async fn the_word_of_a_resolver_elsewhere_pins_nothing() {
    let shared = Shared {
        path: PathBuf::new(),
        port: PORT,
        servers: Mutex::default(),
        probed: AtomicBool::new(false),
        told: OnceLock::new(),
    };
    shared.lock().addresses = vec!["192.0.2.53".parse().unwrap()];
    assert!(!shared.is_own());
    shared.lock().addresses = vec!["127.0.0.53".parse().unwrap()];
    assert!(shared.is_own());
}
