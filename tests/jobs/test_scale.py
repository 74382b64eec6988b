"""The same run on one worker and on several: the same global batches, the same metrics."""

import json

import numpy as np
import pytest

from cifar_model.history import read_history
from cifar_model.recipe import load_recipe
from jobs import train

WHAT = ["--data", "digits", "--image-size", "16", "--train-limit", "400"]
WHAT += ["--precision", "32-true", "--sync-norms"]


@pytest.mark.slow
def test_one_worker_and_four_agree_within_rounding(ray_cluster, tmp_path):
    # A low rate: at a high one, rounding in the first steps grows into another run.
    recipe = {**load_recipe("digits").to_json(), "epochs": 2, "peak_lr": 0.002}
    (tmp_path / "slow.json").write_text(json.dumps(recipe))
    histories = []
    for workers in (1, 4):
        how = ["--recipe", tmp_path / "slow.json", "--workers", workers, "--cpus-per-worker", 1]
        how += ["--storage", tmp_path, "--name", f"w{workers}"]
        train.main([*WHAT, *map(str, how)])
        histories.append(read_history(tmp_path / f"w{workers}" / "history.csv"))
    for one, four in zip(*histories, strict=True):
        np.testing.assert_allclose(one.train_loss, four.train_loss, rtol=1e-4)
        np.testing.assert_allclose(one.val_loss, four.val_loss, rtol=1e-4)
        # An image on the edge between two classes.
        assert abs(one.train_accuracy - four.train_accuracy) <= 1.5 / 360
        assert abs(one.val_accuracy - four.val_accuracy) <= 1.5 / 40
