//! The interface `tensor`.

use crate::bindings::trainyard::plugin::tensor::{Host as Functions, HostTensor};
use crate::bindings::trainyard::plugin::types::Dtype;
use crate::host::convert::{dtype, dtype_to_wit, sizes, sizes_to_wit, to_wit};
use crate::host::{Answer, Host};
use trainyard_kernels::Tensor;
use wasmtime::component::Resource;

type Handle = Resource<Tensor>;

/// Operations on one tensor.
macro_rules! unary {
    ($($name:ident $operation:literal)*) => {
        $(fn $name(&mut self, x: Handle) -> Answer<Handle> {
            self.begin()?;
            let result = self.tensor(&x)?.$name();
            self.keep($operation, result)
        })*
    };
}

/// Operations on two tensors.
macro_rules! binary {
    ($($name:ident $operation:literal)*) => {
        $(fn $name(&mut self, x: Handle, other: Handle) -> Answer<Handle> {
            self.begin()?;
            let result = self.tensor(&x)?.$name(self.tensor(&other)?);
            self.keep($operation, result)
        })*
    };
}

/// Operations on one tensor that take plain values, each passed on as the expression says.
macro_rules! with_values {
    ($($name:ident($($arg:ident: $ty:ty => $pass:expr),*) $operation:literal)*) => {
        $(fn $name(&mut self, x: Handle, $($arg: $ty),*) -> Answer<Handle> {
            self.begin()?;
            let result = self.tensor(&x)?.$name($($pass),*);
            self.keep($operation, result)
        })*
    };
}

/// Makers of tensors.
macro_rules! makers {
    ($($name:ident($($arg:ident: $ty:ty => $pass:expr),*) $operation:literal)*) => {
        $(fn $name(&mut self, $($arg: $ty),*) -> Answer<Handle> {
            self.begin()?;
            let result = Tensor::$name(&self.session, $($pass),*);
            self.keep($operation, result)
        })*
    };
}

/// Elements read back, so many bytes each.
macro_rules! readers {
    ($($name:ident -> $element:ty, $operation:literal)*) => {
        $(fn $name(&mut self, x: Handle) -> Answer<Vec<$element>> {
            self.begin_as($operation)?;
            let tensor = self.tensor(&x)?;
            self.check_message($operation, tensor.count(), size_of::<$element>())?;
            tensor.$name().map_err(to_wit)
        })*
    };
}

impl HostTensor for Host {
    makers! {
        from_f32(values: Vec<f32> => values, shape: Vec<u32> => &sizes(&shape)) "tensor.from-f32"
        from_f64(values: Vec<f64> => values, shape: Vec<u32> => &sizes(&shape)) "tensor.from-f64"
        from_u32(values: Vec<u32> => values, shape: Vec<u32> => &sizes(&shape)) "tensor.from-u32"
        full(shape: Vec<u32> => &sizes(&shape), value: f64 => value, ty: Dtype => dtype(ty)) "tensor.full"
        arange(start: f64 => start, end: f64 => end, step: f64 => step, ty: Dtype => dtype(ty)) "tensor.arange"
        eye(size: u32 => size as usize, ty: Dtype => dtype(ty)) "tensor.eye"
        random_uniform(shape: Vec<u32> => &sizes(&shape), low: f64 => low, high: f64 => high, ty: Dtype => dtype(ty)) "tensor.random-uniform"
        random_normal(shape: Vec<u32> => &sizes(&shape), mean: f64 => mean, std: f64 => std, ty: Dtype => dtype(ty)) "tensor.random-normal"
        random_permutation(size: u32 => size as usize) "tensor.random-permutation"
    }

    fn shape(&mut self, x: Handle) -> Vec<u32> {
        self.tensors
            .get(&x)
            .map(|tensor| sizes_to_wit(tensor.shape()))
            .unwrap_or_default()
    }

    fn dtype(&mut self, x: Handle) -> Dtype {
        self.tensors
            .get(&x)
            .map_or(Dtype::F32, |tensor| dtype_to_wit(tensor.dtype()))
    }

    fn item(&mut self, x: Handle) -> Answer<f64> {
        self.begin_as("tensor.item")?;
        self.tensor(&x)?.item().map_err(to_wit)
    }

    readers! {
        to_f32 -> f32, "tensor.to-f32"
        to_f64 -> f64, "tensor.to-f64"
        to_u32 -> u32, "tensor.to-u32"
    }

    fn to_bytes(&mut self, x: Handle) -> Answer<Vec<u8>> {
        self.begin()?;
        let tensor = self.tensor(&x)?;
        self.check_message("tensor.to-bytes", tensor.count(), tensor.dtype().size())?;
        tensor.to_bytes().map_err(to_wit)
    }

    binary! {
        add "tensor.add"
        sub "tensor.sub"
        mul "tensor.mul"
        div "tensor.div"
        pow "tensor.pow"
        maximum "tensor.maximum"
        minimum "tensor.minimum"
        eq "tensor.eq"
        ne "tensor.ne"
        lt "tensor.lt"
        le "tensor.le"
        gt "tensor.gt"
        ge "tensor.ge"
        logical_and "tensor.logical-and"
        logical_or "tensor.logical-or"
        matmul "tensor.matmul"
    }

    unary! {
        neg "tensor.neg"
        abs "tensor.abs"
        sign "tensor.sign"
        floor "tensor.floor"
        ceil "tensor.ceil"
        round "tensor.round"
        exp "tensor.exp"
        log "tensor.log"
        log1p "tensor.log1p"
        expm1 "tensor.expm1"
        sqrt "tensor.sqrt"
        rsqrt "tensor.rsqrt"
        square "tensor.square"
        reciprocal "tensor.reciprocal"
        sin "tensor.sin"
        cos "tensor.cos"
        tanh "tensor.tanh"
        sigmoid "tensor.sigmoid"
        erf "tensor.erf"
        logical_not "tensor.logical-not"
        is_finite "tensor.is-finite"
        detach "tensor.detach"
        copy "tensor.copy"
    }

    with_values! {
        add_scalar(value: f64 => value) "tensor.add-scalar"
        mul_scalar(value: f64 => value) "tensor.mul-scalar"
        pow_scalar(exponent: f64 => exponent) "tensor.pow-scalar"
        clamp(low: Option<f64> => low, high: Option<f64> => high) "tensor.clamp"
        sum(dims: Vec<i32> => &dims, keep: bool => keep) "tensor.sum"
        mean(dims: Vec<i32> => &dims, keep: bool => keep) "tensor.mean"
        variance(dims: Vec<i32> => &dims, correction: f64 => correction, keep: bool => keep) "tensor.variance"
        max(dims: Vec<i32> => &dims, keep: bool => keep) "tensor.max"
        min(dims: Vec<i32> => &dims, keep: bool => keep) "tensor.min"
        argmax(dim: i32 => dim, keep: bool => keep) "tensor.argmax"
        argmin(dim: i32 => dim, keep: bool => keep) "tensor.argmin"
        logsumexp(dims: Vec<i32> => &dims, keep: bool => keep) "tensor.logsumexp"
        cumsum(dim: i32 => dim) "tensor.cumsum"
        reshape(shape: Vec<i32> => &shape) "tensor.reshape"
        transpose(first: i32 => first, second: i32 => second) "tensor.transpose"
        permute(dims: Vec<i32> => &dims) "tensor.permute"
        squeeze(dim: i32 => dim) "tensor.squeeze"
        unsqueeze(dim: i32 => dim) "tensor.unsqueeze"
        broadcast_to(shape: Vec<u32> => &sizes(&shape)) "tensor.broadcast-to"
        narrow(dim: i32 => dim, start: u32 => start as usize, length: u32 => length as usize) "tensor.narrow"
        slice(dim: i32 => dim, start: u32 => start as usize, end: u32 => end as usize, step: u32 => step as usize) "tensor.slice"
        flip(dims: Vec<i32> => &dims) "tensor.flip"
        pad(dim: i32 => dim, before: u32 => before as usize, after: u32 => after as usize, value: f64 => value) "tensor.pad"
        pad_edge(dim: i32 => dim, before: u32 => before as usize, after: u32 => after as usize) "tensor.pad-edge"
        repeat(dim: i32 => dim, times: u32 => times as usize) "tensor.repeat"
        unfold(dim: i32 => dim, size: u32 => size as usize, step: u32 => step as usize) "tensor.unfold"
        tril(diagonal: i32 => diagonal) "tensor.tril"
        triu(diagonal: i32 => diagonal) "tensor.triu"
        cast(ty: Dtype => dtype(ty)) "tensor.cast"
    }

    fn where_(&mut self, x: Handle, on_true: Handle, on_false: Handle) -> Answer<Handle> {
        self.begin()?;
        let result = self.tensor(&x)?.where_(self.tensor(&on_true)?, self.tensor(&on_false)?);
        self.keep("tensor.where", result)
    }

    fn sort(&mut self, x: Handle, dim: i32, descending: bool) -> Answer<(Handle, Handle)> {
        self.begin()?;
        let (values, places) = self.tensor(&x)?.sort(dim, descending).map_err(to_wit)?;
        self.keep_two("tensor.sort", values, places)
    }

    fn index_select(&mut self, x: Handle, dim: i32, indices: Handle) -> Answer<Handle> {
        self.begin()?;
        let result = self.tensor(&x)?.index_select(dim, self.tensor(&indices)?);
        self.keep("tensor.index-select", result)
    }

    fn gather(&mut self, x: Handle, dim: i32, indices: Handle) -> Answer<Handle> {
        self.begin()?;
        let result = self.tensor(&x)?.gather(dim, self.tensor(&indices)?);
        self.keep("tensor.gather", result)
    }

    fn scatter_add(&mut self, x: Handle, dim: i32, indices: Handle, source: Handle) -> Answer<Handle> {
        self.begin()?;
        let result = self
            .tensor(&x)?
            .scatter_add(dim, self.tensor(&indices)?, self.tensor(&source)?);
        self.keep("tensor.scatter-add", result)
    }

    fn assign(&mut self, x: Handle, source: Handle) -> Answer<()> {
        self.begin_as("tensor.assign")?;
        self.tensor(&x)?.assign(self.tensor(&source)?).map_err(to_wit)
    }

    fn drop(&mut self, x: Handle) -> wasmtime::Result<()> {
        self.tensors.remove(&x);
        Ok(())
    }
}

impl Functions for Host {
    fn concat(&mut self, tensors: Vec<Handle>, dim: i32) -> Answer<Handle> {
        self.begin()?;
        let result = Tensor::concat(&self.all(&tensors)?, dim);
        self.keep("tensor.concat", result)
    }

    fn stack(&mut self, tensors: Vec<Handle>, dim: i32) -> Answer<Handle> {
        self.begin()?;
        let result = Tensor::stack(&self.all(&tensors)?, dim);
        self.keep("tensor.stack", result)
    }
}

impl Host {
    /// Gives the plugin handles of two results, or of neither.
    pub(crate) fn keep_two(
        &mut self,
        operation: &'static str,
        first: Tensor,
        second: Tensor,
    ) -> Answer<(Handle, Handle)> {
        let first = self.keep(operation, Ok(first))?;
        match self.keep(operation, Ok(second)) {
            Ok(second) => Ok((first, second)),
            Err(error) => {
                self.tensors.remove(&first);
                Err(error)
            }
        }
    }

    /// Gives the plugin handles of three results, or of none.
    pub(crate) fn keep_three(
        &mut self,
        operation: &'static str,
        (first, second, third): (Tensor, Tensor, Tensor),
    ) -> Answer<(Handle, Handle, Handle)> {
        let (first, second) = self.keep_two(operation, first, second)?;
        match self.keep(operation, Ok(third)) {
            Ok(third) => Ok((first, second, third)),
            Err(error) => {
                self.tensors.remove(&first);
                self.tensors.remove(&second);
                Err(error)
            }
        }
    }
}
