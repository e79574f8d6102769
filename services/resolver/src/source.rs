//! Where answers are fetched: from the domains' own name servers, or from the network's resolvers. Nothing is
//! checked here.

mod recursion;
mod resolvers;
mod servers;

pub use recursion::Recursion;
pub use resolvers::Resolvers;

use crate::found::{Failure, Found};
use hickory_proto::rr::{Name, RecordType};
use std::sync::Arc;

/// Where answers are fetched.
#[derive(Clone)]
pub enum Source {
    /// From the root on.
    Recursion(Arc<Recursion>),
    /// From the network's resolvers.
    Resolvers(Arc<Resolvers>),
}

impl Source {
    /// The whole answer to this question, with signatures.
    ///
    /// # Errors
    /// When nobody gave one.
    pub async fn ask(&self, name: &Name, kind: RecordType) -> Result<Found, Failure> {
        match self {
            Self::Recursion(recursion) => recursion.ask(name, kind).await,
            Self::Resolvers(resolvers) => resolvers.ask(name, kind).await,
        }
    }
}
