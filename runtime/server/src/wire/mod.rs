//! What callers send: types of their own, apart from those of the judge, so that neither changes with the other. All of
//! them refuse fields that they do not know.

pub(crate) mod chat;
pub(crate) mod compute;
pub(crate) mod media;
pub(crate) mod question;

use serde::de::DeserializeOwned;

use crate::error::ApiError;

pub(crate) use media::{Gallery, PART};

/// A request as it is written, which becomes what is asked of the judge.
pub(crate) trait Wire: DeserializeOwned + Send + 'static {
    /// What is asked.
    type Asked: Send + 'static;

    /// Checks it and decodes its base64; pictures stay encoded.
    fn asked(self, gallery: &mut Gallery) -> Result<Self::Asked, ApiError>;
}
