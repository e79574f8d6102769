//! Accounts, domains, queue.

use crate::app::App;
use crate::sockets::{NoAnswer, ask};
use roost_service::mail::{Answer, Call, Overview};
use std::io;

const WHO: &str = "the mail service";

/// Accounts and domains.
pub async fn overview(app: &App) -> Result<Overview, NoAnswer> {
    match ask(WHO, &app.places.mail, &Call::Overview).await? {
        Answer::Overview(overview) => Ok(overview),
        Answer::Error { what, because, .. } => Err(NoAnswer {
            who: WHO,
            why: io::Error::other(format!("{what}: {because}")),
        }),
        _ => Err(NoAnswer {
            who: WHO,
            why: io::ErrorKind::InvalidData.into(),
        }),
    }
}
