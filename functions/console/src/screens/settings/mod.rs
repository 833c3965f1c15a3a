//! Settings of the business: accounts at providers, keys, limits.

pub mod account;
pub mod keys;
pub mod limits;
pub mod providers;
