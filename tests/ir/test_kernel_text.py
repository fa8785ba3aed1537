"""Kernels and plans as text."""

from __future__ import annotations

from tracec.ir import Kernel, Plan, Source, TensorType, parse, verify_kernel, verify_plan
from tracec.ir import dtype as dt
from tracec.ir.plan import Launch, LibraryCall, Memory, Refused, Value

SOFTMAX = """
kernel softmax(x: in f32[8,128], y: out f32[8,128]) row {
  # ops: max, sub, exp, sum, div
  # from: model.py:12, model.py:13
  for i in 8 parallel {
    scratch row: f32[128]
    acc m: f32 = maximum
    for r in 128 reduce {
      update m <- x[128*i + r]
    }
    acc s: f32 = add
    for r in 128 reduce {
      let e: f32 = exp(sub(x[128*i + r], m))
      store row[r] = e
      update s <- e
    }
    for r in 128 each {
      store y[128*i + r] = div(row[r], s)
    }
  }
}""".strip()

GEMM = """
kernel gemm(a: in f16[4,8], b: in f16[8,2], y: out f32[4,2]) contraction {
  for m in 4 parallel {
    for n in 2 parallel {
      acc s: f32 = add
      for k in 8 reduce {
        update s <- mul(cast(a[8*m + k], f32), cast(b[2*k + n], f32))
      }
      store y[2*m + n] = select(lt(m, 2), s, f32(-inf))
    }
  }
  contraction dot(acc=s, batch=(), m=(m), n=(n), k=(k)) {
    a = cast(a[8*m + k], f32)
    b = cast(b[2*k + n], f32)
  }
}""".strip()

INDICES = """
kernel odd(x: in i64[?], y: inout u32[?]) map {
  for i in ? parallel {
    store y[-2*i + 3*((4*i + 1)//3) + i%5 - 7] += cast((i//2)%3, u32)
    store y[x[i] + 1] = u32(7)
  }
}""".strip()


def test_kernels_parse_back() -> None:
    for text in (SOFTMAX, GEMM, INDICES):
        kernel = parse(text)
        assert isinstance(kernel, Kernel)
        assert str(kernel) == text
        verify_kernel(kernel)
    assert parse(SOFTMAX).sources == (Source("model.py", 12), Source("model.py", 13))  # type: ignore[union-attr]


def plan() -> Plan:
    """Softmax of a sum of two vectors, the sum written where the plan has an input no more."""
    softmax = parse(SOFTMAX)
    add = parse(
        "kernel add(a: in f32[8,128], b: in f32[8,128], y: out f32[8,128]) map {\n"
        "  for i in 1024 parallel {\n    store y[i] = add(a[i], b[i])\n  }\n}"
    )
    assert isinstance(softmax, Kernel)
    assert isinstance(add, Kernel)
    f = TensorType(dt.float32, (8, 128))
    values = (
        Value("%0", f, "input", 0, last=0),
        Value("%1", f, "input", 1, last=0),
        Value("%2", f, "arena", offset=0, first=0, last=1, source=Source("model.py", 11)),
        Value("%5", f, "arena", offset=4096, first=1, last=2, source=Source("model.py", 12)),
        Value("%6", TensorType(dt.int64, (8, 128)), "output", 0, first=2),
    )
    steps = (
        Launch(1, ((0, 1, 2),)),
        Launch(0, ((2, 3),)),
        LibraryCall("argsort", (3,), 4, (("axis", 1), ("descending", False)), "argsort", Source("model.py", 14)),
    )
    refused = (Refused("fuse", "%5", "%6", "argsort is a library call", 8192),)
    return Plan((softmax, add), steps, values, (0, 1), (4,), Memory(8192, 16384, 8192), refused)


def test_plan_text(golden: str) -> None:
    verify_plan(plan())
    assert str(plan()) == golden
