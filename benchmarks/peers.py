"""Captioners of the package transformers, in their published sizes with random weights.

Nothing is downloaded: the speed of a network does not depend on its weights for captions of equal length.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from captioner.images.photo import ImageSource, open_image

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MISSING = (
    "BLIP and ViT-GPT2 are left out: they need the package transformers. Run `pip install transformers` and try again."
)

BLIP_TEXT = {
    "vocab_size": 30524, "hidden_size": 768, "encoder_hidden_size": 768, "intermediate_size": 3072,
    "projection_dim": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "max_position_embeddings": 512,
    "bos_token_id": 30522, "eos_token_id": 2, "sep_token_id": 102, "pad_token_id": 0,
}  # fmt: skip
BLIP_VISION = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 384, "patch_size": 16,
}  # fmt: skip
"""Of Salesforce/blip-image-captioning-base."""

VIT = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "image_size": 224, "patch_size": 16,
}  # fmt: skip
GPT2 = {
    "vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "add_cross_attention": True,
    "is_decoder": True, "bos_token_id": 50256, "eos_token_id": 50256, "pad_token_id": 50256,
}  # fmt: skip
"""Of nlpconnect/vit-gpt2-image-captioning."""

TINY_VISION = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
TINY_TEXT = {**TINY_VISION, "encoder_hidden_size": 24, "projection_dim": 24}
TINY_GPT2 = {"n_embd": 24, "n_layer": 1, "n_head": 2}


@dataclass(frozen=True)
class Peer:
    """A captioner and its beam width."""

    name: str
    network: "PreTrainedModel"
    image_size: int
    beams: int

    def pixels(self, photo: ImageSource) -> Tensor:
        """Return a photo squashed and scaled to -1 to 1, [3, S, S]."""
        square = open_image(photo).resize((self.image_size, self.image_size), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(square, np.float32) / 127.5 - 1).permute(2, 0, 1)

    @torch.inference_mode()
    def tokens(self, pixels: Sequence[Tensor], length: int) -> Tensor:
        """Generate captions of `length` tokens for a batch of photos: [n, length or more], including their start."""
        batch = torch.stack(list(pixels)).to(self.network.device)
        return self.network.generate(
            pixel_values=batch, num_beams=self.beams, do_sample=False, min_new_tokens=length, max_new_tokens=length
        )


def installed() -> bool:
    return importlib.util.find_spec("transformers") is not None


def peers(device: torch.device, quick: bool = False) -> list[Peer]:
    """Return each peer with greedy decoding and with its published beam; none without transformers.

    quick: tiny networks.
    """
    if not installed():
        return []
    available = []
    for name, build, size, beams in (
        ("BLIP-base", _blip, BLIP_VISION["image_size"], 3),
        ("ViT-GPT2", _vit_gpt2, VIT["image_size"], 4),
    ):
        network = build(quick).to(device).eval()
        available += [Peer(f"{name}, greedy", network, size, 1), Peer(f"{name}, beam {beams}", network, size, beams)]
    return available


def _blip(quick: bool) -> "PreTrainedModel":
    from transformers import BlipConfig, BlipForConditionalGeneration

    text, vision = (BLIP_TEXT | TINY_TEXT, BLIP_VISION | TINY_VISION) if quick else (BLIP_TEXT, BLIP_VISION)
    return BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision))


def _vit_gpt2(quick: bool) -> "PreTrainedModel":
    from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig

    vision, text = (VIT | TINY_VISION, GPT2 | TINY_GPT2) if quick else (VIT, GPT2)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**vision), GPT2Config(**text))
    config.decoder_start_token_id, config.pad_token_id = text["bos_token_id"], text["pad_token_id"]
    return VisionEncoderDecoderModel(config)
