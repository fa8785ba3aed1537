"""Leaves and histories: flags that change, leaves made inside, writes into what has a history."""

from __future__ import annotations

import functools
import json

import tracec
from tests.footguns.harness import footgun, tensor, whole


@footgun(eager="changes where gradients of a tensor from outside go")
def inplace_arg_requires_grad(wrap):

    def f(x):
        x.mul_(2)
        return x.sum()

    f = wrap(f)
    found = []
    for i in range(3):
        w = tensor(3, seed=i, g=True)
        h = w * 1
        f(h).backward()
        found.append(w.grad)
        found.append(h.detach())
    return found


@footgun(eager="changes where gradients of a tensor from outside go")
def inplace_arg_hist_after(wrap):

    def f(x):
        x.mul_(2)

    f = wrap(f)
    found = []
    for i in range(3):
        w = tensor(3, seed=i, g=True)
        h = w * 1
        f(h)
        (h * h).sum().backward()
        found.append(w.grad)
        found.append(h.detach())
    return found


@footgun(eager="changes where gradients of a tensor from outside go")
def inplace_arg_gets_history(wrap):
    w = tensor(3, g=True)

    def f(x):
        x.mul_(w)

    f = wrap(f)
    found = []
    for i in range(3):
        w.grad = None
        h = tensor(3, seed=i)
        f(h)
        found.append(h.requires_grad)
        found.append(h.detach())
        if h.requires_grad:
            h.sum().backward()
            found.append(w.grad.clone())
    return found


@footgun(eager="changes where gradients of a tensor from outside go")
def inplace_arg_view_history(wrap):
    w = tensor(2, g=True)

    def f(x):
        x[1:].copy_(w * w)
        return x.sum()

    f = wrap(f)
    found = []
    for i in range(3):
        w.grad = None
        h = tensor(3, seed=i)
        y = f(h)
        found.append((h.requires_grad, y.requires_grad))
        (y + (h * h).sum()).backward()
        found.append(w.grad.clone())
    return found


@footgun
def leaf_inplace_error(wrap):

    def f(x):
        x.add_(1)
        return x

    f = wrap(f)
    found = []
    for _i in range(3):
        try:
            f(tensor(3, g=True))
            found.append("ok")
        except Exception as e:
            found.append(type(e).__name__)
        with tracec.no_grad():
            found.append(f(tensor(3, g=True)).detach())
    return found


@footgun
def requires_grad_toggled_inside(wrap):
    w = tensor(3)

    def f(x):
        w.requires_grad_(True)
        (w * x).sum().backward()
        g = w.grad
        w.grad = None
        w.requires_grad_(False)
        return g

    f = wrap(f)
    found = []
    for i in range(3):
        found.append(f(tensor(3, seed=i)))
        found.append(w.requires_grad)
    return found


@footgun
def requires_grad_set_inside(wrap):

    def f(x):
        x.requires_grad_(True)
        y = (x * x).sum()
        y.backward()
        return y.detach()

    f = wrap(f)
    found = []
    for i in range(3):
        x = whole(3, seed=i)
        found.append(f(x))
        found.append(x.requires_grad)
        found.append(x.grad)
    return found


@footgun
def leaf_made_inside(wrap):

    def f(x):
        w = tracec.zeros(3, requires_grad=True)
        y = (w + x) ** 2
        y.sum().backward()
        return w.grad

    f = wrap(f)
    return [f(tensor(3, seed=i)) for i in range(3)]


@footgun
def leaf_returned(wrap):

    def f(x):
        w = tracec.zeros(3).requires_grad_()
        return (w, w * x)

    f = wrap(f)
    found = []
    for i in range(3):
        w, y = f(tensor(3, seed=i))
        found.append(w.requires_grad)
        y.sum().backward()
        found.append("none" if w.grad is None else w.grad)
    return found


@footgun
def autograd_grad_inside(wrap):

    def f(x):
        x = x.detach().requires_grad_()
        y = (x**3).sum()
        (g,) = tracec.autograd.grad(y, [x], create_graph=True)
        (h,) = tracec.autograd.grad(g.sum(), [x])
        return h

    f = wrap(f)
    return [f(tensor(3, seed=i)) for i in range(3)]


@footgun
def gradient_of_an_argument_read(wrap):

    def f(x):
        g = x.grad
        x.grad = None
        return g * 2

    f = wrap(f)
    found = []
    for i in range(3):
        x = tensor(3, g=True)
        x.grad = tensor(3, seed=i)
        found += [f(x), x.grad is None]
    return found


@footgun(eager="cannot change the shape of a tensor from outside")
def an_error_of_the_compiler_that_the_function_catches(wrap):
    def f(x):
        try:
            x.t_()
        except RuntimeError:
            return x * 100
        return x * 2

    f = wrap(f)
    return [f(tensor(2, 3)) for _ in range(4)]


@footgun(eager="cannot change the shape of a tensor from outside")
def an_error_of_the_compiler_that_becomes_another(wrap):
    def f(x):
        try:
            x.t_()
        except RuntimeError as error:
            raise ValueError("no") from error
        return x * 2

    f = wrap(f)
    return [f(tensor(2, 3)) for _ in range(4)]


@footgun(eager="goes back through mul, which ran before")
def a_gradient_taken_past_the_function(wrap):
    counted = []

    def f(x):
        counted.append(len(counted))
        (x * x).sum().backward()
        return x * 2

    f, found = wrap(f), []
    for k in range(4):
        w = tensor(3, seed=k, g=True)
        found += [f(w * 2), w.grad, len(counted)]
    return found


def _exchanged(wrap, body):
    w, b, found = tensor(3), tensor(3, seed=1), []
    f = wrap(lambda x: body(w, b, x))
    for k in range(4):
        out = f(tensor(3, seed=2 + k))
        found += [out.clone(), w.clone(), b.clone()]
        out.add_(1)
        found += [w.clone(), b.clone()]
        b.mul_(2)
        found += [w.clone(), b.clone()]
    return found


def _stepped(w, b, x):
    w.data = w.data - x
    return x * 2


def _given_away(w, b, x):
    value = w.data - x
    w.data = value
    return value


def _value_written(w, b, x):
    value = w.data - x
    w.data = value
    value.add_(1)
    return x * 2


def _tensor_written(w, b, x):
    value = w.data - x
    w.data = value
    w.add_(1)
    return value.sum()


def _from_outside(w, b, x):
    w.data = b
    return x * 2


def _of_an_argument(w, b, x):
    w.data = x
    w.add_(1)
    return x * 2


def _look_returned(w, b, x):
    w.data = w - x
    return w[1:]


def _own_look(w, b, x):
    y = w.detach()
    y.data = b
    y.add_(1)
    return x * 2


def _own_tensor(w, b, x):
    y = x * 0
    y.data = b
    return y


def _old_look_written(w, b, x):
    old = w.data
    w.data = w - x
    old.add_(5)
    w.data = w.data + old
    return x * 2


def _look_from_outside_read(w, b, x):
    look, kept = w.detach(), []
    kept.append(look[:2])
    w.data = w * 2
    return x * kept.pop().sum()


def _other_layout(w, b, x):
    w.data = (x * w).flip(0).expand(2, 3)[0]
    return x * 2


_MOVED = "a tensor from outside is given other memory"
for _body, _why in {
    _stepped: None,
    _given_away: _MOVED,
    _value_written: None,
    _tensor_written: None,
    _from_outside: _MOVED,
    _of_an_argument: _MOVED,
    _look_returned: _MOVED,
    _old_look_written: _MOVED,
    _look_from_outside_read: _MOVED,
    _other_layout: _MOVED,
    _own_look: None,
    _own_tensor: None,
}.items():
    _case = functools.partial(_exchanged, body=_body)
    _case.__name__ = f"memory_exchanged{_body.__name__}"
    footgun(_case, eager=_why)


def _seen_between(wrap, look, leave=False):
    w, found, kept = tensor(3) * 1, [], []  # memory that nobody has seen

    def f(x):
        w.data = w.data - 0.5 * x
        return w * 2

    f = wrap(f)
    for k in range(8):
        if k == 4:
            kept.append(look(w))
        if k == 6 and leave:
            kept.clear()
        found += [f(tensor(3, seed=k)), w.clone()]
        found += [v.clone() if isinstance(v, tracec.Tensor) else tracec.tensor(v) for v in kept]
    return found


for _name, _look in {
    "look": lambda w: w.detach(),
    "part": lambda w: w[1:],
    "array": lambda w: w.numpy(),
    "copy": lambda w: w.clone(),
    "same": lambda w: w,
}.items():
    for _leave in (False, True):
        _case = functools.partial(_seen_between, look=_look, leave=_leave)
        _case.__name__ = f"memory_exchanged_beside_a_{_name}{'_that_goes' if _leave else ''}"
        footgun(_case)


@footgun(eager=_MOVED)
def memory_that_is_shared_already(wrap):
    w, b, found = tensor(3), tensor(3, seed=1), []
    w.data = b.data

    def f(x):
        w.data = b.data
        return x * 2

    f = wrap(f)
    for k in range(4):
        if k == 2:
            w.data = tensor(3, seed=2)
        found.append(f(tensor(3, seed=k)))
        b.add_(1)
        found.append(w.clone())
    return found


@footgun(eager="changes where gradients of a tensor from outside go")
def a_history_changed_before_the_function_begins_anew(wrap):
    def f(y, x):
        y.mul_(2)
        json.dumps(x.sum().item())  # takes floats alone, so that the recording starts again with plain ones
        return y * 3

    f, found = wrap(f), []
    for k in range(4):
        w = tensor(3, g=True)
        y = w * 2
        (f(y, tensor(3, seed=k)).sum() + y.sum()).backward()
        found += [w.grad, y]
    return found


@footgun(eager="which ran before the recorded function")
def a_result_handed_to_the_next_call_that_goes_back(wrap):
    w = tensor(3, g=True)

    def f(x):
        w.grad = None
        (w * x).sum().backward()
        return w * 2

    f, x, found = wrap(f), tensor(3, seed=1), []
    for _ in range(5):
        x = f(x)
        found += [x.detach().clone(), w.grad.clone()]
    return found
