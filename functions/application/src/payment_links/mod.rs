//! Use cases of payment links: they are issued for messages, opened by customers and payment pages, and revoked.

mod issue;
mod read;
mod request;

use domain::payment_link::Rejection;
use domain::ports::StoreError;

pub use issue::{IssuedLink, LinkIssuer};
pub use read::{LinkReader, ReadLink, find, resolve, revoke};
pub use request::{LinkOrder, RequestedLink, request};

use crate::caller::Forbidden;
use crate::execute::ExecuteError;
use crate::invoices::InvoiceError;
use crate::messages::MessageError;

/// Why a use case of payment links had no effect.
#[derive(Debug, thiserror::Error)]
pub enum PaymentLinkError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("there is no such payment link")]
    NotFound,
    #[error(transparent)]
    Invoice(#[from] InvoiceError),
    /// No link to pay this invoice can be sent, such as `settled`.
    #[error("no link to pay this invoice can be sent: {0}")]
    Refused(&'static str),
    /// The customer cannot be reached, such as `no_phone`.
    #[error("the customer cannot be reached: {0}")]
    Unreachable(&'static str),
    /// The deployment has no address that a link could lead to.
    #[error("this deployment has no public address")]
    NoPage,
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error(transparent)]
    Execute(#[from] ExecuteError<Rejection>),
    #[error(transparent)]
    Store(#[from] StoreError),
}
