"""Every score comes with its interval and number, and a reader is warned of what is weak."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from ctmodel.errors import ScoreError
from ctmodel.scoring import metrics
from ctmodel.scoring.scores import Predictions, Scores, Threshold, choose_threshold, score

HALF = Threshold(0.5, "half")


def predictions_of(labels, chances, patients=None) -> Predictions:
    labels, chances = np.array(labels), np.array(chances, dtype=float)
    names = tuple(f"s{row}" for row in range(len(labels)))
    probabilities = np.stack([1 - chances, chances], axis=1) if chances.ndim == 1 else chances
    return Predictions(names, tuple(patients or names), labels, probabilities)


def many(*, n=200, shift=0.3, positive_share=0.5, seed=0) -> Predictions:
    generator = np.random.default_rng(seed)
    labels = (np.arange(n) < positive_share * n).astype(int)
    return predictions_of(labels, np.clip(generator.random(n) * (1 - shift) + shift * labels, 0, 1))


def test_two_classes_have_the_scores_of_a_diagnostic_test():
    four = predictions_of([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9])
    found = score(four, classes=("normal", "abnormal"), subset="test", threshold=HALF)
    values = {name: entry.value for name, entry in found.scores.items()}
    assert values == pytest.approx(
        {
            "auroc": 0.75,
            "average_precision": (1 + 2 / 3) / 2,
            "accuracy": 0.5,
            "balanced_accuracy": 0.5,
            "sensitivity": 0.5,
            "specificity": 0.5,
            "ppv": 0.5,
            "npv": 0.5,
            "brier": (0.01 + 0.36 + 0.36 + 0.01) / 4,
            "log_loss": -np.log([0.9, 0.4, 0.4, 0.9]).mean(),
        }
    )
    assert found.confusion == ((1, 1), (1, 1))


def test_the_table_has_ten_rows_in_the_order_of_a_report():
    found = score(many(), classes=("normal", "abnormal"), subset="test", threshold=HALF)
    assert list(found.scores) == [
        *("auroc", "average_precision", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv"),
        *("brier", "log_loss"),
    ]
    assert list(found.more) == [
        *("f1", "mcc", "lr_positive", "lr_negative", "partial_auroc", "calibration_slope", "calibration_intercept")
    ]
    assert list(found.all_scores()) == [*found.scores, *found.more]


def test_a_prevalence_adds_the_predictive_values_that_it_gives():
    found = score(many(), classes=("normal", "abnormal"), subset="test", threshold=HALF, prevalence=0.05)
    assert found.prevalence == 0.05
    assert found.scores["ppv_at_prevalence"].value < found.scores["ppv"].value
    assert found.scores["npv_at_prevalence"].value > found.scores["npv"].value


def test_ordered_classes_have_the_scores_of_grades():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]])
    graded = predictions_of([0, 1, 2, 2], probabilities)
    found = score(graded, classes=("a", "b", "c"), subset="test", threshold=HALF, ordered=True).scores
    assert found["class_distance"].value == 0.25
    assert found["quadratic_kappa"].value == pytest.approx(1 - 0.25 / (11 / 16 + 1 / 2 + 1 / 16))
    assert "quadratic_kappa" not in score(graded, classes=("a", "b", "c"), subset="test", threshold=HALF).all_scores()


def test_each_of_several_classes_has_the_scores_of_a_diagnostic_test():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]])
    found = score(predictions_of([0, 1, 2, 2], probabilities), classes=("a", "b", "c"), subset="test", threshold=HALF)
    assert found.scores["balanced_accuracy"].value == pytest.approx((1 + 1 + 0.5) / 3)
    assert found.more["ppv b"].value == 0.5
    assert found.more["macro_f1"].value == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_each_score_counts_the_scans_and_patients_it_rests_on():
    five = predictions_of([0, 0, 0, 1, 1], [0.1, 0.6, 0.3, 0.4, 0.9], patients=["a", "a", "b", "c", "d"])
    scores = score(five, classes=("normal", "abnormal"), subset="test", threshold=HALF).scores
    assert (scores["specificity"].n, scores["specificity"].patients) == (3, 2)
    assert (scores["sensitivity"].n, scores["sensitivity"].patients) == (2, 2)
    assert (scores["auroc"].n, scores["auroc"].patients) == (5, 4)


def test_every_score_lies_in_its_interval():
    found = score(many(), classes=("normal", "abnormal"), subset="test", threshold=HALF)
    assert all(entry.low < entry.value < entry.high for entry in found.scores.values())


def test_perfect_scores_of_few_scans_are_not_sure():
    eight = predictions_of([0] * 4 + [1] * 4, [0.1] * 4 + [0.9] * 4)
    scores = score(eight, classes=("normal", "abnormal"), subset="test", threshold=HALF).scores
    for name in ("auroc", "average_precision", "accuracy", "sensitivity", "specificity"):
        assert scores[name].value == scores[name].high == 1
        assert scores[name].low < 0.8


LOSSES = {"brier": metrics.brier_scores, "log_loss": metrics.log_losses}


def binormal(generator, *, n_patients, separation, sureness, scans_each) -> Predictions:
    """Scans of two normal groups, seven tenths of whose variance is the patient's; sureness 1 is calibrated."""
    patients = np.repeat(np.arange(n_patients), scans_each)
    labels, shared = patients % 2, generator.normal(size=n_patients)[patients]
    places = np.sqrt(0.7) * shared + np.sqrt(0.3) * generator.normal(size=len(patients)) + separation * (labels - 0.5)
    return predictions_of(labels, expit(sureness * separation * places), patients=patients.astype(str).tolist())


def expected_losses(*, separation, sureness) -> dict[str, float]:
    places, step = np.linspace(-10, 10, 20_001, retstep=True)
    chances = expit(sureness * separation * (places + separation / 2))
    probabilities, ones = np.stack([1 - chances, chances], axis=1), np.ones(len(places), dtype=int)
    return {name: float(loss(ones, probabilities) @ norm.pdf(places) * step) for name, loss in LOSSES.items()}


def coverage(interval, *, n_patients, separation, sureness=1.0, scans_each=1, trials=300) -> dict[str, float]:
    """Return how often an interval, a function of predictions and a score's name, holds the expected loss."""
    generator = np.random.default_rng(0)
    truth = expected_losses(separation=separation, sureness=sureness)
    covered = dict.fromkeys(truth, 0)
    for _ in range(trials):
        drawn = binormal(
            generator, n_patients=n_patients, separation=separation, sureness=sureness, scans_each=scans_each
        )
        for name, low, high in interval(drawn):
            covered[name] += low <= truth[name] <= high
    return {name: number / trials for name, number in covered.items()}


def intervals_of_scores(drawn: Predictions):
    found = score(drawn, classes=("normal", "abnormal"), subset="test", threshold=HALF).scores
    return [(name, found[name].low, found[name].high) for name in LOSSES]


def normal_intervals(drawn: Predictions):
    for name, loss in LOSSES.items():
        values = loss(drawn.labels, drawn.probabilities)
        half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
        yield name, values.mean() - half, values.mean() + half


@pytest.mark.parametrize(
    "case",
    [
        {"n_patients": 20, "separation": 3},
        {"n_patients": 60, "separation": 4},
        {"n_patients": 8, "separation": 1.2},
        {"n_patients": 20, "separation": 3, "sureness": 3},
        {"n_patients": 40, "separation": 1.5, "sureness": 2, "scans_each": 3},
        {"n_patients": 2, "separation": 2},
    ],
)
def test_the_intervals_of_probability_scores_hold_the_truth_19_times_of_20(case):
    assert min(coverage(intervals_of_scores, **case).values()) >= 0.94


def test_the_coverage_test_fails_normal_intervals():
    assert max(coverage(normal_intervals, n_patients=20, separation=3).values()) < 0.9


@pytest.mark.parametrize(
    ("labels", "chances", "patients"),
    [
        ([0, 1] * 5, [0.0, 1.0] * 5, None),  # a perfect network
        ([0, 1] * 5, [0.5] * 10, None),  # all losses equal
        ([0, 1] * 5, [0.2, 0.7] * 5, ["p"] * 10),  # one patient
        ([0, 1] * 5, [0.0, 1.0] * 5, ["p"] * 10),
        ([0, 1] * 5, [1.0, 0.0] * 5, None),  # always wrong, and sure of it
    ],
)
def test_no_score_of_ten_scans_is_sure(labels, chances, patients):
    ten = predictions_of(labels, chances, patients=patients)
    scores = score(ten, classes=("normal", "abnormal"), subset="test", threshold=HALF).scores
    for name, entry in scores.items():
        assert entry.low <= entry.value <= entry.high, name
        assert entry.high - entry.low > 0.2, name


def test_the_brier_score_of_three_classes_goes_to_2():
    wrong = predictions_of([0, 1, 2] * 2, np.tile(np.eye(3)[[1, 2, 0]], (2, 1)))
    brier = score(wrong, classes=("a", "b", "c"), subset="test", threshold=HALF).scores["brier"]
    assert brier.value == brier.high == 2
    assert 1 < brier.low < 1.5


def test_more_classes_have_a_recall_each():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]])
    found = score(predictions_of([0, 1, 2, 2], probabilities), classes=("a", "b", "c"), subset="test", threshold=HALF)
    assert {name: entry.value for name, entry in found.scores.items() if name.startswith("recall")} == {
        "recall a": 1,
        "recall b": 1,
        "recall c": 0.5,
    }
    assert found.scores["macro_auroc"].value == pytest.approx((1 + 2 / 3 + 3.5 / 4) / 3)
    assert found.confusion == ((1, 0, 0), (0, 1, 0), (0, 1, 1))


def test_scores_survive_strict_json():
    found = score(many(), classes=("normal", "abnormal"), subset="test", threshold=HALF, notes=["first"])
    assert Scores.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found
    assert found.notes[0] == "first"


def test_an_infinite_likelihood_ratio_survives_strict_json():
    perfect = predictions_of([0, 1] * 30, [0.1, 0.9] * 30)
    found = score(perfect, classes=("normal", "abnormal"), subset="test", threshold=HALF)
    assert found.more["lr_positive"].value == np.inf
    assert Scores.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


def test_scores_that_version_0_1_wrote_have_no_others():
    saved = score(many(), classes=("normal", "abnormal"), subset="test", threshold=HALF).to_dict()
    del saved["more"], saved["prevalence"]
    assert Scores.from_dict(saved).all_scores() == Scores.from_dict(saved).scores


def test_good_scores_of_many_patients_need_no_warning():
    assert score(many(), classes=("normal", "abnormal"), subset="test", threshold=HALF).notes == ()


@pytest.mark.parametrize(
    ("weak", "warning"),
    [
        (many(shift=0), "includes 0.5"),
        (many(n=30), "Only 30 patients"),
        (many(positive_share=0.1), "Class abnormal is 10%"),
        (many(positive_share=0.1), "Only 20 patients are abnormal"),
        (predictions_of([0, 1] * 50, np.tile([0.1, 0.4], 50)), "Every scan was predicted as normal"),
        (predictions_of([0, 1] * 50, np.full(100, 0.4)), "The log loss, 0.714, is worse than 0.693"),
        (predictions_of([0, 0, 0, 1] * 25, np.tile([0.5, 0.5, 0.4, 0.6], 25)), "is worse than 0.562"),
    ],
)
def test_what_is_weak_is_said(weak, warning):
    notes = score(weak, classes=("normal", "abnormal"), subset="test", threshold=HALF).notes
    assert any(warning in note for note in notes)


@pytest.mark.parametrize(("labels", "message"), [([1, 1], "abnormal only"), ([], "no labelled scan only")])
def test_one_class_alone_cannot_be_scored(labels, message):
    lone = predictions_of(np.array(labels, dtype=int), np.full(len(labels), 0.5))
    with pytest.raises(ScoreError, match=message):
        score(lone, classes=("normal", "abnormal"), subset="test", threshold=HALF)


def test_the_lines_have_every_score_the_positive_class_and_the_confusion():
    found = score(many(n=30), classes=("well", "ill"), subset="test", threshold=HALF)
    header, *lines = found.lines()
    assert header == "test subset: 30 scans of 30 patients, with 95 % intervals; ill is the positive class"
    assert [line.split("  ")[1] for line in lines[: len(found.scores)]] == [
        name.replace("_", " ") for name in found.scores
    ]
    place = lines.index("  true class in rows, predicted class in columns; at a threshold of 0.500:")
    assert [line.split() for line in lines[place + 1 : place + 4]] == [
        ["well", "ill"],
        ["well", *map(str, found.confusion[0])],
        ["ill", *map(str, found.confusion[1])],
    ]
    assert [line for line in lines if line.startswith("  note: ")] == [f"  note: {note}" for note in found.notes]


def test_all_lines_have_every_score_and_the_calibration():
    found = score(many(), classes=("well", "ill"), subset="test", threshold=HALF, prevalence=0.05)
    shown = {line.split("  ")[1]: line.split()[-1] for line in found.all_lines()[1:] if not line.startswith("   ")}
    assert {name.replace("_", " ") for name in found.all_scores()} - shown.keys() == {
        "ppv at prevalence",
        "npv at prevalence",
    }
    assert {"ppv at prevalence 0.05", "npv at prevalence 0.05"} <= shown.keys()
    for name, value in found.calibration.items():
        assert shown[name.replace("_", " ")] == f"{value:.3f}"
    assert not any("mcc" in line for line in found.lines())


def test_the_parts_of_the_brier_score_add_up_to_it():
    found = score(many(), classes=("well", "ill"), subset="test", threshold=HALF)
    parts = found.calibration
    total = parts["brier_reliability"] - parts["brier_resolution"] + parts["brier_uncertainty"] + parts["brier_within"]
    assert total == pytest.approx(found.scores["brier"].value)


def test_each_of_several_classes_has_its_calibration():
    graded = predictions_of([0, 1, 2, 2] * 5, np.full((20, 3), 1 / 3))
    found = score(graded, classes=("a", "b", "c"), subset="test", threshold=HALF).calibration
    assert found["brier_uncertainty c"] == 0.25
    assert {name.split()[-1] for name in found} == {"a", "b", "c"}


def test_scaled_predictions_keep_their_order_and_say_what_they_are_of():
    drawn = many()
    scaled = drawn.scaled(2.0)
    assert (scaled.scans, scaled.patients) == (drawn.scans, drawn.patients)
    assert np.array_equal(np.argsort(scaled.probabilities[:, 1]), np.argsort(drawn.probabilities[:, 1]))
    assert drawn.scaled(1.0).probabilities is drawn.probabilities


def test_a_notebook_shows_names_as_text():
    found = score(many(), classes=("well", "<script>"), subset="unseen", threshold=HALF)
    shown = found._repr_html_()
    assert "&lt;script&gt; is the positive class" in shown
    assert "<script>" not in shown
    assert f"<td>{found.scores['auroc'].value:.3f}</td>" in shown


def test_the_threshold_says_who_chose_it():
    validation = predictions_of([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4])
    assert choose_threshold(validation, by="half") == HALF
    assert choose_threshold(validation, by="validation") == Threshold(pytest.approx(0.25), "validation")
    assert choose_threshold(validation, by="specificity=1") == Threshold(pytest.approx(0.25), "specificity=1")
    three = dataclasses.replace(validation, probabilities=np.full((4, 3), 1 / 3))
    assert choose_threshold(three, by="validation").chosen_by == "likeliest"
    assert choose_threshold(validation, by="0.3") == Threshold(0.3, "0.3")


def test_a_threshold_says_whether_data_chose_it():
    shown = [str(Threshold(0.25, by)) for by in ("half", "0.25", "likeliest", "cost=5:1")]
    assert shown == ["0.250"] * 3 + ["0.250, chosen by cost=5:1 on the validation subset"]


def test_the_names_of_classes_are_printed_as_they_are():
    probabilities = [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]]
    found = score(
        predictions_of([0, 1, 2], probabilities), classes=("CT_0", "a b", "c_"), subset="test", threshold=HALF
    )
    lines = found.lines()
    assert [line.split("1.000")[0].strip() for line in lines if line.startswith("  recall")] == [
        "recall CT_0",
        "recall a b",
        "recall c_",
    ]
    assert any(line.startswith("  macro auroc") for line in lines)
