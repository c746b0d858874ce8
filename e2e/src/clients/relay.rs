//! A TCP relay in front of the registry that cuts one connection in the middle of what it carries.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};

/// Which way the bytes go that are cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client to the registry: a push.
    Up,
    /// From the registry to the client: a pull.
    Down,
}

/// A listening relay; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    /// What the next connection that carries so many bytes in this direction runs into.
    fuse: Mutex<Option<(Direction, usize)>>,
    cuts: AtomicUsize,
    ended: AtomicBool,
}

impl Relay {
    /// Listens at a free port of 127.0.0.1 and passes everything on to `target`.
    ///
    /// # Errors
    /// When no port is free or `target` is no address.
    pub(crate) fn before(target: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("listen for clients to cut off")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target: target.parse()?,
            fuse: Mutex::new(None),
            cuts: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let listener = thread::spawn(move || own.listen(&listener));
        Ok(Self {
            address,
            shared,
            listener: Some(listener),
        })
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Cuts the next connection that carries more than `bytes` in `direction`, once.
    pub(crate) fn cut_after(&self, direction: Direction, bytes: usize) {
        *self.shared.fuse.lock().unwrap_or_else(PoisonError::into_inner) = Some((direction, bytes));
    }

    /// How many connections it has cut.
    pub(crate) fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // The listener looks at the flag when somebody knocks.
        TcpStream::connect(self.address).ok();
        if let Some(listener) = self.listener.take() {
            listener.join().ok();
        }
    }
}

impl Shared {
    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            // A client that is gone already, or a registry that is down: the client sees a closed connection.
            if let Ok(client) = client {
                self.join(client).ok();
            }
        }
    }

    fn join(self: &Arc<Self>, client: TcpStream) -> Result<()> {
        let registry = TcpStream::connect(self.target)?;
        let (up, down) = (Arc::clone(self), Arc::clone(self));
        let (client_too, registry_too) = (client.try_clone()?, registry.try_clone()?);
        thread::spawn(move || up.pass(Direction::Up, client, registry));
        thread::spawn(move || down.pass(Direction::Down, registry_too, client_too));
        Ok(())
    }

    /// Copies until one side ends, or the fuse blows; then neither side hears the other any more.
    fn pass(&self, direction: Direction, mut from: TcpStream, mut to: TcpStream) {
        let (mut passed, mut bytes) = (0, vec![0; 64 * 1024]);
        let mut end = Shutdown::Write;
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            let allowed = self.allowed(direction, passed, read);
            passed += allowed;
            if to.write_all(&bytes[..allowed]).is_err() || allowed < read {
                from.shutdown(Shutdown::Both).ok();
                end = Shutdown::Both;
                break;
            }
        }
        to.shutdown(end).ok();
    }

    /// How many of `read` bytes may pass; fewer than all only once for each fuse.
    fn allowed(&self, direction: Direction, passed: usize, read: usize) -> usize {
        let mut fuse = self.fuse.lock().unwrap_or_else(PoisonError::into_inner);
        match *fuse {
            Some((of, bytes)) if of == direction && passed + read > bytes => {
                *fuse = None;
                self.cuts.fetch_add(1, Ordering::SeqCst);
                bytes.saturating_sub(passed)
            }
            _ => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes back through a relay from a server that sends 1000 bytes to each who connects.
    fn received(relay: &Relay) -> usize {
        let mut stream = TcpStream::connect(relay.address).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok();
        bytes.len()
    }

    #[test]
    fn one_connection_is_cut_after_so_many_bytes_and_the_next_is_not() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::before(&server.local_addr().unwrap().to_string()).unwrap();
        let serving = thread::spawn(move || {
            for stream in server.incoming().take(2) {
                stream.unwrap().write_all(&[7; 1000]).unwrap();
            }
        });

        relay.cut_after(Direction::Down, 300);
        let (first, second) = (received(&relay), received(&relay));

        serving.join().unwrap();
        assert_eq!((first, second, relay.cuts()), (300, 1000, 1));
    }
}
