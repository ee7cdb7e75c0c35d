"""A journal keeps every whole record, whatever happens to its end, and is not mixed with other work."""

import numpy as np
import pytest

from flamehead.errors import InputError
from flamehead.track.journal import open_journal

HEADER = {"settings": {"focal": 900.0, "levels": [4, 2]}, "source": "a.mp4"}


def rows(count, width=5):
    values = np.random.default_rng(0).normal(size=(count, width))
    values[::3, 1] = np.nan
    return values


def write(path, values, *, first=0, **options):
    with open_journal(path, HEADER, width=values.shape[1], **options) as journal:
        for k in range(first, len(values)):
            journal.append(k, values[k])


@pytest.mark.parametrize("dtype", ["<f8", "<f4"])
def test_records_come_back_bit_by_bit(tmp_path, dtype):
    values = rows(20).astype(dtype)
    write(tmp_path / "j", values, dtype=dtype)
    with open_journal(tmp_path / "j", HEADER, width=5, dtype=dtype) as journal:
        assert journal.count() == 20 and journal.rows(20).dtype == np.dtype(dtype)
        assert journal.rows(20).tobytes() == values.tobytes()


def test_cut_at_every_byte_it_keeps_what_is_whole_and_goes_on_to_the_same_bytes(tmp_path):
    values = rows(4)
    write(tmp_path / "whole", values)
    whole = (tmp_path / "whole").read_bytes()
    record = 8 + 5 * 8 + 4
    begin = len(whole) - 4 * record
    for cut in range(begin, len(whole) + 1):
        (tmp_path / "torn").write_bytes(whole[:cut])
        with open_journal(tmp_path / "torn", HEADER, width=5) as journal:
            kept = journal.count()
            assert kept == (cut - begin) // record
        write(tmp_path / "torn", values, first=kept)
        assert (tmp_path / "torn").read_bytes() == whole


def test_a_record_with_wrong_bits_ends_the_journal(tmp_path):
    write(tmp_path / "j", rows(6))
    data = bytearray((tmp_path / "j").read_bytes())
    data[-2 * 52 - 20] ^= 1
    (tmp_path / "j").write_bytes(data)
    with open_journal(tmp_path / "j", HEADER, width=5) as journal:
        assert journal.count() == 3


def test_kinds_are_apart_and_the_last_record_counts(tmp_path):
    with open_journal(tmp_path / "j", HEADER, width=2) as journal:
        journal.append(0, np.zeros(2))
        journal.append(1, np.ones(2))
        journal.append(0, np.full(2, 5.0), kind=1)
        journal.append(0, np.full(2, 6.0), kind=1)
    with open_journal(tmp_path / "j", HEADER, width=2) as journal:
        assert (journal.count(), journal.count(kind=1)) == (2, 1)
        assert journal.records[0, 1].tolist() == [6.0, 6.0]
        assert journal.rows(0).shape == (0, 2)


def test_other_work_is_refused_by_what_differs(tmp_path):
    write(tmp_path / "j", rows(2))
    other = {"settings": {"focal": 800.0, "levels": [4, 2]}, "source": "b.mp4"}
    with pytest.raises(InputError, match=r"settings focal was 900.0 and is 800.0; source was a.mp4 and is b.mp4"):
        with open_journal(tmp_path / "j", other, width=5):
            pass
    with pytest.raises(InputError, match=r"width was 5 and is 6.*--restart"):
        with open_journal(tmp_path / "j", HEADER, width=6):
            pass
    with open_journal(tmp_path / "j", other, width=5, restart=True) as journal:
        assert journal.count() == 0


@pytest.mark.parametrize("data", [b"x", b"flamehead journal 1\n", b"flamehead journal 1\n\x05\x00\x00\x00{}"])
def test_no_journal(tmp_path, data):
    (tmp_path / "j").write_bytes(data)
    with pytest.raises(InputError, match="no journal"):
        with open_journal(tmp_path / "j", HEADER, width=5):
            pass


def test_two_runs_do_not_write_one_journal(tmp_path):
    pytest.importorskip("fcntl")
    with open_journal(tmp_path / "j", HEADER, width=5):
        with pytest.raises(InputError, match="Another run is writing"):
            with open_journal(tmp_path / "j", HEADER, width=5):
                pass
