"""`translate diagnose`: what it says of a run, its page in a real browser, and what it refuses."""

import io
import json
import math
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, small_recipe
from matplotlib.figure import Figure
from PIL import Image
from test_scan_report import Page

from translate.cli import main
from translate.cli.diagnose import in_words, summary
from translate.config import write_yaml
from translate.data.images import from_array, write_picture
from translate.health.verdict import BALANCED, COLLAPSE, VERDICTS, WARMING_UP, WINNING, Diagnosis, Remedy
from translate.pipelines.run_charts import BALANCE, LOSSES, OUTPUTS, QUALITY, STEADINESS
from translate.pipelines.run_page import RunView, write_run_page
from translate.pipelines.run_plots import MOST_POINTS, draw_charts, plot_chart, read_columns
from translate.pipelines.run_samples import MOST_BYTES, choose_samples, find_samples, read_samples
from translate.pipelines.run_timeline import COLOURS, lanes
from translate.pipelines.run_words import MEANINGS, NO_DISCRIMINATOR, NO_SIGNALS, command, duration, seconds_of

CHROMIUM = shutil.which("chromium")
EMOJI = ROOT / "pipelines" / "pictures"
SICK = Diagnosis(
    WINNING,
    300,
    ("the discriminator is right on 98 % of the patches",),
    (
        Remedy("penalty.kind", "r1", "keeps the discriminator smooth"),
        Remedy("augmentation.policy", "[flip, colour]", "is harder to see through"),
    ),
    ("the outputs have a checkerboard",),
)


def signals(step, suffix=""):
    """A record as a run of one discriminator and direction writes it."""
    return {
        f"g/gan{suffix}": 0.5 + step / 1000,
        f"g/l1{suffix}": 12.0,
        f"d/gan{suffix}": 0.2,
        f"health/real_accuracy{suffix}": 0.9,
        f"health/fake_accuracy{suffix}": 0.8,
        f"health/val_accuracy{suffix}": 0.7,
        f"health/gradient_ratio{suffix}": 10.0 ** -(step / 100),
        f"health/diversity{suffix}": 0.95,
        f"health/diversity_of_inputs{suffix}": 1.1,
        f"health/checkerboard{suffix}": 1.5,
        f"health/overfitting{suffix}": 0.25,
        f"health/r_t{suffix}": 0.8,
        f"health/swing/g/gan{suffix}": 0.1,
    }


def records(count=8, *suffixes):
    made = []
    for step in range(50, 50 * count + 1, 50):
        record = {"step": step, "images": 2 * step, "seconds": step / 10, "learning_rate": 2e-4}
        for suffix in suffixes or ("",):
            record |= signals(step, suffix)
        record |= {"health/gradient/generator": 0.3, "health/update/generator": 0.001}
        made.append(record | ({"val/psnr": 20 + step / 100, "val/ssim": 0.5} if step % 100 == 0 else {}))
    return made


def losses(count=8):
    """The same of a run that was made before there were signals."""
    return [{name: value for name, value in record.items() if "health" not in name} for record in records(count)]


def write_run(folder, recipe, log, sheets=(100, 400)):
    """A run folder as the training leaves it, with sheets of real drawings and renders."""
    (folder / "samples").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(write_yaml(recipe))
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in log))
    names = ("cat-face.png", "down-arrow.png")
    rows = [
        [np.asarray(Image.open(EMOJI / kind / name).convert("RGB")) for kind in ("sketch", "render")] for name in names
    ]
    for step in sheets:
        write_picture(
            from_array(np.vstack([np.hstack(row) for row in rows])), folder / "samples" / f"step_{step:08d}.png"
        )
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run", small_recipe(tmp_path, training={"steps": 500}), losses())


def view_of(folder, diagnosis=SICK, log=None, recipe=None):
    log = losses() if log is None else log
    verdicts = [(record["step"], diagnosis.verdict if record["step"] >= 300 else WARMING_UP) for record in log]
    recipe = recipe or small_recipe(folder, training={"steps": 500})
    return RunView(folder, recipe, log, diagnosis, verdicts, find_samples(folder / "samples"))


def page_of(view):
    path = view.folder / "diagnosis.html"
    write_run_page(path, view)
    return Page(path)


def call(*words):
    try:
        return main(["diagnose", *map(str, words)])
    except SystemExit as stopped:
        return stopped.code


# what the page says


def test_the_page_says_what_is_wrong_since_when_why_and_what_to_try(folder):
    log = losses()
    log[6]["actions"] = ["penalty.weight: 1 to 2"]
    text = page_of(view_of(folder, log=log)).text
    for words in (
        "Discriminator winning (vanishing gradients) Since step 300. The log ends at step 400 of 500.",
        MEANINGS[WINNING],
        "the discriminator is right on 98 % of the patches",
        "the outputs have a checkerboard",
        "penalty.kind r1 keeps the discriminator smooth",
        f"translate train {folder}/recipe.yaml --output {folder}-2 --penalty.kind r1",
        "--augmentation.policy '[flip, colour]'",
        "step 350 penalty.weight: 1 to 2",
        "warming up steps 50 to 250, 62 % of the records",
        "discriminator winning (vanishing gradients) steps 300 to 400, 38 % of the records",
        "objective pix2pix",
        "generator unet, discriminator patchgan",
        "steps 400 of 500",
        "images 800",
        "time 40 s",
        "last PSNR (dB) 24",
        "ema_half_life: 8.0",
    ):
        assert words in text, words
    assert text.index("What to try") < text.index("What happened when") < text.index("Losses") < text.index("The run")


def test_a_healthy_run_has_nothing_to_try_and_no_line_of_the_verdict(folder, monkeypatch):
    marked = []
    monkeypatch.setattr("translate.pipelines.run_page.draw_charts", lambda *given: marked.append(given[2]) or [])
    assert "What to try" not in page_of(view_of(folder, Diagnosis(BALANCED, 100, (), (), ()))).text
    page_of(view_of(folder, log=records()))
    assert marked == [None] * 4 + [300] * 4


@pytest.mark.parametrize("verdict", [*VERDICTS, WARMING_UP])
def test_every_verdict_is_explained_and_has_a_colour_of_its_own(verdict):
    assert len(MEANINGS[verdict]) > 80
    assert list(COLOURS.values()).count(COLOURS[verdict]) == 1


def test_what_a_name_or_a_text_says_is_shown_and_not_obeyed(tmp_path):
    bad = "<script>alert(1)</script>"
    folder = write_run(tmp_path / '"><script>alert(2)<', small_recipe(tmp_path), [])
    log = [record | {"g/<b>$x^$": 1.0, "actions": [bad]} for record in losses()]
    page = page_of(view_of(folder, Diagnosis(COLLAPSE, 300, (bad,), (Remedy(bad, bad, bad),), (bad,)), log))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "form", "base", "b>$x^$"}
    assert page.text.count(bad) >= 6
    assert '"><script>alert(2)<' in page.text
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))


def test_the_page_can_be_heard_and_is_the_same_every_time(folder):
    page = page_of(view_of(folder))
    assert len({image["alt"] for image in page.all("img")}) == len(page.all("img")) > 4
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    first = (folder / "diagnosis.html").read_bytes()
    page_of(view_of(folder))
    assert (folder / "diagnosis.html").read_bytes() == first


def test_an_error_leaves_the_old_page_and_nothing_aside(folder, monkeypatch):
    page_of(view_of(folder))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        page_of(view_of(folder, replace(SICK, since=50)))
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_run_that_only_validated_has_a_page(folder):
    view = view_of(folder, Diagnosis(WARMING_UP, None, (), (), ()), [{"step": 2, "val/psnr": 9.0}])
    page = page_of(replace(view, verdicts=[]))
    assert [image["alt"] for image in page.all("img")][2:] == ["PSNR on val/ (dB); at the end: psnr 9"]
    assert "images not known" in page.text


# plots


def titles(log, *charts):
    return [alt for _, alt, _ in draw_charts(charts, read_columns(log))]


def test_a_plot_shows_what_was_logged_and_its_text_says_the_last_values():
    assert titles(records(), *LOSSES, *QUALITY, *BALANCE, *OUTPUTS, *STEADINESS) == [
        "Losses of the generator; at the end: gan 0.9, l1 12",
        "Losses of the discriminator; at the end: gan 0.2",
        "PSNR on val/ (dB); at the end: psnr 24",
        "SSIM on val/; at the end: ssim 0.5",
        "How often the discriminator is right; at the end: outputs 0.8, real images 0.9, real images of val/ 0.7",
        "Overfitting of the discriminator; at the end: how false val/ looks 0.25, r_t 0.8",
        "Adversarial gradient against all others; at the end: adversarial over others 0.0001",
        "Diversity of the outputs; at the end: beside the targets 0.95, beside the inputs 1.1",
        "Checkerboard; at the end: checkerboard 1.5",
        "Gradient norm of each network; at the end: generator 0.3",
        "Change of the weights in one step; at the end: generator 0.001",
        "Swing of the losses; at the end: g/gan 0.1",
    ]


def test_two_discriminators_have_a_plot_each_and_share_the_others():
    said = titles(records(8, "_a", "_b"), *BALANCE)
    assert said == [
        "How often the discriminator is right (a); at the end: outputs 0.8, real images 0.9, real images of val/ 0.7",
        "How often the discriminator is right (b); at the end: outputs 0.8, real images 0.9, real images of val/ 0.7",
        "Overfitting of the discriminator; at the end: how false val/ looks (a) 0.25, how false val/ looks (b) 0.25, "
        "r_t (a) 0.8, r_t (b) 0.8",
    ]


def test_scales_have_a_plot_of_their_own():
    scales = {f"health/real_accuracy_b/scale_{scale}": 0.6 + scale / 10 for scale in range(2)}
    log = [record | scales for record in records(3, "_b")]
    assert (
        "How often it is right, by scale (b); at the end: real images scale 0 0.6, real images scale 1 0.7"
        in titles(log, *BALANCE)
    )


def test_lost_steps_are_shown_only_where_there_were_some():
    assert not [title for title in titles(records(), *STEADINESS) if "lost" in title]
    lost = {"health/skipped/generator": 0.5, "health/skipped/discriminator": 0.0, "health/nonfinite/g/gan": 0.25}
    never = dict.fromkeys(lost, 0.0)
    assert not [title for title in titles([{"step": 1, **never}], *STEADINESS) if "lost" in title]
    log = [*records(), {"step": 450, **lost}]
    assert (
        titles(log, *STEADINESS)[-1]
        == "Steps that were lost; at the end: not finite: g/gan 0.25, skipped generator 0.5"
    )


def test_what_is_no_finite_number_is_in_no_plot():
    log = [{"step": 1, "g/gan": math.nan, "g/l1": math.inf, "g/x": "text", "g/y": None}, {"step": 2, "g/gan": 3.0}]
    columns = read_columns(log)
    assert list(columns) == ["g/gan"]
    assert columns["g/gan"].steps.tolist() == [2]


@pytest.mark.parametrize(
    ("charts", "key", "values", "scale"),
    [
        (OUTPUTS, "health/gradient_ratio", [1.0, 0.01, 0.0], "log"),
        (OUTPUTS, "health/gradient_ratio", [0.0, 0.0, 0.0], "linear"),
        (LOSSES, "g/gan", [3.0, 0.2, 0.1], "log"),
        (LOSSES, "g/gan", [3.0, -0.2, 0.1], "linear"),
        (BALANCE, "health/real_accuracy", [0.9, 0.8, 0.8], "linear"),
    ],
)
def test_ratios_and_losses_are_on_a_logarithmic_scale_where_they_can_be(charts, key, values, scale):
    axes = plotted(charts, key, values)
    assert axes.get_yscale() == scale
    if values[-1] == 0.0 and scale == "log":
        assert axes.lines[0].get_ydata().tolist() == [1.0, 0.01, 0.01]  # 0 stands at the lower edge


def test_levels_to_compare_with_and_the_step_of_the_verdict_are_drawn_and_named():
    axes = plotted(BALANCE, "health/real_accuracy", [0.9, 0.8, 0.8])
    assert [line.get_label() for line in axes.lines] == ["real images", "0.5: guessing", "verdict since step 2"]
    assert axes.get_ylim() == (-0.02, 1.02)
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == [
        "real images",
        "0.5: guessing",
        "verdict since step 2",
    ]


def test_an_outlier_does_not_flatten_the_others():
    axes = plotted(BALANCE, "health/overfitting", [*[0.1] * 200, 5000.0])
    assert axes.get_ylim() == (-0.05, 1.02)
    assert plotted(BALANCE, "health/overfitting", [-5000.0, 5000.0]).get_ylim() == (-1.05, 2.0)
    assert plotted(OUTPUTS, "health/checkerboard", [1.0, 10.0]).get_ylim()[1] == pytest.approx(10.4, abs=0.1)


def plotted(charts, key, values):
    """The axes of the one chart that shows the key."""
    columns = read_columns([{"step": step, key: value} for step, value in enumerate(values, start=1)])
    (chart,) = [chart for chart in charts if re.match(chart.keys, key)]
    axes = Figure().subplots()
    plot_chart(axes, chart, "title", [replace(columns[key], label="real images")], 2)
    return axes


def test_many_records_become_means_with_their_extremes():
    values = np.where(np.arange(100_000) % 10 == 0, 11.0, 1.0)
    log = [{"step": step, "g/gan": value} for step, value in enumerate(values.tolist(), start=1)]
    line = read_columns(log)["g/gan"]
    assert len(line.means) == MOST_POINTS
    assert line.steps[-1] == 100_000
    assert line.last == 1.0
    np.testing.assert_allclose(line.means, 2.0, atol=0.05)
    assert set(line.lows) == {1.0}
    assert set(line.highs) == {11.0}


# timeline


def test_each_verdict_has_a_lane_with_its_stretches():
    shown = lanes([(10, WARMING_UP), (20, BALANCED), (30, COLLAPSE), (40, BALANCED)])
    assert re.findall(r"<b>(.*?)</b> <span class=\"faint\">(.*?)</span>", shown) == [
        ("warming up", "at step 10, 25 % of the records"),
        ("balanced", "steps 20 to 40, 50 % of the records"),
        ("mode collapse", "at step 30, 25 % of the records"),
    ]
    assert re.findall(r"left: (\S+)%; width: (\S+)%", shown) == [
        ("0.00", "25.00"),
        ("25.00", "25.00"),
        ("75.00", "25.00"),
        ("50.00", "25.00"),
    ]


def test_a_flickering_verdict_does_not_make_an_endless_timeline():
    assert len(lanes([(step, VERDICTS[step % 7]) for step in range(1, 100_001)])) < 60_000


# samples


def test_the_first_the_last_and_some_samples_between_are_shown(folder):
    paths = [(step, folder) for step in range(100, 2101, 100)]
    assert [step for step, _ in choose_samples(paths)] == [100, 500, 900, 1300, 1700, 2100]
    assert choose_samples(paths[:3]) == paths[:3]
    (folder / "samples" / "step_x.png").write_text("other")
    assert [step for step, _ in find_samples(folder / "samples")] == [100, 400]
    assert find_samples(folder / "none") == []
    page = page_of(view_of(folder))
    assert [image["alt"] for image in page.all("img")][:2] == ["samples of step 100", "samples of step 400"]
    assert "step 100" in page.text


def test_small_samples_are_shown_as_they_are_and_large_ones_reduced(folder):
    small = read_samples(find_samples(folder / "samples"))
    assert small[0][1] == (folder / "samples" / "step_00000100.png").read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1000, 3), dtype=np.uint8)
    write_picture(from_array(noise), folder / "samples" / "step_00000500.png")
    ((_, data),) = read_samples(find_samples(folder / "samples")[2:])
    assert len(data) <= MOST_BYTES
    shown = Image.open(io.BytesIO(data))
    assert shown.format == "JPEG"
    assert shown.width / shown.height == pytest.approx(2 / 3, abs=0.01)


def test_a_page_with_the_worst_samples_stays_below_5_megabytes(folder):
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    for step in range(1000, 1008):
        write_picture(from_array(noise), folder / "samples" / f"step_{step:08d}.png")
    page_of(view_of(folder))
    assert 2_000_000 < (folder / "diagnosis.html").stat().st_size < 5_000_000


def test_a_damaged_sheet_is_left_out_with_a_warning(folder, caplog):
    (folder / "samples" / "step_00000400.png").write_bytes(b"\x89PNG\r\n\x1a\ncut")
    page = page_of(view_of(folder))
    assert "samples of step 400" not in [image["alt"] for image in page.all("img")]
    assert "left out of the page: cannot read" in caplog.text


# words


def test_times_of_a_resumed_run_are_added():
    log = [{"seconds": 10.0}, {"seconds": 20.0}, {"seconds": 5.0}, {}, {"seconds": 7.5}]
    assert seconds_of(log[:4]) == 25.0
    assert seconds_of([log[0], log[1], log[2], log[4]]) == 27.5
    assert [duration(seconds) for seconds in (4.4, 65, 3600 * 26 + 119)] == ["4 s", "1 min 5 s", "26 h 1 min"]


def test_a_command_can_be_pasted_whatever_the_folder_is_called(folder):
    remedy = Remedy("discriminator", "{name: patchgan}", "")
    assert command(folder.parent / "my run", remedy) == (
        f"translate train '{folder.parent}/my run/recipe.yaml' --output '{folder.parent}/my run-2' "
        "--discriminator '{name: patchgan}'"
    )


def test_the_terminal_says_the_same_as_the_page(folder):
    log = records()
    log[6]["actions"] = ["penalty.weight: 1 to 2"]
    view = view_of(folder, log=log)
    assert in_words(view, folder / "diagnosis.html").splitlines() == [
        "discriminator winning (vanishing gradients) since step 300 (at step 400 of 500)",
        MEANINGS[WINNING],
        "evidence:",
        "  the discriminator is right on 98 % of the patches",
        "also noticed:",
        "  the outputs have a checkerboard",
        "done by health.action adjust:",
        "  step 350: penalty.weight: 1 to 2",
        "to try, one at a time:",
        "  --penalty.kind r1   keeps the discriminator smooth",
        "  --augmentation.policy '[flip, colour]'   is harder to see through",
        f"such as: translate train {folder}/recipe.yaml --output {folder}-2 --penalty.kind r1",
        f"page: {folder}/diagnosis.html",
    ]
    assert summary(view, folder / "diagnosis.html") == {
        "verdict": WINNING,
        "since": 300,
        "evidence": ["the discriminator is right on 98 % of the patches"],
        "remedies": [
            {"key": "penalty.kind", "value": "r1", "why": "keeps the discriminator smooth"},
            {"key": "augmentation.policy", "value": "[flip, colour]", "why": "is harder to see through"},
        ],
        "hints": ["the outputs have a checkerboard"],
        "step": 400,
        "steps": 500,
        "actions": [{"step": 350, "action": "penalty.weight: 1 to 2"}],
        "limits": [],
        "page": str(folder / "diagnosis.html"),
    }


# the command


def test_json_is_one_line_and_nothing_else(folder, capsys):
    assert call(folder, "--json") == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    said = json.loads(captured.out)
    assert said["verdict"] in (*VERDICTS, WARMING_UP)
    assert (said["step"], said["steps"], said["page"]) == (400, 500, str(folder / "diagnosis.html"))
    assert (folder / "diagnosis.html").is_file()
    assert sorted(path.name for path in folder.iterdir()) == ["diagnosis.html", "log.jsonl", "recipe.yaml", "samples"]


def test_the_page_goes_where_it_is_wanted(folder, tmp_path, capsys):
    assert call(folder, "--output", tmp_path / "page.html") == 0
    assert capsys.readouterr().out.endswith(f"page: {tmp_path / 'page.html'}\n")
    assert (tmp_path / "page.html").is_file()
    assert not (folder / "diagnosis.html").exists()


def test_the_folder_that_one_is_in_is_called_by_its_name(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert call(".") == 0
    assert capsys.readouterr().out.endswith("page: diagnosis.html\n")
    assert str(folder) in Page(folder / "diagnosis.html").text


def test_a_record_that_is_being_written_is_left_out(folder, capsys):
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"step": 450, "g/gan": 0.')
    assert call(folder, "--json") == 0
    assert json.loads(capsys.readouterr().out)["step"] == 400


def test_a_run_from_before_there_were_signals_says_what_its_diagnosis_rests_on(folder, capsys):
    assert call(folder) == 0
    assert NO_SIGNALS in capsys.readouterr().out
    page = Page(folder / "diagnosis.html")
    assert NO_SIGNALS in page.text
    assert "Steadiness" not in page.text
    assert "Losses, and figures on val/" in page.text


def test_a_run_without_a_discriminator_says_so(tmp_path, capsys):
    recipe = small_recipe(tmp_path, objective={"name": "pixel"}).model_copy(update={"discriminator": None})
    folder = write_run(tmp_path / "pixel", recipe, [{"step": 2, "g/l1": 3.0, "health/gradient/generator": 1.0}])
    assert call(folder, "--json") == 0
    assert json.loads(capsys.readouterr().out)["limits"] == [NO_DISCRIMINATOR]


@pytest.mark.parametrize("objective", ["pix2pix", "cyclegan"])
def test_a_run_that_was_trained_is_diagnosed(tmp_path, paired_folder, unpaired_folder, capsys, objective):
    from translate.training.loop import train

    data = paired_folder if objective == "pix2pix" else unpaired_folder
    recipe = small_recipe(data, objective)
    train(recipe, tmp_path / "run", show_progress=False)
    assert call(tmp_path / "run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == WARMING_UP
    page = Page(tmp_path / "run" / "diagnosis.html")
    titles = [image["alt"].partition(";")[0] for image in page.all("img")]
    assert {"samples of step 4", "Losses of the generator", "Losses of the discriminator"} <= set(titles)


def refused(capsys, *words):
    assert call(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def test_what_is_no_run_is_refused_with_what_to_give(folder, tmp_path, small_model, capsys):
    assert "there is no folder nowhere: give the folder of a run" in refused(capsys, "nowhere")
    assert "is no run, it has no recipe.yaml" in refused(capsys, tmp_path)
    assert (
        f"is a model folder, which does not hold how it was trained: give the folder of the run, {tmp_path}"
        in refused(capsys, small_model)
    )
    assert "--output must end in .html, got" in refused(capsys, folder, "--output", folder / "log.jsonl")
    assert "there is no folder" in refused(capsys, folder, "--output", tmp_path / "none" / "page.html")


def test_a_run_with_nothing_to_diagnose_is_refused_with_the_reason(folder, capsys):
    (folder / "log.jsonl").write_text('{"other": 1}\n')
    assert "holds lines that are no records of a training" in refused(capsys, folder)
    (folder / "log.jsonl").write_text("")
    assert "has logged nothing yet: its first record comes at step 1 (logging.every)" in refused(capsys, folder)
    (folder / "log.jsonl").unlink()
    assert "has logged nothing yet" in refused(capsys, folder)
    (folder / "recipe.yaml").write_text("objective: {name: pix3pix}\n")
    said = refused(capsys, folder)
    assert "'pix3pix'" in said
    assert "this is the recipe of the run: put back the one that it began with" in said
    assert not (folder / "diagnosis.html").exists()


# a real browser


@pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="chromium is not installed")
def test_a_browser_shows_the_page_offline_without_a_fault_wide_and_narrow(folder):
    sync_api = pytest.importorskip("playwright.sync_api") if not os.environ.get("CI") else None
    if sync_api is None:
        from playwright import sync_api
    page_of(view_of(folder, log=records(8, "_a", "_b")))
    asked, said = [], []
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for width in (1280, 360):
            page = browser.new_page(viewport={"width": width, "height": 800})
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto((folder / "diagnosis.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
            assert page.locator("h2").first.inner_text() == "Discriminator winning (vanishing gradients)"
            mark = page.locator(".card").evaluate("card => getComputedStyle(card).borderLeftColor")
            assert mark == "rgb(213, 94, 0)"  # its own style is allowed
            widths = page.locator(".track span").evaluate_all("spans => spans.map(span => span.offsetWidth)")
            assert widths[0] > widths[1] > 50
        page.get_by_alt_text("samples of step 400").click()
        assert page.locator("#step-400").bounding_box()["height"] == 800  # fills the screen
        page.get_by_text("back to the page").last.click()
        page.get_by_text("The whole recipe").click()
        assert page.get_by_text("ema_half_life").is_visible()
        browser.close()
    assert [url for url in asked if not url.startswith(("data:", (folder / "diagnosis.html").as_uri()))] == []
    assert said == []
