"""The HTML page in a real browser: nothing leaves it, its script works, it fits a phone, and it is accessible."""

from __future__ import annotations

import pytest
from browser import MISSING, axe_source, chromium, look_like, requests
from full_reports import full_report

from scanner.report.html import html_bytes

pytestmark = [
    pytest.mark.skipif(MISSING, reason="Chromium and its driver are not installed"),
    pytest.mark.filterwarnings("default"),
]

HOSTILE = '"><img src=http://x.invalid/a.png onerror="window.hit=1"></script><script>window.hit=1</script>'


@pytest.fixture(scope="module")
def driver():
    with chromium() as started:
        yield started


def opened(driver, tmp_path, report):
    page = tmp_path / "out.html"
    page.write_bytes(html_bytes(report))
    look_like(driver, width=1280)
    driver.get_log("browser")
    requests(driver)
    driver.get(page.as_uri())
    return driver


@pytest.mark.parametrize("kind", ["critical", "clean", "accepted", "inconclusive", "nothing"])
def test_nothing_leaves_the_page_and_nothing_is_blocked(driver, tmp_path, kind):
    opened(driver, tmp_path, full_report(kind))
    assert requests(driver) == []
    assert [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def test_hostile_names_run_nothing(driver, tmp_path):
    opened(driver, tmp_path, full_report(name=HOSTILE, klass=HOSTILE, reason=HOSTILE))
    assert driver.execute_script("return window.hit") is None
    assert requests(driver) == []
    assert HOSTILE[:20] in driver.find_element("css selector", "main").text


def test_what_slipped_through_could_not_run(driver, tmp_path):
    """The policy holds even where markup got into the page."""
    page = tmp_path / "out.html"
    text = html_bytes(full_report()).decode()
    page.write_text(text.replace("<main>", f"<main>{HOSTILE[2:]}", 1))
    driver.get(page.as_uri())
    assert driver.execute_script("return window.hit") is None
    driver.get_log("browser")


def test_sorting_and_filtering(driver, tmp_path):
    from selenium.webdriver.support.wait import WebDriverWait

    opened(driver, tmp_path, full_report(count=5))
    rows = "section[aria-labelledby=h-inputs] tbody tr"
    head = driver.find_elements("css selector", "section[aria-labelledby=h-inputs] th button")[1]
    first = driver.find_element("css selector", rows).text
    head.click()
    head.click()
    assert driver.find_element("css selector", rows).text != first
    driver.find_element("id", "filter-text").send_keys("3-cat")
    shown = [row for row in driver.find_elements("css selector", rows) if row.is_displayed()]
    cards = [card for card in driver.find_elements("css selector", "#gallery > li") if card.is_displayed()]
    assert (len(shown), len(cards)) == (1, 1)
    driver.find_element("css selector", "#raw summary").click()
    # The text is filled in by the event of opening, which comes after the click.
    raw = driver.find_element("id", "raw-text")
    assert WebDriverWait(driver, 10).until(lambda _: "report_digest" in raw.text)


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_screen(driver, tmp_path, width):
    opened(driver, tmp_path, full_report(name="a" * 300))
    look_like(driver, width=width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    for table in driver.find_elements("css selector", ".scroll"):  # and no table has to be moved sideways
        inside, room = driver.execute_script("return [arguments[0].scrollWidth, arguments[0].clientWidth]", table)
        assert inside <= room, table.get_attribute("aria-labelledby")


@pytest.mark.parametrize("kind", ["critical", "clean", "accepted", "inconclusive"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_accessible(driver, tmp_path, kind, dark, width):
    source = axe_source()
    if source is None:
        pytest.skip("axe-core is not installed: npm install axe-core, or name its axe.min.js in AXE_CORE")
    opened(driver, tmp_path, full_report(kind))
    look_like(driver, width=width, dark=dark)
    driver.execute_script(source)
    result = driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    found = [
        (one["id"], one["impact"], [node["html"][:120] for node in one["nodes"][:3]]) for one in result["violations"]
    ]
    assert [one for one in found if one[1] in ("serious", "critical")] == []
    assert len(result["passes"]) > 15
