"""Committed figures exist, name their machine and come from the committed scripts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from scipy import stats

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "name",
    [
        "reference/results/cli.json",
        "reference/results/densities.json",
        "reference/results/bayesian.json",
        "reference/results/real_networks_before.json",
        "reference/results/real_networks.json",
        "reference/results/one_kind.json",
        "reference/results/audit_cifar.json",
        "reference/results/audit_cifar_others.json",
        "reference/results/audit_handover.json",
        "reference/results/audit_one_class.json",
        "reference/results/audit_real.json",
        "reference/results/audit_sizes.json",
        "reference/results/error_rate.json",
        "reference/results/batch_test.json",
        "benchmarks/results/cpu.json",
        "benchmarks/results/bayesian_cpu.json",
        "benchmarks/results/shards.json",
        "benchmarks/results/worker_scaling.json",
        "benchmarks/results/listing_memory.json",
        "benchmarks/results/decode.json",
        "benchmarks/results/fit.json",
        "benchmarks/results/io_binding.json",
        "benchmarks/results/draw_stopping.json",
        "benchmarks/results/draw_shapes.json",
        "benchmarks/results/draw_bound.json",
        "benchmarks/results/start.json",
    ],
)
def test_results_name_machine_and_versions(name: str) -> None:
    text = (ROOT / name).read_text()
    result = json.loads(text)
    assert "machine" in result
    assert "torch" in text


def test_two_workers_are_as_fast_as_the_page_says() -> None:
    result = json.loads((ROOT / "benchmarks/results/worker_scaling.json").read_text())
    page = " ".join((ROOT / "docs/performance.md").read_text().split())
    seconds = [round(sorted(turn[workers]["wall_s"] for turn in result["turns"])[1]) for workers in "12"]
    assert f"{result['chunks']} chunks took one worker {seconds[0]} seconds and two {seconds[1]}" in page
    low, high = min(result["efficiency"]), max(result["efficiency"])
    assert f"an efficiency of {result['median_efficiency']:.2f} ({low:.2f} to {high:.2f})" in page


def test_readme_figures_are_those_of_the_result_file() -> None:
    models = json.loads((ROOT / "reference/results/cli.json").read_text())["models"]
    readme = (ROOT / "README.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in readme.splitlines() if line.startswith("| ")}
    names = ("mnist-four-pixels-10-seed0", "cifar10-square-10-seed0")
    default = [models[name]["recipes"]["default"]["all"] for name in names]
    paper = [models[name]["recipes"]["paper"]["all"] for name in names]
    for line, values in (
        ("AUPR, default detector", [f"{100 * d['aupr']:.2f}" for d in default]),
        ("AUPR, the paper's recipe in this tool", [f"{100 * d['aupr']:.2f}" for d in paper]),
        ("AUROC, default", [f"{100 * d['auroc']:.2f}" for d in default]),
        ("triggered inputs flagged at alpha = 0.01", [f"{100 * d['detection_rate']:.1f}%" for d in default]),
        ("clean inputs flagged at alpha = 0.01", [f"{100 * d['false_alarm_rate']:.2f}%" for d in default]),
    ):
        assert [cell.strip(" *") for cell in rows[line].split("|")[2:4]] == values


def test_the_table_of_costs_is_that_of_the_result_file() -> None:
    networks = json.loads((ROOT / "benchmarks/results/bayesian_cpu.json").read_text())["networks"]
    lines = (ROOT / "docs/performance.md").read_text().splitlines()
    layers = {"all": "all layers", "last-stage": "last stage", "3": "last 3", "1": "last 1"}
    rows = []
    for network, name in (("resnet20", "ResNet-20 at 32"), ("resnet18", "ResNet-18 at 224")):
        for which, shown in layers.items():
            found = networks[network][which]
            low, high = found["ratio_range"]
            span = f" ({low:.3g} to {high:.3g})" if networks[network]["repeats"] > 1 else ""
            kept = "yes" if found["draws_in_memory"] else "no"
            ratio, aim = f"{found['ratio']:.3g}{span}", found["aim"] or "-"
            least, seconds = f"{found['ratio_of_multiplications']:.3g}", f"{found['seconds_per_1000_images']:.1f}"
            rows.append(f"| {name}, {shown} | {ratio} | {least} | {aim} | {seconds} | {kept} |")
    first = lines.index(rows[0])
    assert lines[first : first + len(rows)] == rows


def rows_of_parts() -> list[str]:
    """The table of docs/performance.md about scans in parts, as the result file has it."""
    found = json.loads((ROOT / "benchmarks/results/shards.json").read_text())
    total, chunks = found["disturbed"]["merge"]["total"], found["inputs"]["chunks"]
    few, ray = found["few"], found["ray"]

    def cost(step: str) -> str:
        seconds = found["undisturbed"][step]["cpu_s"]
        return f"{1e6 * seconds / total:.0f} us of CPU an input, {1000 * seconds / chunks:.0f} ms a chunk"

    workers = found["by_workers"]["1"]["cpu_s"] / found["by_workers"]["2"]["cpu_s"]
    efficiency = found["scheduler_efficiency"]
    return [
        f"| `plan` | {cost('plan')} |",
        f"| scoring these tiny images | {cost('run')} |",
        f"| a finished chunk onto the disk and under its name | {found['commit_ms_a_chunk']:.0f} ms a chunk |",
        f"| `merge`, with a file of rows | {cost('merge')} |",
        f"| peak memory of a worker, {few['merge']['total']:,} and {total:,} inputs "
        f"| {few['run']['peak_worker_mib']:.0f} and {found['disturbed']['run']['peak_worker_mib']:.0f} MiB |",
        f"| peak memory of `merge`, the same | {few['merge']['peak_mib']:.0f} and "
        f"{found['disturbed']['merge']['peak_mib']:.0f} MiB |",
        f"| bytes of a chunk, an input | {found['bytes_of_all_chunks'] / total:.0f} |",
        f"| CPU of one worker by that of two, the same {found['by_workers']['chunks']} chunks | {workers:.2f} |",
        f"| efficiency of handing out chunks, workers that sleep: {', '.join(sorted(efficiency, key=int))} | "
        f"{', '.join(f'{efficiency[count]:.3f}' for count in sorted(efficiency, key=int))} |",
        f"| Ray {ray['version']}, to ask an actor for a chunk | {ray['ms_a_chunk']} ms "
        f"({ray['ms_a_chunk_95_percent']} ms of 95%) |",
        f"| the same, to start an actor, once a worker | {ray['actor_start_s']} s |",
    ]


def test_the_table_of_scans_in_parts_is_that_of_the_result_file() -> None:
    found = json.loads((ROOT / "benchmarks/results/shards.json").read_text())
    assert found["same_chunks"]
    assert found["same_report"]
    assert found["same_rows"]
    assert found["disturbed"]["run"]["kills"] >= 10
    inputs = found["inputs"]
    assert found["disturbed"]["merge"]["repeated"] == inputs["distinct"] * (inputs["names"] - 1)
    lines = (ROOT / "docs/performance.md").read_text().splitlines()
    rows = rows_of_parts()
    first = lines.index(rows[0])
    assert lines[first : first + len(rows)] == rows


def test_ten_million_names_fit_into_a_gibibyte() -> None:
    found = json.loads((ROOT / "benchmarks/results/listing_memory.json").read_text())
    text = " ".join((ROOT / "docs/performance.md").read_text().split())
    for kind in ("manifest", "bucket"):
        assert found[kind]["mib_for_ten_million"] < 1024
        assert f"{found[kind]['many']['peak_mib']:.0f} MiB" in text
    expected = [f"{found[kind]['mib_for_ten_million']:,}" for kind in ("manifest", "bucket")]
    assert f"ten million take {expected[0]} and {expected[1]} MiB" in text


def test_what_binding_memory_saves_is_that_of_the_result_file() -> None:
    networks = json.loads((ROOT / "benchmarks/results/io_binding.json").read_text())["networks"]
    text = " ".join((ROOT / "docs/performance.md").read_text().split())
    (few, (low, high)), (other, (least, most)) = (
        (networks[name]["bound_by_arrays"], networks[name]["quartiles"]) for name in ("resnet20", "resnet18")
    )
    assert f"takes {few:.3f} of the CPU seconds that it takes without (quartiles {low:.3f} to {high:.3f})" in text
    assert f"ResNet-18 at 224 takes {other:.3f} ({least:.3f} to {most:.3f})" in text


def test_the_table_of_weight_draws_is_that_of_the_result_file() -> None:
    from reference.compare_bayesian import table

    models = json.loads((ROOT / "reference/results/bayesian.json").read_text())["models"]
    lines = (ROOT / "docs/measurements.md").read_text().splitlines()
    assert len(models) == 2
    for model in models.values():
        rows = table(model)
        assert len(rows) == 13
        first = lines.index(rows[0])
        assert lines[first : first + len(rows)] == rows


def test_the_tables_of_false_alarms_are_those_of_the_result_files() -> None:
    from reference.error_rate import batch_table, summary, table

    grid, batches = (
        json.loads((ROOT / "reference/results" / name).read_text()) for name in ("error_rate.json", "batch_test.json")
    )
    text = (ROOT / "docs/measurements.md").read_text()
    assert "\n".join(table(grid)) in text
    assert "\n".join(batch_table(batches)) in text
    # One in two hundred lies above its 99% interval by chance.
    found = summary(grid)["combined"]
    assert stats.binom.sf(found["above"] - 1, sum(found.values()), 0.005) > 0.05


def test_the_table_of_audits_of_a_real_network_is_that_of_the_result_file() -> None:
    from reference.audit_real import table

    result = json.loads((ROOT / "reference/results/audit_real.json").read_text())
    assert "\n".join(table(result)) in (ROOT / "docs/audit.md").read_text()


def test_the_table_of_patterns_handed_over_is_that_of_the_result_file() -> None:
    from reference.audit_handover import table

    networks = json.loads((ROOT / "reference/results/audit_handover.json").read_text())["networks"]
    assert "\n".join(table(networks)) in (ROOT / "docs/audit.md").read_text()


def test_the_tables_of_pairs_and_of_sizes_are_those_of_the_result_files() -> None:
    from reference import audit_one_class_summary, audit_sizes

    pairs, sizes = (
        json.loads((ROOT / f"reference/results/audit_{name}.json").read_text()) for name in ("one_class", "sizes")
    )
    text = (ROOT / "docs/audit.md").read_text()
    for table in (audit_one_class_summary.development, audit_one_class_summary.of_the_test):
        assert "\n".join(table(pairs["networks"])) in text
    for line in (audit_one_class_summary.beside_all, audit_one_class_summary.alarms, audit_one_class_summary.of_halves):
        assert line(pairs["networks"]) in text
    audited = json.loads((ROOT / "reference/results/audit.json").read_text())["networks"]
    assert "\n".join(audit_one_class_summary.about_all(pairs["networks"], audited)) in text
    assert "\n".join(audit_sizes.table(sizes)) in text


def test_the_tables_of_networks_for_colour_images_are_those_of_the_result_files() -> None:
    from reference import audit_cifar_halves, audit_cifar_others, audit_cifar_summary

    measured, others, halves = (
        json.loads((ROOT / f"reference/results/audit_{name}.json").read_text())["networks"]
        for name in ("cifar", "cifar_others", "cifar_halves")
    )
    text = (ROOT / "docs/audit.md").read_text()
    for table in (audit_cifar_summary.of_the_test, audit_cifar_summary.by_group, audit_cifar_summary.usual):
        assert "\n".join(table(measured)) in text
    told = ("development", "alarms", "accuracies", "costs")
    for name in told:
        assert getattr(audit_cifar_summary, name)(measured) in text
    assert "\n".join(audit_cifar_others.table(others, measured)) in text
    assert "\n".join(audit_cifar_halves.table(halves, measured)) in text


def test_the_clean_networks_that_are_shipped_are_those_of_the_result_files() -> None:
    from reference.audit_shipped import content

    digits, colour = (
        json.loads((ROOT / f"reference/results/audit_{name}.json").read_text())["networks"]
        for name in ("one_class", "cifar")
    )
    assert (ROOT / "scanner/auditing/clean_networks.json").read_text() == content(digits, colour)


def test_the_table_of_one_kind_is_that_of_the_result_file() -> None:
    from reference.one_kind import table

    result = json.loads((ROOT / "reference/results/one_kind.json").read_text())
    assert "\n".join(table(result)) in (ROOT / "docs/measurements.md").read_text()


def test_the_table_of_real_networks_is_that_of_the_result_file() -> None:
    from reference.real_networks import TRAINED, table

    names = ("real_networks_before.json", "real_networks.json")
    before, result = (json.loads((ROOT / "reference/results" / name).read_text()) for name in names)
    lines = (ROOT / "docs/measurements.md").read_text().splitlines()
    rows = table(before, result)
    assert set(TRAINED) <= set(result["networks"])
    first = lines.index(rows[0])
    assert lines[first : first + len(rows)] == rows


def fit_table() -> str:
    """The costs of whole fits, before and now."""
    rows = []
    for name, found in json.loads((ROOT / "benchmarks/results/fit.json").read_text())["cases"].items():
        plain, now, before = found["plain"], found["fit"], found.get("before")
        ratio = found["cpu_seconds_against_plain"]["fit"]["median"]
        seconds, peak = (f"{before['cpu_seconds']:,.1f}", f"{before['peak_mib']:.0f}") if before else ("-", "-")
        cells = f"{plain['cpu_seconds']:,.1f} | {seconds} | {now['cpu_seconds']:,.1f} | {ratio:.2f} | {peak}"
        rows.append(f"| {name} | {cells} | {now['peak_mib']:.0f} |\n")
    return "".join(rows)


def stopping_table() -> str:
    """For which shares of inputs some weight draws decide what all of them say."""
    rows = []
    for model, groups in json.loads((ROOT / "benchmarks/results/draw_stopping.json").read_text())["models"].items():
        run, variant = model.split(", ")
        for group, found in groups.items():
            ranks, ps = (found[what]["decided_after"] for what in ("rank of bald", "p-value"))
            cells = [
                f"{ranks['30']:.1%}",
                f"{ranks['39']:.1%}",
                *(f"{ps[done]:.1%}" for done in ("0", "20", "30", "39")),
            ]
            rows.append(f"| {run.split('-')[0]}, {variant}, {group} | {' | '.join(cells)} |\n")
    return "".join(rows)


def shapes_table() -> str:
    """What other ways to compute draws take."""
    rows = []
    for name, found in json.loads((ROOT / "benchmarks/results/draw_shapes.json").read_text())["stages"].items():
        ratios = [
            found[what]["ratio"] for what in ("stacked", "grouped", "winograd", "transform", "drawing", "loading")
        ]
        rows.append(f"| {name} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |\n")
    return "".join(rows)


def cpu_table() -> str:
    """The costs of scans, of fits beside them, of starting and of memory."""
    found = json.loads((ROOT / "benchmarks/results/cpu.json").read_text())
    large, small = found["networks"]
    few, many = found["memory"].items()

    def ratio(compared: Mapping[str, float]) -> str:
        return f"{compared['ratio']:.2f} ({compared['ratio_min']:.2f} to {compared['ratio_max']:.2f})"

    def peaks(command: str) -> str:
        return f"{few[1][f'{command}_peak_mib']} and {many[1][f'{command}_peak_mib']} MiB"

    def seconds(started: str) -> str:
        return f"{found['start_up'][started]['median_seconds']:.2f} s"

    scan, fit, pipeline = "scan_against_plain_inference", "fit", "pipeline_against_decode_plus_inference"
    counts = f"{int(few[0]):,} and {int(many[0]):,} inputs"
    against = "`scan` against plain ONNX Runtime inference"
    rows = [
        (f"{against}, ResNet-18 at {large['size']}", ratio(large[scan]), "1.05"),
        (f"the same, ResNet-20 at {small['size']}", ratio(small[scan]), "1.20"),
        (
            "pipeline on 500-pixel JPEG files against decoding alone plus inference alone",
            ratio(found["pipeline"][pipeline]),
            "-",
        ),
        ("`modelscan --help`, whole process", seconds("help"), "0.4 s"),
        ("`modelscan scan` of 8 images with ResNet-18, whole process", seconds("scan_8_images_resnet18"), "1.5 s"),
        *(
            (
                f"`fit` against one plain pass, {name}, {each[fit]['references']} images",
                f"{each[fit]['ratio']:.2f}",
                "1.5",
            )
            for name, each in (("ResNet-18", large), ("ResNet-20", small))
        ),
        (f"peak memory of `scan`, ResNet-20, {counts}", peaks("scan"), "flat"),
        ("peak memory of `fit`, the same numbers of images", peaks("fit"), "flat"),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def start_table() -> str:
    """What starting costs, before and now."""
    rows = []
    for name, found in json.loads((ROOT / "benchmarks/results/start.json").read_text())["cases"].items():
        low, high = found["range"]
        seconds = " | ".join(f"{found[version]['cpu_seconds']:.2f}" for version in ("before", "now"))
        shown = f"`{name}`" if name.startswith(("--", "import")) else name
        rows.append(f"| {shown} | {seconds} | {found['ratio']:.2f} ({low:.2f} to {high:.2f}) |\n")
    return "".join(rows)


def bound_table() -> str:
    """What weight draws cost at least."""
    rows = []
    for name, found in json.loads((ROOT / "benchmarks/results/draw_bound.json").read_text())["networks"].items():
        fewer, (low, high) = found["fewer"], found["range"]
        rates = f"{found['plain']:.0f} | {found['fastest']:.0f}"
        least = f"{found['least']:.2f} ({low:.2f} to {high:.2f})"
        other = " | ".join(f"{fewer[what]:.2f}" for what in ("products", "whole", "transform"))
        rows.append(f"| {name} | {found['ratio_of_multiplications']:.3f} | {rates} | {least} | {other} |\n")
    return "".join(rows)


TABLES = {
    "start": start_table,
    "bound": bound_table,
    "cpu": cpu_table,
    "fit": fit_table,
    "stopping": stopping_table,
    "shapes": shapes_table,
}


@pytest.mark.parametrize(("name", "table"), TABLES.items())
def test_a_table_of_costs_is_that_of_its_result_file(name: str, table: Callable[[], str]) -> None:
    page = ROOT / "docs/performance.md"
    head, start, rest = page.read_text().partition(f"<!-- {name}: begin -->\n")
    rows, end, tail = rest.partition(f"<!-- {name}: end -->\n")
    titles = "".join(rows.splitlines(keepends=True)[:2])
    written = head + start + titles + table() + end + tail
    if os.environ.get("LATENTSCAN_UPDATE_GOLDEN"):
        page.write_text(written)
    assert page.read_text() == written
