//! The documentation of an operation, and how it is written down.

use problem::ProblemKind;

/// The documentation of one operation.
#[derive(Clone, Copy)]
pub struct Operation {
    pub id: &'static str,
    pub summary: &'static str,
    /// Parameters of the query and of the header, in the short notation.
    pub query: &'static str,
    pub headers: &'static str,
    /// The schema of the body, or `text/csv`. Empty if there is no body.
    pub body: &'static str,
    pub body_is_optional: bool,
    pub example: &'static str,
    pub status: u16,
    /// Another status, or 0.
    pub also: u16,
    /// The schema of the response with the other status. Empty if it is the same.
    pub also_answer: &'static str,
    /// The schema of the response, or its media type if it is not JSON. Empty if there is no content.
    pub answer: &'static str,
    /// The problems that this operation can answer besides those that every operation can answer.
    pub problems: &'static [ProblemKind],
}

pub(super) const fn operation(id: &'static str, summary: &'static str) -> Operation {
    Operation {
        id,
        summary,
        query: "",
        headers: "",
        body: "",
        body_is_optional: false,
        example: "",
        status: 200,
        also: 0,
        also_answer: "",
        answer: "",
        problems: &[],
    }
}

impl Operation {
    pub(super) const fn query(self, query: &'static str) -> Operation {
        Operation { query, ..self }
    }

    pub(super) const fn headers(self, headers: &'static str) -> Operation {
        Operation { headers, ..self }
    }

    pub(super) const fn takes(self, body: &'static str, example: &'static str) -> Operation {
        Operation { body, example, ..self }
    }

    pub(super) const fn may_take(self, body: &'static str, example: &'static str) -> Operation {
        Operation { body, example, body_is_optional: true, ..self }
    }

    pub(super) const fn answers(self, status: u16, answer: &'static str) -> Operation {
        Operation { status, answer, ..self }
    }

    pub(super) const fn or(self, also: u16) -> Operation {
        Operation { also, ..self }
    }

    pub(super) const fn or_answers(self, also: u16, also_answer: &'static str) -> Operation {
        Operation { also, also_answer, ..self }
    }

    pub(super) const fn problems(self, problems: &'static [ProblemKind]) -> Operation {
        Operation { problems, ..self }
    }
}

/// An operation that returns something and changes nothing.
pub(super) const fn get(id: &'static str, answer: &'static str, summary: &'static str) -> Operation {
    operation(id, summary).answers(200, answer)
}

/// An operation that returns nothing.
pub(super) const fn delete(id: &'static str, summary: &'static str) -> Operation {
    operation(id, summary).answers(204, "")
}
