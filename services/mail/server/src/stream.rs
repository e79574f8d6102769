//! One type for every stream.

use stalwart_lib::common::listener::SessionStream;
use std::borrow::Cow;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection, with or without TLS.
pub(crate) struct AnyStream {
    stream: Box<dyn SessionStream>,
    /// Whether the first line written is still to be dropped.
    drop_line: bool,
}

impl AnyStream {
    /// Hides the kind of stream.
    pub(crate) fn new(stream: impl SessionStream) -> Self {
        AnyStream {
            stream: Box::new(stream),
            drop_line: false,
        }
    }

    /// Like [`AnyStream::new`], but the first line written is never sent.
    pub(crate) fn without_first_line(stream: impl SessionStream) -> Self {
        AnyStream {
            drop_line: true,
            ..AnyStream::new(stream)
        }
    }

    fn inner(self: Pin<&mut Self>) -> Pin<&mut dyn SessionStream> {
        Pin::new(self.get_mut().stream.as_mut())
    }

    /// How many of these bytes belong to a line that is not sent.
    fn dropped(&mut self, bytes: &[u8]) -> usize {
        if !self.drop_line {
            return 0;
        }
        match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                self.drop_line = false;
                end + 1
            }
            None => bytes.len(),
        }
    }
}

impl SessionStream for AnyStream {
    fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    fn tls_version_and_cipher(&self) -> (Cow<'static, str>, Cow<'static, str>) {
        self.stream.tls_version_and_cipher()
    }
}

impl AsyncRead for AnyStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        self.inner().poll_read(context, buffer)
    }
}

impl AsyncWrite for AnyStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let dropped = self.dropped(bytes);
        if dropped > 0 {
            return Poll::Ready(Ok(dropped));
        }
        self.inner().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        if self.drop_line {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(context, first.map_or(&[], |slice| slice));
        }
        self.inner().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.inner().poll_shutdown(context)
    }
}
