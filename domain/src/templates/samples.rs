//! Invented variables for previews of the system templates.

use serde_json::{Map, Value, json};

/// Variables with which every system template of a code can be rendered, and a tenant's own one of the same code in
/// most cases. Returns `None` for another code.
pub fn samples_of_system(code: &str) -> Option<Map<String, Value>> {
    let customer = json!({ "customerName": "Jonas Weber", "businessName": "Harbour Supplies" });
    let invoice = json!({
        "invoiceNumber": "INV-2042", "amount": 248.5, "currency": "EUR", "dueDate": "2026-12-08",
        "paymentLink": "https://pay.example.com/INV-2042", "shortLink": "https://pay.example.com/7",
    });
    let more = match code {
        "invoice" | "payment_link" => json!({}),
        "payment_confirmation" => json!({ "paymentDate": "2026-12-01", "remaining": 20.0 }),
        "collection_notice" => json!({ "daysOverdue": 7 }),
        "collection_notice_many" => {
            let other = json!({
                "invoiceNumber": "INV-1987", "amount": 90, "currency": "EUR", "dueDate": "2026-11-20",
                "paymentLink": "https://pay.example.com/INV-1987",
            });
            json!({ "sums": [{ "amount": 338.5, "currency": "EUR" }], "count": 2, "invoices": [invoice, other] })
        }
        "low_stock_alert" => json!({
            "locationName": "Main warehouse", "itemCount": 2,
            "items": [{ "name": "Olive oil, 5 l", "quantity": 2 }, { "name": "Rope, 10 m", "quantity": 1 }],
        }),
        "user_invitation" => json!({
            "invitationLink": "https://app.example.com/invitations/7", "userName": "Noor", "inviterName": "Sam",
            "role": "accountant",
        }),
        "general" => json!({ "title": "Opening hours", "message": "We are open until 18:00 today." }),
        _ => return None,
    };
    let all = [customer, invoice, more].into_iter().filter_map(|part| part.as_object().cloned());
    Some(all.flatten().collect())
}
