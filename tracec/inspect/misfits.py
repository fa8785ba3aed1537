"""What keeps a program from serving a call, where neither its arguments' types nor guards do: memory and gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracec.inspect.explanation import written
from tracec.record.cell import Cell
from tracec.record.recording import hooks_of
from tracec.specialisations.branches import Leaf
from tracec.specialisations.guards import Change, steps_key
from tracec.specialisations.replay import Replay


def misfits(replay: Replay | Leaf, arguments: Sequence[Any], names: Mapping[int, str]) -> list[Change]:
    """What is otherwise than a program needs.

    Args:
        replay: The program, or the end of a path.
        arguments: The tensors of the call.
        names: Names of tensors that the function reads around it, by identity.
    """

    def name_of(x: Cell) -> str:
        position = next((k for k, a in enumerate(arguments) if a is x), None)
        return written(names.get(id(x), f"a tensor {x._type}" if position is None else f"tensor argument {position}"))

    found = []
    for seen in replay.surroundings.seen:
        x = seen.tensor()
        if x is None or seen.holds():
            continue
        if x._storage is not seen.storage:
            found.append(Change(f"memory of {name_of(x)}", "as recorded", "other memory"))
        elif hooks_of(x) != seen.hooks:
            found.append(Change(f"hooks of {name_of(x)}", "as recorded", "others"))
        else:
            flags = [str(seen.requires_grad), str(not seen.requires_grad)]
            found.append(Change(f"{name_of(x)} is part of gradients", *flags))
    if (misfit := replay.aliasing.gradients.misfit(arguments)) is not None:
        x, before, now = misfit
        found.append(Change(f"{name_of(x)}.grad", before, now))
    for k, (x, look) in enumerate(zip(arguments, replay.aliasing.arguments, strict=False)):
        if not replay.aliasing.same(x, look):
            what = "how it views its memory" if tuple(map(steps_key, x._steps)) != look.steps else "its memory"
            found.append(Change(f"tensor argument {k}: {what}", "as recorded", "otherwise"))
    return found
