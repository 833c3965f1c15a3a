//! The faults that the use cases find, each at its field of the body.

use application::api_keys::KeyFault;
use application::provider_configs::OrderFault;
use application::provider_settings::{SettingFault, SmsProviderFault};
use application::templates::{ContentFault, TemplateFault};
use domain::render::TemplatePart;

use crate::FieldError;

impl From<KeyFault> for FieldError {
    fn from(fault: KeyFault) -> Self {
        let (pointer, code) = match fault {
            KeyFault::TeamRole => ("/role", "not_a_sender"),
            KeyFault::LiveKeyByTestKey => ("/mode", "not_allowed"),
            KeyFault::Expired => ("/expiresAt", "in_the_past"),
            KeyFault::RoleBeyondCaller => ("/role", "not_allowed"),
            KeyFault::ChannelsBeyondCaller => ("/channels", "not_allowed"),
            KeyFault::OutlivesCaller => ("/expiresAt", "too_late"),
            KeyFault::TooLongForUser => ("/expiresAt", "too_late"),
        };
        FieldError { pointer: pointer.to_owned(), code, detail: fault.to_string() }
    }
}

impl From<TemplateFault> for FieldError {
    fn from(fault: TemplateFault) -> Self {
        let (field, code, detail) = match fault {
            TemplateFault::Code => (
                "code",
                "not_a_code",
                "code may contain a-z, 0-9, _ and -, such as invoice or renewal_offer.".to_owned(),
            ),
            TemplateFault::Locale => {
                ("locale", "not_a_locale", "locale must be a language tag such as es or es-MX, or default.".to_owned())
            }
            TemplateFault::Content(ContentFault::SubjectMissing) => {
                ("subjectTemplate", "required", "An email template needs a subjectTemplate.".to_owned())
            }
            TemplateFault::Content(ContentFault::SubjectNotAllowed) => {
                ("subjectTemplate", "no_subject", "Only an email template can have a subject.".to_owned())
            }
            TemplateFault::Content(ContentFault::Part(part, error)) => {
                let field = match part {
                    TemplatePart::Subject => "subjectTemplate",
                    TemplatePart::Body => "bodyTemplate",
                };
                (field, error.kind(), format!("{field}: {error}."))
            }
            TemplateFault::Content(ContentFault::Undeclared(names)) => {
                let names = names.join(", ");
                let detail = format!("The template uses variables that availableVariables does not name: {names}.");
                ("availableVariables", "unknown_variable", detail)
            }
        };
        FieldError { pointer: format!("/{field}"), code, detail }
    }
}

impl From<SettingFault> for FieldError {
    fn from(fault: SettingFault) -> Self {
        let (name, code, detail) = match fault {
            SettingFault::Unknown { kind, name } => {
                let names: Vec<&str> = kind.settings.iter().map(|setting| setting.name).collect();
                let names = names.join(", ");
                let detail = format!("{} has no setting {name}. Its settings are: {names}.", kind.title);
                (name, "unknown_setting", detail)
            }
            SettingFault::NotText { name } => {
                let detail = format!("{name} must be a string.");
                (name, "not_text", detail)
            }
            SettingFault::NotRegion => {
                let detail = "defaultRegion must be an ISO 3166 country code such as KE.";
                ("defaultRegion".to_owned(), "not_a_region", detail.to_owned())
            }
            SettingFault::NotCountries => {
                let detail = "allowedCountries must be country codes such as KE,TZ, or *.";
                ("allowedCountries".to_owned(), "not_countries", detail.to_owned())
            }
            SettingFault::NotPrices(error) => {
                let detail = format!(
                    "prices must be a currency and prices by country, such as KES KE=0.80, UG=1.10, *=2: {error}."
                );
                ("prices".to_owned(), "not_prices", detail)
            }
        };
        FieldError { pointer: format!("/settings/{name}"), code, detail }
    }
}

impl From<SmsProviderFault> for FieldError {
    fn from(fault: SmsProviderFault) -> Self {
        let (field, code, detail) = match fault {
            SmsProviderFault::Unknown(field) => {
                let field = field.as_str();
                (field, "unknown_setting", format!("This provider has no setting {field}."))
            }
            SmsProviderFault::Required(field) => {
                let field = field.as_str();
                (field, "required", format!("{field} is required."))
            }
        };
        FieldError { pointer: format!("/{field}"), code, detail }
    }
}

impl From<OrderFault> for FieldError {
    fn from(OrderFault(place): OrderFault) -> Self {
        let detail = "No configuration of that channel has this id.".to_owned();
        FieldError { pointer: format!("/order/{place}"), code: "not_a_channel", detail }
    }
}
