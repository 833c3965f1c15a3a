//! An HTTP/1.1 server whose clients cannot hold its connections for as long as they like.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Extensions;
use futures_util::{Stream, StreamExt, stream};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, timeout_at};
use tower::ServiceExt;

/// What one client may take.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// How long a request's headers may take. A connection without a request is closed after the same time.
    pub headers: Duration,
    /// How long a request's body may take.
    pub body: Duration,
    /// How long a client may take to read an answer that does not fit into the socket's buffers.
    pub answer: Duration,
    /// Maximum number of connections. Further ones wait until one is closed.
    pub connections: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        ServerLimits {
            headers: Duration::from_secs(10),
            body: Duration::from_secs(30),
            answer: Duration::from_secs(60),
            connections: 1_024,
        }
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

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
struct Client(IpAddr);

fn of_client(client: Client) -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(client);
    extensions
}

/// Where a request of this server comes from.
pub fn client_address(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Client>().map(|client| client.0)
}

async fn serve_connection(stream: TcpStream, router: Router, limits: ServerLimits) {
    let _ = stream.set_nodelay(true);
    let client = stream.peer_addr().ok().map(|address| Client(address.ip()));
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let deadline = Instant::now() + limits.body;
        request.extensions_mut().extend(client.map(of_client).unwrap_or_default());
        let request = request.map(|body| match body.is_end_stream() {
            true => Body::empty(),
            false => Body::from_stream(until(deadline, Body::new(body))),
        });
        router.clone().oneshot(request)
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.headers);
    if let Err(error) =
        http.serve_connection(TokioIo::new(Answered { stream, limit: limits.answer, deadline: None }), service).await
    {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// A connection that fails if the client does not read what was written in time. The time runs from the first write
/// that has to wait until everything is written, so that a client cannot extend it by reading a little.
struct Answered {
    stream: TcpStream,
    limit: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Answered {
    fn in_time<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_pending() {
            let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(self.limit)));
            ready!(deadline.as_mut().poll(context));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client read the answer too slowly")));
        }
        written
    }
}

impl AsyncRead for Answered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Answered {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.in_time(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when everything is written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.deadline = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
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
