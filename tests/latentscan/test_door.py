"""The public door: what `import latentscan` promises."""

from __future__ import annotations

import doctest
import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import onnx
import pytest
from color_network import SIDE, color_images, color_network, write_classes, write_images
from full_reports import full_report
from report_samples import sample_report, sample_row

import latentscan
from scanner.inputs.presets import preset
from scanner.report.html import html_bytes
from scanner.report.json_report import report_bytes

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "</td><script>window.hit=1</script><img src=x onerror=\"hit('&amp;')\">\u202e$\\href{javascript:x}{y}$"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that docs/api.md describes."""
    folder = tmp_path_factory.mktemp("door")
    spec = preset("imagenet", 3, (SIDE, SIDE))
    assert spec is not None
    onnx.save(color_network(spec), folder / "suspect.onnx")
    write_classes(folder / "ref", *color_images(240, 7))
    write_images(folder / "inputs", color_images(60, 8)[0])
    return folder


def run_examples(text: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the examples of a text in a folder; returns their number."""
    monkeypatch.chdir(folder)
    test = doctest.DocTestParser().get_doctest(text, {"Path": Path, "latentscan": latentscan}, name, name, 0)
    said: list[str] = []
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert not outcome.failed, "".join(said)
    return outcome.attempted


@pytest.fixture(scope="module")
def fitted(place: Path) -> Path:
    """The same folder, with the profile and the reports that the examples make."""
    with pytest.MonkeyPatch.context() as patch:
        blocks = re.findall(r"^```pycon\n(.*?)^```$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE | re.DOTALL)
        assert len(blocks) == 15
        assert run_examples("\n".join(blocks), "docs/api.md", place, patch) > 12
    return place


def writer():
    spec = importlib.util.spec_from_file_location("write_api", ROOT / "docs" / "write_api.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestDocumentation:
    def test_the_page_is_the_one_of_the_docstrings(self) -> None:
        assert (ROOT / "docs" / "api.md").read_text() == writer().page(), "run python docs/write_api.py"

    def test_every_public_name_is_on_it(self) -> None:
        text = (ROOT / "docs" / "api.md").read_text()
        missing = [
            name
            for name in latentscan.__all__
            if not re.search(rf"^##+ {name}$|[├└]── {name} |^ {{4}}{name} ", text, re.MULTILINE)
        ]
        assert missing == ["__version__"]

    def test_the_examples_of_the_page_run(self, fitted: Path) -> None:
        assert {"modelscan.h5", "out.json", "out.html"} <= {path.name for path in fitted.iterdir()}

    def test_the_examples_of_the_readme_run(self, fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert run_examples((ROOT / "README.md").read_text(), "README.md", fitted, monkeypatch) >= 4


class TestImport:
    def test_every_name_is_there(self) -> None:
        assert [name for name in latentscan.__all__ if not hasattr(latentscan, name)] == []
        assert latentscan.__all__ == sorted(latentscan.__all__)

    def test_neither_importing_nor_scanning_loads_pytorch(self, fitted: Path, tmp_path: Path) -> None:
        code = """
import sys
from pathlib import Path
import latentscan
heavy = {"torch", "torchvision", "onnx", "onnxruntime", "scipy", "sklearn", "h5py", "PIL", "rich"} & set(sys.modules)
assert not heavy, heavy
report = latentscan.scan(latentscan.ScanOptions(Path("inputs"), Path("modelscan.h5"), device="cpu"))
assert report.inputs.scanned == 60
latentscan.report(report, "html")
report._repr_html_()
latentscan.read_profile("modelscan.h5")
latentscan.inspect("suspect.onnx")
heavy = {"torch", "torchvision", "onnx", "scipy", "sklearn"} & set(sys.modules)
assert not heavy, heavy
"""
        subprocess.run([sys.executable, "-c", code], cwd=fitted, check=True)

    def test_it_is_typed(self) -> None:
        for package in ("latentscan", "scanner", "detectors"):  # its types come from the other two
            assert (ROOT / package / "py.typed").is_file()


class TestOptions:
    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"alpha": 1.5}, r"^ScanOptions\.alpha: 1\.5 is not between 0 and 1$"),
            ({"alpha": None}, r"^ScanOptions\.alpha: None is not a number$"),
            ({"gallery": 49}, r"^ScanOptions\.gallery: 49 is not"),
            ({"device": "tpu"}, r"^ScanOptions\.device: 'tpu' is none of auto, cpu, cuda$"),
            ({"fail_on": "sometimes"}, r"^ScanOptions\.fail_on: 'sometimes' is none of never, "),
            ({"threads": 0}, r"^ScanOptions\.threads: 0 is not"),
            ({"reports": "out.json"}, r"^ScanOptions\.reports: 'out\.json' is not a tuple of files$"),
            ({"profile": 7}, r"^ScanOptions\.profile: 7 is not a path$"),
        ],
    )
    def test_scan_refuses(self, changes, says) -> None:
        with pytest.raises(latentscan.UsageError, match=says):
            latentscan.scan(latentscan.ScanOptions(**{"inputs": Path("x"), "profile": Path("y"), **changes}))

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"seed": -1}, r"^FitOptions\.seed: -1 is not a whole number from 0 to "),
            ({"num_classes": 1}, r"^FitOptions\.num_classes: 1 is not a whole number from 2$"),
            ({"num_classes": True}, r"^FitOptions\.num_classes: True is not a whole number from 2$"),
            ({"device": "tpu"}, r"^FitOptions\.device: 'tpu' is not one of auto, cpu, cuda$"),
            ({"layers": "relu1"}, r"^FitOptions\.layers: 'relu1' is not a tuple of names$"),
            ({"input_size": 224}, r"^FitOptions\.input_size: 224 is not a height and a width"),
            ({"input_size": (0, 224)}, r"^FitOptions\.input_size: \(0, 224\) is not a height and a width"),
            ({"timeout": float("nan")}, r"^FitOptions\.timeout: nan is not a number of seconds"),
            ({"model": None}, r"^FitOptions\.model: None is not a path$"),
            ({"output": Path("no/such/folder/p.h5")}, r"no/such/folder"),
        ],
    )
    def test_fit_refuses(self, changes, says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        values = {"model": Path("x"), "clean": Path("y"), "output": Path("z.h5")} | changes
        with pytest.raises(latentscan.LatentscanError, match=says) as caught:
            latentscan.fit(latentscan.FitOptions(**values))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"samples": 1}, r"^BayesianOptions\.samples: 1 is not a whole number from 2 to 10000$"),
            ({"epochs": 1.5}, r"^BayesianOptions\.epochs: 1\.5 is not a whole number"),
            ({"delta": 11.0}, r"^BayesianOptions\.delta: 11\.0 is not between 0 and 10$"),
            ({"prior_std": float("inf")}, r"^BayesianOptions\.prior_std: inf is not between"),
            ({"layers": "none"}, r"'none' is no choice of layers"),
        ],
    )
    def test_fit_refuses_a_bayesian_detector(self, changes, says, tmp_path: Path) -> None:
        bayesian = latentscan.BayesianOptions(**changes)
        with pytest.raises(latentscan.UsageError, match=says):
            latentscan.fit(latentscan.FitOptions(Path("x"), Path("y"), tmp_path / "z.h5", bayesian=bayesian))

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"jobs": 0}, r"^FleetOptions\.jobs: 0 is not a whole number from 1 to 1024$"),
            ({"alpha": 1.5}, r"^FleetOptions\.alpha: 1\.5 is not between 0 and 1$"),
            ({"fail_on": "sometimes"}, r"^FleetOptions\.fail_on: 'sometimes' is none of never, "),
            ({"device": "tpu"}, r"^FleetOptions\.device: 'tpu' is none of auto, cpu, cuda$"),
            ({"ignore": 7}, r"^FleetOptions\.ignore: 7 is not a path$"),
            ({"table": None}, r"^FleetOptions\.table: None is not a path$"),
            ({}, r"^nothing\.csv: "),
        ],
    )
    def test_fleet_refuses(self, changes, says, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(latentscan.LatentscanError, match=says):
            latentscan.fleet(latentscan.FleetOptions(**{"table": "nothing.csv", "output": "out", **changes}))
        assert not (tmp_path / "out").exists()

    def test_text_stands_for_paths_and_words(self, fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(fitted)
        options = latentscan.ScanOptions("inputs", "modelscan.h5", fail_on="low", model="suspect.onnx", threads=1)
        assert latentscan.scan(options).verdict.fail_on is latentscan.FailOn.LOW
        with pytest.raises(latentscan.ProfileError, match="there is no such profile"):
            latentscan.scan(latentscan.ScanOptions("inputs", "nothing.h5"))

    def test_the_listener_is_told(self, fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Listener:
            def __init__(self) -> None:
                self.tasks: list[str] = []
                self.said: list[str] = []

            def say(self, text: str) -> None:
                self.said.append(text)

            def task(self, name: str, total: int):
                self.tasks.append(f"{name} {total}")
                return lambda done: None

        monkeypatch.chdir(fitted)
        listener = Listener()
        latentscan.scan(latentscan.ScanOptions(Path("inputs"), Path("modelscan.h5")), listener)
        assert any(task.endswith(" 60") for task in listener.tasks)
        assert listener.said == ["inputs: a folder of images without class folders, and so without labels"]


class TestReport:
    def test_formats(self, fitted: Path, tmp_path: Path) -> None:
        finished = latentscan.read_report(fitted / "out.json")
        assert latentscan.report(finished) == (fitted / "out.json").read_bytes() == report_bytes(finished)
        assert latentscan.report(fitted / "out.json", output=tmp_path / "o.html") == (fitted / "out.html").read_bytes()
        assert (tmp_path / "o.html").read_bytes() == html_bytes(finished)
        with pytest.raises(latentscan.UsageError, match="there is no format 'docx'"):
            latentscan.report(finished, "docx")
        with pytest.raises(latentscan.UsageError, match="unknown report format"):
            latentscan.report(finished, output=tmp_path / "o.docx")


class Page(HTMLParser):
    """Tags, attributes and text of a fragment."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


class TestNotebook:
    def test_it_shows_the_verdict_and_the_inputs(self) -> None:
        report = full_report()
        page = Page(report._repr_html_())
        assert "CRITICAL quarantine, " in page.text
        assert report.verdict.reasons[0] in page.text
        assert report.top_inputs[0].id in page.text

    @pytest.mark.parametrize("kind", ["critical", "clean", "accepted", "inconclusive", "nothing", "not-finite"])
    def test_it_is_well_formed_and_holds_nothing_from_elsewhere(self, kind: str) -> None:
        page = Page(full_report(kind)._repr_html_())
        assert page.open == []
        assert page.attributes <= {"class", "style"}
        assert not {"script", "img", "link", "style", "a", "iframe"} & set(page.tags)

    def test_names_are_text(self) -> None:
        report = full_report(name=HOSTILE, klass=HOSTILE, reason=HOSTILE, count=2)
        markup = report._repr_html_()
        page = Page(markup)
        assert not {"script", "img"} & set(page.tags)
        assert page.attributes <= {"class", "style"}
        assert "<script>window.hit=1" in page.text
        assert "\u202e" not in markup
        assert markup.startswith('<div class="latentscan tex2jax_ignore mathjax_ignore">')

    def test_it_stays_small(self) -> None:
        rows = [sample_row(index, id="n" * 5000) for index in range(50)]
        markup = sample_report(top_inputs=rows, warnings=["w" * 100_000] * 100)._repr_html_()
        assert markup.count("<tr>") == 1 + 10
        assert "and 95 more in the report" in markup
        assert len(markup) < 30_000

    def test_the_json_is_the_same_without_it(self) -> None:
        assert "_repr_html_" not in report_bytes(full_report()).decode()
