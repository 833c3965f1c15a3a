//! Renders every part of a new message once as it will be sent, so that one that cannot be rendered is refused at once.

use domain::message::MessageContent;
use events::{CommunicationRequest, TenantId};

use super::MessageError;
use super::compose::Composed;
use super::content::render_fault;
use super::new_message::Faults;
use crate::app::App;
use crate::templates::RenderingError;

/// Renders the message and its fallback steps, and sets their rendered subjects and the segments of an SMS.
///
/// # Errors
///
/// [`MessageError::Invalid`] with the faults of all parts, [`MessageError::Busy`]
pub(super) async fn render_parts(app: &App, tenant: &TenantId, composed: &mut Composed) -> Result<(), MessageError> {
    let Composed { request, content, segments, fallback_contents } = composed;
    let mut faults = Faults::default();
    *segments = render_part(app, tenant, request, content, &mut faults).await?;
    let steps = request.fallback.iter().flat_map(|fallback| &fallback.steps);
    for (index, (step, content)) in steps.zip(fallback_contents).enumerate() {
        faults.in_step(Some(index));
        let step_request = CommunicationRequest {
            channel: step.channel,
            contact_hash: step.contact_hash.clone(),
            template: step.template.clone(),
            ..request.clone()
        };
        render_part(app, tenant, &step_request, content, &mut faults).await?;
    }
    faults.finish().map_err(MessageError::Invalid)
}

async fn render_part(
    app: &App,
    tenant: &TenantId,
    request: &CommunicationRequest,
    content: &mut MessageContent,
    faults: &mut Faults,
) -> Result<Option<u16>, MessageError> {
    match app.library.render(&app.tenant_ports, tenant, request, content).await {
        Ok(rendered) => {
            content.rendered_subject = rendered.subject.clone();
            let segments = rendered.segments.as_ref().map(|segments| segments.count);
            app.library.keep(request, content, rendered);
            Ok(segments)
        }
        Err(RenderingError::Render(error)) => {
            render_fault(&error, request.template.is_some(), faults);
            Ok(None)
        }
        Err(RenderingError::Busy(busy)) => Err(busy.into()),
        Err(RenderingError::Store(error)) => Err(error.into()),
    }
}

/// Renders a message as it will be sent, and sets its rendered subject. Returns the segments of an SMS.
///
/// # Errors
///
/// As [`render_parts`].
pub(super) async fn render_whole(
    app: &App,
    tenant: &TenantId,
    request: &CommunicationRequest,
    content: &mut MessageContent,
) -> Result<Option<u16>, MessageError> {
    let mut faults = Faults::default();
    let segments = render_part(app, tenant, request, content, &mut faults).await?;
    faults.finish().map_err(MessageError::Invalid)?;
    Ok(segments)
}
