//! Signing in to the console by an identity provider, and what is refused.

use std::sync::{Arc, Mutex};

use api::config::{ConsoleClient, Jwt, keys_of};
use axum::Json;
use axum::Router;
use axum::extract::Form;
use axum::http::StatusCode as Status;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use local::Options;
use p256::pkcs8::EncodePrivateKey;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::server::TestServer;

const CLIENT: &str = "console";

fn key() -> EncodingKey {
    let secret = p256::SecretKey::from_slice(&[7; 32]).expect("a key");
    EncodingKey::from_ec_der(secret.to_pkcs8_der().expect("DER").as_bytes())
}

fn public() -> Jwk {
    let mut jwk = Jwk::from_encoding_key(&key(), Algorithm::ES256).expect("a key");
    jwk.common.key_id = Some("k1".to_owned());
    jwk
}

/// What the identity provider says about the person who signs in, and the hash that the browser showed.
#[derive(Clone, Default)]
struct Person {
    claims: Arc<Mutex<Value>>,
    challenge: Arc<Mutex<String>>,
}

impl Person {
    fn token(&self, form: &std::collections::HashMap<String, String>) -> (Status, Json<Value>) {
        let verifier = form.get("code_verifier").map(String::as_str).unwrap_or_default();
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        if form["code"] != "good" || challenge != *self.challenge.lock().expect("one thread") {
            return (Status::BAD_REQUEST, Json(json!({ "error": "invalid_grant" })));
        }
        let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::ES256) };
        let token = encode(&header, &*self.claims.lock().expect("one thread"), &key()).expect("a token");
        (Status::OK, Json(json!({ "id_token": token, "token_type": "Bearer" })))
    }
}

pub struct Console {
    pub server: TestServer,
    pub browser: Client,
    issuer: String,
    person: Person,
}

fn header_of<'a>(answer: &'a Response, name: &str) -> Vec<&'a str> {
    answer.headers().get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
}

/// The parameter of an address.
fn parameter(address: &str, name: &str) -> String {
    let url = reqwest::Url::parse(address).expect("an address");
    url.query_pairs().find(|(given, _)| given == name).map(|(_, value)| value.into_owned()).expect("a parameter")
}

fn value_of(cookies: &[&str], name: &str) -> String {
    let cookie = cookies.iter().find(|cookie| cookie.starts_with(name)).expect("a cookie");
    cookie.split(';').next().expect("a value").to_owned()
}

impl Console {
    pub async fn new() -> Console {
        let person = Person::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let described = json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
        });
        let keys = JwkSet { keys: vec![public()] };
        let redeem = {
            let person = person.clone();
            async move |Form(form): Form<std::collections::HashMap<String, String>>| person.token(&form)
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(async move || Json(described)))
            .route("/.well-known/jwks.json", get(async move || Json(keys)))
            .route("/token", post(redeem));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let jwt = Jwt {
            issuer: issuer.clone(),
            audience: "tidings".to_owned(),
            keys_url: keys_of(&issuer),
            tenant_claim: "tenant".to_owned(),
            role_claim: "role".to_owned(),
        };
        let console = Some(ConsoleClient { id: CLIENT.to_owned(), secret: None });
        let server = TestServer::with(Options { jwt: Some(jwt), console, ..TestServer::options() }).await;
        let browser = Client::builder().redirect(Policy::none()).build().expect("a client");
        Console { server, browser, issuer, person }
    }

    pub async fn get(&self, path: &str, cookies: &str) -> Response {
        let request = self.browser.get(format!("{}{path}", self.server.local.url)).header("accept", "text/html");
        request.header("cookie", cookies).send().await.expect("an answer")
    }

    /// Begins to sign in. Returns the cookie of the attempt, and the address of the identity provider.
    async fn begin(&self, to: &str) -> (String, String) {
        let answer = self.get(&format!("/session/start?to={to}"), "").await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let address = header_of(&answer, "location")[0].to_owned();
        assert!(address.starts_with(&format!("{}/authorize?", self.issuer)), "{address}");
        assert_eq!(parameter(&address, "code_challenge_method"), "S256");
        *self.person.challenge.lock().expect("one thread") = parameter(&address, "code_challenge");
        let now = domain::ports::ClockAndRng::now(&*self.server.local.clock).0 / 1_000;
        *self.person.claims.lock().expect("one thread") = json!({
            "iss": self.issuer, "aud": CLIENT, "sub": "noor", "exp": now + 600, "iat": now, "tenant": "local",
            "role": "admin", "mode": "test", "nonce": parameter(&address, "nonce"),
        });
        (value_of(&header_of(&answer, "set-cookie"), "__Host-sign-in"), address)
    }

    fn claim(&self, name: &str, value: Value) {
        self.person.claims.lock().expect("one thread")[name] = value;
    }

    async fn finish(&self, attempt: &str, state: &str, code: &str) -> Response {
        self.get(&format!("/session/callback?code={code}&state={state}"), attempt).await
    }

    async fn sign_in(&self, role: &str) -> String {
        self.sign_in_at("local", role).await
    }

    pub async fn sign_in_at(&self, tenant: &str, role: &str) -> String {
        let (attempt, address) = self.begin("/messages").await;
        self.claim("tenant", json!(tenant));
        self.claim("role", json!(role));
        let answer = self.finish(&attempt, &parameter(&address, "state"), "good").await;
        assert_eq!(header_of(&answer, "location"), ["/messages"], "{:?}", answer.status());
        let cookies = header_of(&answer, "set-cookie");
        let session = cookies.iter().find(|cookie| cookie.starts_with("__Host-session")).expect("a session");
        for part in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
            assert!(session.contains(part), "{session}");
        }
        value_of(&cookies, "__Host-session")
    }

    async fn advance(&self, ms: i64) {
        let request = self.server.client.post(format!("{}/_dev/clock", self.server.local.url));
        request.json(&json!({ "advanceMs": ms })).send().await.expect("an answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_and_out_and_the_audit_trail_names_them() {
    let console = Console::new().await;
    let asked = console.get("/queue?x=1", "").await;
    assert_eq!(header_of(&asked, "location"), ["/session/sign-in?to=%2Fqueue%3Fx%3D1"]);
    let page = console.get("/session/sign-in?to=%2Fqueue", "").await;
    assert!(page.text().await.expect("text").contains("/session/start?to=%2Fqueue"));

    let session = console.sign_in("admin").await;
    let page = console.get("/", &session).await;
    assert_eq!(page.status(), StatusCode::OK);
    let html = page.text().await.expect("text");
    assert!(html.contains("Sign out"), "{html}");
    let (_, rest) = html.split_once(r#"name="_token" value=""#).expect("a form");
    let token = rest.split('"').next().expect("a token").to_owned();
    let post = async |path: &str, fields: &[(&str, &str)]| {
        let request = console.browser.post(format!("{}{path}", console.server.local.url)).header("cookie", &session);
        request.form(&[&[("_token", &*token)], fields].concat()).send().await.expect("an answer")
    };
    let saved = post("/collections/switch/on", &[]).await;
    assert_eq!(saved.status(), StatusCode::SEE_OTHER);
    let acts = console.server.get("/api/audit?subject=collections").await;
    assert_eq!(acts.text("/acts/0/actor"), "user:noor", "{}", acts.body);

    let out = post("/session/sign-out", &[]).await;
    assert_eq!(header_of(&out, "location"), ["/session/sign-in?out=1"]);
    assert_eq!(console.get("/", &session).await.status(), StatusCode::SEE_OTHER, "the session has ended here too");
    let htmx = console.browser.get(format!("{}/messages", console.server.local.url)).header("hx-request", "true");
    let htmx = htmx.send().await.expect("an answer");
    assert_eq!(header_of(&htmx, "hx-redirect"), ["/session/sign-in?to=%2Fmessages"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_may_do_in_the_console_what_it_may_do_in_the_api() {
    let console = Console::new().await;
    let session = console.sign_in("viewer").await;
    let page = console.get("/collections", &session).await;
    let html = page.text().await.expect("text");
    let (_, rest) = html.split_once(r#"name="_token" value=""#).expect("a form");
    let token = rest.split('"').next().expect("a token").to_owned();
    let request = console.browser.post(format!("{}/collections/switch/on", console.server.local.url));
    let refused = request.header("cookie", &session).form(&[("_token", &token)]).send().await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let other = console.sign_in("admin").await;
    let request = console.browser.post(format!("{}/collections/switch/on", console.server.local.url));
    let forged = request.header("cookie", &other).form(&[("_token", &token)]).send().await.expect("an answer");
    assert_eq!(forged.status(), StatusCode::FORBIDDEN, "a token of another session");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_browser_that_asked_is_let_in_and_only_by_its_own_token() {
    let console = Console::new().await;
    let refused = async |attempt: &str, state: &str, code: &str| {
        let answer = console.finish(attempt, state, code).await;
        assert!(header_of(&answer, "set-cookie").iter().all(|cookie| !cookie.starts_with("__Host-session=local")));
        answer.status()
    };
    let (attempt, address) = console.begin("/").await;
    let state = parameter(&address, "state");
    assert_eq!(refused("", &state, "good").await, StatusCode::FORBIDDEN, "another browser");
    assert_eq!(refused(&attempt, "0", "good").await, StatusCode::FORBIDDEN, "another state");
    assert_eq!(refused(&attempt, &state, "stolen").await, StatusCode::FORBIDDEN, "a wrong code");
    let (other, other_address) = console.begin("/").await;
    assert_eq!(refused(&attempt, &state, "good").await, StatusCode::FORBIDDEN, "the code of another attempt (PKCE)");
    let state = parameter(&other_address, "state");
    for (name, value) in [
        ("nonce", json!("0")),
        ("aud", json!("tidings")),
        ("iss", json!("https://evil.example")),
        ("exp", json!(1)),
        ("tenant", json!("../x")),
        ("role", json!("owner")),
        ("sub", json!("")),
    ] {
        let kept = console.person.claims.lock().expect("one thread")[name].clone();
        console.claim(name, value);
        assert_eq!(refused(&other, &state, "good").await, StatusCode::FORBIDDEN, "{name}");
        console.claim(name, kept);
    }
    let let_in = console.finish(&other, &state, "good").await;
    assert_eq!(let_in.status(), StatusCode::SEE_OTHER);
    for to in ["//evil.example", "https://evil.example", "/%5Cevil.example"] {
        let (attempt, address) = console.begin(to).await;
        let answer = console.finish(&attempt, &parameter(&address, "state"), "good").await;
        assert_eq!(header_of(&answer, "location"), ["/"], "{to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_when_they_are_idle_and_after_twelve_hours() {
    let console = Console::new().await;
    let minute = 60_000;
    let session = console.sign_in("admin").await;
    console.advance(61 * minute).await;
    assert_eq!(console.get("/", &session).await.status(), StatusCode::SEE_OTHER, "idle for an hour");
    let session = console.sign_in("admin").await;
    for _ in 0..14 {
        console.advance(50 * minute).await;
        assert_eq!(console.get("/", &session).await.status(), StatusCode::OK);
    }
    console.advance(25 * minute).await;
    assert_eq!(console.get("/", &session).await.status(), StatusCode::SEE_OTHER, "after twelve hours");
    for forged in ["__Host-session=local~0", "__Host-session=other~x", "__Host-session=", "__Host-session=~~~"] {
        assert_eq!(console.get("/", forged).await.status(), StatusCode::SEE_OTHER, "{forged}");
    }
    let stolen = session.replace("local~", "other~");
    assert_eq!(console.get("/", &stolen).await.status(), StatusCode::SEE_OTHER, "another tenant");
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_again_ends_the_earlier_session() {
    let console = Console::new().await;
    let earlier = console.sign_in("admin").await;
    let (attempt, address) = console.begin("/messages").await;
    let cookies = format!("{attempt}; {earlier}");
    let answer = console.finish(&cookies, &parameter(&address, "state"), "good").await;
    let later = value_of(&header_of(&answer, "set-cookie"), "__Host-session");
    assert_eq!(console.get("/messages", &later).await.status(), StatusCode::OK);
    assert_eq!(console.get("/messages", &earlier).await.status(), StatusCode::SEE_OTHER, "it has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_navigation_leads_only_to_pages_that_the_role_may_see() {
    let console = Console::new().await;
    for role in ["admin", "operator", "sender", "editor", "viewer"] {
        let session = console.sign_in(role).await;
        let html = console.get("/messages", &session).await.text().await.expect("text");
        let (_, rail) = html.split_once(r#"<div class="nav">"#).expect("the navigation");
        let (rail, _) = rail.split_once("</nav>").expect("its end");
        let links: Vec<&str> = rail.split(r#"href=""#).skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(links.contains(&"/settings/providers"), role == "admin", "{role}: {links:?}");
        assert!(links.contains(&"/queue"), "{role}: {links:?}");
        for link in links {
            assert_eq!(console.get(link, &session).await.status(), StatusCode::OK, "{role}: {link}");
        }
    }
    let session = console.sign_in("sender").await;
    let first = console.get("/", &session).await;
    assert_eq!(header_of(&first, "location"), ["/messages"], "a sender may not see statistics");
    let queue = console.get("/queue", &session).await.text().await.expect("text");
    assert!(!queue.contains("Pause sending"), "a sender may not pause a channel");
}
