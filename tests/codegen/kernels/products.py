"""Products of matrices, convolutions and their gradients."""

from __future__ import annotations

from tests.codegen.kernels.text import compute_of, load, number_of, read_kernel
from tracec.ir.kernel import Kernel


def dot(batch: int, m: int, n: int, k: int, dtype: str = "f32") -> Kernel:
    """Matrix products with a bias and a clamp."""
    c = compute_of(dtype)
    a = load(f"a[{m * k}*b0 + {k}*i + r]", dtype)
    b = load(f"b[{k * n}*b0 + {n}*r + j]", dtype)
    return read_kernel(f"""
kernel dot(a: in {dtype}[{batch},{m},{k}], b: in {dtype}[{batch},{k},{n}], c: in {dtype}[{n}],
           y: out {dtype}[{batch},{m},{n}]) contraction {{
  # ops: dot, add, maximum
  for b0 in {batch} parallel {{
    for i in {m} parallel {{
      for j in {n} parallel {{
        acc s: {c} = add
        for r in {k} reduce {{
          update s <- mul({a}, {b})
        }}
        let t: {c} = add(s, {load("c[j]", dtype)})
        store y[{m * n}*b0 + {n}*i + j] = maximum(t, {number_of(0, dtype)})
      }}
    }}
  }}
  contraction dot(acc=s, batch=(b0), m=(i), n=(j), k=(r)) {{
    a = {a}
    b = {b}
  }}
}}""")


def conv(images: int, channels: int, outputs: int, size: int) -> Kernel:
    """A 3 × 3 convolution with padding 1."""
    plane = size * size
    down, across = (f"bitwise_and(ge({at}, 1), lt({at}, {size + 1}))" for at in ("h + q0", "w + q1"))
    inside = f"bitwise_and({down}, {across})"
    a = f"select({inside}, x[{channels * plane}*i + {plane}*r + {size}*h + {size}*q0 + w + q1 - {size + 1}], f32(0.0))"
    b = f"k[{channels * 9}*o + 9*r + 3*q0 + q1]"
    return read_kernel(f"""
kernel conv(x: in f32[{images},{channels},{size},{size}], k: in f32[{outputs},{channels},3,3],
            y: out f32[{images},{outputs},{size},{size}]) contraction {{
  for i in {images} parallel {{
    for o in {outputs} parallel {{
      for h in {size} parallel {{
        for w in {size} parallel {{
          acc s: f32 = add
          for r in {channels} reduce {{
            for q0 in 3 reduce {{
              for q1 in 3 reduce {{
                update s <- mul({a}, {b})
              }}
            }}
          }}
          store y[{outputs * plane}*i + {plane}*o + {size}*h + w] = s
        }}
      }}
    }}
  }}
  contraction conv(acc=s, batch=(), m=(i, h, w), n=(o), k=(r, q0, q1)) {{
    a = {a}
    b = {b}
  }}
}}""")


def conv_weight(images: int, channels: int, outputs: int, size: int, dtype: str = "f32") -> Kernel:
    """The gradient of the weight of a 3 × 3 convolution with padding 1: sums over images and their pixels."""
    plane = size * size
    down, across = (f"bitwise_and(ge({at}, 1), lt({at}, {size + 1}))" for at in ("h + q0", "w + q1"))
    inside = f"bitwise_and({down}, {across})"
    at = f"{channels * plane}*i + {plane}*r + {size}*h + {size}*q0 + w + q1 - {size + 1}"
    a = f"g[{outputs * plane}*i + {plane}*o + {size}*h + w]"
    b = f"select({inside}, x[{at}], {number_of(0, dtype)})"
    return read_kernel(f"""
kernel conv_weight(x: in {dtype}[{images},{channels},{size},{size}], g: in {dtype}[{images},{outputs},{size},{size}],
                   y: out {dtype}[{outputs},{channels},3,3]) contraction {{
  for o in {outputs} parallel {{
    for r in {channels} parallel {{
      for q0 in 3 parallel {{
        for q1 in 3 parallel {{
          acc s: {dtype} = add
          for i in {images} reduce {{
            for h in {size} reduce {{
              for w in {size} reduce {{
                update s <- mul({a}, {b})
              }}
            }}
          }}
          store y[{channels * 9}*o + 9*r + 3*q0 + q1] = s
        }}
      }}
    }}
  }}
  contraction conv_weight(acc=s, batch=(), m=(o), n=(r, q0, q1), k=(i, h, w)) {{
    a = {a}
    b = {b}
  }}
}}""")
