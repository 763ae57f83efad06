"""Settings, ignore file, baseline and exit codes: what a gate obeys, and what it never hides."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import date
from pathlib import Path

import onnx
import pytest
from full_reports import finding, full_report
from hypothesis import given
from hypothesis import strategies as st
from onnx_graphs import conv_net
from profile_samples import sample_header
from report_samples import sample_report
from verdict_samples import CLEAN, verdict

from scanner.base.errors import UsageError
from scanner.cli.main import run
from scanner.report.formats import FORMATS
from scanner.report.json_report import report_bytes
from scanner.report.schema import schema_text
from scanner.report.triage import accept_model, ignore_warnings, read_ignore_file, triage
from scanner.verdict.accept import accept
from scanner.verdict.catalogue import catalogue
from scanner.verdict.gate_policy import SETTINGS, foreign_folders, resolve
from scanner.verdict.rules import load_rules
from scanner.verdict.terms import Acceptance, CheckStatus, Confidence, FailOn, Severity

TODAY = date(2026, 11, 25)
MODEL = sample_header().model


class TestSettings:
    def test_flag_over_environment_over_file_over_default(self, tmp_path):
        (tmp_path / "latentscan.toml").write_text('fail-on = "low"\nalpha = 0.05\ntop = 7\nprofile = "p.h5"\n')
        policy = resolve(
            {"fail-on": "critical"}, None, {"LATENTSCAN_FAIL_ON": "never", "LATENTSCAN_ALPHA": "0.02"}, tmp_path
        )
        assert (policy.values["fail-on"], policy.origins["fail-on"]) == ("critical", "flag")
        assert (policy.values["alpha"], policy.origins["alpha"]) == (0.02, "environment")
        assert (policy.values["top"], policy.origins["top"]) == (7, "file")
        assert (policy.values["gallery"], policy.origins["gallery"]) == (24, "default")
        assert policy.values["profile"] == str(tmp_path / "p.h5")

    def test_pyproject_and_the_nearest_file(self, tmp_path):
        (tmp_path / "pyproject.toml").write_text('[tool.latentscan]\nfail-on = "low"\n')
        inner = tmp_path / "a" / "b"
        inner.mkdir(parents=True)
        assert resolve({}, None, {}, inner).values["fail-on"] == "low"
        (tmp_path / "a" / "pyproject.toml").write_text("[tool.other]\n")
        assert resolve({}, None, {}, inner).values["fail-on"] == "low"
        (tmp_path / "a" / ".git").mkdir()
        assert resolve({}, None, {}, inner).config is None

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('fail-on = "sometimes"', "is none of never, low"),
            ("alpha = 2", "is not between 0 and 1"),
            ("alpha = true", "is not a number"),
            ("top = -1", "is not between 0 and 10000"),
            ('failon = "low"', "there is no setting 'failon'"),
            ("fail-on = ", "not valid TOML"),
        ],
    )
    def test_a_wrong_file_is_an_error_that_says_where(self, tmp_path, text, message):
        (tmp_path / "latentscan.toml").write_text(text)
        with pytest.raises(UsageError, match=message) as caught:
            resolve({}, None, {}, tmp_path)
        assert "latentscan.toml" in str(caught.value)

    def test_a_wrong_variable_is_named(self, tmp_path):
        with pytest.raises(UsageError, match="LATENTSCAN_ALPHA"):
            resolve({}, None, {"LATENTSCAN_ALPHA": "nan"}, tmp_path)

    def test_the_digest_is_of_what_decides(self, tmp_path):
        one = resolve({}, None, {}, tmp_path)
        assert one.digest(None, None) == resolve({"top": 3}, None, {}, tmp_path).digest(None, None)
        others = {resolve({"fail-on": level}, None, {}, tmp_path).digest(None, None) for level in ("low", "medium")}
        others |= {one.digest("0" * 64, None), one.digest(None, "0" * 64), one.digest(None, None)}
        assert len(others) == 5

    def test_defaults_are_those_of_a_scan(self):
        from scanner.scanning.options import ScanOptions

        for setting in SETTINGS:
            field = ScanOptions.__dataclass_fields__[setting.name.replace("-", "_")]
            if setting.name != "profile":
                assert field.default == setting.default


class TestIgnoreFile:
    def read(self, tmp_path, text):
        path = tmp_path / "ignore.toml"
        path.write_text(text)
        return read_ignore_file(path)

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            (f'input = "{"a" * 64}"', "needs a reason"),
            (f'input = "{"a" * 64}"\nreason = "  "', "needs a reason"),
            ('reason = "x"', "exactly one of"),
            (f'input = "{"a" * 64}"\nfinding = "{"a" * 64}"\nreason = "x"', "exactly one of"),
            ('input = "a"\nreason = "x"', "not a SHA-256"),
            (f'input = "{"a" * 64}"\nreason = "x"\nexpires = "2027-01-01"', "not a date"),
            (f'model = "{"a" * 64}"\nreason = "x"\nup-to = "high"', "needs expires and up-to"),
            (f'model = "{"a" * 64}"\nreason = "x"\nexpires = 2027-01-01', "needs expires and up-to"),
            (f'input = "{"a" * 64}"\nreason = "x"\nup-to = "high"', "belongs to an entry about a model"),
            (f'input = "{"a" * 64}"\nreason = "x"\nmodle = 1', "other keys"),
        ],
    )
    def test_an_incomplete_entry_is_an_error(self, tmp_path, entry, message):
        with pytest.raises(UsageError, match=message) as caught:
            self.read(tmp_path, f"[[ignore]]\n{entry}\n")
        assert "entry 1" in str(caught.value)

    def test_inputs_are_suppressed_until_the_entry_expires(self, tmp_path):
        ignore = self.read(tmp_path, f'[[ignore]]\ninput = "{"a" * 64}"\nreason = "fine"\nexpires = 2026-11-25\n')
        found = [finding("input", "LS401", "x.png", 3), finding("input", "LS401", "y.png", 4)]
        digests = {3: "a" * 64, 4: "b" * 64}
        kept = triage(found, verdict(), ignore, frozenset({found[1].id}), digests, TODAY)
        assert [one.suppressed is not None for one in kept] == [True, False]
        assert [one.known for one in kept] == [False, True]
        later = triage(found, verdict(), ignore, frozenset(), digests, date(2026, 11, 26))
        assert [one.suppressed for one in later] == [None, None]
        (warning,) = ignore_warnings(ignore, found, MODEL, date(2026, 11, 26))
        assert "expired on 2026-11-25" in warning

    def test_no_fingerprint_suppresses_the_verdict_on_the_model(self, tmp_path):
        found = finding("model", "LS101", MODEL.name)
        ignore = self.read(tmp_path, f'[[ignore]]\nfinding = "{found.id}"\nreason = "go away"\n')
        bad = verdict(batch_p_value=1e-9, share_low=0.2)
        assert accept_model(bad, MODEL, ignore, TODAY) == bad
        assert triage([found], bad, ignore, frozenset(), {}, TODAY)[0].suppressed is None
        (warning,) = ignore_warnings(ignore, [found], MODEL, TODAY)
        assert MODEL.sha256 in warning

    @pytest.mark.parametrize(
        ("level", "expires", "code"),
        [("critical", "2026-11-25", 0), ("high", "2026-11-25", 1), ("critical", "2026-11-24", 1)],
    )
    def test_accepting_a_model(self, tmp_path, level, expires, code):
        ignore = self.read(
            tmp_path,
            f'[[ignore]]\nmodel = "{MODEL.sha256}"\nup-to = "{level}"\nexpires = {expires}\nreason = "test model"\n',
        )
        bad = verdict(batch_p_value=1e-9, share_low=0.2)
        outcome = accept_model(bad, MODEL, ignore, TODAY)
        assert (outcome.exit_code, outcome.severity, outcome.checks) == (code, Severity.CRITICAL, bad.checks)
        assert (outcome.accepted is not None) == (code == 0)
        assert any("ACCEPTED" in reason and "test model" in reason for reason in outcome.reasons) == (code == 0)


@given(
    st.sampled_from(FailOn),
    st.sampled_from(list(Severity)[1:]),
    st.floats(0, 1),
    st.integers(0, 1000),
    st.sampled_from([0.1, 0.86, None]),
)
def test_acceptance_changes_the_exit_code_alone_and_says_so(fail_on, up_to, p_value, unreadable, accuracy):
    """The law behind 'never suppressed silently'."""
    before = verdict(fail_on, batch_p_value=p_value, inputs_unreadable=unreadable, clean_accuracy=accuracy)
    after = accept(before, Acceptance("because", "2027-01-31", "ignore.toml"), up_to)
    for name in ("severity", "decision", "confidence", "rules", "checks", "fail_on"):
        assert getattr(after, name) == getattr(before, name)
    if after.exit_code != before.exit_code:
        assert (before.exit_code, after.exit_code) == (1, 0)
        assert after.accepted is not None
        assert "because" in after.reasons[1]
    else:
        assert after == before


def test_demanded_confidence_turns_absence_into_inconclusive_and_keeps_findings():
    from dataclasses import replace

    from scanner.verdict.decide import decide

    provisional = replace(CLEAN, calibration_size=50)
    assert decide(provisional).exit_code == 0
    demanded = decide(provisional, min_confidence=Confidence.CALIBRATED)
    assert (demanded.exit_code, demanded.decision) == (3, "inconclusive")
    assert "LS206" in demanded.rules
    bad = replace(provisional, batch_p_value=1e-9)
    assert decide(bad, min_confidence=Confidence.CALIBRATED).exit_code == 1
    assert decide(CLEAN, min_confidence=Confidence.CALIBRATED).exit_code == 0


class TestCatalogue:
    def test_every_rule_that_is_used_is_explained(self):
        report = sample_report()
        used = {check.id for check in report.checks} | {test.id for test in report.batch.tests}
        used |= {rule.rule for rule in load_rules().severity} | {"LS105", "LS121", "LS209", "LS401", "LS402", "LS403"}
        # Those of an audit are its own: tests/scanner/verdict/test_verdict_audit.py.
        assert used == {rule for rule in catalogue() if not rule.startswith("LS6")}
        assert {rule.rule: rule.severity for rule in load_rules().severity}.items() <= {
            id: text.severity for id, text in catalogue().items()
        }.items()

    def test_explain(self, capsys):
        assert run(["explain", "ls102"]) == 0
        shown = capsys.readouterr().out
        assert "Quarantine" in shown
        assert max(map(len, shown.splitlines())) <= 80
        assert run(["explain"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == len(catalogue())
        assert run(["explain", "XX1"]) == 2


class TestCommands:
    def test_schema(self, capsys):
        assert run(["schema"]) == 0
        assert capsys.readouterr().out == schema_text()

    def test_config(self, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "latentscan.toml").write_text("alpha = 0.02\n")
        assert run(["config"]) == 0
        assert "0.02" in capsys.readouterr().out
        assert run(["config", "--json"]) == 0
        values = json.loads(capsys.readouterr().out)
        assert (values["values"]["alpha"], values["sources"]["alpha"]) == (0.02, "file")
        assert len(values["gate_sha256"]) == 64

    @pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
    def test_report(self, capfdbinary, tmp_path, form):
        report = full_report()
        (tmp_path / "out.json").write_bytes(report_bytes(report))
        assert run(["report", str(tmp_path / "out.json"), "--to", form.name]) == 0
        assert capfdbinary.readouterr().out == form.render(report)
        target = tmp_path / f"x{form.suffixes[0]}"
        assert run(["report", str(tmp_path / "out.json"), "-o", str(target)]) == 0
        assert target.read_bytes() == form.render(report)

    def test_report_errors(self, capsys, tmp_path):
        (tmp_path / "bad.json").write_text("{")
        assert run(["report", str(tmp_path / "bad.json"), "--to", "html"]) == 2
        assert run(["report", str(tmp_path / "absent.json")]) == 2
        (tmp_path / "out.json").write_bytes(report_bytes(full_report()))
        assert run(["report", str(tmp_path / "out.json"), "--to", "docx"]) == 2
        assert run(["report", str(tmp_path / "out.json")]) == 0
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 80

    def test_verify_prefers_the_report_that_failed(self, tmp_path, capsys):
        model = tmp_path / "m.onnx"
        model.write_bytes(b"model")
        digest = hashlib.sha256(b"model").hexdigest()
        header = sample_header(model=sample_header().model.model_copy(update={"sha256": digest}))
        for name, flagged in (("good", (2, 2, 1)), ("bad", (100, 2, 1))):
            (tmp_path / f"{name}.json").write_bytes(report_bytes(sample_report(header=header, flagged=flagged)))
        good, bad = ["--report", str(tmp_path / "good.json")], ["--report", str(tmp_path / "bad.json")]
        assert run(["verify", str(model), *good]) == 0
        assert run(["verify", str(model), *good, *bad]) == 1
        assert run(["verify", str(model), *bad, *good]) == 1

    def test_verify_looks_at_the_weights_beside_a_model(self, tmp_path, capsys):
        model = tmp_path / "m.onnx"
        onnx.save(conv_net(), model, save_as_external_data=True, location="weights", size_threshold=0)
        lines = [
            f"{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}  {name}\n" for name in ("m.onnx", "weights")
        ]
        digest = hashlib.sha256("".join(lines).encode()).hexdigest()
        header = sample_header(model=sample_header().model.model_copy(update={"sha256": digest}))
        (tmp_path / "r.json").write_bytes(report_bytes(sample_report(header=header, flagged=(2, 2, 1))))
        verify = ["verify", str(model), "--report", str(tmp_path / "r.json")]
        assert run(verify) == 0
        weights = bytearray((tmp_path / "weights").read_bytes())
        weights[7] ^= 1
        (tmp_path / "weights").write_bytes(weights)
        assert run(verify) == 1
        (tmp_path / "weights").unlink()
        assert run(verify) == 1
        assert "NOT in any report" in capsys.readouterr().out


@pytest.fixture(scope="module")
def inputs(demo_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    clean = folder / "clean"
    clean.mkdir()
    for image in sorted((demo_files / "ref").rglob("*.png"))[::3]:
        shutil.copy(image, clean / f"{image.parent.name}-{image.name}")
    (folder / "broken").mkdir()
    (folder / "broken" / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "empty").mkdir()
    places = {name: folder / name for name in ("broken", "empty", "absent")}
    return {"bad": demo_files / "inputs", "clean": clean, **places}


class TestExitCodesByFormat:
    """The same exit code whatever the format, and nothing written where there is no verdict."""

    @pytest.mark.parametrize(("kind", "code"), [("bad", 1), ("clean", 0), ("broken", 3), ("empty", 3), ("absent", 2)])
    @pytest.mark.parametrize("suffix", [form.suffixes[0] for form in FORMATS])
    def test_exit_code(self, inputs, demo_profile, tmp_path, monkeypatch, capsys, kind, code, suffix):
        monkeypatch.chdir(tmp_path)
        out = tmp_path / f"out{suffix}"
        arguments = ["scan", str(inputs[kind]), "--profile", str(demo_profile), "--report", str(out), "-q"]
        assert run(arguments) == code
        assert out.exists() == (code != 2)

    def test_identical_bytes_with_source_date_epoch(self, inputs, demo_profile, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        contents = []
        for _ in range(2):
            names = [f"out{form.suffixes[0]}" for form in FORMATS]
            arguments = ["scan", str(inputs["bad"]), "--profile", str(demo_profile), "-q"]
            assert run([*arguments, *(part for name in names for part in ("--report", name))]) == 1
            contents.append([(tmp_path / name).read_bytes() for name in names])
        assert contents[0] == contents[1]
        values = json.loads(contents[0][0])
        assert len(values["gallery"]) == 24
        assert all(item["picture"] and item["nearest"]["picture"] for item in values["gallery"])
        rows = {row["index"]: row for row in values["top_inputs"]}
        for item in values["gallery"]:
            assert item["nearest"]["class_index"] == rows[item["index"]]["predicted"]
        assert sum(values["distributions"]["scanned"]) == values["inputs"]["scanned"]
        assert sum(values["distributions"]["p_values"]) == values["inputs"]["scanned"]
        assert sum(values["distributions"]["calibration"]) == values["calibration"]["size"]


def test_checks_that_failed_without_consequence_are_not_passed():
    report = full_report("accepted")
    (check,) = [check for check in report.checks if check.id == "LS100"]
    assert check.status is CheckStatus.FAILED


class TestSettingsOfOthers:
    """A configuration file at or below what is scanned was put there by somebody else."""

    @pytest.mark.parametrize("name", ["latentscan.toml", "pyproject.toml"])
    @pytest.mark.parametrize("inside", ["", "deep/er"])
    def test_is_not_read(self, tmp_path, name, inside):
        foreign = tmp_path / "vendor"
        start = foreign / inside
        start.mkdir(parents=True)
        table = "[tool.latentscan]\n" if name == "pyproject.toml" else ""
        (start / name).write_text(table + 'fail-on = "never"\n')
        policy = resolve({}, None, {}, start, foreign=[foreign])
        assert policy.config is None
        assert policy.values["fail-on"] == "high"
        assert policy.passed_over == (start.resolve() / name,)
        assert resolve({}, start / name, {}, start, foreign=[foreign]).values["fail-on"] == "never"

    def test_the_own_one_above_counts_whatever_a_stranger_puts_below(self, tmp_path):
        foreign = tmp_path / "vendor"
        (foreign / ".git").mkdir(parents=True)
        (foreign / "latentscan.toml").write_text('fail-on = "never"')
        (tmp_path / "latentscan.toml").write_text('fail-on = "low"')
        assert resolve({}, None, {}, foreign, foreign=[foreign]).values["fail-on"] == "low"

    def test_through_links(self, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / "latentscan.toml").write_text('fail-on = "never"')
        (tmp_path / "link").symlink_to("real")
        for start, foreign in (("link", "real"), ("real", "link")):
            found = resolve({}, None, {}, tmp_path / start, foreign=[tmp_path / foreign])
            assert found.config is None

    def test_which_folders_those_are(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "in").mkdir()
        image = tmp_path / "in" / "a.png"
        image.write_bytes(b"")
        assert foreign_folders(tmp_path / "in", None, None) == [tmp_path / "in"]
        assert foreign_folders(image, None, "modelscan.h5") == [tmp_path / "in"]
        assert tmp_path / "m" in foreign_folders(image, tmp_path / "m" / "model.pt", None)
        assert Path("p") in foreign_folders(image, None, "p/x.h5")

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ('fail-on = "never"', "fail-on is never instead of high"),
            ('fail-on = "critical"', "fail-on is critical instead of high"),
            ("max-unreadable = 0.5", "max-unreadable is 0.5 instead of 0.1"),
            ("alpha = 0.001", "alpha is 0.001 instead of 0.01"),
            ('fail-on = "low"', None),
            ("max-unreadable = 0.0\nalpha = 0.05", None),
        ],
    )
    def test_a_looser_gate_is_named(self, tmp_path, text, says):
        (tmp_path / "latentscan.toml").write_text(text)
        found = resolve({}, None, {}, tmp_path).loosened
        assert found == (None if says is None else f"The gate is loosened by latentscan.toml: {says}.")
        flags = {"fail-on": "high", "max-unreadable": 0.1, "alpha": 0.01}
        assert resolve(flags, None, {}, tmp_path).loosened is None
