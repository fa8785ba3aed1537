"""Iteration spaces: normal forms, and loops split so that shapes index by whole loops."""

from __future__ import annotations

from tracec.plan.space import Space, of_shape


def test_normal_form_merges_loops_of_one_class() -> None:
    assert of_shape((4, 128, 256), (2,)).normal() == Space((512, 256), (False, True))
    assert of_shape((8, 16, 5, 7), (0, 2, 3)).normal() == Space((8, 16, 35), (True, False, True))
    assert of_shape((1, 3, 1)).normal() == Space((3,), (False,))


def test_refining_splits_at_the_boundaries_of_a_shape() -> None:
    space = Space((512, 256), (False, True)).refine([(4, 128, 256)])
    assert space == Space((4, 128, 256), (False, False, True))
    rows = Space((512, 256), (False, True)).refine([(4, 128, 1)], rows=True)
    assert rows == Space((4, 128, 256), (False, False, True))


def test_shapes_that_cut_across_are_left_to_division() -> None:
    assert Space((24,), (False,)).refine([(6, 4), (8, 3)]).total == 24
    assert Space((24,), (False,)).refine([(6, 4)]).refine([(8, 3)]) == Space((6, 4), (False, False))


def test_sizes_of_a_space() -> None:
    space = of_shape((8, 16, 5, 7), (0, 2, 3))
    assert (space.total, space.kept, space.row) == (8 * 16 * 35, 16, 8 * 35)
    assert [v.name for v in space.vars] == ["r0", "i0", "r1", "r2"]
