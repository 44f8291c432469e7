//! What wasmtime makes of `wit/`: a trait for every interface that a plugin imports, and a type for what it exports.

#![allow(missing_docs, clippy::all)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "plugin",
    with: {
        "trainyard:plugin/tensor.tensor": trainyard_kernels::Tensor,
        "trainyard:plugin/optim.optimizer": trainyard_kernels::optim::Optimizer,
        "trainyard:plugin/dataset.batches": crate::host::dataset::Batches,
    },
    include_component_type: true,
});
