"""Figures of comparisons: what they draw is what they were given."""

from __future__ import annotations

import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.viz.clips import project

pytest.importorskip("matplotlib")  # of the extra `viz`

from pointata_jax.viz import comparison, labels, look  # noqa: E402

ARMS = ("full", "scratch", "adapters", "head only", "no time", "no space")
NAMES = ("walk", "jump", "squat", "box")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def texts(axes):
    return [text.get_text() for text in axes.texts]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def boxes(figure, axes):
    """Extents `[n, 4]` of the texts in axes: left, bottom, right, top."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    return np.array([Text.get_window_extent(t, renderer).extents for t in axes.texts])


def test_names_stand_beside_points_with_error_bars_and_do_not_overlap():
    counts = (22_100_000, 22_100_000, 2_300_000, 12_000, 2_100_000, 2_200_000)
    means = (91.0, 89.5, 93.0, 62.0, 91.5, 92.0)
    rows = [
        {"arm": a, "trainable": n, "mean": m, "std": 0.5 + i}
        for i, (a, n, m) in enumerate(zip(ARMS, counts, means, strict=True))
    ]
    figure = comparison.plot_accuracy_against_parameters(rows)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert len(axes.containers) == len(ARMS)
    for row, bar in zip(rows, axes.containers, strict=True):
        (segment,) = bar.lines[2][0].get_segments()
        np.testing.assert_allclose(segment[:, 0], row["trainable"])
        np.testing.assert_allclose(
            segment[:, 1], [row["mean"] - row["std"], row["mean"] + row["std"]]
        )
    assert sorted(texts(axes)) == sorted(ARMS)
    box = boxes(figure, axes)
    for i, j in np.argwhere(~np.eye(len(box), dtype=bool)):
        apart = np.maximum(box[i, :2], box[j, :2]) >= np.minimum(box[i, 2:], box[j, 2:])
        assert apart.any(), f"{texts(axes)[i]} covers {texts(axes)[j]}"
    frame = axes.get_window_extent().extents
    assert (box[:, :2] >= frame[:2]).all()
    assert (box[:, 2:] <= frame[2:]).all()


def test_bars_are_the_scores_and_the_gap_stands_above():
    rows = [{"arm": a, "train": 99.0 - i, "test": 90.5 - 2 * i} for i, a in enumerate(ARMS)]
    figure = comparison.plot_gaps(rows)
    (axes,) = figure.axes
    for bars, key in zip(axes.containers, ("train", "test"), strict=True):
        assert [bar.get_height() for bar in bars] == [row[key] for row in rows]
    assert texts(axes) == ["8.5", "9.5", "10.5", "11.5", "12.5", "13.5"]
    for place, (text, row) in enumerate(zip(axes.texts, rows, strict=True)):
        assert text.xy == (place, row["train"])
    assert [text.get_text() for text in axes.get_xticklabels()] == list(ARMS)
    assert legend(figure)[:2] == ["training", "test"]


@pytest.mark.parametrize("key", ["videos_per_class", "x"])
def test_label_curves_have_a_line_and_a_band_for_each_arm(key, rng):
    amounts = [16, 1, 4]
    rows = [
        {"arm": a, key: x, "mean": 50 + i + x, "std": 1 + i}
        for x in amounts
        for i, a in enumerate(ARMS[:3])
    ]
    figure = comparison.plot_label_curves(rows)
    (axes,) = figure.axes
    assert legend(figure) == list(ARMS[:3])
    assert len(axes.lines) == len(axes.collections) == 3
    assert len({(line.get_linestyle(), line.get_marker()) for line in axes.lines}) == 3
    for i, (line, band) in enumerate(zip(axes.lines, axes.collections, strict=True)):
        np.testing.assert_array_equal(line.get_xydata(), [[x, 50 + i + x] for x in (1, 4, 16)])
        (path,) = band.get_paths()
        low, high = path.vertices[:, 1].min(), path.vertices[:, 1].max()
        assert (low, high) == (51 + i - (1 + i), 66 + i + 1 + i)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "4", "16"]


def test_alignment_shows_the_components_of_the_source(rng):
    source = rng.normal(size=(60, 5)) * [0.1, 7, 0.2, 3, 0.1] + 2
    before, after = rng.normal(size=(30, 5)) + 9, rng.normal(size=(900, 5))
    history = [(0, 12.0), (50, 7.5), (100, 6.0)]
    figure = comparison.plot_alignment(
        history, before, after, source, before_labels=np.arange(30) % 3
    )
    distance, first, second = figure.axes
    np.testing.assert_array_equal(distance.lines[0].get_xydata(), history)
    assert (first.get_title(), second.get_title()) == ("before alignment", "after alignment")
    assert first.get_xlim() == second.get_xlim()
    assert first.get_ylim() == second.get_ylim()
    components = np.linalg.eigh(np.cov(source.T))[1][:, [-1, -2]]
    for axes, target in ((first, before), (second, after)):
        drawn, aligned = (np.abs(points.get_offsets()) for points in axes.collections)
        wanted, moved = (np.abs((x - source.mean(0)) @ components) for x in (source, target))
        # Markers are drawn in random order, and the sign of a component is arbitrary.
        np.testing.assert_allclose(np.sort(drawn, 0), np.sort(wanted, 0), atol=1e-9)
        assert len(aligned) == min(len(target), comparison.MOST_MARKERS)
        assert np.isclose(aligned[:, None], moved[None]).all(-1).any(1).all()
    assert len(np.unique(first.collections[1].get_facecolors(), axis=0)) == 3
    assert len(np.unique(second.collections[1].get_facecolors(), axis=0)) == 1
    for wrong in ((history, before[:, :4], after, source), ([], before, after, source)):
        with pytest.raises(InputError):
            comparison.plot_alignment(*wrong)


def test_timelines_draw_the_runs_and_mark_the_wrong_frames(rng):
    truth = np.repeat([-1, 0, 1, 3], [5, 20, 30, 5])
    wrong = truth.copy()
    wrong[[25, 26, 50]] = 2
    figure = labels.plot_timelines(truth, {"full": truth, "adapters": wrong}, NAMES)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["truth", "full", "adapters"]
    assert legend(figure) == [*NAMES, "wrong frame"]
    drawn = np.zeros((3, len(truth)), int) - 1
    looks = {}
    for bar in axes.patches:
        row = round(bar.get_y() + bar.get_height() / 2)
        start, end = round(bar.get_x()), round(bar.get_x() + bar.get_width())
        classes = {(truth, truth, wrong)[row][t] for t in range(start, end)}
        assert len(classes) == 1
        label = classes.pop()
        drawn[row, start:end] = label
        looks.setdefault(label, set()).add((bar.get_hatch() or "", bar.get_facecolor()))
    np.testing.assert_array_equal(drawn, [truth, truth, wrong])
    assert all(len(look) == 1 for look in looks.values())
    assert len({look.pop()[0] for look in looks.values()}) == len(NAMES), "hatches repeat"
    strips = {strip.get_label(): strip for strip in axes.collections}
    assert [len(strips[arm].get_paths()) for arm in ("full", "adapters")] == [0, 2]
    ranges = [path.vertices[:, 0] for path in strips["adapters"].get_paths()]
    assert [(x.min(), x.max()) for x in ranges] == [(25, 27), (50, 51)]
    with pytest.raises(InputError, match="the prediction of full must hold 60 classes"):
        labels.plot_timelines(truth, {"full": truth[:-1]}, NAMES)
    with pytest.raises(InputError, match="truth holds the class 3, but there are 2 class names"):
        labels.plot_timelines(truth, {}, NAMES[:2])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5])
def test_circles_surround_all_wrong_points_and_are_few(share, rng):
    from matplotlib.patches import Circle

    points = rng.uniform(-1, 1, (800, 4)).astype(np.float32)
    truth = rng.integers(-1, 4, 800)
    is_wrong = rng.random(800) < share
    prediction = np.where(is_wrong, (truth + 1) % 4, truth)
    is_wrong &= truth >= 0
    figure = labels.plot_labeled_clouds(points, truth, prediction, NAMES)
    image = project(points[:, :3])[0]
    assert len(figure.axes) == 2
    for axes, shown in zip(figure.axes, (truth, prediction), strict=True):
        assert [len(c.get_offsets()) for c in axes.collections] == [
            (shown == k).sum() for k in (-1, 0, 1, 2, 3)
        ]
        circles = [patch for patch in axes.patches if isinstance(patch, Circle)]
        assert len(circles) <= labels.MOST_CIRCLES
        inside = [
            np.linalg.norm(image - circle.center, axis=1) <= circle.radius for circle in circles
        ]
        assert np.any([*inside, np.zeros(800, bool)], 0)[is_wrong].all()
        if share == 0.01:
            assert np.any(inside, 0).mean() < 0.2, "the circles are too large"
    assert bool(circles) == bool(share)
    assert f"{100 * is_wrong.sum() / (truth >= 0).sum():.1f}% wrong" in figure.axes[1].get_title()
    assert legend(figure) == [*NAMES] + ["wrong points"] * bool(share)


def test_rows_without_a_value_are_named():
    with pytest.raises(InputError, match="There are no rows"):
        comparison.plot_gaps([])
    with pytest.raises(InputError, match="has no test"):
        comparison.plot_gaps([{"arm": "full", "train": 3.0}])
    with pytest.raises(InputError, match="trainable must be positive"):
        comparison.plot_accuracy_against_parameters(
            [{"arm": "full", "trainable": 0, "mean": 1.0, "std": 0.0}]
        )


def test_save_writes_a_png_into_a_new_folder_and_closes_the_figure(tmp_path):
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(3.3, 2))
    figure.add_subplot().plot([0, 1])
    look.save(figure, tmp_path / "new" / "picture.png")
    content = (tmp_path / "new" / "picture.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert 300 < int.from_bytes(content[16:20], "big") <= 680, "200 dots per inch"
    assert not pyplot.fignum_exists(figure.number)
    with pytest.raises(InputError, match="cannot be written"):
        look.save(figure, tmp_path / "new")
