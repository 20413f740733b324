//! JSON as the body of a request or of a response.

use super::stream::Stream;
use crate::error::{Error, ErrorKind, Stage};
use crate::net::ask::StreamOptions;
use crate::net::sys::Sys;

impl StreamOptions {
    /// Sets a value as the body, written as JSON, and `Content-Type: application/json`. Needs the
    /// feature `json`; a value is a [`serde_json::Value`](crate::serde_json::Value) or of any type
    /// that implements `serde::Serialize`.
    ///
    /// ```
    /// use moonwire::{StreamOptions, serde_json::json};
    ///
    /// let options = StreamOptions::new("POST", "https://example.com/v1/chat")?
    ///     .json(&json!({ "stream": true }))?;
    /// # Ok::<(), moonwire::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`StreamOptions::body`] and [`StreamOptions::header`]; and [`ErrorKind::Json`], for
    /// example for a map whose keys are not strings.
    pub fn json(
        self,
        value: &(impl serde_core::Serialize + ?Sized),
    ) -> Result<StreamOptions, Error> {
        match serde_json::to_vec(value) {
            Ok(body) => self.header("Content-Type", "application/json")?.body(body),
            Err(e) => {
                let kind = ErrorKind::Json(e.to_string());
                Err(Error::new(self.url(), Stage::Url, kind))
            }
        }
    }
}

impl<S: Sys> Stream<S> {
    /// The rest of the body, parsed as JSON, if it has at most `limit` bytes. Needs the feature
    /// `json`. The type of the response is not checked.
    ///
    /// ```no_run
    /// use moonwire::{StreamOptions, serde_json::Value};
    ///
    /// let mut stream = StreamOptions::get("https://example.com/status")?.open()?;
    /// let status: Value = stream.read_json(1 << 20)?;
    /// println!("{}", status["up"]);
    /// # Ok::<(), moonwire::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Stream::read_all`], and [`ErrorKind::Json`].
    pub fn read_json<T: serde_core::de::DeserializeOwned>(
        &mut self,
        limit: usize,
    ) -> Result<T, Error> {
        let body = self.read_all(limit)?;
        serde_json::from_slice(&body).map_err(|e| self.error(ErrorKind::Json(e.to_string())))
    }
}
