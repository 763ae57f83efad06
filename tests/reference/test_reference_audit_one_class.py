"""Networks with a backdoor in one class: which are measured, and how figures come from records."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np

from reference import audit_one_class
from reference.audit_attacks import CLEAN
from reference.audit_networks import Made
from reference.audit_one_class import ATTACK, FURTHER, FURTHER_CLEAN, NotSearchedError, networks, run
from reference.audit_one_class_summary import (
    CLASSES,
    GROUPS,
    alarms,
    beside_all,
    compared,
    development,
    known_clean,
    looks,
    matched,
    moved,
    of_halves,
    of_the_test,
    statistics,
)
from reference.audit_panel import panel
from reference.audit_shipped import digits, written


def test_further_networks_are_of_seeds_that_nothing_else_has():
    found = list(networks())
    assert len({made.name for _, made in found}) == len(found)
    known = {(made.attack, made.seed) for _, made in panel("mnist")}
    further = [(part, made) for part, made in found if (made.attack, made.seed) not in known]
    expected = {(part, ATTACK, one) for part in FURTHER for one in FURTHER[part]}
    expected |= {("further", CLEAN, one) for one in FURTHER_CLEAN}
    assert {(part, made.attack, made.seed) for part, made in further} == expected
    parts = [part for part, _ in found]
    assert parts == sorted(parts, key=lambda part: part != "development")


def records() -> list[dict[str, object]]:
    """Sixty clean networks to compare with, 20 others, and 12 of which one pair of classes is moved."""
    generator = np.random.default_rng(0)
    parts = [("development", "clean", 20), ("null", "clean", 40), ("test", "clean", 20)]
    parts += [("development", ATTACK, 2), ("test", ATTACK, 5), ("further", ATTACK, 5)]
    found: list[dict[str, object]] = []
    for part, attack, count in parts:
        for number in range(count):
            pairs = [[1, 7, round(float(generator.uniform(0.7, 0.95)), 4)], [4, 9, float(generator.uniform(0, 0.5))]]
            pairs += [] if attack == "clean" else [[2, 3, 0.9]]
            found.append(
                {
                    "part": part,
                    "name": f"{part}-{attack}-{number}",
                    "attack": attack,
                    "source": None if attack == "clean" else 2,
                    "target": None if attack == "clean" else 3,
                    "accuracy": 0.97,
                    "attack_success_rate": None if attack == "clean" else 0.95 if number else 0.6,
                    "seconds": 5.0,
                    "passes": 40_000,
                    "statistics": generator.uniform(0, 0.3, 6).round(4).tolist(),
                    "look": [33.0, 78.0],
                    "pairs": pairs,
                    "looks": (10 * np.eye(CLASSES, 16)).astype(int).tolist(),
                }
            )
    return found


def test_figures_are_those_of_the_records():
    measured = records()
    clean = statistics(known_clean(measured))
    assert clean.shape == (60, sum(GROUPS))
    assert moved(measured[-1])[2, 3] == 0.9
    found = compared(measured[-1], clean)
    assert found["pairs"].p_value == 1 / 61
    assert found["both"].p_value <= 2 / 61
    assert found["both"].loudest == GROUPS[0] + 2 * CLASSES + 3
    alarms, worked, less = list(of_the_test(measured))
    assert "| 8 of 8 (0.63 to 1.00) | 8 of 8 (0.63 to 1.00) | 8 | 8 |" in worked
    assert less.endswith("| 2 of 2 (0.16 to 1.00) | 2 of 2 (0.16 to 1.00) | 2 | 2 |")
    assert alarms.count(" of 20 (") == 3
    assert alarms.endswith("| 0 |  |")
    any_pair, same_pair = development(measured)
    assert "| 0.90, 0.90 | 1.00 |" in same_pair or same_pair.endswith("1.00 |")
    assert not any_pair.endswith("1.00 |")
    assert matched(measured) == len(measured)
    assert looks(measured).shape == (CLASSES, 16)


def test_all_clean_networks_are_what_others_are_compared_with_in_the_end():
    measured = records()
    assert beside_all(measured).startswith("| the same beside all 80 clean networks | ")
    assert " 8 of 8 (0.63 to 1.00) | 8 | 8 |" in beside_all(measured)
    told = of_halves(measured, 40)
    assert told.startswith("Of 40 clean networks beside 40 others, over 40 halvings: ")
    # Exact, whatever the networks: two of the 41 in a pool of one input and forty others are at most 0.05.
    assert abs(float(told.split("halvings: ")[1].split()[0]) - 40 * 2 / 41) < 1.5


def test_alarms_are_counted_by_part_beside_what_chance_does():
    told = alarms(records())
    assert told.startswith("test ")
    assert " of 20; further 0 of 0; expected 1.0, " in told  # three of 61 decide, 20 * 3 / 61
    assert told.endswith(" of 20 beside the others")


def test_a_backdoor_that_never_works_counts_as_one_that_works_less():
    measured = records()
    backdoored = [one for one in measured if one["part"] == "test" and one["attack"] != CLEAN]
    backdoored[0]["attack_success_rate"] = 0.0
    worked, less = (int(row.split(" of ")[1].split(" ")[0]) for row in list(of_the_test(measured))[1:])
    assert worked + less == sum(one["attack"] != CLEAN and one["part"] != "development" for one in measured)


def test_the_clean_networks_are_written_a_row_a_line():
    text = written({"tables": [digits(records())]})
    (table,) = json.loads(text)["tables"]
    assert len(table["networks"]) == len(table["pairs"]) == sum(one["attack"] == CLEAN for one in records())
    assert table["looks"][0][:2] == [10, 0]
    assert len(text.splitlines()) < 200


def test_a_network_that_cannot_be_searched_is_left_out_by_name_and_not_tried_again(monkeypatch, tmp_path, capsys):
    tried: list[str] = []

    def measure(part, made, *rest):
        tried.append(made.name)
        if made.seed == 1:
            raise NotSearchedError("predicts some class for too few of the clean pictures")
        return {"part": part, "name": made.name, "seconds": 1.0}

    out = tmp_path / "out.json"
    monkeypatch.setattr(audit_one_class, "measure", measure)
    monkeypatch.setattr(audit_one_class, "panel_data", lambda name, folder: SimpleNamespace(title="digits"))
    arguments = ["x", "--data-dir", str(tmp_path), "--networks", str(tmp_path), "--out", str(out)]
    monkeypatch.setattr("sys.argv", arguments)
    for _ in range(2):
        assert run("Measure.", [("test", Made("mnist", ATTACK, seed)) for seed in range(3)], lambda found: []) == 0
    assert tried == [Made("mnist", ATTACK, seed).name for seed in range(3)]
    result = json.loads(out.read_text())
    assert [one["name"] for one in result["networks"]] == [tried[0], tried[2]]
    (left_out,) = result["left_out"]
    assert (left_out["part"], left_out["name"], left_out["attack"]) == ("test", tried[1], ATTACK)
    assert "too few" in left_out["why"]
