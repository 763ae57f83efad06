import json
import os
import pickle
import stat
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_graphs
import pytest
import torch
from torch import nn

from scanner.base.errors import ModelError, UnsafeModelError, UsageError
from scanner.graph.session import GraphSession
from scanner.isolation.lockdown import FILES
from scanner.models import child_process, load
from scanner.models.architectures.scnn import SCNN
from scanner.models.identify import identify
from scanner.models.job import Failed, Loaded, Result, TapMessage
from scanner.models.load import LoadedModel, LoadOptions, load_model


@pytest.fixture(scope="module")
def scnn() -> nn.Module:
    torch.manual_seed(0)
    return SCNN().eval()


@pytest.fixture
def onnx_path(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_graphs.conv_net().SerializeToString())
    return path


def loaded(path: Path, probe: np.ndarray | None = None, **options: object) -> LoadedModel:
    return load_model(identify(path), LoadOptions(**options), probe)  # type: ignore[arg-type]


def test_state_dict(scnn: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": {f"module.{key}": value for key, value in scnn.state_dict().items()}}, path)
    probe = np.random.default_rng(0).standard_normal((5, 1, 28, 28), dtype=np.float32)
    model = loaded(path, architecture="scnn", probe=probe)
    assert (model.architecture, model.input_shape, model.layout, model.num_classes) == ("scnn", (1, 28, 28), "NCHW", 10)
    assert [tap.name for tap in model.candidates] == ["relu1", "relu2", "relu3"]
    assert model.parity is not None
    assert model.parity < 1e-5
    assert len(model.notes) == 2
    values = GraphSession(*model.bundle.serialise(), device="cpu").run({"image": probe})
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(values["logits"]), scnn(torch.from_numpy(probe)))


ARCHITECTURE = """
from pathlib import Path
from first import convolution
from package.middle import relu
from plain.last import dense
from sklearn import __version__
from torch import nn
def net():
    return nn.Sequential(convolution(), relu(), nn.Flatten(), dense())
def prying():
    return Path("{secret}").read_text()
"""


@pytest.mark.parametrize("current", [True, False])
def test_an_architecture_imports_what_lies_beside_it(
    current: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the current directory, of which the rest stays out of reach."""
    (tmp_path / "net.py").write_text(ARCHITECTURE.format(secret=tmp_path / "secret.txt"))
    (tmp_path / "secret.txt").write_text("not for everyone")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "plain").mkdir()
    (tmp_path / "sklearn").mkdir()  # a checkout of what is installed, say: its root is no package
    (tmp_path / "sklearn" / "setup.py").write_text("")
    (tmp_path / "first.py").write_text("from torch import nn\ndef convolution(): return nn.Conv2d(1, 4, 3)\n")
    (tmp_path / "package" / "middle.py").write_text("from .deep import relu\n")
    (tmp_path / "package" / "deep.py").write_text("from torch.nn import ReLU as relu\n")
    (tmp_path / "plain" / "last.py").write_text("from torch import nn\ndef dense(): return nn.Linear(144, 5)\n")
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    if current:
        monkeypatch.chdir(tmp_path)
    file = "net.py" if current else str(tmp_path / "net.py")
    model = loaded(tmp_path / "weights.pt", architecture=f"{file}:net", trust_code=True, input_size=(8, 8))
    assert model.num_classes == 5
    files = next(layer for layer in model.isolation if layer.name == FILES)
    if current and files.active:
        with pytest.raises(UsageError, match="PermissionError"):
            loaded(tmp_path / "weights.pt", architecture=f"{file}:prying", trust_code=True, input_size=(8, 8))


def test_onnx_file_under_any_name(onnx_path: Path) -> None:
    path = onnx_path.rename(onnx_path.with_suffix(".pt"))
    model = loaded(path)
    assert (model.architecture, model.parity, model.num_classes) == ("onnx", None, 4)
    assert [tap.name for tap in model.candidates] == ["r1", "r2"]
    with pytest.raises(UsageError, match="--arch"):
        loaded(path, architecture="resnet18")


def test_nothing_is_left_behind(onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    loaded(onnx_path)
    with pytest.raises(ModelError):
        loaded(onnx_path, timeout=0.01)
    assert list(scratch.iterdir()) == []


def test_errors_of_the_child_arrive_as_they_are(scnn: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({f"unheard.{key}": value for key, value in scnn.state_dict().items() if "conv" in key}, path)
    with pytest.raises(UsageError, match="which network"):
        loaded(path)
    (tmp_path / "damaged.onnx").write_bytes(onnx_graphs.conv_net(image=("batch", 7, 8, 8)).SerializeToString())
    with pytest.raises(ModelError, match=r"damaged\.onnx.*channels"):
        loaded(tmp_path / "damaged.onnx")


class Payload:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["module", "torchscript", "exported", "payload", "pickle"])
def test_formats_that_run_code_are_refused_before_any_process(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, linear = tmp_path / "m.pt", nn.Linear(3, 4)
    if kind == "module":
        torch.save(linear, path)
    elif kind == "torchscript":
        torch.jit.save(torch.jit.trace(linear, torch.zeros(1, 3)), str(path))
    elif kind == "exported":
        torch.export.save(torch.export.export(linear, (torch.zeros(1, 3),)), path)
    elif kind == "payload":
        torch.save({"w": torch.zeros(3), "x": Payload(tmp_path / "canary")}, path)
    else:
        path.write_bytes(pickle.dumps(Payload(tmp_path / "canary")))
    monkeypatch.setattr(child_process, "run_child", lambda *_args, **_options: pytest.fail("started a process"))
    with pytest.raises(UnsafeModelError, match=r"m\.pt.*ONNX.*state_dict") as caught:
        loaded(path, architecture="resnet18")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("content", [b"name: resnet\n", b"\x89HDF\r\n\x1a\n", b"\0" * 99])
def test_files_that_are_no_models(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(content)
    with pytest.raises(ModelError, match="not a model file"):
        loaded(tmp_path / "m.pt")


def test_file_that_changes_in_between(onnx_path: Path) -> None:
    file = identify(onnx_path)
    with pytest.raises(ModelError, match="changed"):
        load_model(replace(file, sha256="0" * 64))
    onnx_path.unlink()
    with pytest.raises(ModelError, match="no such file"):
        load_model(file)


# --- the child process ---------------------------------------------------------------------------


def in_child(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the child run ``code`` instead of loading."""
    monkeypatch.setattr(child_process, "_BOOTSTRAP", code)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os; os.abort()", r"crashed \(SIGABRT\)"),
        ("import os, signal; print('a', flush=True); os.kill(os.getpid(), signal.SIGKILL)", "lack of memory$"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "processor time"),
        ("raise SystemExit(7)", "code 7"),
        ("raise ValueError('some\\x1b[31m reason')", r"ValueError: some\[31m reason"),
        ("pass", "left no file 'result.json'"),
        ("open('result.json', 'w').write('{}')", "malformed result"),
        ("open('result.json', 'w').write('{\"result\": ' * 100000)", "malformed result"),
        ("import os; os.symlink('/etc/passwd', 'result.json')", "left no file"),
        ("import os; os.mkfifo('result.json')", "unusable file"),
        ("open('result.json', 'w').truncate(2**40)", "unusable file"),
    ],
)
def test_every_end_of_the_child_is_one_clear_line(
    code: str, words: str, onnx_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_child(monkeypatch, code)
    with pytest.raises(ModelError, match=words) as caught:
        loaded(onnx_path)
    assert str(caught.value).isprintable()


def test_timeout_ends_the_child_and_its_children(
    onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import os, subprocess, sys, time; subprocess.Popen(['sleep', '100']);"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpgid(0))); time.sleep(100)"
    )
    in_child(monkeypatch, code)
    started = time.monotonic()
    with pytest.raises(ModelError, match="longer than 2 seconds"):
        loaded(onnx_path, timeout=2)
    assert time.monotonic() - started < 10
    group = int((tmp_path / "pid").read_text())
    for _ in range(50):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("processes of the child are still there")


def test_output_of_the_child_is_bounded(onnx_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_child(monkeypatch, "import sys; sys.stdout.write('x' * 50_000_000 + '\\nthe end\\n'); raise SystemExit(1)")
    with pytest.raises(ModelError, match="the end"):
        loaded(onnx_path)


def test_the_child_has_a_user_name_without_the_list_of_users(
    onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some versions of PyTorch ask for it when they export a graph."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    seen = tmp_path / "user"
    code = f"import getpass, sys; sys.modules['pwd'] = None; open({str(seen)!r}, 'w').write(getpass.getuser())"
    in_child(monkeypatch, code)
    with pytest.raises(ModelError, match=r"result\.json"):
        loaded(onnx_path)
    assert seen.read_text() == "modelscan"


def test_the_child_is_isolated(onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No secrets in its environment, no code from the current directory, limits in place."""
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torch.py").write_text("raise SystemExit('code from the current directory')")
    code = (
        "import json,sys; sys.path[:]=json.loads(sys.argv[1]); import os, resource, torch, scanner.models.child as c;"
        "import scanner.isolation.lockdown as l; l.limit_resources(l.Plan.from_json(sys.argv[2]));"
        "from scanner.models.job import Job; job = Job.model_validate_json(sys.stdin.read()); c._limit_memory(job);"
        "kinds = resource.RLIMIT_AS, resource.RLIMIT_CORE, resource.RLIMIT_FSIZE;"
        "limits = [resource.getrlimit(kind)[0] for kind in kinds];"
        f"json.dump([dict(os.environ), limits, os.getcwd(), job.memory], open({str(tmp_path / 'seen')!r}, 'w'))"
    )
    in_child(monkeypatch, code)
    with pytest.raises(ModelError, match=r"result\.json"):
        loaded(onnx_path)

    environment, (address_space, core, file_size), folder, memory = json.loads((tmp_path / "seen").read_text())
    assert "SECRET_TOKEN" not in environment
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert (core, file_size) == (0, memory)
    assert memory < address_space < 2**45
    assert Path(folder) != tmp_path
    assert not Path(folder).exists()


def test_memory_is_limited(onnx_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_MIN_MEMORY", 2**20)
    monkeypatch.setattr(load, "_MIN_MEMORY_OF_OURS", 2**20)
    with pytest.raises(ModelError, match=r"memory|crashed|cannot be loaded|ended with code"):
        loaded(onnx_path)


GOOD = Loaded(
    architecture="onnx",
    input_shape=(3, 8, 8),
    layout="NCHW",
    num_classes=4,
    candidates=[
        TapMessage(
            name="r1",
            tensor="r1",
            shape=(16, 6, 6),
            layout="NCHW",
            channels=16,
            class_token=False,
            depth=0.3,
            element=1,
        )
    ],
    parity=None,
    notes=[],
    metadata={},
)


def collected(tmp_path: Path, path: Path, **changes: object) -> LoadedModel:
    """What the parent makes of a result that a subverted child might leave."""
    message = Result(result=GOOD.model_copy(update=changes)).model_dump_json()
    graph, weights = onnx_graphs.conv_bundle().serialise()
    for name, data in {"result.json": message.encode(), "graph.onnx": graph, "weights": weights}.items():
        if not (tmp_path / name).exists():
            (tmp_path / name).write_bytes(data)
    return load._collect(identify(path), tmp_path, 2**30)


def test_a_good_result_is_taken(tmp_path: Path, onnx_path: Path) -> None:
    assert collected(tmp_path, onnx_path).candidates[0].channels == 16


@pytest.mark.parametrize(
    "changes",
    [
        {"num_classes": 5},
        {"num_classes": 1},
        {"input_shape": (1, 8, 8)},
        {"input_shape": (3, 8, 10**9)},
        {"layout": "NHWC"},
        {"layout": "CHWN"},
        {"parity": -1.0},
        {"notes": ["x" * 100_000]},
        {"candidates": [GOOD.candidates[0].model_copy(update={"tensor": "nowhere"})]},
        {"candidates": [GOOD.candidates[0].model_copy(update={"channels": 7})]},
        {"candidates": [GOOD.candidates[0].model_copy(update={"shape": ()})]},
        {"candidates": [GOOD.candidates[0].model_copy(update={"element": 9})]},
        {"candidates": [*GOOD.candidates, *GOOD.candidates]},
        {"candidates": []},
        {"architecture": 3},
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_results_that_contradict_the_graph_are_refused(
    changes: dict[str, object], tmp_path: Path, onnx_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"malformed|does not fit"):
        collected(tmp_path, onnx_path, **changes)


@pytest.mark.parametrize("name", ["graph.onnx", "weights"])
@pytest.mark.parametrize("data", [b"", b"\xff" * 64])
def test_broken_files_from_the_child(name: str, data: bytes, tmp_path: Path, onnx_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelError):
        collected(tmp_path, onnx_path)


def test_unknown_error_classes_are_not_instantiated(tmp_path: Path, onnx_path: Path) -> None:
    good = Failed(error="UsageError", what="w", where=None, hint=None)
    (tmp_path / "result.json").write_text(Result(result=good).model_dump_json().replace("UsageError", "SystemExit"))
    with pytest.raises(ModelError, match="malformed"):
        collected(tmp_path, onnx_path)


def test_the_working_directory_is_private(onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_child(monkeypatch, f"import os; open({str(tmp_path / 'mode')!r}, 'w').write(str(os.stat('.').st_mode))")
    with pytest.raises(ModelError):
        loaded(onnx_path)
    assert stat.S_IMODE(int((tmp_path / "mode").read_text())) == 0o700


# --- files that are programs ----------------------------------------------------------------------


SANDBOX = "import os\ntry:\n    open({canary!r}, 'w')\nexcept OSError:\n    pass\n"


class Reach:
    """Tries to write a file outside of the child's folder when it is unpickled, then becomes a network."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, (
            f"__import__('scanner.models.architectures.scnn').models.architectures.scnn.SCNN() "
            f"if not exec({SANDBOX.format(canary=str(self.canary))!r}) else None",
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_trusted_torchscript_becomes_a_graph(scnn: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.jit.save(torch.jit.trace(scnn, torch.zeros(2, 1, 28, 28)), str(path))
    with pytest.raises(UsageError, match="--input-size"):
        loaded(path, trust=True)
    with pytest.raises(UsageError, match="--arch"):
        loaded(path, trust=True, architecture="scnn")
    model = loaded(path, trust=True, input_size=(28, 28))
    assert (model.architecture, model.input_shape, model.num_classes) == ("torchscript", (1, 28, 28), 10)
    assert model.ran_file
    assert any("ran code from the model file" in note for note in model.notes)
    assert model.parity is not None
    assert model.parity < 1e-5
    assert len(model.candidates) == 3
    assert "limits" in {layer.name for layer in model.isolation if layer.active}


@pytest.mark.slow
def test_trusted_exported_program_becomes_a_graph(scnn: nn.Module, tmp_path: Path) -> None:
    path, image = tmp_path / "m.pt2", torch.zeros(2, 1, 28, 28)
    torch.export.save(torch.export.export(scnn, (image,), dynamic_shapes=({0: torch.export.Dim("n")},)), path)
    model = loaded(path, trust=True)
    assert (model.architecture, model.input_shape, model.num_classes) == ("exported-program", (1, 28, 28), 10)
    assert model.parity is not None
    assert model.parity < 1e-5


def test_a_trusted_pickle_runs_and_cannot_leave_the_child(tmp_path: Path) -> None:
    """The payload fires, which is what trust means, and finds nothing to write to outside of its folder."""
    torch.save(Reach(tmp_path / "canary"), tmp_path / "m.pt")
    with pytest.raises(UnsafeModelError):
        loaded(tmp_path / "m.pt")
    model = loaded(tmp_path / "m.pt", trust=True, input_size=(28, 28))
    assert model.ran_file
    assert model.num_classes == 10
    if any(layer.name == "landlock" and layer.active for layer in model.isolation):
        assert not (tmp_path / "canary").exists()


@pytest.mark.slow
def test_trust_changes_nothing_for_files_of_weights(scnn: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({**scnn.state_dict(), "x": Payload(tmp_path / "canary")}, path)
    file = replace(identify(path), kind=load.FileKind.STATE_DICT)  # as if the static look had been fooled
    with pytest.raises(UnsafeModelError, match="restricted loader"):
        load_model(file, LoadOptions(architecture="scnn", trust=True))
    assert not (tmp_path / "canary").exists()


def cached(folder: Path) -> Path:
    """A model with external data as a hub's cache has it: in ``snapshots/1``, two links into ``blobs``."""
    blobs, snapshot = folder / "blobs", folder / "snapshots" / "1"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    onnx.save(
        onnx_graphs.conv_net(), blobs / "aaaa", save_as_external_data=True, location="model.onnx_data", size_threshold=0
    )
    (blobs / "model.onnx_data").rename(blobs / "bbbb")
    (snapshot / "model.onnx").symlink_to("../../blobs/aaaa")
    (snapshot / "model.onnx_data").symlink_to("../../blobs/bbbb")
    return snapshot


def test_caches_of_hubs_are_read_as_their_user_sees_them(tmp_path: Path) -> None:
    snapshot = cached(tmp_path)
    model = loaded(snapshot)
    assert model.num_classes == 4
    assert model.file.path == snapshot / "model.onnx"


@pytest.mark.parametrize("leads", ["outside", "twice", "model is no link"])
def test_links_of_other_caches_are_refused(tmp_path: Path, leads: str) -> None:
    snapshot = cached(tmp_path)
    data = snapshot / "model.onnx_data"
    data.unlink()
    if leads == "outside":
        (tmp_path / "secret").write_bytes((tmp_path / "blobs" / "bbbb").read_bytes())
        data.symlink_to(tmp_path / "secret")
    elif leads == "twice":
        (tmp_path / "blobs" / "cccc").hardlink_to(tmp_path / "blobs" / "bbbb")
        data.symlink_to("../../blobs/cccc")
    else:
        (snapshot / "model.onnx").unlink()
        (snapshot / "model.onnx").write_bytes((tmp_path / "blobs" / "aaaa").read_bytes())
        data.symlink_to("../../blobs/bbbb")
    with pytest.raises(ModelError):
        loaded(snapshot / "model.onnx")


def test_a_model_is_another_where_its_external_data_is(tmp_path: Path) -> None:
    snapshot = cached(tmp_path)
    first = identify(snapshot)
    assert first.size == sum((tmp_path / "blobs" / name).stat().st_size for name in ("aaaa", "bbbb"))
    weights = bytearray((tmp_path / "blobs" / "bbbb").read_bytes())
    weights[3] ^= 1
    (tmp_path / "blobs" / "bbbb").write_bytes(weights)
    assert identify(snapshot).sha256 != first.sha256
    with pytest.raises(ModelError, match="changed while it was read"):
        load_model(first, LoadOptions())
