//! The web page: its files as they were built into the program.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use trainyard_console::File;

use crate::error::ApiError;
use crate::extract::NoQuery;

/// Where the files are that the page asks for.
pub const FILES: &str = "/assets/";

/// The page asks nobody but this server for anything, has no script or style but its own files, and stands in no frame. Small pictures of
/// the component library are in its style sheets.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Gives the page to watch and steer trainings with.
#[utoipa::path(get, path = "/", tag = "operation", security(()),
    responses((status = 200, description = "A page", body = String, content_type = "text/html")))]
pub async fn page(_: NoQuery, headers: HeaderMap) -> Response {
    answer(trainyard_console::index(), &headers)
}

/// Gives one of the page's files.
pub async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    match trainyard_console::file(&format!("assets/{name}")) {
        Some(file) => Ok(answer(file, &headers)),
        None => Err(ApiError::not_found("file", &name).remedy("load the page again: the server may be a newer one")),
    }
}

fn answer(file: &'static File, headers: &HeaderMap) -> Response {
    let packed = !file.gzip.is_empty() && takes_gzip(headers);
    let content = if packed { file.gzip } else { file.content };
    let mut response = Response::new(Body::from(content));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type()));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let cache = match file.is_lasting() {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if packed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Whether a client says that it can unpack gzip.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let given = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut wanted = given
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    wanted.any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        (name.eq_ignore_ascii_case("gzip") || name == "*") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_those_who_take_it() {
        let takes = |value: &'static str| {
            takes_gzip(&HeaderMap::from_iter([(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static(value),
            )]))
        };
        for good in ["gzip", "deflate, gzip, br", "br;q=1.0, GZIP;q=0.8", "*"] {
            assert!(takes(good), "{good}");
        }
        for bad in ["", "br", "gzip;q=0", "identity", "gzipped"] {
            assert!(!takes(bad), "{bad}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
