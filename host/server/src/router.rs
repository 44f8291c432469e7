//! Every route there is. Paths, parameters and answers are described beside each handler; `openapi` is made of the same.

use crate::app::App;
use crate::{
    access, console, datasets, files, gate, idempotency, live, logs, models, openapi, operation, plugins, predicting,
    report, runs, schedules, sweeps, training, trying, workers,
};
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Where everything of the service is, as in the original.
const BASE: &str = "/api/v2/ai";

/// The routes, and what each request on them passes.
pub fn build(app: Arc<App>) -> Router {
    let once = once().layer(from_fn_with_state(app.clone(), idempotency::json));
    let soon = once.merge(soon()).layer(from_fn_with_state(app.clone(), gate::soon));
    let (router, _) = beside().nest(BASE, soon.merge(long())).split_for_parts();
    // Its files are of no use to anyone but the page, and are not described.
    let router = router.route(&format!("{}{{name}}", console::FILES), get(console::file));
    router
        .fallback(gate::no_route)
        .method_not_allowed_fallback(gate::no_method)
        .layer(from_fn_with_state(app.clone(), gate::pass))
        .with_state(app)
}

/// The description of every route.
pub fn describe() -> utoipa::openapi::OpenApi {
    let service = once().merge(soon()).merge(long());
    let whole = OpenApiRouter::with_openapi(openapi::base())
        .merge(beside())
        .nest(BASE, service);
    openapi::finish(whole.into_openapi())
}

/// Done once, even when asked twice.
fn once() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(models::create))
        .routes(routes!(training::train))
        .routes(routes!(schedules::create))
        .routes(routes!(sweeps::create))
}

/// Answered soon, or not at all.
fn soon() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(models::list))
        .routes(routes!(models::read, models::update, models::delete))
        .routes(routes!(training::stop))
        .routes(routes!(runs::list))
        .routes(routes!(runs::read))
        .routes(routes!(runs::series))
        .routes(routes!(report::read))
        .routes(routes!(logs::read))
        .routes(routes!(files::download))
        .routes(routes!(plugins::list))
        .routes(routes!(plugins::read))
        .routes(routes!(plugins::versions))
        .routes(routes!(plugins::version, plugins::delete))
        .routes(routes!(plugins::parameters))
        .routes(routes!(plugins::file))
        .routes(routes!(datasets::list))
        .routes(routes!(datasets::read, datasets::delete))
        .routes(routes!(datasets::preview))
        .routes(routes!(schedules::list))
        .routes(routes!(schedules::read, schedules::update, schedules::delete))
        .routes(routes!(sweeps::of_model))
        .routes(routes!(sweeps::list))
        .routes(routes!(sweeps::read))
        .routes(routes!(sweeps::trials))
        .routes(routes!(sweeps::stop))
        .routes(routes!(sweeps::adopt))
        .routes(routes!(workers::list))
        .routes(routes!(workers::queues))
        .routes(routes!(workers::dead_letters))
        .routes(routes!(workers::replay))
        .routes(routes!(workers::discard))
        .routes(routes!(access::list, access::create))
        .routes(routes!(access::revoke))
        .routes(routes!(access::ticket))
        .routes(routes!(access::audit))
}

/// These take as long as they take, each with limits of its own.
fn long() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(plugins::upload))
        .routes(routes!(plugins::check))
        .routes(routes!(trying::attempt))
        .routes(routes!(datasets::upload))
        .routes(routes!(datasets::look))
        .routes(routes!(predicting::predict))
        .routes(routes!(predicting::evaluate))
        .routes(routes!(live::stream))
}

/// Beside the service itself: for people, and for whoever runs it.
fn beside() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(console::page))
        .routes(routes!(operation::docs))
        .routes(routes!(operation::docs_script))
        .routes(routes!(operation::docs_style))
        .routes(routes!(operation::openapi))
        .routes(routes!(operation::alive))
        .routes(routes!(operation::ready))
        .routes(routes!(operation::metrics))
}
