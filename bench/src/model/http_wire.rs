//! The model's plain HTTP client. It signs as any client has to.

use std::path::PathBuf;

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bench_contest::{Layer, Place, Task};
use bytes::Bytes;
use http::Method;
use reqsign_azure_storage::{Credential, RequestSigner};
use reqsign_core::{Context, SignRequest as _};

use super::{Answer, BLOCK_BYTES, Request, Wire};

/// The version of the service that BuildKit's client asks for.
const VERSION: &str = "2024-11-04";

/// How many bytes a block's id has: 64 characters in base64, as BuildKit's do.
const BLOCK_ID_BYTES: usize = 48;

/// The client.
pub struct HttpWire {
    client: reqwest::Client,
    signer: RequestSigner,
    context: Context,
    credential: Credential,
    /// The container's address.
    container: String,
    /// Where the layers are.
    layers: PathBuf,
}

/// A request with its parts put together.
struct Parts {
    method: Method,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Bytes,
}

impl HttpWire {
    /// A client for one container, and the folder of the set whose layers it sends.
    pub fn open(place: &Place, layers: PathBuf) -> Result<Self> {
        // The client wants to know how it would speak TLS, though here it does not.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            client: reqwest::Client::builder().no_proxy().build()?,
            signer: RequestSigner::new(),
            context: Context::new(),
            credential: Credential::with_shared_key(&place.account, &place.key),
            container: format!("{}/{}", place.account_url, place.container),
            layers,
        })
    }

    async fn parts(&self, request: Request) -> Result<Parts> {
        let plain = |method, path: String| Parts {
            method,
            path,
            headers: Vec::new(),
            body: Bytes::new(),
        };
        let put = |path, headers: &[_], body| Parts {
            headers: headers.to_vec(),
            body,
            ..plain(Method::PUT, path)
        };
        let container = "?restype=container".to_owned();
        let (new, blob) = (("if-none-match", "*"), ("x-ms-blob-type", "BlockBlob"));
        let bytes = ("content-type", "application/octet-stream");
        Ok(match request {
            Request::GetContainer => plain(Method::GET, container),
            Request::PutContainer => plain(Method::PUT, container),
            Request::Head(key) => plain(Method::HEAD, blob_path(&key)),
            Request::Get(key) => plain(Method::GET, blob_path(&key)),
            Request::PutLayer(layer) => {
                let path = layer_path(&layer);
                let body = self.read(layer, 0).await?;
                put(path, &[new, blob, bytes], body)
            }
            Request::PutBlock { layer, number } => {
                let id = block_id(number).replace('+', "%2B").replace('/', "%2F");
                let path = format!("{}?blockid={id}&comp=block", layer_path(&layer));
                let body = self.read(layer, number).await?;
                put(path, &[bytes], body)
            }
            Request::PutBlockList(layer) => {
                let path = format!("{}?comp=blocklist", layer_path(&layer));
                let ids = (0..layer.size.div_ceil(BLOCK_BYTES)).map(block_id);
                let ids: String = ids.map(|id| format!("<Latest>{id}</Latest>")).collect();
                let list = format!("<BlockList>{ids}</BlockList>");
                put(
                    path,
                    &[new, ("content-type", "application/xml")],
                    list.into(),
                )
            }
            Request::PutManifest { key, text } => put(blob_path(&key), &[blob, bytes], text),
        })
    }

    /// A block of a layer's file, the last one shorter.
    async fn read(&self, layer: Layer, number: u64) -> Result<Bytes> {
        let folder = self.layers.clone();
        let offset = number * BLOCK_BYTES;
        let length = BLOCK_BYTES.min(layer.size - offset);
        let reading = tokio::task::spawn_blocking(move || layer.read(&folder, offset, length));
        Ok(reading.await??.into())
    }
}

impl Wire for HttpWire {
    async fn send(&self, request: Request) -> Result<Answer> {
        let Parts {
            method,
            path,
            headers,
            body,
        } = self.parts(request).await?;
        let mut request = http::Request::builder()
            .method(&method)
            .uri(format!("{}{path}", self.container))
            .header("x-ms-version", VERSION);
        if method == Method::PUT {
            request = request.header("content-length", body.len());
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let (mut parts, body) = request.body(body)?.into_parts();
        self.signer
            .sign_request(&self.context, &mut parts, Some(&self.credential), None)
            .await?;
        let request = http::Request::from_parts(parts, body);
        let response = self.client.execute(request.try_into()?).await?;
        Ok(Answer {
            status: response.status().as_u16(),
            body: response.bytes().await?,
        })
    }
}

/// BuildKit's client escapes a whole key as one segment, but for the colon.
fn blob_path(key: &str) -> String {
    format!("/{}", key.replace('/', "%2F"))
}

fn layer_path(layer: &Layer) -> String {
    blob_path(&Task::layer_key(&layer.digest))
}

fn block_id(number: u64) -> String {
    let mut id = [0; BLOCK_ID_BYTES];
    id[..8].copy_from_slice(&number.to_be_bytes());
    BASE64_STANDARD.encode(id)
}
