//! Asking outside about the box's mail ([`crate::outside`]). That changes nothing, so the log does not
//! say so. One run of each at a time, and others wait for it: each opens many sockets, and lists count
//! who asks them how often.

use crate::app::App;
use crate::outside::blocklists::{self, Blocklists, PublicAddress};
use crate::outside::port25::{self, Port25};
use tokio::sync::Mutex;

/// Whose turn it is.
#[derive(Debug, Default)]
pub struct Turns {
    lists: Mutex<()>,
    port25: Mutex<()>,
}

/// What receivers' blocklists say of an address.
pub async fn check_lists(app: &App, address: PublicAddress) -> Blocklists {
    let _turn = app.outside.lists.lock().await;
    let (resolver, outside) = (app.resolver(), &app.places.outside);
    blocklists::check(resolver.as_ref(), outside.lists, address, outside.patience).await
}

/// Whether mail gets out.
pub async fn try_port25(app: &App) -> Port25 {
    let _turn = app.outside.port25.lock().await;
    let (resolver, outside) = (app.resolver(), &app.places.outside);
    port25::try_all(
        resolver.as_ref(),
        outside.receivers,
        outside.smtp_port,
        outside.patience,
    )
    .await
}
