//! Errors of the libraries that read JSON and base64. They are wrapped, so that the versions of
//! these libraries are no part of this crate's interface. For the same reason they are no sources
//! of the wrappers, which print the same text.

use serde::Deserialize;

/// The reason why a text is not JSON, or not JSON of the expected shape. It names the line and the
/// column.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(serde_json::Error);

/// Reads one JSON value.
pub(crate) fn from_json<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, JsonError> {
    serde_json::from_slice(json).map_err(JsonError)
}

/// Reads one JSON value.
pub(crate) fn from_json_text<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, JsonError> {
    serde_json::from_str(json).map_err(JsonError)
}

impl JsonError {
    pub(crate) fn new(error: serde_json::Error) -> Self {
        JsonError(error)
    }

    /// Returns the library's error, for the simulator of this project.
    #[doc(hidden)]
    pub fn library(&self) -> &(dyn core::error::Error + 'static) {
        &self.0
    }

    /// Returns `true` if the text is JSON, but not of the expected shape.
    pub fn is_data(&self) -> bool {
        self.0.is_data()
    }
}

/// The reason why a text is not base64. It names the place.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Base64Error(base64::DecodeError);

impl Base64Error {
    pub(crate) fn new(error: base64::DecodeError) -> Self {
        Base64Error(error)
    }

    /// Returns the library's error, for the simulator of this project.
    #[doc(hidden)]
    pub fn library(&self) -> &(dyn core::error::Error + 'static) {
        &self.0
    }
}
