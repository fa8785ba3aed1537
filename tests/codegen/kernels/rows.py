"""Reductions of rows, and what needs a row several times."""

from __future__ import annotations

from tests.codegen.kernels.text import compute_of, load, number_of, read_kernel
from tracec.ir.kernel import Kernel


def row_sum(m: int, n: int, dtype: str = "f32", shape: str = "row") -> Kernel:
    """Sum and maximum of each row, one result computed from both."""
    c = compute_of(dtype)
    return read_kernel(f"""
kernel row_sum(x: in {dtype}[{m},{n}], y: out {dtype}[{m}], z: out {dtype}[{m}]) {shape} {{
  for i in {m} parallel {{
    acc s: {c} = add
    acc t: {c} = maximum
    for r in {n} reduce {{
      let v: {c} = {load(f"x[{n}*i + r]", dtype)}
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
    c = compute_of(dtype)
    return read_kernel(f"""
kernel softmax(x: in {dtype}[{m},{n}], y: out {dtype}[{m},{n}]) row {{
  # ops: max, sub, exp, sum, div
  for i in {m} parallel {{
    scratch row: {c}[{n}]
    acc t: {c} = maximum
    for r in {n} reduce {{
      let v: {c} = {load(f"x[{n}*i + r]", dtype)}
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


def exponentials(m: int, n: int, dtype: str = "f32") -> Kernel:
    """A row that two loops read, and what is kept of it in its place."""
    c, at = compute_of(dtype), f"{n}*i + r"
    return read_kernel(f"""
kernel exponentials(x: in {dtype}[{m},{n}], y: out {dtype}[{m},{n}]) row {{
  for i in {m} parallel {{
    scratch row: {c}[{n}]
    acc t: {c} = maximum
    for r in {n} reduce {{
      update t <- {load(f"x[{at}]", dtype)}
    }}
    acc s: {c} = add
    for r in {n} reduce {{
      let v: {c} = {load(f"x[{at}]", dtype)}
      let e: {c} = exp(sub(v, t))
      store row[r] = e
      update s <- e
    }}
    for r in {n} each {{
      let u: {c} = row[r]
      store y[{at}] = div(u, s)
    }}
  }}
}}""")


def layer_norm(m: int, n: int, dtype: str = "f32") -> Kernel:
    """A row that two loops read, and one that is kept of it, next to a weight and a bias."""
    c = compute_of(dtype)
    return read_kernel(f"""
kernel layer_norm(x: in {dtype}[{m},{n}], w: in {dtype}[{n}], b: in {dtype}[{n}], y: out {dtype}[{m},{n}]) row {{
  # ops: sum, sub, mul, add
  for i in {m} parallel {{
    scratch row: {c}[{n}]
    acc s: {c} = add
    for r in {n} reduce {{
      update s <- {load(f"x[{n}*i + r]", dtype)}
    }}
    let a: {c} = mul(s, {c}({1 / n}))
    acc q: {c} = add
    for r in {n} reduce {{
      let v: {c} = sub({load(f"x[{n}*i + r]", dtype)}, a)
      store row[r] = v
      update q <- mul(v, v)
    }}
    let d: {c} = rsqrt(add(mul(q, {c}({1 / n})), {c}(0.00001)))
    for r in {n} each {{
      store y[{n}*i + r] = add(mul(mul(row[r], d), {load("w[r]", dtype)}), {load("b[r]", dtype)})
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


def picked(rows: int, n: int, *, first: bool = False) -> Kernel:
    """Rows, of each an element that a number tells, and a quotient that the second loop takes, or the first one too."""
    part = "mul(x[{0}*i + r], f)" if first else "x[{0}*i + r]"
    return read_kernel(f"""
kernel picked(t: in i64[{rows}], x: in f32[{rows},{n}], c: in f32[{rows}], y: out f32[{rows}]) row {{
  for i in {rows} parallel {{
    let p: i64 = t[i]
    let inside: bool = bitwise_and(ge(p, 0), lt(p, {n}))
    let at: i64 = select(inside, p, 0)
    let q: f32 = x[{n}*i + at]
    let f: f32 = div(f32(1.0), add(abs(c[i]), f32(1.0)))
    let h: f32 = mul(f, f)
    acc a: f32 = maximum
    for r in {n} reduce {{
      update a <- {part.format(n)}
    }}
    acc s: f32 = add
    for r in {n} reduce {{
      update s <- mul(sub(x[{n}*i + r], a), h)
    }}
    store y[i] = add(select(inside, q, f32(0.0)), s)
  }}
}}""")


def stripes(
    count: int, rows: int, n: int, dtype: str = "f32", *, sums: int = 1, in_place: bool = False, missing: int = 0
) -> Kernel:
    """Rows in stripes, whose gradient takes one sum or two; sums of their columns; a result for each row.

    So many rows are missing in the last stripe, or in the last ones.
    """
    c, at, whole = compute_of(dtype), f"{n}*j + r", count * rows - missing
    x, g = load(f"x[{at}]", dtype), load(f"{'y' if in_place else 'g'}[{at}]", dtype)
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
      store u[r] = {number_of(0, dtype)}
      store v[r] = {number_of(0, dtype)}
    }}
    for j in {whole} share {{
      let a: {c} = {load("m[j]", dtype)}
      acc s: {c} = add
      for r in {n} reduce {{
        update s <- mul({x}, {load("w[r]", dtype)})
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
    c, at, source = compute_of(dtype), f"{n}*i + r", "y" if in_place else "x"
    x = load(f"{source}[{at}]", dtype)
    g = load(f"g[{at}]", dtype) if loads == 2 else x
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
