"""Tensors: arrays of numbers that live in the host, on the job's device. Names, defaults and shapes are PyTorch's."""

from __future__ import annotations

import array
import functools
import math
import operator
from types import FunctionType, SimpleNamespace
from typing import Any, Callable, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

from . import _host
from .errors import DTypeError, from_host

__all__ = [
    "Size", "Tensor", "abs", "allclose", "arange", "argmax", "argmin", "as_tensor", "bfloat16", "bool_", "cat", "ceil",
    "chunk", "clamp", "concat", "cos", "cumsum", "double", "einsum", "empty", "enable_grad", "erf", "exp", "expm1", "eye",
    "flatten", "float16", "float32", "float64", "floor", "full", "full_like", "half", "int64", "is_grad_enabled",
    "is_tensor", "isfinite", "isinf", "isnan", "linspace", "log", "log1p", "log_softmax", "logsumexp", "long",
    "manual_seed", "matmul", "maximum", "mean", "minimum", "no_grad", "ones", "ones_like", "outer", "rand", "rand_like",
    "randint", "randn", "randn_like", "randperm", "relu", "round", "rsqrt", "set_grad_enabled", "sigmoid", "sign", "sin",
    "softmax", "sort", "split", "sqrt", "square", "squeeze", "stack", "std", "sum", "tanh", "tensor", "topk", "transpose",
    "tril", "triu", "uint32", "uint8", "unsqueeze", "var", "where", "zeros", "zeros_like",
]  # fmt: skip

_T = _host.types.Dtype
float16, bfloat16, float32, float64 = _T.F16, _T.BF16, _T.F32, _T.F64
uint8, uint32, int64 = _T.U8, _T.U32, _T.I64
half, double, long, bool_ = float16, float64, int64, uint8

_sum, _max, _min, _all, _type, _bool, _float, _magnitude = sum, max, min, all, type, bool, float, abs
_PYTHON = {int: int64, float: float32, bool: uint8}

_index = operator.index


def _raise_own_errors() -> None:
    """Makes the methods of the host's class raise this package's exceptions where the generated code has `raise result`. The engine
    does so for the other bindings, but it comes too late for this class, whose methods are others by then."""
    module = _host.tensor
    with open(module.__file__, encoding="utf-8") as file:
        source = file.read().replace("raise result", "raise _from_host(result.value)")
    namespace = {"__name__": module.__name__, "__package__": module.__package__}
    exec(compile(source, module.__file__, "exec"), namespace)
    module._from_host = from_host
    twins = vars(namespace["Tensor"])
    for name, value in vars(_host.Raw).items():
        function, twin = getattr(value, "__func__", value), twins.get(name)
        if isinstance(function, FunctionType):
            function.__code__ = getattr(twin, "__func__", twin).__code__


if _host.IN_HOST:
    _raise_own_errors()
    # The host's own methods, before this module's take their places.
    _op = SimpleNamespace(**{name: getattr(_host.Raw, name) for name in vars(_host.Raw) if not name.startswith("__")})
    _NAMES = {
        float16: "float16", bfloat16: "bfloat16", float32: "float32", float64: "float64", uint8: "uint8",
        uint32: "uint32", int64: "int64",
    }  # fmt: skip
    _T.__repr__ = lambda self: f"trainyard.{_NAMES[self]}"
    _T.is_floating_point = property(lambda self: self in _FLOATS)
    #: In the order in which one type gives way to the next.
    _ORDER = [uint8, uint32, int64, float16, bfloat16, float32, float64]
    _FLOATS = {float16, bfloat16, float32, float64}
    _CODES = {float32: "f", float64: "d", uint8: "B", uint32: "I", int64: "q"}
else:
    _op = _host.tensor

Dims = Union[int, Sequence[int], None]
Number = Union[int, float]


class Size(tuple):
    """A shape."""

    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"trainyard.Size({list(self)})"


class ValuesAndIndices(NamedTuple):
    """What `max`, `min`, `sort` and `topk` along a dimension give."""

    values: Tensor
    indices: Tensor


# A value of a wrong type would end the instance without a word: what goes to the host is checked here.


def _dims(dim: Dims) -> List[int]:
    if dim is None:
        return []
    if isinstance(dim, int):
        return [dim + 0]
    return [_index(d) for d in dim]


def _sizes(sizes: tuple) -> List[int]:
    """Sizes given one by one, or as one list."""
    if len(sizes) == 1 and not isinstance(sizes[0], int):
        sizes = tuple(sizes[0])
    return [_index(size) for size in sizes]


def _shape_of(sizes: tuple) -> List[int]:
    """As `_sizes`, of a new tensor."""
    shape = _sizes(sizes)
    if shape and _min(shape) < 0:
        raise ValueError(f"a shape has no negative sizes: {shape}")
    return shape


def _checked(x: Any) -> Tensor:
    if isinstance(x, Tensor):
        return x
    raise TypeError(f"a tensor is needed, not {_kind(x)}")


def _kind(x: Any) -> str:
    if isinstance(x, tuple):
        return "a tuple: take the part of it that is meant"
    return "None" if x is None else f"a value of type {_type(x).__name__}"


def _dtype(dtype: Any, default: Any) -> Any:
    """An element type, or its default."""
    if dtype is None:
        return default
    if dtype.__class__ is float32.__class__:
        return dtype
    if dtype in _PYTHON:
        return _PYTHON[dtype]
    raise TypeError(f"an element type is needed, such as trainyard.float32, not {dtype!r}")


def _lifted(value: Any, like: Tensor) -> Tensor:
    """A number as a tensor of the same type."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (int, float)):
        dtype = _op.dtype(like)
        return _op.full([], float(value), float32 if isinstance(value, float) and dtype not in _FLOATS else dtype)
    raise TypeError(f"a tensor or a number is needed, not {_kind(value)}")


def _scaled(operation: Callable, x: Tensor, number: Number) -> Tensor:
    """An operation with a number; one that is not whole makes floats of whole numbers, as in PyTorch."""
    if number.__class__ is not int and isinstance(number, float) and _op.dtype(x) not in _FLOATS:
        x = _op.cast(x, float32)
    return operation(x, float(number))


def _promoted(operation: Callable, x: Tensor, y: Tensor) -> Tensor:
    """The operation once more, with both operands of the type that PyTorch would choose."""
    a, b = _op.dtype(x), _op.dtype(y)
    if a == b:
        raise  # the operation does not know this type at all
    to = _wider(a, b)
    return operation(x if a == to else _op.cast(x, to), y if b == to else _op.cast(y, to))


def _wider(a: Any, b: Any) -> Any:
    """The type that holds what both can."""
    return float32 if {a, b} == {float16, bfloat16} else _max(a, b, key=_ORDER.index)


def _binary(operation: Callable, x: Tensor, other: Any) -> Tensor:
    try:
        return operation(x, other if isinstance(other, Tensor) else _lifted(other, x))
    except DTypeError:
        return _promoted(operation, x, _lifted(other, x))


def _extreme(operation: Callable, x: Tensor, dims: List[int], keepdim: bool) -> Tensor:
    """A largest or smallest element; the host knows them of floats alone, and whole numbers are exact in `float64`."""
    dtype = _op.dtype(x)
    return operation(x, dims, keepdim) if dtype in _FLOATS else _op.cast(operation(_op.cast(x, float64), dims, keepdim), dtype)


def _extreme_at(operation: Callable, x: Tensor, dim: int, keepdim: bool) -> Tensor:
    return operation(x if _op.dtype(x) in _FLOATS else _op.cast(x, float64), dim, keepdim)


class Tensor:
    """An array of numbers of one type. Made by `tensor`, `zeros`, `rand` and so on, and by operations.

    What a plugin holds is a handle; the elements stay in the host. Reading them back (`item`, `tolist`) waits for the device: do it
    rarely.
    """

    # What it is

    @property
    def shape(self) -> Size:
        """The size of each dimension."""
        return Size(_op.shape(self))

    @property
    def ndim(self) -> int:
        """How many dimensions it has."""
        return len(_op.shape(self))

    @property
    def dtype(self) -> Any:
        """The type of its elements, such as `float32`."""
        return _op.dtype(self)

    @property
    def device(self) -> str:
        """Where it lives: `cpu` or `cuda:0`."""
        return _host.run.device()

    @property
    def T(self) -> Tensor:
        """The last two dimensions swapped."""
        return self.t()

    mT = T

    requires_grad: bool = False

    @property
    def grad(self) -> Optional[Tensor]:
        """The gradient of a parameter, after `backward`."""
        return _host.autograd.gradient(self) if self.requires_grad else None

    def dim(self) -> int:
        """How many dimensions it has."""
        return len(_op.shape(self))

    def size(self, dim: Optional[int] = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        """The number of elements."""
        return math.prod(_op.shape(self))

    def is_floating_point(self) -> bool:
        """Whether its elements are floating-point numbers."""
        return _op.dtype(self) in _FLOATS

    # Reading it back

    def item(self) -> Number:
        """The single element of a tensor that has just one."""
        value = _op.item(self)
        return value if _op.dtype(self) in _FLOATS else int(value)

    def tolist(self) -> Any:
        """Nested lists of numbers."""
        dtype, shape = _op.dtype(self), _op.shape(self)
        x = _op.cast(self, float32) if dtype in (float16, bfloat16) else self
        values = array.array(_CODES[_op.dtype(x)])
        values.frombytes(bytes(_op.to_bytes(_op.detach(x))))
        return _nested(values.tolist(), shape)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    __index__ = __int__

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise ValueError("a tensor of several elements is neither true nor false: use .any() or .all()")
        return bool(_op.item(self))

    def __len__(self) -> int:
        shape = _op.shape(self)
        if not shape:
            raise TypeError("a tensor without dimensions has no length")
        return shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.unbind(0))

    def __repr__(self) -> str:
        if not hasattr(self, "handle"):
            return "Tensor(not here)"
        shape = _op.shape(self)
        if math.prod(shape) > 1000:
            return f"tensor(..., size={tuple(shape)}, dtype={self.dtype!r})"
        return f"tensor({_shown(self.tolist())}, dtype={self.dtype!r})"

    def __hash__(self) -> int:
        return id(self)

    # Arithmetic

    def __add__(self, other: Any) -> Tensor:
        if isinstance(other, Tensor):
            try:
                return _op.add(self, other)
            except DTypeError:
                return _promoted(_op.add, self, other)
        if isinstance(other, (int, float)):
            return _scaled(_op.add_scalar, self, other)
        return NotImplemented

    __radd__ = __add__

    def __sub__(self, other: Any) -> Tensor:
        if isinstance(other, Tensor):
            try:
                return _op.sub(self, other)
            except DTypeError:
                return _promoted(_op.sub, self, other)
        if isinstance(other, (int, float)):
            return _scaled(_op.add_scalar, self, -other)
        return NotImplemented

    def __rsub__(self, other: Number) -> Tensor:
        if isinstance(other, (int, float)):
            return _scaled(_op.add_scalar, _op.neg(self), other)
        return NotImplemented

    def __mul__(self, other: Any) -> Tensor:
        if isinstance(other, Tensor):
            try:
                return _op.mul(self, other)
            except DTypeError:
                return _promoted(_op.mul, self, other)
        if isinstance(other, (int, float)):
            return _scaled(_op.mul_scalar, self, other)
        return NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Tensor:
        if _op.dtype(self) not in _FLOATS:
            self = _op.cast(self, float32)
        return _binary(_op.div, self, other)

    def __rtruediv__(self, other: Number) -> Tensor:
        if _op.dtype(self) not in _FLOATS:
            self = _op.cast(self, float32)
        return _op.div(_lifted(other, self), self)

    def __floordiv__(self, other: Any) -> Tensor:
        whole = _op.dtype(self) not in _FLOATS and not isinstance(other, float)
        if whole and (isinstance(other, int) or _op.dtype(_checked(other)) not in _FLOATS):
            return _op.cast(_op.floor(_op.cast(self, float64) / other), _op.dtype(self))
        return _op.floor(self / other)

    def __mod__(self, other: Any) -> Tensor:
        return self - self // other * other

    def __pow__(self, other: Any) -> Tensor:
        if isinstance(other, (int, float)):
            return _op.square(self) if other == 2 else _scaled(_op.pow_scalar, self, other)
        return _binary(_op.pow, self, other)

    def __rpow__(self, other: Number) -> Tensor:
        return _binary(_op.pow, _lifted(other, self), self)

    def __matmul__(self, other: Tensor) -> Tensor:
        if isinstance(other, Tensor):
            return _op.matmul(self, other)
        return NotImplemented

    def __neg__(self) -> Tensor:
        return _op.neg(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return _op.abs(self)

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        if other is None:
            return False  # type: ignore[return-value]
        return _binary(_op.eq, self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        if other is None:
            return True  # type: ignore[return-value]
        return _binary(_op.ne, self, other)

    def __lt__(self, other: Any) -> Tensor:
        return _binary(_op.lt, self, other)

    def __le__(self, other: Any) -> Tensor:
        return _binary(_op.le, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return _binary(_op.gt, self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _binary(_op.ge, self, other)

    def __and__(self, other: Any) -> Tensor:
        return _op.logical_and(self, _lifted(other, self))

    def __or__(self, other: Any) -> Tensor:
        return _op.logical_or(self, _lifted(other, self))

    def __xor__(self, other: Any) -> Tensor:
        return _op.ne(self, _lifted(other, self))

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> Tensor:
        return _op.logical_not(self)

    add, sub, mul, div, pow = __add__, __sub__, __mul__, __truediv__, __pow__
    true_divide, multiply, subtract = __truediv__, __mul__, __sub__
    eq, ne, lt, le, gt, ge, neg, abs = __eq__, __ne__, __lt__, __le__, __gt__, __ge__, __neg__, __abs__
    logical_and, logical_or, logical_not, matmul, mm, bmm = __and__, __or__, __invert__, __matmul__, __matmul__, __matmul__

    def maximum(self, other: Any) -> Tensor:
        """The larger of both, element by element."""
        return _binary(_op.maximum, self, other)

    def minimum(self, other: Any) -> Tensor:
        """The smaller of both, element by element."""
        return _binary(_op.minimum, self, other)

    def clamp(self, min: Optional[Number] = None, max: Optional[Number] = None) -> Tensor:
        """Elements below `min` become `min`, above `max` become `max`."""
        return _op.clamp(self, None if min is None else float(min), None if max is None else float(max))

    def where(self, condition: Tensor, other: Any) -> Tensor:
        """Its own elements where `condition` is not zero, else those of `other`."""
        return where(condition, self, other)

    def masked_fill(self, mask: Tensor, value: Number) -> Tensor:
        """`value` where `mask` is not zero, else its own elements."""
        return where(mask, _lifted(value, self), self)

    def isinf(self) -> Tensor:
        """1 where an element is infinite."""
        return _op.eq(_op.abs(self), _lifted(math.inf, self))

    def isnan(self) -> Tensor:
        """1 where an element is NaN."""
        return _op.ne(self, self)

    def isfinite(self) -> Tensor:
        """1 where an element is neither NaN nor infinite."""
        return _op.is_finite(self)

    def all(self) -> Tensor:
        """Whether no element is zero, as a tensor."""
        return _extreme(_op.min, _op.ne(self, _lifted(0, self)), [], False)

    def any(self) -> Tensor:
        """Whether an element is not zero, as a tensor."""
        return _extreme(_op.max, _op.ne(self, _lifted(0, self)), [], False)

    # Reductions

    def sum(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """The sum over some dimensions, or over all."""
        return _op.sum(self, _dims(dim), _bool(keepdim))

    def mean(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """The mean over some dimensions, or over all."""
        return _op.mean(self, _dims(dim), _bool(keepdim))

    def var(self, dim: Dims = None, correction: Number = 1, keepdim: bool = False) -> Tensor:
        """The variance, divided by n - `correction`."""
        return _op.variance(self, _dims(dim), float(correction), _bool(keepdim))

    def std(self, dim: Dims = None, correction: Number = 1, keepdim: bool = False) -> Tensor:
        """The standard deviation."""
        return _op.sqrt(self.var(dim, correction, keepdim))

    def max(self, dim: Optional[int] = None, keepdim: bool = False) -> Any:
        """The largest element; along one dimension its place as well."""
        if dim is None:
            return _extreme(_op.max, self, [], False)
        dim, keepdim = _index(dim), _bool(keepdim)
        return ValuesAndIndices(_extreme(_op.max, self, [dim], keepdim), _extreme_at(_op.argmax, self, dim, keepdim))

    def min(self, dim: Optional[int] = None, keepdim: bool = False) -> Any:
        """The smallest element; along one dimension its place as well."""
        if dim is None:
            return _extreme(_op.min, self, [], False)
        dim, keepdim = _index(dim), _bool(keepdim)
        return ValuesAndIndices(_extreme(_op.min, self, [dim], keepdim), _extreme_at(_op.argmin, self, dim, keepdim))

    def amax(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """The largest elements over some dimensions."""
        return _extreme(_op.max, self, _dims(dim), _bool(keepdim))

    def amin(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """The smallest elements over some dimensions."""
        return _extreme(_op.min, self, _dims(dim), _bool(keepdim))

    def argmax(self, dim: Optional[int] = None, keepdim: bool = False) -> Tensor:
        """The place of the largest element, `uint32`; the first of equal ones."""
        if dim is None:
            return _extreme_at(_op.argmax, self.flatten(), 0, False)
        return _extreme_at(_op.argmax, self, _index(dim), _bool(keepdim))

    def argmin(self, dim: Optional[int] = None, keepdim: bool = False) -> Tensor:
        """The place of the smallest element, `uint32`; the first of equal ones."""
        if dim is None:
            return _extreme_at(_op.argmin, self.flatten(), 0, False)
        return _extreme_at(_op.argmin, self, _index(dim), _bool(keepdim))

    def logsumexp(self, dim: Dims, keepdim: bool = False) -> Tensor:
        """ln of the sum of exp."""
        return _op.logsumexp(self, _dims(dim), _bool(keepdim))

    def norm(self, dim: Dims = None, keepdim: bool = False) -> Tensor:
        """The Euclidean norm."""
        return _op.sqrt(_op.sum(_op.square(self), _dims(dim), _bool(keepdim)))

    def cumsum(self, dim: int) -> Tensor:
        """Running sums along a dimension."""
        dtype = _op.dtype(self)
        if dtype in _FLOATS:
            return _op.cumsum(self, _index(dim))
        return _op.cast(_op.cumsum(_op.cast(self, float64), _index(dim)), int64)

    def sort(self, dim: int = -1, descending: bool = False) -> ValuesAndIndices:
        """Sorted values and their places. Stable; NaN last."""
        return ValuesAndIndices(*_op.sort(self, _index(dim), _bool(descending)))

    def topk(self, k: int, dim: int = -1, largest: bool = True) -> ValuesAndIndices:
        """The `k` largest values, and their places."""
        if not 0 <= _index(k) <= _op.shape(self)[dim]:
            raise IndexError(f"there are no {k} elements along dimension {dim} of {self.shape}")
        values, places = _op.sort(self, _index(dim), _bool(largest))
        return ValuesAndIndices(_op.narrow(values, dim, 0, k), _op.narrow(places, dim, 0, k))

    def softmax(self, dim: int) -> Tensor:
        """exp(x) / sum(exp(x)) along a dimension."""
        return _host.nn.softmax(self, _index(dim))

    def log_softmax(self, dim: int) -> Tensor:
        """ln of `softmax`."""
        return _host.nn.log_softmax(self, _index(dim))

    def relu(self) -> Tensor:
        """max(x, 0)."""
        return _host.nn.relu(self)

    def dot(self, other: Tensor) -> Tensor:
        """The inner product of two vectors."""
        return _op.matmul(self, _checked(other))

    def outer(self, other: Tensor) -> Tensor:
        """All products of the elements of two vectors."""
        return _op.unsqueeze(self, 1) * _op.unsqueeze(_checked(other), 0)

    # Shape and place

    def reshape(self, *shape: Any) -> Tensor:
        """The same elements in another shape; one size may be -1."""
        return _op.reshape(self, _sizes(shape))

    view = reshape

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """The dimensions from `start_dim` to `end_dim` as one."""
        shape = _op.shape(self)
        if not shape:
            return _op.reshape(self, [1])
        start, end = start_dim % len(shape), end_dim % len(shape)
        return _op.reshape(self, shape[:start] + [math.prod(shape[start : end + 1])] + shape[end + 1 :])

    def unflatten(self, dim: int, sizes: Sequence[int]) -> Tensor:
        """One dimension as several."""
        shape = _op.shape(self)
        dim %= len(shape)
        return _op.reshape(self, shape[:dim] + [int(size) for size in sizes] + shape[dim + 1 :])

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Two dimensions swapped."""
        return _op.transpose(self, _index(dim0), _index(dim1))

    def t(self) -> Tensor:
        """The last two dimensions swapped."""
        return _op.transpose(self, -2, -1)

    def permute(self, *dims: Any) -> Tensor:
        """The dimensions in another order."""
        return _op.permute(self, _sizes(dims))

    def squeeze(self, dim: Optional[int] = None) -> Tensor:
        """Without a dimension of size one, or without all of them."""
        shape = _op.shape(self)
        if dim is None:
            return _op.reshape(self, [size for size in shape if size != 1])
        return _op.squeeze(self, _index(dim)) if shape[dim] == 1 else self

    def unsqueeze(self, dim: int) -> Tensor:
        """With a new dimension of size one."""
        return _op.unsqueeze(self, _index(dim))

    def expand(self, *shape: Any) -> Tensor:
        """Dimensions of size one repeated without a copy; -1 keeps a size."""
        wanted, own = _sizes(shape), _op.shape(self)
        own = [1] * (len(wanted) - len(own)) + own
        return _op.broadcast_to(self, _shape_of(tuple(have if size == -1 else size for size, have in zip(wanted, own))))

    def expand_as(self, other: Tensor) -> Tensor:
        """Expanded to the shape of another."""
        return _op.broadcast_to(self, _op.shape(other))

    def narrow(self, dim: int, start: int, length: int) -> Tensor:
        """`length` elements of a dimension, from `start`."""
        size = _op.shape(self)[dim]
        start = _index(start) + size if start < 0 else _index(start)
        if not 0 <= start <= start + _index(length) <= size:
            raise IndexError(f"elements {start} to {start + length} are not in dimension {dim} with size {size}")
        return _op.narrow(self, _index(dim), start, _index(length))

    def select(self, dim: int, index: int) -> Tensor:
        """One slice of a dimension, without the dimension."""
        return _op.squeeze(self.narrow(dim, index, 1), dim)

    def flip(self, *dims: Any) -> Tensor:
        """Some dimensions in reverse order."""
        return _op.flip(self, _sizes(dims))

    def repeat(self, *times: Any) -> Tensor:
        """The tensor so many times along each dimension."""
        result, counts = self, _shape_of(times)
        for _ in range(len(counts) - result.ndim):
            result = _op.unsqueeze(result, 0)
        for dim, count in enumerate(counts):
            if count != 1:
                result = _op.repeat(result, dim, count)
        return result

    def unfold(self, dimension: int, size: int, step: int) -> Tensor:
        """Sliding windows along a dimension, in a new last one."""
        return _op.unfold(self, _index(dimension), *_shape_of((size, step)))

    def tril(self, diagonal: int = 0) -> Tensor:
        """The lower triangle of the last two dimensions."""
        return _op.tril(self, _index(diagonal))

    def triu(self, diagonal: int = 0) -> Tensor:
        """The upper triangle of the last two dimensions."""
        return _op.triu(self, _index(diagonal))

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Whole slices along a dimension, by a vector of places."""
        return _op.index_select(self, _index(dim), _checked(index))

    def gather(self, dim: int, index: Tensor) -> Tensor:
        """One element for each place along a dimension."""
        return _op.gather(self, _index(dim), _checked(index))

    def scatter_add(self, dim: int, index: Tensor, src: Tensor) -> Tensor:
        """A copy with `src` added at places along a dimension."""
        return _op.scatter_add(self, _index(dim), _checked(index), _checked(src))

    def split(self, size: Union[int, Sequence[int]], dim: int = 0) -> Tuple[Tensor, ...]:
        """Parts of `size` along a dimension, or of the sizes that are listed."""
        total = _op.shape(self)[dim]
        sizes = [_min(size, total - at) for at in range(0, total, size)] if isinstance(size, int) else _shape_of((size,))
        starts = [_sum(sizes[:part]) for part in range(len(sizes))]
        return tuple(_op.narrow(self, dim, start, length) for start, length in zip(starts, sizes))

    def chunk(self, chunks: int, dim: int = 0) -> Tuple[Tensor, ...]:
        """So many parts along a dimension, the last perhaps smaller."""
        return self.split(-(-_op.shape(self)[dim] // chunks), dim)

    def unbind(self, dim: int = 0) -> Tuple[Tensor, ...]:
        """The slices along a dimension."""
        return tuple(_op.squeeze(_op.narrow(self, dim, at, 1), dim) for at in range(_op.shape(self)[dim]))

    def __getitem__(self, key: Any) -> Tensor:
        return _indexed(self, key if isinstance(key, tuple) else (key,))

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError(
            "a tensor's elements cannot be set one by one: use where(condition, new, old), cat, scatter_add, or copy_ for all of them"
        )

    # Type, graph, changes in place

    def to(self, *args: Any, dtype: Any = None, device: Any = None) -> Tensor:
        """Of another element type. A device is ignored: the job has one."""
        for value in args:
            if isinstance(value, Tensor):
                dtype = _op.dtype(value)
            elif not isinstance(value, (str, _type(None))):
                dtype = value
        if dtype is None:
            return self
        own = _op.dtype(self)
        dtype = _dtype(dtype, own)
        return self if dtype == own else _op.cast(self, dtype)

    type = to

    def type_as(self, other: Tensor) -> Tensor:
        """Of the element type of another."""
        return self.to(_op.dtype(other))

    def float(self) -> Tensor:
        """As `float32`."""
        return self.to(float32)

    def double(self) -> Tensor:
        """As `float64`."""
        return self.to(float64)

    def half(self) -> Tensor:
        """As `float16`."""
        return self.to(float16)

    def bfloat16(self) -> Tensor:
        """As `bfloat16`."""
        return self.to(bfloat16)

    def long(self) -> Tensor:
        """As `int64`."""
        return self.to(int64)

    int = long

    def bool(self) -> Tensor:
        """1 where an element is not zero, `uint8`."""
        return _op.ne(self, _lifted(0, self))

    def detach(self) -> Tensor:
        """The same elements, cut off from the graph of derivatives."""
        return _op.detach(self)

    def clone(self) -> Tensor:
        """A copy; differentiable."""
        return _op.copy(self)

    def contiguous(self) -> Tensor:
        """Itself: the host keeps elements as it needs them."""
        return self

    cpu = cuda = contiguous

    def numpy(self) -> Any:
        """There is no numpy in a plugin: `tolist` gives the numbers."""
        raise NotImplementedError("a plugin has no numpy: compute with tensors, or read the numbers with tolist()")

    def __copy__(self) -> Tensor:
        return _op.detach(self)

    def __deepcopy__(self, memo: Any) -> Tensor:
        return _op.copy(_op.detach(self))

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a tensor lives in the host and cannot be pickled: what train returns is stored")

    def backward(self) -> None:
        """Adds the derivatives of this scalar to the gradients of the parameters that it depends on, and frees the graph."""
        _host.autograd.backward(self)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Whether optimisers change this parameter and derivatives are kept for it."""
        if not self.requires_grad and not hasattr(self, "_parameter"):
            raise TypeError("only a parameter can be trained: make one with nn.Parameter(x) or tensor(..., requires_grad=True)")
        _host.autograd.set_trainable(self, requires_grad)
        self._parameter = True
        self.requires_grad = requires_grad
        return self

    def copy_(self, source: Any) -> Tensor:
        """Overwrites all elements. Not recorded: for parameters and state, not for what a loss is computed from."""
        source = _lifted(source, self)
        shape, dtype = _op.shape(self), _op.dtype(self)
        if _op.dtype(source) != dtype:
            source = _op.cast(source, dtype)
        if _op.shape(source) != shape:
            source = _op.copy(_op.broadcast_to(source, shape))
        _op.assign(self, _op.detach(source))
        return self

    def fill_(self, value: Number) -> Tensor:
        """Makes every element `value`; see `copy_`."""
        _op.assign(self, _op.full(_op.shape(self), float(value), _op.dtype(self)))
        return self

    def zero_(self) -> Tensor:
        """Makes every element zero; see `copy_`."""
        return self.fill_(0)

    def add_(self, other: Any, alpha: Number = 1) -> Tensor:
        """Adds in place; see `copy_`."""
        return self.copy_(_op.detach(self) + other * alpha if alpha != 1 else _op.detach(self) + other)

    def sub_(self, other: Any) -> Tensor:
        """Subtracts in place; see `copy_`."""
        return self.copy_(_op.detach(self) - other)

    def mul_(self, other: Any) -> Tensor:
        """Multiplies in place; see `copy_`."""
        return self.copy_(_op.detach(self) * other)

    def div_(self, other: Any) -> Tensor:
        """Divides in place; see `copy_`."""
        return self.copy_(_op.detach(self) / other)


_UNARY = {
    "exp": "e to the power of each element.", "log": "The natural logarithm.", "log1p": "ln(1 + x).", "expm1": "exp(x) - 1.",
    "sqrt": "The square root.", "rsqrt": "1 / sqrt(x).", "square": "x times x.", "reciprocal": "1 / x.", "sin": "The sine.",
    "cos": "The cosine.", "tanh": "The hyperbolic tangent.", "sigmoid": "1 / (1 + exp(-x)).", "erf": "The Gauss error function.",
    "sign": "-1, 0 or 1.", "floor": "The next integer below.", "ceil": "The next integer above.",
    "round": "The nearest integer, halves to the even one.",
}  # fmt: skip


def _unary(name: str, doc: str) -> Callable[[Tensor], Tensor]:
    if _host.IN_HOST:
        method = getattr(_op, name)
        method.__doc__ = doc
        return method

    def method(self: Tensor) -> Tensor:
        return getattr(_host.tensor, name)(self)

    method.__name__, method.__doc__ = name, doc
    return method


for _name, _doc in _UNARY.items():
    setattr(Tensor, _name, _unary(_name, _doc))

if _host.IN_HOST:
    # The host's own class becomes this one: tensors that operations give are these without a wrapper.
    for _name, _value in list(vars(Tensor).items()):
        if _name not in ("__dict__", "__weakref__", "__module__", "__annotations__", "__annotate_func__", "__annotations_cache__"):
            setattr(_host.Raw, _name, _value)
    _host.Raw.__module__ = "trainyard"
    Tensor = _host.Raw  # type: ignore[misc]


def _nested(values: list, shape: Sequence[int]) -> Any:
    if not shape:
        return values[0]
    for size in reversed(shape[1:]):
        if size == 0:
            return [[] for _ in range(shape[0])]
        values = [values[at : at + size] for at in range(0, len(values), size)]
    return values


def _shown(values: Any) -> str:
    if isinstance(values, list):
        return "[" + ", ".join(_shown(value) for value in values) + "]"
    return f"{values:.4f}" if isinstance(values, float) else str(values)


def _indexed(x: Tensor, key: tuple) -> Tensor:
    """x[key]: numbers, slices, None, `...`, one vector of places or mask for a dimension."""
    shape = _op.shape(x)
    used = _sum(_covers(part) for part in key)
    if used > len(shape):
        raise IndexError(f"there are {used} indices for a tensor of {len(shape)} dimensions")
    if Ellipsis not in [part for part in key if part is Ellipsis]:
        key = key + (Ellipsis,)
    dim = 0
    for part in key:
        if part is Ellipsis:
            dim += len(shape) - used
        elif part is None:
            x = _op.unsqueeze(x, dim)
            shape = shape[:dim] + [1] + shape[dim:]
            dim += 1
        elif isinstance(part, slice):
            start, stop, step = part.indices(shape[dim])
            if step < 1:
                raise ValueError("the step of a slice must be positive: use flip to turn a dimension around")
            if (start, stop, step) != (0, shape[dim], 1):
                x = _op.slice(x, dim, start, _max(start, stop), step)
                shape = _op.shape(x)
            dim += 1
        elif isinstance(part, int) and not isinstance(part, bool):
            size = shape[dim]
            if not -size <= part < size:
                raise IndexError(f"index {part} is out of range for dimension {dim} with size {size}")
            x = _op.squeeze(_op.narrow(x, dim, part % size, 1), dim)
            shape = shape[:dim] + shape[dim + 1 :]
        else:
            places = part if isinstance(part, Tensor) else tensor(part)
            if _op.dtype(places) == uint8:
                covered = _op.shape(places)
                if not covered or covered != shape[dim : dim + len(covered)]:
                    raise IndexError(f"a mask of shape {covered} does not fit the dimensions {shape[dim:]}")
                if len(covered) > 1:
                    # Several dimensions become one, of which elements are chosen.
                    shape = shape[:dim] + [math.prod(covered)] + shape[dim + len(covered) :]
                    x = _op.reshape(x, shape)
                    used -= len(covered) - 1
                places = _places([at for at, chosen in enumerate(_op.to_bytes(places)) if chosen])
            elif _op.dtype(places) == int64:
                below = _op.lt(places, _lifted(0, places))
                places = _op.cast(_op.where(below, _op.add_scalar(places, float(shape[dim])), places), uint32)
            if len(_op.shape(places)) == 0:
                x = _op.squeeze(_op.index_select(x, dim, _op.reshape(places, [1])), dim)
                shape = shape[:dim] + shape[dim + 1 :]
                continue
            wanted = _op.shape(places)
            x = _op.index_select(x, dim, _op.reshape(places, [math.prod(wanted)]))
            if len(wanted) > 1:
                x = _op.reshape(x, shape[:dim] + wanted + shape[dim + 1 :])
            shape = _op.shape(x)
            dim += len(wanted)
    return x


def _covers(part: Any) -> int:
    """How many dimensions an index is for."""
    if part is None or part is Ellipsis:
        return 0
    return len(_op.shape(part)) if isinstance(part, Tensor) and _op.dtype(part) == uint8 else 1


def _places(values: List[int]) -> Tensor:
    return _op.from_u32(values, [len(values)])


# Making tensors


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor from a number or nested lists of numbers: `float32` for floats, `int64` for integers, `uint8` for truth values."""
    if isinstance(data, Tensor):
        result = _op.copy(_op.detach(data)) if dtype is None else _op.cast(_op.detach(data), _dtype(dtype, None))
    else:
        flat: list = []
        shape = _flatten(data, flat)
        kinds = set(map(_type, flat))
        natural = float32
        if kinds and kinds <= {bool}:
            natural = uint8
        elif kinds and kinds <= {bool, int}:
            natural = int64
        if natural == int64 and _max(map(_magnitude, flat)) > 2**53:
            raise ValueError("whole numbers beyond 2**53 cannot be handed to the host exactly")
        wanted = _dtype(dtype, natural)
        if kinds != {float}:
            flat = list(map(_float, flat))
        if wanted == float32 and natural == float32:
            result = _op.from_f32(flat, shape)
        else:
            result = _op.from_f64(flat, shape)
            result = result if wanted == float64 else _op.cast(result, wanted)
    if requires_grad:
        from .nn.parameter import Parameter

        return Parameter(result)
    return result


_NUMBERS = {bool, int, float}


def _flatten(data: Any, flat: list) -> List[int]:
    if isinstance(data, (bool, int, float)):
        flat.append(data)
        return []
    if isinstance(data, Tensor):
        flat.append(data.item())
        return []
    if isinstance(data, (str, bytes)) or not hasattr(data, "__iter__"):
        raise TypeError(f"a tensor is made of numbers, not of {type(data).__name__}")
    shape: Optional[List[int]] = None
    count = 0
    if not isinstance(data, (list, tuple, range, array.array)):
        data = list(data)
    if len(data) and set(map(_type, data)) <= _NUMBERS:
        flat.extend(data)
        return [len(data)]
    for value in data:
        inner = _flatten(value, flat)
        if shape is not None and inner != shape:
            raise ValueError(f"the rows differ in shape: {shape} and {inner}")
        shape = inner
        count += 1
    return [count] + (shape or [])


def as_tensor(data: Any, dtype: Any = None) -> Tensor:
    """A tensor as it is, anything else made one."""
    return data.to(dtype) if isinstance(data, Tensor) else tensor(data, dtype)


def full(*size: Any, fill_value: Optional[Number] = None, dtype: Any = None) -> Tensor:
    """Every element `fill_value`: `full((2, 3), 1.0)`."""
    if fill_value is None:
        *size, fill_value = size  # type: ignore[assignment]
    return _op.full(_shape_of(tuple(size)), float(fill_value), _dtype(dtype, float32))


def zeros(*size: Any, dtype: Any = None) -> Tensor:
    """Every element zero."""
    return _op.full(_shape_of(size), 0.0, _dtype(dtype, float32))


def ones(*size: Any, dtype: Any = None) -> Tensor:
    """Every element one."""
    return _op.full(_shape_of(size), 1.0, _dtype(dtype, float32))


empty = zeros


def full_like(x: Tensor, fill_value: Number, dtype: Any = None) -> Tensor:
    """Of the shape and type of another, every element `fill_value`."""
    return _op.full(_op.shape(x), float(fill_value), _dtype(dtype, _op.dtype(x)))


def zeros_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Of the shape and type of another, every element zero."""
    return full_like(x, 0, dtype)


def ones_like(x: Tensor, dtype: Any = None) -> Tensor:
    """Of the shape and type of another, every element one."""
    return full_like(x, 1, dtype)


def arange(start: Number, end: Optional[Number] = None, step: Number = 1, dtype: Any = None) -> Tensor:
    """`start`, `start + step`, ... up to but without `end`; from zero when only one number is given."""
    if end is None:
        start, end = 0, start
    whole = _all(isinstance(value, int) for value in (start, end, step))
    return _op.arange(float(start), float(end), float(step), _dtype(dtype, int64 if whole else float32))


def linspace(start: Number, end: Number, steps: int, dtype: Any = None) -> Tensor:
    """`steps` numbers from `start` to `end`, both included."""
    width = (end - start) / _max(steps - 1, 1)
    return tensor([start + width * at for at in range(steps)], dtype or float32)


def eye(n: int, dtype: Any = None) -> Tensor:
    """The identity matrix [n, n]."""
    return _op.eye(*_shape_of((n,)), _dtype(dtype, float32))


def rand(*size: Any, dtype: Any = None) -> Tensor:
    """Uniform in [0, 1), from the job's seed."""
    return _op.random_uniform(_shape_of(size), 0.0, 1.0, _dtype(dtype, float32))


def randn(*size: Any, dtype: Any = None) -> Tensor:
    """Normal with mean 0 and standard deviation 1, from the job's seed."""
    return _op.random_normal(_shape_of(size), 0.0, 1.0, _dtype(dtype, float32))


def randint(low: int, high: int, size: Sequence[int], dtype: Any = None) -> Tensor:
    """Whole numbers in [low, high), from the job's seed."""
    drawn = _op.random_uniform(_shape_of(tuple(size)), float(low), float(high), float64)
    return _op.cast(_op.floor(drawn), _dtype(dtype, int64))


def randperm(n: int) -> Tensor:
    """0 .. n in random order, `uint32`, from the job's seed."""
    return _op.random_permutation(*_shape_of((n,)))


def rand_like(x: Tensor) -> Tensor:
    """Uniform in [0, 1), of the shape and type of another."""
    return rand(_op.shape(x), dtype=_op.dtype(x))


def randn_like(x: Tensor) -> Tensor:
    """Normal, of the shape and type of another."""
    return randn(_op.shape(x), dtype=_op.dtype(x))


def _joined(operation: Callable, tensors: Iterable[Tensor], dim: int) -> Tensor:
    parts = [_checked(part) for part in tensors]
    try:
        return operation(parts, _index(dim))
    except DTypeError:
        to = functools.reduce(_wider, map(_op.dtype, parts))
        return operation([part.to(to) for part in parts], _index(dim))


def cat(tensors: Iterable[Tensor], dim: int = 0) -> Tensor:
    """One tensor after the other along a dimension."""
    return _joined(_host.tensor.concat, tensors, dim)


concat = cat


def stack(tensors: Iterable[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new dimension."""
    return _joined(_host.tensor.stack, tensors, dim)


def where(condition: Tensor, x: Any, y: Any) -> Tensor:
    """x where `condition` is not zero, else y; all three broadcast."""
    if _op.dtype(_checked(condition)) != uint8:
        condition = condition.bool()
    like = x if isinstance(x, Tensor) else y if isinstance(y, Tensor) else full((), 0.0)
    return _binary(functools.partial(_op.where, condition), _lifted(x, like), _lifted(y, like))


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """The matrix product of the last two dimensions; the others broadcast."""
    return _op.matmul(_checked(x), _checked(y))


def maximum(x: Tensor, y: Any) -> Tensor:
    """The larger of both, element by element."""
    return x.maximum(y)


def minimum(x: Tensor, y: Any) -> Tensor:
    """The smaller of both, element by element."""
    return x.minimum(y)


def clamp(x: Tensor, min: Optional[Number] = None, max: Optional[Number] = None) -> Tensor:
    """Elements below `min` become `min`, above `max` become `max`."""
    return x.clamp(min, max)


def sum(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The sum over some dimensions, or over all."""
    return x.sum(dim, keepdim)


def mean(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The mean over some dimensions, or over all."""
    return x.mean(dim, keepdim)


def exp(x: Tensor) -> Tensor:
    """e to the power of each element."""
    return x.exp()


def log(x: Tensor) -> Tensor:
    """The natural logarithm."""
    return x.log()


def sqrt(x: Tensor) -> Tensor:
    """The square root."""
    return x.sqrt()


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return x.tanh()


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return x.sigmoid()


def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return _host.nn.relu(_checked(x))


def abs(x: Tensor) -> Tensor:
    """The absolute value."""
    return x.abs()


def log1p(x: Tensor) -> Tensor:
    """ln(1 + x)."""
    return x.log1p()


def expm1(x: Tensor) -> Tensor:
    """exp(x) - 1."""
    return x.expm1()


def rsqrt(x: Tensor) -> Tensor:
    """1 / sqrt(x)."""
    return x.rsqrt()


def square(x: Tensor) -> Tensor:
    """x times x."""
    return x.square()


def sin(x: Tensor) -> Tensor:
    """The sine."""
    return x.sin()


def cos(x: Tensor) -> Tensor:
    """The cosine."""
    return x.cos()


def erf(x: Tensor) -> Tensor:
    """The Gauss error function."""
    return x.erf()


def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1."""
    return x.sign()


def floor(x: Tensor) -> Tensor:
    """The next integer below."""
    return x.floor()


def ceil(x: Tensor) -> Tensor:
    """The next integer above."""
    return x.ceil()


def round(x: Tensor) -> Tensor:
    """The nearest integer, halves to the even one."""
    return x.round()


def isnan(x: Tensor) -> Tensor:
    """1 where an element is NaN."""
    return x.isnan()


def isinf(x: Tensor) -> Tensor:
    """1 where an element is infinite."""
    return x.isinf()


def isfinite(x: Tensor) -> Tensor:
    """1 where an element is neither NaN nor infinite."""
    return x.isfinite()


def softmax(x: Tensor, dim: int) -> Tensor:
    """exp(x) / sum(exp(x)) along a dimension."""
    return x.softmax(dim)


def log_softmax(x: Tensor, dim: int) -> Tensor:
    """ln of `softmax`."""
    return x.log_softmax(dim)


def cumsum(x: Tensor, dim: int) -> Tensor:
    """Running sums along a dimension."""
    return x.cumsum(dim)


def logsumexp(x: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """ln of the sum of exp."""
    return x.logsumexp(dim, keepdim)


def var(x: Tensor, dim: Dims = None, correction: Number = 1, keepdim: bool = False) -> Tensor:
    """The variance, divided by n - `correction`."""
    return x.var(dim, correction, keepdim)


def std(x: Tensor, dim: Dims = None, correction: Number = 1, keepdim: bool = False) -> Tensor:
    """The standard deviation."""
    return x.std(dim, correction, keepdim)


def argmax(x: Tensor, dim: Optional[int] = None, keepdim: bool = False) -> Tensor:
    """The place of the largest element, `uint32`; the first of equal ones."""
    return x.argmax(dim, keepdim)


def argmin(x: Tensor, dim: Optional[int] = None, keepdim: bool = False) -> Tensor:
    """The place of the smallest element, `uint32`; the first of equal ones."""
    return x.argmin(dim, keepdim)


def squeeze(x: Tensor, dim: Optional[int] = None) -> Tensor:
    """Without a dimension of size one, or without all of them."""
    return x.squeeze(dim)


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """With a new dimension of size one."""
    return x.unsqueeze(dim)


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from `start_dim` to `end_dim` as one."""
    return x.flatten(start_dim, end_dim)


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions swapped."""
    return x.transpose(dim0, dim1)


def tril(x: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle of the last two dimensions."""
    return x.tril(diagonal)


def triu(x: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle of the last two dimensions."""
    return x.triu(diagonal)


def chunk(x: Tensor, chunks: int, dim: int = 0) -> Tuple[Tensor, ...]:
    """So many parts along a dimension, the last perhaps smaller."""
    return x.chunk(chunks, dim)


def split(x: Tensor, size: Union[int, Sequence[int]], dim: int = 0) -> Tuple[Tensor, ...]:
    """Parts of `size` along a dimension, or of the sizes that are listed."""
    return x.split(size, dim)


def sort(x: Tensor, dim: int = -1, descending: bool = False) -> ValuesAndIndices:
    """Sorted values and their places."""
    return x.sort(dim, descending)


def topk(x: Tensor, k: int, dim: int = -1, largest: bool = True) -> ValuesAndIndices:
    """The `k` largest values, and their places."""
    return x.topk(k, dim, largest)


def outer(x: Tensor, y: Tensor) -> Tensor:
    """All products of the elements of two vectors."""
    return x.outer(y)


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """Products summed over the indices that the result lacks: `einsum("bij,bjk->bik", x, y)`. Of one tensor or two, every index at most
    once in each."""
    given, arrow, result = equation.replace(" ", "").partition("->")
    terms = given.split(",")
    if not arrow:
        letters = "".join(terms)
        result = "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    distinct = _all(len(set(term)) == len(term) for term in [*terms, result])
    if "." in equation or not distinct or len(terms) != len(operands) or len(terms) > 2 or not set(result) <= set(given):
        raise ValueError(f"einsum({equation!r}): it takes one or two tensors, letters without repeats, and no `...`")
    for term, x in zip(terms, operands):
        if len(term) != len(_op.shape(_checked(x))):
            raise ValueError(f"einsum({equation!r}): {term!r} is not for a tensor of the shape {_op.shape(x)}")
    if len(terms) == 1:
        terms.append("")
        operands = (operands[0], ones_like(operands[0].sum()))
    parts = []
    for at, (term, x) in enumerate(zip(terms, operands)):
        # What only one operand has, and the result has not, is summed at once.
        alone = [place for place, letter in enumerate(term) if letter not in result and letter not in terms[1 - at]]
        parts.append((x.sum(alone) if alone else x, [letter for place, letter in enumerate(term) if place not in alone]))
    (x, first), (y, second) = parts
    size = {letter: length for x_, term in parts for letter, length in zip(term, _op.shape(x_))}
    batch = [letter for letter in first if letter in second and letter in result]
    inner = [letter for letter in first if letter in second and letter not in result]
    left = [letter for letter in first if letter not in second]
    right = [letter for letter in second if letter not in first]

    def arranged(x: Tensor, term: List[str], *groups: List[str]) -> Tensor:
        order = [term.index(letter) for letter in [*batch, *groups[0], *groups[1]]]
        sizes = [math.prod(size[letter] for letter in group) for group in groups]
        return (x.permute(order) if order else x).reshape([*(size[letter] for letter in batch), *sizes])

    product = arranged(x, first, left, inner) @ arranged(y, second, inner, right)
    made = batch + left + right
    product = product.reshape([size[letter] for letter in made])
    return product.permute([made.index(letter) for letter in result]) if made else product


def manual_seed(seed: int) -> None:
    """Does nothing but say so: random numbers follow from the job's seed, which the user sets."""
    _host.run.log(_host.run.Level.WARN, "manual_seed has no effect: random numbers follow from the job's seed")


def is_tensor(x: Any) -> bool:
    """Whether it is a tensor."""
    return isinstance(x, Tensor)


def allclose(x: Tensor, y: Tensor, rtol: float = 1e-5, atol: float = 1e-8) -> bool:
    """Whether |x - y| <= atol + rtol |y| everywhere."""
    return bool(((x - y).abs() <= y.abs() * rtol + atol).all())


# Derivatives


class set_grad_enabled:
    """Switches the recording of derivatives on or off: a function, or a context manager."""

    def __init__(self, mode: bool) -> None:
        self._before = _host.autograd.set_recording(_bool(mode))

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: Any) -> None:
        _host.autograd.set_recording(self._before)


class no_grad:
    """Records no derivatives: a context manager, and a decorator."""

    _mode = False

    def __enter__(self) -> None:
        self._before = _host.autograd.set_recording(self._mode)

    def __exit__(self, *_: Any) -> None:
        _host.autograd.set_recording(self._before)

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return wrapped


class enable_grad(no_grad):
    """Records derivatives, inside `no_grad`: a context manager, and a decorator."""

    _mode = True


def is_grad_enabled() -> bool:
    """Whether derivatives are recorded."""
    before = _host.autograd.set_recording(True)
    _host.autograd.set_recording(before)
    return before
