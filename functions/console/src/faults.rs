//! What is wrong with a form, each fault at its field.

use crate::refusal::{FieldFault, Refusal};

/// A fault and the id of the field where it is mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormFault {
    pub id: String,
    pub detail: String,
}

/// All faults of a form.
#[derive(Debug, Clone, Default)]
pub struct FormFaults(Vec<FormFault>);

impl FormFaults {
    /// The faults that the API names, or its whole answer at the field `otherwise`.
    pub fn of(refusal: &Refusal, otherwise: &str) -> FormFaults {
        let mut faults: Vec<FormFault> = refusal.faults().iter().map(fault).collect();
        if faults.is_empty() {
            faults.push(FormFault { id: otherwise.to_owned(), detail: refusal.detail().to_owned() });
        }
        FormFaults(faults)
    }

    pub fn new(faults: impl IntoIterator<Item = (String, String)>) -> FormFaults {
        FormFaults(faults.into_iter().map(|(id, detail)| FormFault { id, detail }).collect())
    }

    pub fn all(&self) -> &[FormFault] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, id: &str) -> bool {
        self.0.iter().any(|fault| fault.id == id)
    }

    /// What is wrong with a field.
    pub fn at(&self, id: &str) -> &str {
        self.0.iter().find(|fault| fault.id == id).map_or("", |fault| &fault.detail)
    }

    /// Gives the faults of one field to another.
    pub fn moved(mut self, from: &str, to: &str) -> FormFaults {
        for fault in self.0.iter_mut().filter(|fault| fault.id == from) {
            to.clone_into(&mut fault.id);
        }
        self
    }
}

/// `/settings/authToken` is the field `f-settings-authToken`; the place in a list is left out.
fn fault(FieldFault { pointer, detail }: &FieldFault) -> FormFault {
    let parts = pointer.split('/').filter(|part| !part.is_empty() && part.parse::<usize>().is_err());
    let id = parts.fold("f".to_owned(), |id, part| format!("{id}-{part}"));
    FormFault { id, detail: detail.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_at_the_field_that_its_pointer_names() {
        let at = |pointer: &str| fault(&FieldFault { pointer: pointer.to_owned(), detail: String::new() }).id;
        assert_eq!(
            [at("/settings/authToken"), at("/team/0"), at("/rate")],
            ["f-settings-authToken", "f-team", "f-rate"]
        );
    }
}
