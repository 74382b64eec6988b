"""The page works under its own Content-Security-Policy: the browser reports no violation."""

from playwright.sync_api import expect

SLOW = 30_000  # milliseconds


def test_nothing_on_the_page_is_refused_by_its_policy(chromium, served, digit_file):
    path, label = digit_file
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    violations: list[str] = []
    page.add_init_script(
        "addEventListener('securitypolicyviolation', e => "
        "console.error('violation ' + e.violatedDirective + ' ' + e.blockedURI))"
    )
    page.on(
        "console",
        lambda m: violations.append(m.text) if m.text.startswith("violation ") else None,
    )
    answer = page.goto(served)
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'self'" in policy and "object-src 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    page.locator("#picture input[type=file]").first.set_input_files(path)
    expect(page.get_by_test_id("label-output-value")).to_have_text(label, timeout=SLOW)
    expect(page.locator("#overlay img")).to_be_visible()
    for name in ("Misclassified", "Report", "Data", "Models"):
        page.get_by_role("tab", name=name).first.click()
        if name == "Report":  # Vega compiles its expressions
            expect(page.locator(".vega-embed svg").first).to_be_visible(timeout=SLOW)
        page.wait_for_timeout(500)
    page.evaluate("fetch('https://example.com/').catch(() => 0)")
    page.wait_for_timeout(500)
    page.close()
    own, asked = violations[:-1], violations[-1:]
    # The last one is the test's own, and shows that violations are seen.
    assert asked and "connect-src" in asked[0] and "example.com" in asked[0]
    assert not own
