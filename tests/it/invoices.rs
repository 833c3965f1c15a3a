//! Collections, customers and invoices over HTTP.

use application::{CommandContext, CommandExecutor};
use domain::invoice::{Command, key_of};
use domain::ports::ClockAndRng;
use events::{
    FactSource, InvoiceEvent, InvoiceRef, InvoiceStatus, InvoiceTerms, Mode, Recipient, RecipientType, TenantId,
};
use reqwest::Method;
use serde_json::{Value, json};
use tests::server::{Answer, TestServer, eventually};

const DAY_MS: i64 = 24 * 3_600_000;

async fn patch(server: &TestServer, path: &str, body: Value) -> Answer {
    server.answer(server.request(Method::PATCH, path).json(&body)).await
}

/// What another system tells about invoices.
struct Source<'a> {
    server: &'a TestServer,
    namespace: &'static str,
}

impl Source<'_> {
    fn reference(&self, id: &str) -> InvoiceRef {
        InvoiceRef { mode: Mode::Test, namespace: self.namespace.to_owned(), id: id.to_owned() }
    }

    /// The day so many days from now, in UTC.
    fn day(&self, days: i64) -> String {
        let now = self.server.local.clock.now().0 + days * DAY_MS;
        jiff::Timestamp::from_millisecond(now).expect("a time").to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
    }

    fn fact(&self, event: &str) -> FactSource {
        FactSource { event: event.to_owned(), occurred_at: self.server.local.clock.now(), revision: None }
    }

    async fn tell(&self, id: &str, fact: InvoiceEvent) {
        let context = CommandContext::function("intake");
        let (store, host) = (&self.server.local.database, &*self.server.local.clock);
        let executor = CommandExecutor { store, host, origin: &context };
        let tenant: TenantId = "local".parse().expect("a tenant");
        let reference = self.reference(id);
        let key = key_of(&tenant, &reference);
        let collections = application::execute::load(store, &application::invoices::settings_stream(&tenant)).await;
        let collect_from = collections.expect("settings").state.enabled_from;
        executor.execute(&key, Command::Record { reference, facts: vec![fact], collect_from }).await.expect("recorded");
    }

    /// An invoice of 10.00 EUR that is due in so many days. Returns its id here, once lists show it.
    async fn issue(&self, id: &str, customer: &str, due_in: i64) -> String {
        let terms = InvoiceTerms {
            number: Some(format!("INV-{id}")),
            customer: Some(Recipient { kind: RecipientType::Customer, id: Some(customer.to_owned()) }),
            currency: Some("EUR".to_owned()),
            total: Some(1_000),
            due_on: Some(self.day(due_in)),
            status: Some(InvoiceStatus::Issued),
            ..InvoiceTerms::default()
        };
        self.tell(id, InvoiceEvent::InvoiceIssued { terms, source: self.fact("issued") }).await;
        let path = format!("/api/invoices/{id}?namespace={}", self.namespace);
        let shown = self.server.get(&path).await.id();
        eventually("a row", async || {
            let rows = self.server.get("/api/invoices?size=100").await;
            rows.body["results"].as_array()?.iter().find(|row| row["id"] == shown.as_str()).map(|_| ())
        })
        .await;
        shown
    }

    async fn pay(&self, id: &str, payment: &str, amount: i64) {
        let fact = InvoiceEvent::PaymentRecorded {
            payment: payment.to_owned(),
            amount,
            currency: "EUR".to_owned(),
            received_at: self.server.local.clock.now(),
            link: None,
            source: self.fact(payment),
        };
        self.tell(id, fact).await;
    }
}

fn flowpos(server: &TestServer) -> Source<'_> {
    Source { server, namespace: "flowpos" }
}

fn pointers(answer: &Answer) -> Vec<(String, String)> {
    let errors = answer.body["errors"].as_array().unwrap_or_else(|| panic!("{}", answer.body));
    let text = |error: &Value, name: &str| error[name].as_str().expect("text").to_owned();
    errors.iter().map(|error| (text(error, "pointer"), text(error, "code"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_collections_are_merged_and_name_all_their_faults() {
    let server = TestServer::new().await;
    let defaults = server.get("/api/collections").await;
    assert_eq!((defaults.text("/time"), &defaults.body["enabled"]), ("09:00", &json!(false)));
    assert_eq!(defaults.text("/warnings/0/code"), "default_time_zone");
    let change = json!({
        "timeZone": "america/mexico_city", "days": ["fri", "mon"], "minDaysBetween": 3,
        "ladder": [{ "id": "early", "afterDays": -3, "channels": ["email"] },
                   { "id": "late", "afterDays": 365, "channels": ["sms", "email"], "mode": "all", "after": "2h" }],
    });
    let changed = patch(&server, "/api/collections", change).await;
    assert_eq!((changed.status.as_u16(), changed.text("/timeZone")), (200, "America/Mexico_City"), "{}", changed.body);
    assert_eq!(changed.body["days"], json!(["mon", "fri"]));
    assert_eq!(changed.body["warnings"], json!([]));
    assert_eq!((changed.text("/ladder/1/after"), changed.text("/ladder/0/mode")), ("PT2H", "escalate"));
    let reset = patch(&server, "/api/collections", json!({ "ladder": null })).await;
    assert_eq!((reset.text("/ladder/0/id"), &reset.body["minDaysBetween"]), ("d1", &json!(3)));

    let wrong = json!({
        "time": "24:00", "until": "+9:00", "timeZone": "CEST", "grouping": "all", "maxPerDay": 0, "lateDays": 3.5,
        "days": ["mon", "mon"], "holidays": ["2026-02-30"], "minimumMinor": -1, "colour": "red",
        "ladder": [{ "id": "d1", "afterDays": 3.5, "channels": [] }, { "id": "D 1", "afterDays": 366 }],
    });
    let refused = patch(&server, "/api/collections", wrong).await;
    assert_eq!(refused.status.as_u16(), 422, "{}", refused.body);
    let mut found = pointers(&refused);
    found.sort();
    let expected = [
        ("/colour", "unknown_field"),
        ("/days/1", "repeated"),
        ("/grouping", "not_one_of"),
        ("/holidays/0", "not_a_day"),
        ("/ladder/0/afterDays", "not_in_range"),
        ("/ladder/0/channels", "empty"),
        ("/ladder/1/afterDays", "not_in_range"),
        ("/ladder/1/channels", "required"),
        ("/ladder/1/id", "not_an_id"),
        ("/lateDays", "not_in_range"),
        ("/maxPerDay", "not_in_range"),
        ("/minimumMinor", "not_in_range"),
        ("/time", "not_a_time"),
        ("/timeZone", "unknown_time_zone"),
        ("/until", "not_a_time"),
    ];
    assert_eq!(found, expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));
    let step = |id: &str| json!({ "id": id, "afterDays": 1, "channels": ["email"] });
    let twice = patch(&server, "/api/collections", json!({ "ladder": [step("a"), step("a")] })).await;
    assert_eq!(pointers(&twice), [("/ladder/1/id".to_owned(), "repeated".to_owned())]);
    let eleven: Vec<Value> = (0..11).map(|n| step(&format!("s{n}"))).collect();
    let many = patch(&server, "/api/collections", json!({ "ladder": eleven })).await;
    assert_eq!(pointers(&many)[0], ("/ladder".to_owned(), "too_many".to_owned()));
    let late = patch(&server, "/api/collections", json!({ "time": "19:00" })).await;
    assert_eq!(pointers(&late), [("/until".to_owned(), "not_after_time".to_owned())]);
    let empty = patch(&server, "/api/collections", json!({})).await;
    assert_eq!(empty.text("/errors/0/code"), "empty");

    let based_on = async |tag: &str| {
        let request = server.request(Method::PATCH, "/api/collections").header("if-match", tag);
        server.answer(request.json(&json!({ "lateDays": 5 }))).await.status.as_u16()
    };
    assert_eq!((based_on("\"1\"").await, based_on("\"2\"").await), (412, 200));
    let audit = server.get("/api/audit?subject=collections").await;
    assert_eq!(audit.body["acts"].as_array().map(Vec::len), Some(3), "{}", audit.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_agreed_with_a_customer_is_changed_and_held() {
    let server = TestServer::new().await;
    let none = server.get("/api/debtors/7").await;
    assert_eq!((none.text("/customerType"), &none.body["hold"]), ("customer", &Value::Null), "{}", none.body);
    let zone = patch(&server, "/api/debtors/customer:7", json!({ "timeZone": "Europe/Madrid" })).await;
    assert_eq!((zone.status.as_u16(), &zone.body["revision"]), (200, &json!(1)), "{}", zone.body);
    let excluded = patch(&server, "/api/debtors/7", json!({ "excluded": true })).await;
    assert_eq!((excluded.text("/timeZone"), &excluded.body["excluded"]), ("Europe/Madrid", &json!(true)));
    let wrong = json!({ "timeZone": "+02:00", "ladder": [], "excluded": "no" });
    let mut faults = pointers(&patch(&server, "/api/debtors/7", wrong).await);
    faults.sort();
    let expected = [("/excluded", "not_a_flag"), ("/ladder", "empty"), ("/timeZone", "unknown_time_zone")];
    assert_eq!(faults, expected.map(|(pointer, code)| (pointer.to_owned(), code.to_owned())));
    let stale = server.request(Method::PATCH, "/api/debtors/7").header("if-match", "\"1\"");
    assert_eq!(server.answer(stale.json(&json!({ "excluded": false }))).await.status.as_u16(), 412);

    let on = flowpos(&server).day(10);
    let promised = server.post("/api/debtors/7/promise", json!({ "on": on })).await;
    assert_eq!(promised.body["hold"], json!({ "kind": "promised", "until": on }), "{}", promised.body);
    let paused = server.post("/api/debtors/7/pause", json!({})).await;
    assert_eq!(paused.body["hold"], json!({ "kind": "paused", "until": null }));
    let resumed = server.post("/api/debtors/7/resume", json!({})).await;
    assert_eq!(resumed.body["hold"], Value::Null);
    for (day, code) in [("2026-02-30", "not_a_day"), ("2020-01-01", "not_in_range"), ("2100-01-01", "not_in_range")] {
        let refused = server.post("/api/debtors/7/promise", json!({ "on": day })).await;
        assert_eq!(pointers(&refused), [("/on".to_owned(), code.to_owned())]);
    }
    assert_eq!(server.post("/api/debtors/7/promise", json!({})).await.text("/errors/0/code"), "required");
    let audit = server.get("/api/audit?subject=debtors").await;
    let acts: Vec<&str> = audit.body["acts"]
        .as_array()
        .expect("acts")
        .iter()
        .map(|act| act["data"]["act"].as_str().expect("an act"))
        .collect();
    assert_eq!(acts, ["resume", "pause", "promise", "change", "change", "change"], "{}", audit.body);
}

/// The status of a request with a new key.
async fn status_for(server: &TestServer, key: Value, method: &str, path: &str, body: Value) -> u16 {
    let key = server.post("/api/keys", key).await.text("/key").to_owned();
    let url = format!("{}{path}", server.local.url);
    let request = server.client.request(method.parse().expect("a method"), url).bearer_auth(key).json(&body);
    server.answer(request).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_need_a_key_without_restrictions_and_the_right_role() {
    let server = TestServer::new().await;
    let role = |role: &str| json!({ "name": role, "role": role });
    let change = json!({ "lateDays": 4 });
    for (key, method, path, body, expected) in [
        (role("viewer"), "GET", "/api/collections", json!({}), 200),
        (role("viewer"), "PATCH", "/api/collections", change.clone(), 403),
        (role("sender"), "PATCH", "/api/collections", change.clone(), 403),
        (role("editor"), "PATCH", "/api/collections", change.clone(), 200),
        (role("editor"), "POST", "/api/debtors/7/pause", json!({}), 403),
        (role("sender"), "POST", "/api/debtors/7/pause", json!({}), 200),
        (role("sender"), "PATCH", "/api/debtors/7", json!({ "excluded": true }), 403),
        (json!({ "name": "sms", "role": "admin", "channels": ["sms"] }), "GET", "/api/debtors/7", json!({}), 403),
    ] {
        assert_eq!(status_for(&server, key.clone(), method, path, body).await, expected, "{key} {method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn switching_collections_on_adopts_what_is_not_yet_due() {
    let server = TestServer::new().await;
    let source = flowpos(&server);
    let (old, new) = (source.issue("1", "ada", -20).await, source.issue("2", "ada", 5).await);
    let off = server.get(&format!("/api/invoices/{new}")).await;
    assert_eq!((off.text("/status"), off.text("/next/code")), ("open", "collections_off"), "{}", off.body);
    let enabled = server.post("/api/collections/enable", json!({})).await;
    assert_eq!((&enabled.body["enabled"], &enabled.body["adopted"]), (&json!(true), &json!(1)), "{}", enabled.body);
    assert_eq!(enabled.text("/from"), source.day(0));
    let again = server.post("/api/collections/enable", json!({})).await;
    assert_eq!((&again.body["adopted"], &again.body["hasMore"]), (&json!(0), &json!(false)));
    let adopted = server.get(&format!("/api/invoices/{new}")).await;
    assert_eq!((adopted.text("/status"), adopted.text("/next/code")), ("collecting", "not_overdue"));
    assert_eq!(adopted.text("/collection/cause"), "adoption");
    let untouched = server.get(&format!("/api/invoices/{old}")).await;
    assert_eq!((untouched.text("/status"), untouched.text("/next/code")), ("open", "before_collections"));
    let disabled = server.post("/api/collections/disable", json!({})).await;
    assert_eq!(disabled.body["enabled"], json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn invoices_are_listed_by_status_customer_and_due_day() {
    let server = TestServer::new().await;
    let source = flowpos(&server);
    for (id, customer, due_in) in [("1", "ada", -20), ("2", "ada", 5), ("3", "bea", -1)] {
        source.issue(id, customer, due_in).await;
    }
    source.pay("3", "p1", 1_000).await;
    eventually("a settled row", async || {
        let rows = server.get("/api/invoices?status=settled").await;
        (rows.body["results"].as_array()?.len() == 1).then_some(())
    })
    .await;
    let listed = async |query: &str| {
        let page = server.get(&format!("/api/invoices?{query}")).await;
        let rows = page.body["results"].as_array().unwrap_or_else(|| panic!("{query}: {}", page.body)).clone();
        rows.iter().map(|row| row["sourceId"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed("").await, ["3", "2", "1"]);
    assert_eq!(listed("overdue=true").await, ["1"], "what is settled is not overdue");
    assert_eq!(listed("overdue=false").await, ["3", "2"]);
    assert_eq!(listed("customer=ada&status=open").await, ["2", "1"]);
    assert_eq!(listed("customer=customer:bea").await, ["3"]);
    assert_eq!(listed("number=INV-2").await, ["2"]);
    assert_eq!(listed(&format!("dueFrom={}&dueTo={}", source.day(-1), source.day(5))).await, ["3", "2"]);
    let first = server.get("/api/invoices?size=2").await;
    assert_eq!(listed(&format!("size=2&cursor={}", first.text("/nextCursor"))).await, ["1"]);
    let wrong = server.get("/api/invoices?status=late&overdue=maybe&dueFrom=soon&cursor=x&colour=red").await;
    let mut names: Vec<String> = pointers(&wrong).into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(
        (wrong.status.as_u16(), names),
        (400, ["colour", "cursor", "dueFrom", "overdue", "status"].map(str::to_owned).to_vec())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_is_named_by_its_id_here_or_in_its_system() {
    let server = TestServer::new().await;
    let id = flowpos(&server).issue("7", "ada", 5).await;
    assert_eq!(server.get("/api/invoices/7").await.id(), id);
    assert_eq!(server.get(&format!("/api/invoices/{id}")).await.text("/number"), "INV-7");
    let other = Source { server: &server, namespace: "erp" }.issue("7", "bea", 5).await;
    let both = server.get("/api/invoices/7").await;
    assert_eq!((both.status.as_u16(), pointers(&both)), (400, vec![("namespace".to_owned(), "ambiguous".to_owned())]));
    assert_eq!(server.get("/api/invoices/7?namespace=erp").await.id(), other);
    for path in
        ["/api/invoices/8", "/api/invoices/7?namespace=none", "/api/invoices/8/explain", "/api/invoices/8/events"]
    {
        assert_eq!(server.get(path).await.status.as_u16(), 404, "{path}");
    }
    let missing = server.post("/api/invoices/8/pause", json!({})).await;
    assert_eq!(missing.status.as_u16(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_decide_about_reminders_and_an_explanation_says_why_none_was_sent() {
    let server = TestServer::new().await;
    server.post("/api/collections/enable", json!({})).await;
    let source = flowpos(&server);
    let id = source.issue("7", "ada", 5).await;
    let path = format!("/api/invoices/{id}");
    let act = async |act: &str, body: Value| server.post(&format!("{path}/{act}"), body).await;
    let (until, on) = (source.day(20), source.day(10));
    let explained = server.get(&format!("{path}/explain")).await;
    assert_eq!((explained.text("/code"), explained.text("/steps/0/verdict")), ("not_overdue", "waits"));
    assert_eq!(explained.text("/steps/0/due"), format!("{}T09:00[UTC]", source.day(6)), "{}", explained.body);
    assert_eq!(explained.text("/inputs/dueOn"), source.day(5));

    let paused = act("pause", json!({ "until": until })).await;
    assert_eq!((paused.text("/status"), paused.text("/hold/until")), ("paused", until.as_str()), "{}", paused.body);
    let explained = server.get(&format!("{path}/explain")).await;
    assert_eq!((explained.text("/code"), explained.text("/inputs/until")), ("paused", until.as_str()));
    let promised = act("promise", json!({ "on": on, "amountMinor": 600 })).await;
    assert_eq!((promised.text("/status"), promised.text("/next/code")), ("promised", "promise_until"));
    assert_eq!(act("resume", json!({})).await.text("/status"), "collecting");
    let disputed = act("dispute", json!({})).await;
    assert_eq!((disputed.text("/status"), disputed.text("/next/code")), ("disputed", "disputed"));
    assert_eq!(act("dispute", json!({})).await.text("/status"), "disputed");
    assert_eq!(act("restart", json!({})).await.status.as_u16(), 409, "it is disputed");
    assert_eq!(act("dispute", json!({ "resolved": true })).await.text("/status"), "collecting");
    assert_eq!(act("restart", json!({})).await.body["round"], json!(0), "nothing was decided yet");
    let wrong = act("promise", json!({ "amountMinor": 0, "why": 1 })).await;
    let mut names: Vec<String> = pointers(&wrong).into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, ["/amountMinor", "/on", "/why"]);

    source.pay("7", "p1", 400).await;
    let half = server.get(&path).await;
    assert_eq!((&half.body["owedMinor"], half.text("/payments/0/id")), (&json!(600), "p1"));
    source.pay("7", "p2", 600).await;
    let explained = server.get(&format!("{path}/explain")).await;
    assert_eq!((explained.text("/code"), explained.text("/inputs/owed")), ("settled", "0"));
    assert_eq!(explained.text("/summary"), "No reminder will be sent: nothing is owed.");
    let events = server.get(&format!("{path}/events")).await;
    let names: Vec<&str> = events.body["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| event["type"].as_str().expect("a type"))
        .collect();
    assert_eq!(names[..4], ["InvoiceFirstSeen", "InvoiceIssued", "CollectionBegun", "CollectionPaused"]);
    assert_eq!(names.iter().filter(|name| **name == "InvoiceDisputed").count(), 1, "{names:?}");
    let audit = server.get("/api/audit?subject=invoices").await;
    assert_eq!(audit.text("/acts/0/data/invoice"), id, "{}", audit.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_customer_is_not_reminded_any_more() {
    let server = TestServer::new().await;
    server.post("/api/collections/enable", json!({})).await;
    let source = flowpos(&server);
    let (theirs, other) = (source.issue("1", "ada", 5).await, source.issue("2", "bea", 5).await);
    let erased = server.answer(server.request(Method::DELETE, "/api/subjects/customer/ada")).await;
    assert_eq!(erased.body["erased"], json!(1), "{}", erased.body);
    let shown = server.get(&format!("/api/invoices/{theirs}")).await;
    assert_eq!(
        (shown.text("/status"), shown.text("/next/code"), &shown.body["totalMinor"]),
        ("erased", "erased", &json!(1_000))
    );
    let refused = server.post(&format!("/api/invoices/{theirs}/pause"), json!({})).await;
    assert_eq!(refused.status.as_u16(), 409);
    assert_eq!(server.get(&format!("/api/invoices/{other}")).await.text("/status"), "collecting");
}
