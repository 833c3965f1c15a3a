//! The files of invoices: those that events name, and those that are printed.

use domain::business_event::{DocumentAct, InvoiceFile};
use domain::invoice::printed_upload;
use domain::ports::StoreError;
use domain::printable_invoice::PrintableInvoice;
use domain::{file_name, public_url};
use events::{FactSource, InvoiceDocument, InvoiceEvent, InvoiceRef, InvoiceTerms, TenantId};

use crate::app::App;
use crate::attachments::{self, UploadState};
use crate::caller::Caller;
use crate::execute::{CommandContext, ExecuteError};
use crate::hash::sha256;
use crate::invoices;
use crate::messages::AttachmentRef;
use crate::process::ProcessError;

const PDF: &str = "application/pdf";
/// The note of a message whose invoice would have to be printed by a function that cannot.
const NO_PRINTER: &str = "no_printer";

/// The file of a message, or why it has none.
#[derive(Debug, Default)]
pub(super) struct FoundDocument {
    pub file: Option<AttachmentRef>,
    pub note: Option<String>,
    /// The file, if it is an upload, for the facts of its invoice.
    pub upload: Option<InvoiceDocument>,
}

impl FoundDocument {
    fn without(note: &str) -> FoundDocument {
        FoundDocument { note: Some(note.to_owned()), ..FoundDocument::default() }
    }
}

/// Whether an upload can be sent.
///
/// # Errors
///
/// [`StoreError`]
pub(super) async fn is_ready(app: &App, caller: &Caller, upload: &str) -> Result<bool, StoreError> {
    let file = attachments::find_checked(app, caller, upload).await?;
    Ok(file.is_some_and(|file| file.state == UploadState::Ready))
}

/// Finds the file that a message has, and prints it if that is wanted. What is printed is stored under an id that comes
/// from the event, so that a repetition finds it.
///
/// # Errors
///
/// [`StoreError`]
pub(super) async fn find(
    app: &App,
    caller: &Caller,
    event: &str,
    act: &DocumentAct,
) -> Result<FoundDocument, StoreError> {
    Ok(match &act.file {
        InvoiceFile::None(note) => FoundDocument::without(note),
        InvoiceFile::Upload(id) => upload(app, caller, id, &act.name).await?,
        InvoiceFile::Address(url) => address(url, &act.name),
        InvoiceFile::Printed(invoice) => printed(app, caller, event, invoice, &act.name).await?,
    })
}

/// A file that the event names by its id. If it is no PDF it keeps its own name.
async fn upload(app: &App, caller: &Caller, id: &str, name: &str) -> Result<FoundDocument, StoreError> {
    let Some(file) = attachments::find_checked(app, caller, id).await? else {
        return Ok(FoundDocument::without("unknown_attachment"));
    };
    Ok(match file.state {
        UploadState::AwaitingUpload => FoundDocument::without("not_uploaded"),
        UploadState::Refused => FoundDocument::without("refused"),
        UploadState::Ready => {
            let filename = file_name::fits(name, &file.mime).then(|| name.to_owned());
            let upload = file.sha256.map(|sha256| InvoiceDocument { attachment: id.to_owned(), sha256 });
            let file = AttachmentRef { attachment_id: Some(id.to_owned()), filename, ..AttachmentRef::default() };
            FoundDocument { file: Some(file), upload, ..FoundDocument::default() }
        }
    })
}

/// A file at an address. If it is no PDF it has the name that it has there.
fn address(url: &str, name: &str) -> FoundDocument {
    let Ok(address) = public_url::check(url) else { return FoundDocument::without("not_public") };
    let named = file_name::last_segment(address.path()).unwrap_or(name);
    let name = if file_name::fits_path(name, address.path()) { name } else { named };
    let (filename, file_url) = (Some(name.to_owned()), Some(url.to_owned()));
    FoundDocument {
        file: Some(AttachmentRef { filename, file_url, ..AttachmentRef::default() }),
        ..FoundDocument::default()
    }
}

async fn printed(
    app: &App,
    caller: &Caller,
    event: &str,
    invoice: &PrintableInvoice,
    name: &str,
) -> Result<FoundDocument, StoreError> {
    let id = printed_upload(&caller.principal.tenant, event);
    let mut found = FoundDocument {
        file: Some(AttachmentRef { attachment_id: Some(id.clone()), ..AttachmentRef::default() }),
        ..FoundDocument::default()
    };
    let known = attachments::find_checked(app, caller, &id).await?.filter(|file| file.state == UploadState::Ready);
    let named = |sha256: String| InvoiceDocument { attachment: id.clone(), sha256 };
    if let Some(known) = known {
        found.upload = known.sha256.map(named);
    } else {
        let Some(printer) = &app.printer else { return Ok(FoundDocument::without(NO_PRINTER)) };
        match printer.print(invoice.clone()).await {
            Ok(bytes) => {
                found.upload = Some(named(sha256(&bytes)));
                attachments::store(app, caller, &id, (name, PDF), bytes).await?;
            }
            Err(error) => {
                tracing::warn!(event, code = error.code(), "an invoice cannot be printed");
                return Ok(FoundDocument::without(error.code()));
            }
        }
    }
    Ok(found)
}

/// Records the document of an invoice as a fact.
///
/// # Errors
///
/// [`ProcessError`]
pub(super) async fn record(
    app: &App,
    context: &CommandContext,
    tenant: &TenantId,
    invoice: &InvoiceRef,
    source: FactSource,
    document: InvoiceDocument,
) -> Result<(), ProcessError> {
    let terms = InvoiceTerms { document: Some(document), ..InvoiceTerms::default() };
    let fact = InvoiceEvent::InvoiceChanged { terms, source };
    match invoices::record(app, context, tenant, invoice, vec![fact]).await {
        Ok(_) => Ok(()),
        Err(error @ (ExecuteError::Rejected(_) | ExecuteError::StreamFull)) => {
            tracing::warn!(%error, "the document of an invoice was not recorded");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
