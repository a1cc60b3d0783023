from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ragar_rec.store.curves import read_curves, recorded_curves


def test_tensorboard_shows_the_last_attempt_at_a_stage_and_other_stages_beside_it(tmp_path: Path) -> None:
    for name, values in (("generator-a", (1.0, 2.0, 3.0)), ("generator-b", (7.0,)), ("generator-a", (4.0, 5.0))):
        (tmp_path / f"{name}.partial").mkdir(exist_ok=True)
        with recorded_curves(tmp_path, tmp_path / f"{name}.partial") as curves:
            for step, value in enumerate(values):
                curves.add("loss: rank", step, value)
    for name, shown in (("generator-a", [4.0, 5.0]), ("generator-b", [7.0])):
        events = EventAccumulator(str(tmp_path / "tensorboard" / name)).Reload()
        assert [event.value for event in events.Scalars("loss/rank")] == shown
        assert read_curves(tmp_path / f"{name}.partial") == {"loss: rank": list(enumerate(shown))}
