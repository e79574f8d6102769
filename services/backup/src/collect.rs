//! What the services hand over.

use anyhow::{Context, Result};
use roost_backup_repository::contents::Service;
use roost_backup_repository::repository::About;
use roost_backup_repository::source::{self, Stream};
use roost_service::settings::CHOSEN_PATH;
use roost_service::snapshot::{self, Head};
use roost_service::spec::{self, ServiceSpec};
use serde::Deserialize;
use std::io::{BufReader, Cursor};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Another table of services than the image's, for tests.
const SERVICES_ENV: &str = "ROOST_SERVICES";
/// Another folder with the services' own than `/run/services`, for tests.
const SOCKETS_ENV: &str = "ROOST_SOCKETS";
/// Another folder of settings, for tests.
const SETTINGS_ENV: &str = "ROOST_CHOSEN";
/// Another description of the image, for tests.
const RELEASE_ENV: &str = "ROOST_RELEASE";
/// Where the builder says what the image is.
const RELEASE: &str = "/etc/roost/release.json";
/// This service's own name.
const OWN: &str = roost_service::backup::SERVICE;
/// Longest silence of a service that hands something over.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes read at once.
const PIECE: usize = 256 << 10;

/// What this box is.
#[derive(Debug, Clone)]
pub struct Box_ {
    /// What it calls itself.
    pub name: String,
    /// Version of its image.
    pub version: String,
    /// Its services.
    pub table: Vec<ServiceSpec>,
    /// Folder of what the owner chose.
    settings: PathBuf,
    sockets: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Release {
    version: String,
}

impl Box_ {
    /// Looks at the image.
    ///
    /// # Errors
    /// Says which file is not there or not understood.
    pub fn look() -> Result<Self> {
        let var = |name| std::env::var_os(name).map(PathBuf::from);
        let table: Vec<ServiceSpec> =
            read(&var(SERVICES_ENV).unwrap_or_else(|| spec::PATH.into()))?;
        let release: Release = read(&var(RELEASE_ENV).unwrap_or_else(|| RELEASE.into()))?;
        let chosen = Path::new(CHOSEN_PATH);
        Ok(Self {
            name: std::env::var(spec::NAME_ENV).unwrap_or_else(|_| "roost".to_owned()),
            version: release.version,
            table,
            settings: var(SETTINGS_ENV)
                .unwrap_or_else(|| chosen.parent().unwrap_or(chosen).to_owned()),
            sockets: var(SOCKETS_ENV),
        })
    }

    /// The services that hand something over: those whose sockets this one sees.
    fn givers(&self) -> impl Iterator<Item = &ServiceSpec> {
        let own = self.table.iter().find(|spec| spec.name == OWN);
        let may = move |name: &str| own.is_some_and(|own| own.sockets.contains_key(name));
        self.table.iter().filter(move |spec| may(&spec.name))
    }

    /// What is known about a backup that is begun now.
    pub fn about(&self, now_s: u64) -> About {
        About {
            name: self.name.clone(),
            version: self.version.clone(),
            made_s: now_s,
            services: self
                .givers()
                .map(|spec| Service {
                    name: spec.name.clone(),
                    data_format: spec.data_format,
                })
                .collect(),
        }
    }

    /// Has every service hold still, and begins to read.
    ///
    /// # Errors
    /// Names the service that does not hand anything over. A backup without one of them would look
    /// like a whole one on the day when it is needed.
    pub fn collect(&self) -> Result<Vec<Stream>> {
        let settings = source::of_folder(&self.settings, |path| path.ends_with(".new"));
        let settings = settings.with_context(|| format!("read {}", self.settings.display()))?;
        let mut settings = Cursor::new(settings);
        let Head::Files(items) = snapshot::read_head(&mut settings)? else {
            anyhow::bail!("the settings cannot be read");
        };
        let mut streams = vec![Stream {
            folder: "settings".to_owned(),
            items,
            user: 0,
            from: Box::new(settings),
        }];
        for spec in self.givers() {
            streams.push(
                self.stream(spec)
                    .with_context(|| format!("{} does not hand over what it keeps", spec.name))?,
            );
        }
        Ok(streams)
    }

    fn stream(&self, spec: &ServiceSpec) -> Result<Stream> {
        let socket = match &self.sockets {
            Some(folder) => folder.join(&spec.name).join(snapshot::NAME),
            None => snapshot::socket(&spec.name),
        };
        let connection = UnixStream::connect(&socket).context("it is not running")?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let mut from = BufReader::with_capacity(PIECE, connection);
        match snapshot::read_head(&mut from)? {
            Head::Files(items) => Ok(Stream {
                folder: format!("services/{}", spec.name),
                items,
                user: spec.user,
                from: Box::new(from),
            }),
            Head::Refused { why } => anyhow::bail!(why),
        }
    }
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("read {}", path.display()))
}
