"""The short version of tests/torture/damage.py."""

from tests.torture import damage


def test_flipped_bits_are_seen_by_every_reader(tmp_path):
    store = damage.make_store(tmp_path)
    count, unseen = damage.chunk_figures(store, every=29)
    assert count > 50
    assert not any(unseen.values()), unseen


def test_flipped_bits_of_metadata_and_tables_are_seen(tmp_path):
    count, unseen = damage.table_figures(damage.make_store(tmp_path), every=499)
    assert count > 100
    assert unseen == 0


def test_the_harness_reports_what_metadata_without_a_checksum_hide(tmp_path):
    count, changed = damage.table_control_figures(damage.make_store(tmp_path), every=251)
    assert 0 < changed < count


def test_the_harness_reports_what_default_codecs_do_not_see(tmp_path):
    count, wrong = damage.control_figures(tmp_path, every=7)
    assert wrong > count / 2
