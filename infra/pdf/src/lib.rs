//! Prints invoices as tagged PDF/A-2a with the embedded fonts. It is a crate of its own because of its size: only
//! programs that print invoices link it. It reads no clock and no environment.

mod draw;
mod fonts;
mod layout;

use domain::printable_invoice::{InvoicePrinter, InvoiceTexts, PrintError, PrintableInvoice};

/// Prints invoices with the embedded fonts.
#[derive(Debug, Clone, Copy, Default)]
pub struct PdfPrinter;

impl InvoicePrinter for PdfPrinter {
    fn print(&self, invoice: &PrintableInvoice) -> Result<Vec<u8>, PrintError> {
        let texts = InvoiceTexts::new(invoice)?;
        draw::draw(&layout::pages(&texts)?, &texts, invoice.issued_on)
    }
}
