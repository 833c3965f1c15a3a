//! An HTTP/1.1 server whose clients cannot hold its connections for as long as they like.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::{Stream, StreamExt, stream};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tower::ServiceExt;

/// What one client may take.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// How long a request's headers may take. A connection without a request is closed after the same time.
    pub headers: Duration,
    /// How long a request's body may take.
    pub body: Duration,
    /// Maximum number of connections. Further ones wait until one is closed.
    pub connections: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        ServerLimits { headers: Duration::from_secs(10), body: Duration::from_secs(30), connections: 1_024 }
    }
}

/// Serves until the returned future is dropped, which also ends all connections.
pub async fn serve(listener: TcpListener, router: Router, limits: ServerLimits) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!(%error, "a connection was not accepted");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let router = router.clone();
        connections.spawn(async move {
            serve_connection(stream, router, limits).await;
            drop(slot);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve_connection(stream: TcpStream, router: Router, limits: ServerLimits) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let deadline = Instant::now() + limits.body;
        let request = request.map(|body| match body.is_end_stream() {
            true => Body::empty(),
            false => Body::from_stream(until(deadline, Body::new(body))),
        });
        router.clone().oneshot(request)
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.headers);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// The body, or an error at the deadline.
fn until(deadline: Instant, body: Body) -> impl Stream<Item = Result<axum::body::Bytes, io::Error>> {
    stream::unfold(Some(body.into_data_stream()), move |body| async move {
        let mut body = body?;
        match timeout_at(deadline, body.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(body))),
            Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
            Err(_) => Some((Err(io::Error::new(io::ErrorKind::TimedOut, "the body took too long")), None)),
        }
    })
}
