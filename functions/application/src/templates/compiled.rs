//! Compiled texts, so that a message is not compiled again when it is read and delivered.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use domain::render::CompiledTemplate;

/// The most text that is cached in compiled form, in bytes. A compiled text can take ten times as much memory.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// What an entry takes at least, in bytes.
const MIN_ENTRY: usize = 512;

/// Compiled texts by name. A text under a name never changes. The oldest are dropped first.
#[derive(Default)]
pub(super) struct CompiledTexts(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    by_name: HashMap<String, Arc<CompiledTemplate>>,
    /// The name and the size of each entry, oldest first.
    order: VecDeque<(String, usize)>,
    bytes: usize,
}

impl CompiledTexts {
    pub fn get(&self, name: &str) -> Option<Arc<CompiledTemplate>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_name.get(name).cloned()
    }

    /// `length` is that of the text, in bytes.
    pub fn insert(&self, name: String, compiled: Arc<CompiledTemplate>, length: usize) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.by_name.insert(name.clone(), compiled).is_some() {
            return;
        }
        let length = length.max(MIN_ENTRY);
        entries.bytes += length;
        entries.order.push_back((name, length));
        while MAX_BYTES < entries.bytes
            && let Some((oldest, length)) = entries.order.pop_front()
        {
            entries.by_name.remove(&oldest);
            entries.bytes -= length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_texts_are_dropped_when_they_are_too_large_together() {
        let texts = CompiledTexts::default();
        let compiled = Arc::new(CompiledTemplate::new(None, "a").expect("a template"));
        for name in ["a", "b", "b", "c"] {
            texts.insert(name.to_owned(), compiled.clone(), MAX_BYTES / 2);
        }
        assert_eq!(["a", "b", "c"].map(|name| texts.get(name).is_some()), [false, true, true]);
    }
}
