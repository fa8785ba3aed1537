"""Tensors that are made of tensors: elements beside the places where they belong."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, NamedTuple, NoReturn, Self

from tracec.errors import ArgumentTypeError, UnsupportedError
from tracec.ir.dtype import DType
from tracec.record.backend import Device
from tracec.record.cell import Changes
from tracec.record.memory import axis_of
from tracec.record.overriding import CLASSES, name_of
from tracec.record.refusal import refuse
from tracec.record.state import STATE
from tracec.record.tensor import Size, Tensor
from tracec.record.write import check_can_cast, check_no_leaf

F = Callable[..., Any]


class Composite(Tensor):
    """A tensor without an array of its own: a tensor of elements, and integer tensors that say where they belong.

    Functions of it are those that its class enters in its table, by name; they are compositions over the tensors
    that it is made of, so that gradients, devices and compilation are theirs.

    Attributes:
        kind: What it is, for errors: ``sparse``.
        way_out: What to do where a function is not there for this kind.
        functions: Function by name.
        _data: The elements.
        _places: The tensors of integers.
        _sizes: Size of each axis.
    """

    is_composite = True
    is_sparse = is_nested = is_quantized = is_meta = is_mkldnn = False
    is_mps = is_xpu = is_xla = is_mtia = is_ipu = is_vulkan = False
    kind: ClassVar[str]
    way_out: ClassVar[str]
    functions: ClassVar[dict[str, F]]
    _data: Tensor
    _places: tuple[Tensor, ...]
    _sizes: tuple[int, ...]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """One without parts; ``__init__`` gives it them."""
        return object.__new__(cls)

    @classmethod
    def __torch_function__(cls, func: F, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """What a function gives for objects of this class.

        Raises:
            UnsupportedError: there is no such function for them.
        """
        name = name_of(func)
        own = cls.functions.get(name) or cls._method(name)
        if own is None:
            cls.refuse(name)
        return own(*args, **(kwargs or {}))

    @classmethod
    def _method(cls, name: str) -> F | None:
        """A method that the class itself defines: it is the function of that name, too."""
        for base in cls.__mro__[: cls.__mro__.index(Tensor)]:
            found = vars(base).get(name)
            if callable(found) and not hasattr(found, "asks_class"):
                return found  # type: ignore[no-any-return]
        return None

    @classmethod
    def refuse(cls, name: str) -> NoReturn:
        """Say that a function is not there for this kind."""
        if name in ("numpy", "__array__"):
            raise ArgumentTypeError(f"numpy: can't convert a {cls.kind} tensor to numpy", hint=cls.way_out)
        raise UnsupportedError(f"{name}: is not there for {cls.kind} tensors", hint=cls.way_out)

    # What it is made of -------------------------------------------------------------------------------

    def inner(self) -> tuple[Tensor, ...]:
        """The tensors that it is made of."""
        return (self._data, *self._places)

    def form(self) -> Hashable:
        """All else that it is made of."""
        raise NotImplementedError

    @classmethod
    def made(cls, form: Any, inner: tuple[Tensor, ...]) -> Self:
        """One of that form, of those tensors."""
        raise NotImplementedError

    def with_data(self, data: Tensor) -> Self:
        """Other elements in the same places."""
        return self.made(self.form(), (data, *self._places))

    def become(self, other: Self, name: str) -> Self:
        """Be made of what another one is made of.

        Raises:
            RecordError: in a compiled function, which could not do it again.
        """
        if STATE.recorder is not None:
            refuse(
                f"{name}: a {self.kind} tensor cannot be changed in place in a compiled function",
                hint=f"use {name.rstrip('_')}, which gives a new one",
            )
        Changes.count += 1
        self.__dict__.update(other.__dict__)
        return self

    def changed(self, other: Self, name: str) -> Self:
        """Become the result of a function in place, in the element type that it has.

        Raises:
            GradientError: its elements are a leaf that requires grad, and gradients are on.
            DTypeError: the result is of a higher category (bool < integer < float < complex).
        """
        check_can_cast(other.dtype, self.dtype, name)
        found = other.to(self.dtype)
        if self.is_leaf and self.requires_grad:
            check_no_leaf(self._data, name)
            found = found.detach().requires_grad_()  # gradients are off: it stays a leaf
            found._data.grad = self._data.grad
        return self.become(found, name)

    def _trap(self) -> Any:
        raise UnsupportedError(f"a {self.kind} tensor has no array of elements", hint=self.way_out)

    _array = _storage = property(_trap)

    # What it is ---------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """Size of each axis."""
        return Size(self._sizes)

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self._data.dtype

    @property
    def device(self) -> Device:
        """Where the elements are."""
        return self._data.device

    @property
    def _device(self) -> Device:  # type: ignore[override]
        return self._data._device

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._sizes)

    def dim(self) -> int:
        """Number of axes."""
        return len(self._sizes)

    ndimension = dim

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one axis."""
        return self.shape if dim is None else self.shape[axis_of("size", self, dim)]

    def numel(self) -> int:
        """Number of elements, those that are not stored included."""
        return math.prod(self._sizes)

    nelement = numel

    def __len__(self) -> int:
        return self._sizes[0]

    @property
    def is_cuda(self) -> bool:
        """Whether the elements are on a CUDA device."""
        return self._data.is_cuda

    @property
    def is_cpu(self) -> bool:
        """Whether the elements are on the CPU."""
        return self._data.is_cpu

    def get_device(self) -> int:
        """Number of the CUDA device; -1 for the CPU."""
        return self._data.get_device()

    def is_floating_point(self) -> bool:
        """Whether the elements are floats."""
        return self._data.is_floating_point()

    def is_complex(self) -> bool:
        """Whether the elements are complex."""
        return self._data.is_complex()

    def is_signed(self) -> bool:
        """Whether the elements may be negative."""
        return self._data.is_signed()

    def is_same_size(self, other: Any) -> bool:
        """Whether another tensor has the same shape."""
        return self._sizes == tuple(other.shape)

    # Gradients: those of its elements -----------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are computed for its elements."""
        return self._data.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Say whether its elements are to get gradients."""
        self._data.requires_grad_(requires_grad)
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether its elements were not computed from tensors that require grad."""
        return self._data.is_leaf

    @property
    def grad_fn(self) -> Any:
        """The operation that computed its elements."""
        return self._data.grad_fn

    @property
    def grad(self) -> Any:
        """The gradient of its elements, in their places; or None."""
        found = self._data.grad
        return None if found is None else self.with_data(found)

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None and type(value) is not type(self):
            raise ArgumentTypeError(
                f"grad: takes a {self.kind} tensor or None, {type(value).__name__} given", hint="zero it by None"
            )
        self._data.grad = None if value is None else value._data

    def retain_grad(self) -> None:
        """Keep the gradient of its elements, too."""
        self._data.retain_grad()

    def detach(self) -> Self:
        """The same elements, with no gradients flowing through."""
        return self.with_data(self._data.detach())

    def detach_(self) -> Self:
        """Forget how the elements were computed."""
        self._data.detach_()
        return self

    def _get_data(self) -> Any:
        """The same elements, with no gradients flowing through."""
        return self.detach()

    def _set_data(self, value: Any) -> None:
        self.become(value, "data")

    data = property(_get_data, _set_data)

    # Copies -------------------------------------------------------------------------------------------

    def clone(self, *, memory_format: Any = None) -> Self:
        """A copy; gradients flow through."""
        return self.made(self.form(), tuple(t.clone() for t in self.inner()))

    def contiguous(self, memory_format: Any = None) -> Self:
        """Itself, with its elements in one piece."""
        return self.with_data(self._data.contiguous())

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """The elements in another dtype, or all of it on another device; `Tensor.to` says how."""
        return self._moved(self._data.to(*args, **kwargs))

    def _moved(self, data: Tensor) -> Self:
        """Elements in the same places, which follow them to their device; itself where nothing has changed."""
        places = tuple(p.to(data.device) for p in self._places)
        same = data is self._data and all(a is b for a, b in zip(places, self._places, strict=True))
        return self if same else self.made(self.form(), (data, *places))

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The elements in another dtype; without one, its name as PyTorch's programs know it."""
        return self._data.type() if dtype is None else self._moved(self._data.type(dtype))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            memo[id(self)] = self.made(self.form(), tuple(t.__deepcopy__(memo) for t in self.inner()))
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self).made, (self.form(), self.inner())

    def __contains__(self, value: Any) -> bool:
        type(self).refuse("in")

    def __bool__(self) -> bool:
        return bool(self.to_dense())

    def __hash__(self) -> int:
        return id(self)


def _as_the_elements(name: str) -> Any:
    """A method that gives elements in another dtype, or on another device."""

    def run(self: Composite, *args: Any, **kwargs: Any) -> Composite:
        return self._moved(getattr(self._data, name)(*args, **kwargs))

    run.__name__ = run.__qualname__ = name
    run.__doc__ = getattr(Tensor, name).__doc__
    return run


_NAMES = "float double half bfloat16 cfloat cdouble long int short char byte bool cpu cuda type_as"

for _name in _NAMES.split():
    setattr(Composite, _name, _as_the_elements(_name))

CLASSES.discard(Composite)  # no object is of this very class, and programs without others need not look


class Form(NamedTuple):
    """A sparse or nested tensor but for the tensors that it is made of."""

    cls: type[Composite]
    form: Any
    parts: int


def in_parts(tensors: Sequence[Any]) -> tuple[list[Any], list[Form | None]]:
    """The tensors with arrays that tensors are made of, and how each is made again (None: it has an array itself)."""
    parts: list[Any] = []
    forms: list[Form | None] = []
    for x in tensors:
        inner = x.inner() if isinstance(x, Composite) else (x,)
        parts += inner
        forms.append(Form(type(x), x.form(), len(inner)) if isinstance(x, Composite) else None)
    return parts, forms


def of_parts(parts: Sequence[Any], forms: Sequence[Form | None]) -> tuple[Any, ...]:
    """The tensors that were taken to parts."""
    left = iter(parts)
    return tuple(next(left) if f is None else f.cls.made(f.form, tuple(itertools.islice(left, f.parts))) for f in forms)
