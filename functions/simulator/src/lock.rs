use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks also after a panic: the simulator's state is only counters and lists.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
