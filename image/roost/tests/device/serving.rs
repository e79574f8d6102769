//! `roost serve`, as a box that follows a URL sees it.

use crate::laptop::Laptop;
use std::io::{BufRead, BufReader};
use std::process::Child;

struct Serving {
    child: Child,
    url: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(laptop: &Laptop, file: &str) -> Serving {
    let args = ["serve", file, "--listen", "127.0.0.1:0", "--json"];
    let mut child = laptop.command(&args).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["event"], "listening", "{line}");
    let url = event["url"].as_str().unwrap().to_owned();
    Serving { child, url }
}

struct Got {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn ask(method: &str, url: &str, headers: &[(&str, &str)]) -> Got {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent.run(request.body(()).unwrap()).unwrap();
    Got {
        status: response.status().as_u16(),
        headers: response
            .headers()
            .iter()
            .map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned()))
            .collect(),
        body: response
            .body_mut()
            .with_config()
            .limit(1 << 30)
            .read_to_vec()
            .unwrap(),
    }
}

#[test]
fn a_bundle_is_served_whole_and_in_parts() {
    let laptop = Laptop::new();
    let bundle = laptop.bundle(15, |_| {});
    let serving = serve(&laptop, bundle.name());
    let url = serving.url.as_str();
    let length = bundle.bytes.len();

    let whole = ask("GET", url, &[]);
    assert_eq!(whole.status, 200);
    assert!(whole.body == bundle.bytes);
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    let tag = whole.header("etag").unwrap().to_owned();

    let head = ask("HEAD", url, &[("Range", "bytes=0-3")]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(
        head.header("content-length"),
        Some(length.to_string().as_str())
    );
    assert_eq!(head.header("etag"), Some(tag.as_str()));

    let part = ask(
        "GET",
        url,
        &[
            ("Range", "bytes=70000-200000"),
            ("If-Range", &tag),
            ("If-Match", &tag),
        ],
    );
    assert_eq!(part.status, 206);
    assert!(part.body == bundle.bytes[70_000..=200_000]);
    let range = format!("bytes 70000-200000/{length}");
    assert_eq!(part.header("content-range"), Some(range.as_str()));
    assert_eq!(part.header("content-length"), Some("130001"));
    let end = ask("GET", url, &[("Range", "bytes=-5")]);
    assert!(end.body == bundle.bytes[length - 5..]);

    let outside = ask("GET", url, &[("Range", &format!("bytes={length}-"))]);
    let range = format!("bytes */{length}");
    assert_eq!(
        (outside.status, outside.header("content-range")),
        (416, Some(range.as_str()))
    );

    // Parts of another bundle are not mixed with this one's.
    let other = ask(
        "GET",
        url,
        &[("Range", "bytes=0-3"), ("If-Range", "\"other\"")],
    );
    assert_eq!((other.status, other.body.len()), (200, length));
    assert_eq!(ask("GET", url, &[("If-Match", "\"other\"")]).status, 412);
    // A daily question costs nothing.
    let same = ask(
        "GET",
        url,
        &[("If-None-Match", &format!("\"other\", {tag}"))],
    );
    assert_eq!((same.status, same.body.len()), (304, 0));

    let elsewhere = url.replace("roost.bundle", "roost.toml");
    assert_eq!(ask("GET", &elsewhere, &[]).status, 404);
    assert_eq!(
        ask("GET", &url.replace("roost.bundle", "../15.bundle"), &[]).status,
        404
    );
    let post = ask("DELETE", url, &[]);
    assert_eq!(
        (post.status, post.header("allow")),
        (405, Some("GET, HEAD"))
    );
}

#[test]
fn a_replaced_bundle_is_served_and_half_a_bundle_is_not() {
    let laptop = Laptop::new();
    let old = laptop.bundle(15, |_| {});
    let serving = serve(&laptop, old.name());
    let before = ask("GET", &serving.url, &[]);
    let new = laptop.bundle(16, |_| {});
    std::fs::rename(&new.path, &old.path).unwrap();
    let after = ask("GET", &serving.url, &[]);
    assert!(after.body == new.bytes);
    assert_ne!(before.header("etag"), after.header("etag"));
    std::fs::write(&old.path, &old.bytes[..old.bytes.len() / 2]).unwrap();
    let half = ask("GET", &serving.url, &[]);
    assert_eq!((half.status, half.header("retry-after")), (503, Some("60")));
    std::fs::write(&old.path, &old.bytes).unwrap();
    assert!(ask("GET", &serving.url, &[]).body == old.bytes);
}

#[test]
fn what_cannot_be_served_is_said_at_once() {
    let laptop = Laptop::new();
    let out = laptop.command(&["serve", "roost.toml"]).output().unwrap();
    insta::assert_snapshot!("serve_no_bundle", crate::laptop::screen(&laptop, 1, &out));
    let bundle = laptop.bundle(15, |_| {});
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let out = laptop
        .command(&[
            "serve",
            bundle.name(),
            "--listen",
            &format!("127.0.0.1:{port}"),
        ])
        .output()
        .unwrap();
    insta::assert_snapshot!(
        "serve_taken_port",
        crate::laptop::screen(&laptop, port, &out)
    );
}
