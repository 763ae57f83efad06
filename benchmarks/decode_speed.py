"""Measure what decoding a photograph costs, and whether another JPEG library would be faster and give the same pixels.

    pip install simplejpeg
    python benchmarks/decode_speed.py --images PHOTOGRAPHS --out benchmarks/results/decode.json

simplejpeg stands on libjpeg-turbo, as Pillow does, with less around it. All is measured alternately in one process
and one thread, in CPU seconds, on photographs as they are and enlarged to 500 pixels. "through" is the whole way that a
scan goes, from a file's bytes to the network's 224 by 224 pixels: with Pillow, and with the other library's pixels put
in the place of Pillow's. What networks cost on such pixels is measured beside it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image

from reference.evaluate import describe_machine
from scanner.graph.bundle import IMAGE
from scanner.graph.session import GraphSession
from scanner.inputs.decode import decode, image_size
from scanner.inputs.geometry import resize_and_crop
from scanner.inputs.presets import preset
from scanner.models.export import export_network

REPEATS = 9
TIMED = 200
SIDE = 500
QUALITY = 96
NETWORKS = ("resnet18", "resnet50")
PHOTO = preset("imagenet:crop", 3, (224, 224))


def by_pillow(data: bytes) -> NDArray[np.uint8]:
    """Pixels ``(H, W, 3)``."""
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def by_other(data: bytes) -> NDArray[np.uint8]:
    """The same by the other library: exact arithmetic, and nothing repaired without a word."""
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=False, fastupsample=False)
    return pixels


def through_pillow(data: bytes) -> NDArray[np.uint8]:
    """As a scan does it."""
    assert PHOTO is not None
    return decode(data, PHOTO)


def through_other(data: bytes) -> NDArray[np.uint8]:
    """The header is read and checked as ever; then the other library decodes, and Pillow resizes."""
    assert PHOTO is not None
    image_size(data)
    return np.asarray(resize_and_crop(Image.fromarray(by_other(data)), PHOTO))


WAYS: dict[str, Callable[[bytes], NDArray[np.uint8]]] = {
    "pillow": by_pillow,
    "simplejpeg": by_other,
    "through_pillow": through_pillow,
    "through_simplejpeg": through_other,
}


def enlarged(data: bytes) -> bytes:
    """The photograph with its longer side at 500 pixels."""
    with Image.open(io.BytesIO(data)) as image:
        scale = SIDE / max(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        out = io.BytesIO()
        image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def different(files: Sequence[bytes]) -> int:
    """Images of which the two libraries give other pixels."""
    return sum(not np.array_equal(by_pillow(data), by_other(data)) for data in files)


def time_decoding(files: Sequence[bytes]) -> dict[str, Any]:
    """CPU milliseconds an image, medians over alternating repeats, and ratios of the two libraries."""
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(REPEATS):
        for name, way in WAYS.items():
            start = time.process_time()
            for data in files:
                way(data)
            found[name].append(1000 * (time.process_time() - start) / len(files))
    result: dict[str, Any] = {name: round(statistics.median(values), 3) for name, values in found.items()}
    for name in ("", "through_"):
        pairs = zip(found[f"{name}simplejpeg"], found[f"{name}pillow"], strict=True)
        ratios = sorted(other / pillow for other, pillow in pairs)
        result[f"{name}simplejpeg_of_pillow"] = {
            "median": round(statistics.median(ratios), 3),
            "range": [round(ratios[0], 3), round(ratios[-1], 3)],
        }
    return {"kilobytes": round(sum(map(len, files)) / len(files) / 1000, 1), "cpu_milliseconds": result}


def time_networks() -> dict[str, float]:
    """CPU milliseconds an image of plain inference at 224, batches of 8, one thread."""
    pixels = np.random.default_rng(0).normal(size=(8, 3, 224, 224)).astype(np.float32)
    found = {}
    for name in NETWORKS:
        module = torchvision.models.get_model(name, weights=None).eval()
        session = GraphSession(*export_network(module, (3, 224, 224), pixels[:2]).bundle.serialise(), device="cpu")
        times = []
        for _ in range(REPEATS):
            start = time.process_time()
            session.run({IMAGE: pixels})
            times.append(1000 * (time.process_time() - start) / len(pixels))
        found[name] = round(statistics.median(times), 2)
    return found


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description="Cost of decoding photographs.")
    parser.add_argument("--images", type=Path, required=True, help="A folder of photographs, JPEG files.")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    files = [path.read_bytes() for path in sorted(options.images.rglob("*")) if path.is_file()]
    large = [enlarged(data) for data in files]
    result = {
        "machine": describe_machine(),
        "simplejpeg": importlib.metadata.version("simplejpeg"),
        "images": len(files),
        "different": {"as they are": different(files), f"at {SIDE}": different(large)},
        "timed_images": TIMED,
        "as they are": time_decoding(files[:TIMED]),
        f"at {SIDE}": time_decoding(large[:TIMED]),
        "network_cpu_milliseconds": time_networks(),
    }
    text = json.dumps(result, indent=2)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
