"""Programs with functions of one's own: name → a function of a library and tensors x (4, 3), v (3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def functions(T: Any) -> Any:
    """The functions that the programs use, over a library."""
    once_differentiable = T.autograd.function.once_differentiable

    class Cube(T.autograd.Function):
        """Backward in operations on tensors; its gradient is twice as large as it should be, to tell it apart."""

        @staticmethod
        def forward(x):
            return x**3

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 6 * x**2

        @staticmethod
        def jvp(ctx, t):
            (x,) = ctx.saved_tensors
            return t * 6 * x**2

        generate_vmap_rule = True

    class Exp(T.autograd.Function):
        """Keeps its result."""

        @staticmethod
        def forward(x):
            return x.exp()

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(output)

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0] * 2

        generate_vmap_rule = True

    class Sparse(T.autograd.Function):
        """Keeps a sparse tensor that it made, between others."""

        @staticmethod
        def forward(ctx, values, b):
            a = T.sparse_coo_tensor(T.tensor([[0, 1, 1], [2, 0, 3]]), values, (2, 4), check_invariants=True)
            ctx.save_for_backward(None, a, b)
            return T.matmul(a, b)

        @staticmethod
        def backward(ctx, g):
            _none, a, b = ctx.saved_tensors
            rows, columns = a._indices()
            return (g @ b.t())[rows, columns], a.t().matmul(g)

    class TwoOfThree(T.autograd.Function):
        """Several arguments and results, one of them no tensor, one not differentiable."""

        @staticmethod
        def forward(x, k, y):
            return x * y * k, x + y, (x > y)

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, ctx.k, y = inputs
            ctx.mark_non_differentiable(output[2])
            ctx.save_for_backward(x, y)

        @staticmethod
        def backward(ctx, a, b, _):
            x, y = ctx.saved_tensors
            return a * y * ctx.k + b, None, a * x * ctx.k + 3 * b

        generate_vmap_rule = True

    class Sorted(T.autograd.Function):
        """Has a batching rule of its own."""

        @staticmethod
        def forward(x, dim):
            return x.sort(dim)[0] * 1

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, ctx.dim = inputs
            ctx.save_for_backward(x)

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0].detach(), None

        @staticmethod
        def vmap(info, in_dims, x, dim):
            x = x.movedim(in_dims[0], 0)
            return Sorted.apply(x, dim + 1 if dim >= 0 else dim), 0

    class Old(T.autograd.Function):
        """The form without setup_context."""

        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return (x * y).sin()

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            need_x, need_y = ctx.needs_input_grad
            slope = g * (x * y).cos()
            return slope * y if need_x else None, (slope * x).sum(0) if need_y else None

    class Once(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            return g * 2 * ctx.saved_tensors[0]

    class Doubled(T.autograd.Function):
        """Writes into its argument."""

        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def backward(ctx, g):
            return g * 5

    class Identity(T.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return -g

    class Quiet(T.autograd.Function):
        """Is told of missing gradients."""

        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            return a * 2 if b is None else b * 7

    class Namespace:
        pass

    found = Namespace()
    for each in (Cube, Exp, TwoOfThree, Sorted, Old, Once, Doubled, Identity, Quiet, Sparse):
        setattr(found, each.__name__, each)
    return found


def gradients(T, out, *inputs, create_graph=False):
    return T.autograd.grad(out.sum(), inputs, create_graph=create_graph, allow_unused=True)


def second(T, f, x):
    """The gradient of the gradient, weighted."""
    x = x.detach().requires_grad_()
    (g,) = gradients(T, f(x), x, create_graph=True)
    return (g, *gradients(T, (g * x.detach().cos()).sum(), x))


def first(T, f, *xs):
    xs = tuple(x.detach().requires_grad_() for x in xs)
    out = f(*xs)
    return (out, *gradients(T, out, *xs))


#: What runs in any version of either library.
PLAIN: dict[str, Callable[..., Any]] = {
    "gradient": lambda T, C, x, v: first(T, C.Cube.apply, x),
    "of its result": lambda T, C, x, v: first(T, C.Exp.apply, x),
    "gradient of gradient": lambda T, C, x, v: second(T, C.Cube.apply, x),
    "gradient of gradient by its result": lambda T, C, x, v: second(T, C.Exp.apply, x),
    "several": lambda T, C, x, v: first(T, lambda a, b: C.TwoOfThree.apply(a, 2.0, b)[0], v, v + 1),
    "second of several": lambda T, C, x, v: first(T, lambda a, b: C.TwoOfThree.apply(a, 2.0, b)[1], v, v + 1),
    "all of several": lambda T, C, x, v: first(
        T, lambda a, b: sum(o * (k + 1) for k, o in enumerate(C.TwoOfThree.apply(a, 2.0, b))), v, v + 1
    ),
    "broadcast": lambda T, C, x, v: first(T, C.Old.apply, x, v),
    "one is enough": lambda T, C, x, v: first(T, lambda a: C.Old.apply(x, a), v),
    "once": lambda T, C, x, v: first(T, C.Once.apply, x),
    "in place": lambda T, C, x, v: first(T, lambda a: C.Doubled.apply(a * 1) * a, x),
    "identity": lambda T, C, x, v: first(T, lambda a: C.Identity.apply(a) * a.detach(), x),
    "missing gradients": lambda T, C, x, v: first(T, lambda a: C.Quiet.apply(a)[0], x)
    + first(T, lambda a: C.Quiet.apply(a)[1], x),
    "batching rule unused": lambda T, C, x, v: first(T, lambda a: C.Sorted.apply(a, 0), x),
    "sparse": lambda T, C, x, v: first(T, C.Sparse.apply, v, x),
    "in a network": lambda T, C, x, v: first(T, lambda a, b: C.Exp.apply((C.Cube.apply(a * 0.3) @ b).tanh()), x, v),
}  # fmt: skip

#: Under transforms.
TRANSFORMED: dict[str, Callable[..., Any]] = {
    "grad": lambda T, C, x, v: T.func.grad(lambda a: C.Cube.apply(a).sum())(x),
    "grad of grad": lambda T, C, x, v: T.func.grad(
        lambda a: (T.func.grad(lambda b: C.Cube.apply(b).sum())(a) * a).sum()
    )(x),
    "jvp": lambda T, C, x, v: T.func.jvp(lambda a: C.Cube.apply(a) * a, (v,), (v + 1,)),
    "jacfwd": lambda T, C, x, v: T.func.jacfwd(lambda a: C.Cube.apply(a) * a.sum())(v),
    "jacrev": lambda T, C, x, v: T.func.jacrev(lambda a: C.Cube.apply(a) * a.sum())(v),
    "hessian": lambda T, C, x, v: T.func.hessian(lambda a: C.Cube.apply(a).sum())(v),
    "vmap": lambda T, C, x, v: T.func.vmap(C.Cube.apply)(x),
    "vmap of several": lambda T, C, x, v: T.func.vmap(lambda a, b: C.TwoOfThree.apply(a, 2.0, b), in_dims=(0, None))(
        x, v
    )[:2],
    "vmap of grad": lambda T, C, x, v: T.func.vmap(T.func.grad(lambda a: C.Cube.apply(a).sum()))(x),
    "vmap of grad by its result": lambda T, C, x, v: T.func.vmap(T.func.grad(lambda a: C.Exp.apply(a).sum()))(x),
    "grad of vmap": lambda T, C, x, v: T.func.grad(lambda a: T.func.vmap(C.Cube.apply)(a * x).sum())(v),
    "grad of vmap by its result": lambda T, C, x, v: T.func.grad(lambda a: T.func.vmap(C.Exp.apply)(a * x).sum())(v),
    "grad of vmap of several": lambda T, C, x, v: T.func.grad(
        lambda a, b: sum(o.sum() for o in T.func.vmap(lambda p, q: C.TwoOfThree.apply(p, 2.0, q)[:2], (0, None))(b, a)),
        argnums=(0, 1),
    )(v, x),
    "grad of grad of vmap": lambda T, C, x, v: T.func.grad(
        lambda b: (T.func.grad(lambda a: T.func.vmap(C.Cube.apply)(a * x).sum())(b) * b).sum()
    )(v),
    "vmap of vmap": lambda T, C, x, v: T.func.vmap(T.func.vmap(C.Cube.apply))(x),
    "grad of vmap of vmap": lambda T, C, x, v: T.func.grad(
        lambda a: T.func.vmap(T.func.vmap(lambda p, q: C.TwoOfThree.apply(p, 2.0, q)[0]), (0, None))(a * x, v).sum()
    )(v),
    "jvp of vmap": lambda T, C, x, v: T.func.jvp(lambda a: T.func.vmap(C.Cube.apply)(a), (x,), (x,)),
    "vmap of jvp": lambda T, C, x, v: T.func.vmap(lambda a: T.func.jvp(C.Cube.apply, (a,), (v,)))(x),
    "rule of its own": lambda T, C, x, v: T.func.vmap(lambda a: C.Sorted.apply(a, 0))(x),
    "grad of a rule of its own": lambda T, C, x, v: T.func.grad(
        lambda a: T.func.vmap(lambda b: C.Sorted.apply(b, 0))(a * x).sum()
    )(v),
    "vmap of grad of a rule of its own": lambda T, C, x, v: T.func.vmap(
        T.func.grad(lambda a: (C.Sorted.apply(a, -1) * v).sum())
    )(x),
    "per-sample": lambda T, C, x, v: T.func.vmap(
        T.func.grad(lambda w, a: C.Exp.apply((a * w).sum())), in_dims=(None, 0)
    )(v, x),
}  # fmt: skip
