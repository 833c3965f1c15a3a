//! Secrets in Parameter Store, read over HTTP from a small server in its place.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use infra::aws::{Aws, ParameterError, ParameterStore};
use infra::providers::HttpClients;
use serde_json::{Value, json};

/// What the server was asked, and how many requests it first refuses with 503.
#[derive(Default)]
struct Requests {
    seen: Vec<(HeaderMap, Value)>,
    unavailable: usize,
}

async fn parameter_store(unavailable: usize) -> (ParameterStore, Arc<Mutex<Requests>>) {
    let requests = Arc::new(Mutex::new(Requests { unavailable, ..Default::default() }));
    let router = Router::new().route("/", post(get_parameters)).with_state(requests.clone());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let aws = Aws::from_env(|name| match name {
        "AWS_REGION" => Some("eu-west-1".to_owned()),
        "AWS_ACCESS_KEY_ID" => Some("AKIDEXAMPLE".to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some("secret".to_owned()),
        "AWS_ENDPOINT_URL" => Some(endpoint.clone()),
        _ => None,
    });
    (aws.expect("settings").parameters(HttpClients::new().client), requests)
}

/// Knows every parameter that is in `/tidings/test/`, and no other.
async fn get_parameters(
    State(requests): State<Arc<Mutex<Requests>>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, Json<Value>) {
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let mut requests = requests.lock().expect("no test panics with it");
    requests.seen.push((headers, body.clone()));
    if requests.unavailable > 0 {
        requests.unavailable -= 1;
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({})));
    }
    let names = body["Names"].as_array().expect("names").iter().filter_map(Value::as_str);
    if body["Names"][0] == "/forbidden" {
        return (
            StatusCode::BAD_REQUEST,
            Json(json!({ "__type": "AccessDeniedException", "message": "not permitted" })),
        );
    }
    let (known, unknown): (Vec<&str>, Vec<&str>) = names.partition(|name| name.starts_with("/tidings/test/"));
    let found = |name: &&str| json!({ "Name": name, "Type": "SecureString", "Value": format!("value of {name}") });
    let parameters: Vec<Value> = known.iter().map(found).collect();
    (StatusCode::OK, Json(json!({ "Parameters": parameters, "InvalidParameters": unknown })))
}

#[tokio::test]
async fn secrets_are_read_by_tens_with_a_signed_request() {
    let (store, requests) = parameter_store(0).await;
    let names: Vec<String> = (0..12).map(|number| format!("/tidings/test/key-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let values = store.read(&names).await.expect("secrets");
    assert_eq!(values.len(), 12);
    assert_eq!(values["/tidings/test/key-11"], "value of /tidings/test/key-11");
    let requests = requests.lock().expect("no panic");
    assert_eq!(requests.seen.len(), 2, "ten names are the most that one request may have");
    for (headers, body) in &requests.seen {
        assert_eq!(headers["x-amz-target"], "AmazonSSM.GetParameters");
        assert_eq!(body["WithDecryption"], true);
        let authorization = headers["authorization"].to_str().expect("text");
        assert!(authorization.contains("AKIDEXAMPLE/") && authorization.contains("/eu-west-1/ssm/aws4_request"));
        for signed in ["content-type", "host", "x-amz-date", "x-amz-target"] {
            assert!(authorization.contains(signed), "{authorization}");
        }
    }
}

#[tokio::test]
async fn without_names_nobody_is_asked() {
    let (store, requests) = parameter_store(0).await;
    assert!(store.read(&[]).await.expect("nothing").is_empty());
    assert!(requests.lock().expect("no panic").seen.is_empty());
}

#[tokio::test]
async fn a_missing_secret_is_named_and_a_refusal_is_told() {
    let (store, requests) = parameter_store(0).await;
    let error = store.read(&["/tidings/test/there", "/elsewhere/not-there"]).await.expect_err("one is missing");
    assert!(matches!(&error, ParameterError::Missing(name) if name == "/elsewhere/not-there"), "{error}");
    assert!(error.to_string().contains("aws ssm put-parameter"));
    let error = store.read(&["/forbidden"]).await.expect_err("not permitted");
    assert!(error.to_string().contains("AccessDeniedException"), "{error}");
    assert_eq!(requests.lock().expect("no panic").seen.len(), 2, "neither is asked again");
}

#[tokio::test]
async fn an_unavailable_store_is_asked_three_times() {
    let (store, _) = parameter_store(2).await;
    assert_eq!(store.read(&["/tidings/test/key"]).await.expect("the third attempt").len(), 1);
    let (store, requests) = parameter_store(9).await;
    let error = store.read(&["/tidings/test/key"]).await.expect_err("unavailable");
    assert!(matches!(error, ParameterError::Unavailable(_)), "{error}");
    assert_eq!(requests.lock().expect("no panic").seen.len(), 3);
}
