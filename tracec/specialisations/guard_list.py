"""Guards that are checked together: by identity where that will do, all of those by one check in C, or by value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tracec.runtime.identity_guards import IdentityGuard, unchanged
from tracec.specialisations.guards import Contents, Form, Guard, Lacking

AnyGuard = Guard | Contents | Form | Lacking


class GuardList:
    """The guards of one recording.

    Args:
        guards: Those that are known when the function has been walked.
    """

    def __init__(self, guards: Iterable[AnyGuard]) -> None:
        self._identities: list[IdentityGuard] = []
        #: For each of those: the guard, and what tells whether the place is as good as that.
        self._guarded: list[tuple[AnyGuard, Callable[[], bool]]] = []
        #: What can be checked by value alone.
        self._others: list[tuple[AnyGuard, Callable[[], bool]]] = []
        self._same: Callable[[], bool] | None = None
        for guard in guards:
            self.add(guard)

    def add(self, guard: AnyGuard) -> None:
        """Check a place, or a container; what may be other numbers and tensors is looked at when it is taken."""
        if isinstance(guard, Contents) and guard.kinds:
            self._enter(guard, guard.has_places)
            for item in guard.fixed():
                self._enter(item, item.holds)
        elif not isinstance(guard, Guard) or guard.kind is None:
            self._enter(guard, guard.holds)

    def _enter(self, guard: AnyGuard, holds: Callable[[], bool]) -> None:
        identity = guard.identity()
        if identity is None:
            self._others.append((guard, holds))
        else:
            self._identities.append(identity)
            self._guarded.append((guard, holds))
            self._same = None

    @property
    def identities(self) -> Sequence[IdentityGuard] | None:
        """The guards by identity; None where some can be checked by value alone."""
        return None if self._others else self._identities

    def fails(self) -> AnyGuard | None:
        """The first guard that does not hold."""
        same = self._same
        if same is None:
            same = self._same = unchanged(self._identities)
        if not same():
            for guard, holds in self._guarded:
                if not holds():
                    return guard
            self._renew_identities()
        for guard, holds in self._others:
            if not holds():
                return guard
        return None

    def _renew_identities(self) -> None:
        """Tensors have other memory of the same form, or modules other names: these are checked first from now on."""
        for k, (guard, _) in enumerate(self._guarded):
            if isinstance(guard, (Form, Lacking)) and (identity := guard.identity()) is not None:
                self._identities[k] = identity
        self._same = None
