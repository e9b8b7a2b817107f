//! The API's own description, made of the handlers themselves, and served.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use utoipa::OpenApi;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{
    ContentBuilder, OpenApi as Document, Ref, RefOr, ResponseBuilder, path::PathItem,
};

/// What no handler says.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Esker",
        description = "Topics, records, consumer groups: the same log as over Kafka's protocol.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(crate::problem::Document, crate::v3::V3Error)),
    tags(
        (name = "topics"), (name = "records"), (name = "groups"),
        (name = "confluent v3", description = "Confluent's REST API, for existing producers"),
    )
)]
pub(crate) struct Described;

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let slots = [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.patch,
    ];
    slots.into_iter().filter_map(Option::as_mut)
}

/// Adds to every operation what all have in common: how errors are told.
pub(crate) fn finished(mut document: Document) -> Document {
    for (path, item) in &mut document.paths.paths {
        let (kind, schema) = match path.starts_with("/api/") {
            true => ("application/problem+json", "Problem"),
            false => ("application/json", "V3Error"),
        };
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(schema)))
            .build();
        let response = ResponseBuilder::new()
            .description("It was not done, or not all of it, or nobody knows")
            .content(kind, content)
            .build();
        for operation in operations(item) {
            let responses = &mut operation.responses.responses;
            responses.insert("default".to_owned(), RefOr::T(response.clone()));
        }
    }
    document
}

/// The document.
#[derive(Clone, Debug)]
pub(crate) struct Served(pub(crate) Arc<String>);

pub(crate) async fn serve(State(served): State<Served>) -> Response {
    let head = [(axum::http::header::CONTENT_TYPE, "application/json")];
    (head, served.0.as_str().to_owned()).into_response()
}
