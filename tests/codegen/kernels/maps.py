"""Maps, gathers, scans, scatters and a transpose."""

from __future__ import annotations

from tests.codegen.kernels.text import compute_of, load, number_of, read_kernel
from tracec.ir.kernel import Kernel


def chain(n: int, dtype: str = "f32") -> Kernel:
    """A flat elementwise chain."""
    return read_kernel(f"""
kernel chain(x: in {dtype}[{n}], z: in {dtype}[{n}], y: out {dtype}[{n}]) map {{
  # ops: mul, add, maximum
  for i in {n} parallel {{
    let a: {compute_of(dtype)} = mul({load("x[i]", dtype)}, {number_of(3, dtype)})
    store y[i] = maximum(add(a, {load("z[i]", dtype)}), {load("x[i]", dtype)})
  }}
}}""")


def gelu(n: int, dtype: str = "f32") -> Kernel:
    """A chain with functions of the maths library, two results, one of them bool."""
    half = number_of(1, dtype)
    return read_kernel(f"""
kernel gelu(x: in {dtype}[{n}], y: out {dtype}[{n}], p: out bool[{n}]) map {{
  # ops: erf, mul, gt
  for i in {n} parallel {{
    let v: {compute_of(dtype)} = {load("x[i]", dtype)}
    let e: {compute_of(dtype)} = mul(v, add(erf(v), {half}))
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
      store y[{n}*i + j] = add(mul({load(f"x[{n}*i + j]", dtype)}, {load("r[j]", dtype)}), {load("c[i]", dtype)})
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
    g = load("g[i]", dtype)
    return read_kernel(f"""
kernel adam(w: inout {dtype}[?], m: inout f32[?], v: inout f32[?], g: in {dtype}[?], lr: in f32[]) map {{
  for i in ? parallel {{
    let a: f32 = add(mul(m[i], f32(0.9)), mul({g}, f32(0.1)))
    let b: f32 = add(mul(v[i], f32(0.999)), mul(mul({g}, {g}), f32(0.001)))
    let u: f32 = div(mul(lr[0], a), add(sqrt(b), f32(1e-8)))
    store w[i] = sub({load("w[i]", dtype)}, u)
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
    store q[i] = bitwise_and(bitwise_not(a), gt(v, {number_of(0, dtype)}))
    store y[i] = select(a, {number_of(0, dtype)}, v)
    store z[i] = select(a, div(v, v), {number_of(0, dtype)})
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
        update most <- select(a, {number_of(0, dtype)}, v)
      }}
      acc first: i64 = minimum
      for r in 4 reduce {{
        let a: bool = p[{at}]
        let v: {dtype} = x[{at}]
        let w: {dtype} = select(a, {number_of(0, dtype)}, v)
        update first <- select(bitwise_or(eq(w, most), isnan(w)), r, i64(4))
      }}
      for r in 4 each {{
        store q[{4 * columns}*i + 4*j + r] = eq(r, first)
      }}
      store y[{columns}*i + j] = most
    }}
  }}
}}""")


def spread(rows: int, columns: int, step: int = 2, most: int = 3) -> Kernel:
    """What windows of three by three, a step apart, add to each element: as `fold` of padded windows is."""
    down, across = ((n + 2 - most) // step + 1 for n in (rows, columns))
    tests = "bitwise_and(bitwise_and({}, {}), bitwise_and({}, {}))".format(
        f"lt((i + 1) % {step} + {step}*r, {most})",
        f"bitwise_and(ge((i + 1)//{step} - r, 0), lt((i + 1)//{step} - r, {down}))",
        f"lt((j + 1) % {step} + {step}*s, {most})",
        f"bitwise_and(ge((j + 1)//{step} - s, 0), lt((j + 1)//{step} - s, {across}))",
    )
    at = f"{across}*((i + 1)//{step}) - {across}*r + (j + 1)//{step} - s"
    taps = -(-most // step)
    return read_kernel(f"""
kernel spread(x: in f32[2,{down},{across}], y: out f32[2,{rows},{columns}]) column {{
  for b in 2 parallel {{
    for i in {rows} parallel {{
      for j in {columns} parallel {{
        acc total: f32 = add
        for r in {taps} reduce {{
          for s in {taps} reduce {{
            update total <- select({tests}, x[{down * across}*b + {at}], f32(0.0))
          }}
        }}
        store y[{rows * columns}*b + {columns}*i + j] = total
      }}
    }}
  }}
}}""")


def windows(rows: int, columns: int, size: int, dtype: str = "f32") -> Kernel:
    """The largest element of each window, padded by the lowest value, so that there are as many as elements."""
    p, last = size // 2, f"{rows + size // 2}"
    inside = (
        f"bitwise_and(bitwise_and(ge(i + r, {p}), lt(i + r, {last})), "
        f"bitwise_and(ge(j + s, {p}), lt(j + s, {columns + p})))"
    )
    return read_kernel(f"""
kernel windows(x: in {dtype}[{rows},{columns}], y: out {dtype}[{rows},{columns}]) column {{
  for i in {rows} parallel {{
    for j in {columns} parallel {{
      acc most: {dtype} = maximum
      for r in {size} reduce {{
        for s in {size} reduce {{
          let v: {dtype} = select({inside}, x[{columns}*i + {columns}*r + j + s - {p * columns + p}], {dtype}(-inf))
          update most <- v
        }}
      }}
      store y[{columns}*i + j] = most
    }}
  }}
}}""")


def columns_of_rows(rows: int, columns: int) -> Kernel:
    """A loop over the columns of a row, whose accumulators begin and end in it, behind a scalar of the row."""
    return read_kernel(f"""
kernel columns_of_rows(x: in f32[{rows},{columns}], y: out f32[{rows},{columns}]) column {{
  for i in {rows} parallel {{
    let first: f32 = x[{columns}*i]
    for l in {columns} parallel {{
      acc most: f32 = maximum
      update most <- x[{columns}*i + l]
      let less: bool = lt(most, f32(0.5))
      store y[{columns}*i + l] = select(less, first, most)
    }}
  }}
}}""")


def transpose(batch: int, m: int, n: int, dtype: str = "f32") -> Kernel:
    """Matrices turned, plus something read straight."""
    return read_kernel(f"""
kernel transpose(x: in {dtype}[{batch},{m},{n}], z: in {dtype}[{m}], y: out {dtype}[{batch},{n},{m}]) transpose {{
  for b in {batch} parallel {{
    for i in {n} parallel {{
      for j in {m} parallel {{
        store y[{m * n}*b + {m}*i + j] = add({load(f"x[{m * n}*b + {n}*j + i]", dtype)}, {load("z[j]", dtype)})
      }}
    }}
  }}
}}""")


def scan(
    m: int, n: int, dtype: str = "f32", *, reverse: bool = False, columns: int = 1, combine: str = "add"
) -> Kernel:
    """Running sums along the middle axis."""
    c = compute_of(dtype)
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
        let v: {c} = {load(f"x[{at}]", dtype)}
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
      let w: {compute_of(dtype)} = {load(f"v[{columns}*s + j]", dtype)}
      store y[{columns}*q + j] {"+=" if add else "="} w
    }}
  }}
}}""")
