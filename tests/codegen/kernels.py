"""Kernels of every family over any extents and dtypes, as text, for tests of code generation."""

from __future__ import annotations

from tracec.ir import parse, verify_kernel
from tracec.ir.dtype import ALL
from tracec.ir.kernel import Kernel


def read_kernel(text: str) -> Kernel:
    kernel = parse(text)
    assert isinstance(kernel, Kernel)
    verify_kernel(kernel)
    return kernel


def _compute(dtype: str) -> str:
    return next(d.compute.short for d in ALL if d.short == dtype)


def _load(element: str, dtype: str) -> str:
    return element if _compute(dtype) == dtype else f"cast({element}, {_compute(dtype)})"


def _number(value: int, dtype: str) -> str:
    return f"{_compute(dtype)}({float(value) if dtype.startswith(('f', 'bf')) else value})"


def chain(n: int, dtype: str = "f32") -> Kernel:
    """A flat elementwise chain."""
    return read_kernel(f"""
kernel chain(x: in {dtype}[{n}], z: in {dtype}[{n}], y: out {dtype}[{n}]) map {{
  # ops: mul, add, maximum
  for i in {n} parallel {{
    let a: {_compute(dtype)} = mul({_load("x[i]", dtype)}, {_number(3, dtype)})
    store y[i] = maximum(add(a, {_load("z[i]", dtype)}), {_load("x[i]", dtype)})
  }}
}}""")


def gelu(n: int, dtype: str = "f32") -> Kernel:
    """A chain with functions of the maths library, two results, one of them bool."""
    half = _number(1, dtype)
    return read_kernel(f"""
kernel gelu(x: in {dtype}[{n}], y: out {dtype}[{n}], p: out bool[{n}]) map {{
  # ops: erf, mul, gt
  for i in {n} parallel {{
    let v: {_compute(dtype)} = {_load("x[i]", dtype)}
    let e: {_compute(dtype)} = mul(v, add(erf(v), {half}))
    store y[i] = add(e, sigmoid(v))
    store p[i] = gt(e, {half})
  }}
}}""")


def broadcast(m: int, n: int, dtype: str = "f32") -> Kernel:
    """A matrix, a row and a column."""
    return read_kernel(f"""
kernel broadcast(x: in {dtype}[{m},{n}], r: in {dtype}[{n}], c: in {dtype}[{m}], y: out {dtype}[{m},{n}]) map {{
  for i in {m} parallel {{
    for j in {n} parallel {{
      store y[{n}*i + j] = add(mul({_load(f"x[{n}*i + j]", dtype)}, {_load("r[j]", dtype)}), {_load("c[i]", dtype)})
    }}
  }}
}}""")


def padded(m: int, n: int) -> Kernel:
    """A padded, flipped and strided view: loads under conditions, divisions, negative steps."""
    return read_kernel(f"""
kernel padded(x: in f32[{m},{n}], y: out f32[{m + 2},{2 * n}]) map {{
  for i in {m + 2} parallel {{
    for j in {2 * n} parallel {{
      store y[{2 * n}*i + j] = select(bitwise_and(ge(i, 1), lt(i, {m + 1})), x[{n}*i - j//2 - 1], f32(-1.0))
    }}
  }}
}}""")


def gather(n: int, rows: int, columns: int) -> Kernel:
    """Rows picked by an index array."""
    return read_kernel(f"""
kernel gather(t: in f32[{rows},{columns}], p: in i64[{n}], y: out f32[{n},{columns}]) map {{
  for i in {n} parallel {{
    for j in {columns} parallel {{
      let q: i64 = p[i]
      store y[{columns}*i + j] = t[{columns}*q + j]
    }}
  }}
}}""")


def in_place(n: int) -> Kernel:
    """An update in place, by a scalar in memory."""
    return read_kernel(f"""
kernel in_place(w: inout f32[{n}], g: in f32[{n}], lr: in f32[]) map {{
  for i in {n} parallel {{
    store w[i] = sub(w[i], mul(g[i], lr[0]))
  }}
}}""")


def sized(scalar: bool = True) -> Kernel:
    """The same over many buffers in one launch."""
    rate = "lr[0]" if scalar else "f32(0.5)"
    return read_kernel(f"""
kernel sized(w: inout f32[?], g: in f32[?]{", lr: in f32[]" if scalar else ""}) map {{
  for i in ? parallel {{
    store w[i] = sub(w[i], mul(g[i], {rate}))
  }}
}}""")


def adam(dtype: str) -> Kernel:
    """An optimiser's update of many parameters: three buffers in place."""
    g = _load("g[i]", dtype)
    return read_kernel(f"""
kernel adam(w: inout {dtype}[?], m: inout f32[?], v: inout f32[?], g: in {dtype}[?], lr: in f32[]) map {{
  for i in ? parallel {{
    let a: f32 = add(mul(m[i], f32(0.9)), mul({g}, f32(0.1)))
    let b: f32 = add(mul(v[i], f32(0.999)), mul(mul({g}, {g}), f32(0.001)))
    let u: f32 = div(mul(lr[0], a), add(sqrt(b), f32(1e-8)))
    store w[i] = sub({_load("w[i]", dtype)}, u)
    store m[i] = a
    store v[i] = b
  }}
}}""")


def random(n: int) -> Kernel:
    """Random bits of a counter."""
    return read_kernel(f"""
kernel random(s: in i64[2], y: out u32[{n}]) map {{
  for i in {n} parallel {{
    store y[i] = philox(s[0], s[1], i, u32)
  }}
}}""")


def integers(n: int, dtype: str) -> Kernel:
    """Integer operations with signs to get right."""
    return read_kernel(f"""
kernel integers(x: in {dtype}[{n}], z: in {dtype}[{n}], y: out {dtype}[{n}], w: out i64[{n}]) map {{
  for i in {n} parallel {{
    let q: {dtype} = floor_div(x[i], z[i])
    let r: {dtype} = remainder(x[i], z[i])
    store y[i] = add(mul(q, z[i]), sub(r, minimum(x[i], z[i])))
    store w[i] = mul(cast(r, i64), sub(i, 7))
  }}
}}""")


def masked(n: int, dtype: str = "f32") -> Kernel:
    """Booleans that are read, kept and written, and selections between zero and a value, both ways."""
    return read_kernel(f"""
kernel masked(p: in bool[{n}], x: in {dtype}[{n}], q: out bool[{n}], y: out {dtype}[{n}], z: out {dtype}[{n}]) map {{
  for i in {n} parallel {{
    let a: bool = p[i]
    let v: {dtype} = x[i]
    store q[i] = bitwise_and(bitwise_not(a), gt(v, {_number(0, dtype)}))
    store y[i] = select(a, {_number(0, dtype)}, v)
    store z[i] = select(a, div(v, v), {_number(0, dtype)})
  }}
}}""")


def pool(rows: int, columns: int, dtype: str = "f32") -> Kernel:
    """The largest of two by two elements that are not masked, the place of the first of them, and where it is."""
    n, at = 4 * rows * columns, f"{4 * columns}*i + {2 * columns}*(r//2) + 2*j + r%2"
    return read_kernel(f"""
kernel pool(p: in bool[{n}], x: in {dtype}[{n}], q: out bool[{n}], y: out {dtype}[{n // 4}]) column {{
  for i in {rows} parallel {{
    for j in {columns} parallel {{
      acc most: {dtype} = maximum
      for r in 4 reduce {{
        let a: bool = p[{at}]
        let v: {dtype} = x[{at}]
        update most <- select(a, {_number(0, dtype)}, v)
      }}
      acc first: i64 = minimum
      for r in 4 reduce {{
        let a: bool = p[{at}]
        let v: {dtype} = x[{at}]
        let w: {dtype} = select(a, {_number(0, dtype)}, v)
        update first <- select(bitwise_or(eq(w, most), isnan(w)), r, i64(4))
      }}
      for r in 4 each {{
        store q[{4 * columns}*i + 4*j + r] = eq(r, first)
      }}
      store y[{columns}*i + j] = most
    }}
  }}
}}""")


def row_sum(m: int, n: int, dtype: str = "f32", shape: str = "row") -> Kernel:
    """Sum and maximum of each row, one result computed from both."""
    c = _compute(dtype)
    return read_kernel(f"""
kernel row_sum(x: in {dtype}[{m},{n}], y: out {dtype}[{m}], z: out {dtype}[{m}]) {shape} {{
  for i in {m} parallel {{
    acc s: {c} = add
    acc t: {c} = maximum
    for r in {n} reduce {{
      let v: {c} = {_load(f"x[{n}*i + r]", dtype)}
      update s <- v
      update t <- v
    }}
    let d: {c} = sub(s, t)
    store y[i] = d
    store z[i] = t
  }}
}}""")


def softmax(m: int, n: int, dtype: str = "f32") -> Kernel:
    """A row kept on chip between three loops."""
    c = _compute(dtype)
    return read_kernel(f"""
kernel softmax(x: in {dtype}[{m},{n}], y: out {dtype}[{m},{n}]) row {{
  # ops: max, sub, exp, sum, div
  for i in {m} parallel {{
    scratch row: {c}[{n}]
    acc t: {c} = maximum
    for r in {n} reduce {{
      let v: {c} = {_load(f"x[{n}*i + r]", dtype)}
      store row[r] = v
      update t <- v
    }}
    acc s: {c} = add
    for r in {n} reduce {{
      let e: {c} = exp(sub(row[r], t))
      update s <- e
    }}
    for r in {n} each {{
      let u: {c} = exp(sub(row[r], t))
      store y[{n}*i + r] = div(u, s)
    }}
  }}
}}""")


def reread(m: int, n: int) -> Kernel:
    """A long row that is read from memory again."""
    return read_kernel(f"""
kernel reread(x: in f32[{m},{n}], y: out f32[{m},{n}]) row {{
  for i in {m} parallel {{
    acc s: f32 = add
    for r in {n} reduce {{
      update s <- x[{n}*i + r]
    }}
    let k: f32 = div(s, f32({float(n)}))
    for r in {n} each {{
      store y[{n}*i + r] = sub(x[{n}*i + r], k)
    }}
  }}
}}""")


def running(m: int, n: int, shape: str = "row") -> Kernel:
    """A row's statistic updated in place, whose old value all elements of the row take."""
    at = f"{n}*i + r" if shape == "row" else f"{m}*r + i"
    return read_kernel(f"""
kernel running(x: inout f32[{m * n}], w: inout f32[{m}]) {shape} {{
  for i in {m} parallel {{
    acc s: f32 = add
    for r in {n} reduce {{
      update s <- x[{at}]
    }}
    let a: f32 = mul(s, f32({1 / n}))
    for r in {n} each {{
      store x[{at}] = sub(x[{at}], mul(w[i], a))
    }}
    store w[i] = add(w[i], a)
  }}
}}""")


def batch_norm(images: int, channels: int, pixels: int) -> Kernel:
    """Statistics over two loops that are not next to each other, and a result over all."""
    at = f"{channels * pixels}*r0 + {pixels}*i + r1"
    return read_kernel(f"""
kernel batch_norm(x: in f32[{images},{channels},{pixels}], y: out f32[{images},{channels},{pixels}],
                  m: out f32[{channels}]) row {{
  for i in {channels} parallel {{
    acc s: f32 = add
    acc q: f32 = add
    for r0 in {images} reduce {{
      for r1 in {pixels} reduce {{
        let v: f32 = x[{at}]
        update s <- v
        update q <- mul(v, v)
      }}
    }}
    let a: f32 = div(s, f32({float(images * pixels)}))
    let b: f32 = rsqrt(add(sub(div(q, f32({float(images * pixels)})), mul(a, a)), f32(0.01)))
    for r0 in {images} each {{
      for r1 in {pixels} each {{
        store y[{at}] = mul(sub(x[{at}], a), b)
      }}
    }}
    store m[i] = a
  }}
}}""")


def stripes(
    count: int, rows: int, n: int, dtype: str = "f32", *, sums: int = 1, in_place: bool = False, missing: int = 0
) -> Kernel:
    """Rows in stripes, whose gradient takes one sum or two; sums of their columns; a result for each row.

    So many rows are missing in the last stripe, or in the last ones.
    """
    c, at, whole = _compute(dtype), f"{n}*j + r", count * rows - missing
    x, g = _load(f"x[{at}]", dtype), _load(f"{'y' if in_place else 'g'}[{at}]", dtype)
    part = f"{c}({1 / n})"
    g_buffer = "" if in_place else f"g: in {dtype}[{whole},{n}], "
    second = (
        f"""
      acc t: {c} = add
      for r in {n} reduce {{
        store v[r] += sub({x}, b)
        update t <- mul(sub({x}, b), {g})
      }}
      let h: {c} = mul(t, {part})"""
        if sums == 2
        else f"let h: {c} = b"
    )
    return read_kernel(f"""
kernel stripes(x: in {dtype}[{whole},{n}], {g_buffer}m: in {dtype}[{whole}], w: in {dtype}[{n}],
               y: {"inout" if in_place else "out"} {dtype}[{whole},{n}], dw: out {c}[{count},{n}],
               dv: out {c}[{count},{n}], q: out {dtype}[{whole}]) stripe {{
  for i in {count} parallel {{
    scratch u: {c}[{n}]
    scratch v: {c}[{n}]
    for r in {n} each {{
      store u[r] = {_number(0, dtype)}
      store v[r] = {_number(0, dtype)}
    }}
    for j in {whole} share {{
      let a: {c} = {_load("m[j]", dtype)}
      acc s: {c} = add
      for r in {n} reduce {{
        update s <- mul({x}, {_load("w[r]", dtype)})
      }}
      let b: {c} = mul(s, {part})
      {second}
      for r in {n} each {{
        let o: {c} = {g}
        store y[{at}] = mul(sub(o, mul(h, {x})), a)
        store u[r] += mul(o, {x})
      }}
      store q[j] = h
    }}
    for r in {n} each {{
      store dw[{n}*i + r] = u[r]
      store dv[{n}*i + r] = v[r]
    }}
  }}
}}""")


def held(
    m: int, n: int, dtype: str = "f32", loads: int = 1, *, in_place: bool = False, kept: bool = False, top: bool = True
) -> Kernel:
    """Long rows of one array or two that three loops read; what is made of them is kept, or not."""
    c, at, source = _compute(dtype), f"{n}*i + r", "y" if in_place else "x"
    x = _load(f"{source}[{at}]", dtype)
    g = _load(f"g[{at}]", dtype) if loads == 2 else x
    buffers = [] if in_place else [f"x: in {dtype}[{m},{n}]"]
    buffers += [f"g: in {dtype}[{m},{n}]"] * (loads == 2)
    buffers += [f"y: {'inout' if in_place else 'out'} {dtype}[{m},{n}]"]
    made = f"exp(sub({x}, t))" if top else f"sub({x}, t)"
    value = "row[r]" if kept else made
    return read_kernel(f"""
kernel held({", ".join(buffers)}) row {{
  for i in {m} parallel {{
    {f"scratch row: {c}[{n}]" if kept else ""}
    acc t: {c} = {"maximum" if top else "add"}
    for r in {n} reduce {{
      update t <- {x}
    }}
    acc s: {c} = add
    for r in {n} reduce {{
      {f"store row[r] = {made}" if kept else ""}
      update s <- mul({made}, {g})
    }}
    for r in {n} each {{
      store y[{at}] = sub(mul({value}, {g}), s)
    }}
  }}
}}""")


def column_sum(n: int, columns: int, dtype: str = "f32", outer: int = 1) -> Kernel:
    """Sums over a strided loop."""
    c = _compute(dtype)
    return read_kernel(f"""
kernel column_sum(x: in {dtype}[{outer},{n},{columns}], y: out {dtype}[{outer},{columns}]) column {{
  for o in {outer} parallel {{
    for i in {columns} parallel {{
      acc s: {c} = add
      for r in {n} reduce {{
        update s <- {_load(f"x[{n * columns}*o + {columns}*r + i]", dtype)}
      }}
      store y[{columns}*o + i] = s
    }}
  }}
}}""")


def column_softmax(n: int, columns: int) -> Kernel:
    """Columns kept on chip."""
    return read_kernel(f"""
kernel column_softmax(x: in f32[{n},{columns}], y: out f32[{n},{columns}]) column {{
  for i in {columns} parallel {{
    scratch row: f32[{n}]
    acc t: f32 = maximum
    for r in {n} reduce {{
      store row[r] = x[{columns}*r + i]
      update t <- x[{columns}*r + i]
    }}
    acc s: f32 = add
    for r in {n} reduce {{
      update s <- exp(sub(row[r], t))
    }}
    for r in {n} each {{
      store y[{columns}*r + i] = div(exp(sub(row[r], t)), s)
    }}
  }}
}}""")


def column_shares(n: int, columns: int) -> Kernel:
    """Each element's share of its column's sum: all threads need it."""
    return read_kernel(f"""
kernel column_shares(x: in f32[{n},{columns}], y: out f32[{n},{columns}]) column {{
  for i in {columns} parallel {{
    acc s: f32 = add
    for r in {n} reduce {{
      update s <- x[{columns}*r + i]
    }}
    for r in {n} each {{
      store y[{columns}*r + i] = mul(x[{columns}*r + i], s)
    }}
  }}
}}""")


def full_sum(n: int, dtype: str = "f32", combine: str = "add") -> Kernel:
    """Everything to one number."""
    c = _compute(dtype)
    return read_kernel(f"""
kernel full_sum(x: in {dtype}[{n}], y: out {dtype}[]) full {{
  acc s: {c} = {combine}
  for r in {n} reduce {{
    update s <- {_load("x[r]", dtype)}
  }}
  store y[0] = s
}}""")


def transpose(batch: int, m: int, n: int, dtype: str = "f32") -> Kernel:
    """Matrices turned, plus something read straight."""
    return read_kernel(f"""
kernel transpose(x: in {dtype}[{batch},{m},{n}], z: in {dtype}[{m}], y: out {dtype}[{batch},{n},{m}]) transpose {{
  for b in {batch} parallel {{
    for i in {n} parallel {{
      for j in {m} parallel {{
        store y[{m * n}*b + {m}*i + j] = add({_load(f"x[{m * n}*b + {n}*j + i]", dtype)}, {_load("z[j]", dtype)})
      }}
    }}
  }}
}}""")


def scan(
    m: int, n: int, dtype: str = "f32", *, reverse: bool = False, columns: int = 1, combine: str = "add"
) -> Kernel:
    """Running sums along the middle axis."""
    c = _compute(dtype)
    along = f"{(n - 1) * columns} - {columns}*r" if reverse else f"{columns}*r"
    column = "" if columns == 1 else " + j"
    at = f"{n * columns}*i{column} + {along}"
    if reverse:
        at = f"{n * columns}*i{column} - {columns}*r + {(n - 1) * columns}"
    return read_kernel(f"""
kernel scan(x: in {dtype}[{m},{n},{columns}], y: out {dtype}[{m},{n},{columns}]) scan {{
  for i in {m} parallel {{
    for j in {columns} parallel {{
      acc a: {c} = {combine}
      for r in {n} serial {{
        let v: {c} = {_load(f"x[{at}]", dtype)}
        update a <- v
        store y[{at}] = a
      }}
    }}
  }}
}}""")


def scatter(n: int, rows: int, columns: int, dtype: str = "f32", *, add: bool = True, shape: str = "scatter") -> Kernel:
    """Rows added to, or put at, computed positions of a copy."""
    return read_kernel(f"""
kernel scatter(x: in {dtype}[{rows},{columns}], v: in {dtype}[{n},{columns}], p: in i64[{n}],
               y: out {dtype}[{rows},{columns}]) {shape} {{
  for i in {rows * columns} parallel {{
    store y[i] = x[i]
  }}
  for j in {columns} parallel {{
    for s in {n} serial {{
      let q: i64 = p[s]
      let w: {_compute(dtype)} = {_load(f"v[{columns}*s + j]", dtype)}
      store y[{columns}*q + j] {"+=" if add else "="} w
    }}
  }}
}}""")


def dot(batch: int, m: int, n: int, k: int, dtype: str = "f32") -> Kernel:
    """Matrix products with a bias and a clamp."""
    c = _compute(dtype)
    a = _load(f"a[{m * k}*b0 + {k}*i + r]", dtype)
    b = _load(f"b[{k * n}*b0 + {n}*r + j]", dtype)
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
        let t: {c} = add(s, {_load("c[j]", dtype)})
        store y[{m * n}*b0 + {n}*i + j] = maximum(t, {_number(0, dtype)})
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
    b = f"select({inside}, x[{at}], {_number(0, dtype)})"
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
