use super::*;
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{RData, Record};
use proptest::prelude::*;
use tokio::net::TcpListener;

fn question(name: &str) -> Question {
    Question::of(&Name::from_ascii(name).unwrap(), RecordType::TXT)
}

/// What a server makes of a question: a TXT record with its name.
fn reply(bytes: &[u8]) -> Message {
    let mut message = Message::from_vec(bytes).unwrap();
    message.metadata.message_type = MessageType::Response;
    let name = message.queries[0].name().clone();
    let text = RData::TXT(TXT::new(vec![name.to_ascii()]));
    message.add_answer(Record::from_rdata(name, 60, text));
    message
}

fn said(message: &Message) -> String {
    message.answers[0].data.to_string()
}

#[test]
fn only_the_answer_to_the_question_is_taken() {
    let asked = question("a.example.");
    let sent = request(&asked);
    let id = sent.metadata.id;
    let good = reply(&sent.to_vec().unwrap());
    let taken = |message: &Message| answer(&message.to_vec().unwrap(), id, &asked).is_some();
    assert!(taken(&good));
    let wrong: [fn(&mut Message); 6] = [
        |m| m.metadata.id = m.metadata.id.wrapping_add(1),
        |m| m.metadata.message_type = MessageType::Query,
        |m| m.metadata.op_code = OpCode::Notify,
        |m| m.queries.clear(),
        |m| {
            m.queries[0].set_query_type(RecordType::A);
        },
        |m| {
            m.queries[0].set_name(Name::from_ascii("b.example.").unwrap());
        },
    ];
    for change in wrong {
        let mut message = good.clone();
        change(&mut message);
        assert!(!taken(&message), "{message:?}");
    }
    // Some servers give names back in other letters (RFC 4343).
    let mut loud = good;
    loud.queries[0].set_name(Name::from_ascii("A.EXAMPLE.").unwrap());
    assert!(taken(&loud));
}

#[tokio::test]
async fn a_forged_datagram_is_passed_over_and_a_cut_answer_fetched_by_tcp() {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let server = Server::from(udp.local_addr().unwrap());
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
        let mut message = reply(&buffer[..length]);
        message.metadata.id ^= 1;
        udp.send_to(&message.to_vec().unwrap(), from).await.unwrap();
        udp.send_to(b"nonsense", from).await.unwrap();
        message.metadata.id ^= 1;
        message.answers.clear();
        message.metadata.truncation = true;
        udp.send_to(&message.to_vec().unwrap(), from).await.unwrap();
    });
    tokio::spawn(async move {
        let (mut stream, _) = tcp.accept().await.unwrap();
        let mut bytes = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut bytes).await.unwrap();
        let bytes = reply(&bytes).to_vec().unwrap();
        stream.write_u16(bytes.len() as u16).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
    });
    let answer = one(server, &question("a.example.")).await.unwrap();
    assert_eq!(said(&answer), "a.example.");
}

/// Forty questions, answered from the last to the first, the first one never.
#[tokio::test]
async fn answers_come_in_any_order() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::from(listener.local_addr().unwrap());
    let questions: Vec<Question> = (0..40)
        .map(|number| question(&format!("n{number}.example.")))
        .collect();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        for _ in 0..40 {
            let mut bytes = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut bytes).await.unwrap();
            all.push(reply(&bytes).to_vec().unwrap());
        }
        for bytes in all[1..].iter().rev() {
            stream.write_u16(bytes.len() as u16).await.unwrap();
            stream.write_all(bytes).await.unwrap();
        }
    });
    let answers = many(server, &questions, Duration::from_secs(60))
        .await
        .unwrap();
    assert!(answers[0].is_none());
    for (number, answer) in answers.iter().enumerate().skip(1) {
        assert_eq!(
            said(answer.as_ref().unwrap()),
            format!("n{number}.example.")
        );
    }
}

#[tokio::test]
async fn why_nobody_answers_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::from(listener.local_addr().unwrap());
    let asked = [question("a.example.")];
    let error = many(server, &asked, Duration::from_millis(50))
        .await
        .unwrap_err();
    insta::assert_snapshot!(error, @"no answer came in time");
    drop(listener);
    let error = many(server, &asked, Duration::from_secs(60))
        .await
        .unwrap_err();
    insta::assert_snapshot!(error, @"it cannot be reached: Connection refused (os error 111)");
    insta::assert_snapshot!(Failure::Code(ResponseCode::Refused), @"it answers: Query Refused");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_passed_over(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let asked = question("a.example.");
        let taken = answer(&bytes, 7, &asked);
        prop_assert!(taken.is_none_or(|message| message.metadata.id == 7));
    }
}
