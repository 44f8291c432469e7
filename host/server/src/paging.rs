//! Lists that come in pages: how many at once, and the cursor to the next.

use crate::error::ApiError;
use std::str::FromStr;
use trainyard_parameters::quoted;

/// The items of a page when the request does not say.
const USUAL: u32 = 50;
/// The items of a page at most.
const MOST: u32 = 200;

/// The size of a page.
pub fn limit(given: Option<u32>) -> Result<u32, ApiError> {
    within("limit", given.unwrap_or(USUAL), 1, MOST)
}

/// A number of the query within its bounds.
pub fn within(name: &'static str, value: u32, least: u32, most: u32) -> Result<u32, ApiError> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(ApiError::bad_request(
        "bad-query",
        format!("the query: {name} is {value}; it goes from {least} to {most}"),
    ))
}

/// A cursor that is a number.
pub fn cursor<T: FromStr>(given: Option<&str>) -> Result<Option<T>, ApiError> {
    given
        .map(|text| {
            text.parse().map_err(|_| {
                ApiError::bad_request("bad-query", format!("the query: {} is no cursor", quoted(text)))
                    .remedy("use the `next` of an earlier page as it is")
            })
        })
        .transpose()
}
