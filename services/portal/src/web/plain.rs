//! Port 80: leads to the same page over TLS.

use super::guard::address_or_localhost;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, LOCATION};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};

/// Answers a request on port 80. `is_own` tells whether a name is the box's; who asks for
/// another is led to `name`, the box's own.
pub fn redirect(
    request: &Request<Body>,
    name: &str,
    https_port: u16,
    is_own: impl Fn(&str) -> bool,
) -> Response<Body> {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.map(str::to_ascii_lowercase).unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => &host,
    };
    let host = if address_or_localhost(host) || is_own(host) {
        host.to_owned()
    } else {
        format!("{name}.local")
    };
    let port = match https_port {
        443 => String::new(),
        port => format!(":{port}"),
    };
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let to = HeaderValue::from_str(&format!("https://{host}{port}{path}"));
    let mut answer = Response::new(Body::from("This page is at https://.\n"));
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    match to {
        // A form that was sent in clear is not to be sent on as if nothing had happened.
        Ok(to) if matches!(*request.method(), Method::GET | Method::HEAD) => {
            headers.insert(LOCATION, to);
            // For this time: a browser that kept it could not reach what comes here one day.
            *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        }
        _ => *answer.status_mut() = StatusCode::FORBIDDEN,
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(host: &str, path: &str) -> String {
        let request = Request::builder().uri(path).header(HOST, host);
        let request = request.body(Body::empty()).unwrap();
        let answer = redirect(&request, "roost", 443, |name| name == "roost.local");
        answer.headers()[LOCATION].to_str().unwrap().to_owned()
    }

    #[test]
    fn it_leads_to_the_same_page_of_the_box_and_to_no_other_host() {
        assert_eq!(
            to("roost.local", "/pair?a=b"),
            "https://roost.local/pair?a=b"
        );
        assert_eq!(to("Roost.Local:80", "/"), "https://roost.local/");
        assert_eq!(to("192.168.1.5", "/"), "https://192.168.1.5/");
        assert_eq!(to("[2001:db8::5]:80", "/"), "https://[2001:db8::5]/");
        assert_eq!(to("evil.example", "/pair"), "https://roost.local/pair");
        assert_eq!(to("a@evil.example/", "/"), "https://roost.local/");
    }

    #[test]
    fn a_form_is_not_sent_on() {
        let request = Request::post("/sign-in").header(HOST, "roost.local");
        let request = request.body(Body::empty()).unwrap();
        let answer = redirect(&request, "roost", 443, |_| true);
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    }
}
