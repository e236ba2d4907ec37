"""Known-good networks of many kinds, as their authors initialise them: one small model of each timm family, transformers' architectures in small
configurations, and set-ups built here (recurrent, adversarial, autoencoding, zero-initialised, deep with normalisation).

`problems()` yields (name, build) pairs; build(seed) returns a `wp.TorchProblem` with sensible inputs. timm and transformers are optional.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from typing import Any

import torch
from torch import nn

import wellposed as wp

os.environ.setdefault("HF_HUB_OFFLINE", "1")
Build = Callable[[int], wp.TorchProblem]

TIMM = """
beit_base_patch16_224 halonet_h1 test_byobnet cait_xxs24_224 coat_tiny convit_tiny convmixer_768_32 test_convnext cpubone_nano
crossvit_tiny_240 csatv2 cs3darknet_focus_s cspnext_tiny davit_tiny deit_tiny_patch16_224 densenet121 dla46x_c dpn48b edgenext_xx_small
efficientformer_l1 efficientformerv2_s0 mnasnet_small efficientvim_m1 efficientvit_b0 efficientvit_m0 eva02_tiny_patch14_224 fasternet_t0
fastvit_t8 focalnet_tiny_srf gcvit_xxtiny ghostnet_050 hardcorenas_b hgnetv2_b0 hiera_tiny_224 hieradet_small hrnet_w18_small iformer_t
inception_next_atto ens_adv_inception_resnet_v2 adv_inception_v3 inception_v4 lcnetv2_small levit_128s lowformer_b0 test_mambaout
test_coatnet poolformerv2_s12 gmlp_ti16_224 mobilenetv3_small_050 mobilenetv5_base mobilevit_xxs mvitv2_tiny
naflexvit_base_patch16_parfac_gap jx_nest_tiny nextvit_small test_nfnet pit_ti_224 pvt_v2_b0 rdnet_tiny regnetx_002
repghostnet_050 repvit_m1 res2next50 resnest14d resnet10t resnetv2_18 rexnet_100 selecsls42 legacy_seresnet18 sequencer2d_s shvit_s1
skresnet18 starnet_s050 swiftformer_xs swin_tiny_patch4_window7_224 swinv2_tiny_window16_256 swinv2_cr_tiny_224 tiny_vit_5m_224
tnt_s_legacy_patch16_224 tresnet_m twins_svt_small vgg11 visformer_tiny test_vit vit_tiny_r_s16_p8_224 test_vit_relpos
samvit_base_patch16_224 vitamin_small_224 volo_d1_224 ese_vovnet19b_slim_dw legacy_xception xception41p xcit_nano_12_p8_224
""".split()
"""The model with the least parameters times pixels of each family in timm 1.0.31; without five families of which the least takes minutes here."""

CAUSAL = """
afmoe apertus apertus1p5_text arcee aria_text bart beam bert bert-generation big_bird bigbird_pegasus biogpt bitnet blenderbot
blenderbot-small bloom camembert cohere cohere2 cohere2_moe cwm data2vec-text diffllama doge dory electra ernie ernie4_5 ernie4_5_moe exaone
exaone4 exaone_moe falcon_h1 falcon_mamba flex_olmo flint gemma gemma2 gemma3_text glm glm4 glm4_moe gpt-sw3 gpt2 gpt_bigcode gpt_neo
gpt_neox gpt_neox_japanese gpt_oss granite granite_swa granitemoe granitemoe_swa granitemoeshared helium hrm_text hunyuan_v1_dense
hunyuan_v1_moe hy_v3 hyperclovax internlm3 iquestcoder jais2 jamba jetmoe kolibri1 laguna lara_mini lfm2 lfm3 llama llama4_text mamba mbart
megatron-bert mellum mimo_v2_flash minimax minimax_m2 minimax_m3_vl_text ministral ministral3 mistral mixtral modernbert-decoder moshi mpt
mvp nanochat nemotron nemotron_h olmo olmo2 olmo3 olmoe openai-gpt opt pegasus persimmon phi phi3 phimoe plbart prophetnet qwen2 qwen3
qwen3_moe rembert roberta roberta-prelayernorm roformer sarvam_moe seed_oss smollm3 solar_open stablelm starcoder2 trocr vaultgemma whisper
xglm xlm xlm-roberta xlm-roberta-xl xlnet zaya
""".split()
MASKED = """
albert bart bert big_bird camembert convbert data2vec-text deberta deberta-v2 distilbert electra ernie esm eurobert flaubert fnet gte ibert
jina_embeddings_v3 layoutlm longformer mbart megatron-bert mobilebert modernbert mpnet mra mvp nomic_bert nystromformer rembert roberta
roberta-prelayernorm roformer squeezebert tapas ultrabert xlm xlm-roberta xlm-roberta-xl yoso
""".split()
TRANSLATING = """
bart bigbird_pegasus blenderbot blenderbot-small fsmt led longt5 m2m_100 marian mbart mt5 mvp nllb-moe pegasus pegasus_x plbart prophetnet
seamless_m4t seamless_m4t_v2 switch_transformers t5 umt5
""".split()
"""Model types of transformers 5.24 that a small configuration can be made for without files from elsewhere."""

SMALL: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "embedding_size", "vocab_size_char"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 4),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_decoder_layers", "num_encoder_layers"), 3),
    **dict.fromkeys(
        ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads", "decoder_attention_heads"),
        4,
    ),
    **dict.fromkeys(
        ("intermediate_size", "ffn_dim", "n_inner", "hidden_dim", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim"), 128
    ),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk"), 2),
    "n_group": 1,
    "topk_group": 1,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "d_kv": 16,
    "moe_intermediate_size": 64,
    "vocab_size": 300,
    "use_cache": False,
    "max_position_embeddings": 64,
    "n_positions": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}


def images(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Noise with the spectrum of photographs (amplitude 1/frequency), mean 0 and deviation 1 per channel."""
    draw = torch.Generator().manual_seed(seed)
    white = torch.fft.rfft2(torch.randn(shape, generator=draw))
    y, x = torch.fft.fftfreq(shape[-2])[:, None], torch.fft.rfftfreq(shape[-1])[None]
    smooth = torch.fft.irfft2(white / torch.sqrt(x * x + y * y).clamp_min(1 / max(shape)), s=shape[-2:])
    return (smooth - smooth.mean((0, 2, 3), keepdim=True)) / smooth.std((0, 2, 3), keepdim=True)


@cache
def complete_torchvision() -> torch.library.Library:
    """What torchvision asks for at import, and a small build of torch lacks; to be kept alive."""
    lacking = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            lacking.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return lacking


def _timm(name: str, seed: int) -> wp.TorchProblem:
    complete_torchvision()
    import timm

    torch.manual_seed(seed)
    model = timm.create_model(name, pretrained=False, num_classes=10)
    x = images(seed, (6, *model.default_cfg["input_size"]))
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), (x, torch.arange(6) % 10))


def _transformer(kind: str, model_type: str, seed: int) -> wp.TorchProblem:
    complete_torchvision()
    import transformers
    from transformers import CONFIG_MAPPING
    from transformers.models.auto import modeling_auto as auto

    transformers.logging.set_verbosity_error()
    names = {
        "causal": auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        "masked": auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        "translating": auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    }[kind]
    config = CONFIG_MAPPING[model_type]()
    for key, value in SMALL.items():
        if hasattr(config, key):
            with suppress(Exception):  # some are derived from others
                setattr(config, key, value)
    if getattr(config, "layer_types", None) is not None:
        with suppress(Exception):
            config.layer_types = config.layer_types[:4]
    torch.manual_seed(seed)
    name = names[model_type]
    model = getattr(transformers, name if isinstance(name, str) else name[0])(config)
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, 290, (6, 24), generator=draw)
    inputs = {"input_ids": tokens} | ({"decoder_input_ids": tokens.roll(1, 1)} if kind == "translating" else {})
    targets = tokens.roll(-1, 1) if kind == "causal" else tokens

    def loss(output: Any, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(output.logits.flatten(0, 1).float(), targets.flatten())

    return wp.TorchProblem(model, loss, (inputs, targets))


KINDS = ("own", "timm", "causal", "masked", "translating")


def problems(kinds: tuple[str, ...] = KINDS) -> Iterator[tuple[str, Build]]:
    if "own" in kinds:
        from zoo_own import OWN

        yield from OWN.items()
    if "timm" in kinds:
        yield from ((f"timm {name}", partial(_timm, name)) for name in TIMM)
    for kind, names in (("causal", CAUSAL), ("masked", MASKED), ("translating", TRANSLATING)):
        if kind in kinds:
            yield from ((f"{name} {kind}", partial(_transformer, kind, name)) for name in names)
