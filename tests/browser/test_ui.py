"""A person's way through the pages, in a real browser: Airflow's login, DAGs, grid and graph, then MLflow's pages.

Screenshots are kept in the folder `HAZY_SCREENSHOTS`, where that is set.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from hazy_pipeline.local.prepare import password
from tests.live import GENERATOR, Live, live

__all__ = ["live"]

pytestmark = [pytest.mark.browser, pytest.mark.end_to_end, pytest.mark.timeout(900)]

TRAIN = f"train__{GENERATOR}"
SECONDS = 60
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip

Keep = Callable[[Page, str], None]


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    """A fresh browser."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert found, "no Chromium on this machine: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(QUIET))
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.set_default_timeout(1000 * SECONDS)
        expect.set_options(timeout=1000 * SECONDS)
        yield context
        browser.close()


@pytest.fixture(scope="module")
def keep(tmp_path_factory: pytest.TempPathFactory) -> Keep:
    folder = Path(os.environ.get("HAZY_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)

    def save(page: Page, name: str) -> None:
        page.screenshot(path=folder / f"{name}.png")

    return save


@pytest.fixture(scope="module")
def airflow(live: Live, context: BrowserContext) -> Page:
    """Airflow's pages, logged in."""
    page = context.new_page()
    page.goto(live.layout.airflow_page)
    page.locator("input[name=username]").fill("admin")
    page.locator("input[name=password]").fill(password(live.layout))
    page.keyboard.press("Enter")
    page.wait_for_url(f"{live.layout.airflow_page}/")
    return page


@pytest.fixture(scope="module")
def run_page(live: Live) -> str:
    """The address of the run that `hazy start` followed."""
    with live.api() as api:
        run_id = next(run["dag_run_id"] for run in reversed(api.runs(TRAIN, "success")) if run["run_type"] == "manual")
    return f"{live.layout.airflow_page}/dags/{TRAIN}/runs/{run_id}"


def follow_link(context: BrowserContext, page: Page, name: str) -> Page:
    """Click a task's link, which opens a tab of its own."""
    with context.expect_page() as opened:
        page.get_by_role("link", name=name, exact=True).click()
    return opened.value


def test_a_wrong_password_is_refused(live: Live, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(live.layout.airflow_page)
    page.locator("input[name=username]").fill("admin")
    page.locator("input[name=password]").fill("guess")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("invalid|unauthorized|401", re.IGNORECASE)).first).to_be_visible()
    assert "/login" in page.url
    page.close()


def test_the_dags(live: Live, airflow: Page, keep: Keep) -> None:
    airflow.goto(f"{live.layout.airflow_page}/dags")
    for name in (TRAIN, f"watch__{GENERATOR}", "generate_data"):
        expect(airflow.get_by_role("link", name=name, exact=True)).to_be_visible()
    keep(airflow, "dags")


def test_the_grid_of_the_finished_run(airflow: Page, run_page: str, keep: Keep) -> None:
    airflow.goto(run_page)
    expect(airflow.get_by_text("Success").first).to_be_visible()
    for name in ("Extract", "Profile", "Decide", "Bayesian network", "GAN", "Select", "Evaluate", "Promote", "Verdict"):
        expect(airflow.get_by_text(name, exact=True).first).to_be_visible()
    keep(airflow, "grid")


def test_the_graph_of_the_finished_run(airflow: Page, run_page: str, keep: Keep) -> None:
    airflow.goto(run_page)
    expect(airflow.get_by_text("Verdict", exact=True).first).to_be_visible()
    airflow.locator('button[title*="raph"], button[aria-label*="raph"]').first.click()
    nodes = airflow.locator(".react-flow__node")
    expect(nodes.filter(has_text="Bayesian network").first).to_be_visible()
    expect(nodes.filter(has_text="Verdict").first).to_be_visible()
    expect(airflow.locator(".react-flow__edge").first).to_be_attached()
    keep(airflow, "graph")


def test_from_a_task_to_its_mlflow_run_and_report(
    live: Live, context: BrowserContext, airflow: Page, run_page: str, keep: Keep
) -> None:
    airflow.goto(f"{run_page}/tasks/evaluate/details")
    expect(airflow.get_by_role("link", name="Report", exact=True)).to_be_visible()
    keep(airflow, "task")
    run = follow_link(context, airflow, "MLflow run")
    expect(run.get_by_text("bayesian_network", exact=True).first).to_be_visible()
    expect(run.get_by_role("heading", name=re.compile(r"manual__")).first).to_be_visible()
    assert run.url.startswith(live.layout.mlflow_page)
    keep(run, "mlflow-run")
    run.close()

    report = follow_link(context, airflow, "Report")
    inside = report.frame_locator("iframe").first
    expect(inside.get_by_role("heading", name=GENERATOR).first).to_be_visible()
    expect(inside.get_by_text("real data reach").first).to_be_visible()
    keep(report, "report")
    report.close()


def test_from_the_profile_task_to_the_data_profile(
    context: BrowserContext, airflow: Page, run_page: str, keep: Keep
) -> None:
    airflow.goto(f"{run_page}/tasks/profile/details")
    profile = follow_link(context, airflow, "Data profile")
    expect(profile.frame_locator("iframe").first.get_by_text("income").first).to_be_visible()
    keep(profile, "profile")
    profile.close()


def test_tasks_of_others_have_no_empty_buttons(airflow: Page, run_page: str) -> None:
    airflow.goto(f"{run_page}/tasks/extract/details")
    expect(airflow.get_by_text("Task ID", exact=True).first).to_be_visible()
    assert airflow.get_by_role("link", name="Report", exact=True).count() == 0


def test_the_registered_model(live: Live, context: BrowserContext, airflow: Page, run_page: str, keep: Keep) -> None:
    airflow.goto(f"{run_page}/tasks/register/details")
    version = follow_link(context, airflow, "Model version")
    expect(version.get_by_text("Version 1").first).to_be_visible()
    keep(version, "version")
    version.goto(f"{live.layout.mlflow_page}/#/models/{GENERATOR}")
    expect(version.get_by_text(re.compile(r"@\s*champion")).first).to_be_visible()
    keep(version, "model")
    version.close()


def test_from_a_dag_to_its_registered_model(live: Live, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(f"{live.layout.airflow_page}/hazy/model/{TRAIN}")
    expect(page.get_by_text(re.compile(r"@\s*champion")).first).to_be_visible()
    assert page.url == f"{live.layout.mlflow_page}/#/models/{GENERATOR}"
    page.close()


def test_rows_by_the_form(live: Live, airflow: Page, keep: Keep) -> None:
    airflow.goto(f"{live.layout.airflow_page}/dags/generate_data")
    airflow.get_by_role("button", name="Trigger").first.click()
    dialog = airflow.get_by_role("dialog")
    expect(dialog.get_by_text("Generator").first).to_be_visible()
    expect(dialog.get_by_text(GENERATOR).first).to_be_visible()
    keep(airflow, "form")
    dialog.get_by_role("button", name="Trigger").last.click()
    expect(dialog).to_be_hidden()
    with live.api() as api:
        from tests.live import wait_until

        run = wait_until(lambda: next(iter(api.runs("generate_data")), None), seconds=SECONDS)
        wait_until(lambda: api.run_state("generate_data", run["dag_run_id"]) == "success", seconds=2 * SECONDS)
    (written,) = (live.layout.home / "generated").glob("*.csv")
    assert len(written.read_text(encoding="utf-8").splitlines()) == 1_001
