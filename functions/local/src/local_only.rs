//! Refuses requests that pages of other sites send through a browser on this machine.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use problem::{Problem, ProblemKind};

/// Passes on requests that name this process as their host and do not come from a page of another origin.
pub async fn local_only(State(port): State<u16>, request: Request, next: Next) -> Response {
    let target = request.uri().authority().map(|authority| authority.as_str());
    if !names_this_process(request.headers(), target, port) {
        let detail = "This process answers only requests to its own loopback address and port.";
        return Problem::new(ProblemKind::NotFound, detail).into_response();
    }
    if !is_from_here(request.method(), request.headers(), port) {
        let detail = "This process answers no requests from pages of other origins.";
        return Problem::new(ProblemKind::Forbidden, detail).into_response();
    }
    next.run(request).await
}

/// A page of another site can reach loopback, but by a name that is not loopback's.
fn names_this_process(headers: &HeaderMap, target: Option<&str>, port: u16) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, second) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next());
    let is_ours = |authority: &str| is_loopback(authority, port);
    host.is_some_and(is_ours) && second.is_none() && target.is_none_or(is_ours)
}

fn is_loopback(authority: &str, port: u16) -> bool {
    let (name, given) = match authority.rsplit_once(':') {
        Some((name, given)) if !given.ends_with(']') => (name, given.parse().ok()),
        _ => (authority, Some(80)),
    };
    let is_name = ["127.0.0.1", "localhost", "[::1]"].iter().any(|loopback| name.eq_ignore_ascii_case(loopback));
    is_name && given == Some(port)
}

/// Whether the request comes from a page of this process, from a program, or from someone who follows a link.
fn is_from_here(method: &Method, headers: &HeaderMap, port: u16) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text("sec-fetch-site");
    let is_our_origin = match text("origin") {
        None => true,
        // Our pages send no referrer, so their forms have no origin either. The browser then says which site it is.
        Some("null") => site == Some("same-origin"),
        Some(origin) => origin.strip_prefix("http://").is_some_and(|authority| is_loopback(authority, port)),
    };
    let is_link = matches!(*method, Method::GET | Method::HEAD)
        && text("sec-fetch-mode") == Some("navigate")
        && text("sec-fetch-dest") == Some("document");
    is_our_origin && (matches!(site, None | Some("same-origin" | "none")) || is_link)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn only_loopback_names_with_the_port_are_this_process() {
        let names = |host: &'static str| names_this_process(&headers(&[("host", host)]), None, 7070);
        for host in ["127.0.0.1:7070", "localhost:7070", "LOCALHOST:7070", "[::1]:7070"] {
            assert!(names(host), "{host}");
        }
        let others = ["evil.com", "evil.com:7070", "localhost", "localhost:7071", "127.0.0.1.evil.com:7070", "[::1]"];
        for host in
            others.into_iter().chain(["", ":7070", "localhost:7070@evil.com", "a@localhost:7070", "localhost.:7070"])
        {
            assert!(!names(host), "{host}");
        }
        assert!(!names_this_process(&headers(&[]), None, 7070));
        let ours = headers(&[("host", "localhost:7070")]);
        assert!(!names_this_process(&ours, Some("evil.com:7070"), 7070));
        let mut two = ours;
        two.append(header::HOST, HeaderValue::from_static("evil.com"));
        assert!(!names_this_process(&two, None, 7070));
    }

    #[test]
    fn pages_of_other_origins_are_refused_but_links_are_followed() {
        let from =
            |method: Method, fields: &[(&'static str, &'static str)]| is_from_here(&method, &headers(fields), 7070);
        assert!(from(Method::POST, &[]), "a program");
        assert!(from(Method::POST, &[("origin", "http://localhost:7070")]));
        assert!(from(Method::POST, &[("origin", "null"), ("sec-fetch-site", "same-origin")]), "a form of our page");
        for origin in ["http://evil.com", "null", "http://localhost:3000", "https://localhost:7070", "file://", ""] {
            assert!(!from(Method::POST, &[("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", "new"] {
            assert!(!from(Method::POST, &[("sec-fetch-site", site)]), "{site}");
            assert!(!from(Method::GET, &[("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")]), "an image");
        }
        let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        assert!(from(Method::GET, &link));
        assert!(!from(Method::POST, &link), "a form of another site");
    }
}
