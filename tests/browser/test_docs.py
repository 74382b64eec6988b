"""The pages of the endpoints, in a browser that reaches no other host, as in many a cluster."""

import pytest
from playwright.sync_api import expect

SLOW = 30_000  # milliseconds


@pytest.fixture
def page(chromium, served):
    """A page that may ask the server alone, and holds what else it asked for and was refused."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.refused = []
    page.on("console", lambda m: page.refused.append(m.text) if m.type == "error" else None)

    def only_the_server(route):
        url = route.request.url
        if url.startswith((served, "data:", "blob:")):
            route.continue_()
        else:
            page.refused.append(url)
            route.abort()

    page.route("**/*", only_the_server)
    yield page
    page.close()


def test_an_endpoint_can_be_tried_from_the_page(page, served):
    page.goto(f"{served}/docs")
    endpoint = page.locator("#operations-about-healthz_healthz_get")
    endpoint.click(timeout=SLOW)
    endpoint.get_by_role("button", name="Try it out").click()
    endpoint.get_by_role("button", name="Execute").click()
    answer = endpoint.locator(".live-responses-table")
    expect(answer.locator("tbody .response-col_status")).to_contain_text("200")
    expect(answer).to_contain_text('"status": "ok"')
    assert not page.refused


def test_the_reference_shows_every_endpoint(page, served):
    page.goto(f"{served}/redoc")
    for path in ("/v1/classify", "/v1/explain", "/v2/models/{name}/infer"):
        expect(page.get_by_text(path).first).to_be_visible(timeout=SLOW)
    # The logo of its makers, which the page does without.
    assert all("cdn.redoc.ly" in what for what in page.refused)
