"""The user study in a real browser, from disk and without a network: raters whose preference is known vote by mouse,
keyboard and touch of the Tab key, close the page and come back, and their files are read."""

import time

import pytest

from bench.__main__ import main
from bench.studies.user_study import analysis
from bench.studies.user_study.votes import read_study, read_votes
from tests.report.browser import Browser, needs_browser
from tests.report.runs import scored

pytestmark = [pytest.mark.browser, needs_browser]
PEOPLE = "include_people=All of them agreed to be shown to raters"
SIZES = ["items=8", "raters=4", "per_rater=8", "checks=2", "repeats=2", "size=96", "minimum_ms=20", "median_ms=0"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = Browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study whose private side knows which image is whose."""
    work = tmp_path_factory.mktemp("work")
    runs = [str(scored(work / name, name, pictures=True, keep=keep)) for name, keep in (("x", 0.9), ("y", 0.6))]
    texts = ['title=<i>Faces</i> & "more"', "contact=ann@example.org", "approval=2026-7"]
    assert main(["study", "make", *runs, *SIZES, *texts, PEOPLE, f"out={work / 'study'}"]) == 0
    return work / "study"


@pytest.fixture
def downloads(browser, tmp_path):
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    return tmp_path


def begin(browser, code):
    browser.js("document.getElementById('rater').value = arguments[0]", code)
    browser.js("document.getElementById('adult').checked = true; document.getElementById('start').click()")


def wait(browser, code, *arguments):
    """The first true value of an expression."""
    for _ in range(600):
        if value := browser.js(f"return {code}", *arguments):
            return value
        time.sleep(0.05)
    raise AssertionError(f"never: {code}; {browser.console()}")


READY = "document.querySelectorAll('#stage button:not(:disabled)').length"


def question(browser):
    """Number of the trial and the names of its three images, once it can be answered."""
    wait(browser, READY)
    number = int(browser.texts("#progress")[0].split(" ")[0]) - 1
    images = browser.js("return [...document.querySelectorAll('#stage img')].map((i) => i.getAttribute('src'))")
    return number, [name.removeprefix("img/").removesuffix(".webp") for name in images]


def answer(browser, number, how):
    """Chooses a side by mouse or by a key, and waits for the next trial or the end."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    side, tool = how
    if tool == "mouse":
        browser.driver.find_elements(By.CSS_SELECTOR, "#stage .choice")[side].click()
    elif tool == "tab":
        browser.js("document.querySelectorAll('#stage .choice')[arguments[0]].focus()", side)
        browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    else:
        keys = {"arrow": (Keys.ARROW_LEFT, Keys.ARROW_RIGHT), "letter": ("f", "j")}[tool]
        browser.driver.find_element(By.TAG_NAME, "body").send_keys(keys[side])
    still = f"document.getElementById('progress').textContent.startsWith('{number + 1} ')"
    wait(browser, f"!document.getElementById('end').hidden || !{still}")


def side_of(trial):
    """Where somebody looks who knows the photo and prefers x."""
    good = trial["expected"] or ("left" if trial["left"] == "x" else "right")
    return ["left", "right"].index(good)


def save(browser, downloads, study, code):
    browser.js("document.getElementById('download').click()")
    path = downloads / f"votes-{study['id']}-{code}.csv"
    for _ in range(200):
        if path.exists():
            return path
        time.sleep(0.05)
    raise AssertionError("no file was saved")


def test_raters_vote_and_their_truth_is_found(browser, folder, downloads):
    study = read_study(folder)
    files = []
    for (code, trials), tool in zip(study["trials"].items(), ("mouse", "arrow", "letter", "tab"), strict=True):
        browser.open(folder / "page/index.html")
        begin(browser, code)
        for place, trial in enumerate(trials):
            number, images = question(browser)
            assert (number, images) == (place, study["public"]["trials"][code][place])
            answer(browser, number, (side_of(trial), tool))
        files.append(save(browser, downloads, study, code))
        assert browser.console() == []
        assert [url for url in browser.requests() if not url.startswith(("file:", "data:", "blob:"))] == []
    votes = read_votes(study, files)
    assert len(votes) == 4 * 12
    assert not votes["excluded"].any()
    assert (votes["ms"] >= 20).all()
    (row,) = analysis.shares(votes, ["x", "y"]).to_dict("records")
    assert (row["share"], row["n"], row["items_won"]) == (1.0, 32, 8)
    assert analysis.consistency(votes) == (8, 8)
    assert analysis.left_share(votes).share == 0.5
    assert main(["study", "read", *map(str, files), f"study={folder}"]) == 0
    assert (folder / "result/study.md").exists()


def test_a_page_that_was_closed_goes_on_and_can_be_stopped(browser, folder, downloads):
    study = read_study(folder)
    code = next(iter(study["trials"]))
    browser.open(folder / "page/index.html")
    browser.js("localStorage.clear()")
    begin(browser, code)
    for _ in range(3):
        answer(browser, question(browser)[0], (0, "mouse"))
    browser.driver.get((folder / "page/index.html").as_uri() + f"?rater={code}")
    assert browser.js("return document.getElementById('rater').value") == code
    begin(browser, code)
    assert question(browser)[0] == 3
    answer(browser, 3, (1, "mouse"))
    wait(browser, READY)
    browser.js("document.getElementById('stop').click()")
    wait(browser, "!document.getElementById('end').hidden")
    votes = read_votes(study, [save(browser, downloads, study, code)])
    assert votes["choice"].tolist() == ["left", "left", "left", "right"]
    assert votes["reason"].iloc[0].startswith(("answered 4 of 12", "failed"))


def test_consent_comes_first_and_names_what_it_must(browser, folder):
    browser.open(folder / "page/index.html")
    text = browser.js("return document.getElementById('consent').innerText")
    for words in (
        "AI-generated",
        "real people",
        "voluntary",
        "stop at any time",
        "No name",
        "18 or older",
        "ann@example.org",
        "2026-7",
        "Nothing is sent",
    ):
        assert words in text
    assert browser.texts("h1") == ['<i>Faces</i> & "more"']
    browser.js("document.getElementById('rater').value = 'x'; document.getElementById('start').click()")
    assert browser.js("return document.getElementById('trials').hidden")
    begin(browser, "nobody")
    assert browser.texts("#problem") == ["This study does not know that rater code."]


def test_it_fits_small_screens_and_every_control_has_a_name(browser, folder, tmp_path):
    code = list(read_study(folder)["trials"])[1]
    for width, height in ((1280, 900), (390, 844)):
        browser.open(folder / "page/index.html", width=width, height=height)
        browser.js("localStorage.clear()")
        assert browser.overflow() == 0
        begin(browser, code)
        question(browser)
        assert browser.overflow() == 0
        boxes = browser.js(
            "return [...document.querySelectorAll('#stage .choice')].map((b) => b.getBoundingClientRect().top)"
        )
        assert boxes[0] == boxes[1]
        names = browser.js("return [...document.querySelectorAll('#stage img')].map((i) => i.alt)")
        assert names == ["photo to compare with", "left image", "right image"]
        browser.screenshot(tmp_path / f"{width}.png")
        tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        roles = {"button", "textbox", "checkbox", "link", "image"}
        nodes = [n for n in tree if n.get("role", {}).get("value") in roles and not n.get("ignored")]
        assert len(nodes) >= 6
        assert [n["role"]["value"] for n in nodes if not n.get("name", {}).get("value")] == []


def test_a_missing_image_stops_the_study_before_the_first_question(browser, folder, tmp_path):
    import shutil

    shutil.copytree(folder / "page", tmp_path / "page")
    study = read_study(folder)
    code = list(study["trials"])[2]
    (tmp_path / "page/img" / f"{study['public']['trials'][code][0][1]}.webp").unlink()
    browser.open(tmp_path / "page/index.html")
    browser.js("localStorage.clear()")
    begin(browser, code)
    wait(browser, "document.getElementById('problem').textContent.includes('is missing')")
    assert browser.js("return document.getElementById('trials').hidden")


def test_ties_by_key_and_a_result_that_is_sent(browser, tmp_path, downloads):
    """The page may reach the one address of its study; where that fails, the file is still there to save."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    runs = [str(scored(tmp_path / name, name, pictures=True)) for name in ("x", "y")]
    sizes = ["items=3", "raters=2", "checks=0", "repeats=0", "size=64", "minimum_ms=0"]
    words = [*sizes, "tie=true", "post=https://votes.example.org/in", PEOPLE, f"out={tmp_path / 's'}"]
    assert main(["study", "make", *runs, *words]) == 0
    study = read_study(tmp_path / "s")
    assert "connect-src https://votes.example.org; " in (tmp_path / "s/page/index.html").read_text()
    for code, answers in zip(study["trials"], (True, False), strict=True):
        browser.open(tmp_path / "s/page/index.html")
        assert "sent to votes.example.org" in browser.texts("#where")[0]
        fake = "window.fetch = async (url, given) => { window.sent = [url, given.body]; return {ok: arguments[0]}; }"
        browser.js(f"const ok = arguments[0]; {fake.replace('arguments[0]', 'ok')}", answers)
        begin(browser, code)
        for number in range(3):
            question(browser)
            browser.driver.find_element(By.TAG_NAME, "body").send_keys(Keys.ARROW_DOWN)
            still = f"document.getElementById('progress').textContent.startsWith('{number + 1} ')"
            wait(browser, f"!document.getElementById('end').hidden || !{still}")
        expected = "The result was sent" if answers else "could not be sent"
        wait(browser, f"document.getElementById('sent').textContent.includes('{expected}')")
        path = save(browser, downloads, study, code)
        assert browser.js("return window.sent") == ["https://votes.example.org/in", path.read_text()]
        assert set(read_votes(study, [path])["choice"]) == {"tie"}
