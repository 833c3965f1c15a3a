//! What a source tells in the simulation of business events.

use serde_json::{Value, json};
use tests::rng::SeededRng;

use crate::T0;

pub const USERS: usize = 4;
pub const INVITATIONS: usize = 10;
const ALERTS: usize = 3;
/// Sales whose invoices are printed. Each is told twice, by two ids. Half of the customers have no address.
pub const SALES: usize = 6;

/// One delivery of an event. An event has several.
#[derive(Clone)]
pub struct Delivery {
    pub id: String,
    pub kind: &'static str,
    pub data: Value,
    pub occurred_at: i64,
}

pub fn email(n: usize, revision: i64) -> String {
    format!("person-{n}-{revision}@example.com")
}

/// Every event, with the time at which it happens.
pub fn events_of(rng: &mut SeededRng) -> Vec<Delivery> {
    let mut all = Vec::new();
    for n in 0..USERS {
        for revision in 0..3 {
            let user = json!({ "id": n.to_string(), "email": email(n, revision), "roles": ["inventory_manager"] });
            let kind = if revision == 0 { "user.created" } else { "user.changed" };
            let id = format!("user-{n}-{revision}");
            all.push(Delivery { id, kind, data: json!({ "user": user }), occurred_at: T0 + 1_000 * revision });
        }
    }
    for n in 0..INVITATIONS {
        // Some invitations are told twice, by two ids.
        for copy in 0..1 + usize::from(rng.percent(30)) {
            let data = json!({
                "inviteId": format!("invite-{n}"), "user": { "id": (n % USERS).to_string(), "email": format!("person-i{n}@example.com") },
                "businessName": "Acme", "inviteUrl": "https://app.example.com/i",
            });
            all.push(Delivery { id: format!("invite-{n}-{copy}"), kind: "user.invited", data, occurred_at: T0 });
        }
    }
    for n in 0..ALERTS {
        let data = json!({ "alert": { "id": format!("alert-{n}") }, "location": { "name": "Main" }, "items": [{ "name": "Oil" }] });
        all.push(Delivery { id: format!("stock-{n}"), kind: "low_stock.detected", data, occurred_at: T0 });
    }
    for n in 0..SALES {
        for copy in 0..2 {
            let mut customer = json!({ "id": format!("c{n}"), "name": format!("person-{n}") });
            if n % 2 == 0 {
                customer["email"] = email(n, 2).into();
            }
            let data = json!({
                "sale": { "id": n.to_string(), "number": format!("INV-{n}"), "date": "2027-01-10", "total": "121.00",
                          "currency": "EUR", "lines": [{ "description": "Rope", "total": "121.00" }] },
                "customer": customer,
            });
            all.push(Delivery { id: format!("sale-{n}-{copy}"), kind: "sale.created", data, occurred_at: T0 });
        }
    }
    for n in (1..SALES).step_by(2) {
        let customer = json!({ "id": format!("c{n}"), "email": email(n, 2) });
        let (id, data) = (format!("address-{n}"), json!({ "customer": customer }));
        all.push(Delivery { id, kind: "customer.changed", data, occurred_at: T0 + 1_000 });
    }
    let settled = json!([{ "id": "0", "balance": "0" }, { "id": "1", "balance": "0" }]);
    let data = json!({ "asOf": "2027-01-15T20:00:00Z", "currency": "EUR", "invoices": settled });
    all.push(Delivery { id: "statement".to_owned(), kind: "ar_invoice.statement", data, occurred_at: T0 });
    all.push(Delivery { id: "moon".to_owned(), kind: "moon.landed", data: json!({}), occurred_at: T0 });
    all.push(Delivery { id: "bad".to_owned(), kind: "user.created", data: json!({}), occurred_at: T0 });
    all
}
