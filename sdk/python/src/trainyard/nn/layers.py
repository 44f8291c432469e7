"""Layers. Parameters have PyTorch's names, layouts and initial values, drawn from the job's seed in the order of the Rust SDK."""

from __future__ import annotations

import math
from typing import Any, List, Optional, Sequence, Tuple, Union

from .. import _host
from ..tensor import Tensor, cat, ones, stack, zeros
from . import functional as F
from .init import _normal, _uniform
from .module import Module
from .parameter import Parameter

__all__ = [
    "GRU", "LSTM", "AvgPool1d", "AvgPool2d", "BatchNorm1d", "Conv1d", "Conv2d", "ConvTranspose1d", "Dropout", "ELU",
    "Embedding", "Flatten", "GELU", "Identity", "LayerNorm", "LeakyReLU", "Linear", "LogSoftmax", "MaxPool1d", "MaxPool2d",
    "MultiheadAttention", "RMSNorm", "ReLU", "SiLU", "Sigmoid", "Softmax", "Softplus", "Tanh", "Unflatten",
]  # fmt: skip


class Identity(Module):
    """Gives back what it gets."""

    def forward(self, x: Tensor) -> Tensor:
        """x"""
        return x


class Flatten(Module):
    """The dimensions from `start_dim` to `end_dim` as one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        """[batch, ..] to [batch, elements]."""
        return x.flatten(self.start_dim, self.end_dim)


class Unflatten(Module):
    """One dimension as several."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: Tensor) -> Tensor:
        """[.., product of sizes, ..] to [.., sizes, ..]."""
        return x.unflatten(self.dim, self.unflattened_size)


class Linear(Module):
    """y = x weight^T + bias. Parameters: `weight` [out, in], `bias` [out]."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        bound = 1 / math.sqrt(in_features) if in_features else 0.0
        self.weight = Parameter(_uniform((out_features, in_features), bound))
        self.bias = Parameter(_uniform((out_features,), bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """[.., in] to [.., out]."""
        return _host.nn.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class _Conv(Module):
    """What convolutions have in common."""

    _transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        _dims: int = 1,
    ) -> None:
        super().__init__()
        kernel = F._one(kernel_size)
        if padding == "same":
            if F._one(stride) != 1 or F._one(dilation) * (kernel - 1) % 2:
                raise ValueError("padding='same' needs stride 1 and an odd kernel")
            padding = F._one(dilation) * (kernel - 1) // 2
        elif padding == "valid":
            padding = 0
        self.stride, self.padding, self.dilation, self.groups = F._one(stride), F._one(padding), F._one(dilation), groups
        first, second = (in_channels, out_channels) if self._transposed else (out_channels, in_channels)
        shape = (first, second // groups) + (kernel,) * _dims
        bound = 1 / math.sqrt(shape[1] * kernel**_dims)
        self.weight = Parameter(_uniform(shape, bound))
        self.bias = Parameter(_uniform((out_channels,), bound)) if bias else None
        self._shown = f"{in_channels}, {out_channels}, kernel_size={kernel}, stride={self.stride}, padding={self.padding}"

    def extra_repr(self) -> str:
        """Sizes."""
        return self._shown


class Conv1d(_Conv):
    """Cross-correlation along one dimension. `weight` [out, in / groups, kernel], `bias` [out]."""

    def forward(self, x: Tensor) -> Tensor:
        """[batch, in, length] to [batch, out, length']."""
        return F.conv1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv2d(_Conv):
    """Cross-correlation along two dimensions. `weight` [out, in / groups, kernel, kernel], `bias` [out]."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, _dims=2)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, in, height, width] to [batch, out, height', width']."""
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class ConvTranspose1d(_Conv):
    """The transpose of `Conv1d`. `weight` [in, out / groups, kernel], `bias` [out]."""

    _transposed = True

    def __init__(self, *args: Any, output_padding: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.output_padding = output_padding

    def forward(self, x: Tensor) -> Tensor:
        """[batch, in, length] to [batch, out, length']."""
        return F.conv_transpose1d(
            x, self.weight, self.bias, self.stride, self.padding, self.output_padding, self.groups, self.dilation
        )


class _Pool(Module):
    """What pooling has in common."""

    _pool: Any = None

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride or kernel_size, padding

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, ..] to [batch, channels, ..']."""
        return type(self)._pool(x, self.kernel_size, self.stride, self.padding)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool1d(_Pool):
    """The largest element of each window along one dimension."""

    _pool = staticmethod(F.max_pool1d)


class AvgPool1d(_Pool):
    """The mean of each window along one dimension."""

    _pool = staticmethod(F.avg_pool1d)


class MaxPool2d(_Pool):
    """The largest element of each window along two dimensions."""

    _pool = staticmethod(F.max_pool2d)


class AvgPool2d(_Pool):
    """The mean of each window along two dimensions."""

    _pool = staticmethod(F.avg_pool2d)


class Embedding(Module):
    """Rows of a table. `weight` [entries, width], normal at first."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.weight = Parameter(_normal((num_embeddings, embedding_dim), 1.0))

    def forward(self, indices: Tensor) -> Tensor:
        """[..] of indices to [.., width]."""
        return _host.nn.embedding(indices, self.weight)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.num_embeddings}, {self.embedding_dim}"


class LayerNorm(Module):
    """Normalises over the last dimensions. `weight` and `bias` of their shape, one and zero at first."""

    def __init__(
        self, normalized_shape: Union[int, Sequence[int]], eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps = shape, eps
        self.weight = Parameter(ones(*shape)) if elementwise_affine else None
        self.bias = Parameter(zeros(*shape)) if elementwise_affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape that ends in the normalised one."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.normalized_shape}, eps={self.eps}"


class RMSNorm(Module):
    """Divides by the root of the mean square over the last dimension. `weight` one at first."""

    def __init__(self, normalized_shape: int, eps: Optional[float] = None, elementwise_affine: bool = True) -> None:
        super().__init__()
        self.normalized_shape, self.eps = normalized_shape, eps
        self.weight = Parameter(ones(normalized_shape)) if elementwise_affine else None

    def forward(self, x: Tensor) -> Tensor:
        """[.., width] to the same."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)


class BatchNorm1d(Module):
    """Normalises each channel over the batch. Buffers: `running_mean`, `running_var` (there is no `num_batches_tracked`)."""

    _wide_buffers = ("running_mean", "running_var")

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(ones(num_features)) if affine else None
        self.bias = Parameter(zeros(num_features)) if affine else None
        self.register_buffer("running_mean", zeros(num_features))
        self.register_buffer("running_var", ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels] or [batch, channels, length] to the same."""
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class Dropout(Module):
    """In training each element becomes zero with probability `p`."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"the probability of dropout must be from 0 to below 1, not {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """Probability."""
        return f"p={self.p}"


class _Recurrent(Module):
    """What LSTM and GRU have in common: `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, and so on for each layer."""

    _gates = 0

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        bound, rows = 1 / math.sqrt(hidden_size), self._gates * hidden_size
        self._ends = ["", "_reverse"] if bidirectional else [""]
        self._has_bias = bias
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * len(self._ends)
            for end in self._ends:
                setattr(self, f"weight_ih_l{layer}{end}", Parameter(_uniform((rows, width), bound)))
                setattr(self, f"weight_hh_l{layer}{end}", Parameter(_uniform((rows, hidden_size), bound)))
                if bias:
                    setattr(self, f"bias_ih_l{layer}{end}", Parameter(_uniform((rows,), bound)))
                    setattr(self, f"bias_hh_l{layer}{end}", Parameter(_uniform((rows,), bound)))

    def _weights(self, layer: int, end: str) -> Any:
        own = self.__dict__
        return _host.nn.LstmWeights(
            own[f"weight_ih_l{layer}{end}"],
            own[f"weight_hh_l{layer}{end}"],
            own.get(f"bias_ih_l{layer}{end}"),
            own.get(f"bias_hh_l{layer}{end}"),
        )

    def _run(self, x: Tensor, states: Optional[List[Any]], step: Any) -> Tuple[Tensor, List[Any]]:
        """Through all layers and directions; `step` is one pass: (x, state, weights) to (outputs, state)."""
        if not self.batch_first:
            x = x.transpose(0, 1)
        last = []
        for layer in range(self.num_layers):
            outputs = []
            for end in self._ends:
                state = states[len(last)] if states is not None else None
                output, state = step(x.flip(1) if end else x, state, self._weights(layer, end))
                outputs.append(output.flip(1) if end else output)
                last.append(state)
            x = outputs[0] if len(outputs) == 1 else cat(outputs, 2)
            if self.dropout and layer + 1 < self.num_layers:
                x = F.dropout(x, self.dropout, self.training)
        return (x if self.batch_first else x.transpose(0, 1)), last

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, batch_first={self.batch_first}"


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997)."""

    _gates = 4

    def forward(
        self, x: Tensor, hx: Optional[Tuple[Tensor, Tensor]] = None
    ) -> Tuple[Tensor, Tuple[Tensor, Tensor]]:
        """[batch, time, in] (or [time, batch, in] without `batch_first`) to outputs and (h, c), each [layers, batch, hidden]."""

        def step(x: Tensor, state: Any, weights: Any) -> Any:
            output, h, c = _host.nn.lstm(x, state, weights)
            return output, (h, c)

        states = None if hx is None else list(zip(hx[0].unbind(0), hx[1].unbind(0)))
        x, last = self._run(x, states, step)
        return x, (stack([h for h, _ in last]), stack([c for _, c in last]))


class GRU(_Recurrent):
    """Gated recurrent units (Cho et al. 2014)."""

    _gates = 3

    def forward(self, x: Tensor, hx: Optional[Tensor] = None) -> Tuple[Tensor, Tensor]:
        """[batch, time, in] (or [time, batch, in] without `batch_first`) to outputs and h [layers, batch, hidden]."""
        x, last = self._run(x, None if hx is None else list(hx.unbind(0)), _host.nn.gru)
        return x, stack(last)


class MultiheadAttention(Module):
    """Attention of several heads (Vaswani et al. 2017): `in_proj_weight`, `in_proj_bias`, `out_proj`."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, batch_first: bool = False) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"the width {embed_dim} cannot be shared by {num_heads} heads")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        bound = math.sqrt(6 / (4 * embed_dim))
        self.in_proj_weight = Parameter(_uniform((3 * embed_dim, embed_dim), bound))
        self.in_proj_bias = Parameter(zeros(3 * embed_dim)) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias)
        if bias:
            self.out_proj.bias.zero_()

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        need_weights: bool = True,
        attn_mask: Optional[Tensor] = None,
        is_causal: bool = False,
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """[batch, length, width] each (or [length, batch, width] without `batch_first`) to the result, and the weights averaged over
        the heads [batch, length, length] if they are wanted. The mask is added, or hides where it is of truth values."""
        if not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        weights = self.in_proj_weight.chunk(3)
        biases = self.in_proj_bias.chunk(3) if self.in_proj_bias is not None else (None,) * 3
        q, k, v = (self._heads(F.linear(x, w, b)) for x, w, b in zip((query, key, value), weights, biases))
        if attn_mask is not None and not attn_mask.is_floating_point():
            attn_mask = (attn_mask.float() * -1e9).to(query.dtype)
        shares = None
        if need_weights:
            scores = q @ k.t() / math.sqrt(self.embed_dim // self.num_heads)
            if is_causal:
                scores = scores + (ones(scores.shape[-2:]).triu(1) * -1e9).to(scores.dtype)
            if attn_mask is not None:
                scores = scores + attn_mask
            shares = scores.softmax(-1)
            result = F.dropout(shares, self.dropout, self.training) @ v
            shares = shares.mean(1)
        else:
            result = F.scaled_dot_product_attention(q, k, v, attn_mask, is_causal=is_causal)
        result = self.out_proj(result.transpose(1, 2).flatten(2))
        return (result if self.batch_first else result.transpose(0, 1)), shares

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, self.embed_dim // self.num_heads)).transpose(1, 2)


def _activation(name: str, function: Any, doc: str, **options: Any) -> Any:
    """A module of one function."""

    def __init__(self: Module, *args: Any, **kwargs: Any) -> None:
        Module.__init__(self)
        names = list(options)
        if len(args) > len(names) or set(kwargs) - set(names) - {"inplace"}:
            raise TypeError(f"{name} takes {', '.join(names) or 'no arguments'}")
        kwargs.pop("inplace", None)
        self._options = {**options, **dict(zip(names, args)), **kwargs}

    def forward(self: Module, x: Tensor) -> Tensor:
        return function(x, **self._options) if self._options else function(x)

    def extra_repr(self: Module) -> str:
        return ", ".join(f"{key}={value}" for key, value in self._options.items())

    body = {"__init__": __init__, "forward": forward, "extra_repr": extra_repr, "__doc__": doc, "__module__": __name__}
    return type(name, (Module,), body)


ReLU = _activation("ReLU", F.relu, "max(x, 0).")
SiLU = _activation("SiLU", F.silu, "x sigmoid(x).")
Sigmoid = _activation("Sigmoid", F.sigmoid, "1 / (1 + exp(-x)).")
Tanh = _activation("Tanh", F.tanh, "The hyperbolic tangent.")
Softplus = _activation("Softplus", F.softplus, "ln(1 + exp(x)).")
LeakyReLU = _activation("LeakyReLU", F.leaky_relu, "x where it is positive, else a little of it.", negative_slope=0.01)
ELU = _activation("ELU", F.elu, "x where it is positive, else alpha (exp(x) - 1).", alpha=1.0)
GELU = _activation("GELU", F.gelu, "x times the normal distribution function of x.", approximate="none")
Softmax = _activation("Softmax", F.softmax, "exp(x) / sum(exp(x)) along a dimension.", dim=-1)
LogSoftmax = _activation("LogSoftmax", F.log_softmax, "ln of Softmax.", dim=-1)


class _Loss(Module):
    """A loss as a module."""

    _function: Any = None

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._options = options

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar."""
        return type(self)._function(input, target, **self._options)


class MSELoss(_Loss):
    """The mean of (input - target)^2."""

    _function = staticmethod(F.mse_loss)


class L1Loss(_Loss):
    """The mean of |input - target|."""

    _function = staticmethod(F.l1_loss)


class HuberLoss(_Loss):
    """Quadratic up to `delta`, linear beyond."""

    _function = staticmethod(F.huber_loss)


class SmoothL1Loss(_Loss):
    """Huber's loss divided by `beta`."""

    _function = staticmethod(F.smooth_l1_loss)


class CrossEntropyLoss(_Loss):
    """Of logits [batch, classes] and class indices [batch]."""

    _function = staticmethod(F.cross_entropy)


class NLLLoss(_Loss):
    """Of log-probabilities [batch, classes] and class indices [batch]."""

    _function = staticmethod(F.nll_loss)


class BCELoss(_Loss):
    """Of probabilities, and targets from 0 to 1."""

    _function = staticmethod(F.binary_cross_entropy)


class BCEWithLogitsLoss(_Loss):
    """Of logits, and targets from 0 to 1."""

    _function = staticmethod(F.binary_cross_entropy_with_logits)


__all__ += [
    "BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "HuberLoss", "L1Loss", "MSELoss", "NLLLoss", "SmoothL1Loss",
]  # fmt: skip
