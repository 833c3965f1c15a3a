//! Invoices to print.

use domain::printable_invoice::{InvoiceLine, Party, PrintableInvoice};

/// An invoice with this many lines.
pub fn invoice(lines: usize) -> PrintableInvoice {
    let goods = ["Mooring rope, 12 mm, navy", "Delivery to pier 4", "Стальной карабин", "Ελαιόλαδο Καλαμάτας, 5 l"];
    let lines: Vec<InvoiceLine> = (0..lines)
        .map(|index| InvoiceLine {
            description: goods[index % goods.len()].to_owned(),
            quantity: Some("2.5".parse().expect("a number")),
            unit_price: Some(1_999),
            amount: Some(4_998),
        })
        .collect();
    let total = lines.iter().filter_map(|line| line.amount).sum();
    PrintableInvoice {
        number: "INV-2026-1042".to_owned(),
        issued_on: jiff::civil::date(2026, 11, 20),
        due_on: Some(jiff::civil::date(2026, 12, 20)),
        seller: Party {
            name: "Harbour Supplies Ltd".to_owned(),
            address: vec!["1 Quay Street".to_owned(), "Bristol BS1 4DJ".to_owned()],
        },
        customer: Party {
            name: "Beatriz Núñez".to_owned(),
            address: vec!["Calle de Alcalá 12".to_owned(), "28014 Madrid".to_owned(), "España".to_owned()],
        },
        lines,
        total,
        paid: 5_000,
        balance: total - 5_000,
        currency: "EUR".to_owned(),
        locale: "en-GB".to_owned(),
        payment_url: Some("https://pay.example.com/pay/AZrJ3kT0fQ6mL8yP2sV1wX4cB7nD9hG5".parse().expect("an address")),
    }
}
