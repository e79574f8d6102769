//! What the box's resolver says of a name, and whether it has found the signatures good.

use crate::health::facts::Answer;
use crate::resolver::{broken, signed_answer};
use domain::base::iana::{Rcode, Rtype};
use domain::base::{Message, Name};
use domain::rdata::AllRecordData;
use std::net::SocketAddr;

/// Asks; a name that is not there has no records.
///
/// # Errors
/// Why there is no answer, for people.
pub async fn ask(server: SocketAddr, name: &str, kind: Rtype) -> Result<Answer, String> {
    // The root's name is empty.
    let absolute = if name.is_empty() { "." } else { name };
    let owner: Name<Vec<u8>> = absolute.parse().map_err(|_| format!("{name} is no name"))?;
    read(&signed_answer(server, &owner, kind).await?, kind)
}

/// Reads an answer.
fn read(answer: &[u8], kind: Rtype) -> Result<Answer, String> {
    let message = Message::from_slice(answer).map_err(broken)?;
    match message.header().rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => {}
        other => return Err(format!("the box's resolver says {other}")),
    }
    let records = message.answer().map_err(broken)?;
    let mut values: Vec<String> = Vec::new();
    for record in records.limit_to_in::<AllRecordData<_, _>>() {
        let record = record.map_err(broken)?;
        let value = match record.data() {
            AllRecordData::A(a) => a.addr().to_string(),
            AllRecordData::Mx(mx) => plain(mx.exchange()),
            AllRecordData::Ptr(ptr) => plain(ptr.ptrdname()),
            AllRecordData::Soa(soa) => soa.serial().to_string(),
            AllRecordData::Tlsa(tlsa) => format!(
                "{} {} {} {}",
                tlsa.usage().to_int(),
                tlsa.selector().to_int(),
                tlsa.matching_type().to_int(),
                hex::encode(tlsa.data())
            ),
            AllRecordData::Txt(txt) => String::from_utf8_lossy(&txt.text::<Vec<u8>>()).into_owned(),
            // Signatures, and names that lead on (CNAME).
            _ => continue,
        };
        if record.rtype() == kind {
            values.push(value);
        }
    }
    values.sort();
    Ok(Answer {
        values,
        secure: message.header().ad(),
    })
}

/// A name in lower case, without a dot at its end.
fn plain(name: impl std::fmt::Display) -> String {
    name.to_string().trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::base::iana::Class;
    use domain::base::{MessageBuilder, Record, Ttl};
    use domain::rdata::Mx;

    #[test]
    fn the_root_has_a_name() {
        assert!(".".parse::<Name<Vec<u8>>>().unwrap().is_root());
    }

    #[test]
    fn answers_are_read_and_broken_ones_are_no_panic() {
        let name = |text: &str| text.parse::<Name<Vec<u8>>>().unwrap();
        let mut question = MessageBuilder::new_vec().question();
        question.push((name("example.org"), Rtype::MX)).unwrap();
        let question = question.into_message();
        let mut answer = MessageBuilder::new_vec()
            .start_answer(&question, Rcode::NOERROR)
            .unwrap();
        answer.header_mut().set_ad(true);
        let mx = Mx::new(10, name("Mail.Example.org"));
        let ttl = Ttl::from_secs(60);
        answer
            .push(Record::new(name("example.org"), Class::IN, ttl, mx))
            .unwrap();
        let bytes = answer.finish();
        let read_right = read(&bytes, Rtype::MX).unwrap();
        assert_eq!(read_right.values, ["mail.example.org"]);
        assert!(read_right.secure);
        for end in 0..bytes.len() {
            let _ = read(&bytes[..end], Rtype::MX);
        }
        let refused = MessageBuilder::new_vec()
            .start_answer(&question, Rcode::SERVFAIL)
            .unwrap()
            .finish();
        assert_eq!(
            read(&refused, Rtype::MX),
            Err("the box's resolver says SERVFAIL".into())
        );
    }
}
