//! Keeps the newest certificate of one kind at hand, for a service that shows it in TLS.

use crate::certificates::{Answer, Call, Certificate, MAX_LINE, MAX_WAIT_S};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Rest before somebody who does not answer, or has nothing, is asked again.
const REST: Duration = Duration::from_secs(3);
/// Longest that asking takes, the answer not included.
const PATIENCE: Duration = Duration::from_secs(5);

/// Follows the certificate `id` at the certificate service's `socket` for as long as somebody holds what
/// this returns. Must be called within tokio's runtime.
pub fn follow(socket: PathBuf, id: String) -> watch::Receiver<Option<Arc<Certificate>>> {
    let (give, receive) = watch::channel(None);
    tokio::spawn(async move {
        let mut after = String::new();
        loop {
            let asked = tokio::select! {
                () = give.closed() => return,
                asked = wait(&socket, &id, &after) => asked,
            };
            match asked {
                Ok(Answer::Certificate(certificate)) => {
                    after.clone_from(&certificate.version);
                    give.send_replace(Some(Arc::from(certificate)));
                }
                Ok(Answer::Unchanged) => {}
                // The service starts anew, or the certificate is not wanted: what there is stays in use.
                _ => sleep(REST).await,
            }
        }
    });
    receive
}

async fn wait(socket: &Path, id: &str, after: &str) -> io::Result<Answer> {
    let call = Call::Wait {
        id: id.into(),
        after: after.into(),
    };
    let mut line = serde_json::to_vec(&call)?;
    line.push(b'\n');
    let mut stream = timeout(PATIENCE, UnixStream::connect(socket)).await??;
    timeout(PATIENCE, stream.write_all(&line)).await??;
    let mut answer = Vec::new();
    let mut limited = BufReader::new(stream.take(MAX_LINE as u64));
    let longest = Duration::from_secs(MAX_WAIT_S) + PATIENCE;
    timeout(longest, limited.read_until(b'\n', &mut answer)).await??;
    Ok(serde_json::from_slice(&answer)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    fn certificate(version: &str) -> Answer {
        Answer::Certificate(Box::new(Certificate {
            id: "mail".into(),
            version: version.into(),
            serial: "1".into(),
            names: vec!["mail.example.org".into()],
            chain_pem: String::new(),
            key_pem: String::new(),
            not_after: 0,
        }))
    }

    #[tokio::test]
    async fn each_certificate_is_taken_once_and_a_silent_service_keeps_what_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut newest = follow(socket, "mail".into());
        let mut told = Vec::new();
        // The third connection is dropped without an answer.
        for answer in [Some("a"), Some("b"), None] {
            let (stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.into_split();
            let mut line = String::new();
            BufReader::new(read).read_line(&mut line).await.unwrap();
            told.push(line);
            let Some(version) = answer else { continue };
            let answer = serde_json::to_string(&certificate(version)).unwrap() + "\n";
            write.write_all(answer.as_bytes()).await.unwrap();
            newest.changed().await.unwrap();
            let now = newest.borrow_and_update().clone();
            assert_eq!(now.unwrap().version, version);
        }
        assert_eq!(
            told,
            ["", "a", "b"].map(|after| format!(
                "{{\"call\":\"wait\",\"id\":\"mail\",\"after\":\"{after}\"}}\n"
            ))
        );
        assert_eq!(newest.borrow().clone().unwrap().version, "b");
    }
}
