"""What a network says of a scan is a number, or an error that names its weights."""

import gzip
import shutil

import numpy as np
import pytest

from ctmodel.data.batches import open_volumes
from ctmodel.errors import NetworkError, RunDamaged
from ctmodel.networks.build import build
from ctmodel.prediction.inference import Predictor, load_predictor, predict_rows
from ctmodel.prediction.predict import predict
from ctmodel.run.checkpoint import save_weights
from ctmodel.run.files import read_json, write_json
from ctmodel.run.run_folder import Run
from ctmodel.scoring.scores import Threshold, score
from ctprep.conversion.convert import convert
from ctprep.volume.recipe import Recipe

SHAPE = (16, 16, 8)
VOLUMES = np.full((9, *SHAPE), 0.5, dtype=np.float32)


@pytest.fixture
def own_run(finished, tmp_path):
    """A copy of the finished run that a test may change."""
    return Run(shutil.copytree(finished.run, tmp_path / "run"))


def broken_network(n_classes=2):
    model = build("compact", SHAPE, n_classes)
    model.layers[-1].bias.assign(np.full(model.output_shape[-1], np.nan))
    return model


@pytest.mark.parametrize("n_classes", [2, 3])
def test_outputs_that_are_no_numbers_are_an_error_that_names_the_weights(tmp_path, n_classes):
    predictor = Predictor(broken_network(n_classes), weights=tmp_path / "model.weights.h5")
    with pytest.raises(NetworkError, match=r"model\.weights\.h5: its network outputs NaN or infinity; restore it"):
        predictor.of_volumes(VOLUMES)


def test_a_network_in_training_shows_outputs_that_are_no_numbers():
    assert np.all(np.isnan(Predictor(broken_network()).of_volumes(VOLUMES)))


def test_a_run_with_weights_that_are_no_numbers_predicts_nothing(own_run, cohort):
    save_weights(broken_network(), own_run.weights)
    own_run.write_scores(own_run.scores())  # the digests are those of the broken weights
    with pytest.raises(NetworkError, match="outputs NaN or infinity"):
        predict(own_run.path, cohort.files[:1])


def test_a_bit_flipped_in_the_weights_is_noticed_before_a_scan_is_predicted(own_run, cohort):
    content = bytearray(own_run.weights.read_bytes())
    content[len(content) // 2] ^= 0x40
    own_run.weights.write_bytes(content)
    with pytest.raises(NetworkError, match=r"model\.weights\.h5: has changed since the training"):
        predict(own_run.path, cohort.files[:1])


def test_classes_in_another_order_are_noticed_before_a_scan_is_predicted(own_run, cohort):
    path = own_run.path / "store.json"
    write_json(path, read_json(path) | {"classes": ["abnormal", "normal"]})
    with pytest.raises(RunDamaged, match=r"store\.json: has changed since the training"):
        predict(own_run.path, cohort.files[:1])


def test_a_network_for_other_volumes_than_the_store_s_is_refused(own_run):
    (own_run.path / "scores.json").unlink()  # unfinished, where no digest is in the way
    path = own_run.path / "network.json"
    write_json(path, read_json(path) | {"input_shape": [16, 16, 10]})
    with pytest.raises(RunDamaged, match=r"network\.json: is damaged .*as in store\.json"):
        load_predictor(own_run)


def test_intervals_count_scans_of_one_volume_as_one_patient(cohort, tmp_path):
    """The same scan compressed and plain, which no table of patients names: the split merges them too."""
    raw = shutil.copytree(cohort.raw, tmp_path / "raw", ignore=shutil.ignore_patterns("labels.csv", "other"))
    for path in sorted(raw.rglob("*.nii.gz")):
        path.with_name(f"copy_{path.name.removesuffix('.gz')}").write_bytes(gzip.decompress(path.read_bytes()))
    path = convert(raw, tmp_path / "out.zarr", recipe=Recipe(shape=SHAPE), scheduler="synchronous").store.path
    store, reader = open_volumes(path)
    said = predict_rows(Predictor(build("compact", SHAPE, 2)), store, reader, np.arange(len(store)))
    scores = score(said, subset="test", classes=store.classes, threshold=Threshold(0.5, "half"))
    n_volumes = len(set(store.checksums.tolist()))
    assert (scores.n, scores.patients) == (2 * n_volumes, n_volumes)
    once = score(
        said.taken(np.unique(store.checksums, return_index=True)[1]),
        subset="test",
        classes=store.classes,
        threshold=scores.threshold,
    )
    for name in ("accuracy", "sensitivity", "specificity", "auroc"):
        assert scores.scores[name].low == pytest.approx(once.scores[name].low, abs=0.02)
        assert scores.scores[name].high == pytest.approx(once.scores[name].high, abs=0.02)
