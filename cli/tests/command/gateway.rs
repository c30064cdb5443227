//! `serve` and `with`, as a builder meets them.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use serde_json::Value;

use crate::world::{World, blob, buildkit, tags, text};

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A gateway that runs until it is dropped.
struct Serving {
    child: Child,
    address: String,
    /// What it says on standard error.
    lines: std::sync::mpsc::Receiver<String>,
    said: Vec<String>,
}

impl Serving {
    fn start(world: &World, args: &[&str]) -> Self {
        let spool = world.path("spool");
        let mut all = vec!["serve", "--spool", text(&spool), "--listen", "127.0.0.1:0"];
        all.extend(args);
        let mut command = world.command(&all);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        let stderr = child.stderr.take().expect("standard error");
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut serving = Self {
            child,
            address: String::new(),
            lines,
            said: Vec::new(),
        };
        let line = serving.wait_for("listening on ");
        let address = line.split("listening on ").nth(1).expect("an address");
        serving.address = address.split(';').next().expect("an address").to_owned();
        serving
    }

    /// Waits until it says this.
    fn wait_for(&mut self, part: &str) -> String {
        if let Some(line) = self.said.iter().find(|line| line.contains(part)) {
            return line.clone();
        }
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(60));
            let line = line.unwrap_or_else(|_| panic!("no `{part}` in {:?}", self.said));
            self.said.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("a signal");
    }

    /// Ends it, and gives its exit code and standard output.
    fn end(mut self) -> (Option<i32>, String) {
        self.signal(rustix::process::Signal::TERM);
        let mut output = String::new();
        let mut stdout = self.child.stdout.take().expect("standard output");
        std::io::Read::read_to_string(&mut stdout, &mut output).expect("text");
        let status = self.child.wait().expect("an end");
        (status.code(), output)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Speaks to a registry.
struct Client {
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    address: String,
    password: Option<String>,
}

/// What a registry answered.
struct Answer {
    status: u16,
    location: String,
    digest: String,
    body: Vec<u8>,
}

impl Client {
    fn new(address: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            runtime: tokio::runtime::Runtime::new().expect("a runtime"),
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client"),
            address: address.to_owned(),
            password: None,
        }
    }

    fn send(&self, method: &str, path: &str, body: Vec<u8>) -> Answer {
        let url = format!("http://{}{path}", self.address);
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, url).body(body);
        request = request.header("content-type", MANIFEST_TYPE);
        if let Some(password) = &self.password {
            request = request.basic_auth("build-cache", Some(password));
        }
        self.runtime.block_on(async {
            let answer: Response = request.send().await.expect("an answer");
            let header = |name: &str| {
                let value = answer.headers().get(name);
                value
                    .map_or("", |value| value.to_str().expect("text"))
                    .to_owned()
            };
            Answer {
                status: answer.status().as_u16(),
                location: header("location"),
                digest: header("docker-content-digest"),
                body: answer.bytes().await.expect("a body").to_vec(),
            }
        })
    }

    fn get(&self, path: &str) -> Answer {
        self.send("GET", path, Vec::new())
    }

    /// Sends a cache that BuildKit wrote to a directory, as BuildKit would.
    fn push(&self, dir: &Path, reference: &str) {
        let (repository, tag) = reference.split_once(':').expect("a reference");
        let [(_, digest)] = &tags(dir)[..] else {
            panic!("not one cache")
        };
        let manifest = std::fs::read(blob(dir, digest)).expect("a manifest");
        let parsed: Value = serde_json::from_slice(&manifest).expect("JSON");
        let layers = parsed["layers"].as_array().expect("layers").iter();
        for blob_of in layers.chain([&parsed["config"]]) {
            let digest = blob_of["digest"].as_str().expect("a digest");
            let path = format!("/v2/{repository}/blobs/{digest}");
            if self.send("HEAD", &path, Vec::new()).status == 200 {
                continue;
            }
            let begun = self.send(
                "POST",
                &format!("/v2/{repository}/blobs/uploads/"),
                Vec::new(),
            );
            assert_eq!(begun.status, 202);
            let bytes = std::fs::read(blob(dir, digest)).expect("a blob");
            let path = format!("{}?digest={digest}", begun.location);
            assert_eq!(self.send("PUT", &path, bytes).status, 201);
        }
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer = self.send("PUT", &path, manifest);
        let said = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 201, "{said}");
        assert_eq!(answer.digest, *digest);
    }
}

/// Compares every blob of a pulled cache with the one that BuildKit wrote.
fn assert_same_cache(pulled: &Path, fixture: &Path) {
    let [(_, expected)] = &tags(fixture)[..] else {
        panic!("not one cache")
    };
    let (_, digest) = tags(pulled).swap_remove(0);
    assert_eq!(digest, *expected);
    for entry in std::fs::read_dir(fixture.join("blobs/sha256"))
        .expect("blobs")
        .flatten()
    {
        let name = entry.file_name();
        let bytes = std::fs::read(entry.path()).expect("a blob");
        let pulled = std::fs::read(pulled.join("blobs/sha256").join(&name));
        assert!(
            pulled.expect("the same blob") == bytes,
            "{}",
            name.display()
        );
    }
}

#[test]
fn what_a_builder_pushes_is_the_cache_of_that_name_for_everybody() {
    let world = World::new();
    let serving = Serving::start(&world, &["--to", &world.cache("parallelism=16")]);
    let client = Client::new(&serving.address);
    let fixture = buildkit("local-max");
    client.push(&fixture, "team/app:Feature_.2FX");

    let pulled = world.path("pulled");
    world.pull(&pulled, "name=team/app/Feature/X");
    assert_same_cache(&pulled, &fixture);
    let (code, said) = serving.end();
    assert_eq!(code, Some(0));
    assert!(
        said.contains("10 layers sent") && said.contains("team/app/Feature/X"),
        "{said}"
    );
}

#[test]
fn what_was_pushed_from_a_directory_is_given_to_a_builder_byte_for_byte() {
    let world = World::new();
    let fixture = buildkit("local-max");
    world.push(&fixture, "name=app");
    let serving = Serving::start(&world, &["--from", &world.cache("parallelism=16")]);
    let client = Client::new(&serving.address);
    let [(_, digest)] = &tags(&fixture)[..] else {
        panic!("not one cache")
    };
    let given = client.get("/v2/app/manifests/latest");
    assert_eq!((given.status, &given.digest), (200, digest));
    let manifest: Value = serde_json::from_slice(&given.body).expect("JSON");
    let layers = manifest["layers"].as_array().expect("layers").iter();
    for part in layers.chain([&manifest["config"]]) {
        let digest = part["digest"].as_str().expect("a digest");
        let got = client.get(&format!("/v2/app/blobs/{digest}"));
        let expected = std::fs::read(blob(&fixture, digest)).expect("a blob");
        assert!(got.status == 200 && got.body == expected, "{digest}");
    }
    assert_eq!(client.get("/v2/app/manifests/other").status, 404);
    let refused = client.send("POST", "/v2/app/blobs/uploads/", Vec::new());
    assert_eq!(refused.status, 403);
    assert_eq!(client.get("/healthz").status, 200);
}

#[test]
fn a_store_that_is_down_is_said_in_the_plugin_s_own_words() {
    let world = World::new();
    let nowhere = "type=azblob,account_url=http://127.0.0.1:1/devstoreaccount1,\
                   secret_access_key=AAAA,max_retries=0";
    let mut serving = Serving::start(&world, &["--to", nowhere]);
    let client = Client::new(&serving.address);
    assert_eq!(client.get("/v2/app/manifests/main").status, 404, "a miss");
    serving.wait_for("warning:");
    let layer = b"layer".to_vec();
    let digest = build_cache_host::Digest::of(&layer);
    let begun = client.send("POST", "/v2/app/blobs/uploads/", Vec::new());
    let path = format!("{}?digest={digest}", begun.location);
    assert_eq!(
        client.send("PUT", &path, layer).status,
        201,
        "it is in the spool"
    );
    let mut refused = client.send("POST", "/v2/app/blobs/uploads/", Vec::new());
    let patience = Instant::now() + Duration::from_secs(20);
    while refused.status == 202 && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(50));
        refused = client.send("POST", "/v2/app/blobs/uploads/", Vec::new());
    }
    let said = String::from_utf8_lossy(&refused.body).into_owned();
    assert_eq!(refused.status, 503, "{said}");
    assert!(said.contains("127.0.0.1:1"), "{said}");
    let (code, _) = serving.end();
    assert_eq!(code, Some(1), "a layer is lost");
}

#[test]
fn nobody_comes_in_without_the_password() {
    let world = World::new();
    let mut serving = Serving::start(
        &world,
        &["--auth", "--from", &world.cache("parallelism=16")],
    );
    let login = serving.wait_for("docker login");
    let file = PathBuf::from(login.split("< ").nth(1).expect("a file"));
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).expect("a file"));
    assert_eq!(mode & 0o777, 0o600);
    let mut client = Client::new(&serving.address);
    assert_eq!(client.get("/v2/").status, 401);
    let password = std::fs::read_to_string(&file).expect("a password");
    assert!(
        serving.said.iter().all(|line| !line.contains(&password)),
        "it is not shown"
    );
    client.password = Some(password);
    assert_eq!(client.get("/v2/").status, 200);
}

#[test]
fn what_cannot_be_right_is_said_at_once() {
    let world = World::new();
    let to = world.cache("parallelism=16");
    for (args, parts) in [
        (
            &["serve", "--listen", "0.0.0.0:0", "--to", &to][..],
            &["needs --auth"][..],
        ),
        (
            &["serve", "--listen", "0.0.0.0:0", "--auth", "--to", &to],
            &["--tls-cert", "--insecure"],
        ),
        (
            &[
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--to",
                "type=azblob,mode=max",
            ],
            &["`mode` has no meaning here"],
        ),
        (
            &["with", "--to", "type=nonsense", "--", "true"],
            &["nonsense.wasm"],
        ),
    ] {
        world.run(args).failed(2, parts);
    }
    let ran = world.run(&["serve"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("--to"), "{ran:?}");
}

#[test]
fn a_plugin_that_is_not_one_changes_nothing() {
    let world = World::new();
    let plugin = world.path("azblob.wasm");
    std::fs::copy(crate::world::components().join("azblob.wasm"), &plugin).expect("a copy");
    let to = world.cache("parallelism=16");
    let mut serving = Serving::start(&world, &["--plugin", text(&plugin), "--to", &to]);
    let client = Client::new(&serving.address);
    client.push(&buildkit("local-max"), "app:one");
    serving.signal(rustix::process::Signal::HUP);
    serving.wait_for("the same as before");
    std::fs::write(&plugin, b"nonsense").expect("written");
    serving.signal(rustix::process::Signal::HUP);
    serving.wait_for("stays the one it was");
    client.push(&buildkit("local-max"), "app:two");
    world.pull(&world.path("pulled"), "name=app/two");
}

/// Runs a command within `with`, and does something while it runs.
fn with(world: &World, script: &str, meanwhile: impl FnOnce(&str)) -> crate::world::Ran {
    let (told, done) = (world.path("told"), world.path("done"));
    let script = format!(
        "echo \"$BUILD_CACHE_REGISTRY $1\" > {0}.new && mv {0}.new {0}\n\
         while [ ! -e {1} ]; do sleep 0.05; done\n{script}",
        told.display(),
        done.display()
    );
    let (spool, to) = (world.path("spool"), world.cache("parallelism=16"));
    let args = [
        "with",
        "--spool",
        text(&spool),
        "--to",
        &to,
        "--",
        "/bin/sh",
        "-c",
        &script,
    ];
    let mut command = world.command(&args);
    command
        .args(["sh", "registry={registry}"])
        .env("PATH", "/usr/bin:/bin");
    std::thread::scope(|scope| {
        let running = scope.spawn(|| world.run_command(command));
        let patience = Instant::now() + Duration::from_secs(60);
        while !told.exists() && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(20));
        }
        let told = std::fs::read_to_string(&told).expect("the command runs");
        let (variable, argument) = told.trim().split_once(' ').expect("two words");
        assert_eq!(argument, format!("registry={variable}"));
        meanwhile(variable);
        std::fs::write(done, b"").expect("a file");
        running.join().expect("an end")
    })
}

#[test]
fn a_command_runs_with_a_gateway_of_its_own() {
    let world = World::new();
    let fixture = buildkit("local-max");
    let ran = with(&world, "echo output; exit 0", |address| {
        Client::new(address).push(&fixture, "app:main");
    })
    .succeeded();
    assert!(ran.stdout.starts_with("output\n"), "{ran:?}");
    assert!(ran.stdout.contains("10 layers sent"), "{ran:?}");
    let pulled = world.path("pulled");
    world.pull(&pulled, "name=app/main");
    assert_same_cache(&pulled, &fixture);
}

#[test]
fn the_exit_code_is_the_command_s() {
    for (script, code) in [("exit 7", 7), ("kill -KILL $$", 137)] {
        let world = World::new();
        let ran = with(&world, script, |_| ());
        assert_eq!(ran.code, Some(code), "{ran:?}");
    }
    let world = World::new();
    let to = world.cache("parallelism=16");
    let ran = world.run(&["with", "--to", &to, "--", "/nowhere/command"]);
    assert_eq!(ran.code, Some(127), "{ran:?}");
    assert!(
        ran.stderr.contains("cannot run `/nowhere/command`"),
        "{ran:?}"
    );
}

#[test]
fn a_store_that_cannot_be_opened_may_be_ignored() {
    let world = World::new();
    let to = "type=azblob,account_url=nonsense://x,ignore-error=true";
    let spool = world.path("spool");
    let args = [
        "with",
        "--spool",
        text(&spool),
        "--to",
        to,
        "--",
        "/bin/sh",
        "-c",
        "exit 3",
    ];
    let ran = world.run(&args);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stderr.contains("ignore-error=true"), "{ran:?}");
}
