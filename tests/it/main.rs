//! The integration tests in one binary: port contracts, functions without HTTP, end-to-end tests over HTTP, and the
//! rules of the architecture.

mod access;
mod architecture;
mod attachments;
mod channels;
mod contracts;
mod costs;
mod data_folder;
mod deliveries;
mod documents;
mod end_to_end;
mod extending;
mod fallback;
mod foreign_answers;
mod http;
mod local_server;
mod mocks;
mod openapi;
mod operations;
mod preferences;
mod privacy;
mod projection;
mod properties;
mod providers;
mod rendering;
mod schedule_rules;
mod schedules;
mod streams;
mod suppressions;
mod template;
mod templates;
mod throttling;
mod tokens;
mod use_cases;
mod vectors;
mod webhooks;
