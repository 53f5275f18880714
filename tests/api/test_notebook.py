"""The example notebook runs from top to bottom, and its objects draw themselves."""

import pytest
from guards.tree import ROOT

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: pip install nbclient ipykernel")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: pip install ipykernel")


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    import nbformat

    notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def drawn(notebook, source):
    """The HTML that the cell with ``source`` draws."""
    (cell,) = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.endswith(source)]
    return cell.outputs[-1]["data"]["text/html"]


def test_every_cell_runs_without_a_word_on_stderr(executed):
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            assert output.output_type in ("execute_result", "display_data"), output


def test_objects_draw_themselves(executed):
    assert "<strong>Dataset " in drawn(executed, "\nshop")
    assert "recipe</th>" in drawn(executed, "\nrun")


def test_a_history_is_drawn_with_pictures_and_badges(executed):
    history = drawn(executed, "\nverdicts")
    assert '<img src="data:image/' in history
    assert ">poi " in history or ">noise " in history


def test_recommendations_and_comparison_are_there(executed):
    assert drawn(executed, "recommend(user, k=5)").count("<tr>") == 5
    assert "item-knn" not in drawn(executed, 'for method in table["method"]])')  # methods are called by their folders
    assert "<td>knn</td>" in drawn(executed, 'for method in table["method"]])')
