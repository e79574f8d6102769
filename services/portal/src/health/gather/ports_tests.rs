use super::*;
use crate::identity::Identity;
use crate::listen;
use crate::tls::Shown as Certificates;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const HOST: &str = "mail.example.org";

/// A server with the box's own certificate, which begins with `first` and offers STARTTLS if so. Gives its
/// address and the key's hash.
async fn serve(implicit: bool, first: &'static str, offers: bool) -> (SocketAddr, String) {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_make(folder.path(), "roost").unwrap();
    let hash = key_hash(&identity.certificate).unwrap();
    let tls = listen::tls(&identity, Arc::<Certificates>::default()).unwrap();
    let tls = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        if implicit {
            let mut stream = tls.accept(stream).await.unwrap();
            stream.write_all(first.as_bytes()).await.unwrap();
            let _ = stream.read(&mut [0; 64]).await;
            return;
        }
        stream.write_all(first.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream);
        let mut said = String::new();
        while lines.read_line(&mut said).await.unwrap() > 0 {
            match said.trim_end() {
                "STARTTLS" => {
                    lines.write_all(b"220 go\r\n").await.unwrap();
                    let mut stream = tls.accept(lines.into_inner()).await.unwrap();
                    let _ = stream.read(&mut [0; 64]).await;
                    return;
                }
                "QUIT" => return,
                hello => {
                    assert_eq!(hello, "EHLO mail.example.org");
                    let offer = if offers { "250-STARTTLS\r\n" } else { "" };
                    let answer = format!("250-here\r\n{offer}250 SIZE 5\r\n");
                    lines.write_all(answer.as_bytes()).await.unwrap();
                }
            }
            said.clear();
        }
    });
    (at, hash)
}

#[tokio::test]
async fn encryption_that_begins_later_is_seen() {
    let (at, hash) = serve(false, "220 mail.example.org ESMTP\x07\r\n", true).await;
    let shown = look_at(at, ports::SMTP, HOST).await.unwrap();
    assert_eq!(shown.greeting, "220 mail.example.org ESMTP");
    assert_eq!(shown.protocol.as_deref(), Some("TLSv1_3"));
    assert_eq!(shown.key_sha256, Some(hash));
}

#[tokio::test]
async fn encryption_from_the_first_byte_is_seen() {
    let (at, hash) = serve(true, "* OK ready\r\n", false).await;
    let shown = look_at(at, ports::IMAPS, HOST).await.unwrap();
    assert_eq!(shown.greeting, "* OK ready");
    assert_eq!(shown.key_sha256, Some(hash));
}

#[tokio::test]
async fn a_server_without_encryption_shows_none() {
    let (at, _) = serve(false, "220 mail.example.org\r\n", false).await;
    let shown = look_at(at, ports::SUBMISSION, HOST).await.unwrap();
    assert_eq!((shown.protocol, shown.key_sha256), (None, None));
}

#[tokio::test]
async fn what_is_no_mail_server_is_said() {
    let (at, _) = serve(false, "554 go away\r\n", false).await;
    let why = look_at(at, ports::SMTP, HOST).await.unwrap_err();
    assert_eq!(why, "it says \"554 go away\"");
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = nobody.local_addr().unwrap();
    drop(nobody);
    assert_eq!(
        look_at(at, ports::HTTPS, HOST).await.unwrap_err(),
        "nobody answers"
    );
}
