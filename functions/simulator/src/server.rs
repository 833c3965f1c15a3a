use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::responses::Reset;

/// Serves until the process ends. Unlike `axum::serve`, it can close a connection without a response.
pub async fn serve(listener: TcpListener, router: Router) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let router = router.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: hyper::Request<Incoming>| {
                let router = router.clone();
                async move {
                    let response = router.oneshot(request.map(Body::new)).await.into_response();
                    match response.extensions().get::<Reset>() {
                        Some(Reset) => Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
                        None => Ok(response),
                    }
                }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            // Errors are expected, because broken connections are simulated too.
            let _ = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
