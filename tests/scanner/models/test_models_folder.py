"""Folders as Hugging Face's and timm's libraries write them: the network, the classes' names, the same predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scanner.base.errors import ModelError, UsageError
from scanner.models.beside import copy_beside
from scanner.models.folder import config_beside, model_file
from scanner.models.identify import identify
from scanner.models.job import EXTERNAL_FOLDER, ConfigMessage, Job
from scanner.models.look import look_closer
from scanner.models.weights_file import OpenedWeights, open_weights

SIDE = 64
ATTENTION = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
STAGES = {"hidden_sizes": [16, 32, 32, 32], "depths": [1, 1, 1, 1]}
TYPES: dict[str, dict[str, Any]] = {
    "vit": {**ATTENTION, "patch_size": 16},
    "deit": {**ATTENTION, "patch_size": 16},
    "beit": {**ATTENTION, "patch_size": 16},
    "data2vec-vision": {**ATTENTION, "patch_size": 16},
    "dinov2": {**ATTENTION, "patch_size": 16},
    "vit_msn": {**ATTENTION, "patch_size": 16},
    "resnet": {"embedding_size": 16, **STAGES},
    "convnext": STAGES,
    "convnextv2": STAGES,
    "regnet": {"embedding_size": 16, "groups_width": 8, **STAGES},
    "swin": {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4},
    "swinv2": {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4},
    "mobilenet_v1": {"depth_multiplier": 0.25},
    "mobilenet_v2": {"depth_multiplier": 0.35},
    "poolformer": {"hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1]},
    "bit": {"embedding_size": 32, "hidden_sizes": [32, 32, 64, 64], "depths": [1, 1, 1, 1], "num_groups": 8},
}
NAMES = {0: "tench", 1: "Golden retriever", 2: "sea snail"}


def opened(folder: Path, **said: Any) -> OpenedWeights:
    """What the child process makes of a folder, in which it works, and of the copies that it gets."""
    path, file = model_file(folder), identify(folder)
    if file.shards:
        copy_beside(path, file.shards, Path(EXTERNAL_FOLDER))
    config = config_beside(path)
    assert config is not None
    message = ConfigMessage(
        framework=config.framework, architecture=config.architecture, text=config.text, input_size=config.input_size
    )
    values: dict[str, Any] = {"architecture": None, "input_size": None, "num_classes": None, **said}
    values |= {"trust": False, "trust_code": False, "has_probe": False, "memory": 1, "seconds": 1, "threads": 1}
    return open_weights(path, Job(kind=file.kind, sharded=bool(file.shards), config=message, **values))


def images(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((40, *shape), dtype=np.float32))


def hugging_face(kind: str, folder: Path) -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        kind, image_size=SIDE, id2label=NAMES, label2id={name: index for index, name in NAMES.items()}, **TYPES[kind]
    )
    if kind == "deit":  # one of several classes of its type
        config.architectures = ["DeiTForImageClassification"]
    model = transformers.AutoModelForImageClassification.from_config(config).eval()
    model.save_pretrained(folder)
    return model


QUICK = ("vit", "convnext", "resnet", "swin", "beit")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in TYPES]
)
def test_networks_of_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    model = hugging_face(kind, tmp_path / "folder")
    found = opened(tmp_path / "folder", input_size=(SIDE, SIDE))
    assert found.network.architecture == f"hf/{kind}"
    x = images(3, SIDE, SIDE)
    with torch.no_grad():
        torch.testing.assert_close(found.network.module(x), model(pixel_values=x).logits, rtol=1e-5, atol=1e-5)
    config = config_beside(tmp_path / "folder" / "model.safetensors")
    assert config is not None
    assert config.class_names == ("tench", "Golden retriever", "sea snail")


@pytest.mark.filterwarnings("ignore")
def test_shards_of_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its library writes what is larger than a bound."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "folder"
    model = hugging_face("vit", folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 2
    found = opened(folder)
    assert found.network.architecture == "hf/vit"
    x = images(3, SIDE, SIDE)
    with torch.no_grad():
        torch.testing.assert_close(found.network.module(x), model(pixel_values=x).logits, rtol=1e-5, atol=1e-5)


TIMM = (
    *("resnet10t", "resnet18d", "resnet26", "seresnet18", "resnext26ts", "skresnet18", "ecaresnet26t", "densenet121"),
    *("mobilenetv3_small_050", "mobilenetv2_035", "efficientnet_lite0", "efficientnet_b0", "tf_efficientnet_lite0"),
    *("mnasnet_050", "fbnetc_100", "spnasnet_100", "ghostnet_050", "lcnet_035", "tinynet_e", "hardcorenas_a"),
    *("regnetx_002", "regnety_002", "convnext_atto", "convnextv2_atto", "edgenext_xx_small", "mobilevit_xxs"),
    *("mobilevitv2_050", "levit_128s", "poolformer_s12", "vit_tiny_patch16_224", "deit_tiny_patch16_224"),
    *("dla46x_c", "repvgg_a0", "xcit_nano_12_p16_224"),
)
QUICK_TIMM = ("resnet10t", "mobilenetv3_small_050", "convnext_atto")


def of_timm(name: str, folder: Path) -> Any:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=3).eval()
    folder.mkdir()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [name if name in QUICK_TIMM else pytest.param(name, marks=pytest.mark.slow) for name in TIMM]
)
def test_networks_of_timm(tmp_path: Path, name: str) -> None:
    model = of_timm(name, tmp_path / "folder")
    config = {"architecture": name, "num_classes": 3, "label_names": list(NAMES.values())}
    (tmp_path / "folder" / "config.json").write_text(json.dumps(config))
    found = opened(tmp_path / "folder")
    assert found.network.architecture == f"timm/{name}"
    with torch.no_grad():
        for x in images(*found.network.input_shape).split(8):
            torch.testing.assert_close(found.network.module(x), model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_timm_within_hugging_face(tmp_path: Path) -> None:
    model = of_timm("resnet10t", tmp_path / "folder")
    state = {f"timm_model.{key}": value for key, value in model.state_dict().items()}
    torch.save(state, tmp_path / "folder" / "pytorch_model.bin")
    config = {"architecture": "resnet10t", "model_type": "timm_wrapper", "pretrained_cfg": {"input_size": [3, 96, 96]}}
    (tmp_path / "folder" / "config.json").write_text(json.dumps(config))
    found = opened(tmp_path / "folder")
    assert (found.network.architecture, found.network.input_shape) == ("timm/resnet10t", (3, 96, 96))
    x = images(3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(found.network.module(x), model(x), rtol=0, atol=0)


def written(folder: Path, config: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    torch.save({"a.weight": torch.ones(2, 3)}, folder / "pytorch_model.bin")
    return folder


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "bert", "architectures": ["BertForMaskedLM"]},
        {"model_type": 3, "architectures": ["ViTForImageClassification"]},
        {"architecture": "os.system"},
        [1, 2],
        "text",
    ],
)
def test_other_configurations_are_left_alone(tmp_path: Path, config: object) -> None:
    assert config_beside(model_file(written(tmp_path / "f", config))) is None


@pytest.mark.filterwarnings("ignore")
def test_code_of_a_folder_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "folder"
    model = hugging_face("vit", folder)
    values = json.loads((folder / "config.json").read_text())
    values["auto_map"] = {"AutoModelForImageClassification": "evil.Evil", "AutoConfig": "evil.Config"}
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    found = opened(folder)
    x = images(3, SIDE, SIDE)
    with torch.no_grad():
        torch.testing.assert_close(found.network.module(x), model(pixel_values=x).logits, rtol=1e-5, atol=1e-5)
    assert not (tmp_path / "canary").exists()
    values |= {"model_type": "evil", "architectures": ["EvilForImageClassification"]}
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match="no image classifier 'evil'"):
        opened(folder)


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scanner.models.weights_file.installed", lambda: False)
    monkeypatch.setattr("scanner.models.weights_file.buildable", lambda name: False)
    folder = written(tmp_path / "f", {"model_type": "vit", "architectures": ["ViTForImageClassification"]})
    with pytest.raises(UsageError, match=r"pip install 'latentscan\[hf\]'"):
        opened(folder)
    folder = written(tmp_path / "f", {"architecture": "resnet10t"})
    with pytest.raises(UsageError, match=r"pip install 'latentscan\[timm\]'"):
        opened(folder)


def test_folders_with_several_models_or_none(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="directory without a model"):
        identify(tmp_path)
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelError, match=r"2 models \(a.pt, b.pt\)"):
        identify(tmp_path)


def test_a_closer_look_says_what_the_folder_says(tmp_path: Path) -> None:
    folder = written(tmp_path / "f", {"model_type": "vit", "architectures": ["ViTForImageClassification"]})
    lines = list(look_closer(identify(folder)))
    assert ("network", "'vit' of transformers, as config.json says") in lines
    assert identify(folder).path == folder / "pytorch_model.bin"
