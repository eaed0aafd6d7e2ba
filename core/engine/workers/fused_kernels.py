# ruff: noqa: ANN001, ANN201, ANN202, N803 (Triton types what it is given; constants are capital here, as in its own kernels)
"""The kernels of a fused step, in Triton: products with a few rows, each weight read once, and attention over the cache.

Part of the chat worker; only `fused_step` launches them. They know nothing of models: sizes, layouts and pointers are
arguments. Sums are in single precision; what they store has the precision of the model.
"""

import triton
import triton.language as tl


@triton.jit
def _added(low, up, which, row, n, section, there, HEIGHT: tl.constexpr, LOWS: tl.constexpr, RANK: tl.constexpr):
    """Return what the adapters of the rows add to the outputs `n`: B of each row's adapter times its A x, in `low`."""
    j = tl.arange(0, RANK)
    adapter = tl.load(which + row, mask=there, other=-1)
    has = (there & (adapter >= 0))[:, None]
    b = tl.load(up + (adapter * HEIGHT + n).to(tl.int64)[:, None] * RANK + j[None, :], mask=has, other=0.0)
    a = tl.load(low + (row * LOWS + section * RANK)[:, None] + j[None, :], mask=has, other=0.0)
    return tl.sum(a * b.to(tl.float32), 1)


@triton.jit
def linear(
    x, weight, bias, norm, low, up, which, out, eps, second, third,
    OUTS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, ROWS_UP: tl.constexpr, RANK: tl.constexpr,
    LOWS: tl.constexpr, NORM: tl.constexpr, BIAS: tl.constexpr, GATED: tl.constexpr, ADD: tl.constexpr,
    TO: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Multiply rows by a weight (outputs, width): out = W x, or out += W x.

    With `NORM`, x is normalized by its root mean square first, as a factor after the sum. With `GATED`, the weight is
    two in one, and the result is silu(gate) · up. With `RANK`, the rows' adapters are added; a stacked weight has up to
    three `section`s with an adapter each, the second and third from the given outputs on.
    """
    tile = tl.arange(0, ROWS_UP * BN)
    row, n = tile // BN, tl.program_id(0) * BN + tile % BN
    there = (row < ROWS) & (n < OUTS)
    place = n.to(tl.int64)[:, None] * WIDTH
    total = tl.zeros((ROWS_UP * BN, BK), tl.float32)
    other = tl.zeros((ROWS_UP * BN, BK), tl.float32)
    each = tl.arange(0, ROWS_UP)
    squares = tl.zeros((ROWS_UP, BK), tl.float32)
    for start in tl.static_range(0, WIDTH, BK):
        k = start + tl.arange(0, BK)
        mask = there[:, None] & (k < WIDTH)[None, :]
        w = tl.load(weight + place + k[None, :], mask=mask, other=0.0).to(tl.float32)
        if ROWS_UP == 1:
            v = tl.load(x + k, mask=k < WIDTH, other=0.0).to(tl.float32)[None, :]
        else:
            v = tl.load(x + row[:, None] * WIDTH + k[None, :], mask=mask, other=0.0).to(tl.float32)
        if NORM:
            whole = (each < ROWS)[:, None] & (k < WIDTH)[None, :]
            whole = tl.load(x + each[:, None] * WIDTH + k[None, :], mask=whole, other=0.0).to(tl.float32)
            squares += whole * whole
            v = v * tl.load(norm + k, mask=k < WIDTH, other=0.0).to(tl.float32)[None, :]
        total += w * v
        if GATED:
            u = tl.load(weight + OUTS * WIDTH + place + k[None, :], mask=mask, other=0.0).to(tl.float32)
            other += u * v
    y = tl.sum(total, 1)
    z = tl.sum(other, 1)
    if NORM:
        factor = 1.0 / tl.sqrt(tl.sum(squares, 1) / WIDTH + eps)
        factor = tl.reshape(tl.broadcast_to(factor[:, None], (ROWS_UP, BN)), (ROWS_UP * BN,))
        y = y * factor
        z = z * factor
    if BIAS:
        y += tl.load(bias + n, mask=there, other=0.0).to(tl.float32)
    if RANK:
        section = (n >= second).to(tl.int32) + (n >= third).to(tl.int32)
        y += _added(low, up, which, row, n, section, there, OUTS * (2 if GATED else 1), LOWS, RANK)
        if GATED:
            z += _added(low, up, which, row, n + OUTS, section + 1, there, OUTS * 2, LOWS, RANK)
    # Rounded where the model's own code rounds: after each product.
    y = y.to(x.dtype.element_ty).to(tl.float32)
    if GATED:
        y = (y / (1.0 + tl.exp(-y))).to(x.dtype.element_ty).to(tl.float32)
        y = y * z.to(x.dtype.element_ty).to(tl.float32)
    if ADD:
        y += tl.load(out + row * OUTS + n, mask=there, other=0.0).to(tl.float32)
    tl.store(out + row * OUTS + n, y.to(TO), mask=there)


@triton.jit
def _added_to(y, r, low, up, which, n, m, section, there, HEIGHT: tl.constexpr, LOWS: tl.constexpr, RANK: tl.constexpr):
    """Return `y`, (outputs, rows), with what the adapter of row `r` adds to the outputs `n`."""
    j = tl.arange(0, RANK)
    adapter = tl.load(which + r)
    has = (there & (adapter >= 0))[:, None]
    b = tl.load(up + (adapter * HEIGHT + n).to(tl.int64)[:, None] * RANK + j[None, :], mask=has, other=0.0)
    a = tl.load(low + (r * LOWS + section * RANK)[:, None] + j[None, :], mask=has, other=0.0)
    more = tl.sum(a * b.to(tl.float32), 1)
    return y + tl.where((m == r)[None, :], more[:, None], 0.0)


@triton.jit
def linear_of_rows(
    x, weight, bias, norm, low, up, which, out, eps, second, third,
    OUTS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, ROWS_UP: tl.constexpr, RANK: tl.constexpr,
    LOWS: tl.constexpr, NORM: tl.constexpr, BIAS: tl.constexpr, GATED: tl.constexpr, ADD: tl.constexpr,
    TO: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Do the same as `linear` on the tensor cores, which take 16 rows at once: `ROWS_UP`."""
    n, m = tl.program_id(0) * BN + tl.arange(0, BN), tl.arange(0, ROWS_UP)
    there, rows = n < OUTS, m < ROWS
    place = n.to(tl.int64)[:, None] * WIDTH
    y = tl.zeros((BN, ROWS_UP), tl.float32)
    z = tl.zeros((BN, ROWS_UP), tl.float32)
    squares = tl.zeros((BK, ROWS_UP), tl.float32)
    kind = x.dtype.element_ty
    for start in range(0, WIDTH, BK):
        k = start + tl.arange(0, BK)
        inside = k < WIDTH
        mask = there[:, None] & inside[None, :]
        w = tl.load(weight + place + k[None, :], mask=mask, other=0.0)
        v = tl.load(x + m[None, :] * WIDTH + k[:, None], mask=rows[None, :] & inside[:, None], other=0.0)
        if NORM:
            wide = v.to(tl.float32)
            squares += wide * wide
            v = (wide * tl.load(norm + k, mask=inside, other=0.0).to(tl.float32)[:, None]).to(kind)
        y = tl.dot(w, v, y, input_precision="ieee")
        if GATED:
            u = tl.load(weight + OUTS * WIDTH + place + k[None, :], mask=mask, other=0.0)
            z = tl.dot(u, v, z, input_precision="ieee")
    if NORM:
        factor = 1.0 / tl.sqrt(tl.sum(squares, 0) / WIDTH + eps)
        y = y * factor[None, :]
        z = z * factor[None, :]
    if BIAS:
        y += tl.load(bias + n, mask=there, other=0.0).to(tl.float32)[:, None]
    if RANK:
        section = (n >= second).to(tl.int32) + (n >= third).to(tl.int32)
        for r in range(ROWS):
            y = _added_to(y, r, low, up, which, n, m, section, there, OUTS * (2 if GATED else 1), LOWS, RANK)
            if GATED:
                z = _added_to(z, r, low, up, which, n + OUTS, m, section + 1, there, OUTS * 2, LOWS, RANK)
    y = y.to(kind).to(tl.float32)
    if GATED:
        y = (y / (1.0 + tl.exp(-y))).to(kind).to(tl.float32)
        y = y * z.to(kind).to(tl.float32)
    mask = there[:, None] & rows[None, :]
    if ADD:
        y += tl.load(out + m[None, :] * OUTS + n[:, None], mask=mask, other=0.0).to(tl.float32)
    tl.store(out + m[None, :] * OUTS + n[:, None], y.to(TO), mask=mask)


@triton.jit
def shrink(
    x, down, norm, which, low, eps,
    WIDTH: tl.constexpr, LOWS: tl.constexpr, NORM: tl.constexpr, BJ: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Multiply each row by the A of its adapter, (lows, width): low = A x, x normalized as in `linear`."""
    row = tl.program_id(0)
    adapter = tl.load(which + row)
    if adapter >= 0:
        j = tl.program_id(1) * BJ + tl.arange(0, BJ)
        place = (adapter * LOWS + j).to(tl.int64)[:, None] * WIDTH
        total = tl.zeros((BJ, BK), tl.float32)
        squares = tl.zeros((BK,), tl.float32)
        for start in range(0, WIDTH, BK):
            k = start + tl.arange(0, BK)
            inside = k < WIDTH
            v = tl.load(x + row * WIDTH + k, mask=inside, other=0.0).to(tl.float32)
            if NORM:
                squares += v * v
                v = v * tl.load(norm + k, mask=inside, other=0.0).to(tl.float32)
            total += tl.load(down + place + k[None, :], mask=inside[None, :], other=0.0).to(tl.float32) * v[None, :]
        y = tl.sum(total, 1)
        if NORM:
            y = y / tl.sqrt(tl.sum(squares, 0) / WIDTH + eps)
        tl.store(low + row * LOWS + j, y)


@triton.jit
def attend(
    qkv, cos, sin, positions, keys, values, out, parts, tops, sums, scale, length,
    KV: tl.constexpr, GROUP: tl.constexpr, GROUP_UP: tl.constexpr, D: tl.constexpr, WIDTH: tl.constexpr,
    Q_STEP: tl.constexpr, K_START: tl.constexpr, V_START: tl.constexpr, KV_STEP: tl.constexpr,
    SPLITS: tl.constexpr, SPLIT: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Turn queries and keys by the rotary angles, store key and value in the cache, and attend to all before them.

    One program per row, key head, and `SPLIT` positions of the cache. The first begins with the token itself, so that
    none reads what another one stores. If there are several, `combine` joins their parts.
    """
    row, head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    at = tl.load(positions + row).to(tl.int32)
    d, g = tl.arange(0, D), tl.arange(0, GROUP_UP)
    turned = (d + D // 2) % D
    c = tl.load(cos + at * D + d).to(tl.float32)
    s = tl.load(sin + at * D + d).to(tl.float32) * tl.where(d < D // 2, -1.0, 1.0)
    mine = qkv + row * WIDTH
    kind = qkv.dtype.element_ty
    heads = mine + head * Q_STEP + g[:, None] * D
    q = tl.load(heads + d[None, :], mask=(g < GROUP)[:, None], other=0.0).to(tl.float32) * c[None, :]
    q += tl.load(heads + turned[None, :], mask=(g < GROUP)[:, None], other=0.0).to(tl.float32) * s[None, :]
    q = q.to(kind)
    k = tl.load(mine + K_START + head * KV_STEP + d).to(tl.float32) * c
    k += tl.load(mine + K_START + head * KV_STEP + turned).to(tl.float32) * s
    k = k.to(kind)
    v = tl.load(mine + V_START + head * KV_STEP + d)
    cache = (row * KV + head).to(tl.int64) * length * D
    first = split == 0
    tl.store(keys + cache + at * D + d, k, mask=first & (d < D))
    tl.store(values + cache + at * D + d, v, mask=first & (d < D))
    top = tl.sum(q.to(tl.float32) * k.to(tl.float32)[None, :], 1) * scale
    top = tl.where(first, top, float("-inf"))
    total = tl.where(first, 1.0, 0.0) + tl.zeros((GROUP_UP,), tl.float32)
    seen = tl.where(first, v.to(tl.float32), 0.0)[None, :] + tl.zeros((GROUP_UP, D), tl.float32)
    for start in range(split * SPLIT, tl.minimum(at, split * SPLIT + SPLIT), BN):
        n = start + tl.arange(0, BN)
        inside = n < at
        place = cache + n[:, None] * D + d[None, :]
        there = tl.load(keys + place, mask=inside[:, None], other=0.0)
        score = tl.dot(q, tl.trans(there), input_precision="ieee") * scale
        score = tl.where(inside[None, :], score, float("-inf"))
        higher = tl.maximum(top, tl.max(score, 1))
        weight = tl.exp(score - higher[:, None])
        fade = tl.exp(top - higher)
        total = total * fade + tl.sum(weight, 1)
        there = tl.load(values + place, mask=inside[:, None], other=0.0)
        seen = seen * fade[:, None] + tl.dot(weight.to(kind), there, input_precision="ieee")
        top = higher
    which = (row * KV + head) * GROUP + g
    if SPLITS == 1:
        seen = seen / total[:, None]
        tl.store(out + which[:, None] * D + d[None, :], seen.to(kind), mask=(g < GROUP)[:, None])
    else:
        part = which * SPLITS + split
        tl.store(parts + part[:, None] * D + d[None, :], seen, mask=(g < GROUP)[:, None])
        tl.store(tops + part, top, mask=g < GROUP)
        tl.store(sums + part, total, mask=g < GROUP)


@triton.jit
def combine(parts, tops, sums, out, D: tl.constexpr, SPLITS: tl.constexpr, SPLITS_UP: tl.constexpr):
    """Join the parts of a head's attention; one program per row and head."""
    head = tl.program_id(0)
    d, s = tl.arange(0, D), tl.arange(0, SPLITS_UP)
    there = s < SPLITS
    top = tl.load(tops + head * SPLITS + s, mask=there, other=float("-inf"))
    weight = tl.exp(top - tl.max(top, 0))
    total = tl.sum(weight * tl.load(sums + head * SPLITS + s, mask=there, other=0.0), 0)
    place = (head * SPLITS + s)[:, None] * D + d[None, :]
    seen = tl.sum(tl.load(parts + place, mask=there[:, None], other=0.0) * weight[:, None], 0) / total
    tl.store(out + head * D + d, seen.to(out.dtype.element_ty))
