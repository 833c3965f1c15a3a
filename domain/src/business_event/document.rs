//! The document of an invoice: that of its event, or one that is printed from the event's lines.

use fixed_decimal::Decimal;

use super::data::{InvoiceData, InvoiceLine};
use super::person::Person;
use crate::printable_invoice::{self, Party, PrintableInvoice, file_name};

/// The note of a message whose event has neither a document nor lines.
pub const NO_DOCUMENT: &str = "no_document";
/// Maximum number of characters of a quantity that is printed.
const MAX_QUANTITY: usize = 20;

/// Where the file of an invoice comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum InvoiceFile {
    /// An upload, by its id.
    Upload(String),
    /// A file at an address.
    Address(String),
    Printed(Box<PrintableInvoice>),
    /// There is none, for this reason.
    None(&'static str),
}

/// The file that a message about an invoice has.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentAct {
    pub file: InvoiceFile,
    pub name: String,
    /// Whether the message is not sent without it.
    pub is_required: bool,
}

/// The document of an invoice for its customer. The one of the event is the legal one, so ours is printed only if there
/// is none.
pub(super) fn document(
    invoice: &InvoiceData,
    customer: &Person,
    business_name: &str,
    (renders, is_required): (bool, bool),
) -> DocumentAct {
    let given = invoice.document.clone().unwrap_or_default();
    let file = match (given.attachment_id, given.url) {
        (Some(id), _) => InvoiceFile::Upload(id),
        (None, Some(url)) => InvoiceFile::Address(url),
        (None, None) => printable(invoice, customer, business_name)
            .filter(|_| renders)
            .map_or(InvoiceFile::None(NO_DOCUMENT), |invoice| InvoiceFile::Printed(Box::new(invoice))),
    };
    DocumentAct { file, name: file_name(invoice.number.as_deref().unwrap_or_default()), is_required }
}

/// An invoice as it is printed, from its event alone, so that the same event always has the same document. `None`
/// without lines, a day or an amount.
fn printable(invoice: &InvoiceData, customer: &Person, business_name: &str) -> Option<PrintableInvoice> {
    let (total, currency) = (invoice.total?, invoice.currency.clone()?);
    let balance = invoice.balance.unwrap_or(total).min(total);
    let issued_on = invoice.issued_on.as_ref()?.parse().ok()?;
    if invoice.lines.is_empty() {
        return None;
    }
    Some(PrintableInvoice {
        number: invoice.number.clone()?,
        issued_on,
        due_on: invoice.due_on.as_ref().and_then(|day| day.parse().ok()),
        seller: Party { name: business_name.to_owned(), address: Vec::new() },
        customer: Party { name: customer.name.clone().unwrap_or_default(), address: Vec::new() },
        lines: invoice.lines.iter().map(line).collect(),
        total,
        paid: total - balance,
        balance,
        currency,
        locale: customer.locale.clone().unwrap_or_default(),
        payment_url: None,
    })
}

fn line(InvoiceLine { description, quantity, unit_price, total }: &InvoiceLine) -> printable_invoice::InvoiceLine {
    let quantity = quantity.as_deref().filter(|text| is_plain(text));
    printable_invoice::InvoiceLine {
        description: description.clone(),
        quantity: quantity.and_then(|text| text.parse::<Decimal>().ok()),
        unit_price: *unit_price,
        amount: total.or_else(|| product(quantity?, (*unit_price)?)),
    }
}

/// Whether a number is short and has no exponent.
fn is_plain(text: &str) -> bool {
    text.len() <= MAX_QUANTITY && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-')
}

/// The product, if it is exact in minor units. Nothing is rounded: how is the decision of whoever issues invoices.
fn product(quantity: &str, unit_price: i64) -> Option<i64> {
    let (whole, fraction) = quantity.split_once('.').unwrap_or((quantity, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let product = digits.checked_mul(i128::from(unit_price))?;
    (product % scale == 0).then_some(product / scale)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::super::data::Document;
    use super::*;

    fn invoice() -> InvoiceData {
        let line = |quantity: &str, unit_price, total| InvoiceLine {
            description: "Rope".to_owned(),
            quantity: Some(quantity.to_owned()),
            unit_price,
            total,
        };
        InvoiceData {
            id: "7".to_owned(),
            number: Some("INV/7".to_owned()),
            currency: Some("EUR".to_owned()),
            total: Some(5_000),
            balance: Some(2_000),
            issued_on: Some("2027-01-10".to_owned()),
            lines: vec![line("2.5", Some(1_000), None), line("1", None, Some(2_500))],
            ..InvoiceData::default()
        }
    }

    fn customer() -> Person {
        Person { name: Some("Ada".to_owned()), locale: Some("es".to_owned()), ..Person::default() }
    }

    fn of(invoice: &InvoiceData, renders: bool) -> InvoiceFile {
        document(invoice, &customer(), "Acme", (renders, false)).file
    }

    #[test]
    fn an_invoice_with_lines_is_printed_from_its_event() {
        let act = document(&invoice(), &customer(), "Acme", (true, true));
        assert_eq!((act.name.as_str(), act.is_required), ("invoice-INV-7.pdf", true));
        let InvoiceFile::Printed(printed) = act.file else { panic!("{:?}", act.file) };
        assert_eq!((printed.total, printed.paid, printed.balance), (5_000, 3_000, 2_000));
        assert_eq!((printed.seller.name.as_str(), printed.customer.name.as_str()), ("Acme", "Ada"));
        assert_eq!(printed.lines.iter().map(|line| line.amount).collect::<Vec<_>>(), [Some(2_500); 2]);
        assert_eq!((printed.locale.as_str(), printed.payment_url.as_ref()), ("es", None));
    }

    #[test]
    fn the_document_of_the_event_wins() {
        let with = |attachment_id: Option<&str>, url: Option<&str>| InvoiceData {
            document: Some(Document { attachment_id: attachment_id.map(str::to_owned), url: url.map(str::to_owned) }),
            ..invoice()
        };
        let url = "https://erp.example.com/7.pdf";
        assert_eq!(of(&with(Some("att_1"), Some(url)), true), InvoiceFile::Upload("att_1".to_owned()));
        assert_eq!(of(&with(None, Some(url)), true), InvoiceFile::Address(url.to_owned()));
        assert!(matches!(of(&with(None, None), true), InvoiceFile::Printed(_)));
    }

    #[test]
    fn without_lines_or_the_setting_there_is_no_document() {
        assert_eq!(of(&invoice(), false), InvoiceFile::None(NO_DOCUMENT));
        assert_eq!(of(&InvoiceData { lines: Vec::new(), ..invoice() }, true), InvoiceFile::None(NO_DOCUMENT));
    }

    #[test]
    fn an_amount_is_computed_only_if_it_is_exact() {
        for (quantity, unit_price, amount) in [
            ("3", 1_999, Some(5_997)),
            ("2.5", 1_000, Some(2_500)),
            ("0.333", 1_000, Some(333)),
            ("0.3333", 1_000, None),
            ("-1", 500, Some(-500)),
            ("-0.5", 500, Some(-250)),
            ("1.2.3", 1, None),
            ("", 1, None),
            ("99999999999999999999", i64::MAX, None),
        ] {
            assert_eq!(product(quantity, unit_price), amount, "{quantity} × {unit_price}");
        }
        let odd = InvoiceLine {
            description: String::new(),
            quantity: Some("1e9".to_owned()),
            unit_price: Some(1),
            total: None,
        };
        assert_eq!((line(&odd).quantity, line(&odd).amount), (None, None));
    }
}
