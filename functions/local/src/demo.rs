//! `tidings demo`: a story of invoices, reminders and payments, told by a process of its own with a clock that is moved.
//! Each line of it is checked.

use std::time::Duration;

use axum::http::Method;
use domain::ports::ClockAndRng;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};
use serde_json::{Value, json};

use crate::api_call::call;
use crate::{DEV_KEY, Local};

/// The longest that a line of the story may take to come true, by the wall clock.
const MAX_WAIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);
const MADRID: &str = "Europe/Madrid";
const MEXICO: &str = "America/Mexico_City";

/// What went wrong while telling: a call that was refused.
type Told<T> = Result<T, String>;

/// Tells the story to standard output. Returns the number of lines that did not come true.
///
/// # Errors
///
/// A text for people: a call of the API was refused.
pub async fn tell(local: &Local) -> Told<usize> {
    let mut story = Story { local, madrid: zone(MADRID)?, untrue: 0 };
    let sunday = story.next_change_to_summer()?;
    story.begin(sunday).await?;
    story.a_sale_sends_its_invoice(sunday).await?;
    story.invoices_are_issued(sunday).await?;
    story.clocks_change_and_nine_stays_nine(sunday).await?;
    story.a_payment_stops_what_waits(sunday).await?;
    story.a_link_is_opened_and_paid(sunday).await?;
    story.a_promise_is_broken(sunday).await?;
    story.a_dispute_is_quiet(sunday).await?;
    story.numbers().await?;
    Ok(story.untrue)
}

fn zone(name: &str) -> Told<TimeZone> {
    TimeZone::get(name).map_err(|error| error.to_string())
}

struct Story<'a> {
    local: &'a Local,
    madrid: TimeZone,
    untrue: usize,
}

/// A customer of the story.
struct Customer {
    id: &'static str,
    name: &'static str,
    phone: Option<&'static str>,
    zone: &'static str,
}

impl Customer {
    fn email(&self) -> String {
        format!("{}@example.com", self.id)
    }
}

const ADA: Customer = Customer { id: "ada", name: "Ada", phone: None, zone: MEXICO };
const BEA: Customer = Customer { id: "bea", name: "Bea", phone: Some("+447700900101"), zone: MADRID };
const CHO: Customer = Customer { id: "cho", name: "Cho", phone: Some("+447700900102"), zone: MADRID };
const DAN: Customer = Customer { id: "dan", name: "Dan", phone: None, zone: MADRID };
const EVE: Customer = Customer { id: "eve", name: "Eve", phone: None, zone: MADRID };

impl Story<'_> {
    /// The Sunday on which clocks in Madrid change to summer time next, at least two weeks from now.
    fn next_change_to_summer(&self) -> Told<Date> {
        let earliest = self.now().checked_add(Span::new().hours(14 * 24)).map_err(|error| error.to_string())?;
        let changes = self.madrid.following(earliest).take(2);
        let is_summer = |at: &Timestamp| self.madrid.to_offset_info(*at).dst().is_dst();
        let change = changes.map(|change| change.timestamp()).find(is_summer);
        let change = change.ok_or("clocks in Madrid do not change any more")?;
        Ok(change.to_zoned(self.madrid.clone()).date())
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.local.clock.now().0).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn say(&self, text: &str) {
        println!("\n{}  {text}", self.now().to_zoned(self.madrid.clone()).strftime("%a %e %b %Y, %H:%M"));
    }

    /// Says a line, and whether it is true.
    fn check(&mut self, line: &str, is_true: bool, seen: impl std::fmt::Display) {
        if is_true {
            println!("  \u{2713} {line}");
        } else {
            self.untrue += 1;
            println!("  \u{2717} {line}\n      instead: {seen}");
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Told<Value> {
        call(method, &format!("{}{path}", self.local.url), DEV_KEY, body.as_ref()).await
    }

    async fn get(&self, path: &str) -> Told<Value> {
        self.call(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Told<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Sends a business event, and returns it when it was handled.
    async fn event(&self, id: &str, kind: &str, data: Value) -> Told<Value> {
        let event = json!({ "id": id, "type": kind, "source": "shop", "data": data });
        let taken = self.post("/api/events", event).await?;
        let path = format!("/api/business-events/{}", taken["id"].as_str().unwrap_or_default());
        let is_handled = |event: &Value| event["status"] != "received";
        self.until(&path, is_handled).await
    }

    /// Asks until an answer is right, or for [`MAX_WAIT`]. Returns the last answer.
    async fn until(&self, path: &str, is_right: impl Fn(&Value) -> bool) -> Told<Value> {
        let began = std::time::Instant::now();
        loop {
            let answer = self.get(path).await?;
            if is_right(&answer) || MAX_WAIT < began.elapsed() {
                return Ok(answer);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Lets time pass until it is this late in a zone.
    async fn pass_until(&self, date: Date, time: Time, zone: &TimeZone) -> Told<()> {
        let at = DateTime::from_parts(date, time).to_zoned(zone.clone()).map_err(|error| error.to_string())?;
        self.post("/_dev/clock", json!({ "to": at.timestamp().to_string() })).await?;
        Ok(())
    }

    /// What a customer received, newest first.
    async fn received(&self, address: &str) -> Told<Vec<Value>> {
        let mut inbox = self.get(&format!("/_dev/inbox?to={}", address.replace('+', "%2B"))).await?;
        Ok(inbox["messages"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// What a customer received, once there are so many messages.
    async fn received_at_least(&self, address: &str, count: usize) -> Told<Vec<Value>> {
        let path = format!("/_dev/inbox?to={}", address.replace('+', "%2B"));
        let has = |inbox: &Value| inbox["messages"].as_array().is_some_and(|messages| count <= messages.len());
        self.until(&path, has).await?;
        self.received(address).await
    }

    /// Issues an invoice of 100.00 EUR.
    async fn invoice(&self, number: &str, customer: &Customer, issued: Date, due: Date) -> Told<()> {
        let data = json!({
            "invoice": { "id": number, "number": number, "issuedOn": issued.to_string(), "dueOn": due.to_string(),
                         "total": "100.00", "currency": "EUR", "status": "issued" },
            "customer": { "id": customer.id, "name": customer.name, "email": customer.email(), "phone": customer.phone,
                          "timeZone": customer.zone },
            "businessName": "Acme",
        });
        self.event(&format!("issued-{number}"), "ar_invoice.created", data).await?;
        Ok(())
    }

    async fn pay(&self, number: &str, customer: &Customer, token: Option<&str>) -> Told<Value> {
        let data = json!({
            "payment": { "id": format!("pay-{number}"), "amount": "100.00", "currency": "EUR",
                         "receivedAt": self.now().to_string(), "method": "card", "linkToken": token },
            "allocations": [{ "invoice": number, "amount": "100.00" }],
            "customer": { "id": customer.id, "email": customer.email() },
            "businessName": "Acme",
        });
        self.event(&format!("paid-{number}"), "payment.received", data).await
    }

    /// Why an invoice is where it is, in one sentence.
    async fn explain(&self, number: &str) -> Told<String> {
        let explained = self.get(&format!("/api/invoices/{number}/explain")).await?;
        Ok(explained["summary"].as_str().unwrap_or_default().to_owned())
    }

    async fn begin(&mut self, sunday: Date) -> Told<()> {
        self.pass_until(sunday - Span::new().days(12), Time::constant(8, 0, 0, 0), &self.madrid.clone()).await?;
        self.say("Acme, a shop in Madrid, switches reminders on");
        self.call(Method::PATCH, "/api/collections", Some(json!({ "timeZone": MADRID }))).await?;
        let on = self.call(Method::POST, "/api/collections/enable", Some(json!({}))).await?;
        self.check("Reminders go out at 09:00, after 1, 7 and 30 days", on["enabled"] == true, &on);
        Ok(())
    }

    async fn a_sale_sends_its_invoice(&mut self, sunday: Date) -> Told<()> {
        self.say("Ada in Mexico City buys, and gets her invoice");
        let day = self.now().to_zoned(self.madrid.clone()).date();
        let sale = json!({
            "sale": { "id": "sale-1", "number": "A-1", "date": day.to_string(), "total": "121.00", "currency": "EUR",
                      "paid": false, "dueDate": (sunday + Span::new().days(20)).to_string(),
                      "lines": [{ "description": "Olive oil, 5 l", "quantity": 1, "unitPrice": "121.00" }] },
            "customer": { "id": ADA.id, "name": ADA.name, "email": ADA.email(), "timeZone": ADA.zone },
            "businessName": "Acme",
        });
        self.event("sale-1", "sale.created", sale.clone()).await?;
        let received = self.received_at_least(&ADA.email(), 1).await?;
        let file = received.first().map(|email| email["attachments"].to_string()).unwrap_or_default();
        self.check("One email, with invoice-A-1.pdf", received.len() == 1 && file.contains("invoice-A-1.pdf"), &file);
        let again = self.event("sale-1-repeated", "sale.created", sale).await?;
        let is_skipped = again["acts"].to_string().contains("already_sent");
        self.check("The same sale with another event id sends nothing", is_skipped, &again["acts"]);
        Ok(())
    }

    async fn invoices_are_issued(&mut self, sunday: Date) -> Told<()> {
        self.say("Invoices are issued to Bea, Cho, Dan and Eve");
        let (today, saturday) = (sunday - Span::new().days(12), sunday - Span::new().days(1));
        for number in ["B-1", "B-2", "B-3"] {
            self.invoice(number, &BEA, today, saturday).await?;
        }
        self.invoice("C-1", &CHO, today, sunday - Span::new().days(8)).await?;
        self.invoice("D-1", &DAN, today, saturday).await?;
        self.invoice("E-1", &EVE, today, saturday).await?;
        let disputed = json!({ "invoice": "E-1" });
        self.event("disputed-E-1", "ar_invoice.disputed", disputed).await?;
        let listed =
            self.until("/api/invoices?size=20", |list| list["results"].as_array().is_some_and(|all| all.len() == 7));
        let listed = listed.await?["results"].as_array().map_or(0, Vec::len);
        // An invoice is found by its number alone once it is in the list.
        let on = (sunday + Span::new().days(2)).to_string();
        self.post("/api/invoices/D-1/promise", json!({ "on": on })).await?;
        self.check("Seven invoices are known; Dan promised to pay, Eve disputes hers", listed == 7, listed);
        Ok(())
    }

    async fn clocks_change_and_nine_stays_nine(&mut self, sunday: Date) -> Told<()> {
        let before = self.received(&BEA.email()).await?.len();
        self.pass_until(sunday, Time::constant(8, 59, 30, 0), &self.madrid.clone()).await?;
        self.say("The night clocks went forward; B-1 to B-3 were due yesterday");
        let count = self.received(&BEA.email()).await?.len();
        self.check("Half a minute before nine Bea has no reminder", count == before, count);
        self.pass_until(sunday, Time::constant(9, 2, 0, 0), &self.madrid.clone()).await?;
        let received = self.received_at_least(&BEA.email(), before + 1).await?;
        let body = received.first().map(|email| email["body"].to_string()).unwrap_or_default();
        let has_all = ["B-1", "B-2", "B-3"].iter().all(|number| body.contains(number));
        self.check("One email about her three invoices", received.len() == before + 1 && has_all, &body);
        let at = received.first().and_then(|email| email["at"].as_str()?.parse::<Timestamp>().ok());
        let there: Option<Zoned> = at.map(|at| at.to_zoned(self.madrid.clone()));
        let shown = there.as_ref().map_or_else(String::new, |there| there.strftime("%H:%M %Z").to_string());
        self.check("It left at 09:00, summer time", shown.starts_with("09:0"), &shown);
        Ok(())
    }

    async fn a_payment_stops_what_waits(&mut self, sunday: Date) -> Told<()> {
        self.say("Cho was reminded a second time yesterday, and pays before the SMS");
        let reminded = self.received(&CHO.email()).await?.len();
        self.pay("C-1", &CHO, None).await?;
        self.pass_until(sunday, Time::constant(12, 0, 0, 0), &self.madrid.clone()).await?;
        let texts = self.received(CHO.phone.unwrap_or_default()).await?.len();
        self.check("Two reminders by email, and no SMS", 2 < reminded && texts == 0, format!("{reminded} and {texts}"));
        let why = self.explain("C-1").await?;
        self.check(&format!("C-1: {why}"), why.contains("nothing is owed"), &why);
        Ok(())
    }

    async fn a_link_is_opened_and_paid(&mut self, sunday: Date) -> Told<()> {
        let sms = BEA.phone.unwrap_or_default();
        self.pass_until(sunday + Span::new().days(7), Time::constant(9, 30, 0, 0), &self.madrid.clone()).await?;
        self.say("Bea did not read the second email, so an SMS followed a day later");
        let texts = self.received_at_least(sms, 1).await?;
        self.check("One SMS", texts.len() == 1, texts.len());
        let emails = self.received(&BEA.email()).await?;
        let page = "/t/local/pay/";
        let body = emails.iter().map(|email| email["body"].to_string()).find(|body| body.contains(page));
        let token: String = body.unwrap_or_default().split(page).nth(1).unwrap_or_default().chars().take(43).collect();
        let resolved = self.post("/api/payment-links/resolve", json!({ "token": token })).await?;
        self.check("She opens a link in it, which knows what she owes", resolved["owedMinor"] == 10_000, &resolved);
        let number = resolved["number"].as_str().unwrap_or_default().to_owned();
        let before = emails.len();
        self.pay(&number, &BEA, Some(&token)).await?;
        let confirmed = self.received_at_least(&BEA.email(), before + 1).await?;
        self.check("She pays, and the payment is confirmed", before < confirmed.len(), confirmed.len());
        Ok(())
    }

    async fn a_promise_is_broken(&mut self, sunday: Date) -> Told<()> {
        self.say("Dan had promised to pay by Tuesday");
        let received = self.received(&DAN.email()).await?;
        let reminders = received.iter().filter_map(|email| email["at"].as_str()?.parse::<Timestamp>().ok());
        let days: Vec<Date> =
            reminders.map(|at| at.to_zoned(self.madrid.clone()).date()).filter(|day| sunday <= *day).collect();
        let is_after = days.iter().all(|day| sunday + Span::new().days(2) < *day) && !days.is_empty();
        self.check("No reminder until then, and one afterwards", is_after, format!("{days:?}"));
        let why = self.explain("D-1").await?;
        self.check(&format!("D-1: {why}"), !why.is_empty(), &why);
        Ok(())
    }

    async fn a_dispute_is_quiet(&mut self, sunday: Date) -> Told<()> {
        self.pass_until(sunday + Span::new().days(35), Time::constant(12, 0, 0, 0), &self.madrid.clone()).await?;
        self.say("Five weeks later");
        let received = self.received(&EVE.email()).await?;
        self.check("Eve had her invoice and no reminder", received.len() == 1, received.len());
        let why = self.explain("E-1").await?;
        self.check(&format!("E-1: {why}"), why.to_lowercase().contains("disput"), &why);
        Ok(())
    }

    async fn numbers(&mut self) -> Told<()> {
        self.say("What it came to");
        let is_right = |numbers: &Value| numbers["collections"]["paidAfterNoticeMinor"]["EUR"] == 20_000;
        let from = self.now().checked_sub(Span::new().hours(90 * 24)).map_err(|error| error.to_string())?;
        let path = format!("/api/stats/business?startDate={}", from.strftime("%Y-%m-%d"));
        let numbers = self.until(&path, is_right).await?;
        let sent = &numbers["invoices"]["sentAutomatically"];
        self.check(&format!("{sent} invoices sent by events"), *sent == 7, &numbers["invoices"]);
        let links = &numbers["paymentLinks"];
        self.check("One payment link opened and used", links["opened"] == 1 && links["used"] == 1, links);
        let collections = &numbers["collections"];
        self.check("€200.00 paid within a week after a reminder", is_right(&numbers), collections);
        for part in ["invoices", "paymentLinks", "collections"] {
            println!("      {part}: {}", numbers[part]);
        }
        Ok(())
    }
}
