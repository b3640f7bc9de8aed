//! A node with faults: forwards JSON-RPC to a real one, except where a rule says otherwise.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What happens to a request.
pub(crate) enum Verdict {
    /// The real node answers.
    Pass,
    /// This is the result; the real node never hears of the request.
    Answer(Value),
    /// The real node's result, changed.
    Edit(fn(Value) -> Value),
    /// A JSON-RPC error.
    Refuse(i64, &'static str),
    /// The whole HTTP request fails.
    Fail(StatusCode),
    /// The real node gets the request, and its answer is lost.
    Lose,
    /// No answer ever.
    Hang,
}

type Rule = Box<dyn FnMut(&str, &Value) -> Verdict + Send>;

#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) url: String,
    upstream: String,
    http: reqwest::Client,
    rule: Arc<Mutex<Rule>>,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Proxy {
    /// A proxy without faults; the server ends with the test's runtime.
    pub(crate) async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            upstream: upstream.to_owned(),
            http: reqwest::Client::new(),
            rule: Arc::new(Mutex::new(Box::new(|_, _| Verdict::Pass))),
            seen: Arc::default(),
        };
        let router = Router::new().route("/", post(answer)).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        proxy
    }

    pub(crate) fn rule(&self, rule: impl FnMut(&str, &Value) -> Verdict + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    pub(crate) fn heal(&self) {
        self.rule(|_, _| Verdict::Pass);
    }

    /// How often a method was asked for.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|(name, _)| name == method).count()
    }

    async fn one(&self, request: Value) -> Result<Value, StatusCode> {
        let method = request["method"].as_str().unwrap().to_owned();
        self.seen.lock().unwrap().push((method.clone(), request["params"].clone()));
        let verdict = (self.rule.lock().unwrap())(&method, &request["params"]);
        let id = request["id"].clone();
        let result = |result: Value| json!({ "jsonrpc": "2.0", "id": id, "result": result });
        Ok(match verdict {
            Verdict::Pass => self.forward(&request).await,
            Verdict::Answer(value) => result(value),
            Verdict::Edit(edit) => result(edit(self.forward(&request).await["result"].clone())),
            Verdict::Refuse(code, message) => {
                json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
            }
            Verdict::Fail(status) => return Err(status),
            Verdict::Lose => {
                self.forward(&request).await;
                return Err(StatusCode::BAD_GATEWAY);
            }
            Verdict::Hang => std::future::pending().await,
        })
    }

    async fn forward(&self, request: &Value) -> Value {
        self.http.post(&self.upstream).json(request).send().await.unwrap().json().await.unwrap()
    }
}

async fn answer(State(proxy): State<Proxy>, Json(request): Json<Value>) -> Response {
    let Value::Array(batch) = request else {
        return proxy.one(request).await.map_or_else(IntoResponse::into_response, |it| Json(it).into_response());
    };
    let mut answers = Vec::new();
    for request in batch {
        match proxy.one(request).await {
            Ok(answer) => answers.push(answer),
            Err(status) => return status.into_response(),
        }
    }
    Json(answers).into_response()
}
