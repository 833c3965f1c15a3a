//! Signed tokens in the links that recipients get. Who has the link may do what it is for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ports::CommunicationKey;
use events::{Mode, TenantId, Timestamp};

use crate::hash::{constant_time_eq, hmac, hmac_base64};

/// The keys of links. They differ from the key of address hashes, so that they can be replaced.
#[derive(Clone)]
pub struct LinkKeys {
    /// Signs new links.
    current: Vec<u8>,
    /// Earlier keys, whose links are still valid.
    previous: Vec<Vec<u8>>,
}

impl LinkKeys {
    pub fn new(current: Vec<u8>) -> Self {
        LinkKeys { current, previous: Vec::new() }
    }

    /// Also accepts links that were signed with an earlier key.
    pub fn accept(mut self, previous: Vec<u8>) -> Self {
        self.previous.push(previous);
        self
    }

    fn sign(&self, text: &str) -> String {
        hmac_base64(&self.current, text)
    }

    fn verifies(&self, text: &str, signature: &str) -> bool {
        let mut keys = self.previous.iter().chain([&self.current]);
        keys.any(|key| constant_time_eq(&hmac_base64(key, text), signature))
    }
}

fn unsubscribe_text(stream: &CommunicationKey) -> String {
    format!("unsubscribe#{}", stream.stream_id().storage_key())
}

/// A token that unsubscribes the recipient of one message: `acme/com_…/…`.
pub fn unsubscribe_token(keys: &LinkKeys, stream: &CommunicationKey) -> String {
    format!("{}/{}/{}", stream.tenant, stream.id, keys.sign(&unsubscribe_text(stream)))
}

/// The message of a token. Returns `None` if it is not valid.
pub fn verify_unsubscribe_token(keys: &LinkKeys, token: &str) -> Option<CommunicationKey> {
    let [tenant, id, signature] = parts(token)?;
    let stream = CommunicationKey { tenant: tenant.parse().ok()?, id: id.parse().ok()? };
    keys.verifies(&unsubscribe_text(&stream), signature).then_some(stream)
}

/// A token for one purpose and one named object of a tenant, valid until a time.
fn timed_token(keys: &LinkKeys, purpose: &str, (tenant, name): (&TenantId, &str), until: Timestamp) -> String {
    let path = format!("{tenant}/{name}/{}", until.0);
    let signature = keys.sign(&format!("{purpose}#{path}"));
    format!("{path}/{signature}")
}

/// The tenant and the name in a token. Returns `None` if its signature is wrong or it has expired.
fn verify_timed_token(keys: &LinkKeys, purpose: &str, token: &str, now: Timestamp) -> Option<(TenantId, String)> {
    let [tenant, name, until, signature] = parts(token)?;
    let is_ours = keys.verifies(&format!("{purpose}#{tenant}/{name}/{until}"), signature);
    let until = Timestamp(until.parse().ok()?);
    (is_ours && now < until).then(|| Some((tenant.parse().ok()?, name.to_owned())))?
}

fn parts<const N: usize>(token: &str) -> Option<[&str; N]> {
    token.split('/').collect::<Vec<_>>().try_into().ok()
}

/// A token that changes the preferences of one person: `acme/Y3VzdG9tZXI6Nw/1795000000000/…`.
pub fn preferences_token(keys: &LinkKeys, tenant: &TenantId, person: &str, until: Timestamp) -> String {
    timed_token(keys, "preferences", (tenant, &URL_SAFE_NO_PAD.encode(person)), until)
}

/// The tenant and the person of a token. Returns `None` if it is not valid.
pub fn verify_preferences_token(keys: &LinkKeys, token: &str, now: Timestamp) -> Option<(TenantId, String)> {
    let (tenant, person) = verify_timed_token(keys, "preferences", token, now)?;
    Some((tenant, String::from_utf8(URL_SAFE_NO_PAD.decode(person).ok()?).ok()?))
}

/// A token that reads one uploaded file: `acme/att_…/1795000000000/…`.
pub fn file_token(keys: &LinkKeys, tenant: &TenantId, id: &str, until: Timestamp) -> String {
    timed_token(keys, "file", (tenant, id), until)
}

/// The tenant and the file of a token. Returns `None` if it is not valid.
pub fn verify_file_token(keys: &LinkKeys, token: &str, now: Timestamp) -> Option<(TenantId, String)> {
    verify_timed_token(keys, "file", token, now)
}

/// Length of the token of a payment link: 32 bytes in base64.
const PAYMENT_TOKEN: usize = 43;
const PAYMENT_LINK: &str = "pay_";

fn payment_text(tenant: &TenantId, mode: Mode, id: &str) -> String {
    format!("pay#{tenant}#{}#{id}", mode.as_str())
}

/// The token of a payment link: 16 bytes of its id and 16 of a signature. Nothing stores it. `None` for an id of another
/// form.
pub fn payment_token(keys: &LinkKeys, tenant: &TenantId, mode: Mode, id: &str) -> Option<String> {
    let hex = id.strip_prefix(PAYMENT_LINK).filter(|hex| hex.len() == 32)?;
    let id_bytes = u128::from_str_radix(hex, 16).ok()?.to_be_bytes();
    let signature = hmac(&keys.current, &payment_text(tenant, mode, id));
    Some(URL_SAFE_NO_PAD.encode([id_bytes, signature].concat()))
}

/// The mode and the id of a payment link's token. Returns `None` if it is not valid in any of `modes`. Any other text
/// takes the time of a token with a wrong signature.
pub fn verify_payment_token(keys: &LinkKeys, tenant: &TenantId, modes: &[Mode], token: &str) -> Option<(Mode, String)> {
    let decoded =
        Some(token).filter(|token| token.len() == PAYMENT_TOKEN).and_then(|it| URL_SAFE_NO_PAD.decode(it).ok());
    let bytes: [u8; 32] = decoded.and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
    let (id, signature) = bytes.split_at(16);
    let id = format!("{PAYMENT_LINK}{:032x}", u128::from_be_bytes(id.try_into().expect("16 of 32 bytes")));
    let signature = URL_SAFE_NO_PAD.encode(signature);
    let is_signed = |mode: &Mode| keys.verifies(&payment_text(tenant, *mode, &id), &signature);
    let verified: Vec<Mode> = modes.iter().copied().filter(is_signed).collect();
    Some((*verified.first()?, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_of_a_payment_link_is_of_one_tenant_mode_and_link() {
        let [acme, other]: [TenantId; 2] = ["acme", "other"].map(|name| name.parse().expect("a tenant"));
        let (old, new) = (LinkKeys::new(b"old".to_vec()), LinkKeys::new(b"new".to_vec()));
        let rotating = new.clone().accept(b"old".to_vec());
        let id = "pay_00000000000000000000000000000abc";
        let token = payment_token(&old, &acme, Mode::Live, id).expect("a token");
        assert_eq!(token.len(), PAYMENT_TOKEN);
        let verify = |keys: &LinkKeys, tenant: &TenantId, modes: &[Mode], token: &str| {
            verify_payment_token(keys, tenant, modes, token)
        };
        assert_eq!(verify(&old, &acme, Mode::ALL, &token), Some((Mode::Live, id.to_owned())));
        assert_eq!(verify(&rotating, &acme, &[Mode::Live], &token), Some((Mode::Live, id.to_owned())));
        assert_eq!(verify(&new, &acme, Mode::ALL, &token), None);
        assert_eq!(verify(&old, &acme, &[Mode::Test], &token), None, "of the other mode");
        assert_eq!(verify(&old, &other, Mode::ALL, &token), None, "of another tenant");
        for at in 0..token.len() {
            let changed = if &token[at..=at] == "A" { "B" } else { "A" };
            let wrong = format!("{}{changed}{}", &token[..at], &token[at + 1..]);
            assert_eq!(verify(&old, &acme, Mode::ALL, &wrong), None, "{wrong}");
        }
        for wrong in ["", "A", &token[..42], &format!("{token}="), &"A".repeat(43), &"%".repeat(43)] {
            assert_eq!(verify(&old, &acme, Mode::ALL, wrong), None, "{wrong}");
        }
        assert_eq!(payment_token(&old, &acme, Mode::Live, "pay_1"), None);
    }

    #[test]
    fn links_of_the_previous_key_are_valid_until_the_key_is_gone() {
        let tenant: TenantId = "acme".parse().expect("a tenant");
        let (old, new) = (LinkKeys::new(b"old".to_vec()), LinkKeys::new(b"new".to_vec()));
        let rotating = new.clone().accept(b"old".to_vec());
        let (now, until) = (Timestamp(1), Timestamp(2));
        let token = preferences_token(&old, &tenant, "customer:7", until);
        let person = Some((tenant.clone(), "customer:7".to_owned()));
        assert_eq!(verify_preferences_token(&rotating, &token, now), person);
        assert_eq!(verify_preferences_token(&new, &token, now), None);
        assert_eq!(verify_preferences_token(&rotating, &token, until), None);
        assert_eq!(verify_file_token(&rotating, &token, now), None, "another purpose");
        let token = preferences_token(&rotating, &tenant, "customer:7", until);
        assert_eq!(verify_preferences_token(&new, &token, now), person, "the current key signs");
        assert_eq!(verify_preferences_token(&old, &token, now), None);
        assert_eq!(verify_preferences_token(&new, &format!("{token}/x"), now), None);
    }
}
