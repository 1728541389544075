"""A browser for the tests of pages; they are skipped where there is none."""

from __future__ import annotations

import importlib.util
import shutil

import pytest


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Headless Chromium, driven by selenium."""
    if importlib.util.find_spec("selenium") is None:
        pytest.skip("selenium is not installed")
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("chromium and chromedriver are not both installed")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("chromium")
    for argument in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "window-size=900,900", f"user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    yield driver
    driver.quit()


@pytest.fixture
def load(browser):
    """Function that opens a file in the browser; no page may report an error."""

    def opened(path):
        browser.get(path.as_uri())
        return browser

    browser.get_log("browser")  # What an earlier test left.
    yield opened
    errors = [row["message"] for row in browser.get_log("browser") if row["level"] == "SEVERE"]
    assert not errors, errors
