"""An exercise as a learner meets it: the stub run, a wrong answer typed, then a right one, and the progress drawn."""

from lab import open_notebook, run_all, saved, small_notebook, wait_until_run

CELLS = [
    "def adapter_weights(r, shapes):\n    ...  # your code here",
    "from lorakit.checks.lesson07 import check_adapter_weights\n\ncheck_adapter_weights(adapter_weights)",
    "from lorakit.checks import hint\n\nhint('7.1')",
    "from widgets import progress\n\nprogress()",
]
ANSWER, CHECK, HINT, PROGRESS = range(4)
A_ALONE = "def adapter_weights(r, shapes):\n    return sum(r * i for i, o in shapes)"
RIGHT = "def adapter_weights(r, shapes):\n    return sum(r * (i + o) for i, o in shapes)"


def cell(page, number):
    return page.locator(".jp-Notebook .jp-Cell").nth(number)


def type_answer(page, source):
    cell(page, ANSWER).locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(source)


def run_cell(page, number):
    cell(page, number).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")


def wait_for_words(page, number, words):
    """What a cell shows below it, once these words are in it."""
    output = cell(page, number).locator(".jp-OutputArea", has_text=words)
    output.wait_for(timeout=60_000)
    return output.inner_text()


def wait_for_progress(page, words):
    """The picture of progress, once its words say so, and what stands under it."""
    area = cell(page, PROGRESS).locator(".jp-OutputArea")
    image = area.locator(f'img[alt*="{words}"]')
    image.wait_for(timeout=60_000)
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 820
    return area.inner_text()


def test_an_exercise_untouched_then_wrong_then_right(server, lab, page, tmp_path):
    progress = server.folder / "data" / "progress"
    path = tmp_path / "exercise.ipynb"
    small_notebook(path, *CELLS)
    open_notebook(page, lab(path.name))
    run_all(page)
    wait_until_run(page, seconds=120)
    assert "Exercise 7.1: not attempted yet." in wait_for_words(page, CHECK, "not attempted")
    assert "Hint 1 of 3: Draw one layer." in wait_for_words(page, HINT, "Hint")
    kept = wait_for_progress(page, "Lesson 07: 7.1 not tried")
    assert f"Kept in {progress}; forget_progress() from lorakit.checks deletes it." in kept

    type_answer(page, A_ALONE)
    run_all(page)
    shown = wait_for_words(page, CHECK, "not yet")
    assert shown.startswith("Exercise 7.1: not yet.\n\nThis counts A alone: B is trained too.\nFor r = ")
    assert shown.rstrip().endswith('from lorakit.checks import hint; hint("7.1")  # gives a hint')
    (error,) = saved(page, path).cells[CHECK].outputs
    assert (error.output_type, error.ename) == ("error", "CheckFailed")
    for place in ("Traceback", "frame.py", "lesson07.py", "line "):
        assert place not in shown + "\n".join(error.traceback)
    run_cell(page, PROGRESS)
    wait_for_progress(page, "Lesson 07: 7.1 tried")

    type_answer(page, RIGHT)
    run_all(page)
    assert wait_for_words(page, CHECK, "correct").strip() == "Exercise 7.1: correct."
    wait_for_progress(page, "Lesson 07: 7.1 correct")
    assert (progress / "7.1").read_text() == "correct"
