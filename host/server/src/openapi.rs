//! The service's description, apart from what stands beside the handlers: who it is for, how to come in, and the answers
//! that every request may get.

use crate::error::Problem;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi as _};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Trainyard",
        description = "Trains models with algorithms that are WebAssembly plugins. Good answers are \
            `{\"code\":200,\"data\":…}`, others `{\"code\":409,\"error\":\"already-training\",\"message\":\"…\"}`."
    ),
    components(schemas(Problem)),
    modifiers(&Token),
    tags(
        (name = "models", description = "What is trained, again and again"),
        (name = "training", description = "Training a model, and stopping it"),
        (name = "runs", description = "What came of trainings, and what happens right now"),
        (name = "results", description = "Predictions, judgements, files"),
        (name = "datasets", description = "Tables: uploaded ones, and looks at any"),
        (name = "plugins", description = "Uploaded algorithms"),
        (name = "schedules", description = "Trainings at their times"),
        (name = "sweeps", description = "Many trainings over a space of parameters"),
        (name = "access", description = "Tokens, tickets and the audit log"),
        (name = "operation", description = "For whoever runs the service"),
    )
)]
struct Base;

struct Token;

impl Modify for Token {
    fn modify(&self, description: &mut OpenApi) {
        let scheme = Http::builder()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "Needed as soon as there is a token; until then, only the server's own machine is served.",
            ))
            .build();
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
        description.security = Some(vec![SecurityRequirement::new("token", Vec::<String>::new())]);
    }
}

/// The part that no handler brings.
pub fn base() -> OpenApi {
    Base::openapi()
}

/// Adds to each operation the refusals that it can get like any other of its kind.
pub fn finish(mut description: OpenApi) -> OpenApi {
    for (path, item) in &mut description.paths.paths {
        for operation in operations(item) {
            add_refusals(path, operation);
            name(path, operation);
        }
    }
    description
}

/// Names an operation by its handler and what it is about, such as `list_models_runs`: handlers of different things have
/// the same names.
fn name(path: &str, operation: &mut Operation) {
    let about = path
        .trim_start_matches("/api/v2/ai")
        .split('/')
        .filter(|part| !part.is_empty() && !part.starts_with('{'));
    let handler = operation.operation_id.take().unwrap_or_default();
    let words: Vec<&str> = std::iter::once(handler.as_str()).chain(about).collect();
    operation.operation_id = Some(words.join("_").replace(['.', '-'], "_"));
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete]
        .into_iter()
        .flatten()
}

fn add_refusals(path: &str, operation: &mut Operation) {
    const ANY: [(&str, &str); 4] = [
        ("400", "The request cannot be read: its path, query, headers or body"),
        ("414", "The URL is too long"),
        ("431", "The headers are too large or too many"),
        ("500", "A fault of the server; its log says more"),
    ];
    const NOT_PUBLIC: [(&str, &str); 4] = [
        ("401", "There is no good token"),
        (
            "403",
            "The token lacks a scope, or, while there are no tokens, the request is not from this machine",
        ),
        ("429", "Too many wrong tokens from this address"),
        (
            "503",
            "Something that the service needs cannot be used right now; try again",
        ),
    ];
    const WITH_BODY: [(&str, &str); 4] = [
        ("408", "The body stopped coming"),
        ("413", "The body is too large"),
        ("415", "The body is of another type than can be read here"),
        (
            "422",
            "The body can be read but not done; the message says what is wrong with it",
        ),
    ];
    let is_public = operation.security.is_some();
    let mut refusals = ANY.to_vec();
    if !is_public {
        refusals.extend(NOT_PUBLIC);
    }
    if path.contains('{') {
        refusals.push(("404", "There is no such thing"));
    }
    if operation.request_body.is_some() {
        refusals.extend(WITH_BODY);
    }
    let responses = &mut operation.responses.responses;
    for (status, about) in refusals {
        responses
            .entry(status.to_owned())
            .or_insert_with(|| RefOr::T(Response::new(about)));
    }
    for (status, response) in responses {
        if let RefOr::T(response) = response
            && status.as_str() >= "400"
            && response.content.is_empty()
        {
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("Error")))
                .build();
            let described = ResponseBuilder::new().description(response.description.clone());
            *response = described.content("application/json", content).build();
        }
    }
}
