//! The server: a port on this machine, and what a test can ask and tell it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::Ordering},
};

use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use crate::{
    answers::{Shared, lock},
    connection,
    fault::Fault,
    world::World,
};

/// A server that answers until it is dropped. Dropping it closes its port and every connection without a close frame,
/// as if its process had been killed.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn start(world: World) -> io::Result<Self> {
        Self::start_at(world, 0).await
    }

    /// Starts on a port of 127.0.0.1, such as that of a server that is no more.
    ///
    /// # Errors
    ///
    /// When the port cannot be had.
    pub async fn start_at(world: World, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(world));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How a client connects: `ws://root:taosdata@127.0.0.1:PORT`.
    pub fn dsn(&self) -> String {
        format!("ws://root:taosdata@{}", self.address)
    }

    /// Every statement that came, in order.
    pub fn statements(&self) -> Vec<String> {
        lock(&self.shared.statements).clone()
    }

    /// How many blocks were sent, those of faults among them.
    pub fn blocks_sent(&self) -> u64 {
        self.shared.blocks_sent.load(Ordering::Relaxed)
    }

    /// How many connections are open now.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Adds a fault. Of several that fit, the one added first happens first.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.add(fault);
    }

    /// Takes back all faults that have not happened.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Looks at what the server holds, or changes it. Results that are being fetched stay as they were found.
    pub fn with_world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut lock(&self.shared.world))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(connection::serve(stream, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
