"""Writes ops.json: what PyTorch answers, in float64, for every operation that host/kernels has a counterpart of.

cases:      op, name (unique), attrs, inputs, outputs; `weights` for the outputs that are differentiated and `grads`
            of sum(output * weight), summed over those outputs, for every floating-point input that was asked for.
optimisers: a parameter, the gradient it is given at each step, and the parameter after each step.
clipping:   gradients before and after, and the norm that was measured.
mixed:      a parameter of `dtype` with a master copy in float32: gradients, the master and the parameter after each step.
scaling:    GradScaler's scale, count of good steps and parameter (float32) after each step, some with an overflow.

Tensors are {"shape", "data"}, float64 unless "dtype" says i64 or u8 (booleans, 1 is true). A missing optional input
(a bias, a mask) is simply absent. Names, layouts and defaults are PyTorch's.
"""

import math

import torch
import torch.nn.functional as F

from common import plain, values, write

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

cases = []


def case(op, name, function, inputs, attrs=None, undifferentiated=(), no_weight=()):
    """Runs `function(**inputs)` and records outputs and gradients.

    The function gives a tensor, recorded as "y", or a dict of them. Outputs named in `no_weight` are recorded without
    being differentiated; inputs named in `undifferentiated` get no gradient.
    """
    tensors = {}
    for key, tensor in inputs.items():
        tensor = tensor.clone()
        if tensor.dtype.is_floating_point and key not in undifferentiated:
            tensor.requires_grad_(True)
        tensors[key] = tensor
    recorded_inputs = {key: plain(tensor) for key, tensor in tensors.items()}

    outputs = function(**tensors)
    if not isinstance(outputs, dict):
        outputs = {"y": outputs}
    entry = {"op": op, "name": name, "attrs": attrs or {}, "inputs": recorded_inputs}
    entry["outputs"] = {key: plain(tensor) for key, tensor in outputs.items()}

    weights = {
        key: values(tensor.shape, seed=17 + index)
        for index, (key, tensor) in enumerate(outputs.items())
        if tensor.requires_grad and key not in no_weight
    }
    if weights:
        total = sum((outputs[key] * weight).sum() for key, weight in weights.items())
        total.backward()
        entry["weights"] = {key: plain(weight) for key, weight in weights.items()}
        entry["grads"] = {key: plain(tensor.grad) for key, tensor in tensors.items() if tensor.grad is not None}
    assert all(entry["name"] != other["name"] for other in cases), name
    cases.append(entry)


def ints(*data, shape=None):
    tensor = torch.tensor(data, dtype=torch.int64)
    return tensor.reshape(shape) if shape else tensor


# ---------------------------------------------------------------------------------------------- element by element

def unary():
    anywhere = values([2, 4], seed=1, low=-3, high=3)
    positive = values([2, 4], seed=2, low=0.05, high=3)
    inside = values([2, 4], seed=3, low=-0.9, high=0.9)
    for op, x in {
        "exp": anywhere, "expm1": anywhere, "log": positive, "log1p": positive, "log2": positive, "log10": positive,
        "sqrt": positive, "rsqrt": positive, "reciprocal": positive, "square": anywhere, "abs": anywhere,
        "neg": anywhere, "sign": anywhere, "floor": anywhere, "ceil": anywhere, "round": anywhere, "sin": anywhere,
        "cos": anywhere, "tan": inside, "asin": inside, "acos": inside, "atan": anywhere, "sinh": anywhere,
        "cosh": anywhere, "tanh": anywhere, "erf": anywhere, "sigmoid": anywhere,
    }.items():
        case(op, op, getattr(torch, op), {"input": x})
    case("abs", "abs_at_zero", torch.abs, {"input": torch.tensor([-1.0, 0.0, 2.0])})

    for op, function in {
        "relu": F.relu, "relu6": F.relu6, "silu": F.silu, "mish": F.mish, "softsign": F.softsign,
        "hardtanh": F.hardtanh, "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid,
    }.items():
        case(op, op, function, {"input": anywhere * 2})
    # F.logsigmoid's CPU kernel names its argument "input" as positional only.
    case("logsigmoid", "logsigmoid", lambda input: F.logsigmoid(input), {"input": anywhere})
    case("relu", "relu_at_zero", F.relu, {"input": torch.tensor([-1.0, 0.0, 2.0])})
    for approximate in ("none", "tanh"):
        name = {"none": "gelu_erf", "tanh": "gelu_tanh"}[approximate]
        case("gelu", name, lambda input: F.gelu(input, approximate=approximate), {"input": anywhere},
             {"approximate": approximate})
    for alpha in (1.0, 0.5):
        case("elu", f"elu_alpha_{alpha}", lambda input: F.elu(input, alpha=alpha), {"input": anywhere},
             {"alpha": alpha})
    case("selu", "selu", F.selu, {"input": anywhere})
    for slope in (0.01, 0.2):
        case("leaky_relu", f"leaky_relu_{slope}", lambda input: F.leaky_relu(input, slope), {"input": anywhere},
             {"negative_slope": slope})
    case("softplus", "softplus", F.softplus, {"input": anywhere}, {"beta": 1.0, "threshold": 20.0})
    case("softplus", "softplus_beyond_threshold", lambda input: F.softplus(input, beta=2.0, threshold=3.0),
         {"input": anywhere}, {"beta": 2.0, "threshold": 3.0})
    case("softplus", "softplus_large", F.softplus, {"input": torch.tensor([-800.0, -30.0, 0.0, 30.0, 800.0])},
         {"beta": 1.0, "threshold": 20.0})
    case("sigmoid", "sigmoid_large", torch.sigmoid, {"input": torch.tensor([-800.0, -30.0, 0.0, 30.0, 800.0])})
    case("prelu", "prelu_per_channel", F.prelu,
         {"input": values([2, 3, 2], seed=4), "weight": torch.tensor([0.1, 0.25, -0.3])})
    case("glu", "glu_last", lambda input: F.glu(input, dim=-1), {"input": values([2, 6], seed=5)}, {"dim": -1})

    for low, high in ((-0.5, 0.5), (None, 0.25), (-0.25, None)):
        case("clamp", f"clamp_{low}_{high}", lambda input: torch.clamp(input, low, high),
             {"input": values([2, 5], seed=6)}, {"min": low, "max": high})
    case("clamp", "clamp_on_the_bounds", lambda input: torch.clamp(input, -1.0, 1.0),
         {"input": torch.tensor([-1.0, -0.5, 1.0, 1.5])}, {"min": -1.0, "max": 1.0})
    for exponent in (2.0, 3.0, 0.5, -1.5):
        case("pow_scalar", f"pow_scalar_{exponent}", lambda input: torch.pow(input, exponent),
             {"input": positive}, {"exponent": exponent})
    case("pow_scalar", "pow_scalar_of_negatives", lambda input: torch.pow(input, 3.0), {"input": anywhere},
         {"exponent": 3.0})


def binary():
    shapes = {"same": ([2, 3], [2, 3]), "row": ([2, 3], [3]), "both": ([2, 1, 3], [4, 1]), "scalar": ([2, 3], [])}
    for op in ("add", "sub", "mul", "div"):
        for label, (left, right) in shapes.items():
            case(op, f"{op}_{label}", lambda input, other: getattr(torch, op)(input, other),
                 {"input": values(left, seed=7), "other": values(right, seed=8, low=0.5, high=2)})
    for op in ("maximum", "minimum"):
        case(op, f"{op}_broadcast", getattr(torch, op),
             {"input": values([2, 1, 3], seed=9), "other": values([2, 1], seed=10)})
        case(op, f"{op}_ties", getattr(torch, op),
             {"input": torch.tensor([1.0, 2.0, 3.0, -1.0]), "other": torch.tensor([1.0, 3.0, 2.0, -1.0])})
    case("pow", "pow_broadcast", lambda input, exponent: torch.pow(input, exponent),
         {"input": values([2, 3], seed=11, low=0.2, high=2), "exponent": values([3], seed=12, low=-2, high=2)})
    case("atan2", "atan2", lambda input, other: torch.atan2(input, other),
         {"input": values([2, 3], seed=13), "other": values([2, 3], seed=14)})
    case("where", "where_broadcast", lambda condition, input, other: torch.where(condition, input, other),
         {"condition": torch.tensor([[True, False, True], [False, False, True]]), "input": values([2, 3], seed=15),
          "other": values([3], seed=16)})
    left, right = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 2.0, 2.0])
    for op in ("eq", "ne", "lt", "le", "gt", "ge"):
        case(op, op, lambda input, other: getattr(torch, op)(input, other), {"input": left, "other": right})


def matmul():
    for label, left, right in (
        ("2d", [2, 3], [3, 4]), ("batched", [2, 2, 3], [2, 3, 2]), ("broadcast", [2, 1, 2, 3], [3, 3, 2]),
        ("matrix_vector", [2, 3], [3]), ("vector_matrix", [2], [2, 3]), ("dot", [3], [3]),
        ("batched_by_matrix", [2, 2, 3], [3, 2]),
    ):
        case("matmul", f"matmul_{label}", lambda input, other: torch.matmul(input, other),
             {"input": values(left, seed=18), "other": values(right, seed=19)})
    case("linear", "linear", F.linear,
         {"input": values([2, 3, 4], seed=20), "weight": values([5, 4], seed=21), "bias": values([5], seed=22)})
    case("linear", "linear_no_bias", F.linear, {"input": values([2, 4], seed=20), "weight": values([5, 4], seed=21)})


# ---------------------------------------------------------------------------------------------------- reductions

def reductions():
    x = values([2, 3, 4], seed=23, low=-2, high=2)
    for op in ("sum", "mean", "amax", "amin", "logsumexp"):
        for dims, keep in (([0], False), ([-1], True), ([1, 2], False)):
            case(op, f"{op}_{'_'.join(map(str, dims))}{'_keep' if keep else ''}",
                 lambda input: getattr(torch, op)(input, dim=dims, keepdim=keep), {"input": x}, {"dim": dims,
                                                                                                 "keepdim": keep})
    for op in ("sum", "mean"):
        case(op, f"{op}_all", lambda input: getattr(torch, op)(input), {"input": x},
             {"dim": [0, 1, 2], "keepdim": False})
    case("logsumexp", "logsumexp_large", lambda input: torch.logsumexp(input, dim=[1]),
         {"input": torch.tensor([[1000.0, 1000.5], [-1000.0, -999.0]])}, {"dim": [1], "keepdim": False})
    case("amax", "amax_ties_share", lambda input: torch.amax(input, dim=[1]),
         {"input": torch.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])}, {"dim": [1], "keepdim": False})
    for op in ("max", "min"):
        def with_indices(input):
            found, where = getattr(torch, op)(input, dim=1)
            return {"y": found, "indices": where}
        case(f"{op}_dim", f"{op}_dim", with_indices, {"input": x}, {"dim": 1, "keepdim": False})
    for op in ("argmax", "argmin"):
        case(op, op, lambda input: getattr(torch, op)(input, dim=-1), {"input": x}, {"dim": -1, "keepdim": False})
    case("prod", "prod", lambda input: torch.prod(input, dim=1), {"input": x}, {"dim": 1, "keepdim": False})
    for op in ("var", "std"):
        for correction in (1, 0):
            for dims, keep in (([1], False), ([0, 2], True)):
                case(op, f"{op}_{'unbiased' if correction else 'biased'}_{'_'.join(map(str, dims))}",
                     lambda input: getattr(torch, op)(input, dim=dims, correction=correction, keepdim=keep),
                     {"input": x}, {"dim": dims, "correction": correction, "keepdim": keep})
    for dim in (0, 2):
        case("cumsum", f"cumsum_{dim}", lambda input: torch.cumsum(input, dim=dim), {"input": x}, {"dim": dim})
    for order in (1.0, 2.0):
        case("norm", f"norm_l{int(order)}", lambda input: torch.linalg.vector_norm(input, ord=order, dim=[1]),
             {"input": x}, {"ord": order, "dim": [1], "keepdim": False})


# -------------------------------------------------------------------------------------------- shapes and indices

def indexing():
    x = values([3, 4], seed=24)
    case("gather", "gather_1", lambda input, index: torch.gather(input, 1, index),
         {"input": x, "index": ints(0, 0, 3, 2, 1, 1, shape=[3, 2])}, {"dim": 1})
    case("gather", "gather_0", lambda input, index: torch.gather(input, 0, index),
         {"input": x, "index": ints(0, 2, 1, 1, 2, 2, 0, 0, shape=[2, 4])}, {"dim": 0})
    for dim, index in ((0, ints(2, 0, 2)), (1, ints(3, 1))):
        case("index_select", f"index_select_{dim}", lambda input, index: torch.index_select(input, dim, index),
             {"input": x, "index": index}, {"dim": dim})
    case("scatter_add", "scatter_add_1", lambda input, index, src: torch.scatter_add(input, 1, index, src),
         {"input": x, "index": ints(0, 0, 3, 2, 1, 1, shape=[3, 2]), "src": values([3, 2], seed=25)}, {"dim": 1})
    case("scatter_add", "scatter_add_0", lambda input, index, src: torch.scatter_add(input, 0, index, src),
         {"input": x, "index": ints(0, 2, 1, 1, 2, 2, 0, 0, shape=[2, 4]), "src": values([2, 4], seed=26)}, {"dim": 0})
    case("scatter", "scatter_1", lambda input, index, src: torch.scatter(input, 1, index, src),
         {"input": x, "index": ints(0, 1, 3, 2, 1, 0, shape=[3, 2]), "src": values([3, 2], seed=25)}, {"dim": 1})
    case("index_add", "index_add_0", lambda input, index, src: torch.index_add(input, 0, index, src),
         {"input": x, "index": ints(2, 2, 0), "src": values([3, 4], seed=27)}, {"dim": 0})
    case("embedding", "embedding", lambda index, weight: F.embedding(index, weight),
         {"index": ints(1, 4, 4, 0, 2, 1, shape=[2, 3]), "weight": values([5, 3], seed=28)})
    case("one_hot", "one_hot", lambda index: F.one_hot(index, 4), {"index": ints(3, 0, 1)}, {"classes": 4})
    case("masked_fill", "masked_fill", lambda input, mask: input.masked_fill(mask, -7.5),
         {"input": values([2, 3], seed=29), "mask": torch.tensor([[True, False, True], [False, False, True]])},
         {"value": -7.5})


def shapes():
    x = values([2, 3, 4], seed=30)
    for dims in ([0], [1, 2]):
        case("flip", f"flip_{'_'.join(map(str, dims))}", lambda input: torch.flip(input, dims), {"input": x},
             {"dims": dims})
    case("roll", "roll", lambda input: torch.roll(input, 1, 2), {"input": x}, {"shift": 1, "dim": 2})
    # F.pad counts dimensions from the last; `pad` holds [before, after] for each dimension from the first.
    case("pad", "pad_constant", lambda input: F.pad(input, [1, 2, 0, 1], value=0.5), {"input": x},
         {"pad": [[0, 0], [0, 1], [1, 2]], "mode": "constant", "value": 0.5})
    case("pad", "pad_reflect", lambda input: F.pad(input, [2, 1], mode="reflect"), {"input": x},
         {"pad": [[0, 0], [0, 0], [2, 1]], "mode": "reflect"})
    case("pad", "pad_replicate", lambda input: F.pad(input, [2, 1], mode="replicate"), {"input": x},
         {"pad": [[0, 0], [0, 0], [2, 1]], "mode": "replicate"})
    case("permute", "permute", lambda input: input.permute(2, 0, 1), {"input": x}, {"dims": [2, 0, 1]})
    case("expand", "expand", lambda input: input.expand(4, 2, 3), {"input": values([2, 1], seed=31)},
         {"shape": [4, 2, 3]})
    case("repeat", "repeat", lambda input: input.repeat(2, 1, 2), {"input": values([2, 3], seed=31)},
         {"repeats": [2, 1, 2]})
    case("concat", "concat", lambda a, b: torch.cat([a, b], 1),
         {"a": values([2, 2], seed=32), "b": values([2, 3], seed=33)}, {"dim": 1})
    case("stack", "stack", lambda a, b: torch.stack([a, b], 1),
         {"a": values([2, 2], seed=32), "b": values([2, 2], seed=33)}, {"dim": 1})
    case("unfold", "unfold", lambda input: input.unfold(1, 3, 2), {"input": values([2, 7], seed=34)},
         {"dim": 1, "size": 3, "step": 2})
    for diagonal in (0, -1):
        case("tril", f"tril_{diagonal}", lambda input: torch.tril(input, diagonal), {"input": x},
             {"diagonal": diagonal})
        case("triu", f"triu_{-diagonal}", lambda input: torch.triu(input, -diagonal), {"input": x},
             {"diagonal": -diagonal})

    def sort(input):
        found, where = torch.sort(input, dim=-1)
        return {"y": found, "indices": where}

    def topk(input):
        found, where = torch.topk(input, 2, dim=-1)
        return {"y": found, "indices": where}

    case("sort", "sort", sort, {"input": x}, {"dim": -1, "descending": False})
    case("topk", "topk", topk, {"input": x}, {"k": 2, "dim": -1})


# ---------------------------------------------------------------------------------------------------- normalising

def normalising():
    x = values([2, 3, 4], seed=35, low=-3, high=3)
    for op in ("softmax", "log_softmax"):
        for dim in (-1, 1, 0):
            case(op, f"{op}_{dim}", lambda input: getattr(F, op)(input, dim=dim), {"input": x}, {"dim": dim})
        case(op, f"{op}_large", lambda input: getattr(F, op)(input, dim=-1),
             {"input": torch.tensor([[1000.0, 999.0, -1000.0], [-1000.0, -1000.0, -1001.0]])}, {"dim": -1})

    for label, shape in (("last", [4]), ("last_two", [3, 4])):
        case("layer_norm", f"layer_norm_{label}",
             lambda input, weight, bias: F.layer_norm(input, shape, weight, bias, 1e-5),
             {"input": x, "weight": values(shape, seed=36, low=0.5, high=1.5), "bias": values(shape, seed=37)},
             {"normalized_shape": shape, "eps": 1e-5})
    case("layer_norm", "layer_norm_plain", lambda input: F.layer_norm(input, [4], eps=1e-3), {"input": x},
         {"normalized_shape": [4], "eps": 1e-3})
    case("rms_norm", "rms_norm", lambda input, weight: F.rms_norm(input, [4], weight, 1e-6),
         {"input": x, "weight": values([4], seed=36, low=0.5, high=1.5)}, {"normalized_shape": [4], "eps": 1e-6})
    case("rms_norm", "rms_norm_plain", lambda input: F.rms_norm(input, [4], eps=1e-3), {"input": x},
         {"normalized_shape": [4], "eps": 1e-3})
    case("group_norm", "group_norm", lambda input, weight, bias: F.group_norm(input, 2, weight, bias, 1e-5),
         {"input": values([2, 4, 3], seed=38), "weight": values([4], seed=36, low=0.5, high=1.5),
          "bias": values([4], seed=37)},
         {"groups": 2, "eps": 1e-5})

    for label, shape in (("2d", [4, 3]), ("3d", [2, 3, 4]), ("4d", [2, 3, 2, 2])):
        for training in (True, False):
            def batch_norm(input, weight, bias, running_mean, running_var):
                mean, var = running_mean.clone(), running_var.clone()
                y = F.batch_norm(input, mean, var, weight, bias, training, 0.1, 1e-5)
                return {"y": y, "running_mean": mean, "running_var": var}
            case("batch_norm", f"batch_norm_{label}_{'train' if training else 'eval'}", batch_norm,
                 {"input": values(shape, seed=39, low=-2, high=2), "weight": values([3], seed=40, low=0.5, high=1.5),
                  "bias": values([3], seed=41), "running_mean": values([3], seed=42),
                  "running_var": values([3], seed=43, low=0.5, high=2)},
                 {"training": training, "momentum": 0.1, "eps": 1e-5}, undifferentiated=("running_mean", "running_var"))


def attention():
    def qkv(queries, keys, size=4, value_size=4):
        return {"query": values([2, 2, queries, size], seed=44), "key": values([2, 2, keys, size], seed=45),
                "value": values([2, 2, keys, value_size], seed=46)}

    op = "scaled_dot_product_attention"
    plain_attention = lambda query, key, value: F.scaled_dot_product_attention(query, key, value)
    case(op, "attention", plain_attention, qkv(3, 3), {"causal": False, "scale": 0.5})
    case(op, "attention_lengths_differ", plain_attention, qkv(2, 3, value_size=3), {"causal": False, "scale": 0.5})
    case(op, "attention_causal", lambda query, key,
         value: F.scaled_dot_product_attention(query, key, value, is_causal=True),
         qkv(3, 3), {"causal": True, "scale": 0.5})
    case(op, "attention_scale", lambda query, key, value: F.scaled_dot_product_attention(query, key, value, scale=0.3),
         qkv(3, 3), {"causal": False, "scale": 0.3})
    masked = lambda query, key, value, mask: F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    # True attends. No row is wholly false: what such a row should give is a matter of taste.
    allowed = torch.tensor([[True, False, True], [True, True, False], [False, True, True]])
    case(op, "attention_boolean_mask", masked, {**qkv(3, 3), "mask": allowed}, {"causal": False, "scale": 0.5})
    case(op, "attention_additive_mask", masked, {**qkv(3, 3), "mask": values([3, 3], seed=47, low=-2, high=2)},
         {"causal": False, "scale": 0.5}, undifferentiated=("mask",))
    by_batch = torch.tensor([[True, True, False], [True, False, False]]).reshape(2, 1, 1, 3)
    case(op, "attention_padding_mask", masked, {**qkv(3, 3), "mask": by_batch}, {"causal": False, "scale": 0.5})


# --------------------------------------------------------------------------------------------------------- losses

def losses():
    input, target = values([3, 4], seed=48, low=-2, high=2), values([3, 4], seed=49, low=-2, high=2)
    for reduction in ("mean", "sum", "none"):
        attrs = {"reduction": reduction}
        case("mse_loss", f"mse_loss_{reduction}", lambda input, target: F.mse_loss(input, target, reduction=reduction),
             {"input": input, "target": target}, attrs)
        case("l1_loss", f"l1_loss_{reduction}", lambda input, target: F.l1_loss(input, target, reduction=reduction),
             {"input": input, "target": target}, attrs)
        for delta in (1.0, 0.5):
            case("huber_loss", f"huber_loss_{delta}_{reduction}",
                 lambda input, target: F.huber_loss(input, target, reduction=reduction, delta=delta),
                 {"input": input, "target": target}, {**attrs, "delta": delta})
            case("smooth_l1_loss", f"smooth_l1_loss_{delta}_{reduction}",
                 lambda input, target: F.smooth_l1_loss(input, target, reduction=reduction, beta=delta),
                 {"input": input, "target": target}, {**attrs, "beta": delta})
        labels = values([3, 4], seed=50, low=0, high=1)
        case("bce_with_logits", f"bce_with_logits_{reduction}",
             lambda input, target: F.binary_cross_entropy_with_logits(input, target, reduction=reduction),
             {"input": input, "target": labels}, attrs, undifferentiated=("target",))
        # PyTorch's "mean" for this one divides by every element and is about to change; "batchmean" is the formula.
        divergence = "batchmean" if reduction == "mean" else reduction
        case("kl_div", f"kl_div_{divergence}", lambda input, target: F.kl_div(input, target, reduction=divergence),
             {"input": F.log_softmax(input, -1), "target": F.softmax(target, -1)}, {"reduction": divergence},
             undifferentiated=("target",))

        classes = ints(2, 0, 3)
        for smoothing in (0.0, 0.1):
            case("cross_entropy", f"cross_entropy_smoothing_{smoothing}_{reduction}",
                 lambda input, target: F.cross_entropy(input, target, reduction=reduction, label_smoothing=smoothing),
                 {"input": input, "target": classes}, {**attrs, "label_smoothing": smoothing})
        case("nll_loss", f"nll_loss_{reduction}", lambda input, target: F.nll_loss(input, target, reduction=reduction),
             {"input": F.log_softmax(input, -1), "target": classes}, attrs)
        weight = torch.tensor([0.5, 1.0, 2.0, 1.5])
        for smoothing in (0.0, 0.1):
            case("cross_entropy", f"cross_entropy_class_weights_{smoothing}_{reduction}",
                 lambda input, target, weight: F.cross_entropy(input, target, weight, reduction=reduction,
                                                               label_smoothing=smoothing),
                 {"input": input, "target": classes, "weight": weight}, {**attrs, "label_smoothing": smoothing},
                 undifferentiated=("weight",))
        case("cross_entropy", f"cross_entropy_ignore_index_{reduction}",
             lambda input, target: F.cross_entropy(input, target, reduction=reduction, ignore_index=-100),
             {"input": input, "target": ints(2, -100, 3)}, {**attrs, "label_smoothing": 0.0, "ignore_index": -100})
    case("cross_entropy", "cross_entropy_probabilities", lambda input, target: F.cross_entropy(input, target),
         {"input": input, "target": F.softmax(target, -1)}, {"reduction": "mean", "label_smoothing": 0.0},
         undifferentiated=("target",))
    # Dimension 1 holds the classes; every other position is a sample.
    case("cross_entropy", "cross_entropy_positions", lambda input, target: F.cross_entropy(input, target),
         {"input": values([2, 3, 2], seed=51), "target": ints(2, 0, 1, 1, shape=[2, 2])},
         {"reduction": "mean", "label_smoothing": 0.0})
    case("bce_with_logits", "bce_with_logits_large", lambda input,
         target: F.binary_cross_entropy_with_logits(input, target),
         {"input": torch.tensor([-800.0, -30.0, 30.0, 800.0]), "target": torch.tensor([1.0, 0.0, 1.0, 0.0])},
         {"reduction": "mean"}, undifferentiated=("target",))
    case("bce_with_logits", "bce_with_logits_pos_weight",
         lambda input, target, pos_weight: F.binary_cross_entropy_with_logits(input, target, pos_weight=pos_weight),
         {"input": input, "target": values([3, 4], seed=50, low=0, high=1),
          "pos_weight": torch.tensor([0.5, 1.0, 2.0, 3.0])},
         {"reduction": "mean"}, undifferentiated=("target", "pos_weight"))
    case("cosine_similarity", "cosine_similarity", lambda input, target: F.cosine_similarity(input, target, dim=1),
         {"input": input, "target": target}, {"dim": 1, "eps": 1e-8})


# ---------------------------------------------------------------------------------------- convolutions and pooling

def convolutions():
    variants = (
        ("", {}, 4, 2, 1), ("_stride", {"stride": 2}, 4, 2, 1), ("_padding", {"padding": 1}, 4, 2, 1),
        ("_dilation", {"dilation": 2, "padding": 2}, 4, 2, 1), ("_groups", {"groups": 2, "padding": 1}, 4, 4, 2),
        ("_depthwise", {"groups": 4, "stride": 2, "padding": 1}, 4, 4, 4),
    )
    for label, options, out_channels, in_channels, groups in variants:
        attrs = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **options}
        case("conv1d", f"conv1d{label}", lambda input, weight, bias: F.conv1d(input, weight, bias, **options),
             {"input": values([2, in_channels, 7], seed=52),
              "weight": values([out_channels, in_channels // groups, 3], seed=53),
              "bias": values([out_channels], seed=54)}, attrs)
        case("conv2d", f"conv2d{label}", lambda input, weight, bias: F.conv2d(input, weight, bias, **options),
             {"input": values([1, in_channels, 5, 6], seed=55),
              "weight": values([out_channels, in_channels // groups, 3, 2], seed=56),
              "bias": values([out_channels], seed=57)}, attrs)
    case("conv1d", "conv1d_no_bias", lambda input, weight: F.conv1d(input, weight),
         {"input": values([2, 2, 5], seed=52), "weight": values([3, 2, 2], seed=53)},
         {"stride": 1, "padding": 0, "dilation": 1, "groups": 1})
    for label, options, in_channels, out_per_group, groups in (
        ("", {}, 3, 2, 1), ("_stride", {"stride": 2}, 3, 2, 1), ("_padding", {"stride": 2, "padding": 1}, 3, 2, 1),
        ("_output_padding", {"stride": 2, "padding": 1, "output_padding": 1}, 3, 2, 1), ("_dilation", {"dilation": 2},
                                                                                         3, 2, 1),
        ("_groups", {"groups": 2, "stride": 2}, 4, 1, 2),
    ):
        attrs = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1, **options}
        case("conv_transpose1d", f"conv_transpose1d{label}",
             lambda input, weight, bias: F.conv_transpose1d(input, weight, bias, **options),
             {"input": values([2, in_channels, 4], seed=58), "weight": values([in_channels, out_per_group, 3], seed=59),
              "bias": values([out_per_group * groups], seed=60)}, attrs)
    case("conv_transpose2d", "conv_transpose2d", lambda input, weight,
         bias: F.conv_transpose2d(input, weight, bias, stride=2, padding=1),
         {"input": values([1, 2, 3, 3], seed=61), "weight": values([2, 3, 3, 3], seed=62),
          "bias": values([3], seed=63)},
         {"stride": 2, "padding": 1, "output_padding": 0, "dilation": 1, "groups": 1})


def pooling():
    x1, x2 = values([2, 3, 7], seed=64), values([2, 2, 5, 6], seed=65)
    for label, kernel, stride, padding in (("", 2, 2, 0), ("_overlap", 3, 1, 0), ("_padding", 3, 2, 1)):
        attrs = {"kernel": kernel, "stride": stride, "padding": padding}
        case("max_pool1d", f"max_pool1d{label}", lambda input: F.max_pool1d(input, kernel, stride, padding),
             {"input": x1}, attrs)
        case("max_pool2d", f"max_pool2d{label}", lambda input: F.max_pool2d(input, kernel, stride, padding),
             {"input": x2}, attrs)
        for counted in (True, False) if padding else (True,):
            suffix = label if counted else f"{label}_not_counted"
            also = {**attrs, "count_include_pad": counted}
            case("avg_pool1d", f"avg_pool1d{suffix}",
                 lambda input: F.avg_pool1d(input, kernel, stride, padding, False, counted), {"input": x1}, also)
            case("avg_pool2d", f"avg_pool2d{suffix}",
                 lambda input: F.avg_pool2d(input, kernel, stride, padding, False, counted), {"input": x2}, also)
    case("max_pool1d", "max_pool1d_ties", lambda input: F.max_pool1d(input, 2, 2),
         {"input": torch.tensor([[[1.0, 1.0, 2.0, 2.0]]])},
         {"kernel": 2, "stride": 2, "padding": 0})
    case("adaptive_avg_pool1d", "adaptive_avg_pool1d", lambda input: F.adaptive_avg_pool1d(input, 3), {"input": x1},
         {"output_size": 3})
    case("upsample_nearest1d", "upsample_nearest1d", lambda input: F.interpolate(input, scale_factor=2, mode="nearest"),
         {"input": values([1, 2, 3], seed=66)}, {"factor": 2})
    case("upsample_nearest2d", "upsample_nearest2d", lambda input: F.interpolate(input, scale_factor=2, mode="nearest"),
         {"input": values([1, 2, 2, 2], seed=66)}, {"factor": 2})


# ------------------------------------------------------------------------------------------------ recurrent layers

def recurrent():
    steps, batch, inputs, hidden = 4, 2, 3, 5
    for op, gates in (("lstm", 4), ("gru", 3)):
        for bias in (True, False):
            for batch_first in (False, True):
                if batch_first and not bias:
                    continue
                tensors = {
                    "input": values([batch, steps, inputs] if batch_first else [steps, batch, inputs], seed=67),
                    "h0": values([batch, hidden], seed=68),
                    "weight_ih": values([gates * hidden, inputs], seed=70),
                    "weight_hh": values([gates * hidden, hidden], seed=71),
                }
                if op == "lstm":
                    tensors["c0"] = values([batch, hidden], seed=69)
                if bias:
                    tensors["bias_ih"] = values([gates * hidden], seed=72)
                    tensors["bias_hh"] = values([gates * hidden], seed=73)

                def layer(input, h0, weight_ih, weight_hh, c0=None, bias_ih=None, bias_hh=None):
                    weights = [weight_ih, weight_hh] + ([bias_ih, bias_hh] if bias else [])
                    if op == "lstm":
                        y, h, c = torch.lstm(input, (h0[None], c0[None]), weights, bias, 1, 0.0, True, False,
                                             batch_first)
                        return {"y": y, "h": h[0], "c": c[0]}
                    y, h = torch.gru(input, h0[None], weights, bias, 1, 0.0, True, False, batch_first)
                    return {"y": y, "h": h[0]}

                name = f"{op}{'' if bias else '_no_bias'}{'_batch_first' if batch_first else ''}"
                gate_order = "i,f,g,o" if op == "lstm" else "r,z,n"
                case(op, name, layer, tensors, {"batch_first": batch_first, "bias": bias, "gates": gate_order})

    for op, gates in (("lstm_cell", 4), ("gru_cell", 3)):
        tensors = {
            "input": values([batch, inputs], seed=74), "h": values([batch, hidden], seed=75),
            "weight_ih": values([gates * hidden, inputs], seed=70), "weight_hh": values([gates * hidden, hidden],
                                                                                        seed=71),
            "bias_ih": values([gates * hidden], seed=72), "bias_hh": values([gates * hidden], seed=73),
        }
        if op == "lstm_cell":
            tensors["c"] = values([batch, hidden], seed=76)

            def cell(input, h, c, weight_ih, weight_hh, bias_ih, bias_hh):
                h, c = torch.lstm_cell(input, (h, c), weight_ih, weight_hh, bias_ih, bias_hh)
                return {"h": h, "c": c}
        else:
            def cell(input, h, weight_ih, weight_hh, bias_ih, bias_hh):
                return {"h": torch.gru_cell(input, h, weight_ih, weight_hh, bias_ih, bias_hh)}
        case(op, op, cell, tensors)


# ------------------------------------------------------------------------------------------------ linear algebra

def linalg():
    a = values([3, 3], seed=77) + 2 * torch.eye(3)
    spd = a @ a.T
    case("solve", "solve", lambda A, B: torch.linalg.solve(A, B), {"A": a, "B": values([3, 2], seed=78)})
    case("cholesky", "cholesky", lambda A: torch.linalg.cholesky(A), {"A": spd}, undifferentiated=("A",))
    case("inverse", "inverse", lambda A: torch.linalg.inv(A), {"A": a})
    case("det", "det", lambda A: torch.linalg.det(A), {"A": a})
    tall = values([5, 3], seed=79)
    case("lstsq", "lstsq", lambda A, B: torch.linalg.lstsq(A, B).solution, {"A": tall, "B": values([5, 2], seed=80)},
         undifferentiated=("A", "B"))
    case("singular_values", "singular_values", lambda A: torch.linalg.svdvals(A), {"A": tall}, undifferentiated=("A",))
    case("symmetric_eigenvalues", "symmetric_eigenvalues", lambda A: torch.linalg.eigvalsh(A), {"A": spd},
         undifferentiated=("A",))


# ------------------------------------------------------------------------------------------------------ optimisers

def trajectory(optimiser, options, steps=6):
    """A parameter under gradients that do not depend on it: what is compared is the update rule alone."""
    parameter = values([2, 3], seed=81).requires_grad_(True)
    start = plain(parameter)
    rule = getattr(torch.optim, optimiser)([parameter], **options)
    gradients, after = [], []
    for step in range(steps):
        parameter.grad = values([2, 3], seed=82 + step)
        gradients.append(plain(parameter.grad))
        rule.step()
        after.append(plain(parameter))
    return {"optimiser": optimiser, "options": options, "start": start, "gradients": gradients, "after": after}


def optimisers():
    sgd = [
        {}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "dampening": 0.3},
        {"weight_decay": 0.1}, {"momentum": 0.8, "dampening": 0.1, "weight_decay": 0.05},
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.05},
    ]
    adam = [
        {}, {"weight_decay": 0.1}, {"betas": [0.8, 0.95], "eps": 1e-6}, {"amsgrad": True},
        {"betas": [0.0, 0.9], "eps": 1e-3, "weight_decay": 0.01},
    ]
    result = [trajectory("SGD", {"lr": 0.1, **options}) for options in sgd]
    for name in ("Adam", "AdamW"):
        result += [trajectory(name, {"lr": 0.01, **options}) for options in adam]
    return result


def clipping():
    result = []
    for max_norm, order in ((1.0, 2.0), (100.0, 2.0), (1.0, 1.0), (0.5, math.inf)):
        tensors = [values(shape, seed=90 + i).requires_grad_(True) for i, shape in enumerate(([2, 3], [4], []))]
        for i, tensor in enumerate(tensors):
            tensor.grad = values(tensor.shape, seed=93 + i, low=-2, high=2)
        before = [plain(tensor.grad) for tensor in tensors]
        norm = torch.nn.utils.clip_grad_norm_(tensors, max_norm, order)
        result.append({"kind": "norm", "max_norm": max_norm, "norm_type": "inf" if order == math.inf else order,
                       "gradients": before, "norm": norm.item(), "after": [plain(tensor.grad) for tensor in tensors]})
    parameter = values([2, 3], seed=96).requires_grad_(True)
    parameter.grad = values([2, 3], seed=97, low=-2, high=2)
    before = [plain(parameter.grad)]
    torch.nn.utils.clip_grad_value_([parameter], 0.75)
    result.append({"kind": "value", "clip_value": 0.75, "gradients": before, "after": [plain(parameter.grad)]})
    return result


# ----------------------------------------------------------------------------------- short types and loss scaling

def short_trajectory(dtype, optimiser, options, steps=8):
    """The optimiser sees a float32 copy of the parameter and of its gradient; the parameter is what the copy rounds to."""
    parameter = values([2, 3], seed=110).to(dtype)
    master = parameter.float().requires_grad_(True)
    entry = {"dtype": str(dtype).removeprefix("torch."), "optimiser": optimiser, "options": options,
             "start": plain(parameter), "gradients": [], "masters": [], "after": []}
    rule = getattr(torch.optim, optimiser)([master], **options)
    for step in range(steps):
        # Small enough that many a step changes no digit of the parameter.
        gradient = (values([2, 3], seed=111 + step) / 64).to(dtype)
        master.grad = gradient.float()
        rule.step()
        parameter.copy_(master.detach())
        entry["gradients"].append(plain(gradient))
        entry["masters"].append(plain(master))
        entry["after"].append(plain(parameter))
    return entry


def mixed():
    rules = [("SGD", {"lr": 0.1}), ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}),
             ("Adam", {"lr": 0.001, "weight_decay": 0.1}), ("AdamW", {"lr": 0.001})]
    return [short_trajectory(dtype, *rule) for dtype in (torch.bfloat16, torch.float16) for rule in rules]


def scaled_trajectory(optimiser, options, scaler_options, clip=None, steps=14):
    parameter = values([2, 3], seed=120).float().requires_grad_(True)
    entry = {"optimiser": optimiser, "options": options, "scaler": scaler_options, "clip": clip, "start": plain(parameter),
             "gradients": [], "scales": [], "good": [], "after": []}
    rule = getattr(torch.optim, optimiser)([parameter], **options)
    scaler = torch.amp.GradScaler("cpu", **scaler_options)
    for step in range(steps):
        gradient = values([2, 3], seed=121 + step).float()
        if step in (1, 2, 8):
            gradient[1, 1] = math.inf
        if step == 12:
            # Finite, but not when it is scaled.
            gradient[0, 2] = 3e38
        rule.zero_grad()
        scaler.scale((parameter * gradient).sum()).backward()
        if clip is not None:
            scaler.unscale_(rule)
            torch.nn.utils.clip_grad_norm_([parameter], clip)
        scaler.step(rule)
        scaler.update()
        entry["gradients"].append(plain(gradient))
        entry["scales"].append(scaler.get_scale())
        entry["good"].append(scaler._get_growth_tracker())
        entry["after"].append(plain(parameter))
    return entry


def scaling():
    gentle = {"init_scale": 1024.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 3}
    rough = {"init_scale": 2.0 ** 16, "growth_factor": 4.0, "backoff_factor": 0.25, "growth_interval": 2}
    return [
        scaled_trajectory("SGD", {"lr": 0.1}, gentle),
        scaled_trajectory("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05}, rough),
        scaled_trajectory("AdamW", {"lr": 0.01}, gentle),
        scaled_trajectory("Adam", {"lr": 0.01}, rough, clip=0.5),
    ]


if __name__ == "__main__":
    for group in (unary, binary, matmul, reductions, indexing, shapes, normalising, attention, losses, convolutions,
                  pooling, recurrent, linalg):
        group()
    write(
        "ops.json",
        {"about": "Written by ops.py; `cargo xtask reference` writes it again.",
         "torch": torch.__version__.split("+")[0]},
        cases=cases, optimisers=optimisers(), clipping=clipping(), mixed=mixed(), scaling=scaling(),
    )
