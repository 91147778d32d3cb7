//! Every setting of the server, in one table: the file, the environment, the flags, `--print-config` and the docs come from
//! it.

mod value;

use std::net::SocketAddr;
use std::path::PathBuf;

use rewardrt::judge::{DEFAULT_QUEUE, DEFAULT_SLOTS, DEFAULT_TOKENS, DEFAULT_VISION_CACHE};

pub use value::LogFormat;
use value::Value;

/// What an environment variable of a setting begins with; the key follows in capitals.
pub const ENVIRONMENT: &str = "REWARDRT_SERVE_";
/// Longest configuration file.
pub const MAX_CONFIG_BYTES: usize = 64 << 10;

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file is no TOML.
    #[error("the configuration is no TOML: {0}")]
    Toml(String),
    /// A key that is none.
    #[error("{key} is no setting; `rewardrt serve --print-config` lists them")]
    Unknown {
        /// The key.
        key: String,
    },
    /// A value that cannot be.
    #[error("{key}: {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong, and what would be right. Never the value of a secret.
        reason: String,
    },
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The key in the file; the environment variable has capitals.
    pub key: &'static str,
    /// The flag, without its dashes at the front.
    pub flag: &'static str,
    /// What it does, with its unit.
    pub help: &'static str,
    /// Whether it must not be seen: it has no flag, and is printed as `hidden`.
    pub secret: bool,
}

/// A key as a flag is written.
const fn dashed<const N: usize>(key: &[u8]) -> [u8; N] {
    let (mut flag, mut at) = ([b'-'; N], 0);
    while at < N {
        if key[at] != b'_' {
            flag[at] = key[at];
        }
        at += 1;
    }
    flag
}

macro_rules! settings {
    ($($(#[doc = $help:literal])+ $key:ident: $kind:ty = $default:expr $(, $secret:ident)?;)*) => {
        /// The settings of a server.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config {
            $($(#[doc = $help])+ pub $key: $kind,)*
        }

        impl Default for Config {
            fn default() -> Config {
                Config { $($key: $default,)* }
            }
        }

        impl Config {
            /// Every setting, in the order in which they are printed.
            pub const TABLE: &[Setting] = &[$(Setting {
                key: stringify!($key),
                flag: {
                    const KEY: &str = stringify!($key);
                    const DASHED: [u8; KEY.len()] = dashed(KEY.as_bytes());
                    match std::str::from_utf8(&DASHED) {
                        Ok(flag) => flag,
                        Err(_) => KEY,
                    }
                },
                help: concat!($($help),+),
                secret: false $(|| settings!(@ $secret))?,
            },)*];

            /// Sets one value from its text.
            ///
            /// # Errors
            /// [`ConfigError`], when there is no such key or no such value.
            pub fn set(&mut self, key: &str, text: &str) -> Result<(), ConfigError> {
                match key {
                    $(stringify!($key) => {
                        let read = <$kind as Value>::read(text);
                        self.$key = read.map_err(|reason| ConfigError::Value { key: stringify!($key), reason })?;
                    })*
                    _ => return Err(ConfigError::Unknown { key: key.chars().take(64).collect() }),
                }
                Ok(())
            }

            fn printed(&self) -> Vec<String> {
                vec![$(self.$key.print(),)*]
            }
        }
    };
    (@ secret) => { true };
}

settings! {
    /// Address and port to listen at.
    listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080));
    /// Listen beyond this machine although no token is asked for.
    insecure_no_token: bool = false;
    /// A file of tokens, one a line; requests must bear one of them.
    token_file: Option<PathBuf> = None;
    /// A token that requests must bear. Has no flag, as flags can be seen by others.
    token: String = String::new(), secret;
    /// More names of the model, separated by commas; requests may name it by any.
    served_names: String = String::new();
    /// Answer questions only with the pack that the server was started with.
    only_own_pack: bool = false;
    /// Sequences that decode together.
    slots: usize = DEFAULT_SLOTS;
    /// Requests that may wait beside those in slots; one more is told to come back.
    queue: usize = DEFAULT_QUEUE;
    /// Longest sequence in tokens, prompt and answer together.
    tokens: usize = DEFAULT_TOKENS;
    /// Bytes of vision features that are kept, so that a picture is seen once.
    vision_cache_bytes: usize = DEFAULT_VISION_CACHE;
    /// Tokens that a chat's answer may have when its request does not say.
    chat_tokens: usize = 1024;
    /// Most connections; more are closed at once.
    max_connections: usize = 1024;
    /// Most bytes of a request's head.
    max_head_bytes: usize = 16 << 10;
    /// Most fields of a request's head.
    max_head_fields: usize = 64;
    /// Most bytes of a request's body: a pair of the largest pictures in base64 is 54 MiB.
    max_body_bytes: usize = 64 << 20;
    /// Most bytes of all bodies that are held at once.
    max_bodies_bytes: usize = 1 << 30;
    /// Most pictures and videos of a request.
    max_media: usize = 256;
    /// Seconds that a request's head may take, and a connection may be idle.
    head_seconds: usize = 10;
    /// Seconds that a request's body may take.
    body_seconds: usize = 30;
    /// Seconds that a body may go on with less than a KiB a second.
    stall_seconds: usize = 10;
    /// Seconds that a client may take nothing of an answer.
    write_seconds: usize = 30;
    /// Longest that a request may take, in seconds; `x-deadline-ms` asks for less.
    deadline_seconds: usize = 600;
    /// Seconds that requests at work are given to end after the first signal.
    grace_seconds: usize = 30;
    /// Seconds of one step of the decoder after which it is taken to hang, and the server ends.
    step_seconds: usize = 120;
    /// How the log is written: text or json.
    log: LogFormat = LogFormat::Text;
}

impl Config {
    /// Takes what a file says; what it does not name stays.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read_toml(&mut self, text: &str) -> Result<(), ConfigError> {
        if text.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::Toml(format!(
                "it has {} bytes, at most {MAX_CONFIG_BYTES} are read",
                text.len()
            )));
        }
        let table: toml::Table =
            text.parse().map_err(|e: toml::de::Error| ConfigError::Toml(e.message().to_owned()))?;
        for (key, value) in &table {
            let Some(setting) = Config::TABLE.iter().find(|setting| setting.key == key) else {
                return Err(ConfigError::Unknown { key: key.chars().take(64).collect() });
            };
            let text = match value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(yes) => yes.to_string(),
                _ => {
                    let reason = "give a text, a whole number, or true or false".to_owned();
                    return Err(ConfigError::Value { key: setting.key, reason });
                }
            };
            self.set(key, &text)?;
        }
        Ok(())
    }

    /// Takes what environment variables say; `of` gives the value of one.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read_environment(&mut self, of: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
        for setting in Config::TABLE {
            if let Some(text) = of(&setting.variable()) {
                self.set(setting.key, &text)?;
            }
        }
        Ok(())
    }

    /// Refuses settings that do not go together.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming one of them.
    pub fn check(&self) -> Result<(), ConfigError> {
        let open = self.token.is_empty() && self.token_file.is_none();
        if open && !self.listen.ip().is_loopback() && !self.insecure_no_token {
            let reason = "whoever reaches this address could ask anything: name a token_file, or say insecure_no_token";
            return Err(ConfigError::Value { key: "listen", reason: reason.to_owned() });
        }
        let positive = [
            ("slots", self.slots),
            ("tokens", self.tokens),
            ("chat_tokens", self.chat_tokens),
            ("max_connections", self.max_connections),
            ("max_head_fields", self.max_head_fields),
            ("max_body_bytes", self.max_body_bytes),
            ("max_bodies_bytes", self.max_bodies_bytes),
            ("max_media", self.max_media),
            ("head_seconds", self.head_seconds),
            ("body_seconds", self.body_seconds),
            ("stall_seconds", self.stall_seconds),
            ("write_seconds", self.write_seconds),
            ("deadline_seconds", self.deadline_seconds),
            ("step_seconds", self.step_seconds),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Value { key, reason: "give 1 or more".to_owned() });
        }
        // What hyper reads at least.
        if self.max_head_bytes < 8 << 10 {
            let reason = "give 8192 or more".to_owned();
            return Err(ConfigError::Value { key: "max_head_bytes", reason });
        }
        Ok(())
    }

    /// The settings as a file that gives them, with a comment each. Secrets are left out.
    pub fn print(&self) -> String {
        let rows = Config::TABLE.iter().zip(self.printed());
        rows.map(|(setting, value)| {
            let help = setting.help.trim();
            match setting.secret {
                true => format!("# {help}\n# {} = \"hidden\"\n", setting.key),
                false => format!("# {help}\n{} = {value}\n", setting.key),
            }
        })
        .collect()
    }
}

impl Setting {
    /// The environment variable.
    pub fn variable(&self) -> String {
        format!("{ENVIRONMENT}{}", self.key.to_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The configuration of a file, or the error's text.
    fn check(text: &str, expected: &str) {
        let mut config = Config::default();
        let got = match config.read_toml(text).and_then(|()| config.check()) {
            Ok(()) => config.print(),
            Err(error) => error.to_string(),
        };
        assert!(got.contains(expected), "{text}\n gave {got}\n not  {expected}");
    }

    #[test]
    fn a_file_sets_what_it_names() {
        check("queue = 7\nlisten = \"[::1]:9\"\nlog = \"json\"", "queue = 7\n");
        check("listen = \"localhost:9\"", "listen = \"127.0.0.1:9\"");
        check("", "listen = \"127.0.0.1:8080\"");
    }

    #[test]
    fn what_is_printed_is_read_again() {
        let mut config =
            Config { slots: 3, log: LogFormat::Json, served_names: "a\"b".to_owned(), ..Config::default() };
        config.token_file = Some("some/file".into());
        let mut again = Config::default();
        again.read_toml(&config.print()).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn strangers_are_refused_by_name() {
        check("colour = 1", "colour is no setting");
        check("queue = -1", "queue: give a whole number");
        check("queue = 1.5", "queue: give a text, a whole number");
        check("listen = \"8080\"", "listen: give an address and a port");
        check("log = \"xml\"", "log: give text or json");
        check("queue", "no TOML");
        check("slots = 0", "slots: give 1 or more");
        check("max_head_bytes = 100", "max_head_bytes: give 8192");
    }

    #[test]
    fn an_address_beyond_this_machine_needs_a_token_or_the_word_for_none() {
        check("listen = \"0.0.0.0:1\"", "name a token_file, or say insecure_no_token");
        check("listen = \"[::]:1\"", "name a token_file, or say insecure_no_token");
        check("listen = \"0.0.0.0:1\"\ntoken_file = \"f\"", "token_file = \"f\"");
        check("listen = \"0.0.0.0:1\"\ninsecure_no_token = true", "insecure_no_token = true");
    }

    #[test]
    fn a_secret_is_read_and_never_printed() {
        check("token = \"sesame\"", "# token = \"hidden\"");
        let config = Config { token: "sesame".to_owned(), ..Config::default() };
        assert!(!config.print().contains("sesame"));
    }

    #[test]
    fn flags_are_keys_with_dashes() {
        assert!(Config::TABLE.iter().all(|setting| setting.flag == setting.key.replace('_', "-")));
    }

    #[test]
    fn the_environment_is_named_after_the_keys() {
        let mut config = Config::default();
        let of = |name: &str| (name == "REWARDRT_SERVE_MAX_BODY_BYTES").then(|| "9".to_owned());
        config.read_environment(of).unwrap();
        assert_eq!(config, Config { max_body_bytes: 9, ..Config::default() });
    }
}
