//! Asking outside about the box's mail ([`crate::outside`]). That changes nothing, so the log does not
//! say so. One run of each at a time, and others wait for it: each opens many sockets, and lists count
//! who asks them how often.

use crate::app::App;
use crate::outside::blocklists::{self, Blocklists, PublicAddress};
use crate::outside::port25::{self, Port25};
use crate::resolver::Resolver;
use crate::sockets;
use roost_service::resolver::{Answer, Call, Way};
use std::net::IpAddr;
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
    let (resolver, outside) = (resolver(app).await, &app.places.outside);
    let resolver = resolver.as_ref().map_err(String::as_str);
    blocklists::check(resolver, outside.lists, address, outside.patience).await
}

/// Whether mail gets out.
pub async fn try_port25(app: &App) -> Port25 {
    let _turn = app.outside.port25.lock().await;
    let (resolver, outside) = (resolver(app).await, &app.places.outside);
    port25::try_all(
        resolver.as_ref().map_err(String::as_str),
        outside.receivers,
        outside.smtp_port,
        outside.patience,
    )
    .await
}

/// The resolver, or why it cannot know anything at the moment.
async fn resolver(app: &App) -> Result<Resolver, String> {
    let told = sockets::ask(
        "the box's own resolver",
        &app.places.resolver,
        &Call::Status,
    )
    .await;
    match told {
        Ok(Answer::Status(status)) => match status.way {
            Way::Offline => {
                return Err("nobody answers the box's questions to the DNS, neither the root servers nor the resolvers of its network".to_owned());
            }
            Way::Unknown => {
                return Err(
                    "the box is still finding out who answers its questions to the DNS".to_owned(),
                );
            }
            Way::Recursive | Way::Forwarded | Way::Unchecked => {}
        },
        // It answers questions whether or not it tells of itself.
        Ok(Answer::Refused { .. }) | Err(_) => {}
    }
    (app.resolver()).ok_or_else(|| "the box has no resolver, the page Logs says more".to_owned())
}

/// What others make of the box's mail.
#[derive(Debug)]
pub struct Standing {
    /// Whether it gets out.
    pub port25: Port25,
    /// What lists say of the address that it comes from; `None` if that is not known.
    pub lists: Option<Blocklists>,
}

/// Asks everybody at once. Mail leaves by the relay's IPv4 address.
pub async fn look(app: &App, outside: &[IpAddr]) -> Standing {
    let address = outside.iter().find_map(|address| match address {
        IpAddr::V4(v4) => PublicAddress::new(*v4).ok(),
        IpAddr::V6(_) => None,
    });
    let lists = async {
        match address {
            Some(address) => Some(check_lists(app, address).await),
            None => None,
        }
    };
    let (port25, lists) = tokio::join!(try_port25(app), lists);
    Standing { port25, lists }
}
