//! Builds the message that the provider receives: rendered, with its files.

use application::attachments::{self, UploadState};
use application::directory::last_inbound_key;
use application::templates::RenderingError;
use domain::communication::Communication;
use domain::message::{AttachmentLink, MessageContent};
use domain::ports::{FetchError, ObjectKey, OutboundMessage, StoreError};
use domain::provider::EmailAttachment;
use domain::text;
use events::{AttemptId, Channel, CommunicationRequest, Priority};
use futures_util::future::join_all;

use crate::delivery::DeliveryRun;
use crate::not_built::{FileFault, NotBuilt};
use crate::{DeliverError, DeliverHandler};

/// Maximum size of all files of an email together, in bytes. A worker holds several emails in memory at once.
const MAX_FILES: usize = 4 * 1024 * 1024;
/// Maximum length of a media type, in bytes.
const MAX_MEDIA_TYPE: usize = 256;
/// Maximum length of the name of a sender, in characters.
const MAX_SENDER_NAME: usize = 100;
const OCTET_STREAM: &str = "application/octet-stream";
/// How long the address of a file that a provider fetches is valid, in milliseconds.
const FILE_LINK_TTL_MS: i64 = 3_600_000;

/// The name of the business that an email is from: the variable `businessName`, if it is short text on one line.
fn business_name(request: &CommunicationRequest, content: &MessageContent) -> Option<String> {
    let name = content.variables.as_ref()?.get("businessName")?.as_str()?.trim();
    let is_usable = !name.is_empty() && name.chars().count() <= MAX_SENDER_NAME && text::check_line(name).is_none();
    (request.channel == Channel::Email && is_usable).then(|| name.to_owned())
}

impl DeliveryRun<'_> {
    /// Renders the message of an attempt. If rendering fails, returns only the kind of the error, because the error
    /// itself can quote variables.
    pub async fn build_outbound(
        &self,
        communication: &Communication,
        attempt: u16,
        mut content: MessageContent,
    ) -> Result<Result<OutboundMessage, NotBuilt>, DeliverError> {
        let request = &communication.request;
        let files = match self.files(communication, &mut content).await? {
            Ok(files) => files,
            Err(fault) => return Ok(Err(NotBuilt::File(fault))),
        };
        let DeliverHandler { cache, tenant_ports, .. } = self.deliver;
        let mut message = match cache.library.render(tenant_ports, &self.key.tenant, request, &content).await {
            Ok(message) => message,
            Err(RenderingError::Render(error)) => return Ok(Err(NotBuilt::Unrenderable(error.kind()))),
            Err(RenderingError::Busy(busy)) => return Err(busy.into()),
            Err(RenderingError::Store(error)) => return Err(error.into()),
        };
        // The provider's template is only needed when free-form content is not accepted.
        if message.template.is_some() && !message.text.is_empty() && self.is_within_service_window(request).await? {
            message.template = None;
        }
        Ok(Ok(OutboundMessage {
            tenant: self.key.tenant.clone(),
            attempt: AttemptId { communication: self.key.id, number: attempt },
            from_name: business_name(request, &content),
            to: content.recipient_contact,
            to_name: content.recipient_name,
            message,
            files,
            unsubscribe_url: self.unsubscribe_url(request),
        }))
    }

    /// Reads an email's files. Files that are too large stay links in `content`. Providers of other channels fetch files
    /// themselves, from addresses that are set here.
    async fn files(
        &self,
        communication: &Communication,
        content: &mut MessageContent,
    ) -> Result<Result<Vec<EmailAttachment>, FileFault>, StoreError> {
        let request = &communication.request;
        if content.attachments.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let now = self.deliver.host.now();
        for id in content.attachments.iter().filter_map(|link| link.attachment.as_deref()) {
            let found = attachments::find(&*self.deliver.documents, &self.key.tenant, id, now).await?;
            if !found.is_some_and(|file| file.state == UploadState::Ready) {
                return Ok(Err(FileFault::Missing));
            }
        }
        match request.channel {
            Channel::Email => self.email_files(communication, content).await,
            // The recipient may open the link at any time, so it is not replaced by one that expires within an hour.
            Channel::Sms => Ok(Ok(Vec::new())),
            Channel::Whatsapp | Channel::Messenger | Channel::Telegram => {
                self.set_download_urls(request, content).await?;
                Ok(Ok(Vec::new()))
            }
        }
    }

    async fn set_download_urls(
        &self,
        request: &CommunicationRequest,
        content: &mut MessageContent,
    ) -> Result<(), StoreError> {
        for (index, link) in content.attachments.iter_mut().enumerate() {
            let Some(id) = &link.attachment else { continue };
            let mime = request.attachments.get(index).and_then(|file| file.mime.as_deref()).unwrap_or(OCTET_STREAM);
            let object = ObjectKey::upload(&self.key.tenant, id);
            let until = self.deliver.host.now() + FILE_LINK_TTL_MS;
            link.file_url = self.deliver.objects.download_from(&object, &link.filename, mime, until).await?;
        }
        Ok(())
    }

    async fn email_files(
        &self,
        communication: &Communication,
        content: &mut MessageContent,
    ) -> Result<Result<Vec<EmailAttachment>, FileFault>, StoreError> {
        let limit = MAX_FILES / content.attachments.len();
        let read = async |(index, link): (usize, &AttachmentLink)| -> Result<Option<EmailAttachment>, FileFault> {
            let found = match &link.attachment {
                Some(id) => {
                    let object = ObjectKey::upload(&self.key.tenant, id);
                    let mime = communication.request.attachments.get(index).and_then(|file| file.mime.clone());
                    match self.deliver.objects.read(&object, limit).await {
                        Ok(None) => return Err(FileFault::Missing),
                        Ok(Some(bytes)) => Some((bytes, mime.unwrap_or_else(|| OCTET_STREAM.to_owned()))),
                        // The file exists, so the link leads to it.
                        Err(_) => None,
                    }
                }
                None => self.fetch_and_cache(communication.attempts > 0, index, link, limit).await?,
            };
            Ok(found.map(|(bytes, mime)| EmailAttachment { name: link.filename.clone(), mime, bytes }))
        };
        let read = join_all(content.attachments.iter().enumerate().map(read)).await;
        let files: Vec<Option<EmailAttachment>> = match read.into_iter().collect() {
            Ok(files) => files,
            Err(fault) => return Ok(Err(fault)),
        };
        let mut stays_link = files.iter().map(Option::is_none).collect::<Vec<_>>().into_iter();
        content.attachments.retain(|_| stays_link.next().unwrap_or(true));
        Ok(Ok(files.into_iter().flatten().collect()))
    }

    /// Fetches a file that the caller links to, and stores a copy for later attempts. The first line of the copy is the
    /// media type. Returns `None` for a file that is too large to be sent.
    async fn fetch_and_cache(
        &self,
        is_retry: bool,
        index: usize,
        link: &AttachmentLink,
        limit: usize,
    ) -> Result<Option<(Vec<u8>, String)>, FileFault> {
        let object = ObjectKey::fetched(self.key, index);
        if is_retry && let Ok(Some(copy)) = self.deliver.objects.read(&object, limit + MAX_MEDIA_TYPE).await {
            let Some(end) = copy.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
            return Ok(Some((copy[end + 1..].to_vec(), String::from_utf8_lossy(&copy[..end]).into_owned())));
        }
        let fetched = self.deliver.files.fetch(&link.file_url, limit).await;
        let (bytes, mime) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                tracing::warn!(id = %self.key.id, %error, "a file was not fetched");
                return match error {
                    FetchError::TooLarge(_) => Ok(None),
                    FetchError::Refused(_) => Err(FileFault::Missing),
                    FetchError::NoResponse => Err(FileFault::NoResponse),
                };
            }
        };
        let copy = [mime.as_bytes(), b"\n", &bytes].concat();
        if let Err(error) = self.deliver.objects.write(&object, copy, OCTET_STREAM).await {
            tracing::warn!(id = %self.key.id, %error, "a fetched file was not stored for later attempts");
        }
        Ok(Some((bytes, mime)))
    }

    /// Whether the recipient wrote to us in the last 24 hours, so that WhatsApp accepts free-form content.
    async fn is_within_service_window(&self, request: &CommunicationRequest) -> Result<bool, StoreError> {
        if request.channel != Channel::Whatsapp {
            return Ok(false);
        }
        let key = last_inbound_key(&self.contact_key(request));
        Ok(self.deliver.documents.get_document(&key, self.deliver.host.now()).await?.is_some())
    }

    /// Returns the link to unsubscribe, which only emails have. Urgent emails have none, because the recipient is
    /// waiting for them.
    fn unsubscribe_url(&self, request: &CommunicationRequest) -> Option<String> {
        let DeliverHandler { link_keys, tenant_ports, .. } = self.deliver;
        let keys = link_keys.as_ref().filter(|_| !tenant_ports.public_url.is_empty())?;
        let has_link = request.channel == Channel::Email && request.priority != Priority::Urgent;
        has_link.then(|| {
            let token = application::links::unsubscribe_token(keys, self.key);
            format!("{}/unsubscribe/{token}", tenant_ports.public_url)
        })
    }
}
