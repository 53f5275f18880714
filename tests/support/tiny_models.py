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


OWN_CODE = """open(__file__ + ".ran", "w").close()
from transformers import BertConfig, BertModel
class C(BertConfig):
    model_type = "evil"
class M(BertModel):
    config_class = C
"""
"""A model's own code, as evil.py; it leaves a file beside itself when it runs."""


def bring_code(folder: Path) -> Path:
    """Let a BERT need the code in its folder."""
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(OWN_CODE)
    return folder


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
    heads: int = 2,
    positions: int = 40,
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
        "num_attention_heads": heads,
        "intermediate_size": 2 * hidden,
    }
    BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=positions, **shape)).save_pretrained(
        folder
    )
    tokenizer = BertTokenizerFast(vocab={word: k for k, word in enumerate(vocabulary)}, model_max_length=positions)
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


def word_tokenizer(folder: Path, limit: int | None = None) -> int:
    """A tokenizer of whole words, [CLS] and [SEP] around them; return its number of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: k for k, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys(WORDS.split())])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    limits = {} if limit is None else {"model_max_length": limit}
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names, **limits).save_pretrained(folder)
    return len(words)


def roberta_folder(folder: Path, positions: int = 34) -> Path:
    """A RoBERTa whose tokenizer has no limit: its ``positions`` hold one token fewer, as padding has number 0."""
    import torch
    from transformers import RobertaConfig, RobertaModel

    words = word_tokenizer(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = RobertaConfig(
        vocab_size=words, max_position_embeddings=positions, pad_token_id=0, type_vocab_size=1, **shape
    )
    RobertaModel(config).save_pretrained(folder)
    return folder


def t5_folder(folder: Path, limit: int | None = 32) -> Path:
    """A T5 with encoder and decoder."""
    import torch
    from transformers import T5Config, T5Model

    words = word_tokenizer(folder, limit)
    torch.manual_seed(0)
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
    T5Model(T5Config(vocab_size=words, **shape)).save_pretrained(folder)
    return folder


def add_dense(folder: Path, size: int = 6, activation: str = "torch.nn.modules.linear.Identity") -> Path:
    """Append a projection to ``size`` dimensions to a folder in sentence-transformers' layout."""
    import torch
    from safetensors.torch import save_file

    modules = json.loads((folder / "modules.json").read_text())
    kind = "sentence_transformers.models.Dense"
    modules.append({"idx": len(modules), "name": str(len(modules)), "path": "3_Dense", "type": kind})
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "3_Dense").mkdir()
    config = {"in_features": 16, "out_features": size, "bias": True, "activation_function": activation}
    (folder / "3_Dense" / "config.json").write_text(json.dumps(config))
    torch.manual_seed(1)
    weights = {"linear.weight": torch.randn(size, 16), "linear.bias": torch.randn(size)}
    save_file(weights, str(folder / "3_Dense" / "model.safetensors"))
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


def clap_folder(folder: Path, *, fusion: bool = False, seconds: int = 1) -> Path:
    """A CLAP with its feature extractor and tokenizer, for sound of 8 kHz in windows of ``seconds``."""
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    words = word_tokenizer(folder)
    torch.manual_seed(0)
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text |= {"vocab_size": words, "max_position_embeddings": 34, "pad_token_id": 0}
    audio = {"num_mel_bins": 16, "spec_size": 64, "window_size": 4, "patch_size": 2, "patch_stride": [2, 2]}
    audio |= {"depths": [1, 1], "num_attention_heads": [2, 2], "hidden_size": 16, "patch_embeds_hidden_size": 8}
    config = ClapConfig(text_config=text, audio_config={**audio, "enable_fusion": fusion}, projection_dim=12)
    ClapModel(config).save_pretrained(folder)
    ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=8000,
        hop_length=80,
        fft_window_size=256,
        max_length_s=seconds,
        frequency_max=4000,
        truncation="fusion" if fusion else "rand_trunc",
    ).save_pretrained(folder)
    return folder


def waveform_folder(folder: Path, kind: str = "Wav2Vec2", *, extractor: bool = True) -> Path:
    """A wav2vec 2.0, or a model of the same parts (Hubert, WavLM), for sound of 8 kHz; saved as ``kind`` ForCTC."""
    import torch
    import transformers

    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    shape |= {"conv_dim": (8, 8), "conv_stride": (20, 8), "conv_kernel": (40, 16), "vocab_size": 12}
    shape |= {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    config = getattr(transformers, f"{kind}Config")(**shape)
    getattr(transformers, f"{kind}ForCTC")(config).eval().save_pretrained(folder)
    if extractor:
        transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(folder)
    return folder
