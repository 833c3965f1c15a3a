//! Reads the data of events: checks it by its schema, and its amounts and days.

use std::collections::BTreeMap;

use events::{DataFault, RecipientType, Timestamp};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::data::{
    EventData, InvitationData, InvoiceChange, InvoiceData, InvoiceLine, LinkRequest, LowStockData, PaymentData,
    StatedBalance, StockItem,
};
use super::person::Contact;
use super::schema::{self, fault};
use super::types::EventType;
use crate::amount;
use crate::payment_link::VALID_RANGE_MS;

/// Maximum length of a name, in characters. A longer one is cut.
const MAX_NAME: usize = 255;

/// Reads the data of an event. Pointers of faults begin with `/data`. A day that is given as an instant is the day of
/// that instant in `zone`.
///
/// # Errors
///
/// Everything that is wrong with it. No value is quoted.
pub fn read(kind: &EventType, data: &Value, zone: &TimeZone) -> Result<EventData, Vec<DataFault>> {
    let faults = schema::faults(kind.parsed_schema(), data, "/data");
    let mut reader = Reader { faults, zone };
    // A fault of the schema can make a field unreadable, but the others still have their amounts checked.
    let read = reader.read(kind.name, data);
    let mut faults = reader.faults;
    match read {
        Some(read) if faults.is_empty() => Ok(read),
        _ => {
            if faults.is_empty() {
                faults.push(fault("/data", "unreadable", "cannot be read."));
            }
            Err(faults)
        }
    }
}

struct Reader<'a> {
    faults: Vec<DataFault>,
    zone: &'a TimeZone,
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn name(value: &Value) -> Option<String> {
    Some(value.as_str()?.chars().take(MAX_NAME).collect())
}

/// A number as its text, or a text.
fn decimal(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    let time: jiff::Timestamp = value.as_str()?.parse().ok()?;
    Some(Timestamp(time.as_millisecond()))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl Reader<'_> {
    fn read(&mut self, kind: &str, data: &Value) -> Option<EventData> {
        let change = |change| EventData::InvoiceState {
            invoice: text(&data["invoice"]).unwrap_or_default(),
            change,
            reason: text(&data["reason"]),
            revision: data["revision"].as_u64(),
        };
        Some(match kind {
            "sale.created" => EventData::InvoiceIssued(Box::new(self.sale(data))),
            "ar_invoice.created" => EventData::InvoiceIssued(Box::new(self.invoice(data))),
            "ar_invoice.changed" => EventData::InvoiceChanged(Box::new(self.invoice(data))),
            "ar_invoice.statement" => self.statement(data)?,
            "ar_invoice.voided" => change(InvoiceChange::Voided),
            "ar_invoice.disputed" => change(InvoiceChange::Disputed),
            "ar_invoice.written_off" => change(InvoiceChange::WrittenOff),
            "ar_invoice.reinstated" => change(InvoiceChange::Reinstated),
            "ar_invoice.dispute_resolved" => change(InvoiceChange::DisputeResolved),
            "payment.received" => EventData::PaymentReceived(Box::new(self.payment(data)?)),
            "payment.refunded" => self.refund(data)?,
            "payment.failed" => EventData::PaymentFailed {
                payment: text(&data["payment"])?,
                invoice: text(&data["invoice"]),
                reason: text(&data["reason"]),
            },
            "payment_link.requested" => EventData::PaymentLinkRequested(self.link(data)?),
            "user.invited" => self.invitation(data)?,
            "low_stock.detected" => low_stock(data)?,
            "customer.created" => self.created(RecipientType::Customer, data, "customer")?,
            "user.created" => self.created(RecipientType::User, data, "user")?,
            "customer.changed" => self.changed(RecipientType::Customer, data, "customer")?,
            "user.changed" => self.changed(RecipientType::User, data, "user")?,
            "customer.erased" => {
                EventData::PersonRemoved { kind: RecipientType::Customer, id: text(&data["customer"]["id"])? }
            }
            "user.removed" => EventData::PersonRemoved { kind: RecipientType::User, id: text(&data["user"]["id"])? },
            _ => return None,
        })
    }

    fn link(&mut self, data: &Value) -> Option<LinkRequest> {
        let valid_ms = data["expiresIn"].as_str().and_then(schema::duration_ms);
        let (least, most) = VALID_RANGE_MS;
        if valid_ms.is_some_and(|ms| !(least..=most).contains(&ms)) {
            let detail = "must be from one hour to 366 days.";
            self.faults.push(fault("/data/expiresIn", "not_in_range", detail));
        }
        let channel = data["channel"].as_str().and_then(|name| name.parse().ok());
        Some(LinkRequest { invoice: text(&data["invoice"])?, channel, valid_ms })
    }

    /// An amount in minor units. Without a currency it cannot be read.
    fn amount(&mut self, value: &Value, currency: &Value, pointer: &str) -> Option<i64> {
        let given = decimal(value)?;
        let Some(currency) = currency.as_str() else {
            let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
            let at = format!("{parent}/currency");
            if !self.faults.iter().any(|fault| fault.pointer == at) {
                self.faults.push(fault(at, "required", "is required, because amounts are given."));
            }
            return None;
        };
        // A currency that is not valid has a fault of its own.
        match amount::parse(&given, currency) {
            Ok(minor) => Some(minor),
            Err(error) => {
                self.faults.push(fault(pointer, error.code(), format!("{error}.")));
                None
            }
        }
    }

    fn day(&self, value: &Value) -> Option<String> {
        let given = value.as_str()?;
        match given.parse::<jiff::Timestamp>() {
            Ok(instant) => Some(instant.to_zoned(self.zone.clone()).date().to_string()),
            Err(_) => schema::is_date(given).then(|| given.to_owned()),
        }
    }

    fn contact(&mut self, value: &Value) -> Option<Contact> {
        let mut contact: Contact = serde_json::from_value(value.clone()).ok()?;
        if let Some(Some(given)) = &mut contact.name {
            *given = given.chars().take(MAX_NAME).collect();
        }
        Some(contact)
    }

    fn lines(&mut self, value: &Value, currency: &Value, pointer: &str) -> Vec<InvoiceLine> {
        let line = |(index, line): (usize, &Value)| InvoiceLine {
            description: name(&line["description"]).unwrap_or_default(),
            quantity: decimal(&line["quantity"]),
            unit_price: self.amount(&line["unitPrice"], currency, &format!("{pointer}/{index}/unitPrice")),
            total: self.amount(&line["total"], currency, &format!("{pointer}/{index}/total")),
        };
        list(value).iter().enumerate().map(line).collect()
    }

    fn sale(&mut self, data: &Value) -> InvoiceData {
        let sale = &data["sale"];
        let currency = &sale["currency"];
        let total = self.amount(&sale["total"], currency, "/data/sale/total");
        let paid = match &sale["paid"] {
            Value::Bool(true) => total,
            Value::Bool(false) | Value::Null => None,
            paid => self.amount(paid, currency, "/data/sale/paid"),
        };
        let issued_on = self.day(&sale["date"]);
        let due_on = self.day(&sale["dueDate"]).or_else(|| {
            let days = sale["paymentTermsDays"].as_i64()?;
            let issued: jiff::civil::Date = issued_on.as_ref()?.parse().ok()?;
            Some(issued.checked_add(jiff::Span::new().days(days)).ok()?.to_string())
        });
        InvoiceData {
            id: text(&sale["id"]).unwrap_or_default(),
            is_sale: true,
            number: text(&sale["number"]),
            currency: text(currency),
            total,
            balance: paid.zip(total).map(|(paid, total)| (total - paid).max(0)),
            issued_on,
            due_on,
            status: None,
            revision: sale["revision"].as_u64(),
            lines: self.lines(&sale["lines"], currency, "/data/sale/lines"),
            customer: self.contact(&data["customer"]),
            document: serde_json::from_value(data["document"].clone()).ok(),
            business_name: name(&data["businessName"]),
        }
    }

    fn invoice(&mut self, data: &Value) -> InvoiceData {
        let invoice = &data["invoice"];
        let currency = &invoice["currency"];
        InvoiceData {
            id: text(&invoice["id"]).unwrap_or_default(),
            is_sale: false,
            number: text(&invoice["number"]),
            currency: text(currency),
            total: self.amount(&invoice["total"], currency, "/data/invoice/total"),
            balance: self.amount(&invoice["balance"], currency, "/data/invoice/balance"),
            issued_on: self.day(&invoice["issuedOn"]),
            due_on: self.day(&invoice["dueOn"]),
            status: text(&invoice["status"]),
            revision: invoice["revision"].as_u64(),
            lines: self.lines(&invoice["lines"], currency, "/data/invoice/lines"),
            customer: self.contact(&data["customer"]),
            document: serde_json::from_value(data["document"].clone()).ok(),
            business_name: name(&data["businessName"]),
        }
    }

    fn statement(&mut self, data: &Value) -> Option<EventData> {
        let mut invoices = Vec::new();
        for (index, stated) in list(&data["invoices"]).iter().enumerate() {
            let own = &stated["currency"];
            let currency = if own.is_string() { own } else { &data["currency"] };
            let pointer = format!("/data/invoices/{index}/balance");
            let balance = if currency.is_string() { self.amount(&stated["balance"], currency, &pointer) } else { None };
            if let (Some(invoice), Some(balance)) = (text(&stated["id"]), balance) {
                let (due_on, status) = (self.day(&stated["dueOn"]), text(&stated["status"]));
                invoices.push(StatedBalance { invoice, currency: text(currency)?, balance, due_on, status });
            }
        }
        Some(EventData::Statement { as_of: time(&data["asOf"])?, invoices })
    }

    /// The invoices that an amount is for. Without allocations it is for the one invoice.
    fn allocations(&mut self, data: &Value, currency: &Value, amount: i64, at: &str) -> Vec<(String, i64)> {
        let mut allocations = Vec::new();
        for (index, allocation) in list(&data["allocations"]).iter().enumerate() {
            let pointer = format!("/data/allocations/{index}/amount");
            let part = self.amount(&allocation["amount"], currency, &pointer);
            allocations.extend(text(&allocation["invoice"]).zip(part));
        }
        if amount < allocations.iter().map(|(_, part)| part).sum() {
            self.faults.push(fault("/data/allocations", "over_amount", format!("must not exceed {at}.")));
        }
        if allocations.is_empty() {
            allocations.extend(text(&data["invoice"]).map(|invoice| (invoice, amount)));
        }
        allocations
    }

    fn payment(&mut self, data: &Value) -> Option<PaymentData> {
        let payment = &data["payment"];
        let currency = &payment["currency"];
        let amount = currency.is_string().then(|| self.amount(&payment["amount"], currency, "/data/payment/amount"));
        let amount = amount.flatten()?;
        Some(PaymentData {
            id: text(&payment["id"])?,
            amount,
            currency: text(currency)?,
            allocations: self.allocations(data, currency, amount, "payment.amount"),
            received_at: time(&payment["receivedAt"]),
            method: text(&payment["method"]),
            link_token: text(&payment["linkToken"]),
            customer: self.contact(&data["customer"]),
            business_name: name(&data["businessName"]),
        })
    }

    fn refund(&mut self, data: &Value) -> Option<EventData> {
        let currency = &data["currency"];
        let amount = currency.is_string().then(|| self.amount(&data["amount"], currency, "/data/amount"));
        let amount = amount.flatten()?;
        let refunded = PaymentData {
            id: text(&data["payment"])?,
            amount,
            currency: text(currency)?,
            allocations: self.allocations(data, currency, amount, "amount"),
            received_at: None,
            method: None,
            link_token: None,
            customer: None,
            business_name: None,
        };
        Some(EventData::PaymentRefunded(Box::new(refunded), text(&data["refund"])?))
    }

    fn invitation(&mut self, data: &Value) -> Option<EventData> {
        Some(EventData::UserInvited(Box::new(InvitationData {
            id: text(&data["inviteId"]),
            user: self.contact(&data["user"])?,
            inviter: name(&data["inviter"]["name"]),
            role: text(&data["role"]),
            business_name: name(&data["businessName"])?,
            url: text(&data["inviteUrl"])?,
            expires_at: time(&data["expiresAt"]),
        })))
    }

    fn created(&mut self, kind: RecipientType, data: &Value, field: &str) -> Option<EventData> {
        let preferences = match &data["preferences"] {
            Value::Null => BTreeMap::new(),
            preferences => serde_json::from_value::<BTreeMap<_, Option<Vec<_>>>>(preferences.clone()).ok()?,
        };
        let preferences = preferences.into_iter().filter_map(|(kind, channels)| Some((kind, channels?))).collect();
        Some(EventData::PersonCreated { kind, contact: Box::new(self.contact(&data[field])?), preferences })
    }

    fn changed(&mut self, kind: RecipientType, data: &Value, field: &str) -> Option<EventData> {
        Some(EventData::PersonChanged { kind, contact: Box::new(self.contact(&data[field])?) })
    }
}

fn low_stock(data: &Value) -> Option<EventData> {
    let location_name = name(&data["location"]["name"])?;
    let items: Vec<StockItem> = match &data["items"] {
        Value::Null => Vec::new(),
        items => serde_json::from_value(items.clone()).ok()?,
    };
    Some(EventData::LowStock(Box::new(LowStockData {
        alert: text(&data["alert"]["id"])?,
        location: text(&data["location"]["id"]).unwrap_or_else(|| location_name.clone()),
        location_name,
        item_count: data["itemCount"].as_u64().unwrap_or(items.len() as u64),
        items,
        business_name: name(&data["businessName"]),
    })))
}
