"""model.safetensors keeps the tensor names of the first release, whatever the module calls its parts."""

import torch
from support.small_models import small_denoiser

from demure.model.denoiser import Denoiser
from demure.model.stored_names import attribute_name, stored_name

KERNEL = [
    *("log_spread_D", "proportion", "log_metric", "roundness", "log_sharpness", "growth", "log_slope", "nearness"),
    *("log_pull", "log_smoothing", "offset_ID"),
]
CLUSTERS = ["weight", "bias", "log_smoothing", "offset_IC"]
EXPERT = [
    *("coordinates_ID", "themes_ID", "present_I", "gate", "absence", "fading"),
    *(f"points.{name}" for name in KERNEL),
    *(f"themes.{name}" for name in CLUSTERS),
]


def test_the_stored_names_are_those_of_the_first_release():
    names = set(small_denoiser(["image", "text"]).state_dict())
    expected = {f"channels.m{k}.{name}" for k in range(2) for name in EXPERT}
    assert names == expected | {"popularity_I", "two", "log_content", "log_reliance"}


def test_both_kinds_of_names_load():
    denoiser, other = small_denoiser(), small_denoiser(jitter=0.1)
    own_names = {name: parameter.detach().clone() for name, parameter in denoiser.named_parameters()}
    assert not set(own_names) & {name for name in denoiser.state_dict() if "." in name}
    other.load_state_dict(own_names, strict=False)
    assert all(torch.equal(parameter, own_names[name]) for name, parameter in other.named_parameters())
    again = Denoiser.from_tensors(
        denoiser.state_dict(), denoiser.modalities, denoiser.settings, ordered=denoiser.ordered
    )
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in denoiser.state_dict().items())


def test_the_mapping_has_an_inverse():
    for name, _ in small_denoiser().named_parameters():
        assert attribute_name(stored_name(name)) == name
