"""What somebody does on the service's page, and what can be read there."""

from __future__ import annotations

import base64
import json
from typing import Any

from playwright.sync_api import JSHandle, Page, Request, Route, expect

from serving_projects import Service

FILES = {
    "image_classification": ("data/sample/example.png", "image/png"),
    "audio_classification": ("data/sample/example.flac", "audio/flac"),
    "multimodal": ("data/sample/images/151.png", "image/png"),
}
TEXT = 'It\'s "late": order 52017 <b>has not</b> arrived.\nWhere is it?'
QUESTION = "What is there?"
HOSTILE = '<img src=x onerror="window.stolen = 1">'

LIST_LENGTHS = """() => {
  const lengths = [];
  const note = () => {
    const spans = document.querySelectorAll(".message.assistant span");
    if (spans.length) lengths.push(spans[spans.length - 1].textContent.length);
  };
  const options = { subtree: true, childList: true, characterData: true };
  new MutationObserver(note).observe(document.getElementById("chat"), options);
  return lengths;
}"""
STOP_AT_FIRST_WORDS = """() => {
  const options = { subtree: true, childList: true, characterData: true };
  const stop = document.getElementById("stop");
  new MutationObserver((_, observer) => {
    if (stop.disabled || !document.querySelector(".message.assistant > span")?.textContent) return;
    observer.disconnect();
    stop.click();
  }).observe(document.getElementById("chat"), options);
}"""
HELD = """([text, name, type]) => {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const held = new DataTransfer();
  held.items.add(new File([bytes], name, { type }));
  return held;
}"""
PASTE = """(held) => document.dispatchEvent(
  new ClipboardEvent("paste", { clipboardData: held, bubbles: true }))"""


def ask(page: Page, service: Service) -> None:
    """Ask what the task is for: give it the sample's file, or a text, or a question."""
    task = service.project.task
    if task in FILES:
        page.locator("#file").set_input_files(service.project.root / FILES[task][0])
    if task == "text_classification":
        page.get_by_label("Text").fill(TEXT)
        page.keyboard.press("Control+Enter")
    if task in ("llm", "multimodal"):
        page.get_by_label("Message").fill(QUESTION)
        page.get_by_role("button", name="Send").click()


def the_input(service: Service) -> str:
    """Return the same for /v1/predict."""
    if service.project.task == "text_classification":
        return TEXT
    return in_base64(service)


def the_question(service: Service) -> dict[str, Any]:
    """Return the same as a message of a chat."""
    if service.project.task == "llm":
        return {"role": "user", "content": QUESTION}
    url = f"data:{FILES['multimodal'][1]};base64,{in_base64(service)}"
    image = {"type": "image_url", "image_url": {"url": url}}
    return {"role": "user", "content": [image, {"type": "text", "text": QUESTION}]}


def in_base64(service: Service) -> str:
    """Return the sample's file."""
    path = service.project.root / FILES[service.project.task][0]
    return base64.b64encode(path.read_bytes()).decode()


def held(page: Page, service: Service) -> JSHandle:
    """Return the sample's file as the browser holds what is dragged or copied."""
    path, kind = FILES[service.project.task]
    return page.evaluate_handle(HELD, [in_base64(service), path.rsplit("/", 1)[1], kind])


def drop(page: Page, service: Service) -> None:
    """Drag the sample's file onto the page."""
    page.dispatch_event("body", "drop", {"dataTransfer": held(page, service)})


def paste(page: Page, service: Service) -> None:
    """Paste the sample's file."""
    page.evaluate(PASTE, held(page, service))


def expect_output(page: Page, output: dict[str, Any]) -> None:
    """Wait for the label and the probabilities of all labels, the likeliest first."""
    rows = [f"{name}{100 * score:.1f} %" for name, score in likeliest_first(output["scores"])]
    expect(page.locator(".label")).to_have_text(output["label"])
    assert [row.text_content() for row in page.locator(".scores li").all()] == rows


def likeliest_first(scores: dict[str, float]) -> list[tuple[str, float]]:
    """Sort labels by their probability."""
    return sorted(scores.items(), key=lambda item: -item[1])


def text_lengths(page: Page) -> JSHandle:
    """Return a list in the page that grows with each change of the last answer."""
    return page.evaluate_handle(LIST_LENGTHS)


def stop_at_first_words(page: Page) -> None:
    """Press Stop in the page itself, as a short answer may be over before a test can do it."""
    page.evaluate(STOP_AT_FIRST_WORDS)


def expect_done(page: Page) -> None:
    """Wait until nothing is written any more."""
    expect(page.locator(".message.assistant").last).not_to_have_attribute("aria-busy", "true")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()


def said(page: Page) -> list[str | None]:
    """Return the chat's texts."""
    return [text.text_content() for text in page.locator(".message > span").all()]


def facts(page: Page) -> dict[str, str]:
    """Return what the page tells of the last answer."""
    names, texts = (page.locator(f"#facts {tag}").all_text_contents() for tag in ("dt", "dd"))
    return dict(zip(names, texts, strict=True))


def last_body(requests: list[Request]) -> Any:
    """Return what was posted last."""
    return json.loads(
        [request for request in requests if request.method == "POST"][-1].post_data or ""
    )


def label_hostile(route: Route) -> None:
    """Answer in the place of the service with a label that is HTML."""
    output = {"label": HOSTILE, "score": 1.0, "scores": {HOSTILE: 1.0}}
    route.fulfill(json={"outputs": [output], "model": {"name": HOSTILE, "version": HOSTILE}})


def say_hostile(route: Route) -> None:
    """Stream HTML in the place of the service."""
    event = {"choices": [{"index": 0, "delta": {"content": HOSTILE}, "finish_reason": "stop"}]}
    body = f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n"
    route.fulfill(body=body, content_type="text/event-stream")


def unlabelled(page: Page) -> list[str]:
    """Return what a screen reader could not name."""
    found = page.evaluate("""() => [...document.querySelectorAll("input, textarea, button, img")]
      .filter((e) => !(e.labels?.length || e.textContent.trim() || e.alt || e.hidden))
      .map((e) => e.outerHTML)""")
    assert isinstance(found, list)
    return found


def page_bytes(page: Page) -> int:
    """Return the size of the page and of all that it is made of."""
    code = """async () => {
      const own = performance.getEntriesByType("resource").filter((e) => e.name.includes("/page/"));
      const urls = [location.href, ...new Set(own.map((e) => e.name))];
      const answers = await Promise.all(urls.map((url) => fetch(url)));
      const bodies = await Promise.all(answers.map((answer) => answer.arrayBuffer()));
      return bodies.reduce((sum, body) => sum + body.byteLength, 0);
    }"""
    size: int = page.evaluate(code)
    return size
