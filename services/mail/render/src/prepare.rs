//! What must exist before the first start: settings, keys, certificate.

use crate::settings::Settings;
use crate::{Error, certificate, keys};
use std::path::Path;
use time::OffsetDateTime;

/// Reads the box's settings.
pub fn read_settings() -> Result<Settings, Error> {
    let settings = roost_service::settings::Settings::load().map_err(|error| Error::Settings {
        path: error.path.display().to_string(),
        reason: error.why,
    })?;
    settings.try_into()
}

/// Names that the box's own certificate must cover.
pub fn certificate_names(settings: &Settings) -> Vec<String> {
    let mut names = vec![
        settings.mail.host.clone(),
        settings.domain.clone(),
        format!("{}.local", settings.name),
    ];
    names.dedup();
    names
}

/// Makes the keys and the certificate that are not there yet.
pub fn prepare(data: &Path, settings: &Settings) -> Result<certificate::Outcome, Error> {
    keys::make_missing(data)?;
    certificate::ensure(
        data,
        &certificate_names(settings),
        OffsetDateTime::now_utc(),
    )
}
