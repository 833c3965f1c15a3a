//! Tokens of an identity provider over HTTP: its signing keys are fetched, cached and rotated.

use std::sync::{Arc, Mutex};

use api::config::{Jwt, keys_of};
use axum::Router;
use axum::http::StatusCode as Status;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use local::Options;
use p256::pkcs8::EncodePrivateKey;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::server::{Answer, TestServer, email};

/// A simulated identity provider. While nothing is published, it is unavailable.
struct IdentityProvider {
    published: Arc<Mutex<Option<JwkSet>>>,
    fetches: Arc<Mutex<usize>>,
    url: String,
}

fn key(seed: u8) -> EncodingKey {
    let secret = p256::SecretKey::from_slice(&[seed; 32]).expect("a key");
    EncodingKey::from_ec_der(secret.to_pkcs8_der().expect("DER").as_bytes())
}

fn public(seed: u8) -> Jwk {
    let mut jwk = Jwk::from_encoding_key(&key(seed), Algorithm::ES256).expect("a public key");
    jwk.common.key_id = Some(format!("k{seed}"));
    jwk
}

impl IdentityProvider {
    async fn start() -> IdentityProvider {
        let (published, fetches) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(0)));
        let (shown, count): (Arc<Mutex<Option<JwkSet>>>, Arc<Mutex<usize>>) =
            (Arc::clone(&published), Arc::clone(&fetches));
        let answer = async move || {
            *count.lock().expect("one thread") += 1;
            match &*shown.lock().expect("one thread") {
                Some(keys) => (Status::OK, serde_json::to_string(keys).expect("JSON")),
                None => (Status::SERVICE_UNAVAILABLE, String::new()),
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().route("/.well-known/jwks.json", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        IdentityProvider { published, fetches, url }
    }

    fn publish(&self, seeds: &[u8]) {
        let keys = seeds.iter().map(|seed| public(*seed)).collect();
        *self.published.lock().expect("one thread") = Some(JwkSet { keys });
    }

    fn stop(&self) {
        *self.published.lock().expect("one thread") = None;
    }

    fn fetches(&self) -> usize {
        *self.fetches.lock().expect("one thread")
    }

    async fn server(&self) -> TestServer {
        let jwt = Jwt {
            issuer: self.url.clone(),
            audience: "tidings".to_owned(),
            keys_url: keys_of(&self.url),
            tenant_claim: "custom:tenant".to_owned(),
            role_claim: "groups".to_owned(),
        };
        TestServer::with(Options { jwt: Some(jwt), ..TestServer::options() }).await
    }

    /// The claims of a valid token, changed by `more`.
    fn claims(&self, server: &TestServer, more: Value) -> Value {
        let now = domain::ports::ClockAndRng::now(&*server.local.clock).0 / 1_000;
        let mut claims = json!({
            "iss": self.url, "aud": "tidings", "sub": "8f3a", "exp": now + 600, "iat": now, "custom:tenant": "local",
            "groups": ["staff", "sender"], "mode": "test",
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        claims
    }
}

fn header(seed: u8) -> Header {
    Header { kid: Some(format!("k{seed}")), ..Header::new(Algorithm::ES256) }
}

fn with_header(header: Header, seed: u8, claims: &Value) -> String {
    encode(&header, claims, &key(seed)).expect("a token")
}

fn sign(seed: u8, claims: &Value) -> String {
    with_header(header(seed), seed, claims)
}

/// A header that has the parameter `crit`, but nothing in it.
fn without_critical_extensions() -> String {
    URL_SAFE_NO_PAD.encode(json!({ "alg": "ES256", "kid": "k1", "crit": null }).to_string())
}

async fn ask(server: &TestServer, token: &str, path: &str) -> Answer {
    server.answer(server.client.get(format!("{}{path}", server.local.url)).bearer_auth(token)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_gives_the_permissions_of_its_role_in_its_tenant() {
    let provider = IdentityProvider::start().await;
    provider.publish(&[1, 2]);
    let server = provider.server().await;
    let ada = sign(1, &provider.claims(&server, json!({})));
    let url = format!("{}/api/communications/send", server.local.url);
    let sent = server.client.post(url).bearer_auth(&ada).json(&email("delivered@sim.test"));
    let sent = server.answer(sent).await;
    assert_eq!(sent.status, StatusCode::CREATED, "{}", sent.body);
    let timeline = server.get(&format!("/api/communications/{}/events", sent.id())).await;
    assert_eq!(timeline.text("/events/0/actor"), "user:8f3a", "{}", timeline.body);
    assert_eq!(ask(&server, &ada, "/api/keys").await.status, StatusCode::FORBIDDEN);
    let other = sign(2, &provider.claims(&server, json!({ "custom:tenant": "other", "groups": "admin" })));
    assert_eq!(ask(&server, &other, "/api/keys").await.status, StatusCode::OK);
    let path = format!("/api/communications/{}", sent.id());
    assert_eq!(ask(&server, &other, &path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ask(&server, &ada, &path).await.status, StatusCode::OK);
    assert_eq!(server.get("/api/keys").await.status, StatusCode::OK, "API keys still work");
    assert_eq!(provider.fetches(), 1, "the signing keys are cached");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rejection_of_a_token_names_the_reason() {
    let provider = IdentityProvider::start().await;
    provider.publish(&[1]);
    let server = provider.server().await;
    let claims = |more: Value| provider.claims(&server, more);
    let good = sign(1, &claims(json!({})));
    assert_eq!(ask(&server, &good, "/api/communications").await.status, StatusCode::OK);
    let parts: Vec<&str> = good.split('.').collect();
    let other_parts = sign(1, &claims(json!({ "groups": ["admin"] })));
    let other_parts: Vec<&str> = other_parts.split('.').collect();
    // One token uses the public key as the secret of a symmetric signature, and one has no signature.
    let secret = serde_json::to_vec(&public(1)).expect("JSON");
    let symmetric = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
    let symmetric = encode(&symmetric, &claims(json!({})), &EncodingKey::from_secret(&secret)).expect("a token");
    let none = format!("eyJhbGciOiJub25lIiwia2lkIjoiazEifQ.{}.", parts[1]);
    let now = domain::ports::ClockAndRng::now(&*server.local.clock).0 / 1_000;
    for (token, why) in [
        (sign(1, &claims(json!({ "exp": now - 61 }))), "it has expired"),
        (sign(1, &claims(json!({ "nbf": now + 120 }))), "it is not valid yet"),
        (sign(1, &claims(json!({ "iss": "https://elsewhere.example" }))), "another issuer"),
        (sign(1, &claims(json!({ "aud": ["elsewhere"] }))), "another audience"),
        (sign(1, &claims(json!({ "exp": null }))), "iss, aud, exp and sub"),
        (sign(1, &claims(json!({ "sub": "" }))), "no sub"),
        (sign(1, &claims(json!({ "custom:tenant": "No Tenant" }))), "custom:tenant does not name a tenant"),
        (sign(1, &claims(json!({ "groups": ["staff"] }))), "groups is not one of"),
        (sign(1, &claims(json!({ "mode": "dream" }))), "mode"),
        (sign(1, &claims(json!({ "channels": ["fax"] }))), "channels"),
        (sign(1, &claims(json!({ "nbf": "2020-01-01" }))), "nbf is not a time"),
        (sign(1, &claims(json!({ "exp": 9e18 }))), "exp is not a time"),
        (sign(1, &claims(json!({ "iss": [provider.url, "https://elsewhere.example"] }))), "another issuer"),
        (with_header(Header { crit: Some(vec!["b64".to_owned()]), ..header(1) }, 1, &claims(json!({}))), "critical"),
        (format!("{}.{}.{}", without_critical_extensions(), parts[1], parts[2]), "critical"),
        (sign(1, &claims(json!({ "sub": "ada\u{202e}" }))), "no sub"),
        (sign(3, &claims(json!({}))), "the issuer does not publish"),
        (format!("{}.{}.{}", parts[0], other_parts[1], parts[2]), "signature is invalid"),
        (format!("{}.{}.{}", parts[0], parts[1], other_parts[2]), "signature is invalid"),
        (symmetric, "algorithm"),
        (none, "cannot be parsed"),
        ("a.b.c".to_owned(), "cannot be parsed"),
    ] {
        let refused = ask(&server, &token, "/api/communications").await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{why}: {}", refused.body);
        assert!(refused.text("/detail").contains(why), "{why}: {}", refused.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_keys_are_rotated_and_cached_while_the_issuer_is_down() {
    let provider = IdentityProvider::start().await;
    let server = provider.server().await;
    let token = |seed| sign(seed, &provider.claims(&server, json!({})));
    for wait_s in ["1", "2", "4"] {
        let refused = ask(&server, &token(1), "/api/communications").await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.body);
        assert_eq!(refused.headers["retry-after"], wait_s);
        let fetches = provider.fetches();
        let refused = ask(&server, &token(1), "/api/communications").await;
        assert_eq!((refused.status, provider.fetches()), (StatusCode::SERVICE_UNAVAILABLE, fetches));
        server.advance(wait_s.parse::<u32>().expect("seconds") * 1_000).await;
    }
    provider.publish(&[1]);
    assert_eq!(ask(&server, &token(1), "/api/communications").await.status, StatusCode::OK);
    // Unknown keys are fetched at most once a minute.
    provider.publish(&[1, 2]);
    let fetches = provider.fetches();
    for _ in 0..5 {
        assert_eq!(ask(&server, &token(2), "/api/communications").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(provider.fetches(), fetches);
    server.advance(61_000).await;
    assert_eq!(ask(&server, &token(2), "/api/communications").await.status, StatusCode::OK);
    // Cached keys stay valid while the issuer is down. Keys that it no longer publishes are dropped after an hour.
    provider.stop();
    server.advance(3_700_000).await;
    assert_eq!(ask(&server, &token(1), "/api/communications").await.status, StatusCode::OK);
    assert_eq!(ask(&server, &token(3), "/api/communications").await.status, StatusCode::SERVICE_UNAVAILABLE);
    provider.publish(&[2]);
    server.advance(61_000).await;
    assert_eq!(ask(&server, &token(1), "/api/communications").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&server, &token(2), "/api/communications").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_on_a_fresh_process_wait_for_one_fetch_of_the_keys() {
    let provider = IdentityProvider::start().await;
    provider.publish(&[1]);
    let server = provider.server().await;
    let token = sign(1, &provider.claims(&server, json!({})));
    let asked = futures_util::future::join_all((0..20).map(|_| ask(&server, &token, "/api/communications"))).await;
    let statuses: Vec<StatusCode> = asked.into_iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [StatusCode::OK; 20]);
    assert_eq!(provider.fetches(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_creates_keys_for_at_most_90_days() {
    let provider = IdentityProvider::start().await;
    provider.publish(&[1]);
    let server = provider.server().await;
    let admin = sign(1, &provider.claims(&server, json!({ "groups": "admin" })));
    let now = domain::ports::ClockAndRng::now(&*server.local.clock);
    let day = |days: i64| api::fields::show_time(now + days * 24 * 3_600_000);
    let create = async |expires_at: Value| {
        let url = format!("{}/api/keys", server.local.url);
        let body = json!({ "name": "n", "role": "viewer", "expiresAt": expires_at });
        server.answer(server.client.post(url).bearer_auth(&admin).json(&body)).await
    };
    assert_eq!(create(json!(day(91))).await.text("/errors/0/pointer"), "/expiresAt");
    assert_eq!(create(json!(day(89))).await.status, StatusCode::CREATED);
    let created = create(Value::Null).await;
    assert!((day(90)..day(91)).contains(&created.text("/expiresAt").to_owned()), "{}", created.body);
    assert_eq!(created.text("/createdBy"), "user:8f3a");
}
