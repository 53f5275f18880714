"""New items and histories are read as the files of the dataset were, and errors advise what their commands have."""

import pandas as pd
import pytest

from demure.data.dataset import Dataset
from demure.errors import DataError
from demure.preparation.new_items import read_new_items
from demure.preparation.new_users import read_histories
from demure.preparation.prepare import PrepareOptions, prepare

COLUMNS = {"user": "kunde", "item": "artikel", "time": "zeit", "items.title": "produktname", "items.item": "nummer"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Two users, three items, with names of columns that nothing recognises."""
    folder = tmp_path_factory.mktemp("german")
    rows = [(user, f"a{k}", k) for user in "uv" for k in range(3)]
    pd.DataFrame(rows, columns=["kunde", "artikel", "zeit"]).to_csv(folder / "log.csv", index=False)
    items = pd.DataFrame({"nummer": ["a0", "a1", "a2"], "produktname": ["Hut", "Schal", "Rock"]})
    items.to_csv(folder / "items.csv", index=False)
    options = PrepareOptions(
        folder / "log.csv", folder / "dataset", items=folder / "items.csv", columns=COLUMNS, split="leave-one-out"
    )
    prepare(options)
    return Dataset.load(folder / "dataset")


def test_new_items_have_the_columns_of_the_dataset(dataset, tmp_path):
    file = tmp_path / "new.csv"
    pd.DataFrame({"nummer": ["b0", "b1"], "produktname": ["Hose", "Hemd"]}).to_csv(file, index=False)
    new = read_new_items(file, dataset)
    assert list(new.ids) == ["b0", "b1"]
    assert list(new.frame["title"]) == ["Hose", "Hemd"]
    assert "new.csv: column 'produktname' is taken as title, as in the files of the dataset" in new.notes


def test_new_items_may_be_called_by_the_roles(dataset):
    new = read_new_items(pd.DataFrame({"item_id": ["b0"], "title": ["Hose"]}), dataset)
    assert list(new.frame["title"]) == ["Hose"]


def test_absent_columns_are_named_together(dataset, tmp_path):
    file = tmp_path / "new.csv"
    pd.DataFrame({"nr": ["b0"], "name": ["Hose"]}).to_csv(file, index=False)
    with pytest.raises(DataError) as caught:
        read_new_items(file, dataset)
    assert str(caught.value) == (
        f"{file}: has no column 'nummer', 'produktname' (there are: 'nr', 'name'); "
        "name them as in the files of the dataset, or item_id, title"
    )


def test_an_error_about_a_frame_names_no_file(dataset):
    with pytest.raises(DataError) as caught:
        read_new_items(pd.DataFrame({"nummer": ["b0"], "name": ["Hose"]}), dataset)
    assert str(caught.value).startswith("items: has no column 'produktname'")


def test_histories_have_the_columns_of_the_dataset(dataset, tmp_path):
    file = tmp_path / "log.csv"
    pd.DataFrame({"kunde": ["w", "w"], "artikel": ["a2", "a0"], "zeit": [5, 4]}).to_csv(file, index=False)
    users, histories, _ = read_histories(file, dataset)
    assert list(users) == ["w"]
    assert histories.items.tolist() == [0, 2]
    # Times are not needed.
    pd.DataFrame({"kunde": ["w"], "item_id": ["a2"]}).to_csv(file, index=False)
    assert read_histories(file, dataset)[1].items.tolist() == [2]
    pd.DataFrame({"nutzer": ["w"], "item_id": ["a2"]}).to_csv(file, index=False)
    with pytest.raises(DataError, match=r"has no column 'kunde' \(there are: .*; name them .*, or user_id$"):
        read_histories(file, dataset)


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (b"user_id,item_id\nw,a0\nw,a1,3\n", "mend or remove that row"),
        (b'user_id,item_id\nw,"a0\nw,a1\n', "mend that row"),
        (
            "user_id".encode("utf-16") + b"!",
            "write it as CSV in UTF-8, or as Parquet, with the columns user_id, item_id and timestamp",
        ),
    ],
)
def test_no_remedy_names_an_option_of_prepare(dataset, tmp_path, content, remedy):
    file = tmp_path / "log.csv"
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_histories(file, dataset)
    assert caught.value.remedy == remedy
