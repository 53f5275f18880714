from demure.runs.manifest import RunManifest
from demure.runs.replicates import group_replicates


def manifest(recipe="default", seed=0, **more):
    facts = {"model": "demure", "modalities": ["text"], "demure_version": "1", **more}
    return RunManifest(recipe=recipe, seed=seed, **facts)


def test_runs_that_differ_in_their_seed_alone_are_one_method():
    methods = group_replicates({"a": manifest(seed=0), "b": manifest("knn"), "c": manifest(seed=1)})
    assert methods == {"default": ["a", "c"], "b": ["b"]}


def test_what_else_differs_keeps_runs_apart():
    features = {"text": {"features_sha256": "x"}}
    for other in (manifest(seed=1, modalities=["image"]), manifest(seed=1, demure_version="2"),
                  manifest(seed=1, features=features)):  # fmt: skip
        assert group_replicates({"a": manifest(), "b": other}) == {"a": ["a"], "b": ["b"]}


def test_a_change_of_the_recipe_that_kept_its_name_is_seen(tmp_path):
    for name, recipe in (("a", "epochs: 1"), ("b", "epochs: 2"), ("c", "epochs: 1")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.yaml").write_text(recipe)
    runs = {str(tmp_path / name): manifest(seed=seed) for seed, name in enumerate("abc")}
    a, b, c = runs
    assert group_replicates(runs) == {"default": [a, c], b: [b]}


def test_twice_the_same_seed_is_no_second_draw():
    assert group_replicates({"a": manifest(), "b": manifest(), "c": manifest(seed=1)}) == {
        "a": ["a"],
        "b": ["b"],
        "c": ["c"],
    }


def test_names_that_are_taken_are_numbered():
    two = {"default": manifest("x"), "a": manifest(), "b": manifest(seed=1)}
    two |= {"c": manifest(seed=0, modalities=[]), "d": manifest(seed=1, modalities=[])}
    assert list(group_replicates(two)) == ["default", "default #2", "default #3"]
