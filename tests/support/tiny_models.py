"""Checkpoints small enough to make in a test, in the layouts that the real ones come in. Weights are random, seeded."""

from __future__ import annotations

import json
from pathlib import Path

WORDS = "the a cat dog sat on mat space ship star war love story of and in ran fast red blue"
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
CLIP_IMAGES = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25], "interpolation": "bilinear", "resize_mode": "squash"}


def clip_folder(folder: Path, preprocess: dict | None = CLIP_IMAGES, **changed: object) -> Path:
    """An open_clip model as `hf download` of one leaves it."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    torch.manual_seed(0)
    shape = {**CLIP, **changed}
    model = open_clip.CLIP(**json.loads(json.dumps(shape)))
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, str(folder / "open_clip_model.safetensors"))
    config = {"model_cfg": shape, **({} if preprocess is None else {"preprocess_cfg": preprocess})}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def bert_folder(
    folder: Path,
    pooling: dict | None = None,
    normalize: bool = False,
    limit: int = 12,
    hidden: int = 16,
    layers: int = 2,
) -> Path:
    """A BERT with its tokenizer; with ``pooling``, in sentence-transformers' layout."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(0)
    shape = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "intermediate_size": 2 * hidden,
    }
    BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=40, **shape)).save_pretrained(folder)
    tokenizer = BertTokenizerFast(vocab={word: k for k, word in enumerate(vocabulary)}, model_max_length=40)
    tokenizer.save_pretrained(folder)
    if pooling is not None:
        kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), *([("Normalize", "2_Normalize")] if normalize else [])]
        modules = [
            {"idx": k, "name": str(k), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for k, (kind, path) in enumerate(kinds)
        ]
        (folder / "modules.json").write_text(json.dumps(modules))
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": hidden, **pooling}))
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": limit}))
    return folder


def vit_folder(folder: Path, *, pooler: bool = True, processor: bool = True) -> Path:
    """A ViT with its image processor."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor, ViTModel

    folder.mkdir(parents=True)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = ViTConfig(image_size=32, patch_size=16, **shape)
    (ViTModel(config) if pooler else ViTForImageClassification(config)).save_pretrained(folder)
    if processor:
        size = {"height": 32, "width": 32}
        ViTImageProcessor(size=size, image_mean=[0.5] * 3, image_std=[0.25] * 3).save_pretrained(folder)
    return folder
