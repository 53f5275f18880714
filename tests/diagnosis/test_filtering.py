import pandas as pd
import pytest

from demure.diagnosis.filtering import filter_rows, modality_column
from demure.errors import DemureError


@pytest.fixture
def frame():
    return pd.DataFrame(
        {"title": ["Alien", "Brazil", "aliens", None], "n": [1, 5, 3, 9], "share": [0.2, 0.9, float("nan"), 0.5]}
    )


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("n>=3", [1, 2, 3]),
        ("n = 5", [1]),
        ("n!=5", [0, 2, 3]),
        ("share<50%", [0]),
        ("share<=0.5", [0, 3]),
        ("title~ALIEN", [0, 2]),
        ("title=Brazil", [1]),
        ("title~(", []),
        ("title<Brazil", [0, 3]),
    ],
)
def test_conditions(frame, condition, rows):
    assert list(filter_rows(frame, [condition]).index) == rows


def test_conditions_add_up_and_the_order_is_asked_for(frame):
    assert list(filter_rows(frame, ["n>1", "share>0"], "-n").index) == [3, 1]
    assert list(filter_rows(frame, sort="share", top=2).index) == [0, 3]
    assert list(filter_rows(frame).index) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("titel=x", r"--where: no field 'titel' in this view; did you mean title\? \(there are: title, n, share\)"),
        ("zzz=x", "there are: title, n, share"),
        ("n=many", "n is a number, 'many' is not; as in n>=0.5"),
        ("n>=nan", "n is a number, 'nan' is not"),
        ("n", "'n' is not a condition"),
        ("__import__('os')", "is not a condition"),
        ("=3", "not a condition"),
    ],
)
def test_bad_conditions_are_one_line(frame, condition, message):
    with pytest.raises(DemureError, match=message):
        filter_rows(frame, [condition])


def test_unknown_sort(frame):
    with pytest.raises(DemureError, match=r"--sort: no field 'm'"):
        filter_rows(frame, sort="-m")


def test_a_modality_called_like_a_column_keeps_out_of_its_way():
    assert modality_column("title", ["title", "n"]) == "title.share"
    assert modality_column("image", ["title", "n"]) == "image"
