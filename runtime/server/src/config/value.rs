//! Values of settings: how a text becomes one, and how it is printed.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A value that can be read from text and printed as TOML.
pub(super) trait Value: Sized {
    /// The value of a text, or what would be one.
    fn read(text: &str) -> Result<Self, String>;
    /// The value as TOML writes it.
    fn print(&self) -> String;
}

impl Value for usize {
    fn read(text: &str) -> Result<usize, String> {
        text.parse().map_err(|_| "give a whole number, 0 or more".to_owned())
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Value for bool {
    fn read(text: &str) -> Result<bool, String> {
        text.parse().map_err(|_| "give true or false".to_owned())
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    fn read(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    fn print(&self) -> String {
        // What JSON escapes, TOML reads.
        serde_json::Value::from(self.as_str()).to_string()
    }
}

impl Value for Option<PathBuf> {
    fn read(text: &str) -> Result<Self, String> {
        Ok(Some(text).filter(|text| !text.is_empty()).map(PathBuf::from))
    }

    fn print(&self) -> String {
        self.as_ref().map_or_else(String::new, |path| path.display().to_string()).print()
    }
}

impl Value for SocketAddr {
    fn read(text: &str) -> Result<SocketAddr, String> {
        let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address = local.as_deref().unwrap_or(text);
        address
            .parse()
            .map_err(|_| "give an address and a port, such as 127.0.0.1:8080 or [::1]:8080".to_owned())
    }

    fn print(&self) -> String {
        self.to_string().print()
    }
}

impl Value for LogFormat {
    fn read(text: &str) -> Result<LogFormat, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("give text or json".to_owned()),
        }
    }

    fn print(&self) -> String {
        let name = match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        name.to_owned().print()
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}
