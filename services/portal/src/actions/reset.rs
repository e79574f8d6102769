//! Back to a new box.

use super::entry;
use crate::app::App;
use crate::audit::{Actor, Event};
use crate::code::Code;
use crate::init::AskError;
use crate::store::StoreError;
use roost_service::control::Request;
use std::net::IpAddr;
use std::sync::Arc;

/// Has init restart the box and wipe everything on the way up. Gives the new pairing code.
///
/// # Errors
/// When the store cannot be used, or init cannot be asked or refuses.
pub async fn factory_reset<E>(app: &Arc<App>, who: Actor, from: IpAddr) -> Result<Code, E>
where
    E: From<StoreError> + From<AskError>,
{
    let log = app
        .change(move |store, now| store.audit_entry(&entry(now, who, from, Event::FactoryReset)));
    log.await?;
    let code = Code::from_random(App::random());
    let request = Request::FactoryReset {
        code: Some(code.normalised().to_owned()),
    };
    app.init.ask(&request).await?;
    Ok(code)
}
