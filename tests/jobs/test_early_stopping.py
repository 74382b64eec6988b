"""ASHA in a search that is resumed: a trial still falls behind those of before."""

import pytest
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Trial

from cifar_model.history import HISTORY, EpochRecord, write_history
from jobs.early_stopping import ResumableASHA


def trial(search, name, told=None):
    """A trial of the search in that folder; told: the last epoch that Tune was told of, if any."""
    storage = StorageContext(str(search), "tune")
    made = Trial("trial", trial_id=name, stub=True, storage=storage)
    if told is not None:
        made.run_metadata.last_result = {"epoch": told}
    return made


def scheduler():
    made = ResumableASHA("trials", time_attr="epoch", max_t=8, grace_period=2)
    made.set_search_properties("val_accuracy", "max")
    return made


@pytest.mark.parametrize(("accuracy", "decision"), [(0.5, "STOP"), (0.95, "CONTINUE")])
def test_a_new_trial_is_compared_with_those_that_ran_before(tmp_path, accuracy, decision):
    for name in "abc":
        records = [EpochRecord(e, 0.5, 0.9, 0.5, 0.9, 0.1, 1000, 7.0) for e in range(8)]
        write_history(tmp_path / "trials" / name / HISTORY, records)
    asha = scheduler()
    for name in "abc":
        asha.on_trial_add(None, trial(tmp_path, name, told=7))
    new = trial(tmp_path, "new")
    asha.on_trial_add(None, new)
    assert asha.on_trial_result(None, new, {"epoch": 2, "val_accuracy": accuracy}) == decision


def test_an_epoch_that_tune_was_not_told_of_is_judged_when_it_is(tmp_path):
    records = [EpochRecord(e, 0.5, 0.9, 0.5, 0.2, 0.1, 1000, 7.0) for e in range(3)]
    write_history(tmp_path / "trials" / "a" / HISTORY, records)
    asha = scheduler()
    first, killed = trial(tmp_path, "first"), trial(tmp_path, "a", told=1)
    for each in (first, killed):
        asha.on_trial_add(None, each)
    assert asha.on_trial_result(None, first, {"epoch": 2, "val_accuracy": 0.9}) == "CONTINUE"
    assert asha.on_trial_result(None, killed, {"epoch": 2, "val_accuracy": 0.2}) == "STOP"
