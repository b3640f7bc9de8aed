//! What a service says about itself on its admin port: `/healthz` (the process answers), `/readyz` (every part
//! does its work) and `/metrics`; and what it can be told there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use crate::shutdown::Shutdown;
use crate::telemetry::Metrics;

/// The state of each part of a service, shared by its clones. A service without parts is ready.
#[derive(Clone, Debug, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<&'static str, Result<(), String>>>>,
}

impl Health {
    /// Nothing reported yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records that `part` works, or why it does not. A service names all its parts before it serves, so that it
    /// is not ready before the last of them is.
    pub fn set(&self, part: &'static str, state: Result<(), String>) {
        let before = self.lock().insert(part, state.clone());
        match (&before, &state) {
            (Some(Err(_)), Ok(())) => tracing::info!(part, "works again"),
            (Some(Err(old)), Err(new)) if old == new => {}
            (_, Err(reason)) => tracing::warn!(part, %reason, "does not work"),
            (_, Ok(())) => {}
        }
    }

    /// Ready when every part works; else each part that does not, with its reason.
    ///
    /// # Errors
    /// The parts that do not work.
    pub fn ready(&self) -> Result<(), Vec<(&'static str, String)>> {
        let failing: Vec<_> = self
            .lock()
            .iter()
            .filter_map(|(part, state)| state.as_ref().err().map(|reason| (*part, reason.clone())))
            .collect();
        if failing.is_empty() { Ok(()) } else { Err(failing) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Result<(), String>>> {
        // The map is whole after every statement, so a panic elsewhere does not spoil it.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves `/healthz`, `/readyz` and `/metrics` until `shutdown`. Bind it to loopback unless the network is trusted.
///
/// # Errors
/// When the listener fails.
pub async fn serve_admin(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    serve_admin_with(listener, health, metrics, Router::new(), shutdown).await
}

/// The same, with what a service can be told beside it. Whoever reaches the port reaches `more`: it checks who asks.
///
/// # Errors
/// When the listener fails.
pub async fn serve_admin_with(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
    more: Router,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    let router = more
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { readiness(&health) }))
        .route("/metrics", get(move || async move { exposition(&metrics) }));
    crate::http::serve(listener, router, shutdown).await
}

fn readiness(health: &Health) -> Response {
    match health.ready() {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(failing) => {
            let failing: BTreeMap<_, _> = failing.into_iter().collect();
            (StatusCode::SERVICE_UNAVAILABLE, Json(failing)).into_response()
        }
    }
}

fn exposition(metrics: &Metrics) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(url: &str) -> (u16, String) {
        let answer = reqwest::get(url).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn the_admin_port_follows_the_parts() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (health, shutdown) = (Health::new(), Shutdown::new());
        let metrics = crate::telemetry::init("health-test", false);
        let server = tokio::spawn(serve_admin(listener, health.clone(), metrics, shutdown.clone()));

        health.set("chain", Ok(()));
        health.set("store", Err("the disk is full".to_owned()));
        let (status, body) = read(&format!("{base}/readyz")).await;
        assert_eq!((status, body.as_str()), (503, r#"{"store":"the disk is full"}"#));
        assert_eq!(read(&format!("{base}/healthz")).await.0, 200);

        health.set("store", Ok(()));
        assert_eq!(read(&format!("{base}/readyz")).await.0, 200);
        assert!(read(&format!("{base}/metrics")).await.1.contains("build_info"));

        shutdown.cancel();
        server.await.unwrap().unwrap();
    }
}
