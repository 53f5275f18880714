from pathlib import Path

import pytest

from demure.errors import DemureError
from demure_cli.parsing import parse_columns, parse_cutoffs, parse_files, parse_ratio, split_words


def test_lists_are_split_at_commas_and_joined():
    assert split_words(["a, b", "", "c,"]) == ["a", "b", "c"]
    assert split_words(None) == []
    assert parse_cutoffs("20,5,5") == [5, 20]
    assert parse_ratio("70/10/20") == (70, 10, 20)
    assert parse_columns(["user=a, item=b", "rating=c"]) == {"user": "a", "item": "b", "rating": "c"}
    assert parse_files(["image=x=y.npy"]) == {"image": Path("x=y.npy")}


@pytest.mark.parametrize(
    ("parse", "value", "message"),
    [
        (parse_cutoffs, "5,²", "--k: '²' is not a whole number above zero; for example --k 5,10,20"),
        (parse_cutoffs, "", "--k: '' is not a whole number above zero"),
        (parse_ratio, "80/20", "--ratio: '80/20' is not A/B/C; three parts of 100"),
        (parse_columns, ["user"], "--columns: 'user' is not ROLE=NAME; for example user=visitorid"),
        (parse_columns, ["user=a,user=b"], "--columns: 'user' is given twice; one column per role"),
        (parse_files, ["=a.npy"], "--features: '=a.npy' is not NAME=FILE; for example image=image.npy"),
        (parse_files, ["a=b", "a=c"], "--features: 'a' is given twice; one file per name"),
    ],
)
def test_errors_have_the_option_the_value_and_the_remedy(parse, value, message):
    with pytest.raises(DemureError) as error:
        parse(value)
    assert str(error.value).startswith(message)
