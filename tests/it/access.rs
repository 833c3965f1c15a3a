//! Authorisation: permissions of every role at every route, isolation of tenants, and the life cycle of API keys.

use domain::access::{Permission, permissions, role_allows};
use domain::ports::{ApiKeyStore, Principal};
use events::RateLimit;
use events::{Channel, Mode, Role};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{Answer, TestServer, email, sms};

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

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_open_to_exactly_the_roles_with_its_permission() {
    let server = TestServer::new().await;
    let mut checked = 0;
    for role in Role::ALL {
        let tenant = "local".parse().expect("a tenant");
        let key = key_of(&server, &Principal { role: *role, ..Principal::admin(tenant, "somebody", Mode::Test) }).await;
        for api::Route { method, path, permission, .. } in api::ROUTES {
            let Some(permission) = permission else { continue };
            // The id does not exist, so the request changes nothing.
            let path = path.replace("{id}", "none").replace("{kind}", "customer");
            let answer = ask(&server, &key, method, &path, json!({ "no such field": 1 })).await;
            let is_refused = answer.status == StatusCode::FORBIDDEN;
            assert_eq!(
                is_refused,
                !role_allows(*role, *permission),
                "{} {method} {path}: {}",
                role.as_str(),
                answer.body
            );
            assert_ne!(answer.status, StatusCode::UNAUTHORIZED);
            checked += 1;
        }
    }
    println!("{checked} pairs of role and route");
    assert!(checked > 250, "{checked}");
    assert_eq!(permissions(Role::Admin).len(), Permission::ALL.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_needs_the_permission_of_the_get_route() {
    let server = TestServer::new().await;
    let tenant = "local".parse().expect("a tenant");
    let viewer = Principal { role: Role::Viewer, ..Principal::admin(tenant, "somebody", Mode::Test) };
    let key = key_of(&server, &viewer).await;
    let head = async |path: &str| {
        let request = server.client.head(format!("{}{path}", server.local.url)).bearer_auth(&key);
        request.send().await.expect("a response").status()
    };
    assert_eq!(head("/api/keys").await, StatusCode::FORBIDDEN);
    assert_eq!(head("/api/communications").await, StatusCode::OK);
    assert_eq!(head("/api/communications/send").await, StatusCode::METHOD_NOT_ALLOWED);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_key_changes_only_messages_within_its_scope() {
    let server = TestServer::new().await;
    let mut message = sms("+447700900001");
    message["scheduledAt"] = json!("2027-06-01T09:00:00Z");
    message["fallback"] = json!([{ "channel": "whatsapp" }]);
    let id = server.send(message).await;
    let admin = Principal::admin("local".parse().expect("a tenant"), "restricted", Mode::Test);
    let by_channel = Principal { channels: Some(vec![Channel::Sms]), ..admin.clone() };
    let of_team = Principal { actor: "team".to_owned(), team: Some(vec!["another address".to_owned()]), ..admin };
    let before = server.get(&format!("/api/communications/{id}/events")).await.body;
    for (restricted, why) in [(by_channel, "may not send by whatsapp"), (of_team, "the addresses of its team")] {
        let key = key_of(&server, &restricted).await;
        let mut asked = 0;
        for api::Route { method, path, permission, .. } in api::ROUTES {
            if !path.starts_with("/api/communications/{id}") || matches!(permission, Some(Permission::View) | None) {
                continue;
            }
            let body = match path.rsplit('/').next() {
                Some("{id}") if *method == "PATCH" => json!({ "scheduledAt": "2027-07-01T09:00:00Z" }),
                Some("resolve") => json!({ "outcome": "not_accepted" }),
                _ => json!({}),
            };
            let answer = ask(&server, &key, method, &path.replace("{id}", &id), body).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}: {}", answer.body);
            assert!(answer.text("/detail").contains(why), "{method} {path}: {}", answer.body);
            asked += 1;
        }
        assert!(5 <= asked, "{asked}");
    }
    assert_eq!(server.get(&format!("/api/communications/{id}/events")).await.body, before);
    let allowed = server.post(&format!("/api/communications/{id}/cancel"), json!({})).await;
    assert_eq!(allowed.status, StatusCode::OK, "{}", allowed.body);
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
    for api::Route { method, path, .. } in api::ROUTES.iter().filter(|route| route.permission.is_some()) {
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
