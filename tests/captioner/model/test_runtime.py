"""Every runtime of a captioner equals the exact one, up to the precision of its numbers."""

import os
import subprocess
import sys
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from captioner.captioner import Captioner
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.decoding import decode
from captioner.errors import ConfigError
from captioner.model import compiled_network
from captioner.model import runtime as inference
from captioner.model.decoder_step import Beams, DecoderState
from captioner.model.encoders import Encoder
from captioner.model.network import CaptionModel
from captioner.model.runtime import (
    Bfloat16Decoder,
    ExactRuntime,
    OpenVinoDecoder,
    OpenVinoRuntime,
    TorchRuntime,
    runtime_for,
)

CPU = torch.device("cpu")


def squares(count: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8))


@pytest.fixture
def parts(tiny_bundle):
    """Encoder and decoder for photos of 64 x 64 pixels."""
    return tiny_bundle.model.encoder.eval(), tiny_bundle.model.decoder.eval()


def worst(annotations: torch.Tensor, exact: torch.Tensor) -> float:
    """Return the largest difference relative to the largest number."""
    return float((annotations - exact).abs().max() / exact.abs().max())


@torch.inference_mode()
def test_the_exact_runtime_runs_the_network_itself(parts):
    runtime = runtime_for("exact", *parts, 64)
    assert runtime.name == "torch, float32" and runtime.decoder is parts[1]
    torch.testing.assert_close(runtime.encode(squares(2)), parts[0](squares(2)), rtol=0, atol=0)


@torch.inference_mode()
@pytest.mark.parametrize("sizes", [(1,), (4, 1)])
@pytest.mark.parametrize("photos", [1, 2, 4, 6])
def test_openvino_gives_the_same_annotations_for_batches_of_any_size(parts, photos, sizes, monkeypatch):
    monkeypatch.setattr(inference, "encoder_batch_sizes", lambda *_: sizes)
    runtime = OpenVinoRuntime(*parts, 64, bfloat16=False)
    assert runtime.name == "OpenVINO, float32"
    annotations, exact = runtime.encode(squares(photos)), parts[0](squares(photos))
    assert annotations.dtype == torch.float32 and annotations.shape == exact.shape
    assert worst(annotations, exact) < 1e-4


def test_the_encoder_is_compiled_for_batches_only_where_they_are_faster():
    assert inference.encoder_batch_sizes(bfloat16=False, threads=2) == (1,)
    assert inference.encoder_batch_sizes(bfloat16=True, threads=2) == (4, 1)
    assert inference.encoder_batch_sizes(bfloat16=False, threads=16) == (4, 1)


@torch.inference_mode()
@pytest.mark.parametrize("kind", [TorchRuntime, OpenVinoRuntime])
def test_annotations_in_bfloat16_are_right_within_its_precision(parts, kind):
    runtime = kind(*parts) if kind is TorchRuntime else kind(*parts, 64, bfloat16=True)
    annotations, exact = runtime.encode(squares(3)), parts[0](squares(3))
    assert annotations.dtype == torch.float32
    assert worst(annotations, exact) < 0.05
    assert parts[1].output.weight.dtype == torch.float32


@torch.inference_mode()
def test_openvino_encodes_two_scales():
    config = CaptionerConfig("efficientnet_lite0", 64, scales=2, score="dot", embedding_dim=8, hidden_dim=8)
    model = CaptionModel(config, 10).eval()
    annotations = OpenVinoRuntime(model.encoder, model.decoder, 64, bfloat16=False).encode(squares(2))
    assert annotations.shape == (2, 4, 4, 1280 + 112)
    assert worst(annotations, model.encoder(squares(2))) < 1e-3


@torch.inference_mode()
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"score": "dot", "query": "hidden_word"},
        {"score": "general", "gate": "vector", "deep_output": False},
        {"attention": "none"},
        {"attention": "hard"},
    ],
)
def test_openvino_chooses_the_same_words(make_decoder, options):
    decoder = make_decoder(11, **options)
    fast = OpenVinoDecoder(decoder, 6, bfloat16=False)
    for photos, width in ((1, 3), (4, 2)):
        annotations = torch.randn(photos, 6, 7, generator=torch.Generator().manual_seed(photos))
        for context in ("likeliest", "expected"):
            decoding = DecodingOptions(beam_width=width, captions_per_image=width, max_words=6, hard_context=context)
            hypotheses, exact = decode(fast, annotations, decoding), decode(decoder, annotations, decoding)
            assert torch.equal(hypotheses.tokens, exact.tokens)
            for name in ("alphas", "gates", "log_probs", "scores"):
                actual, expected = getattr(hypotheses, name), getattr(exact, name)
                torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4, msg=name)


@torch.no_grad()
@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_beam_step_of_every_runtime_has_the_totals_of_the_exact_one(make_decoder, bfloat16):
    """Totals have 32 bits even if products have 16: those of a whole caption would not fit into fewer."""
    decoder = make_decoder(70, score="dot", query="hidden_word")
    annotations = torch.randn(2, 6, 7, generator=torch.Generator().manual_seed(0))
    totals = torch.tensor([[-1000.0, -1000.5, -1001.0]]).expand(2, -1)
    impossible = torch.full_like(totals, float("-inf"))
    finished = torch.tensor([[False, False, True], [False, True, False]])
    forbidden, penalties = torch.full((2, 3, 4), 0), torch.zeros(74)
    forbidden[0, 0, :3], penalties[70:] = torch.tensor([5, 9, 11]), float("-inf")
    beams = Beams(
        torch.tensor([[0, 2, 1], [1, 1, 0]]), torch.tensor([[4, 5, 0], [9, 0, 73]]),
        totals.where(~finished, impossible), totals.where(finished, impossible), forbidden, penalties,
    )  # fmt: skip
    results = []
    for each in (decoder, OpenVinoDecoder(decoder, 6, bfloat16), *([Bfloat16Decoder(decoder)] if bfloat16 else [])):
        features = each.prepare(annotations)
        state = each.initial_state(features, 3)
        factors = torch.tensor([[[1.0], [0.5], [-1.0]]], dtype=state.hidden.dtype)
        state = DecoderState(state.hidden * factors, state.cell)
        results.append(each.beam_step(features, state, beams, "likeliest"))
    exact, *others = results
    for other in others:
        torch.testing.assert_close(other.totals, exact.totals, rtol=0, atol=0.1 if bfloat16 else 1e-3)
        torch.testing.assert_close(other.state.hidden.float(), exact.state.hidden, rtol=0, atol=0.1)
        assert bfloat16 or torch.equal(other.indices, exact.indices)
        assert (other.indices % 74).max() < 70
        assert [2 * 74, 74] == [int(row[row % 74 == 0][0]) for row in other.indices]


@torch.inference_mode()
def test_openvino_samples_the_same_words(make_decoder):
    decoder = make_decoder(11, score="dot")
    fast = OpenVinoDecoder(decoder, 6, bfloat16=False)
    annotations = torch.randn(2, 6, 7, generator=torch.Generator().manual_seed(0))
    options = DecodingOptions(temperature=1.0, captions_per_image=3, max_words=5, seed=4)
    sampled, exact = decode(fast, annotations, options), decode(decoder, annotations, options)
    assert torch.equal(sampled.tokens, exact.tokens)
    torch.testing.assert_close(sampled.log_probs, exact.log_probs, rtol=1e-3, atol=1e-4)


def test_a_captioner_works_inside_and_outside_of_inference_mode(make_decoder):
    fast = OpenVinoDecoder(make_decoder(11), 6, bfloat16=False)
    annotations = torch.randn(1, 6, 7, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        inside = decode(fast, annotations.clone(), DecodingOptions(max_words=4))
    outside = decode(fast, annotations, DecodingOptions(max_words=4))
    assert torch.equal(inside.tokens, outside.tokens)


@torch.no_grad()
def test_tracing_the_networks_gives_no_warning(monkeypatch):
    """Other threads may turn warnings into errors meanwhile."""
    trace, seen = torch.jit.trace, []

    def recorded_trace(*operands: object, **names: object) -> torch.jit.ScriptModule:
        with warnings.catch_warnings(record=True) as recorded:
            warnings.simplefilter("always")
            traced = trace(*operands, **names)
        seen.extend(str(each.message) for each in recorded if f"{os.sep}captioner{os.sep}" in each.filename)
        return traced

    monkeypatch.setattr(torch.jit, "trace", recorded_trace)
    sizes = {"embedding_dim": 8, "hidden_dim": 8, "attention_dim": 8, "projection_dim": 8}
    config = CaptionerConfig("efficientnet_lite0", 64, scales=2, score="dot", labels=2, tied_output=True, **sizes)
    words = [{4: 1.0}] * 1000
    model = CaptionModel(config, 10, label_words=words).eval()
    runtime = OpenVinoRuntime(model.encoder, model.decoder, 64, bfloat16=False)
    features = runtime.decoder.prepare(torch.zeros(1, 16, model.encoder.channels))
    runtime.decoder.step(features, runtime.decoder.initial_state(features, 1), torch.ones(1, 1, dtype=torch.long))
    assert not seen


@torch.inference_mode()
def test_annotations_are_prepared_as_the_two_maps_that_they_are_made_of(monkeypatch):
    """For even grids. Maps of another size would share their vectors unevenly."""
    sizes = {"embedding_dim": 8, "hidden_dim": 8, "attention_dim": 8, "projection_dim": 8}
    divided, divide = [], Encoder.divide
    monkeypatch.setattr(Encoder, "divide", lambda *operands, **names: divided.append(1) or divide(*operands, **names))
    for side, is_divided in ((64, True), (72, False)):
        divided.clear()
        config = CaptionerConfig("efficientnet_lite0", side, scales=2, score="dot", **sizes)
        model = CaptionModel(config, 10).eval()
        runtime = OpenVinoRuntime(model.encoder, model.decoder, side, bfloat16=False)
        pixels = torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8)
        annotations = model.encoder(pixels).flatten(1, 2)
        prepared, exact = runtime.decoder.prepare(annotations), model.decoder.prepare(annotations)
        assert bool(divided) == is_divided
        assert worst(prepared.annotations, exact.annotations) < 1e-4
        assert worst(prepared.keys, exact.keys) < 1e-4
        assert worst(prepared.hidden, model.decoder.initial_state(exact, 1).hidden) < 1e-4


@torch.inference_mode()
@pytest.mark.parametrize("small_bytes", [0, 200, compiled_network.SMALL_BYTES])
def test_a_step_reads_its_operands_anew_and_its_results_last(make_decoder, small_bytes, monkeypatch):
    """Also if an operand is the tensor of the call before, with other contents or beside others."""
    decoder = make_decoder(11, score="dot")
    monkeypatch.setattr(compiled_network, "SMALL_BYTES", small_bytes)
    fast = OpenVinoDecoder(decoder, 6, bfloat16=False)
    batches = [torch.randn(photos, 6, 7, generator=torch.Generator().manual_seed(photos)) for photos in (2, 3)]
    prepared = [(fast.prepare(annotations), decoder.prepare(annotations)) for annotations in batches]
    states = [fast.initial_state(features, 2) for features, _ in prepared]
    results, expected = [], []
    tokens = [torch.full((photos, 2), 1) for photos in (2, 3)]
    for token in (4, 9, 9):
        for batch in (0, 0, 1):
            tokens[batch].fill_(token)
            results.append(fast.step(prepared[batch][0], states[batch], tokens[batch]).logits)
            expected.append(decoder.step(prepared[batch][1], states[batch], tokens[batch]).logits)
    for logits, exact in zip(results, expected, strict=True):
        torch.testing.assert_close(logits, exact, rtol=1e-3, atol=1e-4)


@torch.inference_mode()
def test_a_runtime_refers_to_no_tensor_of_a_batch_after_it(parts):
    runtime = OpenVinoRuntime(*parts, 64, bfloat16=False)
    annotations = runtime.encode(squares(2))
    with runtime.inference():
        features = runtime.decoder.prepare(annotations.flatten(1, 2))
        state = runtime.decoder.initial_state(features, 1)
        runtime.decoder.step(features, state, torch.ones(2, 1, dtype=torch.long))
    references = [weakref.ref(tensor) for tensor in (features.annotations, features.keys, state.hidden)]
    del features, state
    assert [reference() for reference in references] == [None] * 3


def test_threads_share_a_runtime(parts):
    runtime = OpenVinoRuntime(*parts, 64, bfloat16=False)
    photos = [squares(1 + number % 3, number) for number in range(24)]
    alone = [runtime.encode(photo) for photo in photos]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(runtime.encode, photos))
    for first, second in zip(alone, together, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_fast_captions_equal_exact_ones_without_bfloat16(tiny_bundle, monkeypatch):
    monkeypatch.setattr(inference, "multiplies_bfloat16", lambda device: False)
    fast, exact = Captioner(tiny_bundle, "cpu", "fast"), Captioner(tiny_bundle, "cpu")
    assert (fast.runtime.name, exact.runtime.name) == ("OpenVINO, float32", "torch, float32")
    photos = [np.asarray(square) for square in squares(6).numpy()]
    captions, expected = (captioner.caption(list(map(image, photos))) for captioner in (fast, exact))
    for first, second in zip(captions, expected, strict=True):
        assert first.text == second.text
        np.testing.assert_allclose(first.alphas, second.alphas, atol=1e-4)
        assert first.log_prob == pytest.approx(second.log_prob, abs=1e-3)


def image(pixels: np.ndarray):
    from PIL import Image

    return Image.fromarray(pixels)


def test_captions_in_bfloat16_have_maps_and_probabilities_near_the_exact_ones(tiny_bundle, monkeypatch):
    monkeypatch.setattr(inference, "multiplies_bfloat16", lambda device: True)
    fast, exact = Captioner(tiny_bundle, "cpu", "auto"), Captioner(tiny_bundle, "cpu")
    assert fast.runtime.name == "OpenVINO, bfloat16"
    photos = [image(square) for square in squares(6).numpy()]
    pairs = list(zip(fast.caption(photos), exact.caption(photos), strict=True))
    equal_pairs = [(first, second) for first, second in pairs if first.tokens == second.tokens]
    assert len(equal_pairs) >= 3
    for first, second in equal_pairs:
        assert first.alphas.dtype == np.float32
        np.testing.assert_allclose(first.alphas.sum(axis=(1, 2)), 1, atol=1e-3)
        np.testing.assert_allclose(first.alphas, second.alphas, atol=0.05)
        assert first.log_prob == pytest.approx(second.log_prob, abs=0.3)


@pytest.mark.parametrize(
    ("installed", "bfloat16", "kind"),
    [
        (True, True, OpenVinoRuntime),
        (True, False, OpenVinoRuntime),
        (False, True, TorchRuntime),
        (False, False, ExactRuntime),
    ],
)
def test_fast_chooses_the_fastest_runtime_of_the_machine(parts, monkeypatch, installed, bfloat16, kind):
    monkeypatch.setattr(inference, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr(inference, "multiplies_bfloat16", lambda device: bfloat16)
    runtime = runtime_for("fast", *parts, 64)
    assert type(runtime) is kind and ("bfloat16" in runtime.name) is bfloat16


def test_a_network_that_openvino_cannot_run_runs_in_torch(parts, monkeypatch, caplog):
    def refuse(*_):
        raise RuntimeError("No conversion rule found for operations: aten::new")

    monkeypatch.setattr(inference, "encoder_network", refuse)
    runtime = runtime_for("fast", *parts, 64)
    assert runtime.name.startswith("torch")
    assert runtime.encode(squares(1)).shape[0] == 1
    assert "OpenVINO cannot run timm:test_efficientnet" in caplog.text and "aten::new" in caplog.text


@pytest.mark.stress
def test_signal_handlers_still_work_after_openvino_runtimes(parts):
    script = """
import gc, os, signal
from captioner.config import CaptionerConfig
from captioner.model.runtime import OpenVinoRuntime
from captioner.model.network import CaptionModel
import torch
model = CaptionModel(CaptionerConfig("timm:test_efficientnet.r160_in1k", 64, embedding_dim=8, hidden_dim=8), 9).eval()
got = []
signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))
for number in range(3):
    runtime = OpenVinoRuntime(model.encoder, model.decoder, 64, bfloat16=number % 2 == 0)
    runtime.encode(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
    del runtime
    gc.collect()
    os.kill(os.getpid(), signal.SIGTERM)
print(len(got))
"""
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout.strip()) == (0, "3"), result.stderr


def test_the_number_of_threads_is_restored(parts):
    runtime, before = OpenVinoRuntime(*parts, 64, bfloat16=False), torch.get_num_threads()
    torch.set_num_threads(2)
    with runtime.inference():
        assert torch.get_num_threads() == 1
        with runtime.inference():  # in another thread
            pass
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_an_unknown_runtime_is_refused(tiny_bundle):
    with pytest.raises(ConfigError, match="no runtime 'quick': take one of auto, fast, exact"):
        Captioner(tiny_bundle, "cpu", "quick")


def test_bfloat16_support_of_the_cpu_is_detected(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    assert not inference.multiplies_bfloat16(CPU)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True, "avx512_bf16": True})
    assert not inference.multiplies_bfloat16(CPU), "slower than float32"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": True})
    assert inference.multiplies_bfloat16(CPU)


def test_openvino_sends_no_telemetry(parts):
    OpenVinoRuntime(*parts, 64, bfloat16=False)
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__ == "openvino.tools.ovc.telemetry_stub"
    assert sys.modules["openvino_telemetry"] is None
