//! Chooses a message's template from the tenant's own and the system templates.

use std::collections::BTreeMap;

use events::{Channel, TemplateRef as Pinned};

use super::{DEFAULT_LOCALE, Template, builtin, find, template_id};

/// All of a tenant's own templates, by id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TemplateCatalogue {
    pub templates: BTreeMap<String, Template>,
}

impl FromIterator<Template> for TemplateCatalogue {
    fn from_iter<I: IntoIterator<Item = Template>>(templates: I) -> Self {
        let templates = templates.into_iter().map(|template| (template.id.clone(), template));
        TemplateCatalogue { templates: templates.collect() }
    }
}

/// The locales to try, such as `es-MX`, then `es`, then `last`.
fn locales<'a>(locale: Option<&'a str>, last: &'static str) -> impl Iterator<Item = &'a str> {
    let language = locale.and_then(|locale| locale.split_once('-')).map(|(language, _)| language);
    [locale, language, Some(last)].into_iter().flatten()
}

impl TemplateCatalogue {
    /// Resolves a reference to a template, which is an id, or a code for which the best available locale is chosen. The
    /// tenant's own templates come before the system templates.
    pub fn resolve(&self, reference: &str, channel: Channel, locale: Option<&str>) -> Option<Pinned> {
        if let Some(own) = self.templates.get(reference).filter(|own| own.is_active && own.channel == channel) {
            return Some(pinned(own));
        }
        let named = find(reference);
        // A template of another channel is returned too, so that rendering fails with a clear error.
        if let Some(other) = named.filter(|named| named.channel.is_some_and(|of| of != channel)) {
            return Some(Pinned { id: other.id.to_owned(), version: other.version, text: None });
        }
        let code = named.map_or(reference, |builtin| builtin.code);
        let chain = locales(locale, DEFAULT_LOCALE).chain(["en"]);
        let own = chain.filter_map(|locale| self.templates.get(&template_id(code, channel, locale)));
        let own = own.filter(|own| own.is_active).map(pinned).next();
        let builtin = || {
            // An id with a locale means exactly that template.
            let exact = named.filter(|builtin| builtin.id == reference && builtin.locale != "en");
            let best = locales(locale, "en").find_map(|locale| builtin::find_for(code, channel, locale));
            let found = exact.or(best).or(named)?;
            Some(Pinned { id: found.id.to_owned(), version: found.version, text: None })
        };
        own.or_else(builtin)
    }

    /// The code of a template. Returns `None` if the template no longer exists.
    pub fn code_of(&self, id: &str) -> Option<&str> {
        let own = self.templates.get(id).map(|own| own.code.as_str());
        own.or_else(|| find(id).map(|builtin| builtin.code))
    }

    /// The template of a channel with the same code as this one.
    pub fn for_channel(&self, id: &str, channel: Channel, locale: Option<&str>) -> Option<Pinned> {
        let found = self.resolve(self.code_of(id)?, channel, locale)?;
        let of = match self.templates.get(&found.id) {
            Some(own) => Some(own.channel),
            None => find(&found.id)?.channel,
        };
        of.is_none_or(|of| of == channel).then_some(found)
    }
}

fn pinned(own: &Template) -> Pinned {
    Pinned { id: own.id.clone(), version: own.latest.version, text: Some(own.latest.text.clone()) }
}
