"""Functions of networks, as in `torch.nn.functional`. Weights are laid out as in PyTorch."""

from __future__ import annotations

from typing import Any, Optional, Tuple, Union

from .. import _host
from ..errors import DTypeError
from ..tensor import Tensor, _promoted, bfloat16, float16

__all__ = [
    "avg_pool1d", "avg_pool2d", "batch_norm", "binary_cross_entropy", "binary_cross_entropy_with_logits", "conv1d", "conv2d",
    "conv_transpose1d", "cross_entropy", "dropout", "elu", "embedding", "gelu", "huber_loss", "l1_loss", "layer_norm",
    "leaky_relu", "linear", "log_softmax", "max_pool1d", "max_pool2d", "mse_loss", "nll_loss", "one_hot", "pad",
    "quantile_loss", "relu", "rms_norm", "scaled_dot_product_attention", "sigmoid", "silu", "smooth_l1_loss", "softmax",
    "softplus", "tanh",
]  # fmt: skip

_nn = _host.nn
linear = _nn.linear
relu = _nn.relu
silu = _nn.silu
embedding = _nn.embedding

if not _host.IN_HOST:
    # What editors and documentation see.
    def linear(x: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:  # noqa: F811
        """x [.., in] times the transpose of weight [out, in], plus bias [out]."""
        raise RuntimeError("there is no host here")

    def relu(x: Tensor) -> Tensor:  # noqa: F811
        """max(x, 0)."""
        raise RuntimeError("there is no host here")

    def silu(x: Tensor) -> Tensor:  # noqa: F811
        """x sigmoid(x)."""
        raise RuntimeError("there is no host here")

    def embedding(indices: Tensor, weight: Tensor) -> Tensor:  # noqa: F811
        """Rows of weight [entries, width] by indices of any shape."""
        raise RuntimeError("there is no host here")
else:
    linear.__defaults__ = (None,)


def _one(value: Any) -> int:
    """One number for all directions: the host's kernels are square."""
    if isinstance(value, int):
        return value
    sizes = {int(size) for size in value}
    if len(sizes) != 1:
        raise ValueError(f"{tuple(value)}: the same size in all directions is needed")
    return sizes.pop()


def _options(stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    return _nn.ConvOptions(_one(stride), _one(padding), _one(dilation), groups)


def conv1d(
    x: Tensor, weight: Tensor, bias: Optional[Tensor] = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Tensor:
    """x [batch, in, length], weight [out, in / groups, kernel], bias [out]."""
    return _nn.conv1d(x, weight, bias, _options(stride, padding, dilation, groups))


def conv2d(
    x: Tensor, weight: Tensor, bias: Optional[Tensor] = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Tensor:
    """x [batch, in, height, width], weight [out, in / groups, kernel, kernel], bias [out]."""
    return _nn.conv2d(x, weight, bias, _options(stride, padding, dilation, groups))


def conv_transpose1d(
    x: Tensor,
    weight: Tensor,
    bias: Optional[Tensor] = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: int = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """x [batch, in, length], weight [in, out / groups, kernel], bias [out]."""
    return _nn.conv_transpose1d(x, weight, bias, _options(stride, padding, dilation, groups), output_padding)


def max_pool1d(x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Tensor:
    """Over the last dimension of x [batch, channels, length]."""
    return _nn.max_pool1d(x, _one(kernel_size), _one(stride or kernel_size), _one(padding))


def avg_pool1d(x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Tensor:
    """Over the last dimension of x [batch, channels, length]; padding counts as zeros."""
    return _nn.avg_pool1d(x, _one(kernel_size), _one(stride or kernel_size), _one(padding))


def max_pool2d(x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Tensor:
    """Over the last two dimensions of x [batch, channels, height, width]."""
    return _nn.max_pool2d(x, _one(kernel_size), _one(stride or kernel_size), _one(padding))


def avg_pool2d(x: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Tensor:
    """Over the last two dimensions of x [batch, channels, height, width]; padding counts as zeros."""
    return _nn.avg_pool2d(x, _one(kernel_size), _one(stride or kernel_size), _one(padding))


def layer_norm(
    x: Tensor, normalized_shape: Any, weight: Optional[Tensor] = None, bias: Optional[Tensor] = None, eps: float = 1e-5
) -> Tensor:
    """Normalises over the last dimension, which `normalized_shape` must be."""
    shape = [normalized_shape] if isinstance(normalized_shape, int) else list(normalized_shape)
    if len(shape) == 1:
        return _nn.layer_norm(x, weight, bias, float(eps))
    whole = x.shape
    flat = x.flatten(-len(shape))
    parts = [part.flatten() if part is not None else None for part in (weight, bias)]
    return _nn.layer_norm(flat, *parts, float(eps)).reshape(whole)


def rms_norm(x: Tensor, normalized_shape: Any, weight: Optional[Tensor] = None, eps: Optional[float] = None) -> Tensor:
    """Divides by the root of the mean square over the last dimension."""
    return _nn.rms_norm(x, weight, float(1.1920929e-07 if eps is None else eps))


def batch_norm(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Optional[Tensor] = None,
    bias: Optional[Tensor] = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Over every dimension but the second of x [batch, channels, ..]. In training the running statistics change in place."""
    return _nn.batch_norm(x, weight, bias, running_mean, running_var, training, float(momentum), float(eps))


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Each element becomes zero with probability `p`, the others grow by 1 / (1 - p)."""
    return _nn.dropout(x, float(p)) if training and p > 0 else x


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where it is positive, else `negative_slope` x."""
    return _nn.leaky_relu(x, float(negative_slope))


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where it is positive, else alpha (exp(x) - 1)."""
    return _nn.elu(x, float(alpha))


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """x times the normal distribution function of x; `tanh` approximates it."""
    return _nn.gelu_tanh(x) if approximate == "tanh" else _nn.gelu(x)


def softplus(x: Tensor) -> Tensor:
    """ln(1 + exp(x))."""
    return _nn.softplus(x)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return x.sigmoid()


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return x.tanh()


def softmax(x: Tensor, dim: int) -> Tensor:
    """exp(x) / sum(exp(x)) along a dimension."""
    return _nn.softmax(x, dim)


def log_softmax(x: Tensor, dim: int) -> Tensor:
    """ln of `softmax`."""
    return _nn.log_softmax(x, dim)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Optional[Tensor] = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: Optional[float] = None,
) -> Tensor:
    """softmax(query key^T scale + mask) value over [.., length, width]. The mask is added."""
    if dropout_p:
        raise NotImplementedError("attention has no dropout of its own here: drop its result")
    return _nn.attention(query, key, value, attn_mask, is_causal, None if scale is None else float(scale))


def pad(x: Tensor, pad: Any, mode: str = "constant", value: float = 0.0) -> Tensor:
    """Before and after, for the last dimensions, the very last first; `replicate` repeats the edge."""
    for at in range(0, len(pad), 2):
        dim, before, after = -1 - at // 2, int(pad[at]), int(pad[at + 1])
        if mode == "replicate":
            x = _host.tensor.Tensor.pad_edge(x, dim, before, after)
        elif mode == "constant":
            x = _host.tensor.Tensor.pad(x, dim, before, after, float(value))
        else:
            raise NotImplementedError(f"padding by {mode!r}: use constant or replicate")
    return x


def one_hot(x: Tensor, num_classes: int) -> Tensor:
    """[..] of class indices to [.., num_classes] of 0 and 1, `float32`."""
    from ..tensor import eye

    return embedding(x, eye(num_classes))


# Losses: the mean over all elements, unless `reduction` says otherwise. Both operands become of the wider type of the two.


def _wide(input: Tensor) -> Tensor:
    """As autocast has it: a loss of `float16` or `bfloat16` would be rounded, and loss scaling could make it infinite."""
    return input.float() if input.dtype in (float16, bfloat16) else input


def _loss(operation: Any, input: Tensor, target: Tensor, *numbers: float) -> Tensor:
    try:
        return operation(input, target, *numbers)
    except DTypeError:
        return _promoted(lambda x, y: operation(x, y, *numbers), input, target)


def _reduced(each: Any, x: Tensor, reduction: str, whole: Any) -> Tensor:
    if reduction == "mean":
        return whole()
    if reduction not in ("sum", "none"):
        raise ValueError(f"reduction {reduction!r}: use mean, sum or none")
    loss = each()
    return loss.sum() if reduction == "sum" else loss


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(input - target)^2."""
    if reduction == "mean":
        return _loss(_nn.mse_loss, input, target)
    return _reduced(lambda: (input - target).square(), input, reduction, None)


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """|input - target|."""
    return _reduced(lambda: (input - target).abs(), input, reduction, lambda: _loss(_nn.l1_loss, input, target))


def huber_loss(input: Tensor, target: Tensor, delta: float = 1.0) -> Tensor:
    """Quadratic up to `delta`, linear beyond."""
    return _loss(_nn.huber_loss, input, target, float(delta))


def smooth_l1_loss(input: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """`huber_loss` divided by `beta`."""
    return _loss(_nn.huber_loss, input, target, float(beta)) / beta


def quantile_loss(input: Tensor, target: Tensor, quantile: float) -> Tensor:
    """The pinball loss of a quantile in (0, 1)."""
    return _loss(_nn.quantile_loss, input, target, float(quantile))


def cross_entropy(input: Tensor, target: Tensor, reduction: str = "mean", label_smoothing: float = 0.0) -> Tensor:
    """input [batch, classes] of logits, target [batch] of class indices. Of a short type it is computed in `float32`."""
    if reduction != "mean" and label_smoothing:
        raise NotImplementedError("label_smoothing goes with reduction='mean' alone")
    input = _wide(input)
    return _reduced(
        lambda: -_nn.log_softmax(input, 1).gather(1, target.unsqueeze(1)).squeeze(1),
        input,
        reduction,
        lambda: _nn.cross_entropy(input, target, float(label_smoothing)),
    )


def nll_loss(input: Tensor, target: Tensor) -> Tensor:
    """As `cross_entropy`, of log-probabilities."""
    return _nn.nll_loss(_wide(input), target)


def binary_cross_entropy_with_logits(input: Tensor, target: Tensor) -> Tensor:
    """Targets from 0 to 1."""
    return _loss(_nn.binary_cross_entropy_with_logits, input, target)


def binary_cross_entropy(input: Tensor, target: Tensor) -> Tensor:
    """Of probabilities; logarithms are at least -100, as PyTorch's. Of a short type it is computed in `float32`."""
    input = _wide(input)
    losses = target * input.log().clamp(min=-100) + (1 - target) * (1 - input).log().clamp(min=-100)
    return -losses.mean()


Recurrent = Union[Tensor, Tuple[Tensor, Tensor]]
