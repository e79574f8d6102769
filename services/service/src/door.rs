//! A service's socket for other services of the box: a guest connects, asks once and is answered once.
//!
//! Only the users of named services may connect (`SO_PEERCRED`), others are hung up on. Whoever
//! connects writes one call as a line of JSON, and gets one answer as a line and then the end.

use crate::spec::{self, ServiceSpec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

/// Another table of services than the image's, for tests.
const SERVICES_ENV: &str = "ROOST_SERVICES";
/// Longest that somebody may take to ask, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest that [`ask`] waits for an answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Rest after the system had no descriptor or memory for a connection.
const BREATHER: Duration = Duration::from_millis(200);
/// Connections at a time; more wait.
const PLACES: usize = 4;

/// What somebody asks who may.
pub struct Asked<C, A> {
    /// The question.
    pub call: C,
    /// The service that asks.
    pub by: String,
    answer: oneshot::Sender<A>,
}

impl<C, A> Asked<C, A> {
    /// Answers.
    pub fn answer(self, answer: A) {
        // Somebody who hangs up is everyday life.
        let _ = self.answer.send(answer);
    }
}

/// How a door is kept.
pub struct House<A> {
    /// Whose door it is, for the log.
    pub service: &'static str,
    /// Services that are let in.
    pub guests: &'static [&'static str],
    /// Longest call, in bytes, its line feed included.
    pub max_call: usize,
    /// What is answered to a line that is no call; it gets the reason.
    pub no_call: fn(String) -> A,
}

/// The socket, with calls `C` and answers `A`.
pub struct Door<C, A> {
    asked: mpsc::Receiver<Asked<C, A>>,
}

impl<C, A> Door<C, A>
where
    C: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    /// [`Door::open`] for the services of this image, at `socket` or, if init has given a folder for it,
    /// there under the same name.
    ///
    /// # Errors
    /// Says what could not be done to which file.
    pub fn of_service(socket: &Path, house: House<A>) -> io::Result<Option<Self>> {
        let table = table()?;
        let socket = in_folder(socket);
        let service = house.service;
        let door = Self::open(&socket, &table, house)
            .map_err(told(format!("listen on {}", socket.display())))?;
        if door.is_none() {
            println!("{service}: this image has no portal: nobody can ask how it stands");
        }
        Ok(door)
    }

    /// Makes the socket; what an earlier run left there is in the way and goes. Must be called within
    /// tokio's runtime. `None`: the table has no guest.
    ///
    /// # Errors
    /// When the folder is not there, or is not this service's.
    pub fn open(path: &Path, table: &[ServiceSpec], house: House<A>) -> io::Result<Option<Self>> {
        let guests: Vec<(u32, String)> = table
            .iter()
            .filter(|spec| house.guests.contains(&spec.name.as_str()))
            .map(|spec| (spec.user, spec.name.clone()))
            .collect();
        if guests.is_empty() {
            return Ok(None);
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        // Whoever connects needs the right to write (unix(7)). Who it is is asked of the kernel.
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o666))?;
        let (give, asked) = mpsc::channel(PLACES);
        tokio::spawn(listen(listener, guests, Arc::new(house), give));
        Ok(Some(Self { asked }))
    }

    /// Waits for a question. None is lost when this is dropped.
    pub async fn next(&mut self) -> Asked<C, A> {
        match self.asked.recv().await {
            Some(asked) => asked,
            // The listener never ends.
            None => std::future::pending().await,
        }
    }
}

fn told(what: String) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// The services of this image.
///
/// # Errors
/// When the table cannot be read.
pub fn table() -> io::Result<Vec<ServiceSpec>> {
    let path = std::env::var(SERVICES_ENV).unwrap_or_else(|_| spec::PATH.to_owned());
    let table = std::fs::read(&path).map_err(told(format!("read {path}")))?;
    serde_json::from_slice(&table)
        .map_err(io::Error::from)
        .map_err(told(format!("read {path}")))
}

/// This socket, in the folder that init has given if it has given one.
pub fn in_folder(socket: &Path) -> PathBuf {
    match (std::env::var_os(spec::RUN_ENV), socket.file_name()) {
        (Some(folder), Some(name)) => Path::new(&folder).join(name),
        _ => socket.to_owned(),
    }
}

async fn listen<C, A>(
    listener: UnixListener,
    guests: Vec<(u32, String)>,
    house: Arc<House<A>>,
    give: mpsc::Sender<Asked<C, A>>,
) where
    C: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    let places = Arc::new(Semaphore::new(PLACES));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(BREATHER).await;
            continue;
        };
        let user = match stream.peer_cred() {
            Ok(peer) => peer.uid(),
            Err(error) => {
                println!("{}: nobody knows who has connected: {error}", house.service);
                continue;
            }
        };
        let Some((_, by)) = guests.iter().find(|(uid, _)| *uid == user) else {
            println!("{}: user {user} was not let in", house.service);
            continue;
        };
        let (give, house, by) = (give.clone(), house.clone(), by.clone());
        tokio::spawn(async move {
            let _place = place;
            // A connection that broke is no event: the guest asks again.
            let _ = talk(stream, by, &house, &give).await;
        });
    }
}

async fn talk<C, A>(
    mut stream: UnixStream,
    by: String,
    house: &House<A>,
    give: &mpsc::Sender<Asked<C, A>>,
) -> io::Result<()>
where
    C: DeserializeOwned + Send + 'static,
    A: Serialize,
{
    let mut line = Vec::new();
    let mut limited = BufReader::new((&mut stream).take(house.max_call as u64));
    timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await??;
    let answer = match serde_json::from_slice(&line) {
        Ok(call) => {
            let (answer, answered) = oneshot::channel();
            let asked = Asked { call, by, answer };
            give.send(asked)
                .await
                .map_err(|_| io::ErrorKind::BrokenPipe)?;
            answered.await.map_err(io::Error::other)?
        }
        Err(error) => (house.no_call)(format!("this is no call: {error}")),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    timeout(PATIENCE, async {
        stream.write_all(&line).await?;
        stream.shutdown().await
    })
    .await?
}

/// Asks at another service's door and waits for its answer, of `max` bytes at most.
///
/// # Errors
/// When nobody is there, this program is no guest, or what comes back is no `A`.
pub async fn ask<C: Serialize, A: DeserializeOwned>(
    path: &Path,
    call: &C,
    max: usize,
) -> io::Result<A> {
    let mut stream = timeout(PATIENCE, UnixStream::connect(path)).await??;
    let mut line = serde_json::to_vec(call)?;
    line.push(b'\n');
    timeout(PATIENCE, stream.write_all(&line)).await??;
    let mut answer = Vec::new();
    let mut limited = BufReader::new(stream.take(max as u64));
    timeout(ANSWER, limited.read_until(b'\n', &mut answer)).await??;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&answer)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Call {
        Double(u32),
    }

    fn table(name: &str) -> Vec<ServiceSpec> {
        let user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
        let spec = serde_json::json!([{
            "name": name, "description": "d", "program": "/bin/x", "user": user,
            "required": false, "ready_timeout_s": 1, "stop_timeout_s": 1,
        }]);
        serde_json::from_value(spec).unwrap()
    }

    fn house() -> House<Result<u32, String>> {
        House {
            service: "test",
            guests: &["guest"],
            max_call: 100,
            no_call: Err,
        }
    }

    #[tokio::test]
    async fn a_guest_is_answered_and_others_are_hung_up_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("door");
        assert!(
            Door::<Call, _>::open(&path, &table("stranger"), house())
                .unwrap()
                .is_none()
        );
        let mut door = Door::<Call, _>::open(&path, &table("guest"), house())
            .unwrap()
            .unwrap();
        tokio::spawn(async move {
            loop {
                let asked = door.next().await;
                assert_eq!(asked.by, "guest");
                let Call::Double(n) = asked.call;
                asked.answer(Ok(2 * n));
            }
        });
        let answer: Result<u32, String> = ask(&path, &Call::Double(21), 100).await.unwrap();
        assert_eq!(answer, Ok(42));
        let answer: Result<u32, String> = ask(&path, &"hello", 100).await.unwrap();
        assert!(answer.unwrap_err().starts_with("this is no call: "));

        // The same door, of whose guests this program is none.
        let stranger = [(u32::MAX, "guest".to_owned())].to_vec();
        let other = folder.path().join("other");
        let listener = UnixListener::bind(&other).unwrap();
        let (give, _asked) = mpsc::channel::<Asked<Call, Result<u32, String>>>(1);
        tokio::spawn(listen(listener, stranger, Arc::new(house()), give));
        let answer: io::Result<Result<u32, String>> = ask(&other, &Call::Double(1), 100).await;
        assert!(answer.is_err());
    }
}
