//! Subscriptions of callback addresses to SNS topics. A topic sends to an address only after the address has confirmed
//! its subscription.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use crate::lock::lock;

#[derive(Default)]
pub struct Subscriptions {
    confirmed: Mutex<HashSet<String>>,
    /// Addresses that have not confirmed yet, by the token of the request for confirmation.
    pending: Mutex<HashMap<String, String>>,
}

impl Subscriptions {
    pub fn is_confirmed(&self, url: &str) -> bool {
        lock(&self.confirmed).contains(url)
    }

    /// Records that an address was asked to confirm with this token.
    pub fn request(&self, token: String, url: String) {
        lock(&self.pending).insert(token, url);
    }

    /// Confirms the address that was asked with this token. Returns false if the token is unknown.
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
