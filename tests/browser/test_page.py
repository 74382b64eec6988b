"""What people do on the page, in a real browser, on the served app and on the built Space."""

import re
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import expect

from cifar_model.predictor import Predictor
from serve_app.api import build_api
from serve_app.backends import InProcess, Running
from serve_app.catalog import Catalog
from serve_app.web import build_web
from tests.models import add_model

SLOW = 30_000  # milliseconds, for the first answer on a busy machine


def upload(page, path):
    page.locator("#picture input[type=file]").first.set_input_files(path)


def open_tab(page, name):
    """On a phone the last tabs are behind a menu."""
    tab = page.get_by_role("tab", name=name)
    if tab.first.is_visible():
        tab.first.click()
    else:
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown button", has_text=name).click()


def choose(page, label, option):
    """The visible dropdown with this label."""
    page.get_by_label(label).locator("visible=true").first.click()
    page.get_by_role("option", name=option, exact=True).click()


def top_class(page):
    return page.get_by_test_id("label-output-value")


def shows(image, width, height):
    """Wait until the image has loaded, in this size."""
    expect(image).to_have_js_property("naturalWidth", width, timeout=SLOW)
    expect(image).to_have_js_property("naturalHeight", height)


def overlay_source(page):
    return page.locator("#overlay img").get_attribute("src", timeout=SLOW)


@contextmanager
def held_back(page, words):
    """Until the block ends the page's first request with these words is on its way to the server.

    The block gets what waits for the page to send it.
    """
    kept = []

    def keep(route):
        if not kept and words in (route.request.post_data or ""):
            kept.append(route)
        else:
            route.continue_()

    def sent():
        deadline = time.monotonic() + SLOW / 1000
        while not kept:
            assert time.monotonic() < deadline
            page.wait_for_timeout(50)

    page.route("**/queue/join*", keep)
    yield sent
    kept[0].continue_()


def drop(page, path):
    """Drop a file on the picture."""
    script = (
        "([name, bytes]) => { const files = new DataTransfer(); files.items.add(new File("
        "[new Uint8Array(bytes)], name, {type: 'image/png'})); return files; }"
    )
    files = page.evaluate_handle(script, [path.name, list(path.read_bytes())])
    place = page.locator("#picture .upload-container").first
    place.dispatch_event("drop", {"dataTransfer": files})


def test_an_uploaded_picture_gets_its_class_and_its_overlay(page, digit_file):
    path, label = digit_file
    upload(page, path)
    expect(top_class(page)).to_have_text(label, timeout=SLOW)
    shows(page.locator("#overlay img"), 320, 240)
    shows(page.locator("#seen img"), 160, 160)
    expect(page.locator("#faithfulness")).to_contain_text(f"the probability of {label} goes from")


def test_another_class_and_opacity_change_the_overlay(page, digit_file):
    path, label = digit_file
    upload(page, path)
    expect(top_class(page)).to_have_text(label, timeout=SLOW)
    first = overlay_source(page)
    other = "8" if label != "8" else "3"
    choose(page, "Class to explain", other)
    expect(page.locator("#overlay img")).not_to_have_attribute("src", first, timeout=SLOW)
    second = overlay_source(page)
    expect(top_class(page)).to_have_text(label)
    slider = page.get_by_label("range slider for Overlay opacity").locator("visible=true").first
    slider.focus()
    slider.press("End")
    expect(page.locator("#overlay img")).not_to_have_attribute("src", second, timeout=SLOW)


def test_an_example_is_one_click(page):
    page.locator("#examples button").first.click()
    expect(page.locator("#overlay img")).to_be_visible(timeout=SLOW)


def test_a_file_that_is_no_picture_gets_a_message_and_no_answer(page, tmp_path, digit_file):
    upload(page, digit_file[0])
    expect(page.locator("#overlay img")).to_be_visible(timeout=SLOW)
    page.locator("#picture").get_by_label("Remove Image").click()
    path = tmp_path / "text.png"
    path.write_text("this is text")
    upload(page, path)
    expect(page.get_by_text("not a PNG, JPEG or WebP").first).to_be_visible(timeout=SLOW)
    expect(page.locator("#overlay img")).to_have_count(0)
    assert page.locator("[data-testid=status-tracker] .error:visible").count() == 0


@pytest.fixture
def blank_file(tmp_path):
    """A white picture of 64x48."""
    path = tmp_path / "blank.png"
    Image.new("RGB", (64, 48), "white").save(path)
    return path


def test_of_two_quick_pictures_the_last_one_is_answered(
    open_page, space_address, digit_file, blank_file
):
    page = open_page(space_address)
    with held_back(page, digit_file[0].name) as sent:
        upload(page, digit_file[0])
        sent()
        upload(page, blank_file)
        shows(page.locator("#picture img"), 64, 48)
    shows(page.locator("#overlay img"), 64, 48)
    page.wait_for_timeout(1000)
    shows(page.locator("#overlay img"), 64, 48)


def test_a_picture_dropped_on_another_is_answered_and_one_that_goes_asks_for_nothing(
    open_page, space_address, digit_file, blank_file
):
    page = open_page(space_address)
    upload(page, digit_file[0])
    shows(page.locator("#overlay img"), 320, 240)
    drop(page, blank_file)
    shows(page.locator("#overlay img"), 64, 48)
    page.locator("#picture").get_by_label("Remove Image").click()
    expect(page.locator("#overlay img")).to_have_count(0, timeout=SLOW)
    page.wait_for_timeout(1000)
    expect(page.locator("#overlay img")).to_have_count(0)
    expect(page.get_by_test_id("toast-body")).to_have_count(0)


def test_an_answer_on_its_way_is_asked_again_of_the_model_chosen_meanwhile(
    open_page, space_address, digit_file
):
    page = open_page(space_address)
    asked = []
    page.on(
        "request",
        lambda request: asked.append(request.post_data if "queue/join" in request.url else ""),
    )
    with held_back(page, digit_file[0].name) as sent:
        upload(page, digit_file[0])
        sent()
        open_tab(page, "Models")
        page.locator("#models-table").get_by_text("second").first.click()
        expect(page.get_by_text("Model second sorts pictures")).to_be_visible(timeout=SLOW)
        open_tab(page, "Classify")
        page.wait_for_timeout(1000)
    expect(top_class(page)).to_have_text(digit_file[1], timeout=SLOW)
    page.wait_for_timeout(1000)
    assert ['"second"' in words for words in asked if digit_file[0].name in words] == [False, True]


def test_the_gallery_is_filtered_and_explained(page):
    open_tab(page, "Misclassified")
    words = page.locator("#mistakes-words")
    expect(words).to_contain_text(re.compile(r"\d+ of \d+ misclassified"), timeout=SLOW)
    everything = int(re.search(r"of (\d+) misclassified", words.inner_text()).group(1))
    captions = page.locator("#mistakes .caption-label")
    true = captions.first.inner_text(timeout=SLOW).rpartition(" ")[2]
    choose(page, "True class", true)
    expect(words).not_to_contain_text(f"of {everything} misclassified", timeout=SLOW)
    others = captions.filter(has_not_text=re.compile(rf"is {re.escape(true)}$"))
    expect(others).to_have_count(0, timeout=SLOW)
    expect(captions).not_to_have_count(0)
    page.get_by_role("button", name="Explain them").click()
    strip = page.locator("#strips img").first
    expect(strip).to_have_js_property("naturalWidth", 3 * 160 + 2 * 8, timeout=SLOW)


def test_evidence_on_its_way_is_asked_again_for_the_class_chosen_meanwhile(
    open_page, space_address
):
    page = open_page(space_address)
    open_tab(page, "Misclassified")
    captions = page.locator("#mistakes .caption-label")
    expect(captions).not_to_have_count(0, timeout=SLOW)
    true = [text.rpartition(" ")[2] for text in captions.all_inner_texts()]
    other = next(name for name in true if name != true[0])
    with held_back(page, "gradcam") as sent:
        page.get_by_role("button", name="Explain them").click()
        sent()
        choose(page, "True class", other)
        others = captions.filter(has_not_text=re.compile(rf"is {re.escape(other)}$"))
        expect(others).to_have_count(0, timeout=SLOW)
    strips = page.locator("#strips .caption-label")
    expect(strips).not_to_have_count(0, timeout=SLOW)
    of_another = strips.filter(has_not_text=re.compile(rf"\| is {re.escape(other)} \d+%$"))
    expect(of_another).to_have_count(0, timeout=SLOW)
    expect(strips).not_to_have_count(0)


def test_a_cell_of_the_confusion_matrix_opens_its_images(page):
    open_tab(page, "Report")
    cell = page.locator("#confusion button").first
    expect(cell).to_be_visible(timeout=SLOW)
    count, true, predicted = re.match(
        r"(\d+) of (.+) taken for (.+)", cell.get_attribute("title")
    ).groups()
    cell.click()
    expect(page.locator("#mistakes-words")).to_contain_text(
        f"{count} of {count} misclassified", timeout=SLOW
    )
    captions = page.locator("#mistakes .caption-label")
    wanted = re.compile(rf"^{re.escape(predicted)} .*is {re.escape(true)}$", re.DOTALL)
    expect(captions.filter(has_not_text=wanted)).to_have_count(0, timeout=SLOW)
    expect(captions).not_to_have_count(0)


def test_the_report_has_curves_classes_and_the_card(page):
    open_tab(page, "Report")
    expect(page.locator("#report-words")).to_contain_text("test images of digits", timeout=SLOW)
    expect(page.locator(".vega-embed svg").first).to_be_visible(timeout=SLOW)
    expect(page.locator("#per-class")).to_contain_text("accuracy (%)")
    expect(page.locator("#lr-words")).to_contain_text("python -m jobs.lr_find")
    page.get_by_text("Model card").click()
    expect(page.locator("#card")).to_contain_text("A ResNet-9 that sorts")


def test_augmented_images_are_drawn_anew(page):
    open_tab(page, "Data")
    page.get_by_role("button", name="Draw").click()
    strip = page.locator("#augmented img").first
    expect(strip).to_be_visible(timeout=2 * SLOW)
    first = strip.get_attribute("src")
    page.get_by_role("button", name="Draw").click()
    expect(strip).not_to_have_attribute("src", first, timeout=2 * SLOW)


def test_another_model_is_chosen_and_says_what_it_lacks(open_page, space_address, digit_file):
    page = open_page(space_address)
    open_tab(page, "Models")
    page.locator("#models-table").get_by_text("second").first.click()
    expect(page.get_by_text("Model second sorts pictures")).to_be_visible(timeout=SLOW)
    open_tab(page, "Misclassified")
    expect(page.locator("#mistakes-words")).to_contain_text("python -m jobs.evaluate", timeout=SLOW)
    expect(page.get_by_role("button", name="Explain them")).to_be_hidden()
    open_tab(page, "Classify")
    upload(page, digit_file[0])
    expect(top_class(page)).to_have_text(digit_file[1], timeout=SLOW)


def test_a_model_that_appears_while_the_page_is_open_can_be_chosen(
    open_page, run_server, digits_model, digit_file, tmp_path, monkeypatch
):
    monkeypatch.setattr("serve_app.catalog.RESCAN_SECONDS", 0.0)
    models = tmp_path / "models"
    models.mkdir()
    catalog = Catalog(digits_model, models)

    async def find(name):
        return Running(Predictor.load(catalog.folders[name]))

    async def usable(name):
        return True

    backend = InProcess.on_demand(catalog, find, usable)
    with run_server(build_web(build_api(backend), backend, catalog.folders)) as address:
        page = open_page(address)
        expect(page.locator("#model")).to_be_hidden()
        add_model(models / "late", "late", digits_model)
        open_tab(page, "Models")
        page.locator("#models-table").get_by_text("late").first.click()
        expect(page.get_by_text("Model late sorts pictures")).to_be_visible(timeout=SLOW)
        open_tab(page, "Classify")
        upload(page, digit_file[0])
        expect(top_class(page)).to_have_text(digit_file[1], timeout=SLOW)
        script = Client(address, verbose=False)
        assert "Model **late**" in script.predict("late", api_name="/describe")
        with pytest.raises(Exception, match="no model 'nobody'"):
            script.predict("nobody", api_name="/describe")
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(open_page, address, digit_file, scheme):
    page = open_page(address, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    upload(page, digit_file[0])
    expect(top_class(page)).to_be_visible(timeout=SLOW)
    for name in ("Classify", "Misclassified", "Report", "Data", "Models"):
        open_tab(page, name)
        page.wait_for_timeout(1000)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name


def test_two_browsers_do_not_see_each_others_pictures(open_page, address, digit_file, blank_file):
    path, label = digit_file
    one, two = open_page(address), open_page(address)
    upload(one, path)
    expect(top_class(one)).to_have_text(label, timeout=SLOW)
    expect(two.locator("#overlay img")).to_have_count(0)
    upload(two, blank_file)
    shows(two.locator("#overlay img"), 64, 48)
    shows(one.locator("#overlay img"), 320, 240)


def test_the_space_fits_into_a_gigabyte(space, digit_file):
    """What is its own; pages of files, such as PyTorch's libraries, the system may drop."""
    address, process = space
    script = Client(address, verbose=False)
    for layer in ("res2", "layer2"):
        started = time.monotonic()
        picture = handle_file(str(digit_file[0]))
        script.predict(picture_path=picture, layer=layer, api_name="/classify")
        took = time.monotonic() - started
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}
        own, files = kib["RssAnon"] / 1024, kib["RssFile"] / 1024
        print(f"\n{layer}: {took:.1f} s, {own:.0f} MiB, and {files:.0f} MiB of files")
    assert own < 1024
