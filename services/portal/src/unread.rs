//! What a client still sends of a body that nobody wants is taken in before the answer goes out.
//!
//! A refusal is often ready before the body has come, for clients send head and body apart. hyper
//! closes a connection whose request was not read to its end, and then the client writes into a
//! closed connection and may lose the answer (RFC 9112 section 9.6).

use axum::body::{Body, HttpBody};
use axum::http::Request;
use axum::http::header::EXPECT;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Most bytes that are taken in; whoever sends more is cut off.
const MOST: usize = 64 << 10;
/// Longest wait for them.
const LONGEST: Duration = Duration::from_secs(2);

/// The answer of `service`, when what is left of the request's body has come.
///
/// A client that asks before it sends a body (`Expect`) is answered at once: it then sends none.
pub async fn answer<F: Future>(
    request: Request<Incoming>,
    service: impl FnOnce(Request<Body>) -> F,
) -> F::Output {
    let asks_first = request.headers().contains_key(EXPECT);
    let (give_back, mut unread) = oneshot::channel();
    let request = request.map(|body| {
        Body::new(Lent {
            body: Some(body),
            give_back: Some(give_back),
        })
    });
    let answer = service(request).await;
    // A body that is still held by somebody is being read.
    if !asks_first && let Ok(body) = unread.try_recv() {
        let _ = timeout(LONGEST, take_in(body)).await;
    }
    answer
}

async fn take_in(mut body: Incoming) {
    let mut taken = 0;
    while taken <= MOST
        && let Some(Ok(frame)) = body.frame().await
    {
        taken += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// A body that is given back by whoever drops it before its end.
struct Lent {
    /// Missing after its end.
    body: Option<Incoming>,
    give_back: Option<oneshot::Sender<Incoming>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(give_back)) = (self.body.take(), self.give_back.take())
            && !body.is_end_stream()
        {
            // Nobody takes it when the connection has ended.
            let _ = give_back.send(body);
        }
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or(SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
