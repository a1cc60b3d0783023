from ragar_rec.stages.catalogue import hold_out


def test_pictures_are_divided_into_learned_and_held_out() -> None:
    learned, held_out = hold_out(40, 0.25, 0)
    assert (len(learned), len(held_out)) == (30, 10)
    assert sorted(learned + held_out) == list(range(40))
    assert (learned, held_out) == (sorted(learned), sorted(held_out))
    assert hold_out(40, 0.25, 1)[1] != held_out
    assert hold_out(40, 0.0, 0) == (list(range(40)), [])
    assert len(hold_out(3, 0.99, 0)[0]) == 1
