"""A small program that runs every family of kernels once, for tools that watch memory: compute-sanitizer.

``python -m benchmarks.kernels.families`` compares each result with the eager one, and says how many families ran.
``--rehearse`` runs the kernels in the emulator.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np


def programs(T: Any, F: Any, device: str = "cuda") -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """Name → function and operands, sizes odd and small."""
    rng = np.random.default_rng(0)

    def put(*shape: int, dtype: Any = None) -> Any:
        return T.tensor(rng.normal(size=shape).astype(np.float32), device=device, dtype=dtype)

    def whole(high: int, *shape: int) -> Any:
        return T.tensor(rng.integers(0, high, shape), device=device)

    x, y, half = put(37, 131), put(37, 131), put(37, 131, dtype=T.float16)
    images, weight = put(2, 3, 9, 9), put(4, 3, 3, 3)
    table, logits = put(50, 36).requires_grad_(), put(37, 131).requires_grad_()

    def loss(w: Any, target: Any) -> Any:
        found = F.cross_entropy(w, target)
        return found, *T.autograd.grad(found, (w,))

    def norm(x: Any, w: Any, b: Any, ct: Any) -> Any:
        return T.autograd.grad(F.layer_norm(x, (x.shape[-1],), w, b), (x, w, b), ct)

    def rows(count: int) -> tuple[Any, ...]:
        x, w, b = put(count, 260), put(260), put(260)
        return x.requires_grad_(), w.requires_grad_(), b.requires_grad_(), put(count, 260)

    return {
        "stripes": (norm, rows(2048)),
        "stripes with an end": (norm, rows(2053)),
        "pieces of rows": (lambda a: F.softmax(a, -1), (put(2, 300_001),)),
        "rows of clusters": (lambda a: (F.softmax(a, -1), F.log_softmax(a, -1)), (put(5, 40_001),)),
        "rows that clusters hold": (lambda a: (a.logsumexp(-1), F.rms_norm(a, a.shape[-1:])), (put(4, 70_000),)),
        "map": (lambda a, b: F.gelu(a * 2 + b[:1]), (x, y)),
        "map of odd float16": (lambda a: (a * 3).tanh(), (half,)),
        "rows": (lambda a, b: (F.softmax(a, -1), F.layer_norm(b, (131,)), a.sum(-1)), (x, y)),
        "long rows": (lambda a: (F.log_softmax(a, -1), a.argmax(-1)), (put(3, 20_001),)),
        "loss": (loss, (logits, whole(131, 37))),
        "columns": (lambda a: (a.sum(0), a.max(0).values), (put(1031, 67),)),
        "everything": (lambda a: (a.sum(), a.mean()), (put(100_003),)),
        "transpose": (lambda a, h: (a.T.contiguous() * 2, h.T.contiguous()), (x, half)),
        "gather": (lambda w, i: F.embedding(i, w) * 2, (table.detach(), whole(50, 77))),
        "scatter": (lambda w, i: T.autograd.grad(F.embedding(i, w).square().sum(), (w,)), (table, whole(50, 77))),
        "scatter in any order": (
            lambda w, i: T.zeros(50, 36, device=device).index_add(0, i, w),
            (put(77, 36), whole(50, 77)),
        ),
        "scan": (lambda a, b: (a.cumsum(-1), b.cumsum(0)), (x, put(30_011))),
        "scan of columns": (lambda a: a.cumsum(0), (put(1031, 67),)),
        "sort": (lambda a, b: (*T.sort(a, dim=-1), *T.sort(b)), (x, put(5003))),
        "select": (lambda a, b: (*a.topk(9, -1), *b.kthvalue(700, -1)), (put(5, 5003), put(3, 1301))),
        "select in several blocks": (lambda a: (*a.topk(9, -1), *a.kthvalue(9, -1)), (put(2, 140_001),)),
        "product": (lambda a, b: a @ b.T, (x, y)),
        "products of float16": (lambda a: a @ a.T, (half,)),
        "batched products": (lambda a: a @ a.transpose(1, 2), (put(5, 33, 17),)),
        "convolution": (lambda a, w: F.max_pool2d(F.conv2d(a, w, padding=1).relu(), 2), (images, weight)),
        "attention": (F.scaled_dot_product_attention, tuple(put(2, 3, 19, 16) for _ in range(3))),
        "dropout": (lambda a: F.dropout(a, 0.3), (x,)),
        "update": (lambda p, g: p.sub_(g * 0.1), (put(1001), put(1001))),
    }


def main() -> int:
    """Run all, and return 1 if a result is not the eager one."""
    rehearsal = "--rehearse" in sys.argv[1:]
    if not rehearsal:
        import cupy

        # An allocation of its own for each array, so that what is read or written beyond one is noticed.
        cupy.cuda.set_allocator(None)
    options = {"target": "cuda", "launcher": "emulator"} if rehearsal else {}
    import tracec
    from tracec.nn import functional

    wrong = []
    found = programs(tracec, functional, "cpu" if rehearsal else "cuda")
    for name, (function, operands) in found.items():
        any_order = ("deterministic",) if name.endswith("in any order") else ()
        run = tracec.compile(function, disable=("library", *any_order), **options)
        results = []
        for _ in range(2):
            tracec.manual_seed(1)
            given = [t.detach().clone().requires_grad_(t.requires_grad) for t in operands]
            out = run(*given)
            parts = out if isinstance(out, tuple) else (out,)
            results.append([t.detach().cpu().numpy().astype(np.float64) for t in parts])
        eager, compiled = results
        if "eager: " in run.explain() or not all(
            np.allclose(c, e, rtol=2e-2, atol=2e-3) for c, e in zip(compiled, eager, strict=True)
        ):
            wrong.append(name)
    print(f"{len(found)} families ran; wrong: {', '.join(wrong) or 'none'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
