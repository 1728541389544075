"""Clips in the browser: what is drawn follows the slider, the legend and the labels."""

from __future__ import annotations

import html.parser
import re

import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.viz.video import class_color, video_fragment, video_html, write_page

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=document.title=1>"
LOADING = {"src", "href", "data", "poster", "srcset", "action", "xlink:href"}


class Links(html.parser.HTMLParser):
    """What a page would load."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in LOADING]


def loaded(path):
    page = path.read_text(encoding="utf-8")
    links = Links()
    links.feed(page)
    links.found += re.findall(r"@import|url\(|\bimport\(|fetch\(|XMLHttpRequest|//# source", page)
    return [link for link in links.found if not link.startswith("data:image/")]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def moving(rng, count=400, length=6):
    """A cloud that moves up, and the class of its left and right half."""
    cloud = rng.uniform(-1, 1, (count, 3))
    frames = [cloud + [0, 0.5 * t, 0] for t in range(length)]
    return frames, [(cloud[:, 0] > 0).astype(int)] * length


def pixels(driver):
    """Colors and heights of what is drawn, once drawing is over."""
    return driver.execute_async_script("""
        const done = arguments[arguments.length - 1], canvas = document.querySelector("canvas");
        requestAnimationFrame(() => requestAnimationFrame(() => {
          const { width, height } = canvas;
          const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
          let count = 0, blue = 0, orange = 0, crimson = 0, sum = 0;
          for (let i = 0; i < data.length; i += 4) {
            const [r, g, b] = [data[i], data[i + 1], data[i + 2]];
            if (data[i + 3] < 200 || Math.max(r, g, b) - Math.min(r, g, b) < 40) continue;
            count += 1; sum += (i / 4 / width) | 0;
            if (r > 200 && g < 60) crimson += 1;
            else if (b > r + 40) blue += 1;
            else if (r > b + 40) orange += 1;
          }
          done({ count, blue, orange, crimson, row: sum / count });
        }));""")


def slide(driver, frame):
    driver.execute_script(
        "const s = document.querySelector('input'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('input'));",
        frame,
    )


@pytest.mark.parametrize(("length", "limit"), [(24, 6e6), (150, 12e6)])
def test_a_page_is_small_and_loads_nothing(tmp_path, rng, length, limit):
    frames = rng.normal(size=(length, 2048, 4)).astype(np.float32)
    labels = rng.integers(-1, 8, (length, 2048))
    path = tmp_path / "new" / "clip.html"
    video_html(frames, path, labels=labels, errors=labels == 2, title="x")
    assert path.stat().st_size < limit / 3
    assert not loaded(path)
    assert "default-src 'none'" in path.read_text()


def test_slider_play_and_legend_change_the_picture(tmp_path, rng, load):
    frames, labels = moving(rng)
    errors = [np.arange(400) < 40] * 6
    video_html(
        frames,
        tmp_path / "clip.html",
        labels=labels,
        class_names=("left", "right"),
        errors=errors,
        times=np.arange(6) / 4,
        seconds_per_frame=0.05,
    )
    driver = load(tmp_path / "clip.html")
    first = pixels(driver)
    assert min(first["blue"], first["orange"], first["crimson"]) > 100
    slide(driver, 5)
    last = pixels(driver)
    assert last["row"] < first["row"] - 50, "the points have not moved up"
    assert "frame 6 of 6 · 1.25 s" in driver.find_element("tag name", "output").text

    buttons = driver.find_elements("css selector", ".cloud-legend button")
    assert [button.text for button in buttons] == ["left", "right", "wrong"]
    buttons[2].click()
    assert pixels(driver)["crimson"] == 0
    buttons[0].click()
    only_right = pixels(driver)
    assert only_right["blue"] == 0
    assert only_right["orange"] > 100
    buttons[0].click()
    assert pixels(driver)["blue"] > 100

    slide(driver, 0)
    button = driver.find_element("css selector", ".cloud-bar button")
    button.click()
    frame = "return document.querySelector('input').value"
    seen = {driver.execute_script(frame) for _ in range(30) if pixels(driver)}
    assert len(seen) > 2, "the clip does not play"
    assert button.text == "Pause"


def test_two_clips_on_a_page_play_apart_and_names_are_inert(tmp_path, rng, load):
    frames, _ = moving(rng)
    one = video_fragment(
        frames, labels=[0, 0, 1, 1, -1, -1], class_names=(HOSTILE, "b"), title=HOSTILE
    )
    two = video_fragment(frames, up_axis="z")
    write_page(tmp_path / "page.html", "safe " + HOSTILE, one + two)
    assert not loaded(tmp_path / "page.html")
    driver = load(tmp_path / "page.html")
    assert driver.title == "safe " + HOSTILE
    assert not driver.find_elements("tag name", "img")
    assert driver.find_element("tag name", "figcaption").text == HOSTILE
    names = driver.find_elements("css selector", ".cloud-legend button")
    assert [name.text for name in names] == [HOSTILE, "b", "no label"]
    slide(driver, 2)
    captions = [element.text for element in driver.find_elements("tag name", "output")]
    assert captions == ["frame 3 of 6 · b", "frame 1 of 6"]


def test_8192_points_redraw_more_than_ten_times_a_second(tmp_path, rng, load):
    frames = rng.uniform(-1, 1, (40, 8192, 3)).astype(np.float32)
    video_html(frames, tmp_path / "clip.html", labels=rng.integers(0, 8, (40, 8192)))
    rate = load(tmp_path / "clip.html").execute_async_script("""
        const done = arguments[0], slider = document.querySelector("input");
        (async () => {
          const start = performance.now();
          for (let t = 0; t < 40; t++) {
            slider.value = t;
            slider.dispatchEvent(new Event("input"));
            await new Promise((next) => requestAnimationFrame(next));
          }
          done(40000 / (performance.now() - start));
        })();""")
    assert rate > 10


def test_sixty_classes_have_different_colors():
    assert len({class_color(label) for label in range(60)}) == 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": []}, "no points"),
        ({"frames": [np.ones((2, 2))]}, "frame 0 is"),
        ({"frames": [np.full((2, 3), np.nan)]}, "not finite"),
        ({"labels": [0]}, "1 labels for 2 frames"),
        ({"labels": [[0], [0]]}, "one value for each point"),
        ({"labels": [0.5, 1.0]}, "must be integers"),
        ({"labels": [0, 3], "class_names": ("a", "b")}, "the class 3"),
        ({"errors": [[True], [True]]}, "one value for each point"),
        ({"errors": [[1] * 4, [0] * 4]}, "must be booleans"),
        ({"times": [0.0]}, "2 finite numbers"),
        ({"up_axis": "w"}, "up_axis"),
        ({"seconds_per_frame": 0}, "positive"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        video_fragment(**{"frames": np.ones((2, 4, 3)), **change})


def test_a_path_that_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        video_html(np.ones((1, 4, 3)), tmp_path / "file" / "clip.html")
