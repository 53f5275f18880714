"""The families of encoders. Nothing heavy is imported here: a class is named, and loaded when it is used."""

from __future__ import annotations

from demure.features.protocol import Family

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "tfidf",
            "TF-IDF of the catalogue's own words, reduced by truncated SVD",
            "tfidf",
            text="demure_extractors.builtin:Tfidf",
            needs=("sklearn",),
            built_in=True,
        ),
        Family(
            "color",
            "colours, layout and edges of an image",
            "color",
            image="demure_extractors.builtin:Color",
            built_in=True,
        ),
        Family(
            "clip",
            "open_clip models: CLIP, SigLIP, MobileCLIP; text and image in one space",
            "clip:ViT-B-32/laion2b_s34b_b79k",
            text="demure_extractors.clip:ClipText",
            image="demure_extractors.clip:ClipImage",
            needs=("open_clip", "torch", "torchvision"),
        ),
        Family(
            "sentence",
            "sentence encoders in transformers' and sentence-transformers' layout",
            "sentence:sentence-transformers/all-MiniLM-L6-v2",
            text="demure_extractors.sentence:Sentence",
            needs=("transformers", "torch"),
        ),
        Family(
            "vision",
            "image models in transformers' layout: DINOv2, ViT, SigLIP",
            "vision:facebook/dinov2-small",
            image="demure_extractors.vision:Vision",
            needs=("transformers", "torch", "torchvision"),
        ),
    )
}
