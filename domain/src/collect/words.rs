//! What a notice says about the invoices that it speaks of.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::calendar::parse_day;
use crate::invoice::InvoiceState;
use crate::money::decimal;

/// The template of a notice of one invoice.
pub const ONE: &str = "collection_notice";
/// The template of a notice of several, so that a template for one is never given a list.
pub const MANY: &str = "collection_notice_many";

/// The variable that keeps the payment links of a notice of several invoices, by the streams of the invoices. Its list is
/// written anew when the message is sent.
pub const PAYMENT_LINKS: &str = "paymentLinks";

/// An invoice that a notice speaks of.
#[derive(Debug, Clone, Copy)]
pub struct ToldInvoice<'a> {
    pub state: &'a InvoiceState,
    /// Where it can be paid.
    pub payment_link: Option<&'a str>,
}

/// The variables of a notice on a day: those of one invoice, or a list with its sums.
pub fn variables(told: &[ToldInvoice<'_>], is_many: bool, day: Date) -> Map<String, Value> {
    let mut lines = told.iter().filter_map(|invoice| line(invoice, day));
    if !is_many {
        return lines.next().unwrap_or_default();
    }
    let invoices: Vec<Value> = lines.map(Value::Object).collect();
    let mut variables = Map::new();
    variables.insert("count".to_owned(), json!(invoices.len()));
    variables.insert("sums".to_owned(), sums(told));
    variables.insert("invoices".to_owned(), Value::Array(invoices));
    variables
}

/// What is said about one invoice.
fn line(ToldInvoice { state, payment_link }: &ToldInvoice<'_>, day: Date) -> Option<Map<String, Value>> {
    let terms = state.facts.terms();
    let (currency, due_on) = (terms.currency?, terms.due_on?);
    let overdue = day.since((jiff::Unit::Day, parse_day(&due_on)?)).ok()?.get_days();
    let line = json!({
        "invoiceNumber": terms.number?,
        "amount": decimal(state.facts.amounts()?.owed, &currency),
        "currency": currency,
        "dueDate": due_on,
        "daysOverdue": overdue,
    });
    let mut line = line.as_object().cloned()?;
    if let Some(link) = payment_link {
        line.insert("paymentLink".to_owned(), json!(link));
    }
    Some(line)
}

/// What is owed in each currency.
fn sums(told: &[ToldInvoice<'_>]) -> Value {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for ToldInvoice { state, .. } in told {
        if let (Some(currency), Some(amounts)) = (state.facts.terms().currency, state.facts.amounts()) {
            let sum = sums.entry(currency).or_default();
            *sum = sum.saturating_add(amounts.owed);
        }
    }
    sums.into_iter().map(|(currency, sum)| json!({ "amount": decimal(sum, &currency), "currency": currency })).collect()
}
