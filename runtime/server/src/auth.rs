//! Tokens: who may ask, and which client asks.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::path::PathBuf;

use axum::http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::Config;
use crate::error::ApiError;

/// Longest file of tokens.
const MAX_TOKEN_FILE_BYTES: u64 = 1 << 20;
/// Shortest token: 16 characters of hexadecimal digits are 64 bits.
const MIN_TOKEN_BYTES: usize = 16;

/// Why the tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds no token.
    #[error("{path} holds no token; write one a line", path = .0.display())]
    Empty(PathBuf),
    /// A token that could be guessed.
    #[error("a token is shorter than {MIN_TOKEN_BYTES} characters; make one with `openssl rand -hex 32`")]
    Short,
}

/// The tokens that are known, as digests only.
pub(crate) struct Tokens {
    digests: Vec<[u8; 32]>,
}

impl Tokens {
    /// The tokens that a configuration names.
    pub(crate) fn of(config: &Config) -> Result<Tokens, TokenError> {
        let mut tokens: Vec<String> =
            Some(config.token.clone()).filter(|token| !token.is_empty()).into_iter().collect();
        if let Some(path) = &config.token_file {
            let text = read(path)?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            let before = tokens.len();
            tokens.extend(lines.map(str::to_owned));
            if tokens.len() == before {
                return Err(TokenError::Empty(path.clone()));
            }
        }
        if tokens.iter().any(|token| token.len() < MIN_TOKEN_BYTES) {
            return Err(TokenError::Short);
        }
        Ok(Tokens { digests: tokens.iter().map(|token| Sha256::digest(token).into()).collect() })
    }

    /// Who asks: a key for turns between clients. Refused without a token that is known, where any is.
    pub(crate) fn client(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<u64, ApiError> {
        if self.digests.is_empty() {
            let mut hasher = DefaultHasher::new();
            peer.hash(&mut hasher);
            return Ok(hasher.finish());
        }
        let said = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        let token = said.split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
        let digest: [u8; 32] = Sha256::digest(token.map(|(_, token)| token).unwrap_or_default()).into();
        // All are compared, whichever it is.
        let known = self.digests.iter().fold(0u8, |known, other| known | digest.ct_eq(other).unwrap_u8());
        if known == 0 {
            let message = "give a token that this server knows: `Authorization: Bearer TOKEN`";
            return Err(ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
                .at("authorization")
                .closing());
        }
        Ok(digest.iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte)))
    }
}

fn read(path: &std::path::Path) -> Result<String, TokenError> {
    use std::io::Read;
    let fail = |source| TokenError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    std::fs::File::open(path)
        .map_err(fail)?
        .take(MAX_TOKEN_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(fail)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn tokens() -> Tokens {
        Tokens::of(&Config { token: TOKEN.to_owned(), ..Config::default() }).unwrap()
    }

    /// Whether this header opens the door.
    fn check(header: Option<&str>, opens: bool) {
        let mut headers = HeaderMap::new();
        headers.extend(header.map(|value| (header::AUTHORIZATION, value.parse().unwrap())));
        let said = tokens().client(&headers, None);
        assert_eq!(said.is_ok(), opens, "{header:?} {said:?}");
        assert!(said.is_ok() || said.unwrap_err().status == StatusCode::UNAUTHORIZED);
    }

    #[test]
    fn only_the_whole_token_opens() {
        check(Some("Bearer 0123456789abcdef"), true);
        check(Some("bearer 0123456789abcdef"), true);
        check(None, false);
        check(Some(""), false);
        check(Some("Bearer "), false);
        check(Some("Bearer 0123456789abcde"), false);
        check(Some("Bearer 0123456789abcdefg"), false);
        check(Some("Bearer  0123456789abcdef"), false);
        check(Some("Basic 0123456789abcdef"), false);
        check(Some(&format!("Bearer {}", "x".repeat(1 << 20))), false);
    }

    #[test]
    fn without_tokens_all_may_ask_and_addresses_are_the_clients() {
        let none = Tokens::of(&Config::default()).unwrap();
        let of = |ip: [u8; 4]| none.client(&HeaderMap::new(), Some(IpAddr::from(ip))).unwrap();
        assert_eq!(of([127, 0, 0, 1]), of([127, 0, 0, 1]));
        assert_ne!(of([127, 0, 0, 1]), of([127, 0, 0, 2]));
    }

    #[test]
    fn a_token_that_could_be_guessed_is_refused() {
        assert!(matches!(
            Tokens::of(&Config { token: "sesame".to_owned(), ..Config::default() }),
            Err(TokenError::Short)
        ));
    }
}
