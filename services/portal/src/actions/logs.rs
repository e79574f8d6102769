//! What services have logged.

use crate::app::App;
use crate::init::AskError;

/// Most lines of one answer; init has no more.
pub const MAX_LINES: usize = 5000;

/// The last lines of a service's log, or of `init` or `kernel`, oldest first; of which start
/// of the box says `control::Request::Logs`.
///
/// # Errors
/// When init does not answer, or knows no such service.
pub async fn last(
    app: &App,
    service: &str,
    lines: usize,
    boot: Option<u32>,
) -> Result<Vec<String>, AskError> {
    app.init.logs(service, lines.min(MAX_LINES), boot).await
}
