//! The use cases of Tidings, and the loop that they share: load a stream, decide, append.

pub mod actions;
pub mod api_keys;
pub mod app;
pub mod attachments;
pub mod audit_log;
pub mod cache;
pub mod callback_log;
pub mod caller;
pub mod consent;
pub mod directory;
pub mod document;
pub mod execute;
pub mod hash;
pub mod hint;
pub mod inbound;
pub mod kinds;
pub mod messages;
pub mod preferences;
pub mod process;
pub mod provider_account;
pub mod provider_configs;
pub mod provider_status;
pub mod retention;
pub mod schedules;
pub mod settings;
pub mod subjects;
pub mod suppression;
pub mod suppressions;
pub mod templates;
pub mod throttle_store;
pub mod time;
pub mod views;

pub use app::App;
pub use caller::{Actor, Caller};
pub use execute::{CommandContext, CommandExecutor, ExecuteError, Loaded};
