//! The HTTP server of a service.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use crate::shutdown::Shutdown;

/// How long open requests may take to finish once shutdown began: event streams never finish by themselves.
const GRACE: Duration = Duration::from_secs(5);

/// Serves `router` until `shutdown`, then lets the open requests finish for a few seconds. Handlers can ask who is
/// connected by `ConnectInfo<SocketAddr>`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) -> io::Result<()> {
    // Nagle's algorithm together with delayed acknowledgements holds small answers back for about 40 ms.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY on a connection");
        }
    });
    let token = shutdown.clone();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async move { token.cancelled().await });
    tokio::select! {
        result = server => result,
        () = async { shutdown.cancelled().await; tokio::time::sleep(GRACE).await } => {
            tracing::debug!("some connections were still open at shutdown and were dropped");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::routing::get;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn an_open_request_finishes_after_shutdown_began() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/slow", listener.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let (arrived, arrival) = oneshot::channel();
        let arrived = std::sync::Arc::new(std::sync::Mutex::new(Some(arrived)));
        let slow = move || async move {
            arrived.lock().unwrap().take().unwrap().send(()).unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            "done"
        };
        let server = tokio::spawn(serve(listener, Router::new().route("/slow", get(slow)), shutdown.clone()));
        let request = tokio::spawn(reqwest::get(url));
        arrival.await.unwrap();
        shutdown.cancel();
        assert_eq!(request.await.unwrap().unwrap().text().await.unwrap(), "done");
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_request_that_never_ends_does_not_hold_the_process() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let router = Router::new().route("/", get(std::future::pending::<&'static str>));
        let server = tokio::spawn(serve(listener, router, shutdown.clone()));
        let request = tokio::spawn(reqwest::get(url));
        tokio::time::sleep(Duration::from_millis(200)).await;
        let began = Instant::now();
        shutdown.cancel();
        server.await.unwrap().unwrap();
        assert!(began.elapsed() < GRACE * 2);
        request.abort();
    }
}
