//! Adapters for the messaging providers. Each provider has one file, which sends one message per call, classifies the
//! result and reads the provider's callbacks. Provider files use the toolkit modules and never each other's file.
//!
//! To add a provider, write its file, add its row to [`REGISTRY`] and document it. `docs/extending.md` shows
//! how.

// The list of providers and what is built from it.
mod recorded_callback;
mod registry;

// The providers.
mod africastalking;
mod bulksms;
mod custom;
mod mailgun;
mod mandrill;
mod messagebird;
mod messenger;
mod sandbox;
mod sendgrid;
mod ses;
mod sns;
mod telegram;
mod twilio;
mod vonage;
mod whatsapp;

// Code that providers of one family share.
mod aws;
mod meta;

// The toolkit.
mod attempt_ids;
mod callback;
mod client;
mod http;
mod identity;
mod jwks;
mod outcome;
mod public_fetch;
mod recorder;
mod registration;
mod signatures;
mod text;

pub use self::client::http_client;
pub use self::http::HttpClients;
pub use self::identity::HttpIdentityProvider;
pub use self::jwks::HttpJwksSource;
#[cfg(feature = "aws")]
pub(crate) use self::public_fetch::read_limited;
pub use self::public_fetch::{PublicFileFetcher, check_public_url, content_disposition};
pub use self::recorded_callback::{RecordedRequest, RecordedResult, verify_recorded};
pub use self::registration::ProviderRegistration;
pub use self::registry::{HttpProviderFactory, REGISTRY};
pub use self::sandbox::{Sandbox, sandboxes};
