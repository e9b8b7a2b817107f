//! A TCP balancer as clouds and Kubernetes have them: a connection goes to the next process in
//! turn that takes it, whatever it carries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::Context as _;
use esker_env::TaskGroup;
use tokio::net::{TcpListener, TcpStream};

/// Running until it is dropped, and every connection with it.
#[derive(Debug)]
pub struct Balancer {
    /// Where clients connect.
    pub address: SocketAddr,
    _tasks: TaskGroup,
}

impl Balancer {
    /// Listens at `listen`, port 0 for a free one, in front of `targets`.
    ///
    /// # Errors
    /// Nothing to hand connections to; the address is taken.
    pub async fn start(listen: SocketAddr, targets: Vec<SocketAddr>) -> anyhow::Result<Self> {
        anyhow::ensure!(!targets.is_empty(), "no process to hand connections to");
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("listening at {listen}"))?;
        let address = listener.local_addr()?;
        let turns = Turns {
            targets: targets.into(),
            next: Arc::default(),
        };
        let mut tasks = TaskGroup::new("balancer");
        tasks.spawn(accept(listener, turns));
        Ok(Self {
            address,
            _tasks: tasks,
        })
    }
}

async fn accept(listener: TcpListener, turns: Turns) {
    let mut connections = TaskGroup::new("balancer connections");
    loop {
        match listener.accept().await {
            Ok((client, _)) => connections.spawn(turns.clone().carry(client)),
            Err(error) => tracing::warn!(%error, "accept failed"),
        }
        if let Err(error) = connections.reap() {
            tracing::warn!(%error, "a connection's task failed");
        }
    }
}

#[derive(Clone)]
struct Turns {
    targets: Arc<[SocketAddr]>,
    next: Arc<AtomicUsize>,
}

impl Turns {
    async fn dial(&self) -> Option<TcpStream> {
        let first = self.next.fetch_add(1, Relaxed);
        for at in 0..self.targets.len() {
            let target = self.targets[(first + at) % self.targets.len()];
            if let Ok(server) = TcpStream::connect(target).await {
                return Some(server);
            }
        }
        None
    }

    /// A client that nobody takes is closed.
    async fn carry(self, mut client: TcpStream) {
        let Some(mut server) = self.dial().await else {
            return;
        };
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}
