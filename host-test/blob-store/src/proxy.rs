//! A forward proxy for tests, by HTTP or SOCKS 5: it takes down what it is asked for, and passes it
//! on to one address whatever the name, or answers by itself. So a test sees
//! which server a client means to reach, although no such name exists.
//!
//! Needs nothing of the store; it is here because every test that has a store
//! may need one between.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The longest head of a request that is read, in bytes.
const LONGEST_HEAD: usize = 64 << 10;

/// What a proxy does with what it is asked for.
#[derive(Clone, Debug)]
pub enum Passage {
    /// Passes it on to this address.
    To(SocketAddr),
    /// Answers with this status and page, tunnels too.
    Answer(u16, &'static str),
    /// Ends the connection without a word.
    HangUp,
}

/// What a proxy was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `CONNECT`, `SOCKS5`, or the request's own.
    pub method: String,
    /// `host:port` of a tunnel, or a whole URL.
    pub target: String,
    /// What the client has to show to the proxy.
    pub authorization: Option<String>,
}

/// A proxy on the loopback interface. It ends with its value.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    has_ended: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts a proxy on a free port.
    pub fn start(passage: Passage) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let proxy = Self {
            address: listener.local_addr()?,
            asked: Arc::default(),
            has_ended: Arc::default(),
        };
        let (asked, has_ended) = (Arc::clone(&proxy.asked), Arc::clone(&proxy.has_ended));
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if has_ended.load(Ordering::Relaxed) {
                    return;
                }
                let (asked, passage) = (Arc::clone(&asked), passage.clone());
                // A client may hang up whenever it likes.
                thread::spawn(move || serve(connection, &passage, &asked).ok());
            }
        });
        Ok(proxy)
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked for so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
        // So that it looks.
        let _ = TcpStream::connect(self.address);
    }
}

/// One connection, which carries one request, or a tunnel.
fn serve(mut client: TcpStream, passage: &Passage, asked: &Mutex<Vec<Asked>>) -> io::Result<()> {
    let mut first = [0];
    client.peek(&mut first)?;
    if first == [SOCKS_5] {
        return serve_socks(client, passage, asked);
    }
    let (head, rest) = read_head(&mut client)?;
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (
        first.next().unwrap_or_default(),
        first.next().unwrap_or_default(),
    );
    let fields: Vec<_> = lines.filter_map(|line| line.split_once(':')).collect();
    let authorization = fields
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"))
        .map(|(_, value)| value.trim().to_owned());
    asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Asked {
            method: method.to_owned(),
            target: target.to_owned(),
            authorization,
        });
    let to = match passage {
        Passage::To(address) => address,
        Passage::Answer(status, page) => return answer(&mut client, *status, page),
        Passage::HangUp => return Ok(()),
    };
    let Ok(mut server) = TcpStream::connect(to) else {
        return answer(&mut client, 502, "no server there");
    };
    if method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    } else {
        let path = target.splitn(4, '/').nth(3).unwrap_or_default();
        let mut passed = format!("{method} /{path} HTTP/1.1\r\n");
        for (name, value) in fields {
            let is_for_us = name.to_ascii_lowercase().starts_with("proxy-");
            if !is_for_us && !name.eq_ignore_ascii_case("connection") {
                passed.push_str(&format!("{name}:{value}\r\n"));
            }
        }
        // One request a connection: the next one comes to us again.
        passed.push_str("Connection: close\r\n\r\n");
        server.write_all(passed.as_bytes())?;
    }
    server.write_all(&rest)?;
    join(client, server)
}

/// The version of the protocol.
const SOCKS_5: u8 = 5;

/// A tunnel by SOCKS 5 (RFC 1928) for who needs no password.
fn serve_socks(
    mut client: TcpStream,
    passage: &Passage,
    asked: &Mutex<Vec<Asked>>,
) -> io::Result<()> {
    const NAME: u8 = 3;
    let ways = read(&mut client, 2)?[1];
    read(&mut client, ways.into())?;
    client.write_all(&[SOCKS_5, 0])?;
    let kind = read(&mut client, 4)?[3];
    let host = match kind {
        NAME => {
            let length = read(&mut client, 1)?[0];
            String::from_utf8_lossy(&read(&mut client, length.into())?).into_owned()
        }
        _ => {
            let bytes = <[u8; 4]>::try_from(read(&mut client, 4)?).unwrap_or_default();
            Ipv4Addr::from(bytes).to_string()
        }
    };
    let port = read(&mut client, 2)?;
    let port = u16::from_be_bytes([port[0], port[1]]);
    asked
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Asked {
            method: "SOCKS5".to_owned(),
            target: format!("{host}:{port}"),
            authorization: None,
        });
    let Passage::To(address) = passage else {
        // "Not allowed by ruleset."
        client.write_all(&[SOCKS_5, 2, 0, 1, 0, 0, 0, 0, 0, 0])?;
        return Ok(());
    };
    let server = TcpStream::connect(address)?;
    client.write_all(&[SOCKS_5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    join(client, server)
}

fn read(client: &mut TcpStream, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Passes on what either says, until the server has no more to say.
fn join(mut client: TcpStream, mut server: TcpStream) -> io::Result<()> {
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || io::copy(&mut from_client, &mut to_server).ok());
    io::copy(&mut server, &mut client)?;
    client.shutdown(std::net::Shutdown::Both)
}

/// The head of a request, and what came with it of the body.
fn read_head(client: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    const END: &[u8] = b"\r\n\r\n";
    let mut read = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = client.read(&mut chunk)?;
        if count == 0 || read.len() > LONGEST_HEAD {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read.extend_from_slice(&chunk[..count]);
        let end = read.windows(END.len()).position(|window| window == END);
        if let Some(end) = end {
            let rest = read.split_off(end + END.len());
            return Ok((String::from_utf8_lossy(&read).into_owned(), rest));
        }
    }
}

fn answer(client: &mut TcpStream, status: u16, page: &str) -> io::Result<()> {
    let length = page.len();
    let head = format!(
        "HTTP/1.1 {status} Scripted\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    client.write_all(head.as_bytes())?;
    client.write_all(page.as_bytes())?;
    client.shutdown(std::net::Shutdown::Write)
}
