//! What answers at the address of IMDS on a machine that is not in Azure: a
//! proxy, another cloud, nobody. It is passed over soon, and the developer's
//! tools are asked.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use build_cache_host::AccessToken;
use host_test::sample::Sample;

use super::World;
use crate::setup::run;

/// How long all of it may take: two seconds for IMDS, and as much again on a
/// busy machine. To wait for IMDS to start takes 80.
const LONGEST: Duration = Duration::from_secs(5);

/// What a server does with each request.
#[derive(Clone, Copy)]
enum Server {
    /// Answers so and closes.
    Says(&'static str),
    /// Begins an answer and goes on with a byte now and then.
    Drips,
    /// Says nothing.
    Waits,
}

/// A server on this machine, for as long as the program runs. Its URL.
fn start(server: Server) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream, server));
        }
    });
    format!("http://{address}")
}

fn serve(mut stream: TcpStream, server: Server) {
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(read @ 1..) => request.extend_from_slice(&part[..read]),
            _ => return,
        }
    }
    match server {
        Server::Says(answer) => {
            let _ = stream.write_all(answer.as_bytes());
        }
        Server::Drips => {
            let head = "HTTP/1.1 400 Bad Request\r\nContent-Length: 1000000\r\n\r\n";
            let mut sent = stream.write_all(head.as_bytes());
            while sent.is_ok() {
                thread::sleep(Duration::from_millis(100));
                sent = stream.write_all(b" ");
            }
        }
        // Until the client has had enough.
        Server::Waits => drop(stream.read(&mut part)),
    }
}

#[test]
fn whatever_is_not_imds_is_passed_over_within_two_seconds() {
    run(async {
        let answers = [
            Server::Says(
                "HTTP/1.1 200 OK\r\nContent-Length: 20\r\nContent-Type: text/html\r\n\r\n<html>Hello.</html>\n",
            ),
            Server::Says("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            Server::Says(
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
            ),
            Server::Says("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"),
            Server::Says("HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found"),
            Server::Says("HTTP/1.1 404 Not Found\r\nContent-Length: 15\r\n\r\n{\"error\":\"404\"}"),
            Server::Says("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"),
            Server::Says(
                "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 60\r\nContent-Length: 19\r\n\r\nno healthy upstream",
            ),
            Server::Says("not HTTP at all\r\n\r\n"),
            Server::Says(""),
            Server::Drips,
            Server::Waits,
        ];
        let expires_at = 4_000_000_000;
        let token = "the-token-of-a-developer".to_owned();
        let world = World::new().await;
        let world = world.with_identity(Ok(Some(AccessToken { token, expires_at })));
        // Loads what is loaded once.
        let tools = vec![("AZURE_TOKEN_CREDENTIALS", "dev".to_owned())];
        world.open(&tools, Sample::default()).await.expect("open");
        for (number, server) in answers.into_iter().enumerate() {
            let url = start(server);
            let variables = vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", url)];
            let began = Instant::now();
            let opened = world.open(&variables, Sample::default()).await;
            opened.unwrap_or_else(|error| panic!("{number}: {error}"));
            assert!(began.elapsed() < LONGEST, "{number}: {:?}", began.elapsed());
        }
    });
}
