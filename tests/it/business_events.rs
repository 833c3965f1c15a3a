//! Business events over HTTP: taken in every form, handled once, parked, replayed, mapped and erased.

use std::collections::BTreeSet;

use domain::business_event::EVENT_TYPES;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{Answer, TestServer, eventually};

fn event(id: &str, kind: &str, data: Value) -> Value {
    json!({ "id": id, "type": kind, "source": "erp", "data": data })
}

async fn take(server: &TestServer, event: Value) -> Answer {
    let answer = server.post("/api/events", event).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    answer
}

/// The event, once it has left the status `received`.
async fn handled(server: &TestServer, id: &str) -> Answer {
    eventually("the event is handled", async || {
        let answer = server.get(&format!("/api/business-events/{id}")).await;
        (answer.text("/status") != "received").then_some(answer)
    })
    .await
}

/// Each act of an event as text, such as `low_stock_alert user:9 sms sent`.
fn acts(answer: &Answer) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let shown = |act: &Value| {
        let outcome = act["skipped"].as_str().unwrap_or(if act["ref"].is_null() { "done" } else { "sent" });
        format!("{} {} {} {outcome}", text(&act["act"]), text(&act["recipient"]), text(&act["channel"]))
    };
    answer.body["acts"].as_array().expect("acts").iter().map(shown).collect()
}

fn set<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
    texts.map(str::to_owned).into()
}

fn codes(answer: &Answer) -> BTreeSet<(String, String)> {
    let text = |error: &Value, name: &str| error[name].as_str().expect("a text").to_owned();
    let errors = answer.body["errors"].as_array().unwrap_or_else(|| panic!("{}", answer.body)).iter();
    errors.map(|error| (text(error, "pointer"), text(error, "code"))).collect()
}

async fn user(server: &TestServer, id: &str, more: Value) {
    let mut user = json!({ "id": id, "roles": ["inventory_manager"] });
    user.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let taken = take(server, event(&format!("user-{id}"), "user.created", json!({ "user": user }))).await;
    assert_eq!(taken.text("/status"), "handled", "{}", taken.body);
}

fn low_stock(alert: &str) -> Value {
    json!({
        "alert": { "id": alert }, "location": { "id": "loc-1", "name": "Main warehouse" },
        "items": [{ "sku": "OIL-5", "name": "Olive oil", "left": 2 }], "businessName": "Acme",
    })
}

fn invitation(user: Value) -> Value {
    json!({
        "inviteId": "inv-1", "user": user, "inviter": { "name": "Ada" }, "businessName": "Acme",
        "inviteUrl": "https://app.example.com/invitations/1",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_has_a_schema_and_an_example_that_is_taken() {
    let server = TestServer::new().await;
    let types = server.get("/api/event-types").await;
    let types = types.body["types"].as_array().expect("types").clone();
    assert_eq!(types.len(), EVENT_TYPES.len());
    for known in types {
        let kind = known["type"].as_str().expect("a name");
        let schema = server.get(known["schema"].as_str().expect("a path")).await.body;
        let example = server.get(known["example"].as_str().expect("a path")).await.body;
        let validator = jsonschema::draft202012::new(&schema).expect("a schema");
        assert!(validator.is_valid(&example), "{kind}: {example}");
        let taken = take(&server, event(kind, kind, example)).await;
        let event = handled(&server, &taken.id()).await;
        assert_eq!((event.text("/status"), event.text("/type")), ("handled", kind), "{}", event.body);
    }
    assert_eq!(server.get("/api/event-types/moon.landed/schema.json").await.status, StatusCode::NOT_FOUND);
    let listed = server.get("/api/business-events?mentions=INV-7").await;
    assert_eq!(listed.body["results"].as_array().map(Vec::len), Some(1), "{}", listed.body);
    assert_eq!(listed.text("/results/0/subject"), "customer:7");
}

#[tokio::test(flavor = "multi_thread")]
async fn low_stock_is_told_to_each_user_with_the_role_by_their_own_channels() {
    let server = TestServer::new().await;
    let alone = take(&server, event("a0", "low_stock.detected", low_stock("a0"))).await;
    let nobody = handled(&server, &alone.id()).await;
    assert_eq!(acts(&nobody), set(["low_stock_alert - - nobody_has_role"]));

    user(&server, "1", json!({ "email": "one@sim.test", "locale": "es" })).await;
    user(&server, "2", json!({ "email": "two@sim.test", "phone": "+34600000002" })).await;
    user(&server, "3", json!({ "email": "three@sim.test" })).await;
    user(&server, "4", json!({ "phone": "+34600000004" })).await;
    user(&server, "5", json!({ "email": "five@sim.test", "roles": ["cashier"] })).await;
    let prefer = |id: &str| server.request(Method::PATCH, &format!("/api/communication-preferences/user/{id}"));
    let by_sms = json!({ "preferences": { "low_stock_alert": ["sms", "telegram"] } });
    assert_eq!(server.answer(prefer("2").json(&by_sms)).await.status, StatusCode::OK);
    assert_eq!(server.answer(prefer("3").json(&json!({ "optedOut": true }))).await.status, StatusCode::OK);

    let told = take(&server, event("a1", "low_stock.detected", low_stock("a1"))).await;
    let told = handled(&server, &told.id()).await;
    let expected = set([
        "low_stock_alert user:1 email sent",
        "low_stock_alert user:2 sms sent",
        "low_stock_alert user:2 telegram no_contact",
        "low_stock_alert user:3 email opted_out",
        "low_stock_alert user:4 email no_email",
    ]);
    assert_eq!(acts(&told), expected, "{}", told.body);
    let message = eventually("an email", async || server.inbox("one@sim.test").await.first().cloned()).await;
    assert!(message["subject"].as_str().expect("a subject").starts_with("Existencias bajas"), "{message}");
    let is_sent_email = |act: &&Value| act["channel"] == "email" && act["skipped"].is_null();
    let communication = told.body["acts"].as_array().expect("acts").iter().find(is_sent_email);
    let id = communication.expect("an email")["ref"].as_str().expect("an id").to_owned();
    let sent = server.until_status(&id, "delivered").await;
    assert_eq!((sent.text("/createdBy"), sent.text("/source")), ("SYSTEM_low_stock", "event"));
    assert_eq!((sent.text("/entityType"), sent.text("/entityId")), ("lowStockAlert", "a1"));

    // The same alert under another id sends nothing twice. Another alert at the same location waits four hours.
    let again = take(&server, event("a1-again", "low_stock.detected", low_stock("a1"))).await;
    let again = acts(&handled(&server, &again.id()).await);
    assert!(again.contains("low_stock_alert user:1 email already_sent"), "{again:?}");
    let soon = take(&server, event("a2", "low_stock.detected", low_stock("a2"))).await;
    assert_eq!(acts(&handled(&server, &soon.id()).await), set(["low_stock_alert - - quiet_repeat"]));
    server.advance(4 * 3_600_000 + 1).await;
    let later = take(&server, event("a3", "low_stock.detected", low_stock("a3"))).await;
    assert!(acts(&handled(&server, &later.id()).await).contains("low_stock_alert user:1 email sent"));
    eventually("two emails", async || (server.inbox("one@sim.test").await.len() == 2).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_sent_once_by_the_first_channel_that_reaches_the_user() {
    let server = TestServer::new().await;
    let by_email = || invitation(json!({ "id": "9", "name": "Bea", "email": "bea@sim.test", "locale": "es" }));
    let request = || server.request(Method::POST, "/api/events").json(&event("i1", "user.invited", by_email()));
    let taken = server.answer(request()).await;
    assert_eq!(acts(&taken), set(["user_invitation user:9 email sent"]), "{}", taken.body);
    assert_eq!(taken.headers["location"], format!("/api/business-events/{}", taken.id()));
    let repeated = server.answer(request()).await;
    assert_eq!(repeated.headers["idempotent-replayed"], "true");
    assert_eq!((repeated.id(), acts(&repeated)), (taken.id(), acts(&taken)));
    let other_id = take(&server, event("i2", "user.invited", by_email())).await;
    assert_eq!(acts(&other_id), set(["user_invitation user:9 email already_sent"]));
    let message = eventually("an email", async || server.inbox("bea@sim.test").await.first().cloned()).await;
    assert_eq!(message["subject"], "Acme le invita a unirse");

    let by_sms = take(&server, event("i3", "user.invited", invitation(json!({ "phone": "+34600000003" })))).await;
    assert_eq!(acts(&by_sms), set(["user_invitation - sms sent"]));
    let unreachable = take(&server, event("i4", "user.invited", invitation(json!({ "id": "10" })))).await;
    assert_eq!(acts(&unreachable), set(["user_invitation user:10 - no_contact"]));
    let mut late = by_email();
    late["expiresAt"] = json!("2020-01-01T00:00:00Z");
    let late = take(&server, event("i5", "user.invited", late)).await;
    assert_eq!(acts(&late), set(["user_invitation user:9 - invite_expired"]));
    let off = server.request(Method::PATCH, "/api/automations/user_invitation").json(&json!({ "enabled": false }));
    assert_eq!(server.answer(off).await.body["enabled"], false);
    let listed = server.get("/api/automations").await.body["automations"].as_array().expect("a list").clone();
    assert_eq!(listed.iter().filter(|one| one["enabled"] == false).count(), 1, "{listed:?}");
    let off = take(&server, event("i6", "user.invited", invitation(json!({ "email": "off@sim.test" })))).await;
    assert_eq!(acts(&off), set(["user_invitation - - automation_off"]));
    let emails = eventually("an email", async || {
        let inbox = server.inbox("bea@sim.test").await;
        (!inbox.is_empty()).then_some(inbox)
    });
    assert_eq!(emails.await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_taken_in_every_form() {
    let server = TestServer::new().await;
    let data = || json!({ "customer": { "id": "7", "email": "ada@sim.test" } });
    let structured = json!({
        "specversion": "1.0", "id": "c1", "type": "customer.created", "source": "urn:crm", "time": "2026-11-24T09:00:00Z",
        "datacontenttype": "application/json", "data": data(),
    });
    let request = server.request(Method::POST, "/api/events").header("content-type", "application/cloudevents+json");
    let taken = server.answer(request.body(structured.to_string())).await;
    assert_eq!((taken.status.as_u16(), taken.text("/status")), (202, "handled"), "{}", taken.body);
    let shown = server.get(&format!("/api/business-events/{}", taken.id())).await;
    assert_eq!((shown.text("/source"), shown.text("/occurredAt")), ("urn:crm", "2026-11-24T09:00:00.000Z"));

    let binary = |id: &str, data: Value| {
        let request = server.request(Method::POST, "/api/events").header("ce-specversion", "1.0").header("ce-id", id);
        request.header("ce-type", "customer.created").header("ce-source", "urn:crm").json(&data)
    };
    let taken = server.answer(binary("c2", data())).await;
    assert_eq!(taken.text("/status"), "handled", "{}", taken.body);
    let same = server.answer(binary("c1", data())).await;
    assert_eq!(same.text("/code"), "event_id_reused", "the time is a part of the event: {}", same.body);

    let bad = json!({ "id": "b2", "type": "customer.created", "data": { "customer": {} } });
    let batch = json!([event("b1", "customer.created", data()), bad, event("b1", "customer.created", data()), 5]);
    let answer = server.post("/api/events", batch).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let counts = ["accepted", "replayed", "refused"].map(|name| answer.body[name].as_u64().expect("a number"));
    assert_eq!((counts[0] + counts[1], counts[2]), (2, 2), "{}", answer.body);
    assert_eq!(answer.text("/results/1/problem/errors/0/pointer"), "/data/customer/id");
    handled(&server, answer.text("/results/0/id")).await;

    let too_many: Vec<Value> = (0..101).map(|n| event(&n.to_string(), "customer.created", data())).collect();
    for (body, status) in [
        (json!(too_many), StatusCode::UNPROCESSABLE_ENTITY),
        (json!([]), StatusCode::UNPROCESSABLE_ENTITY),
        (json!("text"), StatusCode::UNPROCESSABLE_ENTITY),
        (event("big", "x", json!({ "x": "x".repeat(300_000) })), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        assert_eq!(server.post("/api/events", body).await.status, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_wrong_with_an_event_is_told_at_once_and_nothing_is_kept() {
    let server = TestServer::new().await;
    let long = "x".repeat(300);
    let envelope =
        json!({ "id": long, "type": "sale created", "source": "tidings", "time": "yesterday", "data": {}, "foo": 1 });
    let refused = server.post("/api/events", envelope).await;
    let expected = [
        ("/id", "too_long"),
        ("/type", "spaces"),
        ("/source", "reserved"),
        ("/time", "not_a_time"),
        ("/foo", "unknown_field"),
    ];
    assert_eq!(codes(&refused), expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into(), "{}", refused.body);
    let sale = json!({
        "sale": {
            "id": "s", "number": 7, "date": "2026-02-30", "total": "12.345", "currency": "EUR",
            "lines": [{ "description": "a", "total": -5 }, { "total": "1e99" }],
        },
        "customer": { "locale": "!", "timeZone": "Mars/Olympus" },
    });
    let refused = server.post("/api/events", event("s", "sale.created", sale)).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let expected = [
        ("/data/sale/number", "wrong_type"),
        ("/data/sale/date", "not_a_date"),
        ("/data/sale/total", "too_precise"),
        ("/data/sale/lines/0/total", "negative"),
        ("/data/sale/lines/1/description", "required"),
        ("/data/sale/lines/1/total", "not_an_amount"),
        ("/data/customer/locale", "not_a_locale"),
        ("/data/customer/timeZone", "not_a_time_zone"),
    ];
    assert_eq!(codes(&refused), expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into(), "{}", refused.body);
    let payment = json!({
        "payment": { "id": "p", "amount": 10, "currency": "JPY", "receivedAt": "2026-11-24T09:00:00Z" },
        "allocations": [{ "invoice": "1", "amount": 6 }, { "invoice": "2", "amount": "4.5" }, { "invoice": "3", "amount": 5 }],
    });
    let refused = server.post("/api/events", event("p", "payment.received", payment)).await;
    let expected = [("/data/allocations", "over_amount"), ("/data/allocations/1/amount", "too_precise")];
    assert_eq!(codes(&refused), expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into(), "{}", refused.body);
    let listed = server.get("/api/business-events").await;
    assert_eq!(listed.body["results"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_an_unknown_type_is_kept_until_a_mapping_knows_it() {
    let server = TestServer::new().await;
    let invited = json!({ "who": { "no": 9, "mail": "bea@sim.test" }, "firm": "Acme", "at": { "href": "https://a.example.com/1" } });
    let taken = take(&server, event("u1", "com.crm.Invited", invited.clone())).await;
    assert_eq!((taken.text("/status"), taken.text("/type")), ("unhandled", "com.crm.Invited"));
    let fields = json!({
        "user.id": { "at": "/who/no", "as": "decimal" }, "user.email": "/who/mail", "businessName": "/firm", "inviteUrl": "/at/href",
    });
    let mapping =
        json!({ "typePrefix": "com.crm.", "types": { "Invited": { "type": "user.invited", "fields": fields } } });
    let wrong = json!({ "types": { "Invited": { "type": "moon.landed", "fields": { "a b": "no pointer" } } }, "timeZone": "CEST" });
    let put = |body: &Value| server.request(Method::PUT, "/api/event-mappings/erp").json(body);
    let refused = server.answer(put(&wrong)).await;
    assert_eq!(
        (refused.status.as_u16(), refused.body["errors"].as_array().map(Vec::len)),
        (422, Some(4)),
        "{}",
        refused.body
    );
    assert_eq!(server.get("/api/event-mappings/erp").await.status, StatusCode::NOT_FOUND);
    let tried = json!({ "event": event("u1", "com.crm.Invited", invited), "mapping": mapping });
    let tried = server.post("/api/event-mappings/erp/try", tried).await;
    assert_eq!((tried.text("/meaning"), tried.text("/data/user/id")), ("known", "9"), "{}", tried.body);
    let incomplete = json!({ "event": event("u1", "com.crm.Invited", json!({ "who": { "mail": "x".repeat(400) } })), "mapping": mapping });
    let incomplete = server.post("/api/event-mappings/erp/try", incomplete).await;
    let expected = [("/data/who/mail", "too_long"), ("/data/firm", "required"), ("/data/at/href", "required")];
    assert_eq!(codes(&incomplete), expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into(), "{}", incomplete.body);

    let stored = server.answer(put(&mapping)).await;
    assert_eq!(
        (stored.status.as_u16(), stored.headers["etag"].to_str().expect("text")),
        (200, "\"1\""),
        "{}",
        stored.body
    );
    assert_eq!(server.get("/api/event-mappings/erp").await.body["mapping"], stored.body["mapping"]);
    let stale = server.answer(put(&json!({ "types": {} })).header("if-match", "\"7\"")).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    eventually("it is listed", async || {
        let listed = server.get("/api/business-events?status=unhandled&type=com.crm.Invited").await;
        (listed.body["results"].as_array().map(Vec::len) == Some(1)).then_some(())
    })
    .await;
    let dry = json!({ "status": "unhandled", "source": "erp", "dryRun": true });
    let dry = server.post("/api/business-events/replay", dry).await;
    assert_eq!(
        (&dry.body["matched"], &dry.body["replayable"], &dry.body["replayed"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(handled(&server, &taken.id()).await.text("/status"), "unhandled", "a dry run changes nothing");
    let replayed = server.post("/api/business-events/replay", json!({ "status": "unhandled" })).await;
    assert_eq!(
        (&replayed.body["replayed"], replayed.text("/results/0/status")),
        (&json!(1), "handled"),
        "{}",
        replayed.body
    );
    let event = handled(&server, &taken.id()).await;
    assert_eq!(acts(&event), set(["user_invitation user:9 email sent"]));
    assert_eq!((event.text("/type"), &event.body["mappingVersion"]), ("user.invited", &json!(1)));
    let history = server.get(&format!("/api/business-events/{}/events", taken.id())).await;
    let names: Vec<&str> =
        history.body["events"].as_array().expect("events").iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(
        names,
        ["BusinessEventReceived", "BusinessEventUnhandled", "BusinessEventReplayed", "BusinessEventHandled"]
    );
    let again = server.post(&format!("/api/business-events/{}/replay", taken.id()), json!({})).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "a handled event is not replayed: {}", again.body);
    let audit = server.get("/api/audit").await.body.to_string();
    for act in ["EventMappingSet", "BusinessEventReplayed"] {
        assert!(audit.contains(act), "{act}: {audit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_flowpos_are_read_without_a_mapping_of_the_tenant() {
    let server = TestServer::new().await;
    user(&server, "1", json!({ "email": "one@sim.test" })).await;
    let detail = json!({ "items": [{ "name": "Oil", "left": 2 }, { "name": "Rice", "left": 0 }] }).to_string();
    let alert = json!({ "alert": { "id": "a", "locationId": "l", "locationName": "Main", "detail": detail, "businessId": "x" } });
    let flowpos =
        |id: &str, kind: &str, data: Value| json!({ "id": id, "type": kind, "source": "flowpos", "data": data });
    let taken = take(&server, flowpos("1", "OnCreateLowStockAlertEvent", alert)).await;
    assert_eq!(taken.text("/type"), "low_stock.detected");
    assert_eq!(acts(&handled(&server, &taken.id()).await), set(["low_stock_alert user:1 email sent"]));
    let message = eventually("an email", async || server.inbox("one@sim.test").await.first().cloned()).await;
    assert_eq!(message["subject"], "Low stock at Main: 2 items");
    let sale = json!({ "sale": {
        "id": "s-1", "businessId": "b", "documentNumber": "F-1", "saleDate": "2026-11-24T23:30:00-06:00", "totalAmount": 116.0,
        "currency": "MXN", "customerId": "7", "customer": { "taxName": "Ada SA", "email": "ada@sim.test" }, "businessName": "Acme",
    } });
    let taken = take(&server, flowpos("2", "com.flowpos.OnCreateSaleEvent", sale)).await;
    let event = handled(&server, &taken.id()).await;
    assert_eq!(
        (event.text("/type"), event.text("/subject"), event.text("/mentions/0")),
        ("sale.created", "customer:7", "F-1")
    );
    let bad = json!({ "sale": { "id": "s-2", "documentNumber": "F-2", "saleDate": "soon", "totalAmount": "1", "currency": "MXN" } });
    let refused = server.post("/api/events", flowpos("3", "OnCreateSaleEvent", bad)).await;
    assert_eq!(codes(&refused), [("/data/sale/saleDate".to_owned(), "not_a_date".to_owned())].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_events_say_of_a_person_is_shown_only_to_privacy_and_can_be_erased() {
    let server = TestServer::new().await;
    let created = json!({
        "customer": { "id": "7", "name": "Ada MARKER", "email": "ada@sim.test" }, "preferences": { "invoice": ["sms"] },
    });
    let taken = take(&server, event("p1", "customer.created", created)).await;
    assert_eq!(acts(&taken), set(["person customer:7 - done", "default_preferences customer:7 - done"]));
    let preferences = server.get("/api/communication-preferences/customer/7").await;
    assert_eq!(preferences.body["preferences"]["invoice"], json!(["sms"]));
    let path = format!("/api/business-events/{}", taken.id());
    assert!(!server.get(&path).await.body.to_string().contains("MARKER"));
    assert!(!server.get(&format!("{path}/events")).await.body.to_string().contains("MARKER"));
    assert_eq!(server.get(&format!("{path}?raw=true")).await.text("/data/customer/name"), "Ada MARKER");
    let exported = server.get("/api/subjects/customer/7").await;
    assert_eq!(
        (exported.text("/person/name"), exported.text("/businessEvents/0/id")),
        ("Ada MARKER", taken.text("/id"))
    );

    let erased = server.answer(server.request(Method::DELETE, "/api/subjects/customer/7")).await;
    assert_eq!((&erased.body["erased"], &erased.body["unrecorded"]), (&json!(2), &json!(0)), "{}", erased.body);
    let shown = server.get(&format!("{path}?raw=true")).await;
    assert_eq!((&shown.body["data"], &shown.body["erased"]), (&Value::Null, &json!(true)), "{}", shown.body);
    let mut stale = event("p0", "customer.changed", json!({ "customer": { "id": "7", "phone": "+34600000001" } }));
    stale["time"] = json!("2026-01-01T00:00:00Z");
    take(&server, stale).await;
    let exported = server.get("/api/subjects/customer/7").await;
    assert_eq!(exported.body["person"], Value::Null, "an event from before does not bring the person back");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_not_handled_can_be_discarded() {
    let server = TestServer::new().await;
    let mut old = event("old", "customer.created", json!({ "customer": { "id": "1" } }));
    old["time"] = json!("2020-01-01T00:00:00Z");
    let taken = take(&server, old).await;
    assert_eq!((taken.text("/status"), taken.text("/reason")), ("parked", "too_old"));
    let newer = take(&server, event("v2", "customer.created.v2", json!({ "customer": { "id": "1" } }))).await;
    assert_eq!((newer.text("/status"), newer.text("/reason")), ("parked", "unknown_version"));
    eventually("both are listed", async || {
        let parked = server.get("/api/business-events?status=parked").await;
        (parked.body["results"].as_array().map(Vec::len) == Some(2)).then_some(())
    })
    .await;
    let path = format!("/api/business-events/{}/discard", taken.id());
    let discarded = server.post(&path, json!({ "reason": "A test of the till." })).await;
    assert_eq!(discarded.text("/status"), "discarded", "{}", discarded.body);
    let replayed = server.post(&format!("/api/business-events/{}/replay", newer.id()), json!({})).await;
    assert_eq!(replayed.text("/reason"), "unknown_version", "{}", replayed.body);
    assert_eq!(server.post("/api/business-events/bev_0/discard", json!({})).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_the_bus_belong_to_a_trusted_source_or_are_parked() {
    let server = TestServer::new().await;
    let from_bus = |account: &str, source: &str, id: &str, detail: Value| {
        json!({
            "version": "0", "id": format!("bus-{id}"), "detail-type": "user.invited", "source": source, "account": account,
            "time": "2026-11-24T09:00:00Z", "region": "eu-west-1", "resources": [], "detail": detail,
        })
    };
    let ours = |source: &str, id: &str, detail: Value| from_bus("000000000000", source, id, detail);
    let put = async |event: Value| server.post("/_dev/events", event).await;
    let mut invited = invitation(json!({ "id": "9", "email": "bea@sim.test" }));
    invited["id"] = json!("evt-1");
    let taken = put(ours("crm", "1", invited.clone())).await;
    assert_eq!((taken.status.as_u16(), taken.text("/tenant"), taken.text("/status")), (202, "local", "handled"));
    let again = put(ours("crm", "2", invited.clone())).await;
    assert_eq!(again.id(), taken.id(), "the id is the source's, not the bus's");
    invited["role"] = json!("cook");
    let other = put(ours("crm", "3", invited)).await;
    assert_eq!((other.text("/status"), other.text("/reason")), ("parked", "id_reused"), "{}", other.body);

    let cloud_event = json!({
        "specversion": "1.0", "id": "ce-1", "type": "customer.created", "source": "other",
        "data": { "customer": { "id": "7", "email": "MARKER@sim.test", "timeZone": "Mars/Olympus" } },
    });
    let invalid = put(ours("crm", "4", cloud_event)).await;
    assert_eq!((invalid.text("/status"), invalid.text("/reason")), ("parked", "invalid"), "{}", invalid.body);
    assert_eq!(invalid.text("/faults/0/pointer"), "/data/customer/timeZone");
    let shown = server.get(&format!("/api/business-events/{}", invalid.id())).await;
    assert!(
        !shown.body.to_string().contains("MARKER") && !shown.body.to_string().contains("Olympus"),
        "{}",
        shown.body
    );

    let stranger = put(from_bus("666666666666", "crm", "5", json!({}))).await;
    assert_eq!((stranger.text("/tenant"), stranger.text("/reason")), ("unassigned", "unknown_source"));
    for source in ["tidings", "aws.s3"] {
        assert_eq!(put(ours(source, "6", json!({}))).await.status, StatusCode::NO_CONTENT, "{source}");
    }
    eventually("one email", async || (server.inbox("bea@sim.test").await.len() == 1).then_some(())).await;
}
