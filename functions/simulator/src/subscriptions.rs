//! Addresses that a topic may call. A topic asks an address for confirmation before it sends to it.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use crate::lock::lock;

#[derive(Default)]
pub struct Subscriptions {
    confirmed: Mutex<HashSet<String>>,
    /// The addresses that were asked, by the token of the question.
    pending: Mutex<HashMap<String, String>>,
}

impl Subscriptions {
    pub fn is_confirmed(&self, url: &str) -> bool {
        lock(&self.confirmed).contains(url)
    }

    /// Remembers that an address was asked with this token.
    pub fn request(&self, token: String, url: String) {
        lock(&self.pending).insert(token, url);
    }

    /// Confirms the address that was asked with this token. False: the token is unknown.
    pub fn confirm(&self, token: &str) -> bool {
        let url = lock(&self.pending).remove(token);
        match url {
            Some(url) => {
                lock(&self.confirmed).insert(url);
                true
            }
            None => false,
        }
    }
}
