//! Styles, icons and scripts. Their addresses have a hash of their content, so browsers keep them.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

/// A file, with its address.
pub struct Asset {
    address: String,
    media_type: &'static str,
    content: &'static [u8],
}

macro_rules! assets {
    ($($name:ident: $file:literal, $ending:literal, $media_type:literal;)*) => {
        $(pub static $name: LazyLock<Asset> = LazyLock::new(|| {
            Asset::new($file, $ending, $media_type, include_bytes!(concat!("../assets/", $file, ".", $ending)))
        });)*

        fn find(address: &str) -> Option<&'static Asset> {
            [$(&*$name),*].into_iter().find(|asset| asset.address == address)
        }
    };
}

assets! {
    TOKENS: "tokens", "css", "text/css; charset=utf-8";
    STYLES: "console", "css", "text/css; charset=utf-8";
    SPRITE: "sprite", "svg", "image/svg+xml";
    ICON: "icon", "svg", "image/svg+xml";
    HTMX: "htmx.min", "js", "text/javascript; charset=utf-8";
    SCRIPT: "console", "js", "text/javascript; charset=utf-8";
}

impl Asset {
    fn new(file: &str, ending: &str, media_type: &'static str, content: &'static [u8]) -> Asset {
        let hash: String = Sha256::digest(content).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Asset { address: format!("/static/{file}-{hash}.{ending}"), media_type, content }
    }

    pub fn address(&self) -> &str {
        &self.address
    }
}

pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/static/{file}", get(serve))
}

async fn serve(Path(file): Path<String>) -> Response {
    let Some(asset) = find(&format!("/static/{file}")) else { return StatusCode::NOT_FOUND.into_response() };
    let headers =
        [(header::CONTENT_TYPE, asset.media_type), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, asset.content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_keep_to_their_budgets() {
        assert!(TOKENS.content.len() + STYLES.content.len() <= 25_000, "styles");
        assert!(SPRITE.content.len() <= 12 * 1024, "icons");
        assert!(SCRIPT.content.len() <= 8 * 1024, "script");
    }

    #[test]
    fn htmx_is_the_released_file() {
        // Version 4.0.1 of htmx.org on npm, dist/htmx.min.js.
        let hash: String = Sha256::digest(HTMX.content).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130");
    }
}
