//! What went wrong, in the protocol's words: a status, and `{"error": {"message", "type", "code"}}`.
//!
//! A client deletes the files of a commit that failed, and must not when the commit may have happened. So 500 on a commit
//! means one thing only: nobody knows. What is known not to have happened is 4xx, or 503.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use staffa::{Error, ErrorKind};

pub(super) type Result<T, E = Failure> = std::result::Result<T, E>;

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    /// The exception of Iceberg's Java library that stands for it.
    kind: &'static str,
    message: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
        }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequestException", message)
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "UnsupportedOperationException", message)
    }

    pub(super) fn not_authorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "NotAuthorizedException", message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "ForbiddenException", message)
    }

    pub(super) fn no_such_namespace(namespace: &str) -> Self {
        let text = format!("Namespace does not exist: {}", namespace.escape_debug());
        Self::new(StatusCode::NOT_FOUND, "NoSuchNamespaceException", text)
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", message)
    }

    pub(super) fn outcome_unknown(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "CommitStateUnknownException",
            message,
        )
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", message)
    }

    /// What is not there is a view.
    pub(super) fn of_view(mut self) -> Self {
        if self.kind == "NoSuchTableException" {
            self.kind = "NoSuchViewException";
        }
        self
    }

    /// The same error as the answer to a commit: one that the server cannot explain may have happened.
    pub(super) fn of_commit(mut self) -> Self {
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            self.kind = "CommitStateUnknownException";
        }
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (status, kind) = match error.kind() {
            ErrorKind::UndefinedDatabase => (StatusCode::NOT_FOUND, "NoSuchWarehouseException"),
            ErrorKind::UndefinedSchema => (StatusCode::NOT_FOUND, "NoSuchNamespaceException"),
            ErrorKind::UndefinedTable | ErrorKind::WrongObjectType => (StatusCode::NOT_FOUND, "NoSuchTableException"),
            ErrorKind::DuplicateTable | ErrorKind::DuplicateSchema => (StatusCode::CONFLICT, "AlreadyExistsException"),
            ErrorKind::DependentObjects => (StatusCode::CONFLICT, "NamespaceNotEmptyException"),
            ErrorKind::SerializationFailure => (StatusCode::CONFLICT, "CommitFailedException"),
            ErrorKind::FeatureNotSupported => (StatusCode::NOT_ACCEPTABLE, "UnsupportedOperationException"),
            ErrorKind::InsufficientPrivilege => (StatusCode::FORBIDDEN, "ForbiddenException"),
            ErrorKind::TransactionResolutionUnknown => {
                (StatusCode::INTERNAL_SERVER_ERROR, "CommitStateUnknownException")
            }
            ErrorKind::IoError | ErrorKind::DiskFull | ErrorKind::OutOfMemory => {
                (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException")
            }
            ErrorKind::InvalidTableDefinition
            | ErrorKind::InvalidParameterValue
            | ErrorKind::InvalidName
            | ErrorKind::UndefinedColumn
            | ErrorKind::DuplicateColumn => (StatusCode::BAD_REQUEST, "BadRequestException"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError"),
        };
        if status.is_server_error() {
            tracing::warn!(%error, "a request to the REST catalog failed");
        }
        let parts = [Some(error.message()), error.detail(), error.hint()];
        let message: Vec<&str> = parts.into_iter().flatten().collect();
        Self::new(status, kind, message.join(". "))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self { status, kind, message } = self;
        let body = json!({"error": {"message": message, "type": kind, "code": status.as_u16()}});
        let mut response = super::request::json_response(status, body.to_string());
        if status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

pub(super) async fn no_such_route() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "NotFoundException", "No such endpoint")
}

pub(super) async fn no_such_method() -> Failure {
    Failure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "UnsupportedOperationException",
        "The endpoint does not have this method",
    )
}
