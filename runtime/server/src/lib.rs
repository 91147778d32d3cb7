//! A judge over HTTP.
//!
//! Requests come in through an accept loop of its own ([`Server`]), pass a guard (name, token, deadline, faults), and are
//! turned from wire types into questions for a [`rewardrt::Judge`]. What is absent: no model, no decoder and no words of a
//! prompt; no pixel is decoded here, no file is named by a request, and nothing is fetched.

mod app;
mod auth;
mod body;
mod config;
mod error;
mod guard;
mod live;
mod metrics;
mod page;
mod routes;
mod server;
mod stream;
mod wire;

pub use auth::TokenError;
pub use config::{Config, ConfigError, ENVIRONMENT, LogFormat, MAX_CONFIG_BYTES, Setting};
pub use server::{Ended, Handle, ServeError, Server, serve};
