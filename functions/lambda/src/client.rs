//! Where a request comes from.

use std::net::IpAddr;

use lambda_http::http::Extensions;
use lambda_http::request::RequestContext;

/// The address of the client, as API Gateway saw it. A header could be forged.
pub fn client_address(extensions: &Extensions) -> Option<IpAddr> {
    match extensions.get::<RequestContext>()? {
        RequestContext::ApiGatewayV2(context) => context.http.source_ip.as_ref()?.parse().ok(),
        _ => None,
    }
}
