//! An accepted socket: options that find a dead client, and a look at it beside hyper's.
//!
//! hyper looks at a connection only when it reads or writes, and a stream that has nothing to tell
//! does neither: [`Socket::gone`] waits for what the system says of it meanwhile.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::limits::{PEER_PROBE_AFTER, PEER_PROBE_EVERY, PEER_SILENCE_MAX};

/// A client's socket; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Socket(Arc<TcpStream>);

impl Socket {
    /// Takes an accepted socket, and has the system watch its other side.
    ///
    /// # Errors
    /// It is closed already.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        // Without it small answers wait for the client's delayed acknowledgement.
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(PEER_PROBE_AFTER)
            .with_interval(PEER_PROBE_EVERY);
        let socket = SockRef::from(&stream);
        socket.set_tcp_keepalive(&keepalive)?;
        // What is sent and not acknowledged counts as silence too, which keepalive does not see.
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(PEER_SILENCE_MAX))?;
        Ok(Self(Arc::new(stream)))
    }

    /// Completes when the other side is gone: it reset the connection, or was silent for too long.
    /// A side that was closed in order is not. Cancel safe.
    pub(crate) async fn gone(&self) -> io::Error {
        loop {
            if let Err(error) = self.0.ready(Interest::ERROR).await {
                return error;
            }
            let look = || match self.0.take_error()? {
                Some(error) => Ok(error),
                None => Err(io::ErrorKind::WouldBlock.into()),
            };
            match self.0.try_io(Interest::ERROR, look) {
                Ok(error) => return error,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return error,
            }
        }
    }
}

/// Tries `io` whenever the socket is ready, until it is done.
macro_rules! when_ready {
    ($ready:expr, $io:expr) => {
        loop {
            ready!($ready)?;
            match $io {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        when_ready!(
            self.0.poll_read_ready(cx),
            self.0.try_read_buf(buffer).map(|_| ())
        )
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        when_ready!(self.0.poll_write_ready(cx), self.0.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        when_ready!(
            self.0.poll_write_ready(cx),
            self.0.try_write_vectored(slices)
        )
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing is kept back on this side of the system.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.0).shutdown(std::net::Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_system_is_asked_to_watch_a_client_that_says_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let _client = client.unwrap();

        let socket = Socket::new(accepted.unwrap().0).unwrap();

        let socket = SockRef::from(&*socket.0);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), PEER_PROBE_AFTER);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), PEER_PROBE_EVERY);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(PEER_SILENCE_MAX));
    }

    #[tokio::test]
    async fn a_client_is_gone_when_it_resets_and_not_when_it_closes_its_side() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let client = client.unwrap();
        let socket = Socket::new(accepted.unwrap().0).unwrap();
        let mut gone = Box::pin(socket.gone());

        SockRef::from(&client)
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
        let mut end = [0];
        let read = tokio::io::AsyncReadExt::read(&mut socket.clone(), &mut end).await;
        let is_gone = futures::poll!(&mut gone).is_ready();
        SockRef::from(&client)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(client);
        let error = gone.await;

        assert_eq!((read.unwrap(), is_gone), (0, false));
        // What Linux calls a reset of a connection whose other direction was closed.
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
