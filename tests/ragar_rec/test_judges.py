"""Two rankers on two encoders and two seeds from one config; one generator rewarded by the first, scored by both."""

from pathlib import Path

import torch

from film_world import config_file, film_folder, open_run


def test_a_generator_is_rewarded_by_one_ranker_and_scored_by_two(tmp_path: Path) -> None:
    run = open_run(config_file(tmp_path), film_folder(tmp_path / "raw"), tmp_path / "output")
    reward, judge = run.ranker, run.new_ranker(image_encoder="hog", seed=2021)
    system = run.new_system(reward, seed=1)
    requests = system.training_requests[:4]
    pictures = system.generator.generate(requests)
    by_reward, by_judge = (ranker.reward(requests, pictures) for ranker in (reward, judge))
    assert (reward.label, judge.label) == ("MICRO on dual", "MICRO on hog")
    assert (reward.dataset.config["seed"], judge.dataset.config["seed"]) == (2020, 2021)
    assert reward.dataset.digest() == judge.dataset.digest()  # the same split
    assert torch.isfinite(by_reward).all()
    assert torch.isfinite(by_judge).all()
    assert not torch.allclose(by_reward, by_judge)
    drawn = run.new_drawn(system, [reward, judge])
    frame = run.new_results(drawn).frame
    assert set(frame["judge"]) == {reward.label, judge.label}
    assert run.store.ran.count("ranker") == run.store.ran.count("features") == 2
    assert run.store.ran.count("generator") == 1
