//! Faults of one I/O: an error, a lost answer, or the death of the process.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use domain::ports::StoreError;

use super::World;
use super::state::WorldState;

/// What happens to one I/O.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Nothing,
    /// The I/O has no effect, and its error says so.
    Error,
    /// The I/O fails before it has an effect, but its error leaves that open.
    ErrorBeforeEffect,
    /// The I/O has its effect, but the answer is lost. Its error leaves open whether it had one.
    ErrorAfterEffect,
    /// The process dies during the I/O.
    Kill,
}

impl Fault {
    /// The fault's name in `golden.txt`.
    pub fn golden_name(self) -> &'static str {
        match self {
            Fault::Nothing => "Nothing",
            Fault::Error => "Refused",
            Fault::ErrorBeforeEffect => "LostBefore",
            Fault::ErrorAfterEffect => "LostAfter",
            Fault::Kill => "Kill",
        }
    }
}

/// Yields once, so that the scheduler can choose which task runs next.
struct YieldPoint(bool);

impl Future for YieldPoint {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        // Futures that run side by side in one task are polled only after they were woken.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

pub fn unavailable() -> StoreError {
    StoreError::Unavailable("simulated".to_owned())
}

impl World {
    /// Yields to the scheduler and returns the fault that the script has for this I/O. After a kill it never returns.
    pub async fn yield_point(&self, port: &str) -> Fault {
        YieldPoint(false).await;
        let fault = {
            let mut guard = self.state();
            let state = &mut *guard;
            let fault = state.script.get(&state.trace.len()).copied().unwrap_or(Fault::Nothing);
            if !state.faults {
                state.trace.push(format!("{} {port}", state.function_name));
            }
            state.killed |= fault == Fault::Kill;
            fault
        };
        if fault == Fault::Kill {
            std::future::pending::<()>().await;
        }
        fault
    }

    /// An I/O with the fault of the script or, while faults are on, one that the seed decides.
    pub async fn io(&self, port: &str) -> Fault {
        let scripted = self.yield_point(port).await;
        let mut state = self.state();
        if scripted != Fault::Nothing || !state.faults || !state.rng.percent(4) {
            return scripted;
        }
        state.injected += 1;
        match state.rng.below(3) {
            0 => Fault::Error,
            1 => Fault::ErrorBeforeEffect,
            _ => Fault::ErrorAfterEffect,
        }
    }

    /// A read. Any fault is an error.
    pub async fn read_io(&self, port: &str) -> Result<(), StoreError> {
        if self.io(port).await == Fault::Nothing { Ok(()) } else { Err(unavailable()) }
    }

    /// A write. Any fault is reported as the same error, whether or not the write had its effect.
    pub async fn write_io(&self, port: &str, write: impl FnOnce(&mut WorldState) + Send) -> Result<(), StoreError> {
        match self.io(port).await {
            Fault::Nothing => {
                write(&mut self.state());
                Ok(())
            }
            Fault::ErrorAfterEffect => {
                write(&mut self.state());
                Err(unavailable())
            }
            Fault::Error | Fault::ErrorBeforeEffect | Fault::Kill => Err(unavailable()),
        }
    }
}
