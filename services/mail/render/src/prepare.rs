//! What must exist before the first start: settings, keys, certificate.

use crate::setup::Setup;
use crate::{Error, certificate, keys};
use roost_service::settings::Settings;
use std::path::Path;
use time::OffsetDateTime;

/// Reads the box's settings; `None`: it has no domain yet.
pub fn read_setup() -> Result<Option<Setup>, Error> {
    let settings = Settings::load().map_err(|error| Error::Settings {
        path: error.path.display().to_string(),
        reason: error.why,
    })?;
    Ok(Setup::of(settings))
}

/// Names that the box's own certificate must cover.
pub fn certificate_names(setup: &Setup) -> Vec<String> {
    let mut names = vec![
        setup.host.clone(),
        setup.domain.clone(),
        format!("{}.local", setup.name),
    ];
    names.dedup();
    names
}

/// Makes the keys and the certificate that are not there yet.
pub fn prepare(data: &Path, setup: &Setup) -> Result<certificate::Outcome, Error> {
    keys::make_missing(data)?;
    certificate::ensure(data, &certificate_names(setup), OffsetDateTime::now_utc())
}
