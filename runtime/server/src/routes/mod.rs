//! The routes, from one table: the router, the guard and `/openapi.json` are held to it.

mod ask;
mod chat;
mod compute;
mod document;
mod look;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};

use crate::app::App;
use crate::guard::guard;

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// Its path, which has no variables.
    pub(crate) path: &'static str,
    /// Whether it asks the judge: refused while the server ends.
    pub(crate) work: bool,
    /// Whether it needs no token: what probes and browsers ask for, which tells nothing.
    pub(crate) open: bool,
}

const fn row(path: &'static str, work: bool, open: bool) -> Route {
    Route { path, work, open }
}

/// Every route.
pub(crate) const TABLE: [Route; 13] = [
    row("/", false, true),
    row("/livez", false, true),
    row("/readyz", false, true),
    row("/health", false, true),
    row("/v1/models", false, false),
    row("/v1/compare", true, false),
    row("/v1/rank", true, false),
    row("/v1/score", true, false),
    row("/v1/chat/completions", true, false),
    row("/compute", true, false),
    row("/info", false, false),
    row("/metrics", false, false),
    row("/openapi.json", false, false),
];

/// The route of a path.
pub(crate) fn find(path: &str) -> Option<&'static Route> {
    TABLE.iter().find(|route| route.path == path)
}

/// What answers a route of the table.
fn handler(path: &str) -> MethodRouter<Arc<App>> {
    match path {
        "/" => get(look::judging_page),
        "/livez" => get(look::livez),
        "/readyz" => get(look::readyz),
        "/health" => get(look::health),
        "/v1/models" => get(look::models),
        "/v1/compare" => post(ask::compare),
        "/v1/rank" => post(ask::rank),
        "/v1/score" => post(ask::score),
        "/v1/chat/completions" => post(chat::complete),
        "/compute" => post(compute::compute),
        "/info" => get(look::info),
        "/metrics" => get(look::metrics),
        _ => get(look::openapi),
    }
}

/// All routes behind the guard.
pub(crate) fn router(app: Arc<App>) -> Router {
    let routes =
        TABLE.iter().fold(Router::new(), |router, route| router.route(route.path, handler(route.path)));
    let none = || async { axum::http::StatusCode::NOT_FOUND };
    routes.fallback(none).layer(from_fn_with_state(app.clone(), guard)).with_state(app)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_of_the_routes_names_exactly_those_of_the_table() {
        let document: serde_json::Value = serde_json::from_str(look::OPENAPI).unwrap();
        let mut named: Vec<&str> =
            document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut known: Vec<&str> = TABLE.iter().map(|route| route.path).collect();
        named.sort_unstable();
        known.sort_unstable();
        assert_eq!(named, known);
        for route in TABLE {
            let methods: Vec<_> = document["paths"][route.path].as_object().unwrap().keys().collect();
            assert_eq!(methods, [if route.work { "post" } else { "get" }], "{}", route.path);
            let open = document["paths"][route.path]["get"]["security"] == serde_json::json!([]);
            assert_eq!(open, route.open, "{}", route.path);
        }
    }
}
