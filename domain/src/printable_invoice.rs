//! An invoice as it is printed: its content, and the texts that a document in the customer's language shows.

use async_trait::async_trait;
use fixed_decimal::Decimal;
use icu_decimal::DecimalFormatter;
use icu_locale::Locale;
use icu_normalizer::ComposingNormalizer;
use jiff::civil::Date;
use url::Url;

use crate::text::is_hidden;
use crate::{calendar, money};

/// Maximum number of lines of a printed invoice.
pub const MAX_LINES: usize = 500;

/// Maximum number of lines of a printed address. Further lines are left out.
const MAX_ADDRESS_LINES: usize = 6;

/// Maximum number of characters of a printed number, name or line of an address.
const MAX_NAME: usize = 120;

/// Maximum number of characters of the number in the name of a file.
const MAX_FILE_NUMBER: usize = 80;

/// Maximum number of characters of a printed description.
const MAX_DESCRIPTION: usize = 300;

/// The content of an invoice. Amounts are in minor units of the currency.
#[derive(Debug, Clone, PartialEq)]
pub struct PrintableInvoice {
    pub number: String,
    pub issued_on: Date,
    pub due_on: Option<Date>,
    pub seller: Party,
    pub customer: Party,
    pub lines: Vec<InvoiceLine>,
    pub total: i64,
    pub paid: i64,
    pub balance: i64,
    /// ISO 4217, such as `EUR`.
    pub currency: String,
    /// Language and region of the customer, such as `es-MX`. Languages without a translation are printed in English.
    pub locale: String,
    /// Where the balance can be paid. It is printed only if there is one.
    pub payment_url: Option<Url>,
}

/// Who sells or buys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Party {
    pub name: String,
    pub address: Vec<String>,
}

/// One line. What is `None` is left blank.
#[derive(Debug, Clone, PartialEq)]
pub struct InvoiceLine {
    pub description: String,
    pub quantity: Option<Decimal>,
    pub unit_price: Option<i64>,
    pub amount: Option<i64>,
}

/// Why an invoice cannot be printed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrintError {
    /// The document would not show the text as it is. No document is better than that.
    #[error("no font has a glyph for U+{:04X}", u32::from(*.0))]
    NoGlyph(char),
    #[error("it has more than {MAX_LINES} lines")]
    TooManyLines,
    #[error(transparent)]
    Money(#[from] money::MoneyError),
    #[error("{0}")]
    Date(String),
    /// The document would not be valid.
    #[error("the document is not valid: {0}")]
    Invalid(String),
}

impl PrintError {
    /// A code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            PrintError::NoGlyph(_) => "no_glyph",
            PrintError::TooManyLines => "too_many_lines",
            PrintError::Money(_) => "invalid_amount",
            PrintError::Date(_) => "invalid_date",
            PrintError::Invalid(_) => "invalid_document",
        }
    }
}

/// Prints invoices.
#[async_trait]
pub trait InvoicePrinter: Send + Sync {
    /// Returns the PDF of an invoice. The same invoice always has the same bytes.
    ///
    /// # Errors
    ///
    /// [`PrintError`] says which part of the invoice cannot be printed. Another attempt fails in the same way.
    async fn print(&self, invoice: PrintableInvoice) -> Result<Vec<u8>, PrintError>;
}

/// The name of an invoice's file. Characters of the number that a name cannot have become hyphens.
pub fn file_name(number: &str) -> String {
    let kept: String = number.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    let words: Vec<&str> = kept.split(' ').filter(|word| !word.is_empty()).collect();
    let number: String = words.join("-").chars().take(MAX_FILE_NUMBER).collect();
    if number.is_empty() { "invoice.pdf".to_owned() } else { format!("invoice-{number}.pdf") }
}

/// The texts of a printed invoice, formatted and of limited length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceTexts {
    /// Language and region in which the texts are.
    pub locale: String,
    /// `Invoice 1042`.
    pub heading: String,
    pub seller: Party,
    pub customer_label: &'static str,
    pub customer: Party,
    /// Dates and currency, with their labels.
    pub details: Vec<(&'static str, String)>,
    /// The labels of description, quantity, unit price and amount.
    pub columns: [&'static str; 4],
    pub rows: Vec<[String; 4]>,
    pub totals: Vec<(&'static str, String)>,
    /// The last of the totals.
    pub balance: (&'static str, String),
    /// The label of the payment link, and its address.
    pub payment: Option<(&'static str, String)>,
    words: &'static Words,
}

impl InvoiceTexts {
    /// Formats an invoice in its locale.
    ///
    /// # Errors
    ///
    /// [`PrintError`] says which part of the invoice cannot be formatted.
    pub fn new(invoice: &PrintableInvoice) -> Result<InvoiceTexts, PrintError> {
        if MAX_LINES < invoice.lines.len() {
            return Err(PrintError::TooManyLines);
        }
        let (locale, words) = language(&invoice.locale);
        let tag = locale.to_string();
        let money = |amount| money::format_minor(amount, &invoice.currency, &tag);
        let date = |day| calendar::format(day, "long", &tag).map_err(PrintError::Date);
        let numbers = DecimalFormatter::try_new((&locale).into(), Default::default());
        let numbers = numbers.map_err(|_| PrintError::Invalid("the locale has no numbers".to_owned()))?;

        let number = printable(&invoice.number, MAX_NAME);
        let mut details = vec![(words.issued_on, date(invoice.issued_on)?)];
        if let Some(due_on) = invoice.due_on {
            details.push((words.due_on, date(due_on)?));
        }
        details.push((words.currency, invoice.currency.clone()));
        let row = |line: &InvoiceLine| {
            let description = printable(&line.description, MAX_DESCRIPTION);
            let quantity = line.quantity.as_ref().map(|quantity| numbers.format(quantity).to_string());
            let quantity = printable(&quantity.unwrap_or_default(), MAX_NAME);
            let amount = |amount: Option<i64>| amount.map_or(Ok(String::new()), money);
            Ok([description, quantity, amount(line.unit_price)?, amount(line.amount)?])
        };
        let mut totals = vec![(words.total, money(invoice.total)?)];
        if invoice.paid != 0 {
            totals.push((words.paid, money(invoice.paid)?));
        }
        let payment_url = invoice.payment_url.as_ref().filter(|_| invoice.balance > 0);
        Ok(InvoiceTexts {
            heading: format!("{} {number}", words.invoice),
            seller: printable_party(&invoice.seller),
            customer_label: words.customer,
            customer: printable_party(&invoice.customer),
            details,
            columns: words.columns,
            rows: invoice.lines.iter().map(row).collect::<Result<_, PrintError>>()?,
            totals,
            balance: (words.balance, money(invoice.balance)?),
            payment: payment_url.map(|url| (words.pay, url.to_string())),
            locale: tag,
            words,
        })
    }

    /// `Page 2 of 3`.
    pub fn page(&self, page: usize, pages: usize) -> String {
        let [before, between] = self.words.page;
        format!("{before} {page} {between} {pages}")
    }
}

/// The fixed words of a printed invoice in one language.
#[derive(Debug, PartialEq, Eq)]
struct Words {
    language: &'static str,
    invoice: &'static str,
    issued_on: &'static str,
    due_on: &'static str,
    currency: &'static str,
    customer: &'static str,
    columns: [&'static str; 4],
    total: &'static str,
    paid: &'static str,
    balance: &'static str,
    pay: &'static str,
    page: [&'static str; 2],
}

static ENGLISH: Words = Words {
    language: "en",
    invoice: "Invoice",
    issued_on: "Issued on",
    due_on: "Due on",
    currency: "Currency",
    customer: "Bill to",
    columns: ["Description", "Quantity", "Unit price", "Amount"],
    total: "Total",
    paid: "Paid",
    balance: "Balance due",
    pay: "Pay online",
    page: ["Page", "of"],
};

static SPANISH: Words = Words {
    language: "es",
    invoice: "Factura",
    issued_on: "Fecha de emisión",
    due_on: "Vencimiento",
    currency: "Moneda",
    customer: "Facturar a",
    columns: ["Descripción", "Cantidad", "Precio unitario", "Importe"],
    total: "Total",
    paid: "Pagado",
    balance: "Saldo pendiente",
    pay: "Pagar en línea",
    page: ["Página", "de"],
};

/// The locale in which an invoice is printed, and its words. Amounts and dates of a language without a translation would
/// not fit the English words, so those are English too.
fn language(locale: &str) -> (Locale, &'static Words) {
    let parsed = locale.parse::<Locale>().ok();
    let found = parsed.and_then(|locale| {
        let words = [&ENGLISH, &SPANISH].into_iter().find(|words| words.language == locale.id.language.as_str())?;
        // Without extensions, which could choose digits that no font has.
        Some((Locale::from(locale.id), words))
    });
    found.unwrap_or((icu_locale::locale!("en"), &ENGLISH))
}

fn printable_party(party: &Party) -> Party {
    let lines = party.address.iter().map(|line| printable(line, MAX_NAME)).filter(|line| !line.is_empty());
    Party { name: printable(&party.name, MAX_NAME), address: lines.take(MAX_ADDRESS_LINES).collect() }
}

/// The text on one line, without characters that are not shown, and cut after `max` characters.
fn printable(text: &str, max: usize) -> String {
    // What is cut off below needs no work. A character can be composed of several.
    let visible: String = text.chars().filter(|c| !is_hidden(*c)).take(max * 8).collect();
    let spaced = visible.replace(|c: char| c.is_control() || c.is_whitespace(), " ");
    let words: Vec<&str> = spaced.split(' ').filter(|word| !word.is_empty()).collect();
    let composed = ComposingNormalizer::new_nfc().normalize(&words.join(" ")).replace('\u{2212}', "\u{2013}");
    if composed.chars().count() <= max {
        return composed;
    }
    let kept: String = composed.chars().take(max - 1).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoice(locale: &str) -> PrintableInvoice {
        PrintableInvoice {
            number: "INV-1042".to_owned(),
            issued_on: jiff::civil::date(2026, 11, 20),
            due_on: Some(jiff::civil::date(2026, 12, 20)),
            seller: Party { name: "Harbour Supplies".to_owned(), address: vec!["1 Quay Street".to_owned()] },
            customer: Party { name: "Bea".to_owned(), address: vec!["  ".to_owned(), "Madrid".to_owned()] },
            lines: vec![InvoiceLine {
                description: "Rope".to_owned(),
                quantity: Some("1250.5".parse().expect("a number")),
                unit_price: Some(199),
                amount: Some(248_850),
            }],
            total: 248_850,
            paid: 48_850,
            balance: 200_000,
            currency: "EUR".to_owned(),
            locale: locale.to_owned(),
            payment_url: Some("https://pay.example.com/pay/1".parse().expect("an address")),
        }
    }

    #[test]
    fn texts_follow_the_locale() {
        let english = InvoiceTexts::new(&invoice("en-US")).expect("texts");
        assert_eq!(english.heading, "Invoice INV-1042");
        assert_eq!(english.rows, [["Rope", "1,250.5", "€1.99", "€2,488.50"].map(str::to_owned)]);
        assert_eq!(english.details[1], ("Due on", "December 20, 2026".to_owned()));
        assert_eq!(english.page(2, 3), "Page 2 of 3");
        assert_eq!(english.customer.address, ["Madrid"], "blank lines are left out");

        let spanish = InvoiceTexts::new(&invoice("es-ES")).expect("texts");
        assert_eq!(spanish.rows, [["Rope", "1250,5", "1,99\u{a0}€", "2488,50\u{a0}€"].map(str::to_owned)]);
        assert_eq!(spanish.balance, ("Saldo pendiente", "2000,00\u{a0}€".to_owned()));
        assert_eq!(spanish.details[0], ("Fecha de emisión", "20 de noviembre de 2026".to_owned()));
    }

    #[test]
    fn a_line_can_have_a_description_alone() {
        let mut invoice = invoice("en");
        invoice.lines =
            vec![InvoiceLine { description: "Rope".to_owned(), quantity: None, unit_price: None, amount: None }];
        assert_eq!(InvoiceTexts::new(&invoice).expect("texts").rows, [["Rope", "", "", ""].map(str::to_owned)]);
    }

    #[test]
    fn every_number_gives_a_file_name() {
        for (number, name) in [
            ("INV-7", "invoice-INV-7.pdf"),
            ("2027/01 (A)", "invoice-2027-01-A.pdf"),
            ("../../etc/passwd", "invoice-etc-passwd.pdf"),
            ("\u{202e}fdp.exe\0", "invoice-fdp-exe.pdf"),
            ("Nº 7", "invoice-Nº-7.pdf"),
            ("№/…", "invoice.pdf"),
            ("請求書1", "invoice-請求書1.pdf"),
        ] {
            assert_eq!(file_name(number), name, "{number:?}");
            assert_eq!(crate::file_name::last_segment(name), Some(name));
        }
        assert_eq!(file_name(&"9".repeat(500)).chars().count(), 92);
    }

    #[test]
    fn languages_without_a_translation_are_printed_in_english() {
        for locale in ["de-DE", "ar-EG", "en-u-nu-arab", "", "not a locale"] {
            let texts = InvoiceTexts::new(&invoice(locale)).expect("texts");
            assert_eq!((texts.locale.as_str(), texts.rows[0][3].as_str()), ("en", "€2,488.50"), "{locale}");
        }
    }

    #[test]
    fn only_a_balance_can_be_paid() {
        let mut paid = invoice("en");
        assert!(InvoiceTexts::new(&paid).expect("texts").payment.is_some());
        (paid.paid, paid.balance) = (paid.total, 0);
        assert_eq!(InvoiceTexts::new(&paid).expect("texts").payment, None);
    }

    #[test]
    fn text_is_visible_and_of_limited_length() {
        for (text, expected) in [
            (" a\tb\r\n c\u{0}d ", "a b c d"),
            ("fdp\u{202e}exe\u{2067}", "fdpexe"),
            ("Cafe\u{301}", "Café"),
            ("1234567890", "1234567890"),
            ("12345678 01", "12345678…"),
        ] {
            assert_eq!(printable(text, 10), expected, "{text:?}");
        }
        assert_eq!(printable(&"x".repeat(5_000), 300).chars().count(), 300);
    }

    #[test]
    fn what_cannot_be_printed_has_a_code() {
        let mut long = invoice("en");
        long.lines = vec![long.lines[0].clone(); MAX_LINES + 1];
        assert_eq!(InvoiceTexts::new(&long).map_err(|error| error.code()), Err("too_many_lines"));
        let mut unknown = invoice("en");
        unknown.currency = "euros".to_owned();
        assert_eq!(InvoiceTexts::new(&unknown).map_err(|error| error.code()), Err("invalid_amount"));
        assert_eq!(PrintError::NoGlyph('漢').to_string(), "no font has a glyph for U+6F22");
    }
}
