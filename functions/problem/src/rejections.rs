//! Rejected commands on a tenant's resources.

use domain::collect::{BackfillRejection, DebtorRejection, SettingsRejection};
use domain::{api_key, invoice, payment_link, provider_configs, templates, tenant_limits};

use crate::{Problem, ProblemKind, sentence};

/// Maps a rejected command on one of the tenant's resources.
fn not_possible(rejection: &dyn std::fmt::Display) -> Problem {
    Problem::new(ProblemKind::Conflict, format!("Not possible: {rejection}."))
}

impl From<templates::Rejection> for Problem {
    fn from(rejection: templates::Rejection) -> Self {
        match rejection {
            templates::Rejection::NoDraft => Problem::new(ProblemKind::NotFound, "The template has no draft."),
            templates::Rejection::DraftChanged(_) => {
                Problem::new(ProblemKind::PreconditionFailed, sentence(&rejection.to_string()))
            }
            templates::Rejection::Unknown
            | templates::Rejection::Exists(_)
            | templates::Rejection::TooMany
            | templates::Rejection::Changed(_) => not_possible(&rejection),
        }
    }
}

impl From<provider_configs::Rejection> for Problem {
    fn from(rejection: provider_configs::Rejection) -> Self {
        not_possible(&rejection)
    }
}

impl From<api_key::Rejection> for Problem {
    fn from(rejection: api_key::Rejection) -> Self {
        not_possible(&rejection)
    }
}

impl From<tenant_limits::Rejection> for Problem {
    fn from(rejection: tenant_limits::Rejection) -> Self {
        match rejection {
            tenant_limits::Rejection::Changed(latest) => newer_revision(latest),
            tenant_limits::Rejection::TooManyCaps => not_possible(&rejection),
        }
    }
}

impl From<invoice::Rejection> for Problem {
    fn from(rejection: invoice::Rejection) -> Self {
        not_possible(&rejection)
    }
}

impl From<payment_link::Rejection> for Problem {
    fn from(rejection: payment_link::Rejection) -> Self {
        match rejection {
            payment_link::Rejection::Unknown => Problem::new(ProblemKind::NotFound, sentence(&rejection.to_string())),
            payment_link::Rejection::TooManyPayments => not_possible(&rejection),
        }
    }
}

/// Settings that were changed since the revision that a change is based on.
fn newer_revision(latest: u32) -> Problem {
    Problem::new(ProblemKind::PreconditionFailed, format!("The newest revision is {latest}."))
}

impl From<SettingsRejection> for Problem {
    fn from(rejection: SettingsRejection) -> Self {
        let latest = match rejection {
            SettingsRejection::Changed(latest) => latest,
            SettingsRejection::BackfillClaimed(_) => {
                return Problem::new(ProblemKind::Conflict, format!("{rejection}."));
            }
        };
        newer_revision(latest)
    }
}

impl From<BackfillRejection> for Problem {
    fn from(rejection: BackfillRejection) -> Self {
        let kind = match rejection {
            BackfillRejection::Unknown => ProblemKind::NotFound,
            BackfillRejection::ConfirmedOtherwise
            | BackfillRejection::Ended
            | BackfillRejection::PageUnderWay
            | BackfillRejection::DayFull => ProblemKind::Conflict,
        };
        Problem::new(kind, sentence(&rejection.to_string()))
    }
}

impl From<DebtorRejection> for Problem {
    fn from(DebtorRejection::Changed(latest): DebtorRejection) -> Self {
        newer_revision(latest)
    }
}
