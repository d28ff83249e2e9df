import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ctprep.conversion.planning.plan import Action, FinishedVolume, Observation, duplicates, make_plan
from ctprep.scans.scan import Rejection, Scan


def scans(*labels):
    return [Scan(f"s{number}", f"s{number}.nii", label, f"s{number}") for number, label in enumerate(labels)]


def test_each_observation_leads_to_one_action():
    observations = {
        "s0": Observation(FinishedVolume("unchanged", 3)),
        "s1": Observation(rejection=Rejection("s1", "geometry", "s1: no affine")),
        "s2": Observation(why_convert="its bytes have changed"),
    }
    plan = make_plan(scans(0, 0, 0, 0), observations, existing=["gone", "s0", "s1"])
    assert [(row.action, row.reason) for row in plan.rows] == [
        (Action.REUSE, "unchanged"),
        (Action.REJECT, "geometry: s1: no affine"),
        (Action.CONVERT, "its bytes have changed"),
        (Action.CONVERT, "new"),
    ]
    assert plan.removed == ("gone", "s1")
    assert [plan.count(action) for action in Action] == [2, 1, 1]


def test_a_plan_tells_of_every_scan_of_what_is_removed_and_of_what_was_inferred():
    observations = {
        "s0": Observation(FinishedVolume("unchanged", 3)),
        "s2": Observation(rejection=Rejection("s2", "geometry", "no affine")),
    }
    plan = replace(
        make_plan(scans(0, 0, 0), observations, existing=["gone", "s0", "s2"]),
        unusable=(Rejection("s1b", "unreadable", "s1b: is not there"),),
        notes=("b is the positive class",),
        classes=("a", "b"),
    )
    assert plan.lines() == [
        "note: b is the positive class",
        "scans          4",
        "classes        3 a, 1 no label",
        "patients       0 named, 4 scans without one",
        "note: 3 scans: no patient is named: the scan counts as a patient of its own",
        "convert s1  class a  new",
        "reject  s2  class a  geometry: no affine",
        "reject  s1b  -  unreadable: s1b: is not there",
        "remove  gone  -  no longer in the raw folder",
        "remove  s2  -  rejected now",
        "reuse   s0  class a  unchanged",
        "1 to convert, 1 to reuse, 2 to reject, 2 to remove",
    ]
    saved = plan.to_dict()
    assert [row["action"] for row in saved["rows"]] == ["reuse", "convert", "reject", "reject"]
    assert (saved["removed"], saved["notes"]) == (["gone", "s2"], ["b is the positive class"])
    assert json.loads(json.dumps(saved))["rows"][1]["class"] == "a"


def test_a_plan_of_many_scans_is_one_line_and_a_small_table():
    plan = make_plan(scans(*[0] * 5000), {"s7": Observation(rejection=Rejection("s7", "geometry", "<b>"))})
    assert repr(plan) == "Plan(4,999 to convert, 0 to reuse, 1 to reject, 0 to remove)"
    shown = plan._repr_html_()
    assert "<td>s7</td><td>reject</td><td>geometry: &lt;b&gt;</td>" in shown
    assert shown.count("<tr>") == 21
    assert "and 4,980 more" in shown


def test_the_text_of_a_plan_names_five_scans_of_a_kind_and_its_table_all():
    many = make_plan(scans(*[0] * 5000), {f"s{n}": Observation(why_convert="changed") for n in range(10)})
    lines = many.lines()
    assert len(lines) < 20
    assert "convert and 4,985 more: new" in lines
    assert "convert and 5 more: changed" in lines
    assert len(many.csv_lines()) == 5001


def rejected(labels, digests):
    found = duplicates(scans(*labels), {f"s{number}": digest for number, digest in enumerate(digests)})
    return [rejection.scan for rejection in found]


def test_of_equal_bytes_the_first_stays():
    assert rejected([0, 0, 1, 0], "aaba") == ["s1", "s3"]


def test_of_equal_bytes_under_two_labels_none_stays():
    assert rejected([0, 1, 0, 1], "aaab") == ["s0", "s1", "s2"]


def test_of_equal_bytes_a_labelled_scan_stays_before_an_unlabelled_one():
    assert rejected([-1, 1, -1], "aaa") == ["s0", "s2"]


@given(st.lists(st.tuples(st.integers(-1, 2), st.sampled_from("abc")), max_size=12))
def test_what_is_left_has_no_equal_bytes_and_no_needless_loss(pairs):
    labels, digests = [label for label, _ in pairs], [digest for _, digest in pairs]
    gone = set(rejected(labels, digests))
    for digest in set(digests):
        same = [number for number in range(len(pairs)) if digests[number] == digest]
        kept = [number for number in same if f"s{number}" not in gone]
        conflict = len({labels[number] for number in same} - {-1}) > 1
        assert len(kept) == (0 if conflict else 1)
