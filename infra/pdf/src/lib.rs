//! Prints invoices as tagged PDF/A-2a with the embedded fonts. It is a crate of its own because of its size: only
//! programs that print invoices link it. It reads no clock and no environment.

mod draw;
mod fonts;
mod layout;

use async_trait::async_trait;
use domain::printable_invoice::{InvoicePrinter, InvoiceTexts, PrintError, PrintableInvoice};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Number of invoices that are printed at the same time. The others wait for their turn.
const MAX_CONCURRENT: usize = 2;

/// Returns the PDF of an invoice, with the embedded fonts. It computes for milliseconds.
///
/// # Errors
///
/// [`PrintError`]
pub fn print(invoice: &PrintableInvoice) -> Result<Vec<u8>, PrintError> {
    let texts = InvoiceTexts::new(invoice)?;
    draw::draw(&layout::pages(&texts)?, &texts, invoice.issued_on)
}

/// Prints invoices on threads of their own, because they would hold up whatever else a worker does. It needs the runtime
/// of tokio.
#[derive(Debug)]
pub struct PdfPrinter {
    turns: Semaphore,
}

impl Default for PdfPrinter {
    fn default() -> Self {
        PdfPrinter { turns: Semaphore::new(MAX_CONCURRENT) }
    }
}

#[async_trait]
impl InvoicePrinter for PdfPrinter {
    async fn print(&self, invoice: PrintableInvoice) -> Result<Vec<u8>, PrintError> {
        let _turn = self.turns.acquire().await.map_err(|error| PrintError::Invalid(error.to_string()))?;
        // A task that fails has panicked, and so would another try.
        spawn_blocking(move || print(&invoice))
            .await
            .unwrap_or_else(|error| Err(PrintError::Invalid(error.to_string())))
    }
}
