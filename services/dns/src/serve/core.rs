//! A server without a network.

use super::Options;
use super::handle::{Next, Shared, Transport};
use crate::update;
use std::net::SocketAddr;

/// Answers requests as [`super::listen`] does, but for the limits on rates, connections and time: for tests and
/// fuzzing.
pub struct Core(Shared);

impl Core {
    /// A server of these zones.
    pub fn new(options: Options) -> Self {
        Self(Shared::new(options))
    }

    /// All messages that are sent for a request.
    pub async fn answers(
        &self,
        request: &[u8],
        from: SocketAddr,
        transport: Transport,
    ) -> Vec<Vec<u8>> {
        let mut answer = Vec::new();
        match self.0.handle(request, transport, &mut answer) {
            Next::Silent => Vec::new(),
            Next::Send(..) => vec![answer],
            Next::Update(verified) => {
                vec![update::handle(&self.0, request, from, verified).await]
            }
            Next::Transfer(mut transfer) => {
                let mut answers = Vec::new();
                while let Ok(true) = transfer.message(&mut answer) {
                    answers.push(answer.clone());
                }
                answers
            }
        }
    }
}
