#!/usr/bin/env python3
"""Drives the judging page in a browser against a running server, and makes pictures of it.

    rewardrt serve &
    deploy/page/look.py --url http://127.0.0.1:8080 --out docs/page

Optional: no test of the workspace needs it. It needs Playwright (pip) and a Chromium, which --chromium names when it is not
Playwright's own. States that a healthy server does not show (no token, no room, a cut answer, a hostile model) are answered
in place of the server, at the browser's edge. Ends with 0 when every check held; the pictures are for people to look at."""

import argparse
import json
import pathlib
import shutil

from playwright.sync_api import expect, sync_playwright

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "models/shapes-judge/examples"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
HOSTILE = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'


def pictures(*names):
    return [str(EXAMPLES / name) for name in names]


class Look:
    def __init__(self, browser, url, out):
        self.browser, self.url, self.out = browser, url, out

    def open(self, view=DESKTOP, scheme="light", routes=None):
        """A page in a browser of its own; whatever it logs or whatever its policy stops fails the run."""
        context = self.browser.new_context(viewport=view, color_scheme=scheme, device_scale_factor=1)
        page = context.new_page()
        page.faults = []
        allowed = "status of 4"
        page.on("console", lambda m: m.type == "error" and allowed not in m.text and page.faults.append(m.text))
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("request", lambda r: r.url.startswith((self.url, "blob:", "data:")) or page.faults.append(r.url))
        for path, answer in (routes or {}).items():
            page.route(f"**/{path}", answer)
        page.goto(self.url)
        return page

    def shoot(self, page, name):
        page.wait_for_timeout(400)
        width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert width <= 0, f"{name}: the page is {width} pixels too wide"
        assert not page.faults, f"{name}: {page.faults}"
        page.screenshot(path=str(self.out / f"{name}.png"), full_page=True)
        page.context.close()

    def fill(self, page, prompt="four blue triangles"):
        page.get_by_label("Prompt").fill(prompt)
        inputs = page.locator("#pair input")
        inputs.nth(0).set_input_files(pictures("0001a.png", "0001b.png"))
        expect(page.locator("#pair .full")).to_have_count(2)

    def compare(self, page):
        page.get_by_role("button", name="Compare").click()
        expect(page.locator("#answer")).to_be_visible(timeout=60000)
        return page.locator(".headline")


def answering(document, status=200, headers=None):
    kind = {"content-type": "application/json", **(headers or {})}
    return lambda route: route.fulfill(status=status, headers=kind, body=json.dumps(document))


def refusing(status, code, message, param=None, **headers):
    error = {"code": code, "message": message, "param": param, "request_id": "0f3a"}
    return answering({"error": error}, status, headers)


def pair(look):
    page = look.open()
    look.shoot(page, "empty")
    for name, view, scheme in [("pair", DESKTOP, "light"), ("pair-dark", DESKTOP, "dark"), ("pair-phone", PHONE, "light")]:
        page = look.open(view, scheme)
        look.fill(page)
        page.get_by_label("Both orders").check()
        expect(look.compare(page)).to_have_text("B is better")
        expect(page.get_by_text("Both orders name the same candidate.")).to_be_visible()
        look.shoot(page, name)
    # By keyboard alone: the answer takes the focus, and the winner follows the candidate when they change places.
    page = look.open()
    look.fill(page)
    page.get_by_role("button", name="Swap").press("Enter")
    page.get_by_label("Prompt").press("Control+Enter")
    expect(page.locator(".headline")).to_have_text("A is better", timeout=60000)
    assert page.evaluate("document.activeElement.id") == "answer"
    page.context.close()


def group(look):
    for name, view in [("group", DESKTOP), ("group-phone", PHONE)]:
        page = look.open(view)
        page.get_by_label("Many candidates").check()
        page.get_by_label("Prompt").fill("four blue triangles")
        files = pictures("0001a.png", "0001b.png", "0002a.png", "0003a.png", "0004b.png")
        page.locator("#group input").last.set_input_files(files)
        page.get_by_label("Both orders").check()
        page.get_by_role("button", name="Rank").click()
        expect(page.locator(".place li")).to_have_count(5, timeout=60000)
        expect(page.locator(".place li").first).to_contain_text("0001b.png")
        page.get_by_role("button", name="1 against 2").press("Enter")
        expect(page.get_by_role("heading", name="1 and 2")).to_be_visible()
        look.shoot(page, name)


def refusals(look):
    page = look.open()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("alert")).to_have_text("Write the prompt.")
    page.context.close()
    busy = refusing(429, "busy", "12 calls are waiting", **{"retry-after": "7"})
    page = look.open(routes={"v1/compare": busy})
    look.fill(page)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("alert")).to_contain_text("Come back in 7 seconds.")
    expect(page.get_by_role("alert")).to_contain_text("busy, status 429, request 0f3a")
    look.shoot(page, "busy")
    page = look.open(PHONE, routes={"v1/compare": lambda route: route.abort()})
    look.fill(page)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
    page.faults.clear()
    look.shoot(page, "unreachable-phone")


def token(look, info):
    known = answering(info)
    unknown = refusing(401, "unauthorized", "give a token that this server knows", "authorization")
    right = lambda route: (known if route.request.headers.get("authorization") == "Bearer sesame" else unknown)(route)
    page = look.open(routes={"info": right})
    field = page.get_by_label("Token", exact=True)
    expect(field).to_be_focused()
    field.fill("wrong")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("unauthorized, status 401")
    page.faults.clear()
    look.shoot(page, "token")
    page = look.open(routes={"info": right})
    page.get_by_label("Token", exact=True).fill("sesame")
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#token")).to_be_hidden()
    expect(page.locator("#model")).to_contain_text(info["model"]["name"])
    page.context.close()


def bad_answers(look, verdict):
    """What a model can do to the page: nothing, and it is named."""
    order = {**verdict["orders"][0], "winner": None, "status": "truncated", "p_first": None, "report": None, "text": '{"prompt": "four blue tri'}
    order["problem"] = {"name": "unclosed", "message": "the answer ends before its JSON report closes; raise max_new_tokens or ask again"}
    cut = {**verdict, **{key: order[key] for key in ["winner", "status", "p_first", "report", "text"]}, "orders": [order], "position_consistent": None}
    page = look.open(routes={"v1/compare": answering(cut)})
    look.fill(page)
    expect(look.compare(page)).to_have_text("There is no verdict")
    expect(page.locator("#result")).to_contain_text("truncated")
    look.shoot(page, "truncated")

    hostile = json.loads(json.dumps(verdict).replace("fewer faults", json.dumps(HOSTILE)[1:-1]))
    hostile["orders"][0]["status"] = hostile["status"] = "inconsistent"
    hostile["orders"][0]["flags"] = [{"kind": "category_against_scores", "category": 0}, {"kind": "sum_not_ten", "category": 0, "dimension": 0, "sum": 11}]
    page = look.open(routes={"v1/compare": answering(hostile)})
    look.fill(page)
    look.compare(page)
    expect(page.locator("#result")).to_contain_text(HOSTILE)
    expect(page.locator("#result")).to_contain_text("The answer contradicts itself")
    assert page.locator("#result script").count() == 0 and page.title() != "owned"
    look.shoot(page, "inconsistent")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8080/")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs/page"))
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=args.chromium)
        look = Look(browser, args.url.rstrip("/") + "/", args.out)
        page = look.open()
        look.fill(page)
        page.get_by_label("Both orders").check()
        with page.expect_response("**/v1/compare") as response:
            look.compare(page)
        verdict = response.value.json()
        info = page.evaluate("fetch('info').then((answer) => answer.json())")
        page.context.close()
        pair(look)
        group(look)
        refusals(look)
        token(look, info)
        bad_answers(look, verdict)
        browser.close()
    print(f"the page holds; look at {args.out}")


if __name__ == "__main__":
    main()
