//! Asking for what was not granted: other hosts, variables, files. What came
//! of it is told as the call's error.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use wasip3::cli::environment::get_environment;
use wasip3::filesystem::preopens::get_directories;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};

use crate::Orders;
use crate::bindings::build_cache::plugin::types::Error;
use crate::bindings::build_cache::plugin::{files, identity};

/// Runs the errand that the word names; does nothing where it names none.
pub(crate) async fn run(errand: &str, orders: &Orders) -> Result<(), Error> {
    let found = match errand {
        "request" => request(orders).await,
        "follow" => follow(orders.get("url")).await,
        "requests" => requests(orders).await,
        "hold-answers" => hold_answers(orders).await,
        "ask-for-ever" => loop {
            drop(get(orders.get("url")).await);
        },
        "variables" => variables(),
        "files" => read_files(orders).await,
        "folders" => format!("{} folders", get_directories().len()),
        "token" => format!("{:?}", identity::get_token("anything".into()).await),
        "tell" => orders.get("text").to_owned(),
        _ => return Ok(()),
    };
    Err(Error::Other(found))
}

/// Asks each URL of `url`, one after another.
async fn request(orders: &Orders) -> String {
    let mut found = Vec::new();
    for url in orders.words("url") {
        found.push(format!("{url}: {}", outcome(&get(&url).await)));
    }
    found.join("; ")
}

/// Asks a URL, and the one that the answer leads to.
async fn follow(url: &str) -> String {
    let answer = get(url).await;
    let Ok(response) = &answer else {
        return outcome(&answer);
    };
    let location = response.get_headers().get("location");
    let location = String::from_utf8_lossy(&location.concat()).into_owned();
    let status = response.get_status_code();
    format!("{status}, then {}", outcome(&get(&location).await))
}

/// Sends `count` requests at once.
async fn requests(orders: &Orders) -> String {
    let (url, count) = (orders.get("url"), orders.get("count").parse().unwrap_or(0));
    let mut under_way: FuturesUnordered<_> = (0..count).map(|_: usize| get(url)).collect();
    let (mut answered, mut failed) = (0, 0);
    while let Some(answer) = under_way.next().await {
        match answer {
            Ok(_) => answered += 1,
            Err(_) => failed += 1,
        }
    }
    format!("{answered} answered, {failed} failed")
}

/// Sends `count` requests and keeps the answers, unread.
async fn hold_answers(orders: &Orders) -> String {
    let (url, count) = (orders.get("url"), orders.get("count").parse().unwrap_or(0));
    let mut held = Vec::new();
    for _ in 0..count {
        match get(url).await {
            Ok(answer) => held.push(answer),
            Err(code) => return format!("{code:?} after {} answers", held.len()),
        }
    }
    format!("{} answers held", held.len())
}

async fn get(url: &str) -> Result<Response, ErrorCode> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let scheme = match scheme {
        "https" => Scheme::Https,
        _ => Scheme::Http,
    };
    let no_trailers = wasip3::wit_future::new(|| Ok(None)).1;
    let (request, _) = Request::new(Fields::new(), None, no_trailers, None);
    let set = request
        .set_method(&Method::Get)
        .and_then(|()| request.set_scheme(Some(&scheme)))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)));
    if set.is_err() {
        return Err(ErrorCode::HttpRequestUriInvalid);
    }
    client::send(request).await
}

fn outcome(answer: &Result<Response, ErrorCode>) -> String {
    match answer {
        Ok(response) => response.get_status_code().to_string(),
        Err(code) => format!("{code:?}"),
    }
}

/// The names of all variables that there are.
fn variables() -> String {
    let names = get_environment().into_iter().map(|(name, _)| name);
    names.collect::<Vec<_>>().join(" ")
}

/// Reads the files of `path`.
async fn read_files(orders: &Orders) -> String {
    let mut found = Vec::new();
    for path in orders.words("path") {
        let outcome = files::read(path.clone()).await;
        found.push(match outcome {
            Ok(Some(bytes)) => format!("{path} has {} bytes", bytes.len()),
            Ok(None) => format!("{path} is not there"),
            Err(why) => why,
        });
    }
    found.join("; ")
}
