//! Reading a request's body.

use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{DefaultBodyLimit, FromRequest, Request};

use crate::{Problem, ProblemKind};

/// Reads the whole body.
///
/// # Errors
///
/// It is larger than `max_bytes`, for which `too_large` is the detail, or it did not arrive as announced.
pub async fn read_body(body: Body, max_bytes: usize, too_large: &str) -> Result<Bytes, Problem> {
    let mut request = Request::new(body);
    DefaultBodyLimit::max(max_bytes).apply(&mut request);
    Bytes::from_request(request, &()).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            Problem::new(ProblemKind::TooLarge, too_large)
        }
        _ => Problem::new(ProblemKind::Malformed, "The body could not be read: it was cut off or sent incorrectly."),
    })
}
