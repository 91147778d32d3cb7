//! Pictures and videos inside requests: base64, data URLs and files of a form. Never a path, never an address.

use std::fmt;

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rewardrt::Picture;
use rewardrt::judge::Clip;
use rewardrt::media::{Limits, video};
use rewardrt_models::prompt::pack::FrameRule;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::ApiError;

/// The key under which a form's file stands in its document.
pub(crate) const PART: &str = "part";
/// Characters of base64 whose bytes tell a video from a picture.
const HEAD: usize = 16;
/// What stands between a data URL's type and its bytes.
const MARK: &str = ";base64";
/// Longest type of a data URL.
const MAX_TYPE: usize = 128;

/// A picture or a video, as it is written.
pub(crate) enum Media {
    /// Base64, or a data URL.
    Text(String),
    /// A file of the form.
    Part(usize),
}

impl<'de> Deserialize<'de> for Media {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Media, D::Error> {
        struct TextOrPart;
        impl<'de> Visitor<'de> for TextOrPart {
            type Value = Media;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64 or a data URL")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Media, E> {
                Ok(Media::Text(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Media, E> {
                Ok(Media::Text(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Media, A::Error> {
                match map.next_entry::<String, usize>()? {
                    Some((key, part)) if key == PART => Ok(Media::Part(part)),
                    _ => Err(de::Error::invalid_type(de::Unexpected::Map, &self)),
                }
            }
        }
        deserializer.deserialize_any(TextOrPart)
    }
}

/// One picture or video, or the frames of one.
pub(crate) enum Shown {
    One(Media),
    Many(Vec<Media>),
}

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shown, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Shown;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64, a data URL, or a list of them")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Shown, E> {
                Ok(Shown::One(Media::Text(text.to_owned())))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Shown, E> {
                Ok(Shown::One(Media::Text(text)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Shown, A::Error> {
                Media::deserialize(de::value::MapAccessDeserializer::new(map)).map(Shown::One)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Shown, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(Shown::Many)
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

/// The media of one request: the files of its form, and how many there may still be.
pub(crate) struct Gallery {
    parts: Vec<Bytes>,
    most: usize,
    taken: usize,
}

impl Gallery {
    pub(crate) fn new(parts: Vec<Bytes>, most: usize) -> Gallery {
        Gallery { parts, most, taken: 0 }
    }

    /// The bytes of a picture or a video; `at` is its pointer in the request.
    pub(crate) fn bytes(&mut self, media: Media, at: &str) -> Result<Vec<u8>, ApiError> {
        self.taken += 1;
        if self.taken > self.most {
            let message = format!("the request has more than {} pictures and videos", self.most);
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many_media", message).at(at));
        }
        match media {
            Media::Text(text) => decode(&text).map_err(|error| error.at(at)),
            Media::Part(part) => match self.parts.get(part) {
                Some(bytes) => Ok(bytes.to_vec()),
                None => Err(ApiError::bad("only forms have parts; give base64 or a data URL").at(at)),
            },
        }
    }

    /// A picture, or a video whose frames a rule chooses.
    pub(crate) fn picture(
        &mut self,
        media: Media,
        rule: Option<FrameRule>,
        at: &str,
    ) -> Result<Picture, ApiError> {
        let bytes = self.bytes(media, at)?;
        Ok(match video::is_video(&bytes) {
            true => Picture::Video(Clip { rule, ..Clip::bytes(bytes) }),
            false => Picture::Bytes(bytes),
        })
    }

    /// The pictures of one place: a picture, a video, or frames.
    pub(crate) fn pictures(
        &mut self,
        shown: Shown,
        rule: Option<FrameRule>,
        at: &str,
    ) -> Result<Vec<Picture>, ApiError> {
        match shown {
            Shown::One(media) => Ok(vec![self.picture(media, rule, at)?]),
            Shown::Many(list) => self.list(list, rule, at),
        }
    }

    /// The pictures of a list.
    pub(crate) fn list(
        &mut self,
        list: Vec<Media>,
        rule: Option<FrameRule>,
        at: &str,
    ) -> Result<Vec<Picture>, ApiError> {
        let one = |(i, media)| self.picture(media, rule, &format!("{at}/{i}"));
        list.into_iter().enumerate().map(one).collect()
    }
}

/// The bytes of base64 or of a data URL. Their number is known from the text's length, before they are.
fn decode(text: &str) -> Result<Vec<u8>, ApiError> {
    let corrupt = |message: &str| Err(ApiError::new(StatusCode::BAD_REQUEST, "media_corrupt", message));
    let payload = match scheme(text) {
        None => text,
        Some("data") => match text.split_once(',') {
            Some((head, payload)) if head.len() <= MAX_TYPE && head.ends_with(MARK) => payload,
            Some(_) => return corrupt("the data URL is not in base64; write data:image/png;base64,..."),
            None => return corrupt("the data URL has no comma; write data:image/png;base64,..."),
        },
        Some("http" | "https") => {
            let message = "this server fetches nothing; send the file as base64, as a data URL, or in a form";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "media_url_off", message));
        }
        Some(_) => return corrupt("this is no base64 and no data URL; no file of the server is opened"),
    };
    if payload.is_empty() {
        return corrupt("there is nothing in it; send the file again");
    }
    let head = payload.get(..payload.len().min(HEAD)).unwrap_or_default();
    let head = STANDARD.decode(head).unwrap_or_default();
    let (bytes, limit) = (payload.len() / 4 * 3, Limits::default().max_encoded_bytes);
    if !video::is_video(&head) && bytes > limit + 2 {
        let message =
            format!("the picture has about {bytes} bytes, at most {limit} are accepted; send a smaller one");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "media_too_large", message));
    }
    // The decoder's own words tell of the bytes.
    STANDARD
        .decode(payload)
        .or_else(|_| corrupt("this is no base64: the standard alphabet with padding, and no white space"))
}

/// The scheme of an address; none for base64, whose alphabet has no colon.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.get(..text.len().min(MAX_TYPE)).unwrap_or_default().split_once(':')?;
    let scheme = scheme.trim_start();
    for known in ["data", "http", "https"] {
        if scheme.eq_ignore_ascii_case(known) {
            return Some(known);
        }
    }
    Some("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a text, or the code and the words of its refusal.
    fn check(text: &str, expected: Result<&[u8], (&str, &str)>) {
        match (decode(text), expected) {
            (Ok(bytes), Ok(expected)) => assert_eq!(bytes, expected, "{text}"),
            (Err(error), Err((code, words))) => {
                assert!(error.code == code && error.message.contains(words), "{text}: {error:?}");
            }
            (got, _) => panic!("{text}: {got:?}"),
        }
    }

    #[test]
    fn base64_and_data_urls_are_bytes() {
        check("AP8Q", Ok(&[0, 255, 16]));
        check("data:image/png;base64,AP8Q", Ok(&[0, 255, 16]));
        check("data:;base64,AA==", Ok(&[0]));
        // The type is the caller's word, and is not asked.
        check("DATA:text/html;charset=x;base64,AA==", Ok(&[0]));
    }

    #[test]
    fn what_is_neither_is_refused_by_name() {
        let corrupt = |words| Err(("media_corrupt", words));
        check("", corrupt("nothing in it"));
        check("data:image/png;base64,", corrupt("nothing in it"));
        check("data:image/png;base64", corrupt("no comma"));
        check("data:image/png,%89PNG", corrupt("not in base64"));
        check("data:image/png;base64,A", corrupt("no base64"));
        check("data:image/png;base64,AA==\n", corrupt("no base64"));
        check("data:image/png;base64,AAAA,AAAA", corrupt("no base64"));
        check("data:image/png;base64,data:image/png;base64,AAAA", corrupt("no base64"));
        check("AA=A", corrupt("no base64"));
        check("%41AAA", corrupt("no base64"));
        check("file:///etc/passwd", corrupt("no file of the server is opened"));
        check("/etc/passwd", corrupt("no base64"));
        check("../../etc/passwd", corrupt("no base64"));
        check(&format!("data:{};base64,AAAA", "x".repeat(200)), corrupt("not in base64"));
    }

    #[test]
    fn nothing_is_fetched() {
        for url in
            ["http://127.0.0.1/a.png", "HTTPS://example.org", " http://169.254.169.254/", "http:\\\\[::1]"]
        {
            check(url, Err(("media_url_off", "send the file as base64")));
        }
    }

    #[test]
    fn a_picture_that_is_too_large_is_refused_by_the_length_of_its_text() {
        let limit = Limits::default().max_encoded_bytes;
        let large = "A".repeat((limit + 3).div_ceil(3) * 4);
        check(&large, Err(("media_too_large", "at most")));
        let mut gallery = Gallery::new(Vec::new(), 1);
        assert!(gallery.bytes(Media::Text("AAAA".to_owned()), "/a").is_ok());
        assert_eq!(gallery.bytes(Media::Text("AAAA".to_owned()), "/b").unwrap_err().code, "too_many_media");
        assert_eq!(Gallery::new(Vec::new(), 1).bytes(Media::Part(0), "/a").unwrap_err().code, "bad_request");
    }
}
