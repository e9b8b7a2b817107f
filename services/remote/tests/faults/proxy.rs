//! A way to a server that can fall silent, as a network does that loses everything.

use std::net::{Ipv4Addr, SocketAddr};

use esker_env::TaskGroup;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    silent: watch::Sender<bool>,
    _tasks: TaskGroup,
}

impl Proxy {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (silent, heard) = watch::channel(false);
        let mut tasks = TaskGroup::new("proxy of a test");
        tasks.spawn(async move {
            let mut pipes = TaskGroup::new("pipes of a proxy");
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = TcpStream::connect(target).await.unwrap().into_split();
                pipes.spawn(pipe(near_read, far_write, heard.clone()));
                pipes.spawn(pipe(far_read, near_write, heard.clone()));
            }
        });
        Self {
            address,
            silent,
            _tasks: tasks,
        }
    }

    /// From now on nothing passes; connections stay.
    pub(crate) fn fall_silent(&self) {
        self.silent.send_replace(true);
    }

    pub(crate) fn speak_again(&self) {
        self.silent.send_replace(false);
    }
}

async fn pipe(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, silent: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await.unwrap_or(0);
        if *silent.borrow() {
            // Lost; so is all that comes later on this connection.
            std::future::pending::<()>().await;
        }
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
