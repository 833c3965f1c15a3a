//! Authorisation: permissions of every role at every route, isolation of tenants, and the life cycle of API keys.

use std::collections::BTreeSet;

use domain::access::{Permission, Reach, TEAM_PERMISSIONS, permissions, role_allows};
use domain::ports::{ApiKeyStore, Principal};
use events::RateLimit;
use events::{Channel, Mode, Role};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{Answer, TestServer, email, eventually, sms};

async fn key_of(server: &TestServer, principal: &Principal) -> String {
    let Principal { mode, tenant, role, actor, .. } = principal;
    let key = format!("td_{}_{tenant}_{}_{actor}", mode.as_str(), role.as_str());
    ApiKeyStore::put(&server.local.database, &application::hash::key_hash(&key), principal).await.expect("a key");
    key
}

async fn ask(server: &TestServer, key: &str, method: &str, path: &str, body: Value) -> Answer {
    let request = server.client.request(method.parse().expect("a method"), format!("{}{path}", server.local.url));
    server.answer(request.bearer_auth(key).json(&body)).await
}

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

/// Whether the route table opens an operation to a caller.
fn is_open_to(principal: &Principal, (permission, reach): (Permission, Reach)) -> bool {
    let is_open = match reach {
        Reach::Scoped => principal.team.is_none() || TEAM_PERMISSIONS.contains(&permission),
        Reach::Tenant => principal.team.is_none(),
        Reach::Everything => principal.team.is_none() && principal.channels.is_none(),
    };
    is_open && role_allows(principal.role, permission)
}

/// Every role, with each kind of restriction, in both modes.
fn callers() -> Vec<Principal> {
    let mut callers = Vec::new();
    for role in Role::ALL {
        for mode in [Mode::Test, Mode::Live] {
            let all = Principal { role: *role, ..Principal::admin("local".parse().expect("a tenant"), "all", mode) };
            let by_channel = Principal { actor: "sms".to_owned(), channels: Some(vec![Channel::Sms]), ..all.clone() };
            let of_team = Principal { actor: "team".to_owned(), team: Some(vec!["hash".to_owned()]), ..all.clone() };
            callers.extend([all, by_channel, of_team]);
        }
    }
    callers
}

/// Every method that HTTP has, at every path: what the route table does not open is refused.
#[tokio::test(flavor = "multi_thread")]
async fn every_method_of_every_route_is_open_to_exactly_the_callers_that_the_table_names() {
    let request_rate = Some(RateLimit { burst: 100_000, per_second: 100_000 });
    let server = TestServer::with(local::Options { request_rate, ..TestServer::options() }).await;
    let paths: BTreeSet<&str> =
        api::ROUTES.iter().filter(|route| route.access.is_some()).map(|route| route.path).collect();
    let mut checked = 0;
    for principal in callers() {
        let key = key_of(&server, &principal).await;
        for path in &paths {
            // The id does not exist, and the body is not valid, so no request changes anything.
            let url = format!("{}{}", server.local.url, path.replace("{id}", "none").replace("{kind}", "customer"));
            let requests = METHODS.map(|method| {
                let request = server.client.request(method.parse().expect("a method"), &url).bearer_auth(&key);
                let has_body = ["POST", "PUT", "PATCH", "DELETE"].contains(&method);
                let request = if has_body { request.json(&json!({ "no such field": 1 })) } else { request };
                async move { (method, request.send().await.expect("a response")) }
            });
            for (method, response) in futures_util::future::join_all(requests).await {
                let method_of_route = if method == "HEAD" { "GET" } else { method };
                let route = api::ROUTES.iter().find(|route| route.path == *path && route.method == method_of_route);
                let status = response.status();
                let what = format!("{} {} {method} {path}: {status}", principal.role.as_str(), principal.actor);
                match route.and_then(|route| route.access) {
                    None => {
                        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{what}");
                        let allow = response.headers()["allow"].to_str().expect("text").to_owned();
                        assert!(!allow.is_empty() && !allow.split(", ").any(|name| name == method), "{what}: {allow}");
                    }
                    Some(access) if is_open_to(&principal, access) => {
                        let refusals =
                            [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED];
                        assert!(!refusals.contains(&status) && !status.is_server_error(), "{what}");
                    }
                    Some(_) => assert_eq!(status, StatusCode::FORBIDDEN, "{what}"),
                }
                checked += 1;
            }
        }
    }
    assert_eq!(checked, paths.len() * METHODS.len() * callers().len());
    assert_eq!(permissions(Role::Admin).len(), Permission::ALL.len());
}

/// Nothing tells whether a path has a method unless the caller is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_key_is_refused_at_every_route() {
    let server = TestServer::new().await;
    for method in METHODS {
        for authorization in ["", "Basic dTpw", "Bearer", "Bearer td_test_nobody"] {
            let request =
                server.client.request(method.parse().expect("a method"), format!("{}/api/keys", server.local.url));
            let response = request.header("authorization", authorization).send().await.expect("a response");
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{method} {authorization}");
        }
    }
    let request = server.client.get(format!("{}/api/providers", server.local.url));
    let response =
        request.header("authorization", format!("BEARER  {}", local::DEV_KEY)).send().await.expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_rate_limit_applies_to_one_key_only() {
    let request_rate = Some(RateLimit { burst: 40, per_second: 1 });
    let server = TestServer::with(local::Options { request_rate, ..TestServer::options() }).await;
    let other = server.post("/api/keys", json!({ "name": "other", "role": "viewer" })).await.text("/key").to_owned();
    let mut refused = None;
    for _ in 0..50 {
        let answer = server.get("/api/providers").await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    let refused = refused.expect("a refusal");
    assert_eq!(refused.text("/code"), "too_many_requests");
    let wait_s: u32 = refused.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((1..=2).contains(&wait_s), "{wait_s}");
    assert_eq!(ask(&server, &other, "GET", "/api/providers", json!({})).await.status, StatusCode::OK);
    server.advance(wait_s * 1_000).await;
    assert_eq!(server.get("/api/providers").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_created_shown_once_used_and_revoked() {
    let server = TestServer::new().await;
    let made = server.post("/api/keys", json!({ "name": "billing", "role": "sender", "channels": ["email"] })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let (id, key) = (made.id(), made.text("/key").to_owned());
    assert!(key.starts_with("td_test_"), "{key}");
    let sent = ask(&server, &key, "POST", "/api/communications/send", email("delivered@sim.test")).await;
    assert_eq!((sent.status, sent.text("/communication/createdBy")), (StatusCode::CREATED, "billing"));
    let refused = ask(&server, &key, "POST", "/api/communications/send", sms("+447700900001")).await;
    assert_eq!(refused.text("/errors/0/code"), "channel_not_allowed", "{}", refused.body);
    let refused = ask(&server, &key, "GET", "/api/keys", json!({})).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let listed = server.get("/api/keys").await;
    assert_eq!((listed.text("/keys/0/id"), listed.text("/keys/0/role")), (id.as_str(), "sender"));
    assert!(!listed.body.to_string().contains(&key[10..]), "the key itself is returned only once");
    assert_eq!(
        server.answer(server.request(Method::DELETE, &format!("/api/keys/{id}"))).await.status,
        StatusCode::NO_CONTENT
    );
    let gone = ask(&server, &key, "GET", "/api/communications", json!({})).await;
    assert_eq!(gone.status, StatusCode::UNAUTHORIZED);
    assert_eq!(server.get("/api/keys").await.body["keys"], json!([]));
    let audit = server.get("/api/audit").await;
    let types = |audit: &Answer| {
        audit.body["acts"].as_array().expect("acts").iter().map(|act| act["type"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(types(&audit), ["KeyRevoked", "KeyCreated"], "{}", audit.body);
    assert_eq!((audit.text("/acts/1/data/name"), audit.text("/acts/1/actor")), ("billing", "key:developer"));
    assert!(audit.body["acts"][1]["data"].get("hash").is_none());
    assert_eq!(types(&server.get("/api/audit?subject=templates").await), Vec::<Value>::new());
    let wrong = server.get("/api/audit?subject=weather&from=then").await;
    assert_eq!((wrong.status, wrong.body["errors"].as_array().map(Vec::len)), (StatusCode::BAD_REQUEST, Some(2)));

    let until = api::fields::show_time(domain::ports::ClockAndRng::now(&*server.local.clock) + 60_000);
    let short = server.post("/api/keys", json!({ "name": "short", "role": "viewer", "expiresAt": until })).await;
    let key = short.text("/key").to_owned();
    assert_eq!(ask(&server, &key, "GET", "/api/communications", json!({})).await.status, StatusCode::OK);
    server.advance(61_000).await;
    assert_eq!(ask(&server, &key, "GET", "/api/communications", json!({})).await.status, StatusCode::UNAUTHORIZED);
    for (body, pointer) in [
        (json!({ "role": "viewer" }), "/name"),
        (json!({ "name": "n", "role": "king" }), "/role"),
        (json!({ "name": "n", "role": "viewer", "mode": "live" }), "/mode"),
        (json!({ "name": "n", "role": "viewer", "channels": ["fax"] }), "/channels"),
        (json!({ "name": "n", "role": "viewer", "expiresAt": "2020-01-01T00:00:00Z" }), "/expiresAt"),
    ] {
        let refused = server.post("/api/keys", body.clone()).await;
        assert_eq!(refused.text("/errors/0/pointer"), pointer, "{body}: {}", refused.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_key_sends_live_messages_to_its_team_only() {
    let server = TestServer::new().await;
    let tenant = "local".parse().expect("a tenant");
    let live = key_of(&server, &Principal::admin(tenant, "boss", Mode::Live)).await;
    let team_key = json!({
        "name": "us", "role": "sender", "mode": "team", "team": ["Ada@Example.com", "+44 7700 900001"],
    });
    let refused = server.post("/api/keys", team_key.clone()).await;
    assert_eq!(refused.text("/errors/0/pointer"), "/mode", "a test key can only create test keys: {}", refused.body);
    let made = ask(&server, &live, "POST", "/api/keys", team_key).await;
    assert_eq!((made.text("/mode"), &made.body["teamSize"]), ("team", &json!(2)), "{}", made.body);
    let key = made.text("/key").to_owned();
    let channel = json!({
        "provider": "twilio", "channel": "sms", "name": "ours",
        "settings": { "accountSid": "ACsimulator", "authToken": "simulator-token", "from": "+15005550006" },
    });
    assert_eq!(ask(&server, &live, "POST", "/api/channels", channel).await.status, StatusCode::CREATED);
    let send = async |body: Value| ask(&server, &key, "POST", "/api/communications/send", body).await;
    let sent = send(sms("+447700900001")).await;
    assert_eq!((sent.status, sent.text("/communication/mode")), (StatusCode::CREATED, "live"), "{}", sent.body);
    let refused = send(sms("+447700900002")).await;
    assert_eq!(refused.text("/errors/0/code"), "not_on_team", "{}", refused.body);
    let mut chain = sms("+447700900001");
    chain["fallback"] = json!([{ "channel": "sms", "recipientContact": "+447700900002" }]);
    assert_eq!(send(chain).await.text("/errors/0/pointer"), "/fallback/0/recipientContact");
    let path = format!("/api/communications/{}/resend", sent.id());
    let other = json!({ "recipientContact": "+447700900002" });
    assert_eq!(ask(&server, &key, "POST", &path, other).await.text("/errors/0/code"), "not_on_team");
    assert_eq!(ask(&server, &key, "POST", &path, json!({})).await.status, StatusCode::CREATED);
    for (body, pointer) in [
        (json!({ "name": "n", "role": "sender", "mode": "team" }), "/team"),
        (json!({ "name": "n", "role": "sender", "mode": "team", "team": ["nobody"] }), "/team/0"),
        (json!({ "name": "n", "role": "admin", "mode": "team", "team": ["a@example.com"] }), "/role"),
        (json!({ "name": "n", "role": "sender", "mode": "live", "team": ["a@example.com"] }), "/team"),
    ] {
        let refused = ask(&server, &live, "POST", "/api/keys", body.clone()).await;
        assert_eq!(refused.text("/errors/0/pointer"), pointer, "{body}: {}", refused.body);
    }
}

/// A scheduled message, so that it stays as it is.
fn scheduled(mut message: Value) -> Value {
    message["scheduledAt"] = json!("2027-06-01T09:00:00Z");
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_key_sees_and_changes_only_messages_within_its_scope() {
    let server = TestServer::new().await;
    let own = server.send(scheduled(sms("+447700900001"))).await;
    let by_email = server.send(scheduled(email("ada@example.com"))).await;
    let mut chain = scheduled(sms("+447700900001"));
    chain["fallback"] = json!([{ "channel": "whatsapp", "recipientContact": "+447700900002" }]);
    let chain = server.send(chain).await;
    let events = |id: &str| format!("/api/communications/{id}/events");
    let hash = server.get(&events(&own)).await.text("/events/0/data/contactHash").to_owned();
    let admin = Principal::admin("local".parse().expect("a tenant"), "restricted", Mode::Test);
    let by_channel = Principal { channels: Some(vec![Channel::Sms]), ..admin.clone() };
    let of_team = Principal { actor: "team".to_owned(), role: Role::Sender, team: Some(vec![hash]), ..admin };
    let before = (server.get(&events(&by_email)).await.body, server.get(&events(&chain)).await.body);
    eventually("all three are listed", async || {
        (server.get("/api/communications").await.body["count"] == 3).then_some(())
    })
    .await;
    for restricted in [by_channel, of_team] {
        let key = key_of(&server, &restricted).await;
        let mut asked = 0;
        for api::Route { method, path, access, .. } in api::ROUTES {
            if !path.starts_with("/api/communications/{id}") || !access.is_some_and(|of| is_open_to(&restricted, of)) {
                continue;
            }
            let body = match path.rsplit('/').next() {
                Some("{id}") if *method == "PATCH" => json!({ "scheduledAt": "2027-07-01T09:00:00Z" }),
                Some("resolve") => json!({ "outcome": "not_accepted" }),
                _ => json!({}),
            };
            for id in [&by_email, &chain] {
                let answer = ask(&server, &key, method, &path.replace("{id}", id), body.clone()).await;
                assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}: {}", answer.body);
            }
            if *method == "GET" {
                let answer = ask(&server, &key, method, &path.replace("{id}", &own), body).await;
                assert_ne!(answer.status, StatusCode::NOT_FOUND, "{method} {path}: {}", answer.body);
            }
            asked += 1;
        }
        assert!(6 <= asked, "{asked}");
        let listed = ask(&server, &key, "GET", "/api/communications", json!({})).await;
        assert_eq!((listed.text("/results/0/id"), &listed.body["count"]), (own.as_str(), &json!(1)), "{}", listed.body);
        let listed = ask(&server, &key, "GET", "/api/communications?channel=email", json!({})).await;
        assert_eq!((&listed.body["results"], &listed.body["count"]), (&json!([]), &json!(0)));
    }
    assert_eq!((server.get(&events(&by_email)).await.body, server.get(&events(&chain)).await.body), before);
    let allowed = server.post(&format!("/api/communications/{chain}/cancel"), json!({})).await;
    assert_eq!(allowed.status, StatusCode::OK, "{}", allowed.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_key_learns_nothing_from_a_repeated_idempotency_key() {
    let server = TestServer::new().await;
    let request = server.request(Method::POST, "/api/communications/send").header("idempotency-key", "one");
    assert_eq!(server.answer(request.json(&email("ada@example.com"))).await.status, StatusCode::CREATED);
    let admin = Principal::admin("local".parse().expect("a tenant"), "restricted", Mode::Test);
    let key = key_of(&server, &Principal { channels: Some(vec![Channel::Sms]), ..admin }).await;
    let url = format!("{}/api/communications/send", server.local.url);
    let repeated = server.client.post(url).bearer_auth(key).header("idempotency-key", "one");
    let repeated = server.answer(repeated.json(&email("ada@example.com"))).await;
    assert_eq!(repeated.text("/code"), "idempotency_key_reused", "{}", repeated.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_key_uses_only_its_own_files_schedules_and_channels() {
    let server = TestServer::new().await;
    let file = json!({ "filename": "a.pdf", "contentType": "application/pdf", "sizeBytes": 10 });
    let file = server.post("/api/attachments", file).await.id();
    let schedule = server
        .post(
            "/api/schedules",
            json!({ "name": "daily", "when": { "cron": "0 9 * * *" }, "timeZone": "UTC", "action": { "send": email("ada@example.com") } }),
        )
        .await
        .id();
    let channel = json!({ "provider": "sendgrid", "name": "ours", "settings": { "apiKey": "SG.key", "fromEmail": "us@example.com" } });
    let channel = server.post("/api/channels", channel).await.id();
    let admin = Principal::admin("local".parse().expect("a tenant"), "restricted", Mode::Test);
    let by_channel = Principal { channels: Some(vec![Channel::Sms]), ..admin };
    let key = key_of(&server, &by_channel).await;
    for (method, path) in [
        ("GET", format!("/api/attachments/{file}")),
        ("DELETE", format!("/api/attachments/{file}")),
        ("GET", format!("/api/schedules/{schedule}")),
        ("DELETE", format!("/api/schedules/{schedule}")),
        ("POST", format!("/api/schedules/{schedule}/pause")),
        ("GET", format!("/api/channels/{channel}")),
        ("DELETE", format!("/api/channels/{channel}")),
        ("GET", format!("/api/channels/{channel}/health")),
    ] {
        let answer = ask(&server, &key, method, &path, json!({})).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}: {}", answer.body);
        if method == "GET" && !path.ends_with("/health") {
            assert_eq!(server.get(&path).await.status, StatusCode::OK, "{path}");
        }
    }
    let still_works = server.post(&format!("/api/channels/{channel}/test"), json!({ "to": "ada@sim.test" })).await;
    assert!(still_works.status.is_success(), "its credentials are gone: {}", still_works.body);
    for (path, list) in [("/api/schedules", "schedules"), ("/api/channels", "channels")] {
        assert_eq!(ask(&server, &key, "GET", path, json!({})).await.body[list], json!([]), "{path}");
    }
    let suppression = json!({ "channel": "email", "contact": "ada@example.com" });
    let refused = ask(&server, &key, "POST", "/api/suppressions", suppression.clone()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.body);
    assert_eq!(server.post("/api/suppressions", suppression).await.status, StatusCode::CREATED);
    let listed = ask(&server, &key, "GET", "/api/suppressions", json!({})).await;
    assert_eq!(listed.body["suppressions"], json!([]), "{}", listed.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_creates_and_revokes_only_keys_that_can_do_no_more_than_itself() {
    let server = TestServer::new().await;
    let whole = server.post("/api/keys", json!({ "name": "whole", "role": "viewer" })).await.id();
    let now = domain::ports::ClockAndRng::now(&*server.local.clock);
    let until = api::fields::show_time(now + 3_600_000);
    let restricted = json!({ "name": "sms", "role": "admin", "channels": ["sms"], "expiresAt": until });
    let key = server.post("/api/keys", restricted).await.text("/key").to_owned();
    let create = async |body: Value| ask(&server, &key, "POST", "/api/keys", body).await;
    let later = api::fields::show_time(now + 3_600_001);
    for (body, pointer) in [
        (json!({ "name": "n", "role": "admin", "channels": ["sms", "email"] }), "/channels"),
        (json!({ "name": "n", "role": "admin", "expiresAt": later }), "/expiresAt"),
    ] {
        let refused = create(body.clone()).await;
        assert_eq!(refused.text("/errors/0/pointer"), pointer, "{body}: {}", refused.body);
    }
    let created = create(json!({ "name": "child", "role": "admin" })).await;
    assert_eq!(created.body["channels"], json!(["sms"]), "{}", created.body);
    assert_eq!((created.text("/expiresAt"), created.text("/createdBy")), (until.as_str(), "key:sms"));
    let revoke = async |id: &str| ask(&server, &key, "DELETE", &format!("/api/keys/{id}"), json!({})).await.status;
    assert_eq!(revoke(&whole).await, StatusCode::FORBIDDEN);
    assert_eq!(revoke(&created.id()).await, StatusCode::NO_CONTENT);
    let audit = server.get("/api/audit?subject=keys").await;
    assert_eq!((audit.text("/acts/0/type"), audit.text("/acts/0/actor")), ("KeyRevoked", "key:sms"), "{}", audit.body);
}

/// No route lets a tenant read or change the data of another tenant.
#[tokio::test(flavor = "multi_thread")]
async fn no_route_gives_access_to_another_tenants_data() {
    const MARK: &str = "MARKER";
    let server = TestServer::new().await;
    let mut message = email("marker@sim.test");
    message["content"] = json!(format!("{MARK} of the content"));
    message["recipientId"] = json!("marked");
    message["scheduledAt"] = json!("2027-06-01T09:00:00Z");
    let communication = server.send(message).await;
    let template = json!({
        "name": MARK, "code": "marked", "channel": "sms", "type": "general", "bodyTemplate": format!("{MARK} {{{{a}}}}"),
    });
    let template = server.post("/api/communication-templates", template).await.id();
    let settings = json!({ "tokenId": MARK, "tokenSecret": "s" });
    let channel = json!({ "provider": "bulksms", "name": MARK, "settings": settings });
    let channel = server.post("/api/channels", channel).await.id();
    let key = server.post("/api/keys", json!({ "name": MARK, "role": "viewer" })).await.id();
    let person = "/api/communication-preferences/customer/marked";
    let theirs = json!({ "preferredEmail": "marker@sim.test", "optedOutReason": MARK, "optedOut": true });
    assert_eq!(server.answer(server.request(Method::PATCH, person).json(&theirs)).await.status, StatusCode::OK);
    let state = async || {
        let mut all = Vec::new();
        for path in [
            format!("/api/communications/{communication}"),
            format!("/api/communication-templates/{template}"),
            format!("/api/channels/{channel}"),
            "/api/keys".to_owned(),
            person.to_owned(),
        ] {
            let seen = server.get(&path).await;
            assert!(seen.body.to_string().contains(MARK) || path == person, "{path}: {}", seen.body);
            all.push(seen.body);
        }
        all
    };
    let before = state().await;
    let stranger = key_of(&server, &Principal::admin("stranger".parse().expect("a tenant"), "spy", Mode::Test)).await;
    let mut requests = 0;
    for api::Route { method, path, .. } in api::ROUTES.iter().filter(|route| route.access.is_some()) {
        for id in [&communication, &template, &channel, &key, &"marked".to_owned()] {
            let path = path.replace("{id}", id).replace("{kind}", "customer");
            for body in [
                json!({}),
                json!({ "name": "theirs", "bodyTemplate": "theirs", "to": "+447700900001", "optedOut": false }),
            ] {
                let answer = ask(&server, &stranger, method, &path, body).await;
                assert!(!answer.body.to_string().contains(MARK), "{method} {path}: {}", answer.body);
                assert!(!answer.status.is_server_error(), "{method} {path}: {}", answer.body);
                requests += 1;
            }
        }
    }
    println!("{requests} requests of another tenant");
    assert_eq!(state().await, before, "another tenant changed data");
}
