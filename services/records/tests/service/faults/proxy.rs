//! A way to the database that can be cut as when its host vanishes: no connection is closed, and none is heard of again.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    cuts: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Passes on to `port` of this machine.
    pub(crate) async fn start(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (cuts, seen) = watch::channel(0);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(pass(near, port, seen.clone()));
            }
        });
        Ok(Self { address, cuts, task })
    }

    /// Keeps the connections there are open and silent; new ones get through.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut near: TcpStream, port: u16, mut cuts: watch::Receiver<u32>) {
    cuts.mark_unchanged();
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => return,
        cut = cuts.changed() => if cut.is_err() { return },
    }
    // What the far side holds is let go; the near side learns nothing until the test ends.
    drop(far);
    let _ = cuts.wait_for(|_| false).await;
}
