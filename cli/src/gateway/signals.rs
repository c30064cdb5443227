//! The signals that `serve` and `with` heed.

use anyhow::Result;

/// Signals that were sent to this process. One that comes while nobody waits is
/// not lost.
pub struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Takes over Ctrl-C, SIGTERM and SIGHUP from now on.
    pub fn listen() -> Result<Self> {
        use anyhow::Context;
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Somebody wants the program to end.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Somebody wants the plugins to be loaded again.
    pub async fn reload(&mut self) {
        let _ = self.hang_up.recv().await;
    }

    /// A signal that a terminal does not send to the command by itself.
    pub async fn to_forward(&mut self) -> rustix::process::Signal {
        tokio::select! {
            _ = self.terminate.recv() => rustix::process::Signal::TERM,
            _ = self.hang_up.recv() => rustix::process::Signal::HUP,
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    pub fn listen() -> Result<Self> {
        Ok(Self {})
    }

    pub async fn stop(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }

    pub async fn reload(&mut self) {
        std::future::pending().await
    }
}
