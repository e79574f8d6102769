//! Who is asked when the owner wants to see what everybody answers.

use super::{Service, now};
use crate::check::{Place, Plan};
use crate::keeper::Refused;
use roost_service::dns::Answer;
use std::net::SocketAddr;

impl Service {
    /// Everything that is needed to see what each name server answers. To ask them takes seconds, and is not for
    /// whoever looks after the service.
    ///
    /// # Errors
    /// [`Refused`] if there is no such zone, or it is not served yet.
    pub async fn check(
        &self,
        domain: &str,
    ) -> Result<impl Future<Output = Answer> + use<>, Refused> {
        let expected = self.keeper.lock().await.expected(domain)?;
        let port = self.places.asking.port;
        let place = |name: &str, at: SocketAddr, from| Place {
            name: name.into(),
            servers: vec![(at.ip(), from)],
            port: at.port(),
            outside: false,
        };
        let mut places: Vec<Place> = Vec::new();
        let mut own = self.listener.addresses();
        own.sort_by_key(|at| !at.ip().is_loopback());
        places.extend(own.first().map(|at| place("box", *at, None)));
        places.extend(self.secondaries.first().map(|secondary| {
            let at = SocketAddr::new(secondary.address.ip(), port);
            place("secondary", at, secondary.from)
        }));
        places.extend(
            expected
                .places
                .iter()
                .cloned()
                .map(|place| Place { port, ..place }),
        );
        let plan = Plan {
            expected,
            places,
            asking: self.places.asking.clone(),
            keeper: self.keeper.clone(),
        };
        Ok(async move { Answer::Check(Box::new(plan.run(now()).await)) })
    }
}
